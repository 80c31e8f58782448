//! Credentials: what a device presents, when it holds no more, and how another comes.
//!
//! The server decides by what it is shown and remembers nothing of it. A token that it refuses stays where it is until an engine asks
//! for another; then whoever sits there gets one, sooner or later, and at times the wrong one.

use super::server::Principal;
use super::store::TabId;
use super::world::{Asker, Event, World};
use std::collections::{BTreeMap, BTreeSet};

/// A device and whose token it presents: each device has one for each user.
pub type Holder = (usize, Principal);

/// Until a device has another token: mostly an app asks its issuer, at times a person has to sign in.
const RENEWAL_MS: [u64; 2] = [2_000, 60_000];
/// How long a device without a network waits before it asks the issuer once more.
const AGAIN_MS: u64 = 3_000;

/// What the server makes of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opens {
    Everything,
    /// To read, and not to write.
    Reading,
    /// It is somebody else's, and the edits are not.
    Other,
    /// It has expired.
    Nothing,
}

#[derive(Default)]
pub struct Tokens {
    /// What each that was ever issued opens now.
    issued: Vec<Opens>,
    held: BTreeMap<Holder, usize>,
    /// Who is getting another.
    awaited: BTreeSet<Holder>,
    /// Until then a user may not do anything, whatever the token.
    withdrawn: BTreeMap<Principal, u64>,
}

impl World {
    fn holder(&self, tab: TabId) -> Option<Holder> {
        let Asker { principal, store, .. } = self.askers.get(&tab)?;
        Some((self.stores[*store].device, *principal))
    }

    /// The token that a tab presents now.
    pub fn token_of(&mut self, tab: TabId) -> usize {
        let Some(holder) = self.holder(tab) else { return usize::MAX };
        if !self.tokens.held.contains_key(&holder) {
            self.issue(holder, Opens::Everything);
        }
        self.tokens.held[&holder]
    }

    fn issue(&mut self, holder: Holder, opens: Opens) {
        self.tokens.issued.push(opens);
        self.tokens.held.insert(holder, self.tokens.issued.len() - 1);
    }

    /// Why the server refuses what comes with a token, if it does: status and code.
    pub fn refusal(&self, principal: Principal, token: usize, writes: bool) -> Option<(u16, &'static str)> {
        let withdrawn = self.tokens.withdrawn.get(&principal).is_some_and(|until| self.now < *until);
        match self.tokens.issued.get(token) {
            Some(Opens::Everything) if !withdrawn => None,
            Some(Opens::Reading) if !withdrawn && !writes => None,
            Some(Opens::Everything | Opens::Reading) => Some((403, "forbidden")),
            Some(Opens::Other) => Some((403, "wrong_user")),
            Some(Opens::Nothing) | None => Some((401, "unauthenticated")),
        }
    }

    // ---- what happens to tokens ----

    /// A device's token holds no more. Live connections end with it.
    pub fn expire(&mut self, holder: Holder) {
        let Some(token) = self.tokens.held.get(&holder).copied() else { return self.issue(holder, Opens::Nothing) };
        self.tokens.issued[token] = Opens::Nothing;
        self.end_live(|_, conn| conn.token == token);
    }

    /// The token that a request carries holds no more when it arrives.
    pub fn expire_on_the_way(&mut self, tab: TabId) {
        if self.happens_to(tab, self.rates.expire, "token expired on the way")
            && let Some(holder) = self.holder(tab)
        {
            self.expire(holder);
        }
    }

    /// A user may do nothing for a while, on any device.
    pub fn withdraw(&mut self, principal: Principal) {
        let tabs: Vec<TabId> = self.tabs.values().filter(|tab| self.stores[tab.store].principal == principal).map(|tab| tab.id).collect();
        if self.hits_all(tabs, "access withdrawn") {
            let until = self.now + self.rng.range(1_000, 120_000);
            self.tokens.withdrawn.insert(principal, until);
            self.end_live(|world, conn| world.askers.get(&conn.tab).is_some_and(|asker| asker.principal == principal));
        }
    }

    /// An app takes up a token that does not open what it is for.
    pub fn take_wrong_token(&mut self, holder: Holder) {
        let opens = if self.rng.chance(500) { Opens::Reading } else { Opens::Other };
        self.issue(holder, opens);
    }

    /// No right is withheld any more. Tokens that do not hold are left to those who have to ask for others.
    pub fn restore_access(&mut self) {
        self.tokens.withdrawn.clear();
    }

    // ---- how another comes ----

    /// An engine says that the server does not take its token.
    pub fn ask_token(&mut self, tab: TabId) {
        let Some(holder) = self.holder(tab).filter(|holder| self.tokens.awaited.insert(*holder)) else { return };
        self.note("token asked for");
        let most = if self.rng.chance(800) { RENEWAL_MS[0] } else { RENEWAL_MS[1] };
        let delay = self.rng.range(50, most);
        self.after(delay, Event::Token { holder });
    }

    /// Another token comes. The engine hears nothing of that: it presents what there is when it tries again.
    pub fn renew(&mut self, holder: Holder) {
        let device = &self.devices[holder.0];
        let (asleep_until, online) = (device.asleep_until, device.online);
        if self.now < asleep_until {
            return self.at(asleep_until, Event::Token { holder });
        }
        if !online {
            return self.after(AGAIN_MS, Event::Token { holder });
        }
        self.tokens.awaited.remove(&holder);
        if self.rng.chance(200) && self.happens_on(holder.0, "wrong token came") {
            return self.take_wrong_token(holder);
        }
        self.say(|| format!("device {} has another token of user {}", holder.0, holder.1));
        self.issue(holder, Opens::Everything);
    }
}
