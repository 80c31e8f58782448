//! The boundary to JavaScript: a call crosses once per transaction going in, patches once per frame coming out, as JSON text.

use crate::base::{BaseDb, SLOTS};
use crate::driver::{Driver, Parts, slot_lock_name};
use crate::js::{get, global, listen, problem, random_u64};
use crate::locks::{Held, try_hold};
use crate::net::Net;
use crate::outbox::OutboxDb;
use driftline_core::dedupe::own_client;
use driftline_core::engine::{Config, Engine, IMPORTED, SlotDisk, parse_key, write_key};
use driftline_core::limits::is_space_name;
use driftline_core::outbox::Key;
use driftline_core::problem::Problem;
use driftline_core::schema::Schema;
use driftline_core::trace::{Arg, Trace};
use gloo_timers::future::TimeoutFuture;
use js_sys::Function;
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

/// Entries of the outbox that are shown at once.
const OUTBOX_SHOWN: usize = 1_000;
/// How long `close` waits for the disk.
const CLOSE_MS: u32 = 5_000;

/// Beyond so many waiting transactions, or bytes of them, an edit is refused; an app may say otherwise.
const OUTBOX_TXNS: f64 = 100_000.0;
const OUTBOX_BYTES: f64 = 64.0 * 1024.0 * 1024.0;

/// An open space.
#[wasm_bindgen]
pub struct Session {
    driver: Rc<Driver>,
    /// The app's switch; what the browser says of the network comes on top.
    online: Rc<Cell<bool>>,
}

#[wasm_bindgen]
impl Session {
    /// Resolves as soon as edits can be made; the event `loaded` follows when the local view is there. Where this device does not
    /// let its databases be opened, edits wait in memory until it does.
    pub async fn open(options: JsValue, on_patch: Function, on_event: Function) -> Result<Session, JsValue> {
        let token = get(&options, "token").dyn_into::<Function>().ok();
        let text = |name: &str| get(&options, name).as_string().unwrap_or_default();
        let limit = |name: &str, default: f64| get(&options, name).as_f64().unwrap_or(default) as usize;
        let schema = Schema::parse(&text("schema")).map_err(|e| problem("invalid_schema", &e.to_string()))?;
        let space = text("space");
        if !is_space_name(&space) {
            return Err(problem("invalid", "a space's name is 1 to 64 of A-Z a-z 0-9 _ . -"));
        }
        let prefix = format!("driftline/{}/{}/", text("app"), text("user"));
        // All databases are opened side by side.
        let (base, imported) = (BaseDb::new(&prefix), OutboxDb::new(&prefix, IMPORTED));
        base.database.prepare();
        imported.database.prepare();
        let (slot, slot_lock) = take_slot(&prefix, &space).await?;
        let outboxes = [OutboxDb::new(&prefix, slot), imported];
        let known = identity(&outboxes, &space).await;
        let (client, high, imported) = known.clone().unwrap_or_else(|_| (own_client(random_u64()), Vec::new(), Vec::new()));
        let config = Config {
            schema,
            slot,
            client,
            high,
            imported,
            seed: random_u64(),
            outbox_txns: limit("outbox_txns", OUTBOX_TXNS),
            outbox_bytes: limit("outbox_bytes", OUTBOX_BYTES),
        };
        let trace = get(&options, "trace").is_truthy().then(|| Trace::begin(&config, &text("schema")));
        let engine = Engine::new(config);
        let net = Net::new(&text("url"), &space, token, text("identity"));
        let driver = Driver::start(Parts { engine, trace, space, prefix, slot, base, outboxes, net, slot_lock, on_patch, on_event })?;
        if known.is_err() {
            // Whose slot this is stands on disk, and so do the numbers that are taken.
            driver.lose_slot(slot);
        }
        let session = Session { driver, online: Rc::new(Cell::new(true)) };
        session.watch_network();
        Ok(session)
    }

    /// Makes a transaction. Returns `{"key", "patch"}`, or `{"problem"}`: then nothing has changed.
    pub fn edit(&self, json: &str) -> String {
        // Older patches first, or they would undo this one in the application's rows.
        self.driver.drain();
        self.driver.flush();
        let made = self.driver.with(self.driver.noted("transact", &[Arg::Text(json)]), |engine, now| engine.transact(now, json));
        let mut out = String::new();
        match made {
            Ok(made) => write_made(&made, &mut out),
            Err(problem) => out = refused(problem),
        }
        out
    }

    /// Undoes the last step of this tab, or redoes the last undone. Like [`Session::edit`]: one object for each transaction that
    /// it took, in a list; an empty list where there is nothing to undo.
    pub fn undo(&self, redo: bool) -> String {
        self.driver.drain();
        self.driver.flush();
        let made = self.driver.with(self.driver.noted(if redo { "redo" } else { "undo" }, &[]), |engine, now| {
            if redo { engine.redo(now) } else { engine.undo(now) }
        });
        let mut out = String::from("[");
        match made {
            Ok(made) => {
                for (i, made) in made.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_made(made, &mut out);
                }
            }
            Err(problem) => return refused(problem),
        }
        out.push(']');
        out
    }

    /// What waits, in the order in which it would be sent; at most 1,000.
    pub fn outbox(&self) -> String {
        self.driver.look(|engine, now| engine.outbox_json(now, OUTBOX_SHOWN))
    }

    pub fn status(&self) -> JsValue {
        let status = self.driver.look(|engine, _| engine.status());
        js_sys::JSON::parse(&status).unwrap_or(JsValue::NULL)
    }

    /// `[rev, digest, rows]` of the base: what this device believes that the server holds.
    pub fn digest(&self) -> JsValue {
        let (rev, digest, rows) = self.driver.look(|engine, _| {
            let replica = engine.replica();
            (replica.rev, format!("{:032x}", replica.digest.0), replica.base().len())
        });
        serde_wasm_bindgen::to_value(&(rev, digest, rows)).unwrap_or(JsValue::NULL)
    }

    /// Carries out a decision about what waits. Returns `{}`, or `{"problem"}`.
    pub fn decide(&self, decision: &str) -> String {
        let result = self.driver.with(self.driver.noted("decide", &[Arg::Text(decision)]), |engine, now| engine.decide(now, decision));
        // Whoever decides finds the view changed when the call returns.
        self.driver.drain();
        self.driver.flush();
        result.map_or_else(refused, |()| "{}".to_string())
    }

    /// What was found on this device and cannot be read, as a JSON list of `{"key", "record"}`.
    pub fn damaged(&self) -> String {
        self.driver.look(|engine, _| engine.damaged_json())
    }

    /// What waits, as a file may hold it; or `{"problem"}`.
    pub fn export_waiting(&self, key: &str, dependents: bool) -> String {
        let key = parse_key(key).unwrap_or_default();
        self.driver.look(|engine, _| engine.export(key, dependents)).unwrap_or_else(refused)
    }

    /// All that waits, for a file; see the core.
    pub fn export_unsynced(&self) -> String {
        self.driver.with(self.driver.noted("export_unsynced", &[]), |engine, now| engine.export_unsynced(now))
    }

    /// Looks through records of a file: what is to be written, and what to be told then; or `{"problem"}`.
    pub fn admit(&self, records: &str) -> String {
        self.driver.look(|engine, _| engine.admit(records)).unwrap_or_else(refused)
    }

    /// Takes what has been written into the slot of what is imported. The view has it when the call returns.
    pub fn imported(&self, message: String) {
        self.driver.clone().hear(IMPORTED, message);
        self.driver.drain();
        self.driver.flush();
    }

    /// What the engine has been told, where the option `trace` was given.
    pub fn trace(&self) -> Option<String> {
        self.driver.trace()
    }

    pub fn set_online(&self, on: bool) {
        self.online.set(on);
        self.driver.set_online(on && network_is_there());
    }

    /// Writes what was made without delay: somebody waits for it.
    pub fn save_now(&self) {
        self.driver.save_now();
    }

    /// Waits until what was made is on disk, and what was accepted waits there no more; then lets go of everything. Returns whether all that
    /// was made is on disk.
    pub async fn close(&self) -> bool {
        self.save_now();
        let mut waited = 0;
        while (!self.driver.is_saved() || self.driver.is_settling()) && waited < CLOSE_MS {
            TimeoutFuture::new(5).await;
            waited += 5;
        }
        let is_saved = self.driver.is_saved();
        self.driver.close();
        is_saved
    }

    fn watch_network(&self) {
        for (target, event) in [("self", "online"), ("self", "offline"), ("document", "visibilitychange"), ("self", "pagehide")] {
            let (driver, online) = (Rc::downgrade(&self.driver), self.online.clone());
            listen(&global(target), event, move |_| {
                if let Some(driver) = driver.upgrade().filter(|driver| !driver.closed.get()) {
                    let online = online.get() && network_is_there();
                    // The page may end after this.
                    driver.save_now();
                    driver.set_online(online);
                }
            });
        }
        self.driver.set_online(network_is_there());
    }
}

fn write_made((key, patch): &(Key, String), out: &mut String) {
    out.push_str("{\"key\":\"");
    write_key(*key, out);
    out.push_str("\",\"patch\":");
    out.push_str(patch);
    out.push('}');
}

fn refused(problem: Problem) -> String {
    let mut out = String::from("{\"problem\":");
    problem.write_json(&mut out);
    out.push('}');
    out
}

/// A browser that knows that it is offline says so; one that says otherwise may be wrong.
fn network_is_there() -> bool {
    get(&global("navigator"), "onLine").as_bool().unwrap_or(true)
}

/// The client id of a slot, and the numbers that are taken in it and by what was imported.
async fn identity([own, imported]: &[OutboxDb; 2], space: &str) -> Result<(u64, Vec<Key>, Vec<Key>), JsValue> {
    let client = own.client(own_client(random_u64())).await?;
    let (own, imported) = (own.read(space).await?, imported.read(space).await);
    // Where what was imported cannot be told, any number may be taken.
    Ok((client, numbers(own), imported.map_or_else(|_| vec![(client, u64::MAX)], numbers)))
}

fn numbers(disk: SlotDisk) -> Vec<Key> {
    let mut high = disk.high;
    // Numbers of records still there are used too; the engine reads them again when it loads.
    high.extend(disk.records.iter().filter_map(|record| driftline_core::engine::record_key(record)));
    high
}

/// The lowest free slot.
async fn take_slot(prefix: &str, space: &str) -> Result<(u32, Held), JsValue> {
    for slot in 0..SLOTS {
        if let Some(held) = try_hold(&slot_lock_name(prefix, space, slot)).await? {
            return Ok((slot, held));
        }
    }
    Err(problem("too_many_tabs", "close some tabs of this application: 256 are open"))
}
