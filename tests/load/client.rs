//! The shell around one engine: what a tab is in a browser, with memory for its disk.

mod effects;

use crate::crowd::{Phase, Seat, Shared};
use crate::http::{Answer, Http};
use crate::person::Person;
use crate::rest::Held;
use crate::tally::{Kind, lock};
use driftline_core::dedupe::own_client;
use driftline_core::engine::{Config, Disk, Engine, SlotDisk};
use driftline_core::json::Json;
use driftline_core::outbox::Key;
use driftline_core::sender::SendFailure;
use driftline_tests::sim::rng::Rng;
use serde_json::json;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// What waits for a client beyond this waits in its socket.
const INPUTS: usize = 32;
const OUTBOX_TXNS: usize = 100_000;
const OUTBOX_BYTES: usize = 64 * 1024 * 1024;
/// Rows are not hashed while they change all the time.
const QUIET: Duration = Duration::from_millis(300);
/// Nobody has led before.
const FIRST_EPOCH: u64 = 1;

/// What comes from the network.
pub enum Input {
    Answered { id: u64, route: &'static str, answer: Result<Answer, String> },
    LiveOpen { number: u64 },
    LiveMessage { number: u64, text: Utf8Bytes },
    LiveClosed { number: u64, why: String },
}

struct Client {
    shared: Arc<Shared>,
    seat: Seat,
    engine: Engine,
    person: Person,
    http: Rc<Http>,
    inputs: mpsc::Sender<Input>,
    /// There is one at a time.
    request: Option<(u64, JoinHandle<()>)>,
    live: Option<(u64, JoinHandle<()>)>,
    lives: u64,
    was_connected: bool,
    epoch: u64,
    wake_at_ms: Option<u64>,
    /// To be given up.
    parked: Vec<Key>,
    /// The revision at which nothing waits to be sent, since when, and whether its rows have been told of.
    rests: Option<u64>,
    rests_since: Instant,
    has_told: bool,
}

/// Lives from its turn to enter until the end.
pub async fn run(shared: Arc<Shared>, seat: Seat) {
    let mut phase = shared.phase.clone();
    tokio::select! {
        () = tokio::time::sleep(seat.enters_after) => {}
        _ = phase.wait_for(|phase| *phase == Phase::End) => return,
    }
    let (inputs, mut received) = mpsc::channel(INPUTS);
    let mut client = Client::new(shared, seat, inputs);
    client.tell(|engine, now| engine.handle_opened(now, Disk { slots: vec![SlotDisk::default()], ..Disk::default() }));
    client.tell(|engine, now| engine.handle_lead(now, FIRST_EPOCH, None, vec![SlotDisk::default()]));
    loop {
        let present = *phase.borrow_and_update();
        let (edit, rest) = match present {
            Phase::Enter => (None, None),
            Phase::Edit { since } => (Some(client.person.due(since)), None),
            Phase::Rest => (None, client.rest_due()),
            Phase::End => break,
        };
        let wake = client.wake_at_ms.map(|at_ms| client.shared.clock.instant(at_ms));
        tokio::select! {
            Some(input) = received.recv() => client.take(input),
            changed = phase.changed() => if changed.is_err() { break },
            () = until(wake) => client.tick(),
            () = until(edit) => client.edit(edit),
            () = until(rest) => client.tell_rest(),
        }
    }
    client.hang_up();
}

/// Ends at a time; never, where there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Client {
    fn new(shared: Arc<Shared>, seat: Seat, inputs: mpsc::Sender<Input>) -> Client {
        let mut rng = Rng::new(shared.seed.wrapping_mul(1_000_003).wrapping_add(seat.number as u64));
        let engine = Engine::new(Config {
            schema: shared.schema.clone(),
            slot: 0,
            client: own_client(rng.draw()),
            high: Vec::new(),
            imported: Vec::new(),
            seed: rng.draw(),
            outbox_txns: OUTBOX_TXNS,
            outbox_bytes: OUTBOX_BYTES,
        });
        Client {
            person: Person::new(seat.number, rng, &shared.schema, shared.rate),
            http: Rc::new(Http::new(shared.address, &seat.space.name, &seat.token)),
            shared,
            seat,
            engine,
            inputs,
            request: None,
            live: None,
            lives: 0,
            was_connected: false,
            epoch: FIRST_EPOCH,
            wake_at_ms: None,
            parked: Vec::new(),
            rests: None,
            rests_since: Instant::now(),
            has_told: false,
        }
    }

    /// Tells the engine something and carries out what it wants done.
    fn tell(&mut self, tell: impl FnOnce(&mut Engine, u64)) {
        tell(&mut self.engine, self.shared.clock.now_ms());
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            while let Some(effect) = self.engine.poll() {
                self.carry_out(effect);
            }
            if !self.give_up_parked() {
                break;
            }
        }
        self.seat.desk().waiting.store(self.engine.outbox().len(), Relaxed);
    }

    fn count(&self, kind: Kind, what: impl Into<String>) {
        self.shared.tally.count(kind, what);
    }

    // ---- what comes ----

    fn take(&mut self, input: Input) {
        let is_present = |live: &Option<(u64, JoinHandle<()>)>, number: u64| live.as_ref().is_some_and(|live| live.0 == number);
        match input {
            Input::Answered { id, route, answer } => self.take_answer(id, route, answer),
            Input::LiveOpen { number } if is_present(&self.live, number) => {
                if !std::mem::replace(&mut self.was_connected, true) {
                    self.shared.tally.connected.fetch_add(1, Relaxed);
                }
                self.tell(|engine, now| engine.handle_live_open(now));
            }
            Input::LiveMessage { number, text } if is_present(&self.live, number) => {
                self.tell(|engine, now| engine.handle_live_message(now, text.as_str()));
            }
            Input::LiveClosed { number, why } if is_present(&self.live, number) => {
                self.live = None;
                self.count(Kind::Error, why);
                self.tell(|engine, now| engine.handle_live_closed(now));
            }
            Input::LiveOpen { .. } | Input::LiveMessage { .. } | Input::LiveClosed { .. } => {}
        }
    }

    fn take_answer(&mut self, id: u64, route: &str, answer: Result<Answer, String>) {
        if self.request.as_ref().is_some_and(|request| request.0 == id) {
            self.request = None;
        }
        match answer {
            Ok(Answer { status, retry_after_ms, body }) => {
                if status >= 400 {
                    let json = Json::parse_or_null(&body);
                    self.count(Kind::Error, format!("{route} {status} {}", json.text("code").unwrap_or("without a code")));
                }
                self.tell(|engine, now| engine.handle_answer(now, id, status, retry_after_ms, &body));
            }
            Err(why) => {
                self.count(Kind::Error, format!("{route} {why}"));
                self.tell(|engine, now| engine.handle_send_failed(now, id, SendFailure::Network));
            }
        }
    }

    fn tick(&mut self) {
        let now_ms = self.shared.clock.now_ms();
        if self.wake_at_ms.take_if(|at_ms| *at_ms <= now_ms).is_some() {
            self.tell(|engine, now| engine.handle_tick(now));
        }
    }

    // ---- what is done here ----

    fn edit(&mut self, due: Option<Instant>) {
        self.person.take_turn();
        let now_ms = self.shared.clock.now_ms();
        let wanted = self.person.next_edit(&self.engine, &self.seat.space.board, now_ms);
        let text = json!({"edits": [wanted.edit]}).to_string();
        let at = Instant::now();
        if let Some(due) = due {
            lock(&self.shared.tally.late).record(at.duration_since(due).as_micros() as u64);
        }
        match self.engine.transact(now_ms, &text) {
            Ok(_) => {
                // Nothing leaves before the engine is polled.
                let mut board = lock(&self.seat.space.board);
                board.make(wanted.mark, self.seat.place, at);
                self.person.note(&wanted, &mut board);
                self.shared.tally.made.fetch_add(1, Relaxed);
            }
            Err(problem) => self.count(Kind::Unmade, problem.code),
        }
        self.drain();
    }

    /// When to tell what is shown: nothing waits, and nothing has come for a while.
    fn rest_due(&mut self) -> Option<Instant> {
        let rests = self.engine.outbox().is_empty().then_some(self.engine.replica().rev);
        if rests != self.rests {
            (self.rests, self.rests_since, self.has_told) = (rests, Instant::now(), false);
            *lock(&self.seat.desk().held) = None;
        }
        (rests.is_some() && !self.has_told).then(|| self.rests_since + QUIET)
    }

    /// Hashes all rows: what counts is what is shown, and not what should be.
    fn tell_rest(&mut self) {
        let digest = self.engine.replica().view().digest(self.engine.schema()).0;
        *lock(&self.seat.desk().held) = self.rests.map(|rev| Held { rev, digest });
        self.has_told = true;
    }

    /// A person would look at these one by one; here they are discarded. Returns whether any was.
    fn give_up_parked(&mut self) -> bool {
        let now_ms = self.shared.clock.now_ms();
        let before = self.parked.len();
        for key in std::mem::take(&mut self.parked) {
            // What hangs on it may be on its way just now; what is gone already was discarded with another.
            if self.engine.discard(now_ms, key, true).is_err() && self.engine.outbox().get(key).is_some() {
                self.parked.push(key);
            }
        }
        self.parked.len() < before
    }
}
