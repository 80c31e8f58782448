//! The server's half: any delivery of the same transactions comes to the same rows, revisions and log.

mod common;

use common::{Store, body, check, create, delete, id, push_text, schema, update};
use proptest::collection::vec;
use proptest::prelude::any;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

type Choice = (u8, u8, u8);

/// Edits over few rows, so that they meet.
fn edit(choice: &Choice) -> String {
    let (what, a, b) = *choice;
    let (a, b) = (u64::from(a % 5), u64::from(b % 5));
    match what % 12 {
        0 | 1 => create("box", 10 + a, &format!("\"up\":{}", if b == a { "null".into() } else { format!("\"{}\"", id(10 + b)) })),
        2 => create("card", 20 + a, &format!("\"box\":\"{}\"", id(10 + b))),
        3 => create("kind", 30 + a, ""),
        4 => create("conn", 40 + a, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(20 + a), id(30 + b))),
        5 => create("node", 50 + a, &format!("\"up\":{{\"box\":\"{}\"}}", id(10 + b))),
        6 => update("box", 10 + a, &format!("\"set\":{{\"up\":\"{}\"}}", id(10 + b))),
        7 => update("card", 20 + a, &format!("\"set\":{{\"x\":{b}}},\"add\":{{\"n\":{b}}}")),
        8 => update("box", 10 + a, &format!("\"add\":{{\"n\":{b}}}")),
        9 => delete("box", 10 + a),
        10 => delete("card", 20 + a),
        _ => delete("kind", 30 + a),
    }
}

fn txns(choices: &[Choice]) -> Vec<(u64, String)> {
    choices.iter().enumerate().map(|(i, choice)| (i as u64 + 1, body(1_000 + i as u64, &edit(choice)))).collect()
}

fn deliver(portions: &[&[(u64, String)]]) -> Store {
    let mut store = Store::default();
    for portion in portions {
        store.push(&schema(), &push_text(None, "[]", portion)).unwrap();
    }
    store
}

#[test]
fn d1_any_resend_in_any_split_leaves_what_one_delivery_leaves() {
    check((vec(any::<Choice>(), 1..40), vec(any::<(u8, u8)>(), 0..12)), |(choices, again)| {
        let all = txns(&choices);
        let once = deliver(&[&all]);
        let mut store = Store::default();
        let mut at = 0;
        for (size, back) in again {
            let from = at - (usize::from(back) % (at + 1));
            let to = (at + usize::from(size) % 9).min(all.len());
            store.push(&schema(), &push_text(None, "[]", &all[from..to])).unwrap();
            at = to.max(at);
        }
        store.push(&schema(), &push_text(None, "[]", &all)).unwrap();
        assert_eq!(store.essence(), once.essence());
        let repeat = store.push(&schema(), &push_text(None, "[]", &all)).unwrap();
        let outcomes = |text: &str| text.split("\"outcomes\":").nth(1).unwrap().split(",\"changes\"").next().unwrap().to_string();
        assert_eq!(outcomes(&repeat), outcomes(&deliver_answer(&all)), "the answer to a repeat is the first answer");
    });
}

fn deliver_answer(all: &[(u64, String)]) -> String {
    Store::default().push(&schema(), &push_text(None, "[]", all)).unwrap()
}

#[test]
fn d5_the_same_key_with_another_body_is_refused_and_changes_nothing() {
    let mut store = deliver(&[&[(1, body(1, &create("kind", 1, "")))]]);
    let before = store.essence();
    let answer = store.push(&schema(), &push_text(None, "[]", &[(1, body(2, &create("kind", 2, "")))])).unwrap();
    assert!(answer.contains("key_reused"));
    assert_eq!(store.essence(), before);
}

#[test]
fn d6_a_closed_key_that_the_log_does_not_know_is_unknown_and_not_applied() {
    let mut store = Store::default();
    let answer = store.push(&schema(), &push_text(None, "[[1,3]]", &[(2, body(2, &create("kind", 2, "")))])).unwrap();
    assert!(answer.contains("outcome_unknown") && store.rows.is_empty());
}

#[test]
fn i3_no_row_refers_to_a_missing_row_after_any_history() {
    check((vec(any::<Choice>(), 1..60), 1usize..20), |(choices, portion)| {
        let all = txns(&choices);
        let mut store = Store::default();
        for some in all.chunks(portion) {
            store.push(&schema(), &push_text(None, "[]", some)).unwrap();
            assert_eq!(store.orphans(), 0);
        }
        // How it was cut into requests makes no difference.
        assert_eq!(store.essence(), deliver(&[&all]).essence());
    });
}

#[test]
fn i3_a_row_moved_below_a_dying_one_in_the_same_push_takes_its_children_along() {
    let grown = [
        (1, body(1, &create("box", 1, ""))),
        (2, body(2, &create("box", 2, ""))),
        (3, body(3, &create("box", 3, &format!("\"up\":\"{}\"", id(2))))),
    ];
    let mut store = deliver(&[&grown]);
    let moved = [(4, body(4, &update("box", 2, &format!("\"set\":{{\"up\":\"{}\"}}", id(1))))), (5, body(5, &delete("box", 1)))];
    store.push(&schema(), &push_text(None, "[]", &moved)).unwrap();
    assert_eq!((store.orphans(), store.rows.len()), (0, 0));
}

#[test]
fn i4_restrict_names_the_blockers_and_changes_nothing() {
    let conn = create("conn", 4, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(2), id(3)));
    let all = [(1, body(1, &format!("{},{},{conn}", create("card", 2, ""), create("kind", 3, ""))))];
    let mut store = deliver(&[&all]);
    let before = store.essence();
    let answer = store.push(&schema(), &push_text(None, "[]", &[(2, body(2, &delete("kind", 3)))])).unwrap();
    assert!(answer.contains("\"restricted\"") && answer.contains(&id(4)), "{answer}");
    assert_eq!(store.essence(), before);
}

#[test]
fn i4_a_cascade_ends_on_a_cycle() {
    let pair = format!("{},{}", create("box", 1, &format!("\"up\":\"{}\"", id(2))), create("box", 2, &format!("\"up\":\"{}\"", id(1))));
    let mut store = deliver(&[&[(1, body(1, &pair))]]);
    assert_eq!(store.rows.len(), 2);
    store.push(&schema(), &push_text(None, "[]", &[(2, body(2, &delete("box", 1)))])).unwrap();
    assert!(store.rows.is_empty());
}

#[test]
fn i7_field_writes_and_counters_commute() {
    check(vec(any::<(u8, u8)>(), 1..20), |writes| {
        let first = (1, body(1, &create("card", 1, "")));
        let write = |(i, (at, n)): (usize, &(u8, u8))| {
            let at = 1_000 + u64::from(*at) * 100 + i as u64;
            (i as u64 + 2, body(at, &update("card", 1, &format!("\"set\":{{\"x\":{n}}},\"add\":{{\"n\":{n}}}"))))
        };
        let mut all: Vec<_> = writes.iter().enumerate().map(write).collect();
        let one = deliver(&[std::slice::from_ref(&first), &all]);
        all.reverse();
        let other = deliver(&[std::slice::from_ref(&first), &all]);
        assert_eq!(one.space.digest, other.space.digest);
    });
}

#[test]
fn o6_a_transaction_takes_effect_together_or_not_at_all() {
    let bad = format!("{},{}", create("card", 1, ""), create("card", 2, &format!("\"box\":\"{}\"", id(9))));
    let store = deliver(&[&[(1, body(1, &bad)), (2, body(2, &create("kind", 3, "")))]]);
    assert_eq!((store.rows.len(), store.space.rev), (1, 1), "r2: its neighbour is applied");
}

#[test]
fn o5_an_older_epoch_is_refused_even_with_an_old_receipt() {
    let mut store = Store::default();
    let newer = push_text(None, "[]", &[(1, body(1, &create("kind", 1, "")))]).replace("\"epoch\":1", "\"epoch\":2");
    store.push(&schema(), &newer).unwrap();
    let before = store.essence();
    let older = push_text(Some("00000000000000ff"), "[]", &[(2, body(2, &create("kind", 2, "")))]);
    assert_eq!(store.push(&schema(), &older), Err(409));
    assert_eq!(store.essence(), before);
}

/// A push of some clients, each with its receipt, and of units as they stand in a request.
fn push_of(clients: &[(u64, Option<&str>, &str)], units: &[String]) -> String {
    let clients: Vec<String> = clients
        .iter()
        .map(|(client, receipt, closed)| {
            let receipt = receipt.map_or("null".to_string(), |receipt| format!("\"{receipt}\""));
            format!("{{\"id\":\"{client:016x}\",\"receipt\":{receipt},\"closed\":{closed}}}")
        })
        .collect();
    format!("{{\"epoch\":1,\"cursor\":0,\"clients\":[{}],\"units\":[{}]}}", clients.join(","), units.join(","))
}

/// A unit of the first client's transactions, and the numbers that it comes after.
fn unit(txns: &[(u64, &str)], after: &[u64]) -> String {
    let txns: Vec<String> = txns.iter().map(|(seq, edits)| format!("{{\"key\":[0,{seq}],\"body\":{}}}", body(*seq, edits))).collect();
    let after: Vec<String> = after.iter().map(|seq| format!("[0,{seq}]")).collect();
    format!("{{\"txns\":[{}],\"after\":[{}]}}", txns.join(","), after.join(","))
}

fn answered(store: &mut Store, clients: &[(u64, Option<&str>, &str)], units: &[String]) -> serde_json::Value {
    serde_json::from_str(&store.push(&schema(), &push_of(clients, units)).unwrap()).unwrap()
}

fn outcomes(answer: &serde_json::Value) -> Vec<&str> {
    answer["outcomes"].as_array().unwrap().iter().map(|outcome| outcome["outcome"].as_str().unwrap()).collect()
}

#[test]
fn d7_each_client_has_a_number_of_its_own_and_keeps_it() {
    let mut store = Store::default();
    answered(&mut store, &[(0xa, None, "[]"), (0xb, None, "[]")], &[]);
    answered(&mut store, &[(0xb, None, "[]"), (0xc, None, "[]")], &[]);
    assert_eq!([0xa, 0xb, 0xc].map(|client| store.clients[&client].actor), [1, 2, 3]);
}

#[test]
fn d5_a_copied_profile_is_told_so_and_closes_nothing() {
    let mut store = Store::default();
    let receipt = |answer: &serde_json::Value| answer["clients"][0]["receipt"].as_str().unwrap().to_string();
    let make = |n| [unit(&[(n, &create("kind", n, ""))], &[])];
    let first = answered(&mut store, &[(0xa, None, "[[1,2]]")], &make(3));
    let second = answered(&mut store, &[(0xa, Some(&receipt(&first)), "[]")], &make(4));
    let third = answered(&mut store, &[(0xa, Some(&receipt(&second)), "[]")], &make(5));
    assert!([&first, &second, &third].iter().all(|answer| answer["clients"][0]["fork"] == false));
    let copy = answered(&mut store, &[(0xa, Some(&receipt(&first)), "[[1,9]]")], &[]);
    assert_eq!(copy["clients"][0]["fork"], true);
    assert!(store.clients[&0xa].closed.contains(2) && !store.clients[&0xa].closed.contains(9));
}

#[test]
fn o7_what_comes_after_another_takes_effect_once_that_has_and_is_held_otherwise() {
    let mut store = Store::default();
    let one = [(0xaa, None, "[]")];
    let kind = |n| create("kind", n, "");
    let refused = create("card", 1, &format!("\"box\":\"{}\"", id(9)));
    let all = [unit(&[(1, &refused)], &[]), unit(&[(2, &kind(2))], &[1]), unit(&[(3, &kind(3))], &[]), unit(&[(4, &kind(4))], &[3])];
    assert_eq!(outcomes(&answered(&mut store, &one, &all)), ["refused", "held", "applied", "applied"]);
    // A unit of which a part was refused is held; one of which a part was applied goes on.
    let rest = [unit(&[(1, &refused), (5, &kind(5))], &[]), unit(&[(3, &kind(3)), (6, &kind(6))], &[]), unit(&[(7, &kind(7))], &[8])];
    assert_eq!(outcomes(&answered(&mut store, &one, &rest)), ["refused", "held", "applied", "applied", "held"]);
    // Of what is closed the client knows the end.
    let later = [unit(&[(9, &kind(9))], &[3]), unit(&[(10, &kind(10))], &[20])];
    assert_eq!(outcomes(&answered(&mut store, &[(0xaa, None, "[[20,20]]")], &later)), ["applied", "applied"]);
}

#[test]
fn o4_of_a_refused_cycle_each_member_is_told_and_the_culprit_why() {
    let mut store = Store::default();
    let pair = [
        create("box", 1, &format!("\"up\":\"{}\"", id(2))),
        format!("{},{}", create("box", 2, ""), create("card", 3, &format!("\"box\":\"{}\"", id(9)))),
    ];
    let answer = answered(&mut store, &[(0xaa, None, "[]")], &[unit(&[(1, &pair[0]), (2, &pair[1])], &[])]);
    let codes: Vec<_> = answer["outcomes"].as_array().unwrap().iter().map(|outcome| outcome["problem"]["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["unit_refused", "missing_parent"]);
    assert!(store.rows.is_empty());
}

#[test]
fn o4_a_cycle_is_told_whole_with_its_last_member_and_each_notice_to_whom_it_concerns() {
    let mut store = Store::default();
    let clients = [(0xaa, None, "[]")];
    answered(&mut store, &clients, &[unit(&[(1, &create("card", 5, ""))], &[]), unit(&[(2, &delete("card", 5))], &[])]);
    let one = create("box", 1, &format!("\"up\":\"{}\"", id(2)));
    let other = format!("{},{}", create("box", 2, &format!("\"up\":\"{}\"", id(1))), update("card", 5, "\"set\":{\"x\":1}"));
    let answer = answered(&mut store, &clients, &[unit(&[(3, &one), (4, &other)], &[])]);
    let notices: Vec<_> =
        answer["outcomes"].as_array().unwrap().iter().map(|outcome| outcome["notices"].as_array().unwrap().len()).collect();
    assert_eq!(notices, [0, 1]);
    let parts = [2, 3].map(|at: usize| (store.log[at].0, store.log[at].1.1, store.log[at].3 == "[]"));
    assert_eq!(parts, [(3, 3, true), (3, 4, false)]);
    // Its changes interleave, so nothing of it counts as told by what was sent.
    let clean = [create("box", 6, &format!("\"up\":\"{}\"", id(7))), create("box", 7, &format!("\"up\":\"{}\"", id(6)))];
    let answer = answered(&mut store, &clients, &[unit(&[(5, &clean[0]), (6, &clean[1])], &[]), unit(&[(7, &create("kind", 8, ""))], &[])]);
    let told = answer["changes"].as_array().unwrap().iter().flat_map(|revision| revision["parts"].as_array().unwrap());
    let without: Vec<_> = told.filter(|part| part.get("changes").is_none()).collect();
    assert_eq!(without.len(), 1, "{answer}");
}

#[test]
fn i8_what_a_push_deletes_and_brings_back_is_remembered_as_it_was_left() {
    let restore = |n| create("box", n, "\"name\":\"a\",\"n\":0,\"up\":null").replace("create", "restore");
    let mut store = Store::default();
    let mut seq = 0;
    let mut push = |edits: &[String]| {
        let units: Vec<String> = edits
            .iter()
            .map(|edit| {
                seq += 1;
                unit(&[(seq, edit)], &[])
            })
            .collect();
        let text = push_of(&[(0xaa, None, "[]")], &units);
        let plan = store.decide(&schema(), &driftline_core::wire::read_push(&schema(), &text).unwrap()).unwrap();
        store.push(&schema(), &text).unwrap();
        let ids = |rows: &mut dyn Iterator<Item = String>| rows.map(|id| id[id.len() - 1..].to_string()).collect::<String>();
        let (there, gone) =
            (ids(&mut store.rows.keys().map(|row| row.id.to_string())), ids(&mut store.deleted.iter().map(|row| row.id.to_string())));
        (there, gone, plan.revived.len())
    };
    let told = |there: &str, gone: &str, revived| (there.to_string(), gone.to_string(), revived);
    assert_eq!(push(&[create("box", 1, ""), create("box", 2, "")]), told("12", "", 0));
    assert_eq!(push(&[delete("box", 1), delete("box", 2), restore(1)]), told("1", "2", 1));
    assert_eq!(push(&[delete("box", 1)]), told("", "12", 0));
    assert_eq!(push(&[restore(1), restore(2), delete("box", 1)]), told("2", "1", 1));
}

// ---- what a decision replaces ----

/// A unit of one transaction made at `made`, which replaces these numbers.
fn replacing(seq: u64, made: u64, edits: &str, replaced: &[u64]) -> String {
    let replaced: Vec<String> = replaced.iter().map(|seq| format!("[0,{seq}]")).collect();
    let body = format!("{{\"schema\":1,\"at\":[{},0],\"made\":[{made},0],\"edits\":[{edits}]}}", 100 + seq);
    format!("{{\"txns\":[{{\"key\":[0,{seq}],\"replaces\":[{}],\"body\":{body}}}],\"after\":[]}}", replaced.join(","))
}

fn codes(answer: &serde_json::Value) -> Vec<String> {
    let code = |outcome: &serde_json::Value| outcome["problem"]["code"].as_str().unwrap_or("applied").to_string();
    answer["outcomes"].as_array().unwrap().iter().map(code).collect()
}

#[test]
fn d1_what_replaces_something_that_has_taken_effect_is_refused_and_changes_nothing() {
    let (one, counts) = ([(0xaa, None, "[]")], |by: u64| update("card", 1, &format!("\"add\":{{\"n\":{by}}}")));
    for closed in ["[]", "[[2,2]]"] {
        let mut store = Store::default();
        answered(&mut store, &one, &[unit(&[(1, &create("card", 1, ""))], &[]), unit(&[(2, &counts(5))], &[])]);
        // Of what is closed the log tells.
        let receipt = answered(&mut store, &one, &[])["clients"][0]["receipt"].as_str().unwrap().to_string();
        let client = [(0xaa, Some(receipt.as_str()), closed)];
        answered(&mut store, &client, &[]);
        assert_eq!(store.marks.contains_key(&(0xaa, 2)), closed == "[]");
        let before = store.essence();
        for _ in 0..2 {
            let late = [replacing(3, 2, &counts(6), &[2]), unit(&[(4, &create("kind", 4, ""))], &[3])];
            assert_eq!(codes(&answered(&mut store, &one, &late))[0], "too_late", "closed: {closed}");
            assert_eq!(store.essence(), before);
        }
    }
    // In the same push, too; and what was refused is as good as never sent.
    let mut store = Store::default();
    let refused = replacing(2, 2, &create("card", 2, &format!("\"box\":\"{}\"", id(9))), &[]);
    let all = [replacing(1, 1, &create("kind", 1, ""), &[]), refused, replacing(3, 1, &create("kind", 3, ""), &[1])];
    assert_eq!(codes(&answered(&mut store, &one, &all)), ["applied", "missing_parent", "too_late"]);
    assert_eq!(codes(&answered(&mut store, &one, &[replacing(4, 2, &create("kind", 4, ""), &[2])])), ["applied"]);
}

#[test]
fn d1_of_two_that_replace_the_same_refused_one_the_first_takes_effect() {
    let (one, wrong) = ([(0xaa, None, "[]")], create("card", 1, &format!("\"box\":\"{}\"", id(9))));
    let (refused, retries) = (replacing(1, 1, &wrong, &[]), [2, 3].map(|seq| replacing(seq, 1, &create("kind", seq, ""), &[1])));
    let apart = [&[refused.clone()][..], &retries[..1], &retries[1..]];
    let together = [&[refused.clone(), retries[0].clone(), retries[1].clone()][..]];
    for pushes in [&apart[..], &together[..]] {
        let mut store = Store::default();
        let told: Vec<String> = pushes.iter().flat_map(|units| codes(&answered(&mut store, &one, units))).collect();
        assert_eq!(told, ["missing_parent", "applied", "too_late"]);
        assert_eq!(store.rows.len(), 1);
        assert_eq!(codes(&answered(&mut store, &one, std::slice::from_ref(&refused))), ["too_late"], "it is told what became of it");
        assert_eq!(store.marks.len(), 3);
    }
}

#[test]
fn d1_what_has_been_replaced_does_not_take_effect_when_it_comes_after_all() {
    let mut store = Store::default();
    let one = [(0xaa, None, "[]")];
    answered(&mut store, &one, &[replacing(3, 1, &create("kind", 3, ""), &[1, 2])]);
    let before = store.essence();
    let old = [unit(&[(1, &create("kind", 1, ""))], &[]), replacing(2, 1, &create("kind", 2, ""), &[1])];
    for _ in 0..2 {
        let answer = answered(&mut store, &one, &old);
        assert!(!outcomes(&answer).contains(&"applied"), "{answer}");
        assert_eq!(store.essence(), before);
    }
    // What has been refused closes nothing.
    let refused = replacing(5, 4, &create("card", 5, &format!("\"box\":\"{}\"", id(9))), &[4]);
    assert_eq!(codes(&answered(&mut store, &one, &[refused, unit(&[(4, &create("kind", 4, ""))], &[])])), ["missing_parent", "applied"]);
}

#[test]
fn d5_a_replaced_key_that_a_copy_has_used_for_something_else_is_no_obstacle() {
    let mut store = Store::default();
    let one = [(0xaa, None, "[]")];
    answered(&mut store, &one, &[unit(&[(7, &create("kind", 7, ""))], &[])]);
    assert_eq!(codes(&answered(&mut store, &one, &[replacing(8, 1, &create("kind", 8, ""), &[7])])), ["applied"]);
    assert_eq!(codes(&answered(&mut store, &one, &[unit(&[(7, &create("kind", 7, ""))], &[])])), ["applied"], "its own mark stays");
    assert_eq!(store.rows.len(), 2);
}
