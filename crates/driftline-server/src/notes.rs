//! Servers on one PostgreSQL tell each other what they have committed.
//!
//! The log is the truth, and a note only says that a look is worth it. Notes of a moment go out together, after the commit and over a
//! connection of their own. Whatever gets lost on the way, a slow look at the revisions of watched spaces finds.

use crate::db::{DbError, Param, tls};
use crate::live::Hub;
use crate::log::Readers;
use crate::presence::{Presence, Said};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{interval, sleep};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Socket};

const CHANNEL: &str = "driftline";
/// Commits of so short a time are told of together.
const GATHER: Duration = Duration::from_millis(5);
/// A note has less than 8,000 bytes; a space's name has up to 64 characters.
const NOTE_SPACES: usize = 70;
/// How soon a lost note is made up for.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Of people who move, what they were last is told so often.
const MOVES: Duration = Duration::from_millis(50);
/// A state is doubled at most by being quoted, and stands with a space and a number.
const NOTE_STATES: usize = 3;
/// How often to look whether the server is gone.
const GONE_EVERY: Duration = Duration::from_millis(50);
/// How long one that stops goes on telling.
const LAST_NOTES: Duration = Duration::from_secs(20);
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// A schema, revisions of its spaces, and who is there.
#[derive(Default, Serialize, Deserialize)]
struct Note {
    schema: String,
    spaces: Vec<(String, u64)>,
    said: Vec<Said>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What other servers have not been told yet: the latest revision of each space.
#[derive(Default)]
pub struct Outgoing {
    spaces: Mutex<BTreeMap<String, u64>>,
    some: Notify,
}

impl Outgoing {
    pub fn add(&self, space: &str, rev: u64) {
        let mut spaces = lock(&self.spaces);
        let latest = spaces.entry(space.to_string()).or_default();
        *latest = rev.max(*latest);
        drop(spaces);
        self.some.notify_one();
    }

    fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *lock(&self.spaces))
    }
}

/// What a server knows that concerns others, and what it reads.
pub struct Known {
    pub hub: Weak<Hub>,
    pub presence: Arc<Presence>,
    pub readers: Arc<Readers>,
}

/// Tells and listens until the server stops, or is gone.
pub async fn exchange(config: Config, known: Known, outgoing: Arc<Outgoing>, mut stopping: watch::Receiver<bool>) {
    let all = async {
        loop {
            match tls::connect(&config).await {
                Ok((client, connection)) => connected(&client, connection, &known, &outgoing).await,
                Err(error) => tracing::warn!(%error, "cannot tell other servers of commits"),
            }
            // Nobody hears of who moves meanwhile, and of whom nobody tells is not there.
            known.presence.refresh();
            known.presence.take_outgoing();
            sleep(RECONNECT_AFTER).await;
        }
    };
    // What is committed at the end is told as well.
    let ended = async {
        while known.hub.strong_count() > 0 {
            sleep(GONE_EVERY).await;
        }
        sleep(GONE_EVERY).await;
    };
    let given_up = async {
        crate::live::stopped(&mut stopping).await;
        sleep(LAST_NOTES).await;
    };
    tokio::select! {
        () = all => {}
        () = ended => {}
        () = given_up => {}
    }
}

async fn connected(client: &Client, mut connection: Connection<Socket, tls::Stream>, known: &Known, outgoing: &Outgoing) {
    let Known { hub, presence, .. } = known;
    let own: Own = (AtomicI32::new(0), Mutex::new(String::new()));
    let hear = async {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(note))) if note.process_id() != own.0.load(Ordering::Relaxed) => {
                    let Some(hub) = hub.upgrade() else { continue };
                    let Note { schema, spaces, said } = serde_json::from_str(note.payload()).unwrap_or_default();
                    // Another app may be in another schema of the same database.
                    if schema == *lock(&own.1) {
                        spaces.iter().for_each(|(space, rev)| hub.heard(space, *rev));
                        said.into_iter().for_each(|said| presence.heard(said));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return tracing::warn!(%error, "the connection for notes has ended"),
                None => return,
            }
        }
    };
    tokio::select! {
        () = hear => {}
        told = tell(client, known, outgoing, &own) => match told {
            Ok(never) => match never {},
            Err(error) => tracing::warn!(%error, "the connection for notes fails"),
        },
    }
}

/// The connection's number, and the schema that its tables are in.
type Own = (AtomicI32, Mutex<String>);

async fn tell(client: &Client, known: &Known, outgoing: &Outgoing, own: &Own) -> Result<Infallible, tokio_postgres::Error> {
    let Known { hub, presence, readers } = known;
    let row = client.query_one("SELECT pg_backend_pid(), coalesce(CAST(current_schema() AS TEXT), '')", &[]).await?;
    own.0.store(row.get(0), Ordering::Relaxed);
    let schema: String = row.get(1);
    lock(&own.1).clone_from(&schema);
    client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
    let (mut looks, mut moves) = (interval(LOOK_EVERY), interval(MOVES));
    loop {
        tokio::select! {
            () = outgoing.some.notified() => {
                sleep(GATHER).await;
                let spaces: Vec<(String, u64)> = outgoing.take().into_iter().collect();
                for some in spaces.chunks(NOTE_SPACES) {
                    let note = Note { schema: schema.clone(), spaces: some.to_vec(), said: Vec::new() };
                    let told = notify(client, &note).await;
                    // By the next connection, then.
                    told.inspect_err(|_| spaces.iter().for_each(|(space, rev)| outgoing.add(space, *rev)))?;
                }
            }
            // The first comes at once: what was told before has not been heard.
            _ = looks.tick() => {
                presence.refresh();
                look(hub, readers).await;
            }
            _ = moves.tick() => {
                for said in presence.take_outgoing().chunks(NOTE_STATES) {
                    notify(client, &Note { schema: schema.clone(), spaces: Vec::new(), said: said.to_vec() }).await?;
                }
            }
        }
    }
}

async fn notify(client: &Client, note: &Note) -> Result<(), tokio_postgres::Error> {
    let note = serde_json::to_string(note).unwrap_or_default();
    client.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &note]).await.map(|_| ())
}

/// Reads how far the watched spaces are.
async fn look(hub: &Weak<Hub>, readers: &Arc<Readers>) {
    let watched = hub.upgrade().map(|hub| hub.watched()).unwrap_or_default();
    if watched.is_empty() {
        return;
    }
    let read = readers.run(move |store| {
        let one = |space: String| {
            let rev = store.db.first("SELECT rev FROM _space WHERE name = ?1", &[Param::from(space.as_str())], |row| row.bits(0))?;
            Ok::<_, DbError>(rev.map(|rev| (space, rev)))
        };
        store.db.reading(|| watched.into_iter().map(one).collect::<Result<Vec<_>, _>>())
    });
    match (read.await, hub.upgrade()) {
        (Some(Ok(revs)), Some(hub)) => revs.into_iter().flatten().for_each(|(space, rev)| hub.heard(&space, rev)),
        (Some(Err(error)), _) => tracing::warn!(%error, "cannot look how far spaces are"),
        _ => {}
    }
}
