//! Silence: a device whose lid is shut for an hour or a week does nothing and hears nothing, whatever waits on it.
//!
//! Of such a time nothing is played: the others go on for a while, then they go away, too, and all come back at about the same time.

use super::store::{Device, TabId};
use super::world::{Event, Input, World};

pub const HOUR_MS: u64 = 3_600_000;
pub const WEEK_MS: u64 = 7 * 24 * HOUR_MS;
/// So far apart those wake, at most, who were away together.
const APART_MS: u64 = 60_000;

impl World {
    /// These devices fall silent for an hour, or for a week. One silence at a time: who is awake in one costs a ping every 2 s.
    pub fn fall_silent(&mut self, devices: Vec<usize>) {
        if self.away_until() > self.now {
            return;
        }
        let is_week = self.rng.chance(400);
        let (kind, length) = if is_week { ("silent for a week", WEEK_MS) } else { ("silent for an hour", HOUR_MS) };
        for device in devices {
            let until = self.now + length + self.rng.below(APART_MS);
            if self.happens_on(device, kind) {
                self.shut(device, until);
            }
        }
    }

    /// When the last of those wakes who are away; past, where nobody is.
    pub fn away_until(&self) -> u64 {
        self.devices.iter().map(|device| device.asleep_until).max().unwrap_or(0)
    }

    pub fn is_asleep(&self, device: usize) -> bool {
        self.now < self.devices[device].asleep_until
    }

    pub fn is_nobody_here(&self) -> bool {
        (0..self.devices.len()).all(|device| self.is_asleep(device))
    }

    /// Everybody else goes away, too, until the last is back.
    pub fn wait_for_all(&mut self) {
        if self.rng.chance(300) {
            self.cut_log();
        }
        let first = self.away_until();
        for device in 0..self.devices.len() {
            if !self.is_asleep(device) {
                let until = first + self.rng.below(APART_MS);
                self.shut(device, until);
            }
        }
        let silence = self.away_until().saturating_sub(self.now);
        self.stats.silent_ms += silence;
        let delay = silence + self.rng.range(1, 5_000);
        self.after(delay, Event::Work);
    }

    /// Nothing runs on a device until then, and it has no network. Its clock goes on.
    fn shut(&mut self, device: usize, until: u64) {
        for tab in self.tabs_on(device) {
            if self.rng.chance(500) {
                self.make_one_more(tab);
            }
        }
        let user = self.devices[device].user;
        if self.rng.chance(500) && self.happens_on(device, "token expired") {
            self.expire((device, user));
        }
        let tabs = self.tabs_on(device);
        if tabs.iter().any(|tab| self.tabs[tab].engine.outbox().iter().next().is_some()) {
            self.note("silent with edits waiting");
        }
        self.say(|| format!("device {device} is asleep for {} s", (until - self.now) / 1_000));
        for tab in self.tabs.values_mut().filter(|tab| tabs.contains(&tab.id)) {
            tab.frozen_until = tab.frozen_until.max(until);
        }
        self.drop_live(&tabs);
        let Device { asleep_until, wakes_online, online, .. } = &mut self.devices[device];
        (*asleep_until, *wakes_online, *online) = (until, *online, false);
        self.at(until, Event::Awake { device });
    }

    /// Somebody makes something, and shuts the lid.
    fn make_one_more(&mut self, id: TabId) {
        if self.tabs.get(&id).is_none_or(|tab| self.now < tab.frozen_until) {
            return;
        }
        self.sit_down(id);
        let edit = self.create_alone(id);
        self.make(id, vec![edit], Vec::new());
        self.with_engine(id, |_, _| ());
        self.check_step(id);
    }

    /// A device goes on where it was. Its pages may be told that there is a network, or find out.
    pub fn wake(&mut self, device: usize) {
        let online = self.devices[device].wakes_online;
        self.devices[device].online = online;
        self.say(|| format!("device {device} is awake"));
        if self.rng.chance(700) {
            for tab in self.tabs_on(device) {
                self.to_tab(tab, Input::Online(online));
            }
        }
    }
}
