//! What a client is before it runs: all that was found on this device.

use crate::actor::Actor;
use crate::client::Ask;
use crate::error::Error;
use crate::event::Status;
use crate::keeper::{Done, Keeper};
use crate::network::Network;
use crate::options::{Home, Options};
use crate::random::draw;
use crate::storage::{Disk, IMPORTED, Key, OWN, Storage};
use driftline_core::dedupe::own_client;
use driftline_core::engine::{Config, record_key};
use tokio::sync::{mpsc, watch};

/// What has to run for a client to live. It can be sent to the thread on which it shall run; there it stays.
pub struct Task {
    pub(crate) config: Config,
    pub(crate) home: Home,
    pub(crate) online: bool,
    pub(crate) epoch: u64,
    pub(crate) disk: Disk,
    pub(crate) keeper: Keeper,
    pub(crate) done: mpsc::UnboundedReceiver<Done>,
    pub(crate) network: Box<dyn Network>,
    pub(crate) asks: mpsc::UnboundedReceiver<Ask>,
    pub(crate) asks_back: mpsc::WeakUnboundedSender<Ask>,
    pub(crate) status: watch::Sender<Status>,
}

impl Task {
    /// Reads what there is.
    pub(crate) fn new(
        options: &Options,
        mut storage: Box<dyn Storage>,
        network: Box<dyn Network>,
        asks: mpsc::UnboundedReceiver<Ask>,
        asks_back: mpsc::WeakUnboundedSender<Ask>,
        status: watch::Sender<Status>,
    ) -> Result<Task, Error> {
        let (schema, home) = options.read()?;
        let client = storage.client(own_client(draw()))?;
        let epoch = storage.take_epoch()?;
        let disk = storage.read()?;
        let config = Config {
            schema,
            slot: OWN,
            client,
            high: numbers(&disk, OWN),
            imported: numbers(&disk, IMPORTED),
            seed: draw(),
            outbox_txns: options.outbox_txns,
            outbox_bytes: options.outbox_bytes,
        };
        let (tell_done, done) = mpsc::unbounded_channel();
        let keeper = Keeper::start(storage, tell_done);
        let keeper = keeper.map_err(|error| Error::new("storage_failed", format!("the system gives no thread: {error}")))?;
        Ok(Task { config, home, online: options.online, epoch, disk, keeper, done, network, asks, asks_back, status })
    }

    /// Ends when the client is closed.
    pub async fn run(self) {
        Actor::start(self).live().await;
    }
}

/// The numbers that are taken in a slot: those that were deleted, and those of records that are still there.
fn numbers(disk: &Disk, slot: u32) -> Vec<Key> {
    let mut numbers = Vec::new();
    for disk in disk.slots.iter().filter(|disk| disk.slot == slot) {
        numbers.extend(disk.high.iter().copied());
        numbers.extend(disk.records.iter().filter_map(|record| record_key(record)));
    }
    numbers
}
