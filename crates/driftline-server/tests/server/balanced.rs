//! Processes on one PostgreSQL, behind a balancer that knows nothing of what it passes on: killed in turn, and told to stop.

use crate::findings::found;
use crate::live::Socket;
use crate::world::{Client, SECRET, World, card, id, token, verdict};
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const SPACES: [&str; 3] = ["a", "b", "c"];
/// Rows of one sender: its first is a tally of the others.
const SPAN: u64 = 100_000;
const EDITS: u64 = 40;
const KILLS: u64 = 6;
/// So many edits of each sender begin with a kill; those that are left over come after the last.
const ROUND_EDITS: u64 = EDITS / KILLS;
const KILL_EVERY: Duration = Duration::from_millis(700);
const AGAIN: Duration = Duration::from_millis(20);
/// A server says something every 2 s.
const SILENCE: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
/// However slow the machine is, there is an end to it.
const LIMIT: Duration = Duration::from_secs(40);
/// Half of what one request takes.
const REPEATED_TXNS: usize = 500;

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(LIMIT, work).await.expect("it does not come to an end")
}

struct Serving {
    child: Child,
    address: SocketAddr,
}

impl Serving {
    fn start(mut command: Command) -> Serving {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        Serving { address: address.unwrap_or_else(|| panic!("the server does not start: {line}")), child }
    }

    /// By SIGTERM; the exit code.
    async fn stop(&mut self) -> Option<i32> {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            sleep(AGAIN).await;
        }
    }
}

/// A process is never left behind, and SIGKILL is how it is killed at work.
impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(world: &World) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftline"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data", &crate::address(&world.config.data)]);
    command.arg("--secret-file").arg(world.directory.path().join("secret"));
    command.arg("--schema").arg(&world.config.schema).arg("--migrations").arg(&world.config.migrations);
    command
}

type Servers = Arc<Mutex<[SocketAddr; 2]>>;

/// Two processes, and where clients find either of them.
struct Group {
    serving: Vec<Serving>,
    servers: Servers,
    balancer: SocketAddr,
}

impl Group {
    async fn start(world: &World) -> Group {
        let secret = world.directory.path().join("secret");
        std::fs::write(&secret, SECRET).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let serving: Vec<Serving> = (0..2).map(|_| Serving::start(serve(world))).collect();
        let servers = Arc::new(Mutex::new([serving[0].address, serving[1].address]));
        let balancer = balance(servers.clone()).await;
        Group { serving, servers, balancer }
    }

    /// Kills one and then the other, again and again, each amid the edits that it lets begin, and waits until it is back.
    async fn kill_in_turn(&mut self, world: &World, rounds: &watch::Sender<u64>) {
        for kill in 1..=KILLS {
            let next = Instant::now() + KILL_EVERY;
            rounds.send_replace(kill);
            sleep(Duration::from_millis(3 * kill)).await;
            let (killed, command) = (self.serving.remove(0), serve(world));
            let started = spawn_blocking(move || {
                drop(killed);
                Serving::start(command)
            });
            self.serving.push(started.await.unwrap());
            *self.servers.lock().unwrap() = [self.serving[0].address, self.serving[1].address];
            sleep_until(next).await;
        }
        rounds.send_replace(KILLS + 1);
    }
}

/// Passes connections on to the servers in turn.
async fn balance(servers: Servers) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for turn in 0.. {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(pass(client, servers.clone(), turn));
        }
    });
    address
}

/// One that refuses is passed over. Where one side ends, the other does.
async fn pass(mut client: TcpStream, servers: Servers, turn: usize) {
    for n in turn..turn + 2 {
        let address = servers.lock().unwrap()[n % 2];
        let Ok(mut server) = TcpStream::connect(address).await else { continue };
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        tokio::select! {
            _ = copy(&mut from_client, &mut to_server) => {}
            _ = copy(&mut from_server, &mut to_client) => {}
        }
        return;
    }
}

/// `None` where the connection ends without a whole answer.
async fn post(address: SocketAddr, space: &str, token: &str, body: &str) -> Option<(u16, Json)> {
    let request = format!(
        "POST /v1/spaces/{space}/reconcile HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let asking = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    };
    let answer = timeout(ANSWER, asking).await.ok()??;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().ok()?, serde_json::from_str(body).ok()?))
}

fn revisions(message: &Json) -> Vec<u64> {
    message["changes"].as_array().into_iter().flatten().map(|change| change["rev"].as_u64().unwrap()).collect()
}

/// A client that pushes, and keeps all that it sent and was told.
struct Sender {
    client: Client,
    number: u64,
    space: &'static str,
    units: Vec<Json>,
    outcomes: Vec<Json>,
    unanswered: u64,
}

impl Sender {
    fn new(number: u64) -> Sender {
        let client = Client { cursor: json!(0), ..Client::new(&format!("user{number}"), number) };
        let space = SPACES[(number % 3) as usize];
        Sender { client, number, space, units: Vec::new(), outcomes: Vec::new(), unanswered: 0 }
    }

    /// A card, and one more on the tally: so the rows tell what is lost, and the tally what is doubled.
    fn make(&mut self) -> Json {
        let tally = self.number * SPAN;
        let mut edits = vec![card(tally + self.client.seq)];
        if self.client.seq > 0 {
            edits.push(json!({"op": "update", "table": "card", "id": id(tally), "add": {"count": 1}}));
        }
        self.client.unit(json!(edits))
    }

    /// Sends until there is an answer, each time the same bytes.
    async fn insist(&mut self, address: SocketAddr, body: &str) -> Json {
        loop {
            match post(address, self.space, &self.client.token, body).await {
                Some((200, answer)) => return answer,
                Some((status, answer)) if status < 500 => panic!("{status} {answer}"),
                _ => self.unanswered += 1,
            }
            sleep(AGAIN).await;
        }
    }

    /// Notes what a client does that has written an answer down.
    fn take(&mut self, answer: &Json) {
        let (cursor, rev) = (self.client.cursor.as_u64().unwrap(), answer["rev"].as_u64().unwrap());
        assert_eq!(revisions(answer), (cursor + 1..=rev).collect::<Vec<_>>(), "{answer}");
        assert_eq!(answer["clients"][0]["fork"], json!(false), "{answer}");
        self.client.receipt = answer["clients"][0]["receipt"].clone();
        self.client.closed = json!([[1, self.client.seq]]);
        self.client.cursor = json!(rev);
    }

    async fn edit(&mut self, address: SocketAddr) {
        let unit = self.make();
        let body = self.client.push(vec![unit.clone()]);
        let answer = self.insist(address, &body).await;
        assert_eq!(verdict(&answer["outcomes"][0]), "applied", "{answer}");
        if self.client.seq.is_multiple_of(5) {
            let again = self.insist(address, &body).await;
            assert_eq!((&again["outcomes"], &again["clients"]), (&answer["outcomes"], &answer["clients"]));
        }
        self.take(&answer);
        self.units.push(unit);
        self.outcomes.push(answer["outcomes"][0].clone());
    }

    async fn push_in_rounds(&mut self, address: SocketAddr, mut rounds: watch::Receiver<u64>) {
        for edit in 0..EDITS {
            assert!(rounds.wait_for(|round| *round > edit / ROUND_EDITS).await.is_ok());
            self.edit(address).await;
            // Each at a pace of its own.
            sleep(Duration::from_millis(6 * self.number)).await;
        }
    }

    /// Pushes until something is over, and a little longer.
    async fn push_beside(&mut self, address: SocketAddr, pushed: &AtomicU64, over: &AtomicBool) {
        let mut more = 10;
        while more > 0 {
            self.edit(address).await;
            pushed.fetch_add(1, Ordering::Relaxed);
            more -= u64::from(over.load(Ordering::Relaxed));
            sleep(AGAIN).await;
        }
    }

    /// Sends all of it once more, long after it was closed.
    async fn repeat(&mut self, world: &World, address: SocketAddr) {
        let (units, outcomes) = (std::mem::take(&mut self.units), self.outcomes.clone());
        for (units, outcomes) in units.chunks(REPEATED_TXNS).zip(outcomes.chunks(REPEATED_TXNS)) {
            let body = self.client.push(units.to_vec());
            let answer = self.insist(address, &body).await;
            assert_eq!(answer["outcomes"], json!(outcomes), "what is sent again gets the first answer");
            assert_eq!(answer["digest"], json!(world.digest(self.space)));
            self.take(&answer);
        }
        let tally = world.count(&format!("SELECT \"count\" FROM card WHERE id = {}", world.literal(self.number * SPAN)));
        assert_eq!(tally as u64, self.client.seq - 1, "sender {}", self.number);
    }
}

fn revisions_of(senders: &[Sender], space: &str) -> Vec<u64> {
    let outcomes = senders.iter().filter(|sender| sender.space == space).flat_map(|sender| &sender.outcomes);
    let mut revisions: Vec<u64> = outcomes.map(|outcome| outcome["rev"].as_u64().unwrap()).collect();
    revisions.sort_unstable();
    revisions
}

/// Each edit took effect once, under a revision of its own, and whoever asks again hears the same.
async fn settle(world: &World, senders: &mut [Sender], address: SocketAddr) {
    for sender in senders.iter_mut() {
        sender.repeat(world, address).await;
    }
    for space in SPACES {
        let rev = world.count(&format!("SELECT rev FROM _space WHERE name = '{space}'")) as u64;
        assert_eq!(revisions_of(senders, space), (1..=rev).collect::<Vec<_>>(), "{space}");
    }
    let edits: u64 = senders.iter().map(|sender| sender.client.seq).sum();
    for table in ["card", "_log"] {
        assert_eq!(world.count(&format!("SELECT count(*) FROM {table}")) as u64, edits, "{table}");
    }
    assert_eq!(found(world), [""; 0]);
}

/// Somebody who looks on, and comes back to where he stood.
struct Watcher {
    space: &'static str,
    token: String,
    cursor: u64,
    socket: Option<Socket>,
    /// How his connections have ended: by which code, where one was told.
    ends: Vec<Option<u16>>,
}

impl Watcher {
    async fn start(space: &'static str, sub: &str, address: SocketAddr) -> Watcher {
        let mut watcher = Watcher { space, token: token(sub), cursor: 0, socket: None, ends: Vec::new() };
        assert!(watcher.connect(address).await, "{sub} is not let in");
        watcher
    }

    async fn connect(&mut self, address: SocketAddr) -> bool {
        let url = format!("ws://{address}/v1/spaces/{}/live", self.space);
        let hello = json!({"token": self.token, "cursor": self.cursor, "presence": true});
        let connecting = async {
            let (mut socket, _) = connect_async(url).await.ok()?;
            socket.send(Message::text(hello.to_string())).await.ok()?;
            Some(socket)
        };
        self.socket = timeout(SILENCE, connecting).await.ok().flatten();
        self.socket.is_some()
    }

    /// The next message, whose revisions follow those before; `None` where there is no connection any more.
    async fn hear(&mut self) -> Option<Json> {
        let socket = self.socket.as_mut()?;
        let code = loop {
            match timeout(SILENCE, socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => {
                    let message: Json = serde_json::from_str(&text).unwrap();
                    for rev in revisions(&message) {
                        assert_eq!(rev, self.cursor + 1, "{message}");
                        self.cursor = rev;
                    }
                    return Some(message);
                }
                Ok(Some(Ok(Message::Close(frame)))) => break frame.map(|frame| u16::from(frame.code)),
                Ok(Some(Ok(_))) => {}
                _ => break None,
            }
        };
        self.ends.push(code);
        self.socket = None;
        None
    }

    /// Sees every revision up to the last, over as many connections as it takes.
    async fn watch(&mut self, address: SocketAddr, last: &AtomicU64) {
        while self.cursor < last.load(Ordering::Relaxed) {
            if self.hear().await.is_none() && !self.connect(address).await {
                sleep(AGAIN).await;
            }
        }
    }

    async fn hear_of(&mut self, word: &str) {
        loop {
            let message = self.hear().await.expect("the connection has ended");
            let mut states = message["presence"].as_object().into_iter().flat_map(|states| states.values());
            if states.any(|state| state.as_str() == Some(word)) {
                return;
            }
        }
    }
}

/// One says something of himself until the other hears it: their servers may not listen to each other yet.
async fn meet(speaker: &mut Watcher, listener: &mut Watcher, word: &str) {
    loop {
        let said = Message::text(json!({"presence": word}).to_string());
        speaker.socket.as_mut().unwrap().send(said).await.unwrap();
        if timeout(Duration::from_millis(100), listener.hear_of(word)).await.is_ok() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_processes_killed_in_turn_behind_a_balancer_lose_and_double_nothing() {
    let world = World::new();
    let mut group = Group::start(&world).await;
    let balancer = group.balancer;
    let mut senders: Vec<Sender> = (1..=10).map(Sender::new).collect();
    let mut watchers = [Watcher::start("a", "alice", balancer).await, Watcher::start("b", "bob", balancer).await];
    let all_of = |space: &str| AtomicU64::new(EDITS * senders.iter().filter(|sender| sender.space == space).count() as u64);
    let (last_of_a, last_of_b) = (all_of("a"), all_of("b"));
    let rounds = watch::channel(0).0;
    within(async {
        let [alice, bob] = &mut watchers;
        let pushing = join_all(senders.iter_mut().map(|sender| sender.push_in_rounds(balancer, rounds.subscribe())));
        let watching = async { tokio::join!(alice.watch(balancer, &last_of_a), bob.watch(balancer, &last_of_b)) };
        tokio::join!(group.kill_in_turn(&world, &rounds), pushing, watching);
        settle(&world, &mut senders, balancer).await;
    })
    .await;
    assert_eq!(SPACES.iter().map(|space| revisions_of(&senders, space).len()).sum::<usize>(), 400);
    assert!(senders.iter().any(|sender| sender.unanswered > 0), "no kill came amid a push");
    for watcher in &watchers {
        // Both processes were killed, and neither said a word.
        assert!(!watcher.ends.is_empty() && watcher.ends.iter().all(Option::is_none), "{}: {:?}", watcher.space, watcher.ends);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_a_process_that_is_told_to_stop_takes_nothing_from_the_clients_of_another() {
    let world = World::new();
    let mut group = Group::start(&world).await;
    let (balancer, other) = (group.balancer, group.serving[1].address);
    let leaving = &mut group.serving[0];
    let mut alice = Watcher::start("a", "alice", leaving.address).await;
    let mut bob = Watcher::start("a", "bob", other).await;
    let mut senders: Vec<Sender> = (1..=8).map(Sender::new).collect();
    let (pushed, over, last) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(u64::MAX));
    let code = within(async {
        meet(&mut alice, &mut bob, "here").await;
        let pushing = async {
            let pushes = senders.iter_mut().map(|sender| {
                let address = if sender.number.is_multiple_of(2) { other } else { balancer };
                sender.push_beside(address, &pushed, &over)
            });
            join_all(pushes).await;
            last.store(revisions_of(&senders, "a").len() as u64, Ordering::Relaxed);
        };
        let stopping = async {
            while pushed.load(Ordering::Relaxed) < 40 {
                sleep(AGAIN).await;
            }
            let code = leaving.stop().await;
            over.store(true, Ordering::Relaxed);
            code
        };
        let (code, ..) = tokio::join!(stopping, pushing, alice.watch(balancer, &last), bob.watch(balancer, &last));
        meet(&mut alice, &mut bob, "back").await;
        settle(&world, &mut senders, balancer).await;
        code
    })
    .await;
    assert_eq!(code, Some(0));
    assert_eq!(alice.ends, [Some(1001)]);
    assert!(bob.ends.is_empty(), "{:?}", bob.ends);
    for sender in senders.iter().filter(|sender| sender.number.is_multiple_of(2)) {
        assert_eq!(sender.unanswered, 0, "sender {} asked the other one", sender.number);
    }
}
