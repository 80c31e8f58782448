//! Who is in a space and where: relayed between its live connections, and never stored.
//!
//! A connection says what it likes about itself (a cursor, a selection, a name); the others hear the latest of it, and what came
//! between may be left out, so no queue can grow. Whoever leaves, in whatever way, is gone with the connection.

use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
#[cfg(feature = "postgres")]
use std::time::Duration;
use std::time::Instant;
use tokio::sync::watch;

/// A name, a colour, a cursor and a selection take some hundred bytes.
pub const STATE_BYTES: usize = 1_024;
/// Members of one space who are shown to each other.
const MEMBERS: usize = 1_000;
/// What another server says of its members holds for so long; it says it again well before.
#[cfg(feature = "postgres")]
pub const HOLDS: Duration = Duration::from_secs(30);

/// What somebody says of himself, by the number of his connection. `None`: he has left.
#[cfg(feature = "postgres")]
pub type Said = (String, String, Option<String>);

#[derive(Default)]
pub struct Presence {
    rooms: Mutex<HashMap<String, Room>>,
    /// What is to be told to other servers.
    outgoing: Option<Mutex<Outgoing>>,
}

/// The latest of each member, by space and number.
type Outgoing = BTreeMap<(String, String), Option<String>>;

struct Room {
    version: watch::Sender<u64>,
    members: BTreeMap<String, Member>,
}

struct Member {
    version: u64,
    state: String,
    /// When another server said so; `None`: he is here.
    heard: Option<Instant>,
}

impl Presence {
    #[cfg(feature = "postgres")]
    pub(crate) fn among_others() -> Presence {
        Presence { outgoing: Some(Mutex::default()), ..Presence::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a space, unseen at first.
    pub fn enter(self: &Arc<Self>, space: &str) -> Visitor {
        let mut news = {
            let mut rooms = self.lock();
            let room = rooms.entry(space.to_string());
            room.or_insert_with(|| Room { version: watch::channel(0).0, members: BTreeMap::new() }).version.subscribe()
        };
        // Those who are here already are news.
        news.mark_changed();
        let id = format!("{:016x}", getrandom::u64().unwrap_or_default());
        Visitor { presence: self.clone(), space: space.to_string(), id, news: Some(news), seen: 0, shown: BTreeMap::new(), is_there: false }
    }

    /// Notes what somebody says; `false` where there are too many in the space.
    fn say(&self, space: &str, id: &str, state: Option<String>, heard: Option<Instant>) -> bool {
        let mut rooms = self.lock();
        let Some(room) = rooms.get_mut(space) else { return true };
        let version = *room.version.borrow() + 1;
        let changes = match state {
            Some(_) if room.members.len() >= MEMBERS && !room.members.contains_key(id) => return false,
            Some(state) => {
                let before = room.members.get_mut(id);
                match before {
                    Some(member) if member.state == state => {
                        member.heard = heard;
                        false
                    }
                    _ => {
                        room.members.insert(id.to_string(), Member { version, state, heard });
                        true
                    }
                }
            }
            None => room.members.remove(id).is_some(),
        };
        if changes {
            room.version.send_replace(version);
        }
        true
    }

    fn tell_others(&self, space: &str, id: &str, state: Option<String>) {
        if let Some(outgoing) = &self.outgoing {
            let mut outgoing = outgoing.lock().unwrap_or_else(PoisonError::into_inner);
            outgoing.insert((space.to_string(), id.to_string()), state);
        }
    }

    /// What other servers have not been told yet.
    #[cfg(feature = "postgres")]
    pub fn take_outgoing(&self) -> Vec<Said> {
        let Some(outgoing) = &self.outgoing else { return Vec::new() };
        let taken = std::mem::take(&mut *outgoing.lock().unwrap_or_else(PoisonError::into_inner));
        taken.into_iter().map(|((space, id), state)| (space, id, state)).collect()
    }

    /// Another server tells of one of its members.
    #[cfg(feature = "postgres")]
    pub fn heard(&self, (space, id, state): Said) {
        self.say(&space, &id, state.filter(|state| state.len() <= STATE_BYTES), Some(Instant::now()));
    }

    /// Says again who is here, and forgets whom another server has not spoken of for long.
    #[cfg(feature = "postgres")]
    pub fn refresh(&self) {
        let mut again = Vec::new();
        for (space, room) in self.lock().iter_mut() {
            let before = room.members.len();
            room.members.retain(|_, member| member.heard.is_none_or(|heard| heard.elapsed() < HOLDS));
            if room.members.len() < before {
                room.version.send_modify(|version| *version += 1);
            }
            let here = room.members.iter().filter(|(_, member)| member.heard.is_none());
            again.extend(here.map(|(id, member)| (space.clone(), id.clone(), member.state.clone())));
        }
        let Some(outgoing) = &self.outgoing else { return };
        let mut outgoing = outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever was said or left meanwhile is newer.
        for (space, id, state) in again {
            outgoing.entry((space, id)).or_insert(Some(state));
        }
    }
}

/// One connection's place in a space. Dropping it is leaving.
pub struct Visitor {
    presence: Arc<Presence>,
    space: String,
    id: String,
    news: Option<watch::Receiver<u64>>,
    seen: u64,
    /// Who has been told of, by the version of what was told.
    shown: BTreeMap<String, u64>,
    is_there: bool,
}

impl Visitor {
    /// Says something about oneself, any JSON; `null` is to be unseen. `false`: it is too long, or the space too full.
    #[must_use]
    pub fn say(&mut self, state: &RawValue) -> bool {
        let state = Some(state.get().to_string()).filter(|state| state != "null");
        if state.as_ref().is_some_and(|state| state.len() > STATE_BYTES) {
            return false;
        }
        self.is_there = state.is_some();
        let is_taken = self.presence.say(&self.space, &self.id, state.clone(), None);
        if is_taken {
            self.presence.tell_others(&self.space, &self.id, state);
        }
        is_taken
    }

    /// Waits until somebody else has moved.
    pub async fn changed(&mut self) {
        let Some(news) = &mut self.news else { return std::future::pending().await };
        if news.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// How many are shown.
    pub fn others(&self) -> u32 {
        u32::try_from(self.shown.len()).unwrap_or(u32::MAX)
    }

    /// What has changed since the last time, as a live message.
    pub fn news(&mut self) -> Option<String> {
        let rooms = self.presence.lock();
        let room = rooms.get(&self.space)?;
        let version = *room.version.borrow();
        if version == self.seen {
            return None;
        }
        self.seen = version;
        let mut told: BTreeMap<&str, &str> = BTreeMap::new();
        let gone: Vec<String> = self.shown.keys().filter(|id| !room.members.contains_key(*id)).cloned().collect();
        told.extend(gone.iter().map(|id| (id.as_str(), "null")));
        for (id, member) in room.members.iter().filter(|(id, _)| **id != self.id) {
            if self.shown.get(id) != Some(&member.version) {
                self.shown.insert(id.clone(), member.version);
                told.insert(id, &member.state);
            }
        }
        self.shown.retain(|id, _| room.members.contains_key(id));
        let told: Vec<String> = told.into_iter().map(|(id, state)| format!("\"{id}\":{state}")).collect();
        (!told.is_empty()).then(|| format!("{{\"presence\":{{{}}}}}", told.join(",")))
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if self.is_there {
            self.presence.say(&self.space, &self.id, None, None);
            self.presence.tell_others(&self.space, &self.id, None);
        }
        drop(self.news.take());
        let mut rooms = self.presence.lock();
        if rooms.get(&self.space).is_some_and(|room| room.version.receiver_count() == 0) {
            rooms.remove(&self.space);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MEMBERS, Presence, Visitor};
    use serde_json::value::RawValue;
    use std::sync::Arc;

    #[test]
    fn a6_a_space_has_room_for_so_many_members_and_no_more() {
        let presence = Arc::new(Presence::default());
        let [here, there] = ["1", "2"].map(|state| RawValue::from_string(state.to_string()).unwrap());
        let mut members: Vec<Visitor> = (0..MEMBERS).map(|_| presence.enter("a")).collect();
        assert!(members.iter_mut().all(|member| member.say(&here)));
        let mut late = presence.enter("a");
        assert!(!late.say(&here), "the space is full");
        assert!(members[0].say(&there), "who is there goes on");
        assert!(presence.enter("b").say(&here), "no other space is full");
        drop(members.pop());
        assert!(late.say(&here), "who goes leaves room");
    }
}
