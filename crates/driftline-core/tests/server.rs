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
