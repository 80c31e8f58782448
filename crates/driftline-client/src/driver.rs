//! The one loop that carries out the engine's effects and feeds back what came of them. Nothing else awaits on its behalf.

use crate::base::{BaseDb, Commit};
use crate::channel::Channel;
use crate::js::{now_ms, spawn, storage_code};
use crate::locks::{Held, steal, try_hold, wait_hold};
use crate::net::{Heard, Live, Net};
use crate::outbox::{OutboxDb, Write};
use driftline_core::clock::Clock;
use driftline_core::engine::{Disk, Effect, Engine, IMPORTED, SlotDisk};
use driftline_core::sender::SendFailure;
use driftline_core::trace::{Arg, Call, Trace};
use gloo_timers::callback::Timeout;
use gloo_timers::future::TimeoutFuture;
use js_sys::Function;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::JsValue;
use web_sys::AbortController;

/// Patches that come from elsewhere cross to the application at once, and at most this often: once per frame.
const FRAME_MS: u32 = 16;
/// How long to wait before a database that could not be read is read again.
const READ_AGAIN_MS: u32 = 1_000;

/// What the engine is called with is not forgotten.
pub struct Noted(Option<Call>);

pub struct Driver {
    engine: RefCell<Engine>,
    trace: RefCell<Option<Trace>>,
    clock: Cell<Clock>,
    pub space: String,
    /// What the names of databases, locks and channels begin with: application and user.
    prefix: String,
    slot: u32,
    base: BaseDb,
    /// One per slot that was ever looked at.
    outboxes: RefCell<Vec<Rc<OutboxDb>>>,
    /// What cannot be opened or read, and why.
    failing: RefCell<Vec<(Failing, String)>>,
    channel: RefCell<Option<Channel>>,
    net: Net,
    request: RefCell<Option<AbortController>>,
    live: RefCell<Option<Live>>,
    /// Counts live connections, so that an old one is not heard any more.
    live_count: Cell<u32>,
    slot_lock: RefCell<Option<Held>>,
    send_lock: RefCell<Option<Held>>,
    /// Counts this tab's requests for it: an earlier one that is granted after all is given back.
    turns: Cell<u32>,
    /// Slots of other tabs whose end is waited for.
    watched: RefCell<Vec<u32>>,
    on_patch: Function,
    on_event: Function,
    /// Patches and the status for the next frame.
    patches: RefCell<Vec<String>>,
    status: RefCell<Option<String>>,
    frame: Cell<bool>,
    /// When it was handed what it had not asked for.
    last_frame_ms: Cell<u64>,
    scheduled: Cell<bool>,
    /// Messages heard before the disk was read.
    early: RefCell<Option<Vec<String>>>,
    pub closed: Rc<Cell<bool>>,
}

/// What may fail on this device, beside writing.
#[derive(Clone, Copy, PartialEq)]
enum Failing {
    Base,
    Slot(u32),
    /// To read all that there is.
    Reading,
    /// To begin to send.
    Leading,
}

pub struct Parts {
    pub engine: Engine,
    pub trace: Option<Trace>,
    pub space: String,
    pub prefix: String,
    pub slot: u32,
    pub base: BaseDb,
    /// Of its own slot, and of what was imported.
    pub outboxes: [OutboxDb; 2],
    pub net: Net,
    pub slot_lock: Held,
    pub on_patch: Function,
    pub on_event: Function,
}

impl Driver {
    pub fn start(parts: Parts) -> Result<Rc<Driver>, JsValue> {
        let driver = Rc::new(Driver {
            engine: RefCell::new(parts.engine),
            trace: RefCell::new(parts.trace),
            clock: Cell::default(),
            space: parts.space,
            prefix: parts.prefix,
            slot: parts.slot,
            base: parts.base,
            outboxes: RefCell::default(),
            failing: RefCell::default(),
            channel: RefCell::new(None),
            net: parts.net,
            request: RefCell::new(None),
            live: RefCell::new(None),
            live_count: Cell::new(0),
            slot_lock: RefCell::new(Some(parts.slot_lock)),
            send_lock: RefCell::new(None),
            turns: Cell::new(0),
            watched: RefCell::default(),
            on_patch: parts.on_patch,
            on_event: parts.on_event,
            patches: RefCell::default(),
            status: RefCell::default(),
            frame: Cell::new(false),
            last_frame_ms: Cell::new(0),
            scheduled: Cell::new(false),
            early: RefCell::new(Some(Vec::new())),
            closed: Rc::default(),
        });
        driver.look_after_base();
        for outbox in parts.outboxes {
            driver.look_after(Rc::new(outbox));
        }
        let hearing = driver.clone();
        let name = format!("{}tabs/{}", driver.prefix, driver.space);
        let channel = Channel::open(&name, driver.slot, move |slot, text| hearing.clone().hear(slot, text))?;
        *driver.channel.borrow_mut() = Some(channel);
        driver.schedule();
        // What is there is read first: a write would hold it up.
        spawn(driver.clone().open());
        // So that others look into this slot.
        spawn(driver.clone().open_again(Failing::Base));
        Ok(driver)
    }

    /// Writes down what the engine is about to be called with, where there is a trace.
    pub fn noted(&self, name: &'static str, args: &[Arg<'_>]) -> Noted {
        Noted(self.trace.borrow().as_ref().is_some_and(Trace::is_whole).then(|| Call::new(name, args)))
    }

    /// Asks the engine something.
    pub fn look<R>(&self, ask: impl FnOnce(&Engine, u64) -> R) -> R {
        ask(&self.engine.borrow(), self.now_ms())
    }

    /// What the engine has been told since the space was opened, if that was asked for then.
    pub fn trace(&self) -> Option<String> {
        let mut trace = self.trace.borrow_mut();
        trace.as_mut().map(|trace| self.look(|engine, now| trace.text(engine, now)))
    }

    /// Calls the engine, and sees to it that what follows is carried out.
    pub fn with<R>(self: &Rc<Self>, noted: Noted, call: impl FnOnce(&mut Engine, u64) -> R) -> R {
        let now_ms = self.now_ms();
        if let (Some(trace), Some(call)) = (&mut *self.trace.borrow_mut(), &noted.0) {
            trace.called(now_ms, call);
        }
        let result = call(&mut self.engine.borrow_mut(), now_ms);
        self.schedule();
        result
    }

    pub fn set_online(self: &Rc<Self>, online: bool) {
        let noted = self.noted("set_online", &[Arg::Number(online.into())]);
        self.with(noted, |engine, now| engine.set_online(now, online));
    }

    /// Writes what was made without delay.
    pub fn save_now(self: &Rc<Self>) {
        self.with(self.noted("save_now", &[]), |engine, now| engine.save_now(now));
    }

    /// A timer may fire a moment early, or after the clock was set back; for the engine it is the time it asked for.
    fn tick(self: &Rc<Self>, at_ms: u64) {
        self.read_clock(|clock, system_ms| clock.reach(system_ms, at_ms));
        self.with(self.noted("tick", &[]), |engine, now| engine.handle_tick(now));
    }

    /// The engine's time.
    fn now_ms(&self) -> u64 {
        self.read_clock(|clock, system_ms| clock.read(system_ms))
    }

    fn read_clock(&self, read: impl FnOnce(&mut Clock, u64) -> u64) -> u64 {
        let mut clock = self.clock.get();
        let now_ms = read(&mut clock, now_ms());
        self.clock.set(clock);
        now_ms
    }

    /// Everything that one task did is carried out together, after it.
    fn schedule(self: &Rc<Self>) {
        if !self.scheduled.replace(true) {
            let driver = self.clone();
            spawn(async move { driver.drain() });
        }
    }

    pub fn drain(self: &Rc<Self>) {
        self.scheduled.set(false);
        // A closed session no longer has its locks: whatever it did now, another tab may be doing.
        while !self.closed.get() {
            if let Some(trace) = &mut *self.trace.borrow_mut() {
                trace.polled();
            }
            let effect = self.engine.borrow_mut().poll();
            match effect {
                Some(effect) => self.run(effect),
                None => break,
            }
        }
    }

    fn run(self: &Rc<Self>, effect: Effect) {
        let driver = self.clone();
        match effect {
            Effect::Save { id, slot, client, puts, deletes } => spawn(async move {
                let outbox = driver.outbox(slot);
                let written = outbox.write(&driver.space, Write { client, puts, deletes }).await;
                driver.note_lost_slot(&outbox);
                let which = [Arg::Number(slot.into()), Arg::Number(id)];
                match written {
                    Ok(()) => driver.with(driver.noted("saved", &which), |engine, now| engine.handle_saved(now, slot, id)),
                    Err(code) => {
                        let [slot_arg, id_arg] = which;
                        let noted = driver.noted("save_failed", &[slot_arg, id_arg, Arg::Text(&code)]);
                        driver.with(noted, |engine, now| engine.handle_save_failed(now, slot, id, &code));
                    }
                }
            }),
            Effect::Commit { id, epoch, meta, tail, base } => spawn(driver.commit(id, Commit { epoch, meta, tail, base })),
            Effect::Push { id, body } => spawn(driver.ask(id, Some(body))),
            Effect::Fetch { id } => spawn(driver.ask(id, None)),
            // There is one at a time.
            Effect::Abort { .. } => {
                if let Some(request) = self.request.take() {
                    request.abort();
                }
            }
            Effect::Connect { cursor } => spawn(driver.connect(cursor)),
            Effect::Disconnect => {
                self.live_count.set(self.live_count.get() + 1);
                self.live.borrow_mut().take();
            }
            Effect::Broadcast(text) => {
                if let Some(channel) = &*self.channel.borrow() {
                    channel.post(&text);
                }
            }
            Effect::Reload => spawn(async move {
                if let Some(disk) = driver.read_when_possible().await {
                    driver.with(driver.noted("reloaded", &[Arg::Disk(&disk)]), |engine, now| engine.handle_reloaded(now, disk));
                }
            }),
            Effect::RenewEpoch { at_least } => spawn(driver.renew_epoch(at_least)),
            Effect::Replace if self.send_lock.borrow().is_none() => spawn(driver.lead(true)),
            // It is about to take over anyway.
            Effect::Replace => {}
            Effect::Patch(patch) => {
                self.patches.borrow_mut().push(patch);
                self.next_frame();
            }
            Effect::Event(event) => self.event(&event),
            Effect::Wake { at_ms } => {
                let delay = at_ms.saturating_sub(self.now_ms()).min(i32::MAX as u64) as u32;
                Timeout::new(delay, move || driver.tick(at_ms)).forget();
            }
        }
    }

    // ---- the application ----

    fn event(self: &Rc<Self>, event: &str) {
        if event.starts_with("{\"event\":\"status\"") {
            *self.status.borrow_mut() = Some(event.to_string());
            return self.next_frame();
        }
        // Whoever waits for an edit must find it in the view.
        self.flush();
        let _ = self.on_event.call1(&JsValue::NULL, &event.into());
    }

    fn next_frame(self: &Rc<Self>) {
        if self.frame.replace(true) {
            return;
        }
        let driver = self.clone();
        let since_last = now_ms().saturating_sub(self.last_frame_ms.get());
        match u64::from(FRAME_MS).saturating_sub(since_last) {
            0 => spawn(async move { driver.end_frame() }),
            rest_ms => drop(Timeout::new(rest_ms as u32, move || driver.end_frame()).forget()),
        }
    }

    fn end_frame(&self) {
        self.frame.set(false);
        self.last_frame_ms.set(now_ms());
        self.flush();
        let status = self.status.borrow_mut().take();
        if let Some(status) = status {
            let _ = self.on_event.call1(&JsValue::NULL, &status.into());
        }
    }

    /// Hands over the patches that wait for the frame, in order.
    pub fn flush(&self) {
        let patches = std::mem::take(&mut *self.patches.borrow_mut());
        for patch in patches {
            let _ = self.on_patch.call1(&JsValue::NULL, &patch.into());
        }
    }

    // ---- databases ----

    fn outbox(self: &Rc<Self>, slot: u32) -> Rc<OutboxDb> {
        let known = self.outboxes.borrow().iter().find(|outbox| outbox.slot == slot).cloned();
        known.unwrap_or_else(|| self.look_after(Rc::new(OutboxDb::new(&self.prefix, slot))))
    }

    fn look_after(self: &Rc<Self>, outbox: Rc<OutboxDb>) -> Rc<OutboxDb> {
        let (driver, slot) = (Rc::downgrade(self), outbox.slot);
        outbox.database.on_closed(move || {
            if let Some(driver) = driver.upgrade() {
                spawn(async move { driver.open_again(Failing::Slot(slot)).await });
            }
        });
        self.outboxes.borrow_mut().push(outbox.clone());
        outbox
    }

    fn look_after_base(self: &Rc<Self>) {
        let driver = Rc::downgrade(self);
        self.base.database.on_closed(move || {
            if let Some(driver) = driver.upgrade() {
                spawn(async move { driver.open_again(Failing::Base).await });
            }
        });
    }

    /// Opens a database that was closed from outside: what it held may be gone, and then is written again from memory.
    async fn open_again(self: Rc<Self>, what: Failing) {
        loop {
            let opened = match what {
                Failing::Slot(slot) => {
                    let outbox = self.outbox(slot);
                    let opened = outbox.database.open().await;
                    self.note_lost_slot(&outbox);
                    opened.map(drop).map_err(|error| storage_code(&error))
                }
                _ => self.open_base().await,
            };
            if !self.tries_again(what, opened.err()).await {
                return;
            }
        }
    }

    async fn open_base(self: &Rc<Self>) -> Result<(), String> {
        self.base.database.open().await.map_err(|error| storage_code(&error))?;
        let slots = self.outboxes.borrow().iter().map(|outbox| outbox.slot).filter(|slot| *slot != IMPORTED).max();
        self.base.note_opened(&self.space, slots.unwrap_or(self.slot), now_ms()).await?;
        let epoch = self.engine.borrow().epoch();
        if let Some(epoch) = epoch.filter(|_| self.base.database.take_lost()) {
            self.base.keep_epoch(&self.space, epoch).await?;
            self.with(self.noted("base_lost", &[]), |engine, now| engine.handle_base_lost(now));
        }
        Ok(())
    }

    /// The database of a slot is a new and empty one.
    pub fn lose_slot(self: &Rc<Self>, slot: u32) {
        self.with(self.noted("slot_lost", &[Arg::Number(slot.into())]), |engine, now| engine.handle_slot_lost(now, slot));
    }

    fn note_lost_slot(self: &Rc<Self>, outbox: &OutboxDb) {
        if outbox.database.take_lost() {
            self.lose_slot(outbox.slot);
        }
    }

    /// Notes why something failed, or that it did not, for the status. Returns, after a while, whether to try again.
    async fn tries_again(self: &Rc<Self>, what: Failing, code: Option<String>) -> bool {
        if self.closed.get() {
            return false;
        }
        let failed = code.is_some();
        self.failing.borrow_mut().retain(|failing| failing.0 != what);
        self.failing.borrow_mut().extend(code.map(|code| (what, code)));
        let first = self.failing.borrow().first().map(|failing| failing.1.clone());
        let noted = self.noted("storage", &[first.as_deref().map_or(Arg::Nothing, Arg::Text)]);
        self.with(noted, |engine, now| engine.handle_storage(now, first));
        if failed {
            TimeoutFuture::new(READ_AGAIN_MS).await;
        }
        failed && !self.closed.get()
    }

    async fn read_slot(self: &Rc<Self>, slot: u32) -> Result<SlotDisk, String> {
        self.outbox(slot).read(&self.space).await.map_err(|error| storage_code(&error))
    }

    async fn read(self: &Rc<Self>) -> Result<Disk, String> {
        let (mut disk, slots) = self.base.read(&self.space).await?;
        for slot in (0..slots.max(self.slot + 1)).chain([IMPORTED]) {
            disk.slots.push(self.read_slot(slot).await?);
        }
        Ok(disk)
    }

    /// Reads what is on this device, as soon as it can be read; nothing unless the space is closed before.
    async fn read_when_possible(self: &Rc<Self>) -> Option<Disk> {
        loop {
            let (disk, code) = match self.read().await {
                Ok(disk) => (Some(disk), None),
                Err(code) => (None, Some(code)),
            };
            if !self.tries_again(Failing::Reading, code).await {
                return disk;
            }
        }
    }

    async fn open(self: Rc<Self>) {
        let Some(disk) = self.read_when_possible().await else { return };
        self.with(self.noted("opened", &[Arg::Disk(&disk)]), |engine, now| engine.handle_opened(now, disk));
        for text in self.early.borrow_mut().take().into_iter().flatten() {
            self.hear_peer(&text);
        }
        self.lead(false).await;
    }

    async fn commit(self: Rc<Self>, id: u64, commit: Commit) {
        match self.base.commit(&self.space, commit).await {
            Ok(()) => self.with(self.noted("committed", &[Arg::Number(id)]), |engine, now| engine.handle_committed(now, id)),
            Err(code) => {
                let noted = self.noted("commit_failed", &[Arg::Number(id), Arg::Text(&code)]);
                self.with(noted, |engine, now| engine.handle_commit_failed(now, id, &code));
                if code == "stale_epoch" && self.engine.borrow().epoch().is_none() {
                    self.lead_again();
                }
            }
        }
    }

    // ---- tabs ----

    pub fn hear(self: Rc<Self>, slot: u32, text: String) {
        if self.send_lock.borrow().is_some() {
            self.clone().watch(slot);
        }
        if let Some(early) = &mut *self.early.borrow_mut() {
            return early.push(text);
        }
        self.hear_peer(&text);
    }

    fn hear_peer(self: &Rc<Self>, text: &str) {
        self.with(self.noted("peer", &[Arg::Text(text)]), |engine, now| engine.handle_peer(now, text));
    }

    fn slot_lock_name(&self, slot: u32) -> String {
        slot_lock_name(&self.prefix, &self.space, slot)
    }

    /// Waits until this tab may send, and takes over; `now`, from whoever sends and does not answer.
    async fn lead(self: Rc<Self>, now: bool) {
        let turn = self.turns.get() + 1;
        self.turns.set(turn);
        let name = format!("{}send/{}", self.prefix, self.space);
        let held = if now { steal(&name, &self.closed).await } else { wait_hold(&name, &self.closed).await };
        let Ok(Some(held)) = held else { return };
        if self.turns.get() != turn {
            return;
        }
        let (driver, stolen) = (self.clone(), held.stolen());
        spawn(async move {
            if stolen.await && driver.turns.get() == turn {
                driver.with(driver.noted("unlead", &[]), |engine, now| engine.handle_unlead(now));
                driver.lead_again();
            }
        });
        *self.send_lock.borrow_mut() = Some(held);
        let failed = self.clone().take_over().await.err();
        if failed.is_some() {
            self.send_lock.borrow_mut().take();
        }
        if self.tries_again(Failing::Leading, failed).await {
            self.lead_again();
        }
    }

    async fn take_over(self: Rc<Self>) -> Result<(), String> {
        let epoch = self.base.take_epoch(&self.space).await?;
        let (Disk { meta, .. }, slots) = self.base.read(&self.space).await?;
        let mut closed_tabs = vec![self.read_slot(self.slot).await?];
        // Held until the engine has taken over, so that nobody opens one in between.
        let mut held = Vec::new();
        for slot in (0..slots).chain([IMPORTED]).filter(|slot| *slot != self.slot) {
            match try_hold(&self.slot_lock_name(slot)).await {
                Ok(Some(lock)) => {
                    closed_tabs.push(self.read_slot(slot).await?);
                    held.push(lock);
                }
                _ => self.clone().watch(slot),
            }
        }
        // The turn may have been taken away meanwhile.
        if self.send_lock.borrow().is_some() {
            let told = meta.as_deref().map_or(Arg::Nothing, Arg::Text);
            let noted = self.noted("lead", &[Arg::Number(epoch), told, Arg::Slots(&closed_tabs)]);
            self.with(noted, |engine, now| engine.handle_lead(now, epoch, meta.as_deref(), closed_tabs));
        }
        Ok(())
    }

    fn lead_again(self: &Rc<Self>) {
        self.send_lock.borrow_mut().take();
        if !self.closed.get() {
            spawn(self.clone().lead(false));
        }
    }

    /// Waits for the end of another tab, to send what it leaves.
    fn watch(self: Rc<Self>, slot: u32) {
        if slot == self.slot || self.watched.borrow().contains(&slot) {
            return;
        }
        self.watched.borrow_mut().push(slot);
        spawn(async move {
            let held = wait_hold(&self.slot_lock_name(slot), &self.closed).await;
            self.watched.borrow_mut().retain(|watched| *watched != slot);
            let Ok(Some(_held)) = held else { return };
            while self.send_lock.borrow().is_some() {
                let (disk, code) = match self.read_slot(slot).await {
                    Ok(disk) => (Some(disk), None),
                    Err(code) => (None, Some(code)),
                };
                if !self.tries_again(Failing::Reading, code).await {
                    return disk.into_iter().for_each(|disk| {
                        let noted = self.noted("adopted", &[Arg::Slots(std::slice::from_ref(&disk))]);
                        self.with(noted, |engine, now| engine.handle_adopted(now, disk));
                    });
                }
            }
        });
    }

    async fn renew_epoch(self: Rc<Self>, at_least: u64) {
        let ours = self.engine.borrow().epoch();
        let renewed = match ours {
            Some(ours) => self.base.renew_epoch(&self.space, ours, at_least).await.unwrap_or(None),
            None => None,
        };
        let noted = self.noted("epoch", &[renewed.map_or(Arg::Nothing, Arg::Number)]);
        self.with(noted, |engine, now| engine.handle_epoch(now, renewed));
        if renewed.is_none() {
            self.lead_again();
        }
    }

    // ---- the server ----

    async fn ask(self: Rc<Self>, id: u64, body: Option<String>) {
        let answer = match AbortController::new() {
            Ok(request) => {
                let signal = request.signal();
                self.request.replace(Some(request));
                self.net.request(body, &signal).await
            }
            Err(error) => Err(error),
        };
        let Ok(answer) = answer else {
            let noted = self.noted("send_failed", &[Arg::Number(id)]);
            return self.with(noted, |engine, now| engine.handle_send_failed(now, id, SendFailure::Network));
        };
        let retry_after = answer.retry_after_ms.map_or(Arg::Nothing, Arg::Number);
        let noted = self.noted("answer", &[Arg::Number(id), Arg::Number(answer.status.into()), retry_after, Arg::Text(&answer.body)]);
        self.with(noted, |engine, now| engine.handle_answer(now, id, answer.status, answer.retry_after_ms, &answer.body));
    }

    async fn connect(self: Rc<Self>, cursor: u64) {
        let count = self.live_count.get() + 1;
        self.live_count.set(count);
        let driver = Rc::downgrade(&self);
        let hear = Rc::new(move |heard: Heard| {
            let Some(driver) = driver.upgrade().filter(|driver| driver.live_count.get() == count) else { return };
            match heard {
                Heard::Open => driver.with(driver.noted("live_open", &[]), |engine, now| engine.handle_live_open(now)),
                Heard::Message(text) => {
                    let noted = driver.noted("live_message", &[Arg::Text(&text)]);
                    driver.with(noted, |engine, now| engine.handle_live_message(now, &text));
                }
                Heard::Closed => driver.end_live(),
            }
        });
        let live = self.net.connect(cursor, hear).await;
        if self.live_count.get() != count {
            return;
        }
        match live {
            Ok(live) => *self.live.borrow_mut() = Some(live),
            Err(_) => self.end_live(),
        }
    }

    fn end_live(self: &Rc<Self>) {
        self.with(self.noted("live_closed", &[]), |engine, now| engine.handle_live_closed(now));
    }

    // ---- the end ----

    /// Whether all that was made is on disk.
    pub fn is_saved(&self) -> bool {
        self.engine.borrow().is_saved()
    }

    pub fn is_settling(&self) -> bool {
        self.engine.borrow().is_settling()
    }

    pub fn close(&self) {
        self.closed.set(true);
        self.flush();
        self.live_count.set(self.live_count.get() + 1);
        self.live.borrow_mut().take();
        if let Some(channel) = self.channel.borrow_mut().take() {
            channel.close();
        }
        for outbox in std::mem::take(&mut *self.outboxes.borrow_mut()) {
            outbox.database.close();
        }
        self.base.database.close();
        self.send_lock.borrow_mut().take();
        self.slot_lock.borrow_mut().take();
    }
}

/// Per space, because a tab answers for what its slot holds of its own space alone.
pub fn slot_lock_name(prefix: &str, space: &str, slot: u32) -> String {
    format!("{prefix}slot/{space}/{slot}")
}
