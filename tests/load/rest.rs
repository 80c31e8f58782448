//! The end: nothing waits any more, and everybody shows what the server holds.

use crate::crowd::{Crowd, Space};
use crate::http::Http;
use crate::server::Server;
use crate::tally::lock;
use driftline_core::digest::Digest;
use driftline_core::wire::read_snapshot;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Who has not recovered by then has not recovered.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(250);
const TELL_EVERY: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What somebody holds: a revision, and the digest of the rows themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    pub rev: u64,
    pub digest: u128,
}

/// What a client says of itself.
#[derive(Default)]
pub struct Desk {
    /// Transactions in its outbox.
    pub waiting: AtomicUsize,
    /// What it shows at rest.
    pub held: Mutex<Option<Held>>,
}

pub struct Settled {
    pub seconds: f64,
    /// The spaces in which not all is well, each with the reason.
    pub behind: Vec<String>,
}

/// Waits until all is well in every space, or for as long as anybody would.
pub async fn settle(server: &mut Server, crowd: &Crowd) -> Result<Settled, String> {
    let began = Instant::now();
    let mut told = began;
    let mut open: Vec<&Space> = crowd.spaces.iter().map(AsRef::as_ref).collect();
    loop {
        server.check()?;
        let (mut behind, mut left) = (Vec::new(), Vec::new());
        for space in open {
            let verdict = if began.elapsed() > PATIENCE { Err("there was no time to look".to_string()) } else { agree(crowd, space).await };
            if let Err(why) = verdict {
                behind.push(format!("{}: {why}", space.name));
                left.push(space);
            }
        }
        if left.is_empty() || began.elapsed() > PATIENCE {
            return Ok(Settled { seconds: began.elapsed().as_secs_f64(), behind });
        }
        open = left;
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            println!("{} spaces are not at rest yet; {} transactions wait", open.len(), crowd.waiting());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Whether all clients of a space have sent everything, and show the same rows as the server holds.
async fn agree(crowd: &Crowd, space: &Space) -> Result<(), String> {
    let waiting = space.waiting();
    if waiting > 0 {
        return Err(format!("{waiting} transactions wait"));
    }
    let held: Vec<Option<Held>> = space.desks.iter().map(|desk| *lock(&desk.held)).collect();
    let first = held.first().copied().flatten().ok_or("a client has not come to rest")?;
    let others = held.iter().filter(|held| **held != Some(first)).count();
    if others > 0 {
        return Err(format!("{others} of {} clients do not show what the first shows", held.len()));
    }
    let stands = server_holds(crowd, space).await?;
    if stands != first {
        let (shown, stood) = (first.digest, stands.digest);
        return Err(format!("clients show {shown:032x} at revision {}, the server holds {stood:032x} at {}", first.rev, stands.rev));
    }
    Ok(())
}

async fn server_holds(crowd: &Crowd, space: &Space) -> Result<Held, String> {
    let schema = &crowd.shared.schema;
    let http = Http::new(crowd.shared.address, &space.name, &space.token);
    let answer = timeout(ANSWER_TIMEOUT, http.request(None)).await.map_err(|_| "the server does not answer")??;
    let snapshot = read_snapshot(schema, &answer.body).ok_or_else(|| format!("the server answers {} and no snapshot", answer.status))?;
    let mut digest = Digest::default();
    snapshot.rows.iter().for_each(|(key, row)| digest.add(schema, *key, row));
    if digest != snapshot.digest {
        return Err("the server's digest is not that of its rows".to_string());
    }
    Ok(Held { rev: snapshot.rev, digest: digest.0 })
}
