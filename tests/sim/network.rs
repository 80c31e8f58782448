//! The network and the server's process: what is lost, doubled, late, and when the server fails or dies.

use super::browser::TabId;
use super::world::{Event, Input, World};
use driftline_core::sender::SendFailure;
use driftline_core::wire::{RequestError, read_push};

/// A live connection, as the server knows it.
pub struct Conn {
    pub tab: TabId,
    pub cursor: u64,
    /// When the last message arrives: they do not overtake each other.
    pub last: u64,
}

impl World {
    pub fn latency(&mut self) -> u64 {
        let late = !self.healed && self.rng.chance(self.rates.late);
        if late {
            self.fault("message late");
            return self.rng.range(500, 40_000);
        }
        self.rng.range(5, 120)
    }

    /// Whose tab it is, or was.
    fn principal(&self, tab: TabId) -> Option<u32> {
        self.principals.get(&tab).copied()
    }

    fn online(&self, tab: TabId) -> bool {
        self.tabs.get(&tab).is_some_and(|tab| self.browsers[tab.browser].online)
    }

    /// Sends a request; `None` is a fetch of the snapshot.
    pub fn send(&mut self, tab: TabId, id: u64, body: Option<String>) {
        self.stats.pushes += 1;
        self.say(|| format!("tab {tab} sends {}", body.as_deref().unwrap_or("a fetch")));
        if !self.online(tab) || self.happens(self.rates.lost, "request lost") {
            return self.send_fails(tab, id);
        }
        if self.happens(self.rates.doubled, "request doubled") {
            let delay = self.latency() + self.rng.below(20_000);
            self.after(delay, Event::Request { tab, id, body: body.clone(), answered: false });
        }
        let delay = self.latency();
        self.after(delay, Event::Request { tab, id, body, answered: true });
    }

    /// The tab learns of a failure, or of nothing at all.
    fn send_fails(&mut self, tab: TabId, id: u64) {
        if self.rng.chance(700) {
            let delay = self.rng.range(1, 3_000);
            self.after(delay, Event::ToTab(tab, Input::SendFailed { id, failure: SendFailure::Network }));
        }
    }

    fn answer(&mut self, tab: TabId, id: u64, status: u16, retry_after_ms: Option<u64>, body: String, answered: bool) {
        if !answered {
            return;
        }
        if self.happens(self.rates.lost, "answer lost") {
            return self.send_fails(tab, id);
        }
        self.say(|| format!("tab {tab} is answered {status} {body}"));
        let delay = self.latency();
        self.after(delay, Event::ToTab(tab, Input::Answer { id, status, retry_after_ms, body }));
    }

    /// A request reaches the server. Its sender may have died meanwhile.
    pub fn request(&mut self, tab: TabId, id: u64, body: Option<&str>, answered: bool) {
        if self.now < self.server_up_at {
            return self.send_fails(tab, id);
        }
        let Some(principal) = self.principal(tab) else { return };
        if self.happens(self.rates.server_error, "server error") {
            let (status, retry) = *self.rng.pick(&[(500, None), (503, Some(1_000)), (429, Some(300)), (502, None)]).unwrap_or(&(500, None));
            return self.answer(tab, id, status, retry, "{\"code\":\"internal\"}".to_string(), answered);
        }
        let Some(body) = body else {
            let mut snapshot = self.server.snapshot();
            if self.happens(self.rates.lost / 2, "snapshot cut off") {
                snapshot.truncate(snapshot.len() / 2);
            }
            return self.answer(tab, id, 200, None, snapshot, answered);
        };
        let push = match read_push(&self.schema, body) {
            Ok(push) => push,
            Err(RequestError { status, code, detail }) => {
                self.find("lost", format!("a request that the server cannot read: {code} {detail}"));
                return self.answer(tab, id, status, None, format!("{{\"code\":\"{code}\"}}"), answered);
            }
        };
        if self.happens(self.rates.crash_server / 2, "server crashed before the commit") {
            self.crash_server();
            return self.send_fails(tab, id);
        }
        if self.server.poisoned(&push) {
            self.fault("poison row");
            return self.answer(tab, id, 500, None, "{\"code\":\"internal\"}".to_string(), answered);
        }
        let random = self.rng.draw();
        let mut plan = match self.server.decide(principal, &push, self.now, random) {
            Ok(plan) => plan,
            Err(stale) => {
                let body = format!("{{\"code\":\"stale_sender\",\"epoch\":{}}}", stale.epoch);
                return self.answer(tab, id, 409, None, body, answered);
            }
        };
        self.server.commit(principal, &push, &mut plan, self.now);
        self.publish();
        while self.rng.chance(500) && self.server.reap_step() {
            self.fault("large delete goes on");
        }
        if self.happens(self.rates.crash_server, "server crashed after the commit") {
            self.crash_server();
            return self.send_fails(tab, id);
        }
        let limit = if self.rng.chance(300) { self.rng.range(1, 5) as usize } else { 2_000 };
        let text = self.server.answer(principal, &push, &plan, limit);
        self.answer(tab, id, 200, None, text, answered);
        if self.happens(self.rates.break_live / 4, "log cut") {
            let cut = self.rng.range(self.server.space.horizon, self.server.space.rev);
            self.server.space.horizon = cut;
        }
    }

    pub fn crash_server(&mut self) {
        self.server_up_at = self.now + self.rng.range(10, 8_000);
        for (id, conn) in std::mem::take(&mut self.conns) {
            let delay = self.rng.range(1, 6_000);
            self.after(delay, Event::ToTab(conn.tab, Input::LiveClosed { conn: id }));
        }
    }

    // ---- live ----

    pub fn connect(&mut self, tab: TabId, conn: u64, cursor: u64) {
        let refused = self.now < self.server_up_at || !self.online(tab) || self.happens(self.rates.lost, "live refused");
        let Some(principal) = self.principal(tab) else { return };
        if refused || self.server.changes(principal, cursor, 1).is_none() {
            let delay = self.rng.range(1, 2_000);
            return self.after(delay, Event::ToTab(tab, Input::LiveClosed { conn }));
        }
        let delay = self.rng.range(5, 60);
        self.conns.insert(conn, Conn { tab, cursor, last: self.now + delay });
        self.after(delay, Event::ToTab(tab, Input::LiveOpen { conn }));
        self.after(delay, Event::Live { conn });
        self.after(2_000, Event::Ping { conn });
    }

    /// Something was committed: everyone who listens hears of it.
    fn publish(&mut self) {
        let conns: Vec<u64> = self.conns.keys().copied().collect();
        for conn in conns {
            let delay = self.rng.below(50);
            self.after(delay, Event::Live { conn });
        }
    }

    pub fn live(&mut self, id: u64) {
        let Some(conn) = self.conns.get(&id) else { return };
        let (tab, cursor) = (conn.tab, conn.cursor);
        if cursor >= self.server.space.rev {
            return;
        }
        let Some(principal) = self.principal(tab) else { return };
        match self.server.live_message(principal, cursor) {
            Some(text) => self.live_send(id, text),
            None => self.break_conn(id),
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.cursor = self.server.space.rev;
        }
    }

    pub fn ping(&mut self, id: u64) {
        if !self.conns.contains_key(&id) {
            return;
        }
        if self.happens(self.rates.break_live, "live broken") {
            return self.break_conn(id);
        }
        self.live_send(id, format!("{{\"ping\":{}}}", self.server.space.rev));
        self.after(2_000, Event::Ping { conn: id });
    }

    fn live_send(&mut self, id: u64, text: String) {
        let delay = self.rng.range(5, 150);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.last = conn.last.max(self.now + delay);
        let (tab, time) = (conn.tab, conn.last);
        if self.online(tab) {
            self.at(time, Event::ToTab(tab, Input::LiveMessage { conn: id, text }));
        }
    }

    /// The connection is gone; the tab hears of it later, or never and has to notice the silence.
    fn break_conn(&mut self, id: u64) {
        let Some(conn) = self.conns.remove(&id) else { return };
        if self.rng.chance(600) {
            let delay = self.rng.range(1, 2_000);
            self.after(delay, Event::ToTab(conn.tab, Input::LiveClosed { conn: id }));
        }
    }
}
