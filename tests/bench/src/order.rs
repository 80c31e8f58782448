//! Order. A history of 1,000,000 edits, in a random order, with 2,000,000 references to rows made earlier or later in it, is put in order
//! by what the client orders the edits of a transaction with ([`arrange`]): from edits with ids to edits in order. The limit is petgraph's
//! `toposort`, with the making of its graph: it gives the order as numbers, and moves no edit.
//!
//! And one edit more where 100,000 transactions wait, against 10: made, saved (to a disk that takes no time), told to the other tabs, and
//! then the next ten to send asked for. A card, a connection between two of the waiting cards and a move of a waiting card take turns.

use crate::figure::Figure;
use crate::work::Chance;
use driftline_core::dedupe::own_client;
use driftline_core::edit::{Edit, Op};
use driftline_core::engine::{Config, Disk, Effect, Engine, SlotDisk};
use driftline_core::order::{Step, arrange};
use driftline_core::outbox::Sending;
use driftline_core::schema::Schema;
use driftline_core::value::{RowId, RowKey, Value};
use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const EDITS: usize = 1_000_000;
const REFERENCES: usize = 2 * EDITS;
const SORTS: usize = 7;

const FEW: usize = 10;
const MANY: usize = 100_000;
const REPEATS: usize = 11;
/// Edits of one repeat, each timed by itself.
const MORE: usize = 30;
/// Transactions that are asked for: as many as there are in either case.
const ASKED: usize = 10;
const BATCH_BYTES: usize = 1024 * 1024;
const NOW_MS: u64 = 1_760_000_000_000;

pub fn run() -> Vec<Figure> {
    vec![sorting(), waiting()]
}

// ---- the whole history ----

const NODES: &str = r#"{"name": "nodes", "version": 1, "tables": {"node": {"references": {
    "a": {"to": ["node"], "nullable": true, "on_delete": "set_null"},
    "b": {"to": ["node"], "nullable": true, "on_delete": "set_null"},
    "c": {"to": ["node"], "nullable": true, "on_delete": "set_null"}}}}}"#;

fn sorting() -> Figure {
    let schema = Schema::parse(NODES).expect("the schema is sound");
    let history = history();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for repeat in 0..SORTS {
        let steps = history.clone();
        let began = Instant::now();
        let arranged = arrange(&schema, steps, &|_| Vec::new()).expect("it can be ordered");
        ours.push(began.elapsed().as_secs_f64());
        assert_parents_first(&arranged.iter().map(|step| &step.edit).collect::<Vec<_>>());
        drop(arranged);

        let began = Instant::now();
        let order = sort_by_petgraph(&history);
        theirs.push(began.elapsed().as_secs_f64());
        assert_parents_first(&order.iter().map(|node| &history[node.index()].edit).collect::<Vec<_>>());
        eprintln!("  {} of {SORTS}: {:.3} s; {:.3} s by petgraph", repeat + 1, ours[repeat], theirs[repeat]);
    }
    Figure::of_times("B7 order of 1,000,000 edits with 2,000,000 references; limit: petgraph's toposort", &ours, &theirs, 1.0)
}

/// Creates of rows of which each refers to two that were made before it, in an order that has nothing to do with that.
fn history() -> Vec<Step> {
    let mut chance = Chance::new(7);
    let rows: Vec<RowKey> = (0..EDITS).map(|made| row(made, &mut chance)).collect();
    let mut order: Vec<usize> = (0..EDITS).collect();
    chance.shuffle(&mut order);
    let steps: Vec<Step> = order.into_iter().map(|made| Step { part: 0, edit: create(made, &rows, &mut chance) }).collect();
    assert_eq!(steps.iter().map(|step| step.edit.references().count()).sum::<usize>(), REFERENCES);
    steps
}

fn row(made: usize, chance: &mut Chance) -> RowKey {
    let id = chance.id(made as u64);
    RowKey { table: 0, id: RowId::parse(&id).expect("it is an id") }
}

fn create(made: usize, rows: &[RowKey], chance: &mut Chance) -> Edit {
    // What the first two have too few, the next three have too many.
    let references: u16 = match made {
        0 | 1 => made as u16,
        2..5 => 3,
        _ => 2,
    };
    let set = (0..references).map(|column| (column, Value::Ref(rows[chance.below(made)]))).collect();
    Edit { set, ..Edit::new(Op::Create, rows[made]) }
}

fn sort_by_petgraph(steps: &[Step]) -> Vec<NodeIndex> {
    let mut graph = DiGraph::<(), ()>::with_capacity(EDITS, REFERENCES);
    let mut nodes: HashMap<RowId, NodeIndex> = HashMap::with_capacity(EDITS);
    for step in steps {
        nodes.insert(step.edit.row.id, graph.add_node(()));
    }
    for (place, step) in steps.iter().enumerate() {
        for (_, target) in step.edit.references() {
            graph.add_edge(nodes[&target.id], NodeIndex::new(place), ());
        }
    }
    toposort(&graph, None).expect("there is no cycle")
}

fn assert_parents_first(edits: &[&Edit]) {
    let places: HashMap<RowId, usize> = edits.iter().enumerate().map(|(place, edit)| (edit.row.id, place)).collect();
    assert_eq!((edits.len(), places.len()), (EDITS, EDITS), "each edit is there once");
    for (place, edit) in edits.iter().enumerate() {
        assert!(edit.references().all(|(_, target)| places[&target.id] < place), "what a row refers to comes before it");
    }
}

// ---- one edit more ----

fn waiting() -> Figure {
    let schema = Schema::parse(include_str!("../../schemas/canvas/schema.json")).expect("the schema is sound");
    let mut chance = Chance::new(7);
    let mut many = Tab::new(&schema, MANY, &mut chance);
    let (mut with_many, mut with_few) = (Vec::new(), Vec::new());
    for repeat in 0..REPEATS {
        let (mut much, mut little) = (Times::default(), Times::default());
        for i in 0..MORE {
            // Anew each time, so that no more than these wait.
            little.add(&Tab::new(&schema, FEW, &mut chance).one_more(i, &mut chance));
            much.add(&many.one_more(i, &mut chance));
        }
        with_few.push(little.each_s());
        with_many.push(much.each_s());
        eprintln!("  {} of {REPEATS}: {much}; with {FEW}: {little}", repeat + 1);
    }
    Figure::of_times("B7 one edit more with 100,000 waiting; limit: with 10 waiting", &with_many, &with_few, 2.0)
}

/// What the parts of an edit took, for all edits of a repeat.
#[derive(Default)]
struct Times {
    making: Duration,
    saving: Duration,
    asking: Duration,
}

impl Times {
    fn add(&mut self, other: &Times) {
        self.making += other.making;
        self.saving += other.saving;
        self.asking += other.asking;
    }

    fn each_s(&self) -> f64 {
        (self.making + self.saving + self.asking).as_secs_f64() / MORE as f64
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [making, saving, asking] = [self.making, self.saving, self.asking].map(|time| time.as_secs_f64() * 1e6 / MORE as f64);
        write!(f, "{making:.1} µs to make it, {saving:.1} to save it, {asking:.1} to ask")
    }
}

/// The sending tab, offline, with a disk that takes no time.
struct Tab {
    engine: Engine,
    /// Rows it has made so far.
    made: usize,
    /// The first of them is a type of connections; then cards and connections take turns, up to this one.
    by_turns: usize,
}

impl Tab {
    fn new(schema: &Schema, count: usize, chance: &mut Chance) -> Tab {
        let mut engine = Engine::new(Config {
            schema: schema.clone(),
            slot: 0,
            client: own_client(0xbe),
            high: Vec::new(),
            imported: Vec::new(),
            seed: 7,
            outbox_txns: 2 * MANY,
            outbox_bytes: 1 << 30,
        });
        engine.handle_opened(NOW_MS, Disk { slots: vec![SlotDisk::default()], ..Disk::default() });
        engine.set_online(NOW_MS, false);
        engine.handle_lead(NOW_MS, 1, None, vec![SlotDisk::default()]);
        let mut tab = Tab { engine, made: 0, by_turns: 0 };
        while tab.made < count {
            let edit = tab.next_create(chance);
            tab.engine.transact(NOW_MS, &transaction(&edit)).expect("it can be made");
        }
        tab.save();
        assert_eq!((tab.engine.outbox().len(), tab.ready()), (count, ASKED), "all wait, and can be sent");
        tab
    }

    fn one_more(&mut self, i: usize, chance: &mut Chance) -> Times {
        let edit = match i % 3 {
            0 => self.card(),
            1 => self.connection(chance),
            _ => {
                let (x, y) = (chance.below(10_000), chance.below(10_000));
                json!({"op": "update", "table": "card", "id": self.any_card(chance), "set": {"x": x, "y": y}})
            }
        };
        // What moves an unsent card goes with it.
        let waiting = self.engine.outbox().len() + usize::from(i % 3 != 2);
        let text = transaction(&edit);
        let began = Instant::now();
        self.engine.transact(NOW_MS, &text).expect("it can be made");
        let made = Instant::now();
        // As where somebody awaits it: what is folded would else be written a while later.
        self.engine.save_now(NOW_MS);
        self.save();
        let saved = Instant::now();
        let ready = self.ready();
        let asking = saved.elapsed();
        assert_eq!((self.engine.outbox().len(), ready), (waiting, ASKED), "it waits, and there is as much to send");
        Times { making: made - began, saving: saved - made, asking }
    }

    /// Carries out what the engine wants written.
    fn save(&mut self) {
        while let Some(effect) = self.engine.poll() {
            match effect {
                Effect::Save { id, slot, .. } => self.engine.handle_saved(NOW_MS, slot, id),
                Effect::Commit { id, .. } => self.engine.handle_committed(NOW_MS, id),
                _ => {}
            }
        }
    }

    /// How many transactions could go next, of as many as are asked for.
    fn ready(&self) -> usize {
        let (schema, replica) = (self.engine.schema(), self.engine.replica());
        let lacks = |edit: &Edit, column: u16, row: RowKey| replica.lacks(schema, edit, column, row);
        let sending = Sending { now_ms: NOW_MS, lacks: &lacks, own_slot: 0 };
        self.engine.outbox().ready(&sending, ASKED, BATCH_BYTES, None).len()
    }

    fn next_create(&mut self, chance: &mut Chance) -> Json {
        self.by_turns = self.made;
        match self.made {
            0 => self.connection_type(),
            made if made % 2 == 1 => self.card(),
            _ => self.connection(chance),
        }
    }

    fn connection_type(&mut self) -> Json {
        self.made += 1;
        json!({"op": "create", "table": "connection_type", "id": id(0), "set": {"name": "type"}})
    }

    fn card(&mut self) -> Json {
        self.made += 1;
        json!({"op": "create", "table": "card", "id": id(self.made - 1), "set": {"name": "card", "x": 10, "y": 20}})
    }

    fn connection(&mut self, chance: &mut Chance) -> Json {
        let (start, end) = (self.any_card(chance), self.any_card(chance));
        self.made += 1;
        let set = json!({"start_item": {"card": start}, "end_item": {"card": end}, "connection_type": id(0)});
        json!({"op": "create", "table": "connection", "id": id(self.made - 1), "set": set})
    }

    /// One of the cards that were made by turns: those have the odd numbers.
    fn any_card(&self, chance: &mut Chance) -> String {
        id(2 * chance.below(self.by_turns / 2) + 1)
    }
}

fn transaction(edit: &Json) -> String {
    json!({"edits": [edit]}).to_string()
}

fn id(n: usize) -> String {
    format!("0199aaaa-bbbb-7ccc-8ddd-{n:012x}")
}
