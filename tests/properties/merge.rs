//! Merging (I7): concurrent edits come to the same fields in whatever order they arrive, and to those of the last writer.

use crate::making;
use crate::model::{self, Rows, values};
use crate::run::{Family, Run};
use crate::tab::serve_push;
use driftline_core::edit::{Edit, Merge, Txn};
use driftline_core::limits;
use driftline_core::merge::Hlc;
use driftline_core::schema::{Kind, Schema};
use driftline_core::value::{RowKey, Value};
use driftline_core::wire::{Push, PushClient, PushTxn, PushUnit};
use driftline_tests::sim::server::Server;
use std::collections::BTreeMap;
use std::rc::Rc;

pub const FAMILY: Family = Family {
    name: "merge",
    rules: "I7",
    situations: &[
        "two writers of one field",
        "equal times, the client decides",
        "equal times and client, the number decides",
        "a field written twice in a transaction",
        "an older edit arrived later",
        "a counter added to by several",
        "a clock ahead was clamped",
        "two clamped clocks were equal",
        "every order tried",
        "an edit older than its row",
        "an element put in and taken out by several",
        "texts typed into by several",
        "texts that could be merged",
        "texts that could not be merged",
    ],
    run: i7_the_order_of_arrival_does_not_matter,
};

const NOW: u64 = 1_800_000_000_000;
/// As many orders of arrival as four transactions have.
const ORDERS: u64 = 24;

struct Made {
    client: u64,
    seq: u64,
    txn: Txn,
}

fn i7_the_order_of_arrival_does_not_matter(run: &mut Run) {
    let schema = run.real_schema();
    let fields: Vec<u16> =
        making::held_tables(&schema).into_iter().filter(|t| making::reference_columns(&schema, *t).iter().all(|c| c.2)).collect();
    let mut rows = Vec::new();
    for _ in 0..run.rng.range(1, 3) {
        let Some(&table) = run.rng.pick(&fields) else { return };
        let row = making::fresh(&mut run.rng, table);
        rows.extend(making::create(&mut run.rng, &schema, row, |_, _, _| None));
    }
    let born = Made { client: 9, seq: 1, txn: Txn { at: Hlc::new(NOW, 5), edits: rows } };
    let clients = run.rng.range(2, 5);
    let mut made: Vec<Made> = Vec::new();
    for _ in 0..run.rng.range(2, 9) {
        if !run.step() {
            break;
        }
        let txn = Txn { at: time(run, &made), edits: edits(run, &schema, &born.txn.edits) };
        let client = 1 + run.rng.below(clients);
        let seq = 1 + made.iter().filter(|made| made.client == client).count() as u64;
        run.say(|| format!("client {client} number {seq} at {}.{}: {}", txn.at.ms(), txn.at.count(), making::shown(&schema, &txn.edits)));
        made.push(Made { client, seq, txn });
    }
    if made.is_empty() {
        return;
    }
    run.transactions += made.len() as u64;
    note(run, &schema, &born, &made);
    let all = permutations(made.len());
    if all.is_some() {
        run.hit("every order tried");
    }
    let few = || 0..6;
    let orders: Vec<Vec<usize>> = all.unwrap_or_else(|| few().map(|_| shuffled(run, made.len())).collect());
    for order in orders {
        let is = arrive(run, &schema, &born, &made, &order);
        let should = last_writers(&schema, &born, order.iter().map(|i| &made[*i]));
        note_texts(run, &schema, &made, &is);
        if let Some(text) = model::differ(&schema, &is, &should) {
            run.find("i7", format!("arriving as {order:?}: {text}"));
            return;
        }
        run.find_all("i3", model::orphans(&schema, &is));
    }
}

fn shuffled(run: &mut Run, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    run.rng.shuffle(&mut order);
    order
}

/// Times meet often, and some are far ahead.
fn time(run: &mut Run, made: &[Made]) -> Hlc {
    if run.rng.chance(300)
        && let Some(other) = run.rng.pick(made)
    {
        return other.txn.at;
    }
    match run.rng.below(10) {
        0 => Hlc::new(NOW + limits::CLOCK_AHEAD_MS + run.rng.below(10_000_000), run.rng.below(9)),
        1 => Hlc::new(NOW + limits::CLOCK_AHEAD_MS - run.rng.below(3), run.rng.below(3)),
        2 => Hlc::new(NOW - run.rng.below(100), run.rng.below(9)),
        _ => Hlc::new(NOW + run.rng.below(5), run.rng.below(9)),
    }
}

fn edits(run: &mut Run, schema: &Schema, rows: &[Edit]) -> Vec<Edit> {
    let mut edits = Vec::new();
    for _ in 0..run.rng.range(1, 3) {
        let Some(row) = run.rng.pick(rows).map(|edit| edit.row) else { continue };
        // Mostly everybody has seen the row as it was made.
        let born = rows.iter().find(|edit| edit.row == row).map(|edit| model::created(schema, edit)).filter(|_| run.rng.chance(900));
        edits.push(making::rewrite(&mut run.rng, schema, row, born.as_ref()));
    }
    edits
}

/// Who put an element in, or took it out.
type Did = Vec<(u64, bool)>;

/// Who wrote what, and when, in the order by which the last one is chosen.
type Place = (u64, u64, u64, usize);

fn place(made: &Made, edit: usize) -> Place {
    let ahead = Hlc::new(NOW + limits::CLOCK_AHEAD_MS, 0);
    (made.txn.at.0.min(ahead.0), made.client, made.seq, edit)
}

fn writes(made: &[Made]) -> BTreeMap<(RowKey, u16), Vec<(Place, Value)>> {
    let mut writes: BTreeMap<(RowKey, u16), Vec<(Place, Value)>> = BTreeMap::new();
    for made in made {
        for (i, edit) in made.txn.edits.iter().enumerate() {
            for (column, value) in &edit.set {
                writes.entry((edit.row, *column)).or_default().push((place(made, i), value.clone()));
            }
        }
    }
    writes
}

/// What fields come to when transactions arrive in an order: which decides about nothing but which of two texts is the base of the merge.
fn last_writers<'a>(schema: &Schema, born: &Made, arriving: impl Iterator<Item = &'a Made>) -> Rows {
    let mut rows: Rows = born.txn.edits.iter().map(|edit| (edit.row, model::created(schema, edit))).collect();
    let mut last: BTreeMap<(RowKey, u16, Option<String>), Place> = BTreeMap::new();
    for made in arriving {
        for (i, edit) in made.txn.edits.iter().enumerate() {
            let Some(row) = rows.get_mut(&edit.row) else { continue };
            model::write_if(schema, row, edit, &mut |column, element| {
                let known = last.get(&(edit.row, column, element.map(str::to_string))).copied();
                // A field is as old as its row, and an element that nobody has touched is of no time.
                let known = known.or(element.is_none().then(|| place(born, 0)));
                let is_last = known.is_none_or(|known| known <= place(made, i));
                if is_last {
                    last.insert((edit.row, column, element.map(str::to_string)), place(made, i));
                }
                is_last
            });
        }
    }
    rows
}

fn note(run: &mut Run, schema: &Schema, born: &Made, made: &[Made]) {
    let ahead = Hlc::new(NOW + limits::CLOCK_AHEAD_MS, 0);
    let clamped = made.iter().filter(|made| made.txn.at > ahead).count();
    run.hits_of("a clock ahead was clamped", clamped as u64);
    for writes in writes(made).into_values() {
        let pairs = writes.iter().enumerate().flat_map(|(i, a)| writes[..i].iter().map(move |b| (a.0, b.0)));
        for (a, b) in pairs {
            let same = |n: usize| [a.0 == b.0, a.1 == b.1, a.2 == b.2][..n].iter().all(|same| *same);
            run.hits_of("two writers of one field", u64::from(a.1 != b.1));
            run.hits_of("equal times, the client decides", u64::from(same(1) && !same(2)));
            run.hits_of("equal times and client, the number decides", u64::from(same(2) && !same(3)));
            run.hits_of("a field written twice in a transaction", u64::from(same(3)));
            run.hits_of("two clamped clocks were equal", u64::from(same(1) && a.0 == ahead.0 && clamped > 1));
        }
        run.hits_of("an edit older than its row", u64::from(writes.iter().any(|write| write.0 < place(born, 0))));
    }
    run.hits_of("an older edit arrived later", u64::from(made.windows(2).any(|pair| pair[1].txn.at < pair[0].txn.at)));
    let mut counts: BTreeMap<(RowKey, u16), Vec<u64>> = BTreeMap::new();
    let mut elements: BTreeMap<(RowKey, u16, &String), Did> = BTreeMap::new();
    for made in made {
        for edit in &made.txn.edits {
            edit.add.iter().for_each(|add| counts.entry((edit.row, add.0)).or_default().push(made.client));
            for (column, merge) in &edit.add {
                let Merge::Set { insert, remove } = merge else { continue };
                for (element, is_in) in insert.iter().map(|e| (e, true)).chain(remove.iter().map(|e| (e, false))) {
                    elements.entry((edit.row, *column, element)).or_default().push((made.client, is_in));
                }
            }
        }
    }
    let both = |did: &Did| did.iter().any(|other| other.0 != did[0].0 && other.1 != did[0].1);
    run.hits_of("an element put in and taken out by several", elements.values().filter(|did| both(did)).count() as u64);
    for ((row, column), clients) in counts {
        let several = u64::from(clients.iter().any(|client| *client != clients[0]));
        match model::kind(schema, row.table, usize::from(column)) {
            Kind::Counter => run.hits_of("a counter added to by several", several),
            Kind::Text { .. } => run.hits_of("texts typed into by several", several),
            _ => {}
        }
    }
}

fn note_texts(run: &mut Run, schema: &Schema, made: &[Made], is: &Rows) {
    let mut wanted: BTreeMap<(RowKey, u16), Vec<&Value>> = BTreeMap::new();
    for edit in made.iter().flat_map(|made| &made.txn.edits) {
        for (column, merge) in &edit.add {
            if let Merge::Text { to, .. } = merge {
                wanted.entry((edit.row, *column)).or_default().push(to);
            }
        }
    }
    for ((row, column), wanted) in wanted {
        let (Some(values), Kind::Text { conflicts: Some(kept), .. }) = (is.get(&row), model::kind(schema, row.table, usize::from(column)))
        else {
            continue;
        };
        run.hits_of("texts that could not be merged", u64::from(values[usize::from(*kept)] != Value::Null));
        let is_new = wanted.iter().all(|to| **to != values[usize::from(column)]) && wanted.len() > 1;
        run.hits_of("texts that could be merged", u64::from(is_new));
    }
}

/// All orders of a few things.
fn permutations(n: usize) -> Option<Vec<Vec<usize>>> {
    if (1..=n as u64).product::<u64>() > ORDERS {
        return None;
    }
    let mut all = vec![Vec::new()];
    for item in 0..n {
        let longer = |order: Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut longer = order.clone();
                longer.insert(at, item);
                longer
            })
        };
        all = all.into_iter().flat_map(longer).collect();
    }
    Some(all)
}

/// Lets transactions arrive in an order, several in a push at times; returns the rows.
fn arrive(run: &mut Run, schema: &Rc<Schema>, born: &Made, made: &[Made], order: &[usize]) -> Rows {
    let mut server = Server::new(schema.clone());
    let mut batches: Vec<Vec<&Made>> = vec![vec![born]];
    for i in order {
        match batches.last_mut() {
            Some(batch) if run.rng.chance(400) => batch.push(&made[*i]),
            _ => batches.push(vec![&made[*i]]),
        }
    }
    for batch in batches {
        let mut clients: Vec<u64> = batch.iter().map(|made| made.client).collect();
        clients.sort_unstable();
        clients.dedup();
        let unit = |made: &&Made| {
            let client = clients.binary_search(&made.client).unwrap_or(0);
            let hash = u128::from(made.client) << 64 | u128::from(made.seq);
            PushUnit {
                txns: vec![PushTxn { client, seq: made.seq, hash, replaces: Vec::new(), txn: Ok(made.txn.clone()) }],
                after: Vec::new(),
            }
        };
        let units = batch.iter().map(unit).collect();
        let known = |id: &u64| PushClient {
            id: *id,
            receipt: server.client(1, *id).and_then(|client| client.receipts.current),
            closed: Default::default(),
        };
        let push = Push { epoch: 1, cursor: None, clients: clients.iter().map(known).collect(), units };
        serve_push(&mut server, 1, &push, NOW, run.rng.draw());
    }
    // Nothing typed is gone, among others.
    server.check_end();
    let found: Vec<String> = server.findings.drain(..).map(|finding| finding.text).collect();
    run.find_all("i3", found);
    values(&server.rows)
}
