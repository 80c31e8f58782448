//! One device, mostly offline.

use crate::world::{World, id, options, shown, within};
use driftline_native::{Change, Client, Edits, Options, State, Task, Token};
use serde_json::json;
use tempfile::TempDir;

/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

fn offline(folder: &TempDir) -> Options {
    Options { online: false, ..options(folder.path(), "laptop", NOWHERE) }
}

pub fn board(n: u64) -> Edits {
    Edits::new().create("board", &id(n), json!({}))
}

pub fn note(n: u64, board: u64) -> Edits {
    Edits::new().create("note", &id(n), json!({"text": format!("note {n}"), "board": id(board)}))
}

#[test]
fn p1_a_client_can_be_shared_and_its_task_sent() {
    fn is_shared<T: Clone + Send + Sync + 'static>() {}
    fn is_sent<T: Send + 'static>() {}
    is_shared::<Client>();
    is_shared::<Change>();
    is_sent::<Task>();
}

#[tokio::test]
async fn q4_an_edit_is_in_the_view_when_its_call_returns() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::open(offline(&folder)).unwrap();
    let (made, rows) = (client.transact(board(1)), client.rows("board"));
    assert_eq!(rows.await.unwrap()[0].id, id(1));
    let refused = client.transact(note(2, 9).edit(json!({"op": "create", "table": "nothing", "id": id(3), "set": {}}))).await;
    assert_eq!(refused.map(|change| change.key()).unwrap_err().code, "invalid");
    assert_eq!(client.get("note", &id(2)).await, Ok(None), "all of it or nothing");
    assert_eq!(client.rows("nothing").await.unwrap_err().code, "invalid");
    within(made.await.unwrap().saved()).await.unwrap();
    assert_eq!((client.status().state, client.status().line.as_str()), (State::Offline, "q1 f0 p0 r0"));
    client.close().await.unwrap();
}

#[tokio::test]
async fn q1_what_is_saved_is_there_when_the_space_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::open(offline(&folder)).unwrap();
    client.transact(board(1)).await.unwrap();
    let change = client.transact(note(2, 1)).await.unwrap();
    let (key, accepted) = (change.key(), change.accepted());
    // Closing saves what nobody has waited for.
    client.close().await.unwrap();
    assert_eq!(accepted.await.unwrap_err().code, "closed");
    assert_eq!(change.saved().await, Ok(()));
    assert_eq!(client.transact(board(3)).await.map(|change| change.key()).unwrap_err().code, "closed");
    let client = Client::open(offline(&folder)).unwrap();
    assert_eq!(client.rows("note").await.unwrap()[0].field("text"), &json!("note 2"));
    assert_eq!(client.outbox().await.unwrap()[1]["key"], json!(key));
    assert_eq!(client.status().line, "q2 f0 p0 r0");
    client.close().await.unwrap();
}

#[tokio::test]
async fn l1_one_client_at_a_time_holds_a_space() {
    let folder = tempfile::tempdir().unwrap();
    let code = |options: Options| Client::open(options).err().map(|error| error.code);
    let client = Client::open(offline(&folder)).unwrap();
    assert_eq!(code(offline(&folder)).as_deref(), Some("in_use"));
    assert_eq!(code(Options { space: "b".to_string(), ..offline(&folder) }), None, "spaces do not wait for each other");
    client.close().await.unwrap();
    let client = Client::open(offline(&folder)).unwrap();
    client.close().await.unwrap();
}

#[tokio::test]
async fn a7_a_file_is_one_users() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::open(offline(&folder)).unwrap();
    client.transact(board(1)).await.unwrap();
    client.close().await.unwrap();
    let code = |options: Options| Client::open(options).err().map(|error| error.code);
    assert_eq!(code(Options { user: Some("bob".to_string()), ..offline(&folder) }).as_deref(), Some("wrong_user"));
    assert_eq!(code(Options { app: Some("other".to_string()), ..offline(&folder) }).as_deref(), Some("wrong_user"));
}

#[test]
fn p1_what_cannot_be_opened_is_refused_with_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let code = |options: Options| Client::open(options).err().map(|error| error.code).unwrap_or_default();
    assert_eq!(code(Options { schema: "{}".to_string(), ..offline(&folder) }), "invalid_schema");
    assert_eq!(code(Options { space: "a/b".to_string(), ..offline(&folder) }), "invalid");
    assert_eq!(code(Options { url: "nowhere".to_string(), ..offline(&folder) }), "invalid");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made for these");
}

#[tokio::test]
async fn i8_undo_takes_back_and_redo_brings_back_the_same_row() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::open(offline(&folder)).unwrap();
    client.transact(board(1)).await.unwrap();
    client.transact(Edits::new().add("board", &id(1), json!({"edits": 2}))).await.unwrap();
    let edits = async || client.get("board", &id(1)).await.unwrap().map(|row| row.field("edits").clone());
    assert_eq!(edits().await, Some(json!(2)));
    assert_eq!(client.undo().await.unwrap().len(), 1);
    assert_eq!(edits().await, Some(json!(0)));
    client.undo().await.unwrap();
    assert_eq!(edits().await, None);
    assert_eq!(client.undo().await.unwrap().len(), 0);
    assert_eq!((client.status().undo, client.status().redo), (0, 2));
    client.redo().await.unwrap();
    client.redo().await.unwrap();
    assert_eq!(edits().await, Some(json!(2)));
    client.close().await.unwrap();
}

#[tokio::test]
async fn q7_a_full_outbox_refuses_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::open(Options { outbox_txns: 1, ..offline(&folder) }).unwrap();
    client.transact(board(1)).await.unwrap();
    let refused = client.transact(board(2)).await;
    assert_eq!(refused.map(|change| change.key()).unwrap_err().code, "outbox_full");
    assert_eq!(client.rows("board").await.unwrap().len(), 1);
    client.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_a_credential_of_another_user_sends_nothing() {
    let world = World::start().await;
    let token = Some(Token::fixed(crate::world::token("bob")));
    let client = Client::open(Options { token, ..world.options("laptop") }).unwrap();
    client.transact(board(1)).await.unwrap();
    let mut statuses = client.statuses();
    let status = within(statuses.wait_for(|status| status.state == State::NotSaving)).await.unwrap().clone();
    assert_eq!((status.reason.as_deref(), status.queued), (Some("wrong_user"), 1));
    client.close().await.unwrap();
    // Its own takes up what waits.
    let client = world.open("laptop");
    within(client.accepted()).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM board"), 1);
    assert_eq!(shown(&client, "board", &id(1)).await.field("edits"), &json!(0));
    client.close().await.unwrap();
    world.stop().await;
}
