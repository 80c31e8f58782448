//! The network and the server's process: what is lost, doubled, late, and when the server fails or dies.

use super::store::{TabId, Work};
use super::world::{Asker, Event, Input, World};
use driftline_core::sender::SendFailure;
use driftline_core::wire::{RequestError, read_push};

/// A live connection, as the server knows it.
pub struct Conn {
    pub tab: TabId,
    pub cursor: u64,
    /// What it was opened with.
    pub token: usize,
    /// When the last message arrives: they do not overtake each other.
    pub last: u64,
}

impl World {
    pub fn latency(&mut self, tab: TabId) -> u64 {
        if self.happens_to(tab, self.rates.late, "message late") {
            return self.rng.range(500, 40_000);
        }
        self.rng.range(5, 120)
    }

    pub fn online(&self, tab: TabId) -> bool {
        self.tabs.get(&tab).is_some_and(|tab| self.devices[self.stores[tab.store].device].online)
    }

    /// Whether a tab waits for the answer to a request, and can get it. Nothing that happens to one that it does not is news to it.
    fn awaits(&self, tab: TabId, id: u64) -> bool {
        self.online(tab) && self.tabs.get(&tab).is_some_and(|tab| tab.request.is_some_and(|asked| asked.0 == id))
    }

    /// Whether a tab is writing the base.
    pub fn commits(&self, tab: TabId) -> bool {
        let place = self.tabs.get(&tab).map(|tab| tab.store);
        place.is_some_and(|place| {
            self.stores[place].writes.values().any(|write| write.tab == tab && matches!(write.work, Work::Commit { .. }))
        })
    }

    /// Whether a tab has a live connection, or asks for it.
    fn listens(&self, tab: TabId, conn: u64) -> bool {
        self.online(tab) && self.tabs.get(&tab).is_some_and(|tab| tab.live == Some(conn))
    }

    /// Sends a request; `None` is a fetch of the snapshot.
    pub fn send(&mut self, tab: TabId, id: u64, body: Option<String>) {
        self.stats.pushes += 1;
        self.check_patience(tab);
        self.say(|| format!("tab {tab} sends {}", body.as_deref().unwrap_or("a fetch")));
        if !self.online(tab) || self.happens_to(tab, self.rates.lost, "request lost") {
            return self.send_fails(tab, id);
        }
        let token = self.token_of(tab);
        self.expire_on_the_way(tab);
        if self.happens_to(tab, self.rates.doubled, "request doubled") {
            let delay = self.latency(tab) + self.rng.below(20_000);
            self.after(delay, Event::Request { tab, id, body: body.clone(), token, answered: false });
        }
        let delay = self.latency(tab);
        self.meet(tab, delay);
        // The base is being written under what is about to be thrown away.
        if body.is_none() && self.commits(tab) {
            self.after(1, Event::Die { tab });
        }
        self.after(delay, Event::Request { tab, id, body, token, answered: true });
    }

    /// The tab learns of a failure, or of nothing at all.
    fn send_fails(&mut self, tab: TabId, id: u64) {
        if self.rng.chance(700) {
            let delay = self.rng.range(1, 3_000);
            self.after(delay, Event::ToTab(tab, Input::SendFailed { id, failure: SendFailure::Network }));
        }
    }

    fn answer(&mut self, tab: TabId, id: u64, status: u16, retry_after_ms: Option<u64>, mut body: String, answered: bool) {
        if !answered {
            return;
        }
        if !self.awaits(tab, id) || self.happens_to(tab, self.rates.lost, "answer lost") {
            return self.send_fails(tab, id);
        }
        if self.happens_to(tab, self.rates.cut, "answer cut off") {
            let wanted = self.rng.below(body.len().max(1) as u64) as usize;
            let at = (0..=wanted).rev().find(|at| body.is_char_boundary(*at)).unwrap_or(0);
            body.truncate(at);
        }
        self.say(|| format!("tab {tab} is answered {status} {body}"));
        let delay = self.latency(tab);
        self.after(delay, Event::ToTab(tab, Input::Answer { id, status, retry_after_ms, body }));
    }

    fn refuse(&mut self, tab: TabId, id: u64, status: u16, retry_after_ms: Option<u64>, code: &str, answered: bool) {
        self.answer(tab, id, status, retry_after_ms, format!("{{\"code\":\"{code}\"}}"), answered);
    }

    /// A request reaches the server. Its sender may have died meanwhile.
    pub fn request(&mut self, tab: TabId, id: u64, body: Option<&str>, token: usize, answered: bool) {
        if self.now < self.server_up_at {
            return self.send_fails(tab, id);
        }
        let Some(Asker { principal, space, .. }) = self.askers.get(&tab).copied() else { return };
        if self.happens_everywhere(self.rates.forget, "server forgot its sessions") {
            self.forget_sessions();
        }
        let awaited = self.awaits(tab, id);
        let writes = body.is_some_and(|body| !body.contains("\"units\":[]"));
        if let Some((status, code)) = self.refusal(principal, token, writes) {
            if awaited {
                self.hit(tab, "token refused");
            }
            return self.refuse(tab, id, status, None, code, answered);
        }
        if awaited && self.happens_to(tab, self.rates.server_error, "server error") {
            let (status, retry) = *self.rng.pick(&[(500, None), (503, Some(1_000)), (429, Some(300)), (502, None)]).unwrap_or(&(500, None));
            return self.refuse(tab, id, status, retry, "internal", answered);
        }
        let Some(body) = body else {
            let snapshot = self.spaces[space].server.snapshot();
            return self.answer(tab, id, 200, None, snapshot, answered);
        };
        let push = match read_push(self.spaces[space].server.schema(), body) {
            Ok(push) => push,
            Err(RequestError { status, code, detail }) => {
                self.find("lost", format!("a request that the server cannot read: {code} {detail}"));
                return self.refuse(tab, id, status, None, code, answered);
            }
        };
        if self.happens_everywhere(self.rates.crash_server / 2, "server crashed before the commit") {
            self.crash_server();
            return self.send_fails(tab, id);
        }
        if self.spaces[space].server.poisoned(&push) {
            if awaited {
                self.hit(tab, "server fails on a row");
            }
            return self.refuse(tab, id, 500, None, "internal", answered);
        }
        let random = self.rng.draw();
        let mut plan = match self.spaces[space].server.decide(principal, &push, self.now, random) {
            Ok(plan) => plan,
            Err(stale) => {
                self.note("stale sender refused");
                let body = format!("{{\"code\":\"stale_sender\",\"epoch\":{}}}", stale.epoch);
                return self.answer(tab, id, 409, None, body, answered);
            }
        };
        self.spaces[space].server.commit(principal, &push, &mut plan, self.now);
        self.publish(space);
        // Its answer comes while what it knew is being written, and says that all of it must be fetched.
        if self.commits(tab) && self.rng.chance(2 * self.rates.incidents) {
            self.cut_log();
        }
        while self.rng.chance(500) && self.spaces[space].server.reap_step() {
            self.note("large delete goes on");
        }
        if self.happens_everywhere(self.rates.crash_server, "server crashed after the commit") {
            self.crash_server();
            return self.send_fails(tab, id);
        }
        let limit = if self.rng.chance(300) { self.rng.range(1, 5) as usize } else { 2_000 };
        let text = self.spaces[space].server.answer(principal, &push, &plan, limit);
        self.answer(tab, id, 200, None, text, answered);
    }

    pub fn crash_server(&mut self) {
        self.server_up_at = self.now + self.rng.range(10, 8_000);
        for (id, conn) in std::mem::take(&mut self.conns) {
            let delay = self.rng.range(1, 6_000);
            self.after(delay, Event::ToTab(conn.tab, Input::LiveClosed { conn: id }));
        }
    }

    /// The server's process loses all that is not in its database, and goes on: whom it talks to, and who listens to what.
    pub fn forget_sessions(&mut self) {
        let conns: Vec<u64> = self.conns.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.break_conn(conn));
    }

    // ---- live ----

    pub fn connect(&mut self, tab: TabId, conn: u64, cursor: u64) {
        let Some(Asker { principal, space, .. }) = self.askers.get(&tab).copied() else { return };
        let token = self.token_of(tab);
        let admitted = self.refusal(principal, token, false).is_none();
        let reached = admitted && self.now >= self.server_up_at && self.listens(tab, conn);
        let refused = !reached || self.happens_to(tab, self.rates.lost, "live refused");
        if refused || self.spaces[space].server.changes(principal, cursor, 1).is_none() {
            let delay = self.rng.range(1, 2_000);
            return self.after(delay, Event::ToTab(tab, Input::LiveClosed { conn }));
        }
        let delay = self.rng.range(5, 60);
        self.conns.insert(conn, Conn { tab, cursor, token, last: self.now + delay });
        self.after(delay, Event::ToTab(tab, Input::LiveOpen { conn }));
        self.after(delay, Event::Live { conn });
        self.after(2_000, Event::Ping { conn });
    }

    /// Something was committed: everyone who listens hears of it.
    fn publish(&mut self, space: usize) {
        let in_space = |conn: &Conn| self.askers.get(&conn.tab).is_some_and(|asker| asker.space == space);
        let conns: Vec<u64> = self.conns.iter().filter(|(_, conn)| in_space(conn)).map(|(id, _)| *id).collect();
        for conn in conns {
            let delay = self.rng.below(50);
            self.after(delay, Event::Live { conn });
        }
    }

    pub fn live(&mut self, id: u64) {
        let Some(conn) = self.conns.get(&id) else { return };
        let (tab, cursor) = (conn.tab, conn.cursor);
        let Some(Asker { principal, space, .. }) = self.askers.get(&tab).copied() else { return };
        let rev = self.spaces[space].server.space.rev;
        if cursor >= rev {
            return;
        }
        match self.spaces[space].server.live_message(principal, cursor) {
            Some(text) => self.live_send(id, text),
            None => self.break_conn(id),
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.cursor = rev;
        }
    }

    pub fn ping(&mut self, id: u64) {
        let Some(tab) = self.conns.get(&id).map(|conn| conn.tab) else { return };
        let Some(Asker { space, .. }) = self.askers.get(&tab).copied() else { return };
        if self.listens(tab, id) && self.happens_to(tab, self.rates.break_live, "live broken") {
            return self.break_conn(id);
        }
        self.live_send(id, format!("{{\"ping\":{}}}", self.spaces[space].server.space.rev));
        self.after(2_000, Event::Ping { conn: id });
    }

    fn live_send(&mut self, id: u64, text: String) {
        let late = self.conns.get(&id).is_some_and(|conn| self.listens(conn.tab, id)) && self.rng.chance(60);
        let delay = match self.conns.get(&id).map(|conn| conn.tab) {
            Some(tab) if late => self.latency(tab),
            _ => self.rng.range(5, 150),
        };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.last = conn.last.max(self.now + delay);
        let (tab, time) = (conn.tab, conn.last);
        if self.online(tab) {
            self.at(time, Event::ToTab(tab, Input::LiveMessage { conn: id, text }));
        }
    }

    /// The server closes the connections whose credential does not allow them any more.
    pub fn end_live(&mut self, ends: impl Fn(&World, &Conn) -> bool) {
        let world = &*self;
        let ended = world.conns.iter().filter(|(_, conn)| ends(world, conn)).map(|(id, conn)| (*id, conn.tab));
        for (id, tab) in ended.collect::<Vec<_>>() {
            if !self.listens(tab, id) || self.happens_to(tab, 1_000, "live ended with its token") {
                self.break_conn(id);
            }
        }
    }

    /// Nobody is there any more at these tabs' end of their connections.
    pub fn drop_live(&mut self, tabs: &[TabId]) {
        let conns: Vec<u64> = self.conns.iter().filter(|(_, conn)| tabs.contains(&conn.tab)).map(|(id, _)| *id).collect();
        conns.into_iter().for_each(|conn| self.break_conn(conn));
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
