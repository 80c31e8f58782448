//! The view (V2, R3): whatever the server tells in between, what is seen is the base with what waits on top of it, worked out by
//! plain loops; discarding rolls back what is discarded and nothing else.

use crate::making::{self, call, moved, one_of, shown};
use crate::model::{self, Rows, values};
use crate::run::{Family, Run};
use crate::tab::{Tab, config, serve};
use driftline_core::edit::{Edit, Merge, Op};
use driftline_core::json::Json;
use driftline_core::outbox::{Key, State};
use driftline_core::schema::Schema;
use driftline_core::value::{RowId, RowKey, Value};
use driftline_tests::sim::rng::Rng;
use driftline_tests::sim::server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub const FAMILY: Family = Family {
    name: "view",
    rules: "V1, V2, R3",
    situations: &[
        "remote change of a row with a pending edit",
        "remote change of a pending field",
        "remote delete of a row with a pending edit",
        "remote delete under a pending create",
        "remote large delete",
        "pending delete of a row changed remotely",
        "pending create kept over a reload",
        "told by an answer",
        "told live",
        "answer lost",
        "folded",
        "parked",
        "discarded alone",
        "discarded with dependents",
        "discarded with two or more dependents",
        "discard of what is in flight refused",
        "discarded after it was parked",
        "patches followed",
        "pending text over another that came",
        "pending edit of a deleted row that is made again",
    ],
    run: v2_r3_the_view_is_the_base_with_what_waits,
};

const NOW: u64 = 1_800_000_000_000;

struct World {
    schema: Rc<Schema>,
    tables: Vec<u16>,
    server: Server,
    tab: Tab,
    other: Tab,
    /// What the app makes of the patches.
    app: Rows,
    /// What clients may see, by revision.
    history: BTreeMap<u64, Rows>,
    /// What the rows of a transaction referred to before it let them go.
    released: BTreeMap<Key, BTreeSet<RowKey>>,
}

fn v2_r3_the_view_is_the_base_with_what_waits(run: &mut Run) {
    let schema = run.varied_schema();
    let most = run.rng.range(3, 6) as usize;
    let tables = making::some_tables(&mut run.rng, &schema, true, most);
    let mut server = Server::new(schema.clone());
    server.delete_rows = run.rng.pick(&[1, 3, 2_000]).copied().unwrap_or(1);
    let mut other = Tab::leading(config(&schema, 0xb1), &server, NOW);
    other.sync(&schema, &mut server, 2);
    let mut world = World {
        tab: Tab::leading(config(&schema, 0xa1), &server, NOW),
        schema,
        tables,
        server,
        other,
        app: Rows::new(),
        history: BTreeMap::from([(0, Rows::new())]),
        released: BTreeMap::new(),
    };
    for _ in 0..run.rng.range(1, 4) {
        world.remote(run);
    }
    world.tab.pushes.clear();
    world.tab = Tab::leading(config(&world.schema, 0xa1), &world.server, NOW + 10);
    world.deliver(run, false);
    for _ in 0..run.rng.range(5, 24) {
        if !run.step() {
            break;
        }
        world.step(run);
        world.check(run);
    }
    if run.findings.is_empty() {
        world.tab.set_online(true);
        while world.server.reap_step() {}
        world.tab.sync(&world.schema, &mut world.server, 1);
        world.note_history();
        world.check(run);
        run.find_all("i3", model::orphans(&world.schema, &values(&world.server.rows)));
        run.find_all("i3", model::orphans(&world.schema, &world.tab.base()));
        let found: Vec<String> = world.server.findings.drain(..).map(|finding| finding.text).collect();
        run.find_all("i3", found);
    }
}

impl World {
    fn target(&self, rng: &mut Rng, rows: &Rows, to: &[u16]) -> Option<RowKey> {
        one_of(rng, rows.keys().copied().filter(|key| to.contains(&key.table)))
    }

    fn edits(&self, rng: &mut Rng, rows: &Rows) -> Vec<Edit> {
        let any = |rng: &mut Rng| one_of(rng, rows.keys().copied());
        match rng.below(100) {
            0..50 => {
                let mut rows = rows.clone();
                let mut edits = Vec::new();
                for _ in 0..rng.range(1, 3) {
                    let Some(row) = rng.pick(&self.tables).copied().map(|table| making::fresh(rng, table)) else { continue };
                    let edit = making::create(rng, &self.schema, row, |rng, column, to| {
                        let nullable = self.schema.tables[usize::from(row.table)].columns[column].nullable;
                        if nullable && rng.chance(200) { None } else { self.target(rng, &rows, to) }
                    });
                    if let Some(edit) = edit {
                        rows.insert(edit.row, Vec::new());
                        edits.push(edit);
                    }
                }
                edits
            }
            50..74 => any(rng).map(|row| making::rewrite(rng, &self.schema, row, rows.get(&row))).into_iter().collect(),
            74..86 => {
                let Some(row) = any(rng) else { return Vec::new() };
                let columns = making::reference_columns(&self.schema, row.table);
                let Some((column, to, nullable)) = rng.pick(&columns).copied() else { return Vec::new() };
                let target = if nullable && rng.chance(300) { None } else { self.target(rng, rows, to) };
                if target.is_some() || nullable { vec![moved(row, column, target)] } else { Vec::new() }
            }
            _ => any(rng).map(Edit::delete).into_iter().collect(),
        }
    }

    fn step(&mut self, run: &mut Run) {
        match run.rng.below(100) {
            0..42 => self.make(run),
            42..62 => self.remote(run),
            62..74 => self.deliver(run, true),
            74..80 => self.live(run),
            80..85 => {
                let online = run.rng.chance(450);
                self.tab.set_online(online);
            }
            85..88 => self.reload(run),
            _ => self.discard(run),
        }
    }

    fn make(&mut self, run: &mut Run) {
        let view = self.tab.view();
        let edits = self.edits(&mut run.rng, &view);
        if edits.is_empty() {
            return;
        }
        run.transactions += 1;
        let before: BTreeSet<Key> = self.waiting().into_iter().collect();
        let after: Vec<Key> = if run.rng.chance(100) { run.rng.pick(&self.waiting()).copied().into_iter().collect() } else { Vec::new() };
        let made = self.tab.make(&call(&self.schema, &edits, &after));
        run.say(|| format!("makes {} -> {made:x?}", shown(&self.schema, &edits)));
        if let Ok(key) = made {
            run.hits_of("folded", u64::from(before.contains(&key) && self.tab.engine.outbox().get(key).is_some()));
            let released = self.released.entry(key).or_default();
            for edit in edits.iter().filter(|edit| edit.op != Op::Create) {
                let Some(values) = view.get(&edit.row) else { continue };
                let lets_go = |column: usize| edit.op == Op::Delete || edit.set.iter().any(|set| usize::from(set.0) == column);
                released.extend(model::references(&self.schema, &edit.row, values).filter(|r| lets_go(r.0)).map(|r| r.1));
            }
            // What creates its rows never let go of anything that others know of.
            let entry = self.tab.engine.outbox().get(key);
            if entry.is_some_and(|entry| entry.edits.iter().all(|edit| edit.op == Op::Create)) {
                released.clear();
            }
        }
        if run.rng.chance(700) {
            self.tab.run();
        }
        self.tab.now += 1 + run.rng.below(500);
    }

    fn waiting(&self) -> Vec<Key> {
        self.tab.engine.outbox().iter().map(|entry| entry.made.key).collect()
    }

    /// Somebody else changes something on the server.
    fn remote(&mut self, run: &mut Run) {
        self.other.now = self.other.now.max(self.tab.now);
        let rows = self.other.view();
        let edits = self.edits(&mut run.rng, &rows);
        if edits.is_empty() || self.other.make(&call(&self.schema, &edits, &[])).is_err() {
            return;
        }
        run.say(|| format!("another makes {}", shown(&self.schema, &edits)));
        self.other.run();
        while let Some((id, body)) = self.other.pushes.pop_front() {
            let (status, answer) = serve(&self.schema, &mut self.server, 2, &body, self.other.now, run.rng.draw());
            self.other.answer(id, status, &answer);
            self.note_history();
        }
        run.hits_of("remote large delete", u64::from(self.server.is_dying()));
        if run.rng.chance(500) {
            while self.server.reap_step() {}
        }
        self.note_remote(run, &edits);
        self.other.tick(31_000);
        self.tab.now = self.tab.now.max(self.other.now);
    }

    fn note_history(&mut self) {
        let seen = values(&self.server.visible());
        self.history.insert(self.server.space.rev, seen);
    }

    fn note_remote(&self, run: &mut Run, edits: &[Edit]) {
        let outbox = self.tab.engine.outbox();
        let pending = |op: Op, row: RowKey| outbox.iter().flat_map(|entry| &entry.edits).any(|edit| edit.op == op && edit.row == row);
        for edit in edits {
            match edit.op {
                Op::Update => {
                    let all = outbox.iter().flat_map(|entry| &entry.edits);
                    let mine: Vec<&Edit> = all.filter(|mine| mine.op == Op::Update && mine.row == edit.row).collect();
                    let same = mine.iter().any(|mine| mine.set.iter().any(|set| edit.set.iter().any(|other| other.0 == set.0)));
                    run.hits_of("remote change of a row with a pending edit", u64::from(!mine.is_empty()));
                    run.hits_of("remote change of a pending field", u64::from(same));
                    run.hits_of("pending delete of a row changed remotely", u64::from(pending(Op::Delete, edit.row)));
                }
                Op::Delete => {
                    run.hits_of("remote delete of a row with a pending edit", u64::from(pending(Op::Update, edit.row)));
                    let creates = outbox.iter().flat_map(|entry| &entry.edits).filter(|mine| mine.op == Op::Create);
                    let under = creates.filter(|mine| mine.references().any(|r| r.1 == edit.row)).count();
                    run.hits_of("remote delete under a pending create", u64::from(under > 0));
                }
                _ => {}
            }
        }
    }

    /// The tab's requests reach the server, and most of the answers the tab.
    fn deliver(&mut self, run: &mut Run, may_lose: bool) {
        self.tab.run();
        if self.tab.pushes.is_empty() {
            self.tab.tick(11_000);
        }
        for _ in 0..run.rng.range(1, 3) {
            self.tab.load(&self.server);
            let Some((id, body)) = self.tab.pushes.pop_front() else { break };
            let (status, answer) = serve(&self.schema, &mut self.server, 1, &body, self.tab.now, run.rng.draw());
            self.note_history();
            if may_lose && run.rng.chance(200) {
                run.hit("answer lost");
                self.tab.engine.handle_send_failed(self.tab.now, id, driftline_core::sender::SendFailure::Network);
                self.tab.run();
                self.tab.tick(31_000);
                continue;
            }
            run.say(|| format!("answered {answer}"));
            let before = self.tab.engine.outbox().counts().parked;
            self.tab.answer(id, status, &answer);
            run.hit("told by an answer");
            run.hits_of("parked", u64::from(self.tab.engine.outbox().counts().parked > before));
            if run.rng.chance(400) {
                self.server.reap_step();
            }
        }
    }

    /// The live connection tells what has happened.
    fn live(&mut self, run: &mut Run) {
        let cursor = self.tab.engine.replica().rev;
        let Some(text) = self.server.live_message(1, cursor).filter(|_| cursor < self.server.space.rev) else { return };
        self.tab.engine.handle_live_open(self.tab.now);
        self.tab.engine.handle_live_message(self.tab.now, &text);
        self.tab.run();
        run.say(|| format!("told {text}"));
        run.hits_of("told live", u64::from(self.tab.engine.replica().rev > cursor));
    }

    /// The page is loaded anew, from what is on disk.
    fn reload(&mut self, run: &mut Run) {
        let creates = self.tab.engine.outbox().iter().flat_map(|entry| &entry.edits).any(|edit| edit.op == Op::Create);
        run.hits_of("pending create kept over a reload", u64::from(creates));
        let kept = self.tab.close();
        let now = self.tab.now + 10;
        run.say(|| "reloads".to_string());
        self.tab = Tab::opened(config(&self.schema, 0xa1), kept, now);
        self.tab.lead();
        self.tab.load(&self.server);
        self.app = Rows::new();
    }

    fn discard(&mut self, run: &mut Run) {
        let waiting = self.waiting();
        // What was made first has the most that hangs on it.
        let first = waiting.first().filter(|_| run.rng.chance(500));
        let Some(&key) = first.or(run.rng.pick(&waiting)) else { return };
        let dependents = run.rng.chance(600);
        let expected = if dependents { self.dependents(key) } else { BTreeSet::from([key]) };
        let bound =
            |key: &Key| matches!(self.tab.engine.outbox().get(*key).map(|e| &e.state), Some(State::InFlight | State::Applied { .. }));
        let parked = matches!(self.tab.engine.outbox().get(key).map(|e| &e.state), Some(State::Parked { .. }));
        let in_flight = expected.iter().any(bound);
        let result = self.tab.engine.discard(self.tab.now, key, dependents);
        run.say(|| format!("discards {key:x?}, dependents {dependents} -> {result:?}"));
        let left: BTreeSet<Key> = self.waiting().into_iter().collect();
        let gone: BTreeSet<Key> = waiting.iter().copied().filter(|key| !left.contains(key)).collect();
        run.check("r3", result.is_err() == in_flight, || {
            format!("discarding {expected:x?}, of which one is in flight: {in_flight}, gives {result:?}")
        });
        if result.is_err() {
            run.hit("discard of what is in flight refused");
            run.check("r3", gone.is_empty(), || format!("refused, and {gone:x?} are gone"));
            return;
        }
        run.check("r3", gone == expected, || format!("{gone:x?} are gone instead of {expected:x?}"));
        run.hit(if dependents { "discarded with dependents" } else { "discarded alone" });
        run.hits_of("discarded with two or more dependents", u64::from(expected.len() > 2));
        run.hits_of("discarded after it was parked", u64::from(parked));
        self.tab.run();
        let on_disk = gone.iter().find(|key| self.tab.kept.records.contains_key(key));
        run.check("r3", on_disk.is_none(), || format!("{on_disk:x?} was discarded and is on disk"));
    }

    /// A transaction and all that name rows which it makes, or that come after it, and so on.
    fn dependents(&self, key: Key) -> BTreeSet<Key> {
        let mut group = BTreeSet::from([key]);
        loop {
            let before = group.len();
            let outbox = self.tab.engine.outbox();
            let made: BTreeSet<RowKey> = group
                .iter()
                .filter_map(|key| outbox.get(*key))
                .flat_map(|entry| &entry.edits)
                .filter(|edit| edit.op == Op::Create)
                .map(|edit| edit.row)
                .collect();
            for entry in outbox.iter() {
                let names = entry.edits.iter().any(|edit| made.contains(&edit.row) || edit.references().any(|r| made.contains(&r.1)));
                let lets_go = self.released.get(&entry.made.key).is_some_and(|rows| rows.iter().any(|row| made.contains(row)));
                if names || lets_go || entry.after.iter().any(|key| group.contains(key)) {
                    group.insert(entry.made.key);
                }
            }
            if group.len() == before {
                return group;
            }
        }
    }

    // ---- what must hold ----

    fn check(&mut self, run: &mut Run) {
        self.tab.run();
        let base = self.tab.base();
        let rev = self.tab.engine.replica().rev;
        if let Some(text) = self.history.get(&rev).and_then(|should| model::differ(&self.schema, &base, should)) {
            run.find("v1", format!("the base at {rev}: {text}"));
        }
        let mut should = base;
        for entry in self.tab.engine.outbox().iter() {
            entry.edits.iter().for_each(|edit| model::show(&self.schema, &mut should, edit));
        }
        let view = self.tab.view();
        for edit in self.tab.engine.outbox().iter().flat_map(|entry| &entry.edits).filter(|edit| edit.op == Op::Update) {
            let base = self.tab.engine.replica().base_row(edit.row);
            let met = |merge: &Merge, at: u16| match (merge, base) {
                (Merge::Text { from, to }, Some(row)) => row.values[usize::from(at)] != *from && row.values[usize::from(at)] != *to,
                _ => false,
            };
            run.hits_of("pending text over another that came", u64::from(edit.add.iter().any(|add| met(&add.1, add.0))));
            let again = base.is_none() && model::revived(&self.schema, edit).is_some() && view.contains_key(&edit.row);
            run.hits_of("pending edit of a deleted row that is made again", u64::from(again));
        }
        if let Some(text) = model::differ(&self.schema, &view, &should) {
            run.find("v2", format!("in the view, {text}"));
        }
        self.check_pending(run, &view);
        self.follow_patches(run, &view);
    }

    /// What was made here and still waits is seen, whatever the server has told.
    fn check_pending(&self, run: &mut Run, view: &Rows) {
        let mut last: BTreeMap<(RowKey, u16), &Value> = BTreeMap::new();
        let mut made = BTreeSet::new();
        let mut deletes = false;
        for edit in self.tab.engine.outbox().iter().flat_map(|entry| &entry.edits) {
            deletes |= edit.op == Op::Delete;
            if edit.op == Op::Create {
                made.insert(edit.row);
            } else {
                last.extend(edit.set.iter().map(|(column, value)| ((edit.row, *column), value)));
            }
        }
        // Where something is deleted here as well, rows go and references are nulled; the model knows which.
        if deletes {
            return;
        }
        let missing = made.iter().find(|row| !view.contains_key(row));
        run.check("v2", missing.is_none(), || format!("{missing:?} is pending and not seen"));
        for ((row, column), value) in last {
            let seen = view.get(&row).map(|values| &values[usize::from(column)]);
            run.check("v2", seen.is_none_or(|seen| seen == value), || {
                format!("{row:?} {column} shows {seen:?} over the pending {value:?}")
            });
        }
    }

    /// An app that does nothing but follow the patches holds the view.
    fn follow_patches(&mut self, run: &mut Run, view: &Rows) {
        for patch in std::mem::take(&mut self.tab.patches) {
            let json = Json::parse_or_null(&patch);
            for item in json.as_list().unwrap_or_default() {
                let text = |i: usize| item.at(i).and_then(Json::as_str).unwrap_or("");
                let (Some(table), Some(id)) = (self.schema.table(text(0)), RowId::parse(text(1))) else { continue };
                let row = RowKey { table, id };
                let Some(members) = item.at(2).and_then(Json::as_object) else {
                    self.app.remove(&row);
                    continue;
                };
                let columns = &self.schema.tables[usize::from(table)].columns;
                let values = self.app.entry(row).or_insert_with(|| vec![Value::Null; columns.len()]);
                for (name, value) in members {
                    let Some(i) = columns.iter().position(|column| column.name == *name) else { continue };
                    if let Ok(value) = columns[i].read(Some(&self.schema), value) {
                        values[i] = value;
                    }
                }
            }
            run.hit("patches followed");
        }
        if let Some(text) = model::differ(&self.schema, &self.app, view) {
            run.find("v2", format!("by the patches, {text}"));
        }
    }
}
