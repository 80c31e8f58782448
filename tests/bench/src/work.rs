//! The work that several benchmarks do: 10,000 edits of a canvas, the same ones for the same seed.
//!
//! Of each 100 edits 40 create a card, 5 a type of connections and 20 a connection between two cards; 30 move a card and 5 delete one.
//! Whatever an edit names is there by then, so none of them is refused or told of.

use driftline_core::reconcile::mix;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

pub const TXNS: usize = 100;
/// Edits of a transaction.
pub const TXN_EDITS: usize = 100;
pub const EDITS: usize = TXNS * TXN_EDITS;

const VOCABULARY: f64 = 20_000.0;
/// The time in the first row's id: a day of the year 2025.
const FIRST_MS: u64 = 0x0199_0000_0000;

#[derive(Clone, Copy)]
enum Kind {
    Card,
    Type,
    Connection,
    Move,
    Delete,
}

const SHARES: [(Kind, usize); 5] = [(Kind::Card, 40), (Kind::Type, 5), (Kind::Connection, 20), (Kind::Move, 30), (Kind::Delete, 5)];

/// The transactions, each as its edits in the words of the protocol. Rows of two seeds have nothing to do with each other, and
/// those of the next one look as if they were made later.
pub fn edits(seed: u64) -> Vec<Vec<Json>> {
    let mut canvas = Canvas { chance: Chance::new(seed), made: seed % 1_000 * EDITS as u64, cards: Vec::new(), types: Vec::new() };
    (0..TXNS).map(|_| canvas.transaction()).collect()
}

/// The edits that made the rows that are there after all of these.
pub fn rows_left(txns: &[Vec<Json>]) -> Vec<&Json> {
    let deletes = txns.iter().flatten().filter(|edit| edit["op"] == "delete");
    let gone: BTreeSet<&str> = deletes.filter_map(|edit| edit["id"].as_str()).collect();
    let creates = txns.iter().flatten().filter(|edit| edit["op"] == "create");
    creates.filter(|edit| hangs_on(edit).all(|id| !gone.contains(id))).collect()
}

/// The rows with which a new row goes: itself, and of a connection the cards at its ends.
fn hangs_on(edit: &Json) -> impl Iterator<Item = &str> {
    let set = &edit["set"];
    [&edit["id"], &set["start_item"]["card"], &set["end_item"]["card"]].into_iter().filter_map(Json::as_str)
}

/// How many rows each table has after all of these.
pub fn rows_after(txns: &[Vec<Json>]) -> BTreeMap<&str, i64> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for table in rows_left(txns).into_iter().filter_map(|edit| edit["table"].as_str()) {
        *counts.entry(table).or_default() += 1;
    }
    counts
}

struct Canvas {
    chance: Chance,
    /// What the time of the last id was.
    made: u64,
    /// The ids of the cards that are there, and of the types.
    cards: Vec<String>,
    types: Vec<String>,
}

impl Canvas {
    fn transaction(&mut self) -> Vec<Json> {
        let mut kinds: Vec<Kind> = SHARES.iter().flat_map(|(kind, share)| vec![*kind; share * TXN_EDITS / 100]).collect();
        self.chance.shuffle(&mut kinds);
        let mut edits = Vec::with_capacity(TXN_EDITS);
        // What needs something that is not there yet comes later.
        while let Some(at) = kinds.iter().rposition(|kind| self.allows(*kind)) {
            let kind = kinds.remove(at);
            edits.push(self.edit(kind));
        }
        assert_eq!(edits.len(), TXN_EDITS, "no edit is left over");
        edits
    }

    fn allows(&self, kind: Kind) -> bool {
        match kind {
            Kind::Card | Kind::Type => true,
            Kind::Connection => self.cards.len() > 1 && !self.types.is_empty(),
            Kind::Move | Kind::Delete => !self.cards.is_empty(),
        }
    }

    fn edit(&mut self, kind: Kind) -> Json {
        match kind {
            Kind::Card => self.card(),
            Kind::Type => self.connection_type(),
            Kind::Connection => self.connection(),
            Kind::Move => {
                let card = self.chance.below(self.cards.len());
                let (x, y) = self.place();
                json!({"op": "update", "table": "card", "id": self.cards[card], "set": {"x": x, "y": y}})
            }
            Kind::Delete => {
                let card = self.chance.below(self.cards.len());
                json!({"op": "delete", "table": "card", "id": self.cards.swap_remove(card)})
            }
        }
    }

    fn card(&mut self) -> Json {
        let id = self.next_id();
        let count = 2 + self.chance.below(9);
        let (name, (x, y)) = (self.chance.words(count), self.place());
        self.cards.push(id.clone());
        json!({"op": "create", "table": "card", "id": id, "set": {"name": name, "x": x, "y": y}})
    }

    fn connection_type(&mut self) -> Json {
        let id = self.next_id();
        let (name, color) = (format!("type {}", self.types.len() + 1), format!("#{:06x}", self.chance.below(1 << 24)));
        self.types.push(id.clone());
        json!({"op": "create", "table": "connection_type", "id": id, "set": {"name": name, "color": color}})
    }

    fn connection(&mut self) -> Json {
        let id = self.next_id();
        let count = self.cards.len();
        let start = self.chance.below(count);
        let end = (start + 1 + self.chance.below(count - 1)) % count;
        let connection_type = self.chance.below(self.types.len());
        let path = format!("m{},{} q90,40 200,0", self.chance.below(10_000), self.chance.below(10_000));
        let (start, end) = (&self.cards[start], &self.cards[end]);
        let set = json!({
            "start_item": {"card": start}, "end_item": {"card": end}, "connection_type": self.types[connection_type], "path": path
        });
        json!({"op": "create", "table": "connection", "id": id, "set": set})
    }

    fn place(&mut self) -> (f64, f64) {
        let mut half_pixels = || self.chance.below(20_000) as f64 / 2.0;
        (half_pixels(), half_pixels())
    }

    fn next_id(&mut self) -> String {
        self.made += 1;
        self.chance.id(self.made)
    }
}

/// Chance that is the same in every run.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(mix(seed))
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.draw() % n as u64) as usize
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }

    /// A row's id as clients make them (a UUID of version 7): when it was made, here so many milliseconds after the first, then chance.
    pub fn id(&mut self, ms: u64) -> String {
        let (time, a, b) = (FIRST_MS + ms, self.draw(), self.draw());
        let (high, low) = (time >> 16, time & 0xffff);
        format!("{high:08x}-{low:04x}-7{:03x}-8{:03x}-{:012x}", a & 0xfff, (a >> 12) & 0xfff, b & 0xffff_ffff_ffff)
    }

    /// Words as people use them: few often, most of them seldom.
    pub fn words(&mut self, count: usize) -> String {
        let mut word = || {
            let share = (self.draw() >> 11) as f64 / (1u64 << 53) as f64;
            format!("w{}", VOCABULARY.powf(share) as u64)
        };
        (0..count).map(|_| word()).collect::<Vec<_>>().join(" ")
    }
}
