//! What a push may say: whole and well-formed, and about rows of which some are not there.

use super::rng::Rng;
use crate::world::id;
use serde_json::{Value as Json, json};

/// Rows with these numbers nobody ever makes.
const NEVER: u64 = 0xffff_0000_0000;
/// Client ids of a round. All users take theirs from these, so that one uses another's.
const CLIENTS: usize = 6;
/// Elements of a set that are one too many.
const TOO_MANY: usize = 1_001;

const TABLES: [&str; 6] = ["box", "card", "kind", "link", "page", "picture"];
const LABELS: [&str; 4] = ["idea", "urgent", "ü", "a:b=c d"];
const TEXTS: [&str; 9] =
    ["", "one", "one\ntwo\nthree", "one\n2\nthree", "one\ntwo\n3", "🙂 ü\u{202e}", "\" \\ \u{8}", "nul \0 nul", "'; DROP TABLE card; --"];
const INTS: [i64; 5] = [0, 1, -7, 9_007_199_254_740_991, -9_007_199_254_740_991];
const REALS: [f64; 5] = [0.0, -0.0, 4.5, 1e300, -123.25];

/// Makes requests. It remembers what it has said in its round, so that later requests meet it.
pub struct Grammar {
    pub rng: Rng,
    pub round: usize,
    /// Which of the round's two spaces is spoken to.
    pub space: usize,
    /// The highest sequence number so far, whatever its client.
    pub seq: u64,
    rows: u64,
    /// Rows by space: table and number.
    made: [Vec<(&'static str, u64)>; 2],
}

impl Grammar {
    pub fn new(seed: u64) -> Grammar {
        Grammar { rng: Rng::new(seed), round: 0, space: 0, seq: 0, rows: 0, made: Default::default() }
    }

    /// Goes on with spaces that nobody has written yet, so that none of them becomes large.
    pub fn begin(&mut self, round: usize) {
        self.round = round;
        self.made = Default::default();
    }

    /// A request's content: these units, and who says them.
    pub fn push(&mut self, units: Vec<Json>) -> Json {
        let mut clients = vec![self.client(0)];
        if self.rng.chance(10) {
            clients.push(self.client(CLIENTS));
        }
        let cursor = match self.rng.below(10) {
            0 | 1 => json!(0),
            2 => json!(3),
            3 => json!(u64::MAX),
            4 => json!(i64::MAX),
            _ => Json::Null,
        };
        json!({"epoch": 1, "cursor": cursor, "clients": clients, "units": units})
    }

    fn client(&mut self, from: usize) -> Json {
        let id = format!("{:08x}{:08x}", self.round, from + self.rng.below(CLIENTS));
        let receipt = if self.rng.chance(10) { json!("00000000000000ff") } else { Json::Null };
        let closed = if self.rng.chance(5) { json!([[1, self.seq.saturating_sub(50).max(1)]]) } else { json!([]) };
        json!({"id": id, "receipt": receipt, "closed": closed})
    }

    /// One transaction, or two that need each other.
    pub fn unit(&mut self) -> Json {
        let txns = if self.rng.chance(8) { self.ring() } else { vec![self.txn()] };
        let after = if self.rng.chance(12) { json!([self.earlier()]) } else { json!([]) };
        json!({"txns": txns, "after": after})
    }

    fn txn(&mut self) -> Json {
        let mut txn = json!({"key": self.key(), "body": self.body()});
        if self.rng.chance(4) {
            txn["replaces"] = json!([self.earlier()]);
        }
        txn
    }

    fn ring(&mut self) -> Vec<Json> {
        let (one, two) = (self.fresh("box"), self.fresh("box"));
        let made = [(&one, &two), (&two, &one)].map(|(id, parent)| {
            self.seq += 1;
            let edit = json!({"op": "create", "table": "box", "id": id, "set": {"parent": parent}});
            json!({"key": [0, self.seq], "body": {"schema": 3, "at": [1_000, 0], "edits": [edit]}})
        });
        Vec::from(made)
    }

    /// The next key, or one that was used for something else.
    fn key(&mut self) -> Json {
        if self.rng.chance(6) {
            return self.earlier();
        }
        self.seq += 1;
        json!([0, self.seq])
    }

    fn earlier(&mut self) -> Json {
        let back = self.rng.below(40) as u64;
        json!([0, self.seq.saturating_sub(back).max(1)])
    }

    fn body(&mut self) -> Json {
        let at = json!([1_700_000_000_000 + self.rng.below(1_000_000) as u64, self.rng.below(3)]);
        if self.rng.chance(6) {
            return json!({"schema": 1, "at": at, "edits": [self.old_edit()]});
        }
        let edits: Vec<Json> = (0..=self.rng.below(3)).map(|_| self.edit()).collect();
        json!({"schema": 3, "at": at, "edits": edits})
    }

    /// As it was said under the first version of the schema.
    fn old_edit(&mut self) -> Json {
        if self.rng.chance(30) {
            return json!({"op": "update", "table": "scrap", "id": id(NEVER), "set": {"x": 1}});
        }
        let id = self.fresh("page");
        json!({"op": "create", "table": "note", "id": id, "set": {"heading": self.text(), "size": "12"}})
    }

    fn edit(&mut self) -> Json {
        match self.rng.below(18) {
            0..=5 => self.create_card(),
            6 | 7 => {
                let set = json!({"title": self.text(), "parent": self.maybe("box"), "main": self.maybe("card")});
                self.create("box", set)
            }
            8 => {
                let set = json!({"name": self.text()});
                self.create("kind", set)
            }
            9 => {
                let set = json!({"kind": self.row("kind"), "from": {"card": self.row("card")}, "to": {"box": self.row("box")}});
                self.create("link", set)
            }
            10 => {
                let set = json!({"title": self.text(), "cover": self.maybe("picture")});
                self.create("page", set)
            }
            11 => {
                let set = json!({"page": self.row("page")});
                self.create("picture", set)
            }
            12 | 13 => self.update_card(),
            14 => {
                let was = json!({"title": self.text()});
                json!({"op": "update", "table": "box", "id": self.row("box"), "set": {"parent": self.maybe("box")}, "was": was})
            }
            15 => json!({"op": "update", "table": "link", "id": self.row("link"), "set": {"to": {"card": self.row("card")}}}),
            16 => {
                let table = *self.rng.pick(&TABLES);
                json!({"op": "delete", "table": table, "id": self.row(table)})
            }
            _ => json!({"op": "restore", "table": "box", "id": self.row("box"), "set": {"parent": self.maybe("box")}}),
        }
    }

    fn create(&mut self, table: &'static str, set: Json) -> Json {
        let id = if self.rng.chance(4) { self.row(table) } else { self.fresh(table) };
        json!({"op": "create", "table": table, "id": id, "set": set})
    }

    pub fn create_card(&mut self) -> Json {
        let place = if self.rng.chance(50) { json!("V0k1") } else { Json::Null };
        let data = if self.rng.chance(50) { json!({"b": [1, {"a": null}], "": -0.5}) } else { Json::Null };
        let set = json!({
            "text": self.text(), "name": self.text(), "labels": self.labels(), "place": place, "x": *self.rng.pick(&REALS),
            "n": *self.rng.pick(&INTS), "done": self.rng.chance(50), "data": data, "box": self.maybe("box"),
            "elsewhere": self.maybe("card"),
        });
        self.create("card", set)
    }

    fn update_card(&mut self) -> Json {
        json!({
            "op": "update", "table": "card", "id": self.row("card"), "set": {"x": *self.rng.pick(&REALS), "box": self.maybe("box")},
            "add": {"count": *self.rng.pick(&INTS)}, "text": {"name": [self.text(), self.text()]}, "insert": {"labels": self.labels()},
            "remove": {"labels": ["gone"]},
        })
    }

    fn labels(&mut self) -> Json {
        if self.rng.chance(1) {
            return json!((0..TOO_MANY).map(|n| n.to_string()).collect::<Vec<_>>());
        }
        let count = self.rng.below(LABELS.len());
        json!(&LABELS[..count])
    }

    fn text(&mut self) -> Json {
        json!(self.rng.pick(&TEXTS))
    }

    fn fresh(&mut self, table: &'static str) -> String {
        self.rows += 1;
        self.made[self.space].push((table, self.rows));
        id(self.rows)
    }

    fn maybe(&mut self, table: &str) -> Json {
        if self.rng.chance(50) { json!(self.row(table)) } else { Json::Null }
    }

    /// A row of the table: one of this space as a rule, sometimes one of the other space, or one that is nowhere.
    fn row(&mut self, table: &str) -> String {
        let of = if self.rng.chance(8) { 1 - self.space } else { self.space };
        let known: Vec<u64> = self.made[of].iter().filter(|row| row.0 == table).map(|row| row.1).collect();
        if known.is_empty() || self.rng.chance(4) {
            return id(NEVER + self.rng.below(3) as u64);
        }
        id(*self.rng.pick(&known))
    }
}
