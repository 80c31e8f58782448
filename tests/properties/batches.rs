//! Batches (O6, Q7, R4): at a limit everything passes; over it a coded refusal comes, nothing changes, and neighbours are served.

use crate::making::{self, call};
use crate::model::{self, values};
use crate::run::{Family, Run};
use crate::tab::{Tab, config, serve};
use driftline_core::edit::{Edit, Merge, Op, Txn};
use driftline_core::json::Json;
use driftline_core::limits;
use driftline_core::merge::Hlc;
use driftline_core::schema::{Kind, Schema};
use driftline_core::value::{RowKey, Value};
use driftline_tests::sim::server::Server;
use std::rc::Rc;

pub const FAMILY: Family = Family {
    name: "batches",
    rules: "O6, Q7, R4, R5",
    situations: &[
        "transactions of a push at the limit",
        "transactions of a push over it",
        "edits of a transaction at the limit",
        "edits of a transaction over it",
        "bytes of a transaction at the limit",
        "bytes of a transaction over it",
        "text at the limit",
        "text over it",
        "JSON bytes at the limit",
        "JSON bytes over it",
        "JSON depth at the limit",
        "JSON depth over it",
        "columns at the limit",
        "columns over it",
        "tables at the limit",
        "tables over it",
        "clients of a push at the limit",
        "clients of a push over it",
        "closed ranges at the limit",
        "closed ranges over it",
        "after keys at the limit",
        "after keys over it",
        "whole number at the limit",
        "whole number over it",
        "counter saturated",
        "space name at the limit",
        "space name over it",
        "outbox full by number",
        "outbox full by bytes",
        "refused when made, with its code",
        "neighbours served",
        "engine splits what is too much for a push",
        "engine halves what a server finds too large",
    ],
    run: r4_o6_q7_at_a_limit_all_passes_and_over_it_nothing_changes,
};

const NOW: u64 = 1_800_000_000_000;

struct World {
    schema: Rc<Schema>,
    server: Server,
    seq: u64,
}

fn r4_o6_q7_at_a_limit_all_passes_and_over_it_nothing_changes(run: &mut Run) {
    let schema = run.real_schema();
    let mut world = World { server: Server::new(schema.clone()), schema, seq: 0 };
    if !run.step() {
        return;
    }
    // The dear ones are seldom.
    match run.rng.below(1_000) {
        0..16 => world.push_txns(run),
        16..32 => world.txn_edits(run),
        32..48 => world.txn_bytes(run),
        48..58 => world.engine_splits(run),
        58..88 => world.json_bytes(run),
        88..128 => world.json_depth(run),
        128..158 => columns(run),
        158..178 => tables(run),
        178..258 => world.clients(run),
        258..318 => world.closed(run),
        318..378 => world.after_keys(run),
        378..458 => world.texts(run),
        458..588 => world.numbers(run),
        588..668 => names(run),
        668..788 => world.outbox_full(run),
        788..868 => world.engine_halves(run),
        _ => world.mixture(run),
    }
    let found: Vec<String> = world.server.findings.drain(..).map(|finding| finding.text).collect();
    run.find_all("i3", found);
    run.find_all("i3", model::orphans(&world.schema, &values(&world.server.rows)));
}

/// A number at the limit, or over it by little or much.
fn around(run: &mut Run, limit: usize) -> usize {
    match run.rng.below(4) {
        0 | 1 => limit,
        2 => limit + 1,
        _ => limit + 1 + run.rng.below(limit as u64 / 8 + 2) as usize,
    }
}

fn note(run: &mut Run, is_over: bool, at: &'static str, over: &'static str) {
    run.hit(if is_over { over } else { at });
}

/// A table whose rows need nobody, and a column of it.
fn column_of(schema: &Schema, wanted: impl Fn(&Kind) -> bool) -> Option<(u16, usize)> {
    let free = |t: &u16| making::reference_columns(schema, *t).iter().all(|c| c.2);
    let tables = making::held_tables(schema).into_iter().filter(free);
    let mut found = tables.filter_map(|t| schema.tables[usize::from(t)].columns.iter().position(|c| wanted(&c.kind)).map(|c| (t, c)));
    found.next()
}

impl World {
    fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    fn row(&self, run: &mut Run, table: u16) -> Edit {
        let row = making::fresh(&mut run.rng, table);
        let none = Edit::new(Op::Create, row);
        making::create(&mut run.rng, &self.schema, row, |_, _, _| None).unwrap_or(none)
    }

    /// A new row of a table that needs nobody.
    fn free_row(&self, run: &mut Run) -> Edit {
        let free = |t: &u16| making::reference_columns(&self.schema, *t).iter().all(|c| c.2);
        let tables: Vec<u16> = making::held_tables(&self.schema).into_iter().filter(free).collect();
        let table = run.rng.pick(&tables).copied().unwrap_or(0);
        self.row(run, table)
    }

    fn body(&self, edits: &[Edit]) -> String {
        Txn { at: Hlc::new(NOW, 0), edits: edits.to_vec() }.to_body(&self.schema, Hlc::new(NOW, 0).0)
    }

    fn push(&self, clients: &str, units: &[(u64, String)], after: &str) -> String {
        let units: Vec<String> =
            units.iter().map(|(seq, body)| format!("{{\"txns\":[{{\"key\":[0,{seq}],\"body\":{body}}}],\"after\":[{after}]}}")).collect();
        format!("{{\"epoch\":1,\"cursor\":null,\"clients\":[{clients}],\"units\":[{}]}}", units.join(","))
    }

    fn client(&self, id: u64, closed: &str) -> String {
        let receipt = self.server.client(1, id).and_then(|known| known.receipts.current);
        let receipt = receipt.map_or("null".to_string(), |receipt| format!("\"{receipt:016x}\""));
        format!("{{\"id\":\"{id:016x}\",\"receipt\":{receipt},\"closed\":[{closed}]}}")
    }

    fn serve(&mut self, run: &mut Run, body: &str) -> (u16, Json<'static>) {
        run.transactions += 1;
        run.say(|| format!("{} bytes: {}", body.len(), &body[..body.len().min(300)]));
        let (status, answer) = serve(&self.schema, &mut self.server, 1, body, NOW, run.rng.draw());
        run.say(|| format!("{status} {}", &answer[..answer.len().min(300)]));
        (status, Json::parse_or_null(&answer).into_owned())
    }

    /// A whole request at a limit or over it: all of it passes, or all is refused and nothing changes; then a small one passes.
    fn whole(&mut self, run: &mut Run, body: &str, over: Option<(u16, &str)>) {
        let before = (self.server.space, self.server.rows.len());
        let (status, answer) = self.serve(run, body);
        match over {
            None => run.check("r4", status == 200, || format!("at the limit, and refused with {status}: {answer:?}")),
            Some((wanted, code)) => {
                let said = answer.text("code").unwrap_or("").to_string();
                run.check("r4", (status, said.as_str()) == (wanted, code), || format!("over the limit, and answered {status} {said}"));
                let after = (self.server.space, self.server.rows.len());
                run.check("r4", before == after, || "refused, and something has changed".to_string());
            }
        }
        self.served(run);
    }

    /// Somebody else's small request is served.
    fn served(&mut self, run: &mut Run) {
        let edit = self.free_row(run);
        let body = self.push(&self.client(0xee, ""), &[(self.seq + 1, self.body(&[edit]))], "");
        self.seq += 1;
        let (status, answer) = self.serve(run, &body);
        let outcome = answer.list("outcomes").first().and_then(|outcome| outcome.text("outcome")).unwrap_or("").to_string();
        run.check("r4", status == 200 && outcome == "applied", || format!("a neighbour is answered {status} {outcome}"));
        run.hit("neighbours served");
    }

    /// Several transactions in one request, of which some are over a limit: these are refused, the others applied.
    fn among_others(&mut self, run: &mut Run, edits: Vec<(Vec<Edit>, bool)>) {
        let bodies: Vec<(Vec<Edit>, String, bool)> =
            edits.into_iter().map(|(edits, good)| (edits.clone(), self.body(&edits), good)).collect();
        let units: Vec<(u64, String)> = bodies.iter().map(|(_, body, _)| (self.next(), body.clone())).collect();
        let text = self.push(&self.client(0xa1, ""), &units, "");
        let (status, answer) = self.serve(run, &text);
        run.check("r4", status == 200, || format!("{status}: {answer:?}"));
        for ((edits, _, good), outcome) in bodies.iter().zip(answer.list("outcomes")) {
            let applied = outcome.text("outcome") == Some("applied");
            let code = outcome.get("problem").and_then(|problem| problem.text("code")).unwrap_or("");
            run.check("r4", applied == *good, || format!("should be applied: {good}; and is {outcome:?}"));
            run.check("r4", *good || code == "invalid", || format!("refused with `{code}`"));
            let there = edits.iter().filter(|edit| self.server.rows.contains_key(&edit.row)).count();
            let wanted = if *good { edits.len() } else { 0 };
            run.check("o6", there == wanted, || format!("{there} rows of {} are there", edits.len()));
        }
        let mixed = bodies.iter().any(|body| body.2) && bodies.iter().any(|body| !body.2);
        run.hits_of("neighbours served", u64::from(mixed));
    }

    /// The same to an engine: refused when made, with its code, and nothing has changed.
    fn made(&mut self, run: &mut Run, edits: &[Edit], good: bool) {
        let mut tab = Tab::leading(config(&self.schema, 0xc1), &self.server, NOW);
        let before = (tab.engine.outbox().len(), tab.view());
        let result = tab.make(&call(&self.schema, edits, &[]));
        match result {
            Ok(_) => run.check("o6", good, || "over a limit, and made".to_string()),
            Err(problem) => {
                run.check("o6", !good && problem.code == "invalid", || format!("refused when made: {problem:?}"));
                run.check("o6", before == (tab.engine.outbox().len(), tab.view()), || "refused, and something has changed".to_string());
                run.hit("refused when made, with its code");
            }
        }
    }

    fn push_txns(&mut self, run: &mut Run) {
        let count = around(run, limits::PUSH_TXNS);
        let over = count > limits::PUSH_TXNS;
        note(run, over, "transactions of a push at the limit", "transactions of a push over it");
        let units: Vec<(u64, String)> = (0..count)
            .map(|_| {
                let edit = self.free_row(run);
                (self.next(), self.body(&[edit]))
            })
            .collect();
        let body = self.push(&self.client(0xa1, ""), &units, "");
        self.whole(run, &body, over.then_some((413, "too_large")));
        if over {
            // In two halves the same content passes.
            for half in units.chunks(count.div_ceil(2)) {
                let body = self.push(&self.client(0xa1, ""), half, "");
                self.whole(run, &body, None);
            }
            let there = self.server.rows.len() - 3;
            run.check("r5", there == count, || format!("{there} rows of {count}"));
        }
    }

    fn txn_edits(&mut self, run: &mut Run) {
        let count = around(run, limits::TXN_EDITS);
        let over = count > limits::TXN_EDITS;
        note(run, over, "edits of a transaction at the limit", "edits of a transaction over it");
        let edits: Vec<Edit> = (0..count).map(|_| self.free_row(run)).collect();
        let few = vec![self.free_row(run)];
        self.made(run, &edits, !over);
        self.among_others(run, vec![(few, true), (edits, !over)]);
    }

    fn txn_bytes(&mut self, run: &mut Run) {
        let Some((table, column)) =
            column_of(&self.schema, |kind| matches!(kind, Kind::Text { max_chars, conflicts: None } if *max_chars > 60_000))
                .or_else(|| column_of(&self.schema, |kind| matches!(kind, Kind::Text { .. })))
        else {
            return;
        };
        let Kind::Text { max_chars, .. } = *model::kind(&self.schema, table, column) else { return };
        let target = around(run, limits::TXN_BYTES);
        let mut edits: Vec<Edit> = Vec::new();
        // As many full texts as fit, and one that is as long as is left.
        while self.body(&edits).len() + max_chars + 1_000 < target {
            let mut edit = self.row(run, table);
            edit.set_column(column as u16, Value::Text("x".repeat(max_chars)));
            edits.push(edit);
        }
        let mut last = self.row(run, table);
        last.set_column(column as u16, Value::Text(String::new()));
        edits.push(last);
        let left = target - self.body(&edits).len();
        if let Some(edit) = edits.last_mut() {
            edit.set_column(column as u16, Value::Text("y".repeat(left.min(max_chars))));
        }
        let over = self.body(&edits).len() > limits::TXN_BYTES;
        note(run, over, "bytes of a transaction at the limit", "bytes of a transaction over it");
        let few = vec![self.free_row(run)];
        self.made(run, &edits, !over);
        self.among_others(run, vec![(edits, !over), (few, true)]);
    }

    fn engine_splits(&mut self, run: &mut Run) {
        let mut tab = Tab::leading(config(&self.schema, 0xd1), &self.server, NOW);
        tab.sync(&self.schema, &mut self.server, 1);
        tab.set_online(false);
        let many = run.rng.chance(500);
        let (count, chars) = if many { (limits::PUSH_TXNS as u64 + run.rng.range(1, 60), 1) } else { (run.rng.range(30, 60), 60_000) };
        let Some((table, column)) =
            column_of(&self.schema, |kind| matches!(kind, Kind::Text { max_chars, conflicts: None } if *max_chars > 60_000))
        else {
            return;
        };
        for _ in 0..count {
            let mut edit = self.row(run, table);
            edit.set_column(column as u16, Value::Text("z".repeat(chars)));
            let _ = tab.make(&call(&self.schema, &[edit], &[]));
        }
        tab.run();
        tab.set_online(true);
        let mut pushes = 0;
        for _ in 0..40 {
            let Some((id, body)) = tab.pushes.pop_front() else {
                tab.tick(11_000);
                continue;
            };
            pushes += u64::from(body.contains("\"body\""));
            run.check("r5", body.len() <= limits::PUSH_BYTES, || format!("a push of {} bytes", body.len()));
            let (status, answer) = serve(&self.schema, &mut self.server, 1, &body, tab.now, run.rng.draw());
            run.check("r5", status == 200, || format!("a push of {} bytes is answered {status}", body.len()));
            tab.answer(id, status, &answer);
        }
        let there = self.server.rows.len() as u64;
        run.check("r5", there == count && pushes > 1, || format!("{there} rows of {count} in {pushes} pushes"));
        run.hit("engine splits what is too much for a push");
    }

    /// A server with smaller limits finds what is sent too large; in the end all is there.
    fn engine_halves(&mut self, run: &mut Run) {
        let mut tab = Tab::leading(config(&self.schema, 0xd1), &self.server, NOW);
        tab.sync(&self.schema, &mut self.server, 1);
        tab.set_online(false);
        let count = run.rng.range(2, 40);
        for _ in 0..count {
            let edit = self.free_row(run);
            let _ = tab.make(&call(&self.schema, &[edit], &[]));
        }
        tab.run();
        tab.set_online(true);
        let most = run.rng.range(1, 8) as usize;
        let (mut halved, mut sizes) = (false, Vec::new());
        for _ in 0..200 {
            let Some((id, body)) = tab.pushes.pop_front() else {
                if tab.engine.outbox().is_empty() {
                    break;
                }
                tab.tick(11_000);
                continue;
            };
            let size = body.matches("\"body\"").count();
            if size > most {
                halved = true;
                sizes.push(size);
                tab.answer(id, 413, "{\"code\":\"too_large\"}");
                continue;
            }
            let (status, answer) = serve(&self.schema, &mut self.server, 1, &body, tab.now, run.rng.draw());
            tab.answer(id, status, &answer);
        }
        run.hits_of("engine halves what a server finds too large", u64::from(halved));
        let there = self.server.rows.len() as u64;
        run.check("r5", there == count && tab.engine.outbox().is_empty(), || {
            format!("{there} rows of {count}, after refusals of {sizes:?}")
        });
    }

    fn json_bytes(&mut self, run: &mut Run) {
        let Some((table, column)) = column_of(&self.schema, |kind| *kind == Kind::Json) else { return self.texts(run) };
        let size = around(run, limits::JSON_BYTES);
        let over = size > limits::JSON_BYTES;
        note(run, over, "JSON bytes at the limit", "JSON bytes over it");
        let mut edit = self.row(run, table);
        edit.set_column(column as u16, Value::Json(format!("\"{}\"", "j".repeat(size - 2))));
        self.made(run, std::slice::from_ref(&edit), !over);
        let few = vec![self.free_row(run)];
        self.among_others(run, vec![(vec![edit], !over), (few, true)]);
    }

    fn json_depth(&mut self, run: &mut Run) {
        let Some((table, column)) = column_of(&self.schema, |kind| *kind == Kind::Json) else { return self.texts(run) };
        let depth = around(run, limits::JSON_DEPTH);
        let over = depth > limits::JSON_DEPTH;
        note(run, over, "JSON depth at the limit", "JSON depth over it");
        let mut edit = self.row(run, table);
        edit.set_column(column as u16, Value::Json(format!("{}{}", "[".repeat(depth), "]".repeat(depth))));
        self.made(run, std::slice::from_ref(&edit), !over);
        let few = vec![self.free_row(run)];
        self.among_others(run, vec![(few, true), (vec![edit], !over)]);
    }

    fn texts(&mut self, run: &mut Run) {
        let Some((table, column)) = column_of(&self.schema, |kind| matches!(kind, Kind::Text { .. })) else { return };
        let Kind::Text { max_chars, .. } = *model::kind(&self.schema, table, column) else { return };
        let chars = around(run, max_chars);
        let over = chars > max_chars;
        note(run, over, "text at the limit", "text over it");
        let mut edit = self.row(run, table);
        // Characters count, and not their bytes.
        let one = *run.rng.pick(&["a", "é", "\u{1F600}", "\\"]).unwrap_or(&"a");
        edit.set_column(column as u16, Value::Text(one.repeat(chars)));
        self.made(run, std::slice::from_ref(&edit), !over);
        let few = vec![self.free_row(run)];
        self.among_others(run, vec![(few, true), (vec![edit], !over)]);
    }

    fn numbers(&mut self, run: &mut Run) {
        let counter = run.rng.chance(500);
        let wanted = |kind: &Kind| *kind == if counter { Kind::Counter } else { Kind::Int };
        // An article needs its user: a counter that nobody else has.
        let all = making::held_tables(&self.schema);
        let found = all.iter().find_map(|t| {
            let column = self.schema.tables[usize::from(*t)].columns.iter().position(|c| wanted(&c.kind))?;
            Some((*t, column))
        });
        let Some((table, column)) = found else { return };
        let mut edits = Vec::new();
        let row = making::fresh(&mut run.rng, table);
        let mut parents: Vec<Edit> = Vec::new();
        let edit = making::create(&mut run.rng, &self.schema, row, |rng, at, to| {
            let nullable = self.schema.tables[usize::from(table)].columns[at].nullable;
            let parent = making::fresh(rng, to[0]);
            let made = (!nullable).then(|| making::create(rng, &self.schema, parent, |_, _, _| None)).flatten()?;
            parents.push(made);
            Some(parent)
        });
        let Some(mut edit) = edit else { return };
        edits.append(&mut parents);
        let over = run.rng.chance(500);
        note(run, over, "whole number at the limit", "whole number over it");
        let sign = if run.rng.chance(500) { 1 } else { -1 };
        edit.set_column(column as u16, Value::Int(sign * (limits::INT_MAX + i64::from(over))));
        edits.push(edit);
        self.made(run, &edits, !over);
        self.among_others(run, vec![(edits, !over)]);
        if counter && !over {
            self.saturate(run, row, column, sign);
        }
    }

    /// A counter at its end stays there.
    fn saturate(&mut self, run: &mut Run, row: RowKey, column: usize, sign: i64) {
        let add = vec![(column as u16, Merge::Add(sign * (1 + run.rng.below(1 << 50) as i64)))];
        self.among_others(run, vec![(vec![Edit { add, ..Edit::new(Op::Update, row) }], true)]);
        let value = self.server.rows.get(&row).map(|row| row.values[column].clone());
        run.check("i7", value == Some(Value::Int(sign * limits::INT_MAX)), || format!("a counter at its end became {value:?}"));
        run.hit("counter saturated");
    }

    fn clients(&mut self, run: &mut Run) {
        let count = around(run, limits::PUSH_CLIENTS);
        let over = count > limits::PUSH_CLIENTS;
        note(run, over, "clients of a push at the limit", "clients of a push over it");
        let clients: Vec<String> = (0..count as u64).map(|i| self.client(0x100 + i, "")).collect();
        let edit = self.free_row(run);
        let seq = self.next();
        let body = self.push(&clients.join(","), &[(seq, self.body(&[edit]))], "");
        self.whole(run, &body, over.then_some((400, "invalid_request")));
        if over {
            for few in clients.chunks(limits::PUSH_CLIENTS) {
                let edit = self.free_row(run);
                let seq = self.next();
                let body = self.push(&few.join(","), &[(seq, self.body(&[edit]))], "");
                self.whole(run, &body, None);
            }
        }
    }

    fn closed(&mut self, run: &mut Run) {
        let count = around(run, limits::CLOSED_RANGES);
        let over = count > limits::CLOSED_RANGES;
        note(run, over, "closed ranges at the limit", "closed ranges over it");
        let ranges = |from: usize, to: usize| {
            let all: Vec<String> = (from..to).map(|i| format!("[{},{}]", 1_000 + 3 * i, 1_001 + 3 * i)).collect();
            all.join(",")
        };
        let edit = self.free_row(run);
        let seq = self.next();
        let body = self.push(&self.client(0xa1, &ranges(0, count)), &[(seq, self.body(&[edit]))], "");
        self.whole(run, &body, over.then_some((400, "invalid_request")));
        let known = |world: &World| world.server.client(1, 0xa1).map_or(0, |client| client.closed.len());
        run.check("d4", known(self) == if over { 0 } else { count }, || format!("{} ranges are known", known(self)));
        if over {
            for (from, to) in [(0, count / 2), (count / 2, count)] {
                let body = self.push(&self.client(0xa1, &ranges(from, to)), &[], "");
                self.whole(run, &body, None);
            }
            run.check("d4", known(self) == count, || format!("{} ranges of {count} are known", known(self)));
        }
    }

    fn after_keys(&mut self, run: &mut Run) {
        let count = around(run, limits::AFTER_KEYS);
        let over = count > limits::AFTER_KEYS;
        note(run, over, "after keys at the limit", "after keys over it");
        // All of them over already.
        let after: Vec<String> = (0..count).map(|i| format!("[0,{}]", 10_000 + i)).collect();
        let edit = self.free_row(run);
        let seq = self.next();
        let body = self.push(&self.client(0xa1, "[10000,20000]"), &[(seq, self.body(&[edit]))], &after.join(","));
        self.whole(run, &body, over.then_some((400, "invalid_request")));
        let mut tab = Tab::leading(config(&self.schema, 0xc1), &self.server, NOW);
        let keys: Vec<(u64, u64)> = (1..=count as u64).map(|seq| (0xc1, seq)).collect();
        let edit = self.free_row(run);
        let made = tab.make(&call(&self.schema, &[edit], &keys));
        run.check("r4", made.is_err() == over, || format!("{count} keys to come after: {made:?}"));
    }

    fn outbox_full(&mut self, run: &mut Run) {
        let by_number = run.rng.chance(500);
        let most = run.rng.range(1, 12) as usize;
        let mut small = config(&self.schema, 0xc1);
        if by_number {
            small.outbox_txns = most;
        } else {
            small.outbox_bytes = 500 * most;
        }
        let bytes = small.outbox_bytes;
        let mut tab = Tab::leading(small, &self.server, NOW);
        tab.sync(&self.schema, &mut self.server, 1);
        tab.set_online(false);
        for _ in 0..40 {
            let (before, view) = ((tab.engine.outbox().len(), tab.engine.outbox().bytes()), tab.view());
            let is_full = if by_number { before.0 >= most } else { before.1 >= bytes };
            let edit = self.free_row(run);
            let made = tab.make(&call(&self.schema, &[edit], &[]));
            match made {
                Ok(_) => run.check("q7", !is_full, || format!("{before:?} waited, and one more was taken")),
                Err(problem) => {
                    run.check("q7", is_full && problem.code == "outbox_full", || format!("{before:?} waited: {problem:?}"));
                    let after = (tab.engine.outbox().len(), tab.engine.outbox().bytes());
                    run.check("q7", before == after && view == tab.view(), || "refused, and something has changed".to_string());
                    run.hit(if by_number { "outbox full by number" } else { "outbox full by bytes" });
                    break;
                }
            }
            tab.run();
        }
        // Once it is sent there is room again.
        let waiting = tab.engine.outbox().len();
        tab.set_online(true);
        tab.sync(&self.schema, &mut self.server, 1);
        run.check("q7", self.server.rows.len() == waiting, || format!("{} rows of {waiting}", self.server.rows.len()));
        let edit = self.free_row(run);
        let made = tab.make(&call(&self.schema, &[edit], &[]));
        run.check("q7", made.is_ok(), || format!("there is room, and {made:?}"));
    }

    /// Good and bad transactions of all kinds in one request.
    fn mixture(&mut self, run: &mut Run) {
        let mut all = Vec::new();
        for _ in 0..run.rng.range(2, 12) {
            let mut edit = self.free_row(run);
            let bad = run.rng.chance(400);
            if bad {
                let columns = self.schema.tables[usize::from(edit.row.table)].columns.iter();
                let Some(place) = columns.clone().position(|c| matches!(c.kind, Kind::Text { .. } | Kind::Int | Kind::Json)) else {
                    continue;
                };
                let value = match &columns.collect::<Vec<_>>()[place].kind {
                    Kind::Text { max_chars, .. } => Value::Text("t".repeat(max_chars + 1)),
                    Kind::Int => Value::Int(limits::INT_MAX + 1),
                    _ => Value::Json("[".repeat(65) + &"]".repeat(65)),
                };
                edit.set_column(place as u16, value);
            }
            all.push((vec![edit], !bad));
        }
        self.among_others(run, all);
        self.served(run);
    }
}

/// A table of the real schemas, made as wide as there may be, and wider.
fn columns(run: &mut Run) {
    let count = around(run, limits::TABLE_COLUMNS);
    let over = count > limits::TABLE_COLUMNS;
    note(run, over, "columns at the limit", "columns over it");
    let fields: Vec<String> = (0..count).map(|i| format!("\"f{i}\":{{\"type\":\"int\",\"default\":{i}}}")).collect();
    let text = format!("{{\"name\":\"wide\",\"version\":1,\"tables\":{{\"t\":{{\"fields\":{{{}}}}}}}}}", fields.join(","));
    let parsed = Schema::parse(&text);
    run.check("r4", parsed.is_err() == over, || format!("a schema of {count} columns: {:?}", parsed.as_ref().err()));
    run.check("r4", parsed.as_ref().err().is_none_or(|e| e.table == "t"), || "the error does not name the table".to_string());
    let Ok(schema) = parsed else { return };
    let schema = Rc::new(schema);
    let mut world = World { server: Server::new(schema.clone()), schema, seq: 0 };
    let edit = world.row(run, 0);
    world.among_others(run, vec![(vec![edit], true)]);
}

fn tables(run: &mut Run) {
    let count = around(run, limits::SCHEMA_TABLES);
    let over = count > limits::SCHEMA_TABLES;
    note(run, over, "tables at the limit", "tables over it");
    let tables: Vec<String> = (0..count).map(|i| format!("\"t{i}\":{{}}")).collect();
    let parsed = Schema::parse(&format!("{{\"name\":\"many\",\"version\":1,\"tables\":{{{}}}}}", tables.join(",")));
    run.check("r4", parsed.is_err() == over, || format!("a schema of {count} tables: {:?}", parsed.err()));
}

fn names(run: &mut Run) {
    let count = around(run, limits::SPACE_NAME_CHARS);
    let over = count > limits::SPACE_NAME_CHARS;
    note(run, over, "space name at the limit", "space name over it");
    let letters = b"AZaz09_.-";
    let name: String = (0..count).map(|_| char::from(*run.rng.pick(letters).unwrap_or(&b'a'))).collect();
    run.check("r4", limits::is_space_name(&name) != over, || format!("{count} characters: {name}"));
    let bad = format!("a{}", run.rng.pick(&["/", " ", "é", "\0", "?"]).unwrap_or(&"/"));
    run.check("r4", !limits::is_space_name(&bad) && !limits::is_space_name(""), || format!("{bad:?} passes"));
}
