//! What becomes of transactions: on the disk, and on the server.

use crate::client::Ask;
use crate::error::Error;
use std::collections::BTreeMap;
use tokio::sync::{mpsc, watch};

/// A transaction that was made. The view shows it already. It takes its way whether this is kept or not.
#[derive(Debug, Clone)]
pub struct Change {
    progress: watch::Receiver<Progress>,
    asks: mpsc::WeakUnboundedSender<Ask>,
}

#[derive(Debug, Clone)]
pub(crate) struct Progress {
    key: String,
    saved: Option<Result<(), Error>>,
    /// As things are: what is parked may be retried, and accepted then.
    accepted: Option<Result<(), Error>>,
}

impl Change {
    pub(crate) fn new(progress: watch::Receiver<Progress>, asks: mpsc::WeakUnboundedSender<Ask>) -> Change {
        Change { progress, asks }
    }

    /// Names the transaction, as `client:seq`. Edits that were folded into one have one key. A decision may give it a new one, and this
    /// follows.
    pub fn key(&self) -> String {
        self.progress.borrow().key.clone()
    }

    /// Resolves once the transaction is on this device's disk, where it outlives a crash of the process and of the system. What goes on
    /// changing offline, such as a card that is dragged, is written at once when this is called, and else within 0.6 s. Fails with
    /// `not_saved` where the client was closed and the disk did not take it, and with `discarded`.
    pub fn saved(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        if self.progress.borrow().saved.is_none()
            && let Some(asks) = self.asks.upgrade()
        {
            // Without an actor the progress tells how it ended.
            let _ = asks.send(Box::new(|actor| actor.save_now()));
        }
        outcome(self.progress.clone(), |progress| progress.saved.clone())
    }

    /// Resolves once the server has applied the transaction. Fails with the server's problem while it is parked (call it again after a
    /// decision), with `discarded`, and with `closed`: then it waits on the disk, and is sent when the space is opened again.
    pub fn accepted(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        outcome(self.progress.clone(), |progress| progress.accepted.clone())
    }
}

async fn outcome(mut progress: watch::Receiver<Progress>, of: fn(&Progress) -> Option<Result<(), Error>>) -> Result<(), Error> {
    let settled = progress.wait_for(|progress| of(progress).is_some()).await;
    settled.ok().and_then(|progress| of(&progress)).unwrap_or_else(|| Err(Error::closed()))
}

/// The changes that somebody may wait for, by key: folding gives several changes one.
#[derive(Default)]
pub(crate) struct Changes {
    by_key: BTreeMap<String, Vec<watch::Sender<Progress>>>,
}

impl Changes {
    pub fn add(&mut self, key: String) -> watch::Receiver<Progress> {
        let (sender, receiver) = watch::channel(Progress { key: key.clone(), saved: None, accepted: None });
        let of_key = self.by_key.entry(key).or_default();
        // A card that is dragged for hours is one transaction of many changes.
        of_key.retain(|known| !known.is_closed());
        of_key.push(sender);
        receiver
    }

    pub fn saved(&self, key: &str) {
        self.tell(key, |progress| progress.saved = Some(Ok(())));
    }

    pub fn accepted(&mut self, key: &str) {
        self.tell(key, |progress| (progress.saved, progress.accepted) = (Some(Ok(())), Some(Ok(()))));
        self.by_key.remove(key);
    }

    /// It stays known, because it can still be saved, retried or discarded.
    pub fn parked(&self, key: &str, error: &Error) {
        self.tell(key, |progress| progress.accepted = Some(Err(error.clone())));
    }

    pub fn discarded(&mut self, key: &str, error: &Error) {
        self.tell(key, |progress| {
            progress.saved.get_or_insert_with(|| Err(error.clone()));
            progress.accepted = Some(Err(error.clone()));
        });
        self.by_key.remove(key);
    }

    pub fn rekeyed(&mut self, from: &str, to: &str) {
        self.tell(from, |progress| (progress.key, progress.accepted) = (to.to_string(), None));
        let moved = self.by_key.remove(from).unwrap_or_default();
        if !moved.is_empty() {
            self.by_key.entry(to.to_string()).or_default().extend(moved);
        }
    }

    /// Ends those that are not on the disk: they are lost.
    pub fn end_unsaved(&self, error: &Error) {
        for key in self.by_key.keys() {
            self.tell(key, |progress| {
                if progress.saved.is_none() {
                    (progress.saved, progress.accepted) = (Some(Err(error.clone())), Some(Err(error.clone())));
                }
            });
        }
    }

    fn tell(&self, key: &str, change: impl Fn(&mut Progress)) {
        for sender in self.by_key.get(key).into_iter().flatten() {
            sender.send_modify(&change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(receiver: &watch::Receiver<Progress>) -> (String, Option<String>, Option<String>) {
        let Progress { key, saved, accepted } = receiver.borrow().clone();
        let word = |result: Result<(), Error>| result.map_or_else(|error| error.code, |()| "yes".to_string());
        (key, saved.map(word), accepted.map(word))
    }

    #[test]
    fn what_is_parked_may_be_accepted_under_another_key() {
        let mut changes = Changes::default();
        let (first, second) = (changes.add("a:1".to_string()), changes.add("a:1".to_string()));
        changes.saved("a:1");
        changes.parked("a:1", &Error::new("restricted", ""));
        let text = |text: &str| Some(text.to_string());
        assert_eq!(told(&first), ("a:1".to_string(), text("yes"), text("restricted")));
        changes.rekeyed("a:1", "a:2");
        assert_eq!(told(&second), ("a:2".to_string(), text("yes"), None));
        changes.accepted("a:2");
        assert_eq!(told(&first), ("a:2".to_string(), text("yes"), text("yes")));
        assert_eq!(told(&first), told(&second));
        assert!(changes.by_key.is_empty());
    }

    #[test]
    fn nobody_waits_for_ever_for_what_is_discarded_or_lost() {
        let mut changes = Changes::default();
        let (gone, lost, kept) = (changes.add("a:1".to_string()), changes.add("a:2".to_string()), changes.add("a:3".to_string()));
        changes.discarded("a:1", &Error::new("discarded", ""));
        changes.saved("a:3");
        changes.end_unsaved(&Error::new("not_saved", ""));
        let code = |receiver| told(receiver).2;
        assert_eq!(code(&gone).as_deref(), Some("discarded"));
        assert_eq!(code(&lost).as_deref(), Some("not_saved"));
        assert_eq!(told(&kept).1.as_deref(), Some("yes"));
        assert_eq!(code(&kept), None);
    }

    #[test]
    fn q5_changes_that_nobody_holds_are_forgotten() {
        let mut changes = Changes::default();
        for _ in 0..1_000 {
            drop(changes.add("a:1".to_string()));
        }
        assert_eq!(changes.by_key["a:1"].len(), 1);
    }
}
