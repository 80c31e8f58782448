//! Bytes as what devices say about themselves, push after push: whatever they claim, the decision stands and the rows stay sound.
//!
//! What begins as JSON does is read as pushes, one a line; everything else is taken for decisions of which pushes are made.
#![no_main]

use driftline_core::dedupe::{Ranges, Receipts, read_id};
use driftline_core::digest::Digest;
use driftline_core::json::Json;
use driftline_core::limits;
use driftline_core::problem::Problem;
use driftline_core::reconcile::mix;
use driftline_core::wire::{read_answer, read_push};
use driftline_fuzz::{RICH, made};
use driftline_tests::sim::server::Server;
use libfuzzer_sys::fuzz_target;
use std::rc::Rc;

/// After all that is in the pushes.
const NOW_MS: u64 = 2_000_000_000_000;
/// So few rows that most deletes are large ones.
const FEW_ROWS: usize = 2;
/// Revisions of one answer.
const REVISIONS: usize = 5;
const PRINCIPAL: u32 = 1;

thread_local! {
    static BEGUN: Server = {
        let mut server = Server::new(Rc::new(RICH.clone()));
        carry_out(&mut server, 0, &made::prelude());
        assert_eq!(server.space.rev, 1, "the prelude is applied");
        server
    };
}

fuzz_target!(|data: &[u8]| {
    let pushes = match std::str::from_utf8(data) {
        Ok(text) if text.starts_with(['{', '[', '"', '\n']) => {
            say_who(text);
            text.lines().map(str::to_string).collect()
        }
        _ => made::pushes(data),
    };
    let mut server = BEGUN.with(Server::clone);
    server.delete_rows = if data.len() % 2 == 0 { limits::DELETE_ROWS } else { FEW_ROWS };
    for (n, push) in (1..).zip(&pushes) {
        if push.is_empty() {
            while server.reap_step() {}
        }
        carry_out(&mut server, n, push);
    }
});

fn carry_out(server: &mut Server, n: u64, text: &str) {
    let Ok(push) = read_push(&RICH, text) else { return };
    let now_ms = NOW_MS + n;
    // A sender whose epoch is over: nothing is written.
    let Ok(mut plan) = server.decide(PRINCIPAL, &push, now_ms, mix(n)) else { return };
    server.commit(PRINCIPAL, &push, &mut plan, now_ms);
    assert!(server.findings.is_empty(), "{:?}", server.findings);
    let mut digest = Digest::default();
    server.rows.iter().for_each(|(key, row)| digest.add(&RICH, *key, row));
    assert_eq!(digest, server.space.digest);
    let answer = server.answer(PRINCIPAL, &push, &plan, REVISIONS);
    let answer = read_answer(&RICH, &answer).unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(answer.outcomes.len(), push.units.iter().map(|unit| unit.txns.len()).sum::<usize>());
}

/// Ids, receipts, ranges and problems, as they stand in messages and on disks.
fn say_who(text: &str) {
    let json = Json::parse_or_null(text);
    let mut receipts = Receipts::default();
    let is_genuine = receipts.echo(read_id(Some(&json)), 7);
    assert_eq!(is_genuine, receipts.current == Some(7), "what is not genuine changes nothing");
    if let Some(ranges) = Ranges::from_json(&json) {
        let pairs: Vec<(u64, u64)> = ranges.iter().collect();
        assert!(pairs.iter().all(|pair| 1 <= pair.0 && pair.0 <= pair.1 && ranges.contains(pair.0) && ranges.contains(pair.1)));
        assert!(pairs.windows(2).all(|two| two[0].1 + 1 < two[1].0), "{pairs:?}");
        assert_eq!(Ranges::from_json(&Json::parse_or_null(&ranges.to_json())), Some(ranges));
    }
    let problem = Problem::from_json(&json);
    assert_eq!(Problem::from_json(&Json::parse_or_null(&problem.to_json())), problem);
}
