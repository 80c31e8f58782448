//! What an app holds of an open space.

use crate::actor::Actor;
use crate::change::Change;
use crate::edits::Edits;
use crate::error::Error;
use crate::event::{Event, Status};
use crate::network::{Network, Web};
use crate::options::Options;
use crate::rows::Row;
use crate::storage::{Sqlite, Storage};
use crate::task::Task;
use crate::transfer::{Exported, Imported};
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};

/// Something for the task that owns the engine to do.
pub(crate) type Ask = Box<dyn FnOnce(&mut Actor) + Send>;

/// Who waits for the answer to one.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// An open space. Its copies are one; with the last of them the space is closed, as [`Client::close`] does.
///
/// Calls are carried out in the order in which they are made, whether their replies are waited for or not. None of them waits for the
/// disk or the network, but for those that say so.
#[derive(Clone)]
pub struct Client {
    asks: mpsc::UnboundedSender<Ask>,
    status: watch::Receiver<Status>,
}

impl Client {
    /// Opens a space with its rows as they are on this device; the server is looked for afterwards. Waits for the disk. The engine lives
    /// on a thread of its own, and so does its storage.
    ///
    /// Fails with `in_use`, `wrong_user`, `invalid_schema`, `invalid`, or a code that begins with `storage_`.
    pub fn open(options: Options) -> Result<Client, Error> {
        let (_, home) = options.read()?;
        let network = Web::new(&options)?;
        let storage = Sqlite::open(&options.path, &home)?;
        let (client, task) = Client::with(options, storage, network)?;
        let failed = |error: std::io::Error| Error::new("storage_failed", format!("the system gives no thread: {error}"));
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let thread = std::thread::Builder::new().name("driftline".to_string());
        thread.spawn(move || runtime.block_on(task.run())).map_err(failed)?;
        Ok(client)
    }

    /// The same on another storage or network. The task has to be run by the caller, on a Tokio runtime with I/O and timers, for as long
    /// as the client lives: `tokio::task::spawn_local(task.run())`, where many share a thread.
    pub fn with(options: Options, storage: impl Storage, network: impl Network) -> Result<(Client, Task), Error> {
        let (asks, received) = mpsc::unbounded_channel();
        let (status, watched) = watch::channel(Status::opening());
        let task = Task::new(&options, Box::new(storage), Box::new(network), received, asks.downgrade(), status)?;
        Ok((Client { asks, status: watched }, task))
    }

    // ---- edits ----

    /// Makes edits that take effect together or not at all. The view has changed when the reply comes. Where they cannot be, it is the
    /// problem, and nothing has changed.
    pub fn transact(&self, edits: impl Into<Edits>) -> Reply<Change> {
        let edits = edits.into();
        self.ask(move |actor| actor.transact(&edits))
    }

    /// Takes back what this client did last, as far as nobody has gone on from it, by transactions like any other. None where there is
    /// nothing to undo.
    pub fn undo(&self) -> Reply<Vec<Change>> {
        self.ask(|actor| actor.take_back(false))
    }

    /// Takes back the last undo.
    pub fn redo(&self) -> Reply<Vec<Change>> {
        self.ask(|actor| actor.take_back(true))
    }

    // ---- the view ----

    /// All rows of a table, sorted by id. Fails with `invalid` where there is no such table.
    pub fn rows(&self, table: &str) -> Reply<Vec<Row>> {
        let table = table.to_string();
        self.ask(move |actor| actor.rows(&table))
    }

    /// One row, where it is there.
    pub fn get(&self, table: &str, id: &str) -> Reply<Option<Row>> {
        let (table, id) = (table.to_string(), id.to_string());
        self.ask(move |actor| actor.row(&table, &id))
    }

    /// Calls `hear` with all that happens from now on, until the subscription is dropped. It is called on the engine's thread: it may call
    /// this client, but must not wait for anything.
    pub fn subscribe(&self, hear: impl FnMut(&Event) + Send + 'static) -> Subscription {
        let alive = Arc::new(());
        let listener = (Arc::downgrade(&alive), Box::new(hear) as Box<dyn FnMut(&Event) + Send>);
        // Where the space is closed nothing will happen any more.
        let _ = self.asks.send(Box::new(move |actor| actor.listen(listener)));
        Subscription { _alive: alive }
    }

    /// True within 5 s of any cause.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The status as it changes.
    pub fn statuses(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    // ---- what waits ----

    /// What waits, in the order in which it would be sent, at most 1,000: `{"key", "state", "edits": [{"op", "table", "id"}], "waits_on",
    /// "problem"}`; of what is parked or suspended also `before` (what the server holds of its rows) and `dependents`.
    pub fn outbox(&self) -> Reply<Vec<Value>> {
        self.ask(|actor| actor.outbox())
    }

    /// Sends a parked transaction again.
    pub fn retry(&self, key: &str) -> Reply<()> {
        self.decide(json!({"what": "retry", "key": key}))
    }

    /// Gives a transaction up; with `dependents`, also those that cannot take effect without it.
    pub fn discard(&self, key: &str, dependents: bool) -> Reply<()> {
        self.decide(json!({"what": "discard", "key": key, "dependents": dependents}))
    }

    /// Makes a waiting transaction say something else.
    pub fn amend(&self, key: &str, edits: impl Into<Edits>) -> Reply<()> {
        self.decide(json!({"what": "amend", "key": key, "edits": edits.into().into_list()}))
    }

    /// Any decision about what waits: those above, `{"what": "reparent", "key", "from": {"table", "id"}, "to", "dependents"}` (references
    /// move to another row, or to none), and `{"what": "detach", "key"}` (references to what it makes become null).
    pub fn decide(&self, decision: Value) -> Reply<()> {
        self.ask(move |actor| actor.decide(&decision))
    }

    /// Comes once all that was made here before is on this device's disk.
    pub fn saved(&self) -> Reply<()> {
        self.ask_later(|actor, answer| actor.tell_saved(answer))
    }

    /// Resolves once nothing waits any more; fails with `parked` where the rest is the user's to decide.
    pub fn accepted(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        // The status is that of after this.
        let (asked, mut status) = (self.ask(|_| Ok(())), self.status.clone());
        async move {
            asked.await?;
            let settled = status.wait_for(|status| status.queued + status.in_flight == 0).await;
            match settled.map(|status| status.parked) {
                Ok(0) => Ok(()),
                Ok(parked) => Err(Error::new("parked", format!("{parked} transactions cannot go on as they are: `outbox` tells why"))),
                Err(_) => Err(Error::closed()),
            }
        }
    }

    /// The app's own switch: while it is off nothing is sent, and everything is kept. To say `true` again, as when a machine wakes up or
    /// gets a network, makes it try soon.
    pub fn set_online(&self, online: bool) -> Reply<()> {
        self.ask(move |actor| {
            actor.set_online(online);
            Ok(())
        })
    }

    // ---- files ----

    /// All that waits on this device as a file that this user can import on any device, in a browser too. It stays here, and takes effect
    /// once, whoever sends it first. Waits until what was made is on the disk, 2 s at most.
    pub fn export_unsynced(&self) -> Reply<Exported> {
        self.ask_later(|actor, answer| actor.export(answer))
    }

    /// Takes a file of unsynced work. What it holds is on this disk, and seen, when the reply comes. Refused (`invalid_file`, `wrong_app`,
    /// `wrong_space`, `wrong_user`, `key_reused`, `schema_newer`, `outbox_full`), it changes nothing.
    ///
    /// With `other_user` it takes the work of another user as this one's. If that one's device sends it too, it takes effect twice.
    pub fn import_unsynced(&self, text: &str, other_user: bool) -> Reply<Imported> {
        let text = text.to_string();
        self.ask_later(move |actor, answer| actor.import(&text, other_user, answer))
    }

    // ---- the end ----

    /// Saves what is not yet on the disk, 5 s at most, and lets the space go: when the reply comes it can be opened again. What waits is
    /// sent then. Fails with `not_saved` where the disk did not take all of it.
    pub fn close(&self) -> Reply<()> {
        self.ask_later(|actor, answer| actor.close(Some(answer)))
    }

    fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&mut Actor) -> Result<T, Error> + Send + 'static) -> Reply<T> {
        self.ask_later(move |actor, answer| {
            let result = ask(actor);
            // Whoever has the answer finds status and listeners told.
            actor.drain();
            let _ = answer.send(result);
        })
    }

    fn ask_later<T: Send + 'static>(&self, ask: impl FnOnce(&mut Actor, Answer<T>) + Send + 'static) -> Reply<T> {
        let (answer, reply) = oneshot::channel();
        // Where the space is closed the answer goes with this.
        let _ = self.asks.send(Box::new(move |actor| ask(actor, answer)));
        Reply(reply)
    }
}

/// What comes of a call: await it, or [`Reply::wait`] for it. Dropped, it takes nothing back. Fails with `closed` where the space is.
pub struct Reply<T>(oneshot::Receiver<Result<T, Error>>);

impl<T> Reply<T> {
    /// Keeps this thread until the reply comes. Not for async code, in which it panics; nor for what [`Client::subscribe`] calls.
    pub fn wait(self) -> Result<T, Error> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(Error::closed()))
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(Error::closed())))
    }
}

/// Ends when it is dropped.
#[must_use = "nothing is heard any more once this is dropped"]
pub struct Subscription {
    _alive: Arc<()>,
}
