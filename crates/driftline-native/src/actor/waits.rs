//! Who waits until all is on the disk.

use super::Actor;
use crate::client::Answer;

/// How long `close` waits for the disk.
const CLOSE_MS: u64 = 5_000;

pub struct Wait {
    /// At the latest.
    pub until_ms: u64,
    then: Box<dyn FnOnce(&mut Actor)>,
}

impl Actor {
    /// Writes what was made without delay: somebody waits for it.
    pub(crate) fn save_now(&mut self) {
        self.tell(|engine, now| engine.save_now(now));
    }

    /// Does something once all is on the disk, or after a while.
    pub(super) fn when_saved(&mut self, longest_ms: u64, then: impl FnOnce(&mut Actor) + 'static) {
        self.save_now();
        let until_ms = self.now_ms().saturating_add(longest_ms);
        self.waits.push(Wait { until_ms, then: Box::new(then) });
    }

    pub(super) fn end_waits(&mut self) {
        let (is_saved, now_ms) = (self.engine.is_saved(), self.now_ms());
        let (over, waits): (Vec<Wait>, Vec<Wait>) =
            std::mem::take(&mut self.waits).into_iter().partition(|wait| is_saved || wait.until_ms <= now_ms);
        self.waits = waits;
        for wait in over {
            (wait.then)(self);
            self.drain();
        }
    }

    pub(crate) fn tell_saved(&mut self, answer: Answer<()>) {
        self.when_saved(u64::MAX, move |_| drop(answer.send(Ok(()))));
    }

    /// Ends the loop as soon as all is on the disk. The answer leaves when everything has been let go of.
    pub(crate) fn close(&mut self, answer: Option<Answer<()>>) {
        self.endings.extend(answer);
        if !std::mem::replace(&mut self.is_closing, true) {
            self.when_saved(CLOSE_MS, |actor| actor.is_over = true);
        }
    }
}
