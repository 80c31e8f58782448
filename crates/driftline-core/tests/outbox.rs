//! What the outbox counts, whom it lets go first, and what a cycle comes to: each told by what a tab or a server does.

mod common;

use common::{Store, Tab, body, config, create, delete, id, push_text, schema, update};
use driftline_core::edit::Txn;
use driftline_core::engine::{SlotDisk, write_key};
use driftline_core::outbox::{Counts, Entry, Key, Made, Outbox, Ready, Sending, State, Wait};
use driftline_core::problem::Problem;
use driftline_core::schema::Schema;
use driftline_core::value::{RowId, RowKey};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn make_after(tab: &mut Tab, edit: &str, after: &[Key]) -> Key {
    let mut keys = Vec::new();
    for key in after {
        let mut text = String::new();
        write_key(*key, &mut text);
        keys.push(format!("\"{text}\""));
    }
    let key = tab.engine.transact(tab.now, &format!("{{\"edits\":[{edit}],\"after\":[{}]}}", keys.join(","))).unwrap().0;
    tab.run();
    key
}

fn after(tab: &Tab, key: Key) -> Vec<Key> {
    tab.engine.outbox().get(key).unwrap().after.clone()
}

/// What the log tells of the first revision.
fn changes(store: &Store) -> Vec<serde_json::Value> {
    serde_json::from_str(&store.log[0].3).unwrap()
}

#[test]
fn q7_the_limit_in_bytes_is_that_of_what_waits() {
    let mut config = config();
    config.outbox_bytes = 400;
    let mut store = Store::default();
    let mut tab = Tab::of_config(config).lead(&store);
    for round in 0..3 {
        tab.engine.set_online(tab.now, false);
        let made = (0..9).filter(|n| tab.make(&create("kind", 10 * round + n, "")).is_ok()).count();
        assert!((2..6).contains(&made), "{made} of some 100 bytes each");
        assert_eq!(tab.make(&create("kind", 99, "")), Err("outbox_full".to_string()));
        tab.run();
        tab.engine.set_online(tab.now, true);
        tab.sync(&mut store);
        assert_eq!((tab.engine.outbox().len(), tab.engine.outbox().bytes()), (0, 0));
    }
}

#[test]
fn q6_nothing_folds_into_what_others_come_after_until_these_are_gone() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.make(&create("card", 1, "")).unwrap();
    tab.run();
    tab.sync(&mut store);
    tab.engine.set_online(tab.now, false);
    let move_to = |x: u64| update("card", 1, &format!("\"set\":{{\"x\":{x}}}"));
    let first = tab.make(&move_to(1)).unwrap();
    let followers = [2, 3].map(|n| make_after(&mut tab, &create("kind", n, ""), &[first]));
    for follower in followers {
        let next = tab.make(&move_to(2)).unwrap();
        assert_ne!(next, first, "somebody counts on the first having come before");
        tab.engine.discard(tab.now, next, false).unwrap();
        tab.engine.discard(tab.now, follower, false).unwrap();
    }
    assert_eq!(tab.make(&move_to(3)), Ok(first));
}

#[test]
fn r3_what_comes_after_a_refused_one_comes_after_its_retry_and_after_nothing_else_anew() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.make(&create("card", 1, "")).unwrap();
    tab.run();
    tab.sync(&mut store);
    store.deleted.extend(store.rows.keys().copied());
    store.rows.clear();
    tab.make(&create("kind", 2, "")).unwrap();
    let refused = tab.make(&create("conn", 3, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(1), id(2)))).unwrap();
    tab.run();
    tab.sync(&mut store);
    tab.engine.set_online(tab.now, false);
    let other = tab.make(&create("kind", 4, "")).unwrap();
    let follower = make_after(&mut tab, &create("kind", 5, ""), &[refused, other]);
    tab.engine
        .decide(
            tab.now,
            &format!("{{\"what\":\"amend\",\"key\":\"{:016x}:{}\",\"edits\":[{}]}}", refused.0, refused.1, create("kind", 6, "")),
        )
        .unwrap();
    tab.run();
    let retry = tab.engine.outbox().iter().find(|entry| entry.was == [refused]).unwrap().made.key;
    assert_eq!(after(&tab, follower), [retry, other]);
    assert_eq!(tab.engine.outbox().with_dependents(retry), [retry, follower]);
}

#[test]
fn o4_a_server_refuses_a_cycle_of_required_references_and_names_its_rows() {
    let mut store = Store::default();
    let pair = [(3, 4), (4, 3)].map(|(one, other)| create("node", one, &format!("\"up\":{{\"node\":\"{}\"}}", id(other))));
    let answer = store.push(&schema(), &push_text(None, "[]", &[(1, body(1, &pair.join(",")))])).unwrap();
    assert!(answer.contains("\"cycle\"") && answer.contains(&id(3)) && answer.contains(&id(4)), "{answer}");
    assert!(store.rows.is_empty());
}

#[test]
fn o4_inside_a_cycle_what_is_required_goes_first_and_a_nullable_reference_last() {
    let teams = Schema::parse(
        r#"{"name": "t", "version": 1, "tables": {
          "person": {"references": {"team": {"to": ["team"], "on_delete": "cascade"}}},
          "team": {"references": {"lead": {"to": ["person"], "nullable": true, "on_delete": "set_null"}}}}}"#,
    )
    .unwrap();
    let mut store = Store::default();
    let person = create("person", 1, &format!("\"team\":\"{}\"", id(2)));
    let team = create("team", 2, &format!("\"lead\":\"{}\"", id(1)));
    store.push(&teams, &push_text(None, "[]", &[(1, body(1, &format!("{person},{team}")))])).unwrap();
    assert_eq!((store.rows.len(), store.orphans()), (2, 0));
    let changes = changes(&store);
    let told: Vec<_> = changes.iter().map(|change| (change["op"].as_str().unwrap(), change["table"].as_str().unwrap())).collect();
    assert_eq!(told, [("create", "team"), ("create", "person"), ("update", "team")]);
    assert!(changes[0]["set"]["lead"].is_null() && changes[2]["set"]["lead"] == id(1));
}

#[test]
fn o3_a_transaction_that_is_valid_as_made_is_carried_out_as_made() {
    let mut store = Store::default();
    let edits = [create("box", 1, &up(1)), create("box", 2, &up(1)), create("card", 3, &format!("\"box\":\"{}\"", id(2))), rename(1)];
    store.push(&schema(), &push_text(None, "[]", &[(1, body(1, &edits.join(",")))])).unwrap();
    let told: Vec<_> = changes(&store).iter().map(|change| format!("{} {}", change["op"], change["id"])).collect();
    let made: Vec<_> = [("create", 1), ("create", 2), ("create", 3), ("update", 1)].map(|(op, n)| format!("\"{op}\" \"{}\"", id(n))).into();
    assert_eq!(told, made);
    assert_eq!(changes(&store)[1]["set"]["up"], id(1));
}

// ---- the outbox by itself ----

fn row(table: &str, n: u64) -> RowKey {
    RowKey { table: schema().table(table).unwrap(), id: RowId::parse(&id(n)).unwrap() }
}

/// A saved transaction of this tab, made at its number.
fn entry(seq: u64, edits: &str) -> Entry {
    let txn = Txn::parse(&schema(), &body(seq, edits)).unwrap();
    let whole = txn.to_body(&schema(), seq);
    let mut entry = txn.into_entry(whole, Made { at: seq, key: (1, seq) }, 0, Vec::new(), Vec::new());
    entry.saved = true;
    entry
}

fn releasing(seq: u64, edits: &str, rows: &[RowKey]) -> Entry {
    Entry { releases: rows.to_vec(), ..entry(seq, edits) }
}

fn following(seq: u64, edits: &str, after: &[u64]) -> Entry {
    Entry { after: after.iter().map(|seq| (1, *seq)).collect(), ..entry(seq, edits) }
}

fn parked(entry: Entry) -> Entry {
    Entry { state: State::Parked { problem: Problem::new("refused", "no"), spent: true }, ..entry }
}

fn outbox(entries: impl IntoIterator<Item = Entry>) -> Outbox {
    let mut outbox = Outbox::default();
    entries.into_iter().for_each(|entry| outbox.insert(entry));
    outbox
}

/// Rows of these numbers are in the base.
fn in_base(row: RowKey) -> bool {
    (0..100).any(|n| RowId::parse(&id(n)) == Some(row.id))
}

const NOW_MS: u64 = 1_000;

fn sending(lacks: &dyn Fn(&driftline_core::edit::Edit, u16, RowKey) -> bool) -> Sending<'_> {
    Sending { now_ms: NOW_MS, lacks, own_slot: 0 }
}

fn ready(outbox: &Outbox, max_txns: usize, max_bytes: usize, only: Option<&[Key]>) -> Vec<Ready> {
    outbox.ready(&sending(&|_, _, row| !in_base(row)), max_txns, max_bytes, only)
}

fn numbers(keys: &[Key]) -> Vec<u64> {
    keys.iter().map(|key| key.1).collect()
}

/// The units that go, by the numbers of their members.
fn goes(outbox: &Outbox) -> Vec<Vec<u64>> {
    ready(outbox, 100, 1 << 20, None).iter().map(|unit| numbers(&unit.keys)).collect()
}

fn waits(outbox: &Outbox) -> Vec<(u64, Wait)> {
    let mut all = Vec::new();
    outbox.visit(&sending(&|_, _, row| !in_base(row)), |members, wait, _| {
        all.extend(wait.map(|wait| (members[0].made.key.1, wait)));
        true
    });
    all
}

fn up(n: u64) -> String {
    format!("\"up\":\"{}\"", id(n))
}

fn lets_go(n: u64) -> String {
    update("box", n, "\"set\":{\"up\":null}")
}

fn rename(n: u64) -> String {
    update("box", n, "\"set\":{\"name\":\"a\"}")
}

#[test]
fn o2_an_edit_goes_after_what_makes_its_row_and_what_it_refers_to() {
    // The clocks of two tabs may be apart.
    assert_eq!(goes(&outbox([entry(1, &rename(101)), entry(2, &create("box", 101, ""))])), [[2], [1]]);
    assert_eq!(goes(&outbox([entry(1, &delete("box", 101)), entry(2, &create("box", 101, ""))])), [[1], [2]]);
    assert_eq!(goes(&outbox([entry(1, &create("box", 102, &up(101))), entry(2, &create("box", 101, ""))])), [[2], [1]]);
    let family = [entry(1, &create("box", 103, &up(102))), entry(2, &create("box", 102, &up(101))), entry(3, &create("box", 101, ""))];
    assert_eq!(goes(&outbox(family)), [[3], [2], [1]]);
    let pair = [entry(1, &create("box", 101, &up(102))), entry(2, &create("kind", 9, "")), entry(3, &create("box", 102, &up(101)))];
    assert_eq!(goes(&outbox(pair)), [vec![1, 3], vec![2]]);
}

#[test]
fn o1_a_row_is_deleted_after_what_referred_to_it_and_before_it_is_made_again() {
    let moved = releasing(2, &lets_go(2), &[row("box", 1)]);
    assert_eq!(goes(&outbox([entry(1, &delete("box", 1)), moved.clone()])), [[2], [1]]);
    // What refers to the row that is made again comes after that.
    let again = [entry(1, &delete("box", 1)), moved, entry(3, &create("box", 1, "")), entry(4, &create("box", 101, &up(1)))];
    assert_eq!(goes(&outbox(again)), [[2], [1], [3], [4]]);
    // A delete waits for what was made before it and refers to its row, but for nothing that only comes to refer to it.
    assert_eq!(goes(&outbox([entry(1, &delete("box", 1)), entry(2, &create("box", 101, &up(1)))])), [[1], [2]]);
    assert_eq!(goes(&outbox([parked(entry(1, &create("box", 101, &up(1)))), entry(2, &delete("box", 1))])), [[0; 0]; 0]);
}

fn restore(n: u64) -> String {
    create("box", n, "\"name\":\"a\",\"n\":0,\"up\":null").replace("create", "restore")
}

fn moves_out(seq: u64, child: u64, parent: u64) -> Entry {
    releasing(seq, &lets_go(child), &[row("box", parent)])
}

#[test]
fn o2_of_several_lives_of_a_row_each_edit_belongs_to_its_own() {
    let lives = |last: Entry| {
        outbox([
            entry(1, &create("box", 101, "")),
            entry(2, &rename(101)),
            entry(3, &delete("box", 101)),
            last,
            entry(5, &create("box", 102, &up(101))),
            moves_out(6, 102, 101),
        ])
    };
    let again = entry(4, &create("box", 101, ""));
    assert_eq!(goes(&lives(again.clone())), [[1], [2], [3], [4], [5], [6]]);
    assert_eq!(goes(&lives(parked(again))), [[1], [2], [3]]);
    // What is there is edited before it is made again, for it may be gone by then, and may be back.
    assert_eq!(goes(&outbox([entry(1, &rename(1)), entry(2, &restore(1))])), [[1], [2]]);
    assert_eq!(goes(&outbox([entry(1, &create("box", 101, &up(1))), entry(2, &restore(1))])), [[1], [2]]);
    let replaced = [entry(1, &create("box", 101, &up(1))), entry(2, &delete("box", 1)), entry(3, &create("box", 1, ""))];
    assert_eq!(goes(&outbox(replaced)), [[1], [2], [3]]);
    // In one transaction.
    let family = format!("{},{}", restore(101), create("box", 102, &up(101)));
    assert_eq!(goes(&outbox([entry(1, &family)])), [[1]]);
    let anew = format!("{},{}", delete("box", 1), create("box", 1, ""));
    assert_eq!(goes(&outbox([entry(1, &anew), moves_out(2, 2, 1)])), [[2], [1]]);
    // By another tab's clock an edit may come after the delete: that does not make the row again.
    assert_eq!(goes(&outbox([entry(1, &delete("box", 1)), entry(2, &rename(1)), moves_out(3, 2, 1)])), [[3], [1], [2]]);
}

#[test]
fn o7_what_comes_after_a_parked_one_waits_and_says_for_whom() {
    let first = parked(entry(1, &rename(1)));
    let all = outbox([first.clone(), entry(2, &rename(1)), entry(3, &rename(2)), following(4, &create("kind", 9, ""), &[2, 3])]);
    assert_eq!(goes(&all), [[3]]);
    assert_eq!(waits(&all), [(1, Wait::Parked), (2, Wait::Keys(vec![(1, 1)])), (4, Wait::Keys(vec![(1, 2)]))]);
    // A deleted row may be made again whatever became of edits to it.
    assert_eq!(goes(&outbox([first, entry(2, &create("box", 1, ""))])), [[2]]);
    let gone = outbox([parked(entry(1, &delete("box", 1))), entry(2, &create("box", 1, ""))]);
    assert!(goes(&gone).is_empty());
    // Of those that are waited for, a few are named.
    let mut many = outbox((1..=10).map(|seq| parked(entry(seq, &rename(seq)))));
    many.insert(following(11, &create("kind", 9, ""), &(1..=10).collect::<Vec<_>>()));
    assert_eq!(waits(&many).pop(), Some((11, Wait::Keys((1..=8).map(|seq| (1, seq)).collect()))));
}

#[test]
fn o1_what_refers_to_a_row_that_is_nowhere_waits_for_it() {
    let nowhere: Vec<String> = (0..10).map(|n| create("box", 10 + n, &up(200 + n))).collect();
    let mut all = outbox([entry(1, &nowhere.join(",")), entry(2, &create("box", 101, &up(1))), entry(3, &create("box", 102, &up(101)))]);
    assert_eq!(waits(&all), [(1, Wait::Rows((0..8).map(|n| row("box", 200 + n)).collect()))]);
    assert_eq!(goes(&all), [[2], [3]]);
    let lacks = |all: &Outbox, seq: u64| all.get((1, seq)).is_some_and(|entry| !all.missing(entry, &|_, _, row| !in_base(row)).is_empty());
    assert!(lacks(&all, 1) && !lacks(&all, 2) && !lacks(&all, 3) && !lacks(&all, 9));
    let parents: Vec<String> = (0..10).map(|n| create("box", 200 + n, "")).collect();
    all.insert(entry(4, &parents.join(",")));
    assert_eq!(goes(&all), [[4], [1], [2], [3]]);
}

#[test]
fn o2_what_comes_after_one_that_was_retried_comes_after_the_retry() {
    let retry = |state| Entry { was: vec![(1, 1)], state, ..entry(3, &rename(3)) };
    let all = |state| outbox([following(2, &rename(2), &[1]), retry(state)]);
    assert_eq!(goes(&all(State::Queued)), [[3], [2]]);
    let parked = State::Parked { problem: Problem::new("not_allowed", ""), spent: true };
    assert_eq!(goes(&all(parked.clone())), [[0; 0]; 0]);
    assert_eq!(waits(&all(parked)), [(3, Wait::Parked), (2, Wait::Keys(vec![(1, 3)]))]);
    assert_eq!(numbers(&all(State::Queued).with_dependents((1, 3))), [3, 2]);
    // What it stood for is here after all; or neither is, any more.
    let mut both = all(State::Queued);
    both.insert(entry(1, &rename(1)));
    assert_eq!(goes(&both), [[1], [2], [3]]);
    both.remove((1, 1));
    assert_eq!(goes(&both), [[3], [2]]);
    // It was retried elsewhere, too.
    both.insert(Entry { was: vec![(1, 1)], ..entry(4, &rename(4)) });
    assert_eq!(goes(&both), [[3], [4], [2]]);
    let too_late = State::Parked { problem: Problem::new("too_late", ""), spent: true };
    both.set_state((1, 4), too_late);
    assert_eq!(goes(&both), [[3], [2]]);
    both.remove((1, 4));
    assert_eq!(goes(&both), [[3], [2]]);
    both.remove((1, 3));
    assert_eq!(goes(&both), [[2]]);
}

#[test]
fn q2_only_what_is_saved_and_shown_goes_and_not_before_its_time() {
    let unsaved = Entry { saved: false, ..entry(1, &rename(1)) };
    let of_another_tab = Entry { slot: 7, ..entry(2, &rename(2)) };
    let offered = Entry { slot: 7, frozen: true, ..entry(3, &rename(3)) };
    let not_yet = Entry { aside_until_ms: NOW_MS + 1, ..entry(4, &rename(4)) };
    let unseen = |seq, until| Entry { unseen_until_ms: until, ..entry(seq, &rename(seq)) };
    let all = outbox([unsaved, of_another_tab, offered, not_yet, unseen(5, NOW_MS), unseen(6, NOW_MS + 1)]);
    assert_eq!(goes(&all), [[3], [5]]);
    assert_eq!(waits(&all), [(1, Wait::Saving), (2, Wait::Saving), (4, Wait::Aside), (6, Wait::Saving)]);
    assert_eq!(goes(&outbox([Entry { saved: false, frozen: true, ..entry(1, &rename(1)) }])), [[0; 0]; 0]);
}

#[test]
fn r2_what_has_failed_alone_is_tried_alone() {
    let failed = |seq| Entry { aside_until_ms: NOW_MS, ..entry(seq, &rename(seq)) };
    assert_eq!(goes(&outbox([failed(1), entry(2, &rename(2)), entry(3, &rename(3))])), [[1]]);
    assert_eq!(goes(&outbox([entry(1, &rename(1)), failed(2), entry(3, &rename(3))])), [[1], [3]]);
}

#[test]
fn r5_a_batch_keeps_to_its_bounds_and_leaves_out_what_comes_after_what_it_left() {
    let all = outbox((1..=4).map(|seq| entry(seq, &rename(seq))));
    let count = |all: &Outbox, txns, bytes| ready(all, txns, bytes, None).len();
    let size = entry(1, &rename(1)).body.len() + 64;
    assert_eq!([0, 1, 3, 4, 9].map(|txns| count(&all, txns, 1 << 20)), [1, 1, 3, 4, 4]);
    assert_eq!([1, size, 2 * size - 1, 2 * size, 3 * size, 4 * size].map(|bytes| count(&all, 9, bytes)), [1, 1, 1, 2, 3, 4]);
    // A unit of two does not fit beside two, where three may go.
    let pair = [entry(3, &create("box", 101, &up(102))), entry(4, &create("box", 102, &up(101)))];
    let with_pair = outbox([entry(1, &rename(1)), entry(2, &rename(2))].into_iter().chain(pair));
    assert_eq!([3, 4].map(|txns| count(&with_pair, txns, 1 << 20)), [2, 3]);
    // Some alone, but none before what it comes after.
    let chain = outbox([entry(1, &create("box", 101, "")), entry(2, &create("box", 102, &up(101))), entry(3, &rename(3))]);
    let only = |keys: &[Key]| ready(&chain, 9, 1 << 20, Some(keys)).iter().map(|unit| numbers(&unit.keys)).collect::<Vec<_>>();
    assert_eq!(only(&[(1, 1), (1, 3)]), [[1], [3]]);
    assert_eq!(only(&[(1, 2), (1, 3)]), [[3]]);
    assert_eq!(ready(&chain, 9, 1 << 20, None)[1], Ready { keys: vec![(1, 2)], after: vec![(1, 1)] });
}

#[test]
fn d1_what_the_server_has_applied_goes_no_more_and_holds_nobody_up() {
    let mut all = outbox([entry(1, &create("box", 101, "")), entry(2, &create("box", 102, &up(101)))]);
    all.set_state((1, 1), State::Applied { rev: 5 });
    assert_eq!(ready(&all, 9, 1 << 20, None), [Ready { keys: vec![(1, 2)], after: Vec::new() }]);
    assert!(all.get((1, 1)).unwrap().is_applied() && !all.get((1, 2)).unwrap().is_applied());
}

#[test]
fn r6_the_outbox_counts_what_it_holds() {
    let mut all = outbox([entry(1, &rename(1)), entry(2, &rename(2)), following(3, &rename(3), &[1, 2]), following(4, &rename(4), &[1])]);
    let bytes = entry(1, &rename(1)).body.len();
    assert!(!all.is_empty() && Outbox::default().is_empty());
    assert_eq!((all.len(), all.bytes()), (4, 4 * bytes));
    assert_eq!(all.counts(), Counts { queued: 4, ..Counts::default() });
    all.set_state((1, 1), State::InFlight);
    all.set_state((1, 2), State::Applied { rev: 1 });
    all.insert(parked(entry(3, &rename(3))));
    assert_eq!(all.counts(), Counts { queued: 1, in_flight: 1, applied: 1, parked: 1 });
    // The third follows nobody any more; the fourth does.
    assert!(all.is_followed((1, 1)) && !all.is_followed((1, 2)) && !all.is_followed((1, 3)));
    all.set_state((1, 1), State::Queued);
    assert_eq!(all.counts(), Counts { queued: 2, applied: 1, parked: 1, ..Counts::default() });
    assert_eq!(all.seqs_of(1).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for seq in 1..=4 {
        assert_eq!(all.remove((1, seq)).map(|entry| entry.made.key), Some((1, seq)));
        assert_eq!(all.bytes(), (4 - seq as usize) * bytes);
    }
    assert!(all.remove((1, 1)).is_none() && !all.is_followed((1, 1)));
    assert_eq!((all.len(), all.bytes(), all.counts()), (0, 0, Counts::default()));
}

#[test]
fn o2_the_outbox_knows_who_makes_and_who_deletes_a_row() {
    let all = outbox([entry(1, &create("box", 101, &up(1))), entry(2, &rename(1)), entry(3, &delete("box", 2))]);
    assert_eq!([101, 1, 2].map(|n| all.creates(row("box", n))), [true, false, false]);
    assert_eq!([101, 1, 2].map(|n| all.deletes(row("box", n))), [false, false, true]);
    assert_eq!([101, 1, 2].map(|n| all.creator_of(row("box", n)).map(|entry| entry.made.key.1)), [Some(1), None, None]);
    assert_eq!([101, 1].map(|n| all.touching(row("box", n)).count()), [1, 1]);
    assert_eq!([101, 1].map(|n| all.referring(row("box", n)).count()), [0, 1]);
}

#[test]
fn r3_a_transaction_has_with_it_all_that_cannot_do_without_it() {
    let all = [
        entry(1, &create("box", 101, "")),
        entry(2, &create("box", 102, &up(101))),
        entry(3, &rename(102)),
        following(4, &create("kind", 9, ""), &[3]),
        entry(5, &rename(7)),
        following(6, &create("kind", 8, ""), &[5]),
    ];
    let all = outbox(all);
    assert_eq!(numbers(&all.with_dependents((1, 1))), [1, 2, 3, 4]);
    assert_eq!(numbers(&all.with_dependents((1, 5))), [5, 6]);
    assert_eq!(numbers(&all.with_dependents((1, 6))), [6]);
    // What was there before is not owed to who makes it again; what comes of a creation is, to the end.
    let back = outbox([entry(1, &rename(1)), entry(2, &restore(1)), entry(3, &create("box", 101, &up(1)))]);
    assert_eq!(numbers(&back.with_dependents((1, 2))), [2, 3]);
    let lives = [
        entry(1, &create("box", 101, "")),
        entry(2, &delete("box", 101)),
        entry(3, &create("box", 101, "")),
        entry(4, &create("box", 102, &up(101))),
    ];
    assert_eq!(numbers(&outbox(lives).with_dependents((1, 1))), [1, 2, 3, 4]);
}

#[test]
fn d2_an_entry_comes_back_from_its_record_as_it_was() {
    let mut kept = following(3, &format!("{},{}", create("box", 101, &up(1)), delete("box", 2)), &[1, 2]);
    kept.releases = vec![row("box", 5), row("kind", 6)];
    (kept.was, kept.suspended, kept.unanswered, kept.upgraded) = (vec![(9, 8)], true, true, Some(7));
    for kept in [kept.clone(), parked(kept), entry(4, &rename(1))] {
        let back = Entry::from_record(&schema(), 0, &kept.to_record(&schema())).unwrap();
        let told = |entry: &Entry| {
            let Entry { made, body, edits, releases, after, was, state, suspended, unanswered, upgraded, .. } = entry.clone();
            (made, body, edits, releases, after, was, state, (suspended, unanswered, upgraded))
        };
        assert_eq!(told(&back), told(&kept));
        assert!(back.saved && back.frozen && !back.outdated && back.aside_until_ms == u64::from(kept.suspended));
    }
    assert!(Entry::from_record(&schema(), 0, "{\"made\":1}").is_none());
    let broken = entry(4, &rename(1)).to_record(&schema()).replace("update", "upset");
    assert!(Entry::from_record(&schema(), 0, &broken).is_none());
}

// ---- among tabs ----

#[test]
fn d1_what_is_shown_after_it_was_settled_is_not_there_again() {
    let mut tab = Tab::leading(&Store::default());
    tab.engine.handle_unlead(tab.now);
    tab.run();
    let late = entry(1, &create("kind", 1, ""));
    let change = format!("{{\"rev\":1,\"parts\":[{{\"actor\":9,\"changes\":[{}]}}]}}", create("kind", 1, "\"name\":\"\""));
    let base = format!("{{\"schema\":1,\"t\":\"base\",\"changes\":[{change}],\"settled\":[\"{:016x}:1\"],\"records\":[]}}", 1);
    let txns = common::shown(3, true, &late.to_record(&schema()));
    // The sending tab's word of the end overtakes the maker's of the beginning.
    tab.engine.handle_peer(tab.now, &base);
    tab.engine.handle_peer(tab.now, &txns);
    tab.run();
    assert_eq!((tab.engine.replica().view().len(), tab.engine.outbox().len()), (1, 0));
}

#[test]
fn q1_a_retry_of_what_a_closed_tab_left_is_on_disk_before_the_old_record_goes() {
    let mut tab = Tab::leading(&Store::default());
    let left = parked(entry(1, &create("kind", 1, ""))).to_record(&schema());
    tab.engine.handle_adopted(tab.now, SlotDisk { slot: 3, records: vec![left], high: Vec::new() });
    tab.run();
    tab.hold_saves = true;
    tab.engine.retry(tab.now, (1, 1)).unwrap();
    tab.run();
    let slots = |tab: &Tab| tab.held.iter().map(|held| held.0).collect::<Vec<_>>();
    assert_eq!(slots(&tab), [0], "only the new one is written");
    let (slot, save) = tab.held[0];
    tab.engine.handle_saved(tab.now, slot, save);
    tab.run();
    assert_eq!(slots(&tab), [0, 3]);
}
