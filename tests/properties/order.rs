//! Order (O1 to O4, O6): whatever is made in whatever order, what goes out never names a row that is not there before, and a history
//! that is valid already goes out unchanged.

use crate::making::{self, call, moved, named, one_of, shown};
use crate::model::{self, Rows, values};
use crate::run::{Family, Run};
use crate::tab::{Tab, config, serve};
use driftline_core::edit::{Edit, Op, Values};
use driftline_core::engine::{Disk, SlotDisk};
use driftline_core::json::Json;
use driftline_core::outbox::Key;
use driftline_core::schema::Schema;
use driftline_core::value::RowKey;
use driftline_core::wire::{Push, read_push};
use driftline_tests::sim::rng::Rng;
use driftline_tests::sim::server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub const FAMILY: Family = Family {
    name: "order",
    rules: "O1, O2, O3, O4, O6",
    situations: &[
        "made before its parent",
        "valid as made, sent unchanged",
        "sent in another order than made",
        "chain of 50 or more transactions, upside down",
        "diamond of transactions",
        "cycle of transactions through a nullable reference",
        "cycle of transactions through required references",
        "cycle inside one transaction",
        "cycle of required references refused",
        "after keys",
        "folded",
        "vanished",
        "moved away and deleted in one transaction",
        "moved to a row made later",
        "deleted before what it hangs on",
        "parent deleted before its children",
        "parent and child deleted in one transaction",
        "waits for a row that nobody makes",
        "loaded in another order",
        "spread over two slots",
        "sent in several pushes",
        "a unit refused as a whole",
    ],
    run: o1_o4_what_goes_out_is_in_order,
};

const NOW: u64 = 1_800_000_000_000;

struct World {
    schema: Rc<Schema>,
    tables: Vec<u16>,
    server: Server,
    tab: Tab,
    /// What should be seen: each transaction taken in as it was made.
    view: Rows,
    /// Rows that were promised as targets and are not made yet.
    promised: Vec<RowKey>,
    /// All transactions that still count, in the order made.
    made: Vec<Key>,
    after: BTreeMap<Key, Vec<Key>>,
    /// Client ids of the slots.
    clients: Vec<u64>,
}

fn o1_o4_what_goes_out_is_in_order(run: &mut Run) {
    let schema = if run.rng.chance(120) { run.schemas.small.clone() } else { run.real_schema() };
    let most = run.rng.range(3, 7) as usize;
    let deep = run.rng.chance(15);
    let mut tables = making::some_tables(&mut run.rng, &schema, true, most);
    if schema.name == run.schemas.small.name {
        tables = making::held_tables(&schema);
    }
    let mut server = Server::new(schema.clone());
    server.delete_rows = run.rng.pick(&[2, 2_000]).copied().unwrap_or(2);
    let tab = Tab::leading(config(&schema, 0xa1), &server, NOW);
    let (view, promised, made, after) = Default::default();
    let mut world = World { schema, tables, server, tab, view, promised, made, after, clients: vec![0xa1] };
    world.tab.sync(&world.schema, &mut world.server, 1);
    if run.rng.chance(500) {
        for _ in 0..run.rng.range(2, 8) {
            let edits = world.creates(&mut run.rng, false, 3);
            world.make(run, edits, Vec::new());
        }
        world.tab.sync(&world.schema, &mut world.server, 1);
        world.made.clear();
        world.after.clear();
    }
    world.tab.set_online(false);
    if deep {
        world.make_chain(run);
    }
    for _ in 0..run.rng.range(3, 26) {
        if !run.step() {
            break;
        }
        world.step(run);
        world.check_view(run);
    }
    if run.findings.is_empty() {
        world.keep_promises(run);
        world.reopen(run);
        world.send(run);
    }
}

impl World {
    // ---- making ----

    /// What a reference names: a row that is seen, one of those made along with it, or one that is to be made later.
    fn target(&mut self, rng: &mut Rng, to: &[u16], beside: &[RowKey], forward: bool) -> Option<RowKey> {
        let fits = |key: &RowKey| to.contains(&key.table);
        match rng.below(10) {
            0..3 if beside.iter().any(fits) => one_of(rng, beside.iter().copied().filter(fits)),
            3..6 if forward => {
                if let Some(old) = one_of(rng, self.promised.iter().copied().filter(fits)).filter(|_| rng.chance(600)) {
                    return Some(old);
                }
                let active: Vec<u16> = to.iter().copied().filter(|table| self.tables.contains(table)).collect();
                let table = *rng.pick(if active.is_empty() { to } else { &active })?;
                let row = making::fresh(rng, table);
                self.promised.push(row);
                Some(row)
            }
            _ => one_of(rng, self.view.keys().copied().filter(fits)),
        }
    }

    fn create(&mut self, rng: &mut Rng, row: RowKey, beside: &[RowKey], forward: bool) -> Option<Edit> {
        let schema = self.schema.clone();
        let mut edit = making::create(rng, &schema, row, |rng, column, to| {
            let nullable = schema.tables[usize::from(row.table)].columns[column].nullable;
            if nullable && rng.chance(300) {
                return None;
            }
            self.target(rng, to, beside, forward).or_else(|| if forward { self.target(rng, to, beside, true) } else { None })
        })?;
        // What is left out takes its default.
        let columns = &schema.tables[usize::from(row.table)].columns;
        edit.set.retain(|(column, value)| columns[usize::from(*column)].default.as_ref() != Some(value));
        Some(edit)
    }

    fn creates(&mut self, rng: &mut Rng, forward: bool, most: u64) -> Vec<Edit> {
        let mut keys: Vec<RowKey> = Vec::new();
        for _ in 0..rng.range(1, most) {
            let promised = one_of(rng, self.promised.iter().copied().filter(|row| !keys.contains(row)));
            let row = match promised.filter(|_| rng.chance(600)) {
                Some(row) => Some(row),
                None => rng.pick(&self.tables).copied().map(|table| making::fresh(rng, table)),
            };
            keys.extend(row);
        }
        let mut edits: Vec<Edit> = keys.iter().filter_map(|row| self.create(rng, *row, &keys, forward)).collect();
        loop {
            let before = edits.len();
            let made: Vec<RowKey> = edits.iter().map(|edit| edit.row).collect();
            edits.retain(|edit| edit.references().all(|r| !keys.contains(&r.1) || made.contains(&r.1) || self.promised.contains(&r.1)));
            if edits.len() == before {
                break;
            }
        }
        self.promised.retain(|row| !edits.iter().any(|edit| edit.row == *row));
        edits
    }

    fn move_of(&mut self, rng: &mut Rng, row: RowKey) -> Option<Edit> {
        let schema = self.schema.clone();
        let columns = making::reference_columns(&schema, row.table);
        let (column, to, nullable) = *rng.pick(&columns)?;
        let target = if nullable && rng.chance(300) { None } else { Some(self.target(rng, to, &[], true)?) };
        Some(moved(row, column, target))
    }

    /// A row with those that name it: these first or last, together or apart.
    fn delete_family(&mut self, run: &mut Run) {
        let Some(parent) = one_of(&mut run.rng, self.view.keys().copied()) else { return };
        let schema = self.schema.clone();
        let names = |(key, values): &(&RowKey, &Vec<_>)| **key != parent && model::references(&schema, key, values).any(|r| r.1 == parent);
        let children: Vec<RowKey> = self.view.iter().filter(names).map(|row| *row.0).take(3).collect();
        match run.rng.below(3) {
            0 => {
                let mut edits: Vec<Edit> = children.iter().chain([&parent]).map(|row| Edit::delete(*row)).collect();
                run.rng.shuffle(&mut edits);
                run.hits_of("parent and child deleted in one transaction", u64::from(!children.is_empty()));
                self.make(run, edits, Vec::new());
            }
            1 => {
                run.hits_of("deleted before what it hangs on", u64::from(!children.is_empty()));
                for row in children.iter().chain([&parent]) {
                    self.make(run, vec![Edit::delete(*row)], Vec::new());
                }
            }
            _ => {
                run.hits_of("parent deleted before its children", u64::from(!children.is_empty()));
                for row in [parent].iter().chain(&children) {
                    self.make(run, vec![Edit::delete(*row)], Vec::new());
                }
            }
        }
    }

    fn leave_and_delete(&mut self, run: &mut Run) {
        let rows: Vec<RowKey> = self.view.keys().copied().collect();
        let schema = self.schema.clone();
        for _ in 0..4 {
            let Some(row) = run.rng.pick(&rows).copied() else { return };
            let Some((column, old)) =
                model::references(&schema, &row, &self.view[&row]).find(|r| r.1 != row && self.view.contains_key(&r.1))
            else {
                continue;
            };
            let Some((_, to, nullable)) = making::reference_columns(&schema, row.table).into_iter().find(|c| c.0 == column) else { return };
            let other = one_of(&mut run.rng, rows.iter().copied().filter(|other| to.contains(&other.table) && *other != old));
            if other.is_none() && !nullable {
                continue;
            }
            let edit = moved(row, column, other);
            let mut after = self.view.clone();
            after.get_mut(&row).into_iter().for_each(|values| model::write(&schema, values, &edit));
            if model::going(&schema, &after, old).gone.contains(&row) {
                continue;
            }
            let mut edits = vec![edit, Edit::delete(old)];
            run.rng.shuffle(&mut edits);
            if self.make(run, edits, Vec::new()).is_some() {
                run.hit("moved away and deleted in one transaction");
            }
            return;
        }
    }

    /// Rows that need each other, each made by a transaction of its own or several by one.
    fn need_each_other(&mut self, run: &mut Run) {
        let schema = self.schema.clone();
        let tables = self.tables.clone();
        // A nullable reference to the own table: two or three rows in a ring, a transaction each.
        let own = |table: &u16| making::reference_columns(&schema, *table).into_iter().find(|c| c.2 && c.1.contains(table)).map(|c| c.0);
        let rings: Vec<(u16, usize)> = tables.iter().filter_map(|table| Some((*table, own(table)?))).collect();
        if let (Some((table, column)), true) = (run.rng.pick(&rings).copied(), run.rng.chance(500)) {
            let rows: Vec<RowKey> = (0..run.rng.range(2, 4)).map(|_| making::fresh(&mut run.rng, table)).collect();
            for (i, row) in rows.iter().enumerate() {
                let next = rows[(i + 1) % rows.len()];
                let Some(mut edit) = self.create(&mut run.rng, *row, &[], false) else { return };
                edit.set_column(column as u16, driftline_core::value::Value::Ref(next));
                self.promised.push(next);
                self.promised.retain(|promised| promised != row);
                self.make(run, vec![edit], Vec::new());
            }
            self.promised.retain(|row| !self.view.contains_key(row));
            return;
        }
        // Two transactions, each with a child whose parent the other makes.
        let children: Vec<(u16, usize, u16)> = tables
            .iter()
            .flat_map(|table| making::reference_columns(&schema, *table).into_iter().map(|c| (*table, c.0, c.1[0])).collect::<Vec<_>>())
            .filter(|(table, _, parent)| table != parent && making::reference_columns(&schema, *parent).iter().all(|c| c.2))
            .collect();
        let Some(&(table, column, above)) = run.rng.pick(&children) else { return };
        let parents = [making::fresh(&mut run.rng, above), making::fresh(&mut run.rng, above)];
        self.promised.extend(parents);
        for i in 0..2 {
            let row = making::fresh(&mut run.rng, table);
            let (Some(mut child), Some(parent)) =
                (self.create(&mut run.rng, row, &[], false), self.create(&mut run.rng, parents[i], &[], false))
            else {
                return;
            };
            child.set_column(column as u16, driftline_core::value::Value::Ref(parents[1 - i]));
            self.promised.retain(|row| *row != parents[i]);
            let mut edits = vec![child, parent];
            run.rng.shuffle(&mut edits);
            self.make(run, edits, Vec::new());
        }
    }

    /// A chain of rows in which each names the next, made last first.
    fn make_chain(&mut self, run: &mut Run) {
        let schema = self.schema.clone();
        let all = making::held_tables(&schema);
        let own = |table: &u16| making::reference_columns(&schema, *table).into_iter().find(|c| c.1.contains(table)).map(|c| c.0);
        let Some((table, column)) = all.iter().find_map(|table| Some((*table, own(table)?))) else { return };
        let rows: Vec<RowKey> = (0..run.rng.range(52, 70)).map(|_| making::fresh(&mut run.rng, table)).collect();
        for (i, row) in rows.iter().enumerate().rev() {
            let above = if i > 0 { Some(rows[i - 1]) } else { None };
            let edit = making::create(&mut run.rng, &schema, *row, |_, at, _| if at == column { above } else { None });
            let Some(edit) = edit else { return };
            self.make(run, vec![edit], Vec::new());
        }
        run.hit("chain of 50 or more transactions, upside down");
    }

    fn step(&mut self, run: &mut Run) {
        match run.rng.below(100) {
            0..40 => {
                let promised = self.promised.clone();
                let edits = self.creates(&mut run.rng, true, 4);
                // What others wait for already may not be put after them: only the app could mean that.
                let free = !edits.iter().any(|edit| promised.contains(&edit.row));
                let after = if free && run.rng.chance(200) { self.some_keys(&mut run.rng) } else { Vec::new() };
                self.make(run, edits, after);
            }
            40..55 => {
                let Some(row) = one_of(&mut run.rng, self.view.keys().copied()) else { return };
                let edit = making::update(&mut run.rng, &self.schema, row);
                let after = if run.rng.chance(100) { self.some_keys(&mut run.rng) } else { Vec::new() };
                self.make(run, vec![edit], after);
            }
            55..68 => {
                let Some(row) = one_of(&mut run.rng, self.view.keys().copied()) else { return };
                let Some(edit) = self.move_of(&mut run.rng, row) else { return };
                let later = edit.references().any(|r| self.promised.contains(&r.1));
                if self.make(run, vec![edit], Vec::new()).is_some() {
                    run.hits_of("moved to a row made later", u64::from(later));
                }
            }
            68..76 => self.delete_family(run),
            76..82 => {
                let Some(row) = one_of(&mut run.rng, self.view.keys().copied()) else { return };
                self.make(run, vec![Edit::delete(row)], Vec::new());
            }
            82..88 => self.leave_and_delete(run),
            88..94 => self.need_each_other(run),
            _ => {
                let mut edits = self.creates(&mut run.rng, true, 3);
                if let Some(row) = one_of(&mut run.rng, self.view.keys().copied()) {
                    edits.extend(self.move_of(&mut run.rng, row));
                }
                run.rng.shuffle(&mut edits);
                self.make(run, edits, Vec::new());
            }
        }
    }

    fn some_keys(&self, rng: &mut Rng) -> Vec<Key> {
        let keys: Vec<Key> = self.made.iter().copied().filter(|key| self.tab.engine.outbox().get(*key).is_some()).collect();
        let picked: BTreeSet<Key> = (0..2).filter_map(|_| rng.pick(&keys).copied()).collect();
        picked.into_iter().collect()
    }

    /// Makes a transaction, and says what should be seen of it.
    fn make(&mut self, run: &mut Run, edits: Vec<Edit>, after: Vec<Key>) -> Option<Key> {
        if edits.is_empty() {
            return None;
        }
        run.transactions += 1;
        let schema = self.schema.clone();
        let before: BTreeSet<Key> = self.tab.engine.outbox().iter().map(|entry| entry.made.key).collect();
        let result = self.tab.make(&call(&schema, &edits, &after));
        run.say(|| format!("{} after {after:x?} -> {result:x?}", shown(&schema, &edits)));
        let key = match result {
            Ok(key) => key,
            Err(problem) => {
                self.judge_refusal(run, &edits, &problem.code);
                // What was to be made is still to be made.
                let creates = edits.iter().filter(|edit| edit.op == Op::Create).map(|edit| edit.row);
                self.promised.extend(creates);
                return None;
            }
        };
        let mut sorted: Vec<&Edit> = edits.iter().filter(|edit| edit.op != Op::Delete).collect();
        sorted.sort_by_key(|edit| edit.op != Op::Create);
        for edit in sorted {
            model::show(&schema, &mut self.view, edit);
        }
        let named: Vec<RowKey> = edits.iter().filter(|edit| edit.op == Op::Delete).map(|edit| edit.row).collect();
        // Children first, so that nothing forbids what goes along.
        let mut left = named.clone();
        while !left.is_empty() {
            let refers =
                |row: &RowKey, to: &RowKey| self.view.get(row).is_some_and(|v| model::references(&schema, row, v).any(|r| r.1 == *to));
            let free = left.iter().position(|row| !left.iter().any(|other| other != row && refers(other, row))).unwrap_or(0);
            let row = left.remove(free);
            let _ = model::delete(&schema, &mut self.view, row);
        }
        let held: BTreeSet<Key> = self.tab.engine.outbox().iter().map(|entry| entry.made.key).collect();
        if before.contains(&key) && held.contains(&key) {
            run.hit("folded");
        } else if held.contains(&key) {
            self.made.push(key);
            run.hits_of("after keys", u64::from(!after.is_empty()));
            self.after.insert(key, after);
        }
        if before.iter().any(|key| !held.contains(key)) {
            run.hit("vanished");
            self.made.retain(|key| held.contains(key));
        }
        // A task ends now and then; only then is anything written.
        if run.rng.chance(500) {
            self.tab.run();
        }
        self.tab.now += run.rng.below(3);
        Some(key)
    }

    /// The few reasons there are to refuse what is made here.
    fn judge_refusal(&mut self, run: &mut Run, edits: &[Edit], code: &str) {
        let schema = self.schema.clone();
        let legitimate = match code {
            "restricted" => {
                let mut rows = self.view.clone();
                edits.iter().filter(|edit| edit.op != Op::Delete).for_each(|edit| model::show(&schema, &mut rows, edit));
                let mut deletes = edits.iter().filter(|edit| edit.op == Op::Delete);
                deletes.any(|edit| !model::going(&schema, &rows, edit.row).blockers.is_empty())
            }
            // A row that was seen once and was deleted here.
            "missing_parent" => edits.iter().any(|edit| edit.references().any(|r| !self.view.contains_key(&r.1))),
            "cycle" => {
                let closes = self.closes_required_cycle(edits);
                run.hits_of("cycle of required references refused", u64::from(closes));
                closes
            }
            // What is deleted along with another row of the same transaction is there no more.
            "row_unknown" => edits.iter().any(|edit| edit.op == Op::Update && !self.view.contains_key(&edit.row)),
            _ => false,
        };
        run.check("o4", legitimate, || format!("refused with {code}: {}", shown(&schema, edits)));
        if code == "missing_parent" || code == "cycle" {
            self.promised.retain(|row| !edits.iter().any(|edit| edit.references().any(|r| r.1 == *row)));
        }
    }

    /// Whether rows that wait, and these, need each other through references that must not be null.
    fn closes_required_cycle(&self, edits: &[Edit]) -> bool {
        let waiting = self.tab.engine.outbox().iter().flat_map(|entry| entry.edits.clone());
        let all: Vec<Edit> = waiting.chain(edits.iter().cloned()).collect();
        let mut needs: BTreeMap<RowKey, BTreeSet<RowKey>> = BTreeMap::new();
        let created: BTreeSet<RowKey> = all.iter().filter(|edit| edit.op == Op::Create).map(|edit| edit.row).collect();
        for edit in &all {
            let required = |column: u16| !self.schema.tables[usize::from(edit.row.table)].columns[usize::from(column)].nullable;
            let targets = edit.references().filter(|(column, to)| required(*column) && created.contains(to) && *to != edit.row);
            needs.entry(edit.row).or_default().extend(targets.map(|r| r.1));
        }
        created.iter().any(|row| reaches(&needs, *row, *row))
    }

    fn check_view(&mut self, run: &mut Run) {
        if let Some(text) = model::differ(&self.schema, &self.tab.view(), &self.view) {
            run.find("o6", format!("after a transaction, {text}"));
        }
    }

    // ---- before sending ----

    fn keep_promises(&mut self, run: &mut Run) {
        for _ in 0..6 {
            let promised: Vec<RowKey> = std::mem::take(&mut self.promised);
            for row in promised {
                if self.view.contains_key(&row) || run.rng.chance(60) {
                    continue;
                }
                if let Some(edit) = self.create(&mut run.rng, row, &[], true) {
                    self.promised.retain(|other| *other != row);
                    self.make(run, vec![edit], Vec::new());
                }
            }
        }
        self.tab.run();
    }

    /// At times the tab closes, and another finds what it left: in any order, in one slot or two.
    fn reopen(&mut self, run: &mut Run) {
        if !run.rng.chance(400) {
            return;
        }
        let kept = self.tab.close();
        let slot = kept.slot();
        let mut records = slot.records;
        run.rng.shuffle(&mut records);
        run.hits_of("loaded in another order", u64::from(records.len() > 1));
        let cut = if run.rng.chance(400) { run.rng.below(records.len() as u64 + 1) as usize } else { 0 };
        run.hits_of("spread over two slots", u64::from(cut > 0 && cut < records.len()));
        let others = SlotDisk { slot: 1, records: records.split_off(records.len() - cut), high: slot.high.clone() };
        let slots = vec![SlotDisk { slot: 0, records, high: slot.high }, others];
        let disk = Disk { meta: kept.meta.clone(), base: kept.base.clone(), tails: kept.tails.clone(), slots: slots.clone() };
        self.tab = Tab::opened_on(config(&self.schema, 0xa2), kept, disk, self.tab.now + 1);
        self.tab.engine.set_online(self.tab.now, false);
        self.tab.kept.epoch += 1;
        let (epoch, meta) = (self.tab.kept.epoch, self.tab.kept.meta.clone());
        self.tab.engine.handle_lead(self.tab.now, epoch, meta.as_deref(), slots);
        self.tab.run();
        self.clients.push(0xa2);
        if let Some(text) = model::differ(&self.schema, &self.tab.view(), &self.view) {
            run.find("q1", format!("after a reload, {text}"));
        }
    }

    // ---- sending ----

    /// Whether what waits would be valid in the order made.
    fn valid_as_made(&self, units: &[(Vec<Key>, Vec<Edit>)]) -> bool {
        let mut there = self.tab.base();
        let mut gone = BTreeSet::new();
        let mut before = BTreeSet::new();
        units.iter().all(|(keys, edits)| {
            let after = keys.iter().flat_map(|key| self.after.get(key)).flatten().all(|key| before.contains(key) || !self.waits(*key));
            before.extend(keys.iter().copied());
            after && out_of_order(&self.schema, &mut there, &mut gone, edits, false).is_none()
        })
    }

    fn waits(&self, key: Key) -> bool {
        self.made.contains(&key)
    }

    fn send(&mut self, run: &mut Run) {
        let waiting: Vec<(Vec<Key>, Vec<Edit>)> =
            self.tab.engine.outbox().iter().map(|entry| (vec![entry.made.key], entry.edits.clone())).collect();
        let order: Vec<Key> = waiting.iter().map(|unit| unit.0[0]).collect();
        let is_valid = self.valid_as_made(&waiting);
        let bodies: BTreeMap<Key, Vec<Edit>> = waiting.iter().map(|unit| (unit.0[0], unit.1.clone())).collect();
        note(run, &bodies);
        // At times somebody else has taken something away meanwhile.
        let disturbed = run.rng.chance(150) && self.disturb(run);
        let mut there = values(&self.server.visible());
        let mut gone = BTreeSet::new();
        let mut sent: Vec<Key> = Vec::new();
        let mut pushes = 0;
        self.tab.set_online(true);
        let mut quiet = 0;
        // What the server holds comes again and again, until what it waits for is done.
        while quiet < 4 && pushes < 200 && run.findings.is_empty() {
            let Some((id, body)) = self.tab.pushes.pop_front() else {
                quiet += 1;
                self.tab.tick(31_000);
                continue;
            };
            let Ok(push) = read_push(&self.schema, &body) else { return run.find("o6", "a push that does not read".to_string()) };
            pushes += u64::from(!push.units.is_empty());
            for unit in &push.units {
                let keys: Vec<Key> = unit.txns.iter().map(|txn| (push.clients[txn.client].id, txn.seq)).collect();
                if keys.iter().any(|key| sent.contains(key)) {
                    continue;
                }
                let edits: Vec<Edit> = keys.iter().filter_map(|key| bodies.get(key)).flatten().cloned().collect();
                if !disturbed {
                    if let Some(text) = out_of_order(&self.schema, &mut there, &mut gone, &edits, true) {
                        run.find("o1", format!("{keys:x?} goes out and {text}"));
                    }
                    let later = keys.iter().flat_map(|key| self.after.get(key)).flatten();
                    let early = later.copied().find(|key| bodies.contains_key(key) && !sent.contains(key) && !keys.contains(key));
                    run.check("o2", early.is_none(), || format!("{keys:x?} goes out before {early:x?}"));
                }
                self.check_unit(run, &keys, &bodies);
                sent.extend(keys);
            }
            let (status, answer) = serve(&self.schema, &mut self.server, 1, &body, self.tab.now, run.rng.draw());
            self.check_whole(run, &push, &answer, disturbed);
            self.tab.answer(id, status, &answer);
            while self.server.reap_step() {}
            quiet = if push.units.is_empty() { quiet + 1 } else { 0 };
        }
        run.hits_of("sent in several pushes", u64::from(pushes > 1));
        if !disturbed && run.findings.is_empty() {
            self.check_end(run, &order, &sent, is_valid);
        }
        let found: Vec<String> = self.server.findings.drain(..).map(|finding| finding.text).collect();
        run.find_all("i3", found);
        run.find_all("i3", model::orphans(&self.schema, &values(&self.server.rows)));
        run.find_all("i3", model::orphans(&self.schema, &self.tab.base()));
    }

    /// Another client deletes a row of the base.
    fn disturb(&mut self, run: &mut Run) -> bool {
        let Some(row) = one_of(&mut run.rng, self.server.rows.keys().copied()) else { return false };
        let mut other = Tab::leading(config(&self.schema, 0xb0), &self.server, self.tab.now + 5);
        let _ = other.make(&call(&self.schema, &[Edit::delete(row)], &[]));
        other.run();
        other.sync(&self.schema, &mut self.server, 2);
        !self.server.rows.contains_key(&row)
    }

    /// Transactions travel together only where each needs each.
    fn check_unit(&self, run: &mut Run, keys: &[Key], bodies: &BTreeMap<Key, Vec<Edit>>) {
        if keys.len() < 2 {
            return;
        }
        let needs = self.needs(bodies);
        let apart = keys.iter().find(|key| !keys.iter().all(|other| reaches(&needs, **key, *other)));
        run.check("o4", apart.is_none(), || format!("{keys:x?} travel as one, and {apart:x?} could go by itself"));
        let nullable = |key: &Key| {
            let references = bodies.get(key).into_iter().flatten().flat_map(|edit| edit.references().map(move |r| (edit.row, r.0)));
            references.into_iter().any(|(row, column)| self.schema.tables[usize::from(row.table)].columns[usize::from(column)].nullable)
        };
        run.hit(if keys.iter().any(nullable) {
            "cycle of transactions through a nullable reference"
        } else {
            "cycle of transactions through required references"
        });
    }

    /// Which transactions need which, by the rows that they name, and by the order in which a row's edits were made.
    fn needs(&self, bodies: &BTreeMap<Key, Vec<Edit>>) -> BTreeMap<Key, BTreeSet<Key>> {
        let mut needs: BTreeMap<Key, BTreeSet<Key>> = bodies.keys().map(|key| (*key, BTreeSet::new())).collect();
        let place = |key: &Key| self.made.iter().position(|made| made == key);
        for (key, edits) in bodies {
            let needed = needs.entry(*key).or_default();
            needed.extend(self.after.get(key).into_iter().flatten().filter(|key| bodies.contains_key(key)));
            for (other, theirs) in bodies.iter().filter(|(other, _)| *other != key) {
                let creates = |row: RowKey| theirs.iter().any(|edit| edit.op == Op::Create && edit.row == row);
                let names =
                    edits.iter().any(|edit| (edit.op != Op::Create && creates(edit.row)) || edit.references().any(|r| creates(r.1)));
                let same = edits.iter().any(|edit| theirs.iter().any(|other| other.row == edit.row));
                let deletes = |row: RowKey| edits.iter().any(|edit| edit.op == Op::Delete && edit.row == row);
                // Who names a row that is deleted goes first; so does who lets it go, of which the bodies do not tell.
                let lets_go = theirs.iter().any(|edit| edit.op != Op::Create) && edits.iter().any(|edit| edit.op == Op::Delete);
                let named = theirs.iter().any(|edit| edit.references().any(|r| deletes(r.1)));
                if names || (place(other) < place(key) && (same || named || lets_go)) {
                    needed.insert(*other);
                }
            }
        }
        needs
    }

    /// All members of a unit take effect in one revision, with all their edits, or none does.
    fn check_whole(&self, run: &mut Run, push: &Push, answer: &str, disturbed: bool) {
        let json = Json::parse_or_null(answer);
        let mut outcomes: BTreeMap<(u64, u64), (String, u64)> = BTreeMap::new();
        for outcome in json.list("outcomes") {
            let key = outcome.get("key");
            let part = |i: usize| key.and_then(|key| key.at(i)).and_then(Json::as_u64).unwrap_or(0);
            let said = (outcome.text("outcome").unwrap_or("").to_string(), outcome.uint("rev").unwrap_or(0));
            let overtaken = outcome.get("problem").and_then(|problem| problem.text("code")) == Some("row_deleted");
            if !disturbed && said.0 == "refused" && !overtaken {
                run.find("o1", format!("{:x?} is refused: {answer}", (part(0), part(1))));
            }
            outcomes.insert((part(0), part(1)), said);
        }
        let logged = self.logged();
        for unit in &push.units {
            let said: BTreeSet<&(String, u64)> = unit.txns.iter().filter_map(|txn| outcomes.get(&(txn.client as u64, txn.seq))).collect();
            run.check("o6", said.len() == 1, || format!("a unit with the outcomes {said:?}"));
            let edits = unit.txns.iter().filter_map(|txn| txn.txn.as_ref().ok()).flat_map(|txn| &txn.edits);
            let created: Vec<Option<u64>> = edits.filter(|edit| edit.op == Op::Create).map(|edit| logged.get(&edit.row).copied()).collect();
            let Some((outcome, rev)) = said.first() else { continue };
            let wanted = (outcome == "applied").then_some(*rev);
            if outcome == "refused" && !created.is_empty() {
                run.hit("a unit refused as a whole");
            }
            run.check("o6", created.iter().all(|rev| *rev == wanted), || {
                format!("{outcome} at {rev}, and its rows were made at {created:?}")
            });
        }
    }

    /// The revision that made each row.
    fn logged(&self) -> BTreeMap<RowKey, u64> {
        let mut made = BTreeMap::new();
        for (rev, _, changes) in self.server.log() {
            let json = Json::parse_or_null(changes);
            let edits = json.as_list().unwrap_or_default().iter().filter_map(|change| Edit::read(&self.schema, change, Values::Final).ok());
            made.extend(edits.filter(|edit| edit.op == Op::Create).map(|edit| (edit.row, rev)));
        }
        made
    }

    fn check_end(&mut self, run: &mut Run, order: &[Key], sent: &[Key], is_valid: bool) {
        if is_valid {
            run.hit("valid as made, sent unchanged");
            run.check("o3", order == sent, || format!("made as {order:x?} and sent as {sent:x?}"));
        }
        run.hits_of("sent in another order than made", u64::from(order.iter().filter(|key| sent.contains(key)).ne(sent.iter())));
        // What is left waits for a row that nobody has made, or for what does.
        let left: Vec<&Key> = order.iter().filter(|key| !sent.contains(key)).collect();
        run.hits_of("waits for a row that nobody makes", u64::from(!left.is_empty()));
        if left.is_empty() {
            let wrong = model::differ(&self.schema, &self.tab.view(), &self.view);
            wrong.into_iter().for_each(|text| run.find("o1", format!("when all is sent, {text}")));
            let rows = values(&self.server.visible());
            let wrong = model::differ(&self.schema, &rows, &self.view);
            wrong.into_iter().for_each(|text| run.find("o1", format!("on the server, {text}")));
            run.check("o1", self.tab.engine.outbox().is_empty(), || "all was sent, and not all is settled".to_string());
            return;
        }
        let known = self.tab.base();
        let waiting: Vec<(Key, Vec<Edit>)> = self.tab.engine.outbox().iter().map(|e| (e.made.key, e.edits.clone())).collect();
        let created: BTreeSet<RowKey> =
            waiting.iter().flat_map(|w| &w.1).filter(|edit| edit.op == Op::Create).map(|edit| edit.row).collect();
        let lacks = |edits: &[Edit]| edits.iter().any(|e| e.references().any(|r| !known.contains_key(&r.1) && !created.contains(&r.1)));
        let lacking: BTreeSet<Key> = waiting.iter().filter(|w| lacks(&w.1)).map(|w| w.0).collect();
        let needs = self.needs(&waiting.iter().cloned().collect());
        for (key, _) in &waiting {
            let waits = lacking.contains(key) || lacking.iter().any(|other| reaches(&needs, *key, *other));
            run.check("o7", waits, || format!("{key:x?} waits for nothing"));
        }
    }
}

/// What the bodies that wait have among them.
fn note(run: &mut Run, bodies: &BTreeMap<Key, Vec<Edit>>) {
    let creates = |edits: &[Edit]| -> BTreeSet<RowKey> { edits.iter().filter(|e| e.op == Op::Create).map(|e| e.row).collect() };
    let made: BTreeMap<RowKey, Key> = bodies.iter().flat_map(|(key, edits)| creates(edits).into_iter().map(|row| (row, *key))).collect();
    let mut above: BTreeMap<Key, BTreeSet<Key>> = BTreeMap::new();
    for (key, edits) in bodies {
        let own = creates(edits);
        let names: BTreeSet<RowKey> = edits.iter().flat_map(|edit| edit.references().map(|r| r.1)).collect();
        run.hits_of("made before its parent", u64::from(names.iter().any(|row| made.get(row).is_some_and(|other| other > key))));
        let inner = edits.iter().any(|a| {
            a.references()
                .any(|r| r.1 != a.row && own.contains(&r.1) && edits.iter().any(|b| b.row == r.1 && b.references().any(|s| s.1 == a.row)))
        });
        run.hits_of("cycle inside one transaction", u64::from(inner));
        above.insert(*key, names.iter().filter_map(|row| made.get(row).copied()).filter(|other| other != key).collect());
    }
    // Two ways from one transaction up to another.
    let diamond = |key: &Key| {
        let parents: Vec<&Key> = above[key].iter().collect();
        let pairs = parents.iter().enumerate().flat_map(|(i, a)| parents[..i].iter().map(move |b| (a, b)));
        pairs
            .into_iter()
            .any(|(a, b)| above[*a].iter().any(|top| above[*b].contains(top)) || above[*a].contains(*b) || above[*b].contains(*a))
    };
    run.hits_of("diamond of transactions", bodies.keys().filter(|key| diamond(key)).count() as u64);
}

fn reaches<K: Copy + Ord>(needs: &BTreeMap<K, BTreeSet<K>>, from: K, to: K) -> bool {
    let mut seen = BTreeSet::new();
    let mut path: Vec<K> = needs.get(&from).into_iter().flatten().copied().collect();
    while let Some(next) = path.pop() {
        if next == to {
            return true;
        }
        if seen.insert(next) {
            path.extend(needs.get(&next).into_iter().flatten());
        }
    }
    false
}

/// Takes a unit in as a strict reader would; says what it names too early.
fn out_of_order(schema: &Schema, there: &mut Rows, gone: &mut BTreeSet<RowKey>, edits: &[Edit], is_sent: bool) -> Option<String> {
    for edit in edits.iter().filter(|edit| edit.op == Op::Create) {
        if there.insert(edit.row, model::created(schema, edit)).is_some() || gone.contains(&edit.row) {
            return Some(format!("creates {} again", named(schema, edit.row)));
        }
    }
    // What may become null instead need not be there when it is sent.
    let strict = |edit: &&Edit, column: u16| !is_sent || !schema.is_loose(edit, column);
    let dangling = edits.iter().flat_map(|edit| edit.references().filter(move |r| strict(&edit, r.0)).map(move |r| (edit, r.1)));
    for (edit, target) in dangling {
        if !there.contains_key(&target) {
            return Some(format!("names {} before it is there: {}", named(schema, target), shown(schema, std::slice::from_ref(edit))));
        }
    }
    for (i, edit) in edits.iter().enumerate() {
        match edit.op {
            Op::Create => {}
            Op::Update if there.contains_key(&edit.row) => model::show(schema, there, edit),
            // A delete that others wait for may overtake an edit of a row that goes along with it (a known edge).
            Op::Update if gone.contains(&edit.row) => {}
            Op::Update => return Some(format!("changes {}, which is not there", named(schema, edit.row))),
            _ if there.contains_key(&edit.row) => {
                // Inside a unit a child that goes too has gone before.
                let refers = |later: &&Edit| {
                    let values = there.get(&later.row);
                    let names = values.is_some_and(|values| model::references(schema, &later.row, values).any(|r| r.1 == edit.row));
                    later.op == Op::Delete && later.row != edit.row && names
                };
                let names = |row: RowKey| -> BTreeSet<RowKey> {
                    there.get(&row).map(|values| model::references(schema, &row, values).map(|r| r.1).collect()).unwrap_or_default()
                };
                let graph = || edits.iter().map(|edit| (edit.row, names(edit.row))).collect::<BTreeMap<_, _>>();
                let cycle = |later: &Edit| reaches(&graph(), edit.row, later.row);
                if let Some(child) = edits[i + 1..].iter().find(refers).filter(|child| !cycle(child)) {
                    return Some(format!("deletes {} before {}", named(schema, edit.row), named(schema, child.row)));
                }
                let before: BTreeSet<RowKey> = there.keys().copied().collect();
                if model::delete(schema, there, edit.row).is_err() {
                    return Some(format!("deletes {}, to which others refer", named(schema, edit.row)));
                }
                gone.extend(before.into_iter().filter(|row| !there.contains_key(row)));
            }
            // It went along with another, or was never known to anyone; it must not come after this.
            _ => drop(gone.insert(edit.row)),
        }
    }
    None
}
