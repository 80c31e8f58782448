//! Dedupe (D1, D4, D5): whatever becomes of an engine's requests on their way, the rows, the revisions and the log are as if each
//! transaction had come once.

use crate::making::{self, call, moved, one_of, shown};
use crate::model::{self, values};
use crate::run::{Family, Run};
use crate::tab::{Tab, config, serve_push};
use driftline_core::dedupe::Ranges;
use driftline_core::digest::made_together;
use driftline_core::edit::{Edit, Op, Txn, Values};
use driftline_core::json::Json;
use driftline_core::limits::REPLACED_KEYS;
use driftline_core::merge::Hlc;
use driftline_core::outbox::Key;
use driftline_core::schema::Schema;
use driftline_core::sender::SendFailure;
use driftline_core::value::RowKey;
use driftline_core::wire::{Push, PushClient, PushTxn, PushUnit, read_push};
use driftline_tests::sim::server::{Principal, Server};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub const FAMILY: Family = Family {
    name: "dedupe",
    rules: "D1, D4, D5",
    situations: &[
        "request lost",
        "answer lost",
        "request doubled",
        "request split",
        "pieces sent again in another grouping",
        "old request again, long after",
        "applied before",
        "refused before",
        "held before",
        "closed meanwhile, told by the log",
        "closed meanwhile, nothing known",
        "late number after later ones were closed",
        "void numbers closed",
        "key used for another body",
        "key used for another body after it was closed",
        "key used for other words of the same",
        "cycle sent again",
        "copied profile",
        "copied profile noticed",
        "number void in one copy, used in the other",
        "reissued under a new key",
        "marks forgotten",
        "retried under a new key",
        "amended under a new key",
        "comes when what it replaces has taken effect",
        "comes when what it replaces has taken effect and was closed",
        "comes when what it replaces was refused",
        "comes when what it replaces has been replaced",
        "decided twice",
        "replaced, and comes after all",
        "replaced and closed, and comes after all",
        "what it replaces stands for something else",
    ],
    run: d1_d4_d5_as_if_each_had_come_once,
};

const NOW: u64 = 1_800_000_000_000;
/// Another device of the same user, on which it is decided about what waits.
const DECIDER: u64 = 0xd1;

/// A transaction's first answer.
#[derive(Clone)]
struct First {
    hash: u128,
    outcome: String,
    rev: Option<u64>,
}

/// A transaction and what was made of it by one decision after another, each under a new key that replaces all before. They go by
/// the same first bits of their hashes, and at most one takes effect.
type Chain = Vec<PushTxn>;

struct World {
    schema: Rc<Schema>,
    tables: Vec<u16>,
    server: Server,
    /// The first is the profile; the second, at times, its copy.
    tabs: Vec<Tab>,
    /// Requests as they were sent.
    sent: Vec<String>,
    /// Those that were refused in part.
    refused: Vec<Push>,
    first: BTreeMap<Key, First>,
    /// What took effect or was refused, in that order: what one delivery would bring.
    order: Vec<(Principal, Push, usize)>,
    promised: Vec<RowKey>,
    /// Rows made, and by how many tabs the transaction was known when it was copied.
    created: BTreeSet<RowKey>,
    chains: Vec<Chain>,
    /// What the server was told nothing of but that something else has taken effect in its place.
    replaced: BTreeSet<Key>,
    /// Which numbers the decider calls over.
    over: Ranges,
}

fn d1_d4_d5_as_if_each_had_come_once(run: &mut Run) {
    let schema = run.real_schema();
    let most = run.rng.range(3, 5) as usize;
    let tables = making::some_tables(&mut run.rng, &schema, true, most);
    let server = Server::new(schema.clone());
    let tab = Tab::leading(config(&schema, 0xa1), &server, NOW);
    let (sent, refused, first, order, promised, created, chains, replaced, over) = Default::default();
    let mut world =
        World { schema, tables, server, tabs: vec![tab], sent, refused, first, order, promised, created, chains, replaced, over };
    for _ in 0..run.rng.range(8, 36) {
        if !run.step() {
            break;
        }
        world.step(run);
    }
    if run.findings.is_empty() {
        world.finish(run);
    }
}

impl World {
    fn step(&mut self, run: &mut Run) {
        let tab = run.rng.below(self.tabs.len() as u64) as usize;
        match run.rng.below(120) {
            0..36 => self.make(run, tab),
            36..70 => self.send(run, tab),
            70..81 => self.again(run),
            81..86 => self.forge(run),
            86..96 => self.disturb(run),
            96..99 if self.tabs.len() == 1 && !self.sent.is_empty() => self.copy(run),
            96..100 => self.tabs[tab].tick(31_000),
            _ => self.decide(run),
        }
    }

    // ---- making ----

    fn make(&mut self, run: &mut Run, tab: usize) {
        let edits = self.edits(run, tab);
        if edits.is_empty() {
            return;
        }
        run.transactions += 1;
        let tab = &mut self.tabs[tab];
        let result = tab.make(&call(&self.schema, &edits, &[]));
        run.say(|| format!("makes {} -> {result:x?}", shown(&self.schema, &edits)));
        if result.is_ok() {
            self.created.extend(edits.iter().filter(|edit| edit.op == Op::Create).map(|edit| edit.row));
        }
        if run.rng.chance(600) {
            tab.run();
        }
        tab.now += 1 + run.rng.below(100);
    }

    fn edits(&mut self, run: &mut Run, tab: usize) -> Vec<Edit> {
        let rows = self.tabs[tab].view();
        let schema = self.schema.clone();
        let rng = &mut run.rng;
        let row = one_of(rng, rows.keys().copied());
        match (rng.below(100), row) {
            (0..20, Some(row)) => vec![making::update(rng, &schema, row)],
            (20..32, Some(row)) => {
                let columns = making::reference_columns(&schema, row.table);
                let Some((column, to, nullable)) = rng.pick(&columns).copied() else { return Vec::new() };
                let target = one_of(rng, rows.keys().copied().filter(|key| to.contains(&key.table)));
                if target.is_some() || nullable { vec![moved(row, column, target)] } else { Vec::new() }
            }
            (32..50, Some(row)) => vec![Edit::delete(row)],
            _ => {
                let promised = one_of(rng, self.promised.iter().copied());
                let row = promised.filter(|_| rng.chance(500)).or_else(|| rng.pick(&self.tables).map(|t| making::fresh(rng, *t)));
                let Some(row) = row else { return Vec::new() };
                let promises = &mut self.promised;
                promises.retain(|promised| *promised != row);
                let edit = making::create(rng, &schema, row, |rng, column, to| {
                    let nullable = schema.tables[usize::from(row.table)].columns[column].nullable;
                    if nullable && rng.chance(200) {
                        return None;
                    }
                    let seen = one_of(rng, rows.keys().copied().filter(|key| to.contains(&key.table)));
                    // At times a row that is made later: this one waits, and later numbers overtake it.
                    if seen.is_some() && rng.chance(850) {
                        return seen;
                    }
                    let waits = one_of(rng, promises.iter().copied().filter(|key| to.contains(&key.table)));
                    let later = waits.or_else(|| rng.pick(to).map(|table| making::fresh(rng, *table)))?;
                    promises.push(later);
                    Some(later)
                });
                edit.into_iter().collect()
            }
        }
    }

    // ---- sending ----

    /// One request of a tab, and what becomes of it.
    fn send(&mut self, run: &mut Run, tab: usize) {
        self.tabs[tab].run();
        if self.tabs[tab].pushes.is_empty() {
            self.tabs[tab].tick(11_000);
        }
        self.tabs[tab].load(&self.server);
        let Some((id, body)) = self.tabs[tab].pushes.pop_front() else { return };
        self.sent.push(body.clone());
        let fate = run.rng.below(6);
        match fate {
            0 => {
                run.hit("request lost");
                return self.fail(run, tab, id);
            }
            1 => {
                run.hit("request doubled");
                self.deliver(run, &body);
            }
            2 => self.split(run, &body),
            _ => {}
        }
        let (status, answer) = self.deliver(run, &body);
        if fate == 3 || run.rng.chance(150) {
            run.hit("answer lost");
            return self.fail(run, tab, id);
        }
        let key = self.tabs[tab].engine.outbox().iter().map(|entry| entry.made.key).collect::<Vec<_>>();
        self.tabs[tab].answer(id, status, &answer);
        let rekeyed = self.tabs[tab].events.iter().any(|event| event.contains("\"rekeyed\""));
        run.hits_of("reissued under a new key", u64::from(rekeyed && !key.is_empty()));
        self.tabs[tab].events.clear();
    }

    fn fail(&mut self, run: &mut Run, tab: usize, id: u64) {
        let failure = if run.rng.chance(500) { SendFailure::Network } else { SendFailure::Timeout };
        let tab = &mut self.tabs[tab];
        tab.engine.handle_send_failed(tab.now, id, failure);
        tab.run();
        tab.tick(31_000);
    }

    fn now(&self) -> u64 {
        self.tabs.iter().map(|tab| tab.now).max().unwrap_or(NOW)
    }

    /// The same content in other portions, some of them more than once.
    fn split(&mut self, run: &mut Run, body: &str) {
        let Ok(push) = read_push(&self.schema, body) else { return };
        if push.units.len() < 2 {
            return;
        }
        run.hit("request split");
        for round in 0..2 {
            let mut left = &push.units[..];
            while !left.is_empty() {
                let (piece, rest) = left.split_at(run.rng.range(1, left.len() as u64) as usize);
                left = rest;
                for _ in 0..if run.rng.chance(300) { 2 } else { 1 } {
                    self.deliver_push(run, &Push { units: piece.to_vec(), ..push.clone() });
                }
            }
            if round == 0 && run.rng.chance(500) {
                return;
            }
            run.hits_of("pieces sent again in another grouping", round);
        }
    }

    /// A request that was long on its way.
    fn again(&mut self, run: &mut Run) {
        let Some(body) = run.rng.pick(&self.sent).cloned() else { return };
        run.hit("old request again, long after");
        if let Some(push) = run.rng.pick(&self.refused).cloned().filter(|_| run.rng.chance(700)) {
            self.deliver_push(run, &push);
            return;
        }
        self.deliver(run, &body);
    }

    fn deliver(&mut self, run: &mut Run, body: &str) -> (u16, String) {
        let Ok(push) = read_push(&self.schema, body) else {
            run.find("d1", "a request that does not read".to_string());
            return (400, String::new());
        };
        self.deliver_push(run, &push)
    }

    fn deliver_push(&mut self, run: &mut Run, push: &Push) -> (u16, String) {
        let closed: Vec<Key> = push.clients.iter().flat_map(|client| self.closed_keys(push, client)).collect();
        let now = self.now();
        let (status, answer) = serve_push(&mut self.server, 1, push, now, run.rng.draw());
        run.say(|| format!("pushes {} units -> {status} {answer}", push.units.len()));
        if status == 200 {
            self.note(run, push, &answer, &closed);
        }
        (status, answer)
    }

    /// Keys of a push that the server has been told are over, before it comes.
    fn closed_keys(&self, push: &Push, client: &PushClient) -> Vec<Key> {
        let Some(state) = self.server.client(1, client.id) else { return Vec::new() };
        let txns = push.units.iter().flat_map(|unit| &unit.txns);
        let keys = txns.filter(|txn| push.clients[txn.client].id == client.id).map(|txn| (client.id, txn.seq));
        keys.filter(|key| state.closed.contains(key.1)).collect()
    }

    /// Compares answers with the first ones, and keeps what is new in its order.
    fn note(&mut self, run: &mut Run, push: &Push, answer: &str, closed: &[Key]) {
        let json = Json::parse_or_null(answer);
        for client in json.list("clients") {
            run.hits_of("copied profile noticed", u64::from(client.flag("fork")));
        }
        for (at, unit) in push.units.iter().enumerate() {
            let mut fresh = false;
            for txn in &unit.txns {
                let key = (push.clients[txn.client].id, txn.seq);
                let Some(said) = outcome_of(&json, (txn.client as u64, txn.seq)) else { continue };
                let outcome = said.text("outcome").unwrap_or("").to_string();
                let code = said.get("problem").and_then(|problem| problem.text("code")).unwrap_or("").to_string();
                let rev = said.uint("rev");
                if outcome == "held" {
                    run.hit("held before");
                    continue;
                }
                run.hits_of("replaced, and comes after all", u64::from(self.replaced.contains(&key)));
                // A copy of the profile may have used the number for something else.
                if code == "key_reused" {
                    let other = self.first.get(&key).is_some_and(|first| first.hash != txn.hash);
                    run.check("d5", other, || format!("{key:x?} is said to stand for something else, and does not: {answer}"));
                    continue;
                }
                match self.first.get(&key) {
                    // The other copy of the profile had the same number, and said that it is over.
                    None if code == "outcome_unknown" && key.0 == DECIDER && self.is_closed(key) => {
                        run.hit("replaced and closed, and comes after all");
                    }
                    None if code == "outcome_unknown" && self.tabs.len() > 1 && self.is_closed(key) => {
                        run.hit("number void in one copy, used in the other");
                    }
                    None => {
                        run.check("d6", code != "outcome_unknown", || format!("{key:x?} is fresh, and nobody knows it: {answer}"));
                        let later = self.server.client(1, key.0).is_some_and(|state| state.closed.iter().any(|range| range.0 > key.1));
                        run.hits_of("late number after later ones were closed", u64::from(later));
                        fresh = true;
                        self.note_replaced(run, push, txn, &outcome, &code);
                        if outcome == "refused" {
                            self.refused.push(push.clone());
                        }
                        self.first.insert(key, First { hash: txn.hash, outcome, rev });
                    }
                    // Both copies went on folding what they had made before there were two.
                    Some(first) if code == "outcome_unknown" && first.hash != txn.hash && made_together(first.hash, txn.hash) => {
                        let said_otherwise = self.tabs.len() > 1 || key.0 == DECIDER;
                        run.check("d5", said_otherwise, || format!("{key:x?} is said in other words, and there is no copy"));
                    }
                    Some(first) if code == "outcome_unknown" => {
                        let known = closed.contains(&key) && first.outcome != "applied";
                        run.check("d6", known || self.is_closed(key), || format!("{key:x?} is unknown, and was {}", first.outcome));
                        run.check("d6", first.outcome != "applied", || format!("{key:x?} is in the log, and unknown"));
                        run.hit("closed meanwhile, nothing known");
                    }
                    Some(first) => {
                        run.check("d5", first.hash == txn.hash, || format!("{key:x?} with another body is {outcome}"));
                        run.check("d1", first.outcome == outcome && first.rev == rev, || {
                            format!("{key:x?} is {outcome} {rev:?}, and was {} {:?}", first.outcome, first.rev)
                        });
                        run.hit(if outcome == "applied" { "applied before" } else { "refused before" });
                        run.hits_of("closed meanwhile, told by the log", u64::from(closed.contains(&key)));
                        run.hits_of("cycle sent again", u64::from(unit.txns.len() > 1));
                    }
                }
            }
            if fresh {
                self.order.push((1, push.clone(), at));
            }
        }
        self.check_memory(run);
    }

    fn is_closed(&self, key: Key) -> bool {
        self.server.client(1, key.0).is_some_and(|state| state.closed.contains(key.1))
    }

    /// What the server remembers is what is not closed, and no more.
    fn check_memory(&self, run: &mut Run) {
        let clients: BTreeSet<u64> = self.first.keys().map(|key| key.0).collect();
        for client in clients {
            let Some(state) = self.server.client(1, client) else { continue };
            let marks = self.server.marks_of(1, client);
            let kept = marks.iter().find(|seq| state.closed.contains(**seq));
            run.check("d4", kept.is_none(), || format!("{kept:?} of {client:x} is closed and still kept"));
            let open = self.first.keys().filter(|key| key.0 == client && !state.closed.contains(key.1)).count();
            run.check("d4", marks.len() == open, || format!("{} marks of {client:x} for {open} settled numbers", marks.len()));
            let settled = self.first.keys().filter(|key| key.0 == client).count();
            run.hits_of("marks forgotten", u64::from(settled > marks.len()));
        }
    }

    // ---- decisions ----

    fn decide(&mut self, run: &mut Run) {
        let chains = self.chains.len() as u64;
        if chains == 0 || run.rng.chance(100) {
            return self.replace(run, chains as usize);
        }
        let chain = run.rng.below(chains) as usize;
        if run.rng.chance(350) { self.replace(run, chain) } else { self.deliver_some(run, chain) }
    }

    /// Makes something of which a chain begins, or puts something in the place of the last of one: the same again, or another. At times in
    /// that of an earlier one: who decides does not know of what another tab has decided since.
    fn replace(&mut self, run: &mut Run, chain: usize) {
        let mut before = self.chains.get(chain).map(Vec::as_slice).unwrap_or_default();
        if before.len() > REPLACED_KEYS {
            return;
        }
        // What is over, and what a copy of the profile has used for something else, tells nobody of the other decision.
        let is_its_own = |txn: &PushTxn| {
            !self.over.contains(txn.seq) && self.first.get(&(DECIDER, txn.seq)).is_none_or(|first| made_together(first.hash, txn.hash))
        };
        if before.len() > 1 && before.iter().all(is_its_own) && run.rng.chance(200) {
            run.hit("decided twice");
            before = &before[..run.rng.range(1, before.len() as u64 - 1) as usize];
        }
        let replaces = before.iter().map(|txn| (0, txn.seq)).collect();
        let seq = self.chains.iter().map(|chain| chain.len() as u64).sum::<u64>() + 1;
        let last = before.last().cloned();
        let txn = match last.as_ref().filter(|_| run.rng.chance(500)) {
            Some(last) => PushTxn { seq, replaces, ..last.clone() },
            None => {
                let edits = self.decided_edits(run);
                if edits.is_empty() {
                    return;
                }
                let hash = (chain as u128 + 1) << 96 | u128::from(seq);
                PushTxn { client: 0, seq, hash, replaces, txn: Ok(Txn { at: Hlc::new(self.now(), 0), edits }) }
            }
        };
        if let Some(last) = last {
            run.hit(if last.hash == txn.hash { "retried under a new key" } else { "amended under a new key" });
        }
        run.say(|| format!("decides {txn:?}"));
        self.chains.resize(self.chains.len().max(chain + 1), Vec::new());
        self.chains[chain].push(txn);
    }

    fn decided_edits(&mut self, run: &mut Run) -> Vec<Edit> {
        let edits = self.edits(run, 0);
        self.created.extend(edits.iter().filter(|edit| edit.op == Op::Create).map(|edit| edit.row));
        edits
    }

    /// Some of a chain comes, in any order, once or twice; at times some of it is over then.
    fn deliver_some(&mut self, run: &mut Run, chain: usize) {
        let mut some = self.chains[chain].clone();
        while some.len() > 1 && run.rng.chance(500) {
            some.swap_remove(run.rng.below(some.len() as u64) as usize);
        }
        for at in (1..some.len()).rev() {
            some.swap(at, run.rng.below(at as u64 + 1) as usize);
        }
        if !decided_twice(&self.chains[chain]) && run.rng.chance(150) {
            // A copy of the profile has used the key for something else.
            let edits = self.decided_edits(run);
            if !edits.is_empty() {
                let txn = Ok(Txn { at: Hlc::new(self.now(), 0), edits });
                some[0] = PushTxn { hash: some[0].hash ^ 1 << 127, replaces: Vec::new(), txn, ..some[0].clone() };
            }
        }
        if run.rng.chance(300) {
            self.close_some(run, chain);
        }
        let receipt = self.server.client(1, DECIDER).and_then(|known| known.receipts.current);
        let client = PushClient { id: DECIDER, receipt, closed: self.over.clone() };
        let units = some.into_iter().map(|txn| PushUnit { txns: vec![txn], after: Vec::new() }).collect();
        let push = Push { epoch: 1, cursor: None, clients: vec![client], units };
        for _ in 0..run.rng.range(1, 2) {
            self.deliver_push(run, &push);
        }
        self.check_chain(run, chain);
    }

    /// What has been replaced is over, and what has been answered; where there were two decisions, once all have been.
    fn close_some(&mut self, run: &mut Run, chain: usize) {
        let members = &self.chains[chain];
        let answered = |txn: &PushTxn| self.first.contains_key(&(DECIDER, txn.seq));
        let open = members.iter().filter(|txn| !answered(txn)).count();
        if open > 0 && decided_twice(members) {
            return;
        }
        let Some((last, replaced)) = members.split_last() else { return };
        let over = replaced.iter().chain((open == 0 || answered(last)).then_some(last));
        for txn in over {
            if run.rng.chance(500) {
                self.over.add(txn.seq, txn.seq);
            }
        }
    }

    /// What replaces something that has taken effect must not; what takes effect closes what it replaces.
    fn note_replaced(&mut self, run: &mut Run, push: &Push, txn: &PushTxn, outcome: &str, code: &str) {
        let mut late = false;
        for replaced in &txn.replaces {
            let key = (push.clients[replaced.0].id, replaced.1);
            let closed = self.is_closed(key);
            match self.first.get(&key) {
                Some(first) if !made_together(first.hash, txn.hash) => run.hit("what it replaces stands for something else"),
                Some(first) if first.outcome == "applied" => {
                    late = true;
                    run.hit("comes when what it replaces has taken effect");
                    run.hits_of("comes when what it replaces has taken effect and was closed", u64::from(closed));
                }
                // Something else, that stands for the same, has.
                Some(_) if self.replaced.contains(&key) && !closed => {
                    late = true;
                    run.hit("comes when what it replaces has been replaced");
                }
                Some(_) => {
                    run.hit("comes when what it replaces was refused");
                    if outcome == "applied" && !closed {
                        self.replaced.insert(key);
                    }
                }
                None if outcome == "applied" && !closed => {
                    self.first.insert(key, First { hash: txn.hash, outcome: "refused".to_string(), rev: None });
                    self.replaced.insert(key);
                }
                None => {}
            }
        }
        run.check("d1", !late || outcome != "applied", || format!("number {} takes effect, and so has what it replaces", txn.seq));
        run.check("d1", late || code != "too_late", || format!("number {} is too late, and nothing that it replaces took effect", txn.seq));
    }

    fn check_chain(&self, run: &mut Run, chain: usize) {
        let members = &self.chains[chain];
        let is_of_chain = |key: &Key| {
            let of_chain = |first: &First| made_together(first.hash, members[0].hash);
            key.0 == DECIDER && members.iter().any(|txn| txn.seq == key.1) && self.first.get(key).is_none_or(of_chain)
        };
        let applied: Vec<Key> = self.server.log().map(|row| row.1).filter(is_of_chain).collect();
        run.check("d1", applied.len() < 2, || format!("of one chain of decisions {applied:x?} took effect"));
    }

    /// A key comes again with another body: nothing may come of it.
    fn forge(&mut self, run: &mut Run) {
        let Some(body) = run.rng.pick(&self.sent).cloned() else { return };
        let Ok(mut push) = read_push(&self.schema, &body) else { return };
        let settled = |unit: &PushUnit| unit.txns.iter().all(|txn| self.first.contains_key(&(push.clients[txn.client].id, txn.seq)));
        push.units = push.units.iter().filter(|unit| settled(unit)).cloned().collect();
        for client in &mut push.clients {
            client.closed = Default::default();
        }
        if push.units.is_empty() {
            return;
        }
        // Another transaction, or the same in other words.
        let reworded = run.rng.chance(300);
        for txn in push.units.iter_mut().flat_map(|unit| &mut unit.txns) {
            txn.hash ^= if reworded { 1 } else { 1 << 127 };
        }
        let keys: Vec<(Key, u128, (u64, u64))> = push
            .units
            .iter()
            .flat_map(|unit| &unit.txns)
            .map(|txn| ((push.clients[txn.client].id, txn.seq), txn.hash, (txn.client as u64, txn.seq)))
            .collect();
        let before = (self.server.space, self.server.rows.clone());
        let now = self.now();
        let (status, answer) = serve_push(&mut self.server, 1, &push, now, run.rng.draw());
        if status != 200 {
            return;
        }
        let json = Json::parse_or_null(&answer);
        for (key, hash, at) in keys {
            let said = outcome_of(&json, at);
            let code = said.and_then(|said| said.get("problem")).and_then(|problem| problem.text("code")).unwrap_or("");
            let forgotten = self.is_closed(key) && self.first[&key].outcome != "applied";
            // Of what a copy of the profile has used the number for nothing could be said in other words.
            let same = made_together(self.first[&key].hash, hash);
            let wanted = if forgotten || same { "outcome_unknown" } else { "key_reused" };
            run.check("d5", code == wanted, || format!("{key:x?} with another body is answered `{code}`: {answer}"));
            run.hits_of("key used for other words of the same", u64::from(reworded));
            run.hit(if self.is_closed(key) { "key used for another body after it was closed" } else { "key used for another body" });
        }
        run.check("d5", before == (self.server.space, self.server.rows.clone()), || "something came of another body".to_string());
    }

    /// The profile is copied, and both go on.
    fn copy(&mut self, run: &mut Run) {
        self.tabs[0].run();
        let kept = self.tabs[0].kept.clone();
        if kept.meta.is_none() {
            return;
        }
        run.hit("copied profile");
        run.say(|| "the profile is copied".to_string());
        let now = self.tabs[0].now + 1;
        let mut seeded = config(&self.schema, 0xa1);
        seeded.seed = run.rng.draw();
        let mut copy = Tab::opened(seeded, kept, now);
        copy.lead();
        copy.load(&self.server);
        self.tabs.push(copy);
    }

    /// Somebody else takes a row away, mostly one that something waits to refer to.
    fn disturb(&mut self, run: &mut Run) {
        let waiting = self.tabs[0].engine.outbox().iter().flat_map(|entry| &entry.edits).flat_map(|edit| edit.references().map(|r| r.1));
        let wanted: Vec<RowKey> = waiting.filter(|row| self.server.rows.contains_key(row)).collect();
        let any = one_of(&mut run.rng, self.server.rows.keys().copied());
        let Some(row) = one_of(&mut run.rng, wanted.into_iter()).or(any) else { return };
        let seq = self.order.len() as u64 + 1;
        let txn = Ok(Txn { at: Hlc::new(self.now(), 0), edits: vec![Edit::delete(row)] });
        let receipt = self.server.client(2, 0xb1).and_then(|known| known.receipts.current);
        let client = PushClient { id: 0xb1, receipt, closed: Default::default() };
        let unit = PushUnit { txns: vec![PushTxn { client: 0, seq, hash: u128::from(seq), replaces: Vec::new(), txn }], after: Vec::new() };
        let push = Push { epoch: 1, cursor: None, clients: vec![client], units: vec![unit] };
        run.say(|| format!("another deletes {row:?}"));
        let now = self.now();
        serve_push(&mut self.server, 2, &push, now, run.rng.draw());
        self.order.push((2, push, 0));
    }

    // ---- the end ----

    fn finish(&mut self, run: &mut Run) {
        // Whoever waits for a row gets it.
        for row in std::mem::take(&mut self.promised) {
            let rows = self.tabs[0].view();
            let edit = making::create(&mut run.rng, &self.schema, row, |rng, _, to| {
                one_of(rng, rows.keys().copied().filter(|k| to.contains(&k.table)))
            });
            if let Some(edit) = edit.filter(|_| !rows.contains_key(&row))
                && self.tabs[0].make(&call(&self.schema, &[edit], &[])).is_ok()
            {
                self.created.insert(row);
            }
        }
        for _ in 0..4 {
            for tab in 0..self.tabs.len() {
                self.drain(run, tab);
            }
        }
        self.check_once(run);
        self.check_closed(run);
        self.compare(run);
    }

    fn drain(&mut self, run: &mut Run, tab: usize) {
        let mut quiet = 0;
        for _ in 0..60 {
            self.tabs[tab].run();
            self.tabs[tab].load(&self.server);
            let Some((id, body)) = self.tabs[tab].pushes.pop_front() else {
                quiet += 1;
                if quiet > 3 {
                    return;
                }
                self.tabs[tab].tick(31_000);
                continue;
            };
            let (status, answer) = self.deliver(run, &body);
            self.tabs[tab].answer(id, status, &answer);
        }
    }

    /// Each row was made once, and what was made either took effect, waits, or was refused.
    fn check_once(&self, run: &mut Run) {
        let mut made: BTreeMap<RowKey, u64> = BTreeMap::new();
        for (_, _, changes) in self.server.log() {
            let json = Json::parse_or_null(changes);
            let edits = json.as_list().unwrap_or_default().iter().filter_map(|change| Edit::read(&self.schema, change, Values::Final).ok());
            edits.filter(|edit| edit.op == Op::Create).for_each(|edit| *made.entry(edit.row).or_insert(0) += 1);
        }
        let twice = made.iter().find(|(_, count)| **count > 1);
        run.check("d1", twice.is_none(), || format!("{twice:?} was made twice"));
        let unknown = made.keys().find(|row| !self.created.contains(row));
        run.check("d1", unknown.is_none(), || format!("{unknown:?} was made by nobody"));
        for tab in &self.tabs {
            let view = tab.view();
            let base = tab.base();
            let pending: BTreeSet<RowKey> = tab.engine.outbox().iter().flat_map(|entry| &entry.edits).map(|edit| edit.row).collect();
            let lost = view.keys().find(|row| !base.contains_key(row) && !pending.contains(row));
            run.check("d1", lost.is_none(), || format!("{lost:?} is seen, and neither waits nor is on the server"));
        }
    }

    /// Once all is known on both sides, every number below the highest is closed or still waits.
    fn check_closed(&self, run: &mut Run) {
        if self.tabs.len() > 1 {
            return;
        }
        let tab = &self.tabs[0];
        let slot = tab.kept.slot();
        for (client, high) in slot.high {
            let Some(state) = self.server.client(1, client) else { continue };
            let waits = |seq: u64| tab.engine.outbox().get((client, seq)).is_some();
            let open = (1..=high).find(|seq| !state.closed.contains(*seq) && !waits(*seq));
            run.check("d4", open.is_none(), || format!("{open:?} of {client:x} is over, and not closed"));
            let void = (1..=high).filter(|seq| !self.first.contains_key(&(client, *seq)) && state.closed.contains(*seq)).count();
            run.hits_of("void numbers closed", u64::from(void > 0));
        }
    }

    /// One delivery of each, in the order in which they first took effect, comes to the same.
    fn compare(&mut self, run: &mut Run) {
        let mut once = Server::new(self.schema.clone());
        let now = self.now();
        for (principal, push, at) in &self.order {
            let unit = push.units[*at].clone();
            let client = |client: &PushClient| PushClient {
                receipt: once.client(*principal, client.id).and_then(|known| known.receipts.current),
                closed: Default::default(),
                ..client.clone()
            };
            let clients = push.clients.iter().map(client).collect();
            serve_push(&mut once, *principal, &Push { epoch: 1, cursor: None, clients, units: vec![unit] }, now, run.rng.draw());
        }
        let log = |server: &Server| -> Vec<(u64, Key, String)> { server.log().map(|row| (row.0, row.1, row.2.to_string())).collect() };
        run.check("d1", log(&self.server) == log(&once), || {
            let (is, should) = (log(&self.server), log(&once));
            let at = is.iter().zip(&should).position(|(a, b)| a != b).unwrap_or(is.len().min(should.len()));
            format!("the log differs at {at}: {:?} instead of {:?}", is.get(at), should.get(at))
        });
        run.check("d1", self.server.space == once.space, || format!("{:?} instead of {:?}", self.server.space, once.space));
        run.check("d1", self.server.rows == once.rows, || {
            let text = model::differ(&self.schema, &values(&self.server.rows), &values(&once.rows));
            format!("the rows differ, or when they were written: {text:?}")
        });
        let found: Vec<String> = self.server.findings.drain(..).map(|finding| finding.text).collect();
        run.find_all("i3", found);
        run.find_all("i3", model::orphans(&self.schema, &values(&self.server.rows)));
    }
}

fn outcome_of<'a, 'b>(answer: &'b Json<'a>, key: (u64, u64)) -> Option<&'b Json<'a>> {
    let same = |outcome: &&Json| {
        let part = |i: usize| outcome.get("key").and_then(|key| key.at(i)).and_then(Json::as_u64);
        part(0) == Some(key.0) && part(1) == Some(key.1)
    };
    answer.list("outcomes").iter().find(same)
}

/// Whether somebody decided about one of a chain who did not know of a later one.
fn decided_twice(chain: &[PushTxn]) -> bool {
    chain.iter().enumerate().any(|(at, txn)| txn.replaces.len() < at)
}
