//! The task that owns the engine: one loop that takes what comes, tells the engine, and carries out what that wants done.

mod asks;
mod effects;
mod files;
mod waits;

use crate::change::Changes;
use crate::client::{Answer, Ask};
use crate::error::Error;
use crate::event::{Event, Status};
use crate::keeper::{Done, Keeper, Reading};
use crate::network::{Asking, Heard, Line, Network, NetworkError};
use crate::options::Home;
use crate::random::system_ms;
use crate::task::Task;
use driftline_core::clock::Clock;
use driftline_core::engine::Engine;
use files::Import;
use futures_util::StreamExt;
use std::future::pending;
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use waits::Wait;

/// A machine that sleeps stops the timers, but not the clock: it is looked at this often. The status is true within so long of any cause.
const LONGEST_NAP_MS: u64 = 5_000;

/// Whom to tell what happens, until it is gone.
pub(crate) type Listener = (Weak<()>, Box<dyn FnMut(&Event) + Send>);

pub(crate) struct Actor {
    engine: Engine,
    home: Home,
    clock: Clock,
    keeper: Keeper,
    done: mpsc::UnboundedReceiver<Done>,
    network: Box<dyn Network>,
    asks: mpsc::UnboundedReceiver<Ask>,
    asks_back: mpsc::WeakUnboundedSender<Ask>,
    /// All handles are gone.
    is_abandoned: bool,
    /// There is one at a time.
    request: Option<(u64, Asking)>,
    live: Option<Line>,
    wake_at_ms: Option<u64>,
    /// What could not be read, why, and when to try again.
    failing: Vec<Failing>,
    changes: Changes,
    listeners: Vec<Listener>,
    status: watch::Sender<Status>,
    waits: Vec<Wait>,
    imports: Vec<Import>,
    /// Files that were taken in, for their numbers.
    imports_begun: u64,
    /// No more edits are taken.
    is_closing: bool,
    is_over: bool,
    /// Who waits for the end.
    endings: Vec<Answer<()>>,
}

struct Failing {
    reading: Reading,
    code: &'static str,
    /// `None`: it is being tried.
    again_at_ms: Option<u64>,
}

/// What ends a nap.
enum Woken {
    Asked(Option<Ask>),
    Done(Done),
    Answered(u64, Result<crate::network::Answer, NetworkError>),
    Heard(Option<Heard>),
    /// The time for which the nap was set; `None` where it only was the longest there is.
    Time(Option<u64>),
}

impl Actor {
    pub fn start(task: Task) -> Actor {
        let Task { config, home, online, epoch, disk, keeper, done, network, asks, asks_back, status } = task;
        let mut actor = Actor {
            engine: Engine::new(config),
            home,
            clock: Clock::default(),
            keeper,
            done,
            network,
            asks,
            asks_back,
            is_abandoned: false,
            request: None,
            live: None,
            wake_at_ms: None,
            failing: Vec::new(),
            changes: Changes::default(),
            listeners: Vec::new(),
            status,
            waits: Vec::new(),
            imports: Vec::new(),
            imports_begun: 0,
            is_closing: false,
            is_over: false,
            endings: Vec::new(),
        };
        let (meta, slots) = (disk.meta.clone(), disk.slots.clone());
        if !online {
            actor.set_online(false);
        }
        actor.tell(|engine, now| engine.handle_opened(now, disk));
        actor.tell(|engine, now| engine.handle_lead(now, epoch, meta.as_deref(), slots));
        actor.drain();
        actor
    }

    pub async fn live(mut self) {
        while !self.is_over {
            let now_ms = self.now_ms();
            let due_ms = self.due_ms();
            let nap_ms = due_ms.saturating_sub(now_ms).min(LONGEST_NAP_MS);
            let reached = (due_ms <= now_ms + nap_ms).then_some(due_ms);
            let woken = tokio::select! {
                ask = self.asks.recv(), if !self.is_abandoned => Woken::Asked(ask),
                Some(done) = self.done.recv() => Woken::Done(done),
                (id, answer) = answered(&mut self.request) => Woken::Answered(id, answer),
                heard = heard(&mut self.live) => Woken::Heard(heard),
                () = tokio::time::sleep(Duration::from_millis(nap_ms)) => Woken::Time(reached),
            };
            self.take(woken);
            self.take_due();
            self.drain();
            self.end_waits();
        }
        self.end();
    }

    fn take(&mut self, woken: Woken) {
        match woken {
            Woken::Asked(Some(ask)) => ask(self),
            Woken::Asked(None) => {
                self.is_abandoned = true;
                self.close(None);
            }
            Woken::Done(done) => self.take_done(done),
            Woken::Answered(id, answer) => self.take_answer(id, answer),
            Woken::Heard(heard) => self.take_heard(heard),
            Woken::Time(Some(due_ms)) => {
                // Timers may go off a moment early by the system's clock; for the engine it is the time that it asked for.
                self.clock.reach(system_ms(), due_ms);
            }
            Woken::Time(None) => {}
        }
    }

    /// Calls the engine. What it then wants done is left for [`Actor::drain`].
    fn tell<R>(&mut self, tell: impl FnOnce(&mut Engine, u64) -> R) -> R {
        let now_ms = self.now_ms();
        tell(&mut self.engine, now_ms)
    }

    pub(crate) fn drain(&mut self) {
        while let Some(effect) = self.engine.poll() {
            self.carry_out(effect);
        }
    }

    // ---- time ----

    /// The engine's time: it never goes back.
    fn now_ms(&mut self) -> u64 {
        self.clock.read(system_ms())
    }

    /// When there is something to do that nobody tells of.
    fn due_ms(&self) -> u64 {
        let again = self.failing.iter().filter_map(|failing| failing.again_at_ms);
        let waits = self.waits.iter().map(|wait| wait.until_ms);
        self.wake_at_ms.into_iter().chain(again).chain(waits).min().unwrap_or(u64::MAX)
    }

    /// Does what is due, also where so much comes that no nap is ever slept through.
    fn take_due(&mut self) {
        let now_ms = self.now_ms();
        if self.wake_at_ms.take_if(|at_ms| *at_ms <= now_ms).is_some() {
            self.tell(|engine, now| engine.handle_tick(now));
        }
        self.read_again(now_ms);
    }

    /// Lets go of everything. What is not on the disk by now is lost.
    fn end(self) {
        let Actor { engine, keeper, changes, endings, .. } = self;
        keeper.end();
        let is_saved = engine.is_saved();
        let lost = Error::new("not_saved", "the space was closed before this device had saved all that was made in it");
        if !is_saved {
            changes.end_unsaved(&lost);
        }
        for ending in endings {
            let _ = ending.send(if is_saved { Ok(()) } else { Err(lost.clone()) });
        }
    }
}

/// The answer to the request that is under way; never, where there is none.
async fn answered(request: &mut Option<(u64, Asking)>) -> (u64, Result<crate::network::Answer, NetworkError>) {
    match request {
        Some((id, asking)) => (*id, asking.await),
        None => pending().await,
    }
}

/// What the live connection tells; never, where there is none.
async fn heard(live: &mut Option<Line>) -> Option<Heard> {
    match live {
        Some(line) => line.next().await,
        None => pending().await,
    }
}
