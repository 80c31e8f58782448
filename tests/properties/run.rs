//! One history: its chance, how far it goes, what it met and what was found wrong.

use driftline_core::schema::{EditsToDeleted, Schema};
use driftline_tests::sim::rng::Rng;
use driftline_tests::sim::schema;
use std::rc::Rc;

/// The schemas that histories play in.
pub struct Schemas {
    pub canvas: Rc<Schema>,
    pub publishing: Rc<Schema>,
    /// In the real ones no rows can need each other through required references; in this one they can.
    pub small: Rc<Schema>,
}

/// Where a reference to nothing becomes null, what is sent need not name what is there; the simulator plays with that.
fn strict(mut schema: Schema) -> Schema {
    for table in &mut schema.tables {
        if table.edits_to_deleted == EditsToDeleted::Null {
            table.edits_to_deleted = EditsToDeleted::Drop;
        }
    }
    schema
}

impl Schemas {
    pub fn new() -> Schemas {
        Schemas { canvas: Rc::new(schema::canvas()), publishing: Rc::new(schema::publishing()), small: Rc::new(strict(schema::small())) }
    }
}

/// A family of properties.
pub struct Family {
    pub name: &'static str,
    pub rules: &'static str,
    /// What its histories must run into.
    pub situations: &'static [&'static str],
    pub run: fn(&mut Run),
}

/// A rule that does not hold, and how that shows.
#[derive(Debug, Clone)]
pub struct Finding {
    pub rule: &'static str,
    pub text: String,
}

pub struct Run<'a> {
    pub rng: Rng,
    pub schemas: &'a Schemas,
    pub steps: usize,
    pub findings: Vec<Finding>,
    pub hits: Vec<u64>,
    pub transactions: u64,
    pub trace: bool,
    most: usize,
    situations: &'static [&'static str],
}

impl<'a> Run<'a> {
    /// The history of a seed, cut off after `most` steps.
    pub fn new(family: &Family, schemas: &'a Schemas, seed: u64, most: usize, trace: bool) -> Run<'a> {
        let salt = family.name.bytes().fold(0u64, |salt, b| salt.wrapping_mul(31).wrapping_add(u64::from(b)));
        Run {
            rng: Rng::new(seed.wrapping_mul(0x1_0001).wrapping_add(salt << 40)),
            schemas,
            steps: 0,
            findings: Vec::new(),
            hits: vec![0; family.situations.len()],
            transactions: 0,
            trace,
            most,
            situations: family.situations,
        }
    }

    /// Whether there is another step. Each draws from the same chance, so that a prefix is the same history.
    pub fn step(&mut self) -> bool {
        let go_on = self.steps < self.most && self.findings.is_empty();
        self.steps += usize::from(go_on);
        go_on
    }

    /// One of the two real schemas.
    pub fn real_schema(&mut self) -> Rc<Schema> {
        if self.rng.chance(500) { self.schemas.canvas.clone() } else { self.schemas.publishing.clone() }
    }

    /// One of the real schemas, or the small one, in which each table treats edits of deleted rows in a way of its own.
    pub fn varied_schema(&mut self) -> Rc<Schema> {
        let schema = match self.rng.below(10) {
            0..4 => &self.schemas.small,
            4..8 => &self.schemas.canvas,
            _ => &self.schemas.publishing,
        };
        let mut varied = (**schema).clone();
        for table in &mut varied.tables {
            let ways = [EditsToDeleted::Drop, EditsToDeleted::Null, EditsToDeleted::Park, EditsToDeleted::Restore];
            table.edits_to_deleted = self.rng.pick(&ways).copied().unwrap_or(EditsToDeleted::Drop);
        }
        Rc::new(varied)
    }

    pub fn hit(&mut self, situation: &'static str) {
        self.hits_of(situation, 1);
    }

    pub fn hits_of(&mut self, situation: &'static str, count: u64) {
        match self.situations.iter().position(|known| *known == situation) {
            Some(i) => self.hits[i] += count,
            None => self.find("test", format!("`{situation}` is not among the family's situations")),
        }
    }

    pub fn find(&mut self, rule: &'static str, text: String) {
        if self.trace {
            println!("FOUND {rule}: {text}");
        }
        self.findings.push(Finding { rule, text });
    }

    pub fn find_all(&mut self, rule: &'static str, texts: Vec<String>) {
        texts.into_iter().for_each(|text| self.find(rule, text));
    }

    pub fn check(&mut self, rule: &'static str, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            let text = text();
            self.find(rule, text);
        }
    }

    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>4} {}", self.steps, text());
        }
    }
}
