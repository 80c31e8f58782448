//! All clients, on threads of their own: an engine stays on the thread on which it was made.

use crate::board::Board;
use crate::client;
use crate::clock::Clock;
use crate::histogram::Histogram;
use crate::options::Options;
use crate::rest::Desk;
use crate::server::{SCHEMA, Server};
use crate::tally::{Kind, Tally, lock};
use driftline_core::schema::Schema;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

/// So many enter each second: what is measured is a crowd at work, and not one at the door.
pub const ENTER_PER_S: f64 = 200.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase {
    /// Clients load their spaces and go live.
    Enter,
    /// They make edits.
    Edit {
        since: Instant,
    },
    /// They send what waits, and hear the rest.
    Rest,
    End,
}

/// What all clients share.
pub struct Shared {
    pub address: SocketAddr,
    pub clock: Clock,
    pub schema: Schema,
    pub tally: Tally,
    pub phase: watch::Receiver<Phase>,
    /// Edits a second of each.
    pub rate: f64,
    pub seed: u64,
}

pub struct Space {
    pub name: String,
    pub board: Mutex<Board>,
    /// One for each client.
    pub desks: Vec<Desk>,
    /// For looking at it from outside.
    pub token: String,
}

/// One client's place.
pub struct Seat {
    pub number: usize,
    pub space: Arc<Space>,
    /// Among the clients of the space.
    pub place: usize,
    /// Each client is a user of its own.
    pub token: String,
    pub enters_after: Duration,
}

impl Seat {
    pub fn desk(&self) -> &Desk {
        &self.space.desks[self.place]
    }
}

pub struct Crowd {
    pub shared: Arc<Shared>,
    pub spaces: Vec<Arc<Space>>,
    phase: watch::Sender<Phase>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.enter(Phase::End);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.shared.tally.count(Kind::Fault, "a thread of clients panicked");
            }
        }
    }
}

impl Crowd {
    /// Lets the clients in.
    pub fn start(options: &Options, server: &Server) -> Result<Crowd, String> {
        let (phase, watched) = watch::channel(Phase::Enter);
        let schema = Schema::parse(SCHEMA).map_err(|error| error.to_string())?;
        let (address, clock, tally) = (server.address, Clock::start(), Tally::default());
        let shared = Arc::new(Shared { address, clock, schema, tally, phase: watched, rate: options.rate, seed: options.seed });
        // A database may hold the spaces of earlier runs.
        let run = clock.now_ms();
        let mut spaces = Vec::with_capacity(options.spaces);
        for number in 0..options.spaces {
            let clients = (options.clients - number).div_ceil(options.spaces);
            let desks = (0..clients).map(|_| Desk::default()).collect();
            let (name, token) = (format!("load-{run:x}-{number}"), server.token("onlooker")?);
            spaces.push(Arc::new(Space { name, board: Mutex::new(Board::new(clients)), desks, token }));
        }
        let mut seats: Vec<Vec<Seat>> = (0..options.threads).map(|_| Vec::new()).collect();
        for number in 0..options.clients {
            let (space, place) = (spaces[number % options.spaces].clone(), number / options.spaces);
            let enters_after = Duration::from_secs_f64(number as f64 / ENTER_PER_S);
            let token = server.token(&format!("user-{number}"))?;
            seats[number % options.threads].push(Seat { number, space, place, token, enters_after });
        }
        // From here on dropping it ends what has been started.
        let mut crowd = Crowd { shared, spaces, phase, threads: Vec::new() };
        for seats in seats {
            let shared = crowd.shared.clone();
            let thread = std::thread::Builder::new().name("clients".to_string()).spawn(move || work(&shared, seats));
            crowd.threads.push(thread.map_err(|error| format!("no thread for clients: {error}"))?);
        }
        Ok(crowd)
    }

    pub fn enter(&self, phase: Phase) {
        // Nobody may be left to hear of it.
        let _ = self.phase.send(phase);
    }

    /// Transactions that wait in all outboxes.
    pub fn waiting(&self) -> usize {
        self.spaces.iter().map(|space| space.waiting()).sum()
    }

    /// From making edits to showing them, in all spaces so far.
    pub fn times(&self) -> Histogram {
        let mut times = Histogram::default();
        self.spaces.iter().for_each(|space| times.add(&lock(&space.board).times));
        times
    }

    /// How often an edit will never be shown to another client.
    pub fn close_boards(&self) -> u64 {
        let close = |space: &Arc<Space>| {
            let mut board = lock(&space.board);
            board.close();
            board.overtaken
        };
        self.spaces.iter().map(close).sum()
    }
}

impl Space {
    pub fn waiting(&self) -> usize {
        self.desks.iter().map(|desk| desk.waiting.load(Relaxed)).sum()
    }
}

/// Runs some clients until the end.
fn work(shared: &Arc<Shared>, seats: Vec<Seat>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return shared.tally.count(Kind::Fault, format!("no runtime for clients: {error}")),
    };
    let everybody = async {
        let tasks: Vec<_> = seats.into_iter().map(|seat| spawn_local(client::run(shared.clone(), seat))).collect();
        for task in tasks {
            if task.await.is_err() {
                shared.tally.count(Kind::Fault, "a client panicked");
            }
        }
    };
    LocalSet::new().block_on(&runtime, everybody);
}
