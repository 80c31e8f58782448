//! What the person at a client does: one edit after the other, in turns that do not wait for anything.

use crate::board::{Board, Mark};
use crate::tally::lock;
use driftline_core::engine::Engine;
use driftline_core::schema::Schema;
use driftline_core::value::{RowId, RowKey};
use driftline_tests::sim::rng::Rng;
use serde_json::{Value as Json, json};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Of a client, at most: a space stays one that people could have filled.
const CARDS: usize = 50;
const CONNECTIONS: usize = 50;
/// Fewer rows of one's own are not deleted from.
const FEW: usize = 5;
/// So often somebody else's card is edited.
const OTHERS_PERCENT: u64 = 20;
/// How often a card is looked for of which nothing waits to be sent: two edits of one card that wait become one.
const TRIES: usize = 4;
/// The fractions of its multiples are spread evenly, however many there are: so are the turns of the clients.
const GOLDEN: f64 = 0.618_034;

#[derive(Clone, Copy)]
enum Deed {
    NewCard,
    NewConnection,
    Change,
    GoneCard,
    GoneConnection,
}

/// An edit to be made.
pub struct Wanted {
    pub edit: Json,
    pub mark: Mark,
    row: RowId,
    deed: Deed,
}

pub struct Person {
    number: usize,
    rng: Rng,
    card: u16,
    connection: u16,
    /// From one turn to the next.
    period: Duration,
    turns: u64,
    jitter: f64,
    stamps: u64,
    cards: Vec<RowId>,
    connections: Vec<RowId>,
}

impl Person {
    pub fn new(number: usize, rng: Rng, schema: &Schema, rate: f64) -> Person {
        let table = |name| schema.table(name).unwrap_or_default();
        Person {
            number,
            rng,
            card: table("card"),
            connection: table("connection"),
            period: Duration::from_secs_f64(1.0 / rate),
            turns: 0,
            jitter: 0.0,
            stamps: 0,
            cards: Vec::new(),
            connections: Vec::new(),
        }
    }

    /// When the next edit is due, where all began at one time. It does not depend on how long anything took.
    pub fn due(&self, since: Instant) -> Instant {
        let offset = (self.number as f64 * GOLDEN).fract();
        since + self.period.mul_f64(self.turns as f64 + (offset + self.jitter) / 2.0)
    }

    pub fn take_turn(&mut self) {
        self.turns += 1;
        self.jitter = self.rng.below(1_000) as f64 / 1_000.0;
    }

    pub fn next_edit(&mut self, engine: &Engine, board: &Mutex<Board>, now_ms: u64) -> Wanted {
        let view = engine.replica().view();
        let (card, connection) = (self.card, self.connection);
        self.cards.retain(|id| view.contains(RowKey { table: card, id: *id }));
        self.connections.retain(|id| view.contains(RowKey { table: connection, id: *id }));
        let wanted = match self.rng.below(100) {
            0..15 if self.cards.len() < CARDS => Some(self.new_card(now_ms)),
            15..25 if self.connections.len() < CONNECTIONS => self.connect(engine, board, now_ms),
            25..30 if self.cards.len() + self.connections.len() > FEW => self.delete(engine),
            30..50 => self.write(engine, board),
            _ => self.move_card(engine, board),
        };
        match wanted.or_else(|| self.move_card(engine, board)) {
            Some(wanted) => wanted,
            None => self.new_card(now_ms),
        }
    }

    /// Takes note of an edit that has been made.
    pub fn note(&mut self, wanted: &Wanted, board: &mut Board) {
        match wanted.deed {
            Deed::NewCard => {
                self.cards.push(wanted.row);
                board.add_card(wanted.row);
            }
            Deed::NewConnection => self.connections.push(wanted.row),
            Deed::GoneCard => board.remove_card(wanted.row),
            Deed::GoneConnection | Deed::Change => {}
        }
    }

    // ---- edits ----

    fn new_card(&mut self, now_ms: u64) -> Wanted {
        let (x, y) = (self.coordinate(), self.coordinate());
        self.create("card", Deed::NewCard, json!({"text": "", "x": x, "y": y}), now_ms)
    }

    fn connect(&mut self, engine: &Engine, board: &Mutex<Board>, now_ms: u64) -> Option<Wanted> {
        let source = self.rng.pick(&self.cards).copied()?;
        let target = self.some_card(engine, board).filter(|target| *target != source)?;
        let ends = json!({"source": source.to_string(), "target": target.to_string()});
        Some(self.create("connection", Deed::NewConnection, ends, now_ms))
    }

    fn write(&mut self, engine: &Engine, board: &Mutex<Board>) -> Option<Wanted> {
        let card = self.some_card(engine, board)?;
        let text = format!("Note {} of {}: {}", self.turns, self.number, "so it goes on ".repeat(self.rng.below(6) as usize));
        Some(self.update(card, json!({"text": text})))
    }

    fn move_card(&mut self, engine: &Engine, board: &Mutex<Board>) -> Option<Wanted> {
        let card = self.some_card(engine, board)?;
        let (x, y) = (self.coordinate(), self.coordinate());
        Some(self.update(card, json!({"x": x, "y": y})))
    }

    fn delete(&mut self, engine: &Engine) -> Option<Wanted> {
        let is_card = self.rng.chance(500);
        let (rows, table, name, deed) = match is_card {
            true => (&self.cards, self.card, "card", Deed::GoneCard),
            false => (&self.connections, self.connection, "connection", Deed::GoneConnection),
        };
        let row = self.rng.pick(rows).copied().filter(|id| !waits(engine, RowKey { table, id: *id }))?;
        let edit = json!({"op": "delete", "table": name, "id": row.to_string()});
        Some(Wanted { edit, mark: Mark::Gone(row), row, deed })
    }

    fn create(&mut self, table: &str, deed: Deed, mut set: Json, now_ms: u64) -> Wanted {
        let (row, stamp) = (self.new_row(now_ms), self.stamp());
        set["stamp"] = json!(stamp);
        let edit = json!({"op": "create", "table": table, "id": row.to_string(), "set": set});
        Wanted { edit, mark: Mark::Stamp(stamp), row, deed }
    }

    fn update(&mut self, card: RowId, mut set: Json) -> Wanted {
        let stamp = self.stamp();
        set["stamp"] = json!(stamp);
        let edit = json!({"op": "update", "table": "card", "id": card.to_string(), "set": set});
        Wanted { edit, mark: Mark::Stamp(stamp), row: card, deed: Deed::Change }
    }

    // ---- what they are made of ----

    /// A card of one's own, or of somebody else; rather one of which nothing waits.
    fn some_card(&mut self, engine: &Engine, board: &Mutex<Board>) -> Option<RowId> {
        let mut found = None;
        for _ in 0..TRIES {
            let is_anybodys = self.rng.below(100) < OTHERS_PERCENT;
            let drawn = if is_anybodys { lock(board).card(self.rng.draw()) } else { self.rng.pick(&self.cards).copied() };
            let Some(id) = drawn else { continue };
            let key = RowKey { table: self.card, id };
            if !engine.replica().view().contains(key) {
                continue;
            }
            found = Some(id);
            if !waits(engine, key) {
                break;
            }
        }
        found
    }

    /// No other edit of this run has it.
    fn stamp(&mut self) -> u64 {
        self.stamps += 1;
        (self.number as u64 + 1) << 32 | self.stamps
    }

    fn coordinate(&mut self) -> f64 {
        self.rng.below(8_000) as f64 / 2.0
    }

    /// A UUID of version 7.
    fn new_row(&mut self, now_ms: u64) -> RowId {
        let random = u128::from(self.rng.draw()) << 64 | u128::from(self.rng.draw());
        let free_bits = 0xfff_u128 << 64 | ((1_u128 << 62) - 1);
        RowId(u128::from(now_ms) << 80 | 7_u128 << 76 | 2_u128 << 62 | random & free_bits)
    }
}

fn waits(engine: &Engine, row: RowKey) -> bool {
    engine.outbox().touching(row).next().is_some()
}
