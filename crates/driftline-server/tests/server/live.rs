use crate::world::{Client, SCHEMA, World, card, id, open, token, verdict};
use driftline_core::edit::Op;
use driftline_core::rows::Rows;
use driftline_core::schema::Schema;
use driftline_core::value::{Row, Value};
use driftline_core::wire::{Revision, read_changes, read_snapshot};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub struct Running {
    pub address: std::net::SocketAddr,
    pub pause: Box<dyn Fn(Duration) + Send + Sync>,
    pub stop: oneshot::Sender<()>,
    pub ended: tokio::task::JoinHandle<()>,
}

pub async fn start(world: &mut World) -> Running {
    let server = open(&world.config);
    world.router = server.router();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (stop, stopped)) = (listener.local_addr().unwrap(), oneshot::channel());
    let pause = Box::new(server.pauser());
    let ended = tokio::spawn(async move {
        server
            .run(listener, async {
                let _ = stopped.await;
            })
            .await
            .unwrap()
    });
    Running { address, pause, stop, ended }
}

pub async fn connect(running: &Running, hello: Json) -> Socket {
    connect_to(running, "a", hello).await
}

pub async fn connect_to(running: &Running, space: &str, hello: Json) -> Socket {
    let (mut socket, _) = connect_async(format!("ws://{}/v1/spaces/{space}/live", running.address)).await.unwrap();
    socket.send(Message::text(hello.to_string())).await.unwrap();
    socket
}

/// The next message that is not a ping; a close code as a number.
pub async fn next(socket: &mut Socket) -> Json {
    let message = async {
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Text(text) => {
                    let json: Json = serde_json::from_str(&text).unwrap();
                    if json.get("ping").is_none() {
                        return json;
                    }
                }
                Message::Close(frame) => return json!(u16::from(frame.unwrap().code)),
                _ => {}
            }
        }
    };
    timeout(Duration::from_secs(8), message).await.expect("nothing comes but pings")
}

fn tree(json: &Json) -> driftline_core::json::Json<'static> {
    driftline_core::json::Json::parse_or_null(&json.to_string()).into_owned()
}

fn replay(schema: &Schema, rows: &mut Rows, revisions: &[Revision]) {
    for change in revisions.iter().flat_map(|revision| &revision.parts).flat_map(|part| part.changes.iter().flatten()) {
        let row = match change.op {
            Op::Delete => None,
            _ => {
                let width = schema.tables[change.row.table as usize].columns.len();
                let mut row = rows.get(change.row).cloned().unwrap_or(Row::of(vec![Value::Null; width]));
                change.set.iter().for_each(|(column, value)| row.values[*column as usize] = value.clone());
                Some(row)
            }
        };
        rows.put(change.row, row);
    }
}

#[tokio::test]
async fn v1_snapshot_changes_live_and_tables_agree() {
    let mut world = World::new();
    let running = start(&mut world).await;
    let schema = Schema::parse(SCHEMA).unwrap();
    let mut alice = Client::new("alice", 1);
    let empty = read_snapshot(&schema, &world.snapshot("a").await).unwrap();
    assert_eq!((empty.rev, empty.digest.0, empty.rows.len()), (0, 0, 0));
    let units = (1..=5)
        .map(|n| {
            alice.unit(json!([card(n), {"op": "create", "table": "box", "id": id(100 + n), "set": {"main": id(n), "title": "Ünï\u{0}\n"}}]))
        })
        .collect();
    alice.send(&world, "a", units).await;
    let mut socket = connect(&running, json!({"token": token("bob"), "cursor": 2})).await;
    let first = next(&mut socket).await;
    assert_eq!((&first["rev"], &first["changes"][0]["rev"]), (&json!(5), &json!(3)));
    let edits = json!([{"op": "delete", "table": "card", "id": id(1)}, {"op": "update", "table": "card", "id": id(2), "set": {"x": 0.1, "data": {"b": [1, {"a": null}]}}, "add": {"count": -3}}]);
    assert_eq!(verdict(&alice.edit(&world, "a", edits).await), "applied");
    let second = next(&mut socket).await;
    assert_eq!(second["rev"], 6);

    let mut bob = Client::new("bob", 2);
    bob.cursor = json!(0);
    let answer = bob.send(&world, "a", vec![]).await;
    let mut by_changes = Rows::default();
    replay(&schema, &mut by_changes, &read_changes(&schema, &tree(&answer["changes"])).unwrap());
    bob.cursor = json!(2);
    let mut by_live = Rows::default();
    replay(&schema, &mut by_live, &read_changes(&schema, &tree(&answer["changes"])).unwrap()[..2]);
    for message in [first, second] {
        replay(&schema, &mut by_live, &read_changes(&schema, &tree(&message["changes"])).unwrap());
    }
    let snapshot = read_snapshot(&schema, &world.snapshot("a").await).unwrap();
    let mut by_snapshot = Rows::default();
    snapshot.rows.into_iter().for_each(|(key, row)| {
        by_snapshot.put(key, Some(row));
    });
    let tables = world.digest("a");
    assert_eq!(answer["digest"], tables);
    for (name, rows) in [("changes", by_changes), ("live", by_live), ("snapshot", by_snapshot)] {
        assert_eq!(format!("{:032x}", rows.digest(&schema).0), tables, "{name}");
    }
}

#[tokio::test]
async fn v1_live_says_why_it_closes() {
    let mut world = World::new();
    let running = start(&mut world).await;
    let elsewhere = crate::world::token_with("alice", &["b"], driftline_server::Role::Read, 60);
    for (hello, code) in [
        (json!({"cursor": 0}), 4401),
        (json!({"token": "x", "cursor": 0}), 4401),
        (json!({"token": elsewhere, "cursor": 0}), 4403),
        (json!({"token": token("alice"), "user": "bob", "cursor": 0}), 4403),
        (json!({"token": token("alice")}), 4400),
        (json!({"token": token("alice"), "cursor": 9}), 4410),
    ] {
        let mut socket = connect(&running, hello.clone()).await;
        assert_eq!(next(&mut socket).await, code, "{hello}");
    }
}

#[tokio::test]
async fn v1_a_refusal_reaches_whoever_is_still_speaking() {
    let mut world = World::new();
    let running = start(&mut world).await;
    let mut socket = connect(&running, json!({"cursor": 0})).await;
    for n in 0..4 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let said = socket.send(Message::text(json!({"presence": n}).to_string())).await;
        said.unwrap_or_else(|error| panic!("the connection breaks at word {n}: {error}"));
    }
    assert_eq!(next(&mut socket).await, 4401);
    let silent = async { connect_async(format!("ws://{}/v1/spaces/a/live", running.address)).await.unwrap().0 };
    assert_eq!(next(&mut silent.await).await, 4408, "who says nothing has said nothing wrong");
}

#[tokio::test]
async fn v1_a_stop_says_goodbye_and_answers_what_waits() {
    let mut world = World::new();
    let running = start(&mut world).await;
    let mut socket = connect(&running, json!({"token": token("alice"), "cursor": 0})).await;
    let ping = timeout(Duration::from_secs(4), socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(ping.into_text().unwrap().as_str(), "{\"ping\":0}");
    let lock = world.lock();
    let mut alice = Client::new("alice", 1);
    let unit = alice.unit(json!([card(1)]));
    let waiting = async { alice.send(&world, "a", vec![unit]).await };
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        running.stop.send(()).unwrap();
        let code = next(&mut socket).await;
        lock.commit().unwrap();
        code
    };
    let (answer, code) = tokio::join!(waiting, stopping);
    assert_eq!(code, 1001);
    assert_eq!(verdict(&answer["outcomes"][0]), "applied");
    timeout(Duration::from_secs(5), running.ended).await.expect("the server does not end").unwrap();
}

#[tokio::test]
async fn v1_a_stop_does_not_wait_for_the_first_word_of_who_says_nothing() {
    let mut world = World::new();
    let running = start(&mut world).await;
    let mut silent = connect_async(format!("ws://{}/v1/spaces/a/live", running.address)).await.unwrap().0;
    running.stop.send(()).unwrap();
    assert_eq!(next(&mut silent).await, 1001);
    timeout(Duration::from_secs(5), running.ended).await.expect("the server does not end").unwrap();
}
