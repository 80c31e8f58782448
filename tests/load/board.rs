//! Who has made what in a space, and who has shown it since.

use crate::histogram::Histogram;
use driftline_core::value::RowId;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// What nobody has shown for so long has been replaced, or taken back.
const KEPT: Duration = Duration::from_secs(120);

/// By what an edit is known where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// The number that it has set in its row; no other edit sets that.
    Stamp(u64),
    /// The row is gone.
    Gone(RowId),
}

struct Made {
    maker: usize,
    at: Instant,
    /// Others that have not shown it.
    missing: u64,
    /// A bit for each client of the space that has.
    shown: Vec<u64>,
}

pub struct Board {
    clients: usize,
    made: HashMap<Mark, Made>,
    order: VecDeque<(Instant, Mark)>,
    /// The cards that are there, whoever made them.
    cards: Vec<RowId>,
    /// From making an edit to the moment when another client shows it, for each of the others.
    pub times: Histogram,
    /// How often an edit was not shown to another client, as a later one had taken its place.
    pub overtaken: u64,
}

impl Board {
    pub fn new(clients: usize) -> Board {
        let (made, order, cards, times) = (HashMap::new(), VecDeque::new(), Vec::new(), Histogram::default());
        Board { clients, made, order, cards, times, overtaken: 0 }
    }

    /// To be called before the edit can reach anybody else.
    pub fn make(&mut self, mark: Mark, maker: usize, at: Instant) {
        self.forget(Some(at));
        let missing = self.clients as u64 - 1;
        if missing > 0 {
            self.made.insert(mark, Made { maker, at, missing, shown: vec![0; self.clients.div_ceil(64)] });
            self.order.push_back((at, mark));
        }
    }

    /// A client shows an edit; the first time counts.
    pub fn show(&mut self, mark: Mark, client: usize, at: Instant) {
        let Some(made) = self.made.get_mut(&mark).filter(|made| made.maker != client) else { return };
        let (word, bit) = (client / 64, 1u64 << (client % 64));
        if made.shown[word] & bit != 0 {
            return;
        }
        made.shown[word] |= bit;
        made.missing -= 1;
        self.times.record(at.duration_since(made.at).as_micros() as u64);
        if made.missing == 0 {
            self.made.remove(&mark);
        }
    }

    /// Nobody will show the edits any more that are not shown yet.
    pub fn close(&mut self) {
        self.forget(None);
    }

    fn forget(&mut self, now: Option<Instant>) {
        while let Some((at, mark)) = self.order.front().copied() {
            if now.is_some_and(|now| now.duration_since(at) < KEPT) {
                break;
            }
            self.order.pop_front();
            self.overtaken += self.made.remove(&mark).map_or(0, |made| made.missing);
        }
    }

    pub fn add_card(&mut self, card: RowId) {
        self.cards.push(card);
    }

    pub fn remove_card(&mut self, card: RowId) {
        self.cards.retain(|known| *known != card);
    }

    /// Some card, by a random number.
    pub fn card(&self, random: u64) -> Option<RowId> {
        let count = self.cards.len() as u64;
        if count == 0 { None } else { self.cards.get((random % count) as usize).copied() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_other_client_counts_once() {
        let mut board = Board::new(70);
        let at = Instant::now();
        let later = at + Duration::from_micros(40);
        board.make(Mark::Stamp(7), 3, at);
        for client in [3, 0, 0, 69, 69] {
            board.show(Mark::Stamp(7), client, later);
        }
        board.show(Mark::Stamp(8), 1, later);
        board.show(Mark::Gone(RowId(7)), 1, later);
        assert_eq!((board.times.count(), board.times.most_us(), board.overtaken), (2, 40, 0));
        board.close();
        assert_eq!((board.times.count(), board.overtaken), (2, 67));
        board.show(Mark::Stamp(7), 1, later);
        assert_eq!(board.times.count(), 2);
    }

    #[test]
    fn what_nobody_shows_for_long_is_forgotten() {
        let mut board = Board::new(3);
        let at = Instant::now();
        board.make(Mark::Gone(RowId(1)), 0, at);
        board.make(Mark::Stamp(1), 0, at + KEPT / 2);
        board.show(Mark::Gone(RowId(1)), 2, at);
        assert_eq!(board.overtaken, 0);
        board.make(Mark::Stamp(2), 0, at + KEPT);
        assert_eq!(board.overtaken, 1, "the one client that has not shown it");
        board.close();
        assert_eq!(board.overtaken, 5);
    }
}
