//! The live connection: what the server tells without being asked, and its silence.

use crate::backoff::delay_ms;
use crate::engine::{Effect, Engine};
use crate::json::Json;
use crate::wire::{read_revisions, version};

/// Nothing heard for so long is no answer (the server pings every 2 s).
pub(super) const SILENCE_MS: u64 = 5_000;
/// A server asks for no longer pause than this.
const MAX_PAUSE_S: u64 = 3_600;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Live {
    Off,
    Connecting { since: u64 },
    On { heard: u64 },
}

impl Engine {
    pub(crate) fn connect(&mut self, now_ms: u64) {
        let cursor = self.replica.rev;
        let Some(sender) = &mut self.sender else { return };
        if self.has_base && !self.behind && sender.live == Live::Off && sender.live_not_before <= now_ms && sender.failures == 0 {
            sender.live = Live::Connecting { since: now_ms };
            self.effects.push_back(Effect::Connect { cursor });
        }
    }

    /// The live connection stands.
    pub fn handle_live_open(&mut self, now_ms: u64) {
        if let Some(sender) = &mut self.sender {
            sender.live = Live::On { heard: now_ms };
            // The network is there again.
            sender.not_before = sender.not_before.min(now_ms + 1);
        }
        self.pump(now_ms);
    }

    pub fn handle_live_message(&mut self, now_ms: u64, text: &str) {
        // After a pause not all come back at the same moment.
        let stagger = self.random() % 2_000;
        let Some(sender) = self.sender.as_mut().filter(|s| s.live != Live::Off) else { return };
        sender.live = Live::On { heard: now_ms };
        sender.live_failures = 0;
        let mut json = Json::parse_or_null(text);
        let version = version(&self.schema, &json);
        if let Some(changes) = json.take("changes") {
            if self.hear_version(version) {
                return self.pump(now_ms);
            }
            match read_revisions(&self.schema, version, changes) {
                Some(revisions) => {
                    let mut absorbed = self.absorb(revisions);
                    if absorbed.gap
                        && let Some(sender) = &mut self.sender
                    {
                        sender.want_pull = true;
                    }
                    self.settle_applied(&mut absorbed);
                    self.lose(&absorbed.deleted);
                    self.note_base(absorbed, &[]);
                }
                None => {
                    if let Some(sender) = &mut self.sender {
                        sender.want_pull = true;
                    }
                }
            }
        } else if let Some(seconds) = json.uint("pause") {
            sender.not_before = now_ms + seconds.min(MAX_PAUSE_S) * 1_000 + stagger;
        } else if json.uint("ping").is_some_and(|rev| rev > self.replica.rev) {
            sender.want_pull = true;
        }
        self.pump(now_ms);
    }

    pub fn handle_live_closed(&mut self, now_ms: u64) {
        let random = self.random();
        if let Some(sender) = self.sender.as_mut().filter(|s| s.live != Live::Off) {
            sender.live = Live::Off;
            sender.live_failures += 1;
            sender.live_not_before = now_ms + delay_ms(sender.live_failures, random);
            sender.want_pull = true;
        }
        self.pump(now_ms);
    }

    /// Looks whether the server owes an answer.
    pub(crate) fn listen(&mut self, now_ms: u64) {
        let Some(sender) = &mut self.sender else { return };
        let hears = matches!(sender.live, Live::On { heard } if now_ms < heard + SILENCE_MS);
        sender.silent = !hears && sender.request.as_ref().is_some_and(|request| now_ms >= request.started + SILENCE_MS);
    }
}
