//! Bytes as messages: whatever they are, reading them is no harm, and what is read says the same once it has been written again.
#![no_main]

use driftline_core::edit::{Edit, Values};
use driftline_core::json::Json;
use driftline_core::limits;
use driftline_core::problem::Problem;
use driftline_core::upgrade::upgrade_snapshot;
use driftline_core::wire::{
    Push, PushText, PushTxn, SNAPSHOT_END, TxnText, UnitText, read_answer, read_changes, read_push, read_snapshot, snapshot_version,
    write_rows, write_snapshot_head,
};
use driftline_fuzz::RICH;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        push(text);
        changes(text);
        snapshot(text);
    }
});

fn push(text: &str) {
    let Ok(push) = read_push(&RICH, text) else { return };
    let bodies: Vec<String> = push.units.iter().flat_map(|unit| &unit.txns).map(body).collect();
    // Numbers and defaults may take more room than they did.
    if bodies.iter().any(|body| body.len() > limits::TXN_BYTES) {
        return;
    }
    let mut bodies = bodies.iter();
    let mut units = Vec::new();
    for unit in &push.units {
        let txns = unit.txns.iter().map(|txn| {
            let body = bodies.next().map_or("", String::as_str);
            TxnText { key: (txn.client, txn.seq), replaces: txn.replaces.clone(), body }
        });
        units.push(UnitText { txns: txns.collect(), after: unit.after.clone() });
    }
    let written = PushText { epoch: push.epoch, cursor: push.cursor, clients: &push.clients, units }.to_json();
    let again = read_push(&RICH, &written).unwrap_or_else(|error| panic!("{error:?}: {written}"));
    assert_eq!(said(again), said(push));
}

/// What is no transaction is no other one for being written as `null`.
fn body(txn: &PushTxn) -> String {
    txn.txn.as_ref().map_or("null".to_string(), |said| said.to_body(&RICH, said.at.0))
}

/// All but the hashes, which are of the very bytes, and the reasons of refusals.
fn said(mut push: Push) -> Push {
    for txn in push.units.iter_mut().flat_map(|unit| &mut unit.txns) {
        txn.hash = 0;
        if txn.txn.is_err() {
            txn.txn = Err(Problem::new("", ""));
        }
    }
    push
}

/// What a server has to say, in an answer, in a live message and in the tail on a client's disk.
fn changes(text: &str) {
    let answered = read_answer(&RICH, text).map(|answer| answer.changes);
    let told = read_changes(&RICH, &Json::parse_or_null(text));
    for revision in [answered, told].into_iter().flatten().flatten() {
        for edit in revision.parts.iter().flat_map(|part| part.changes.iter().flatten()) {
            let mut out = String::new();
            edit.write_json(&RICH, &mut out);
            let json = Json::parse(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
            assert_eq!(Edit::read(&RICH, &json, Values::Final).as_ref(), Ok(edit));
        }
    }
}

fn snapshot(text: &str) {
    let version = snapshot_version(&RICH, text);
    let is_old = version < RICH.version;
    let read = if is_old { upgrade_snapshot(&RICH, version, text) } else { read_snapshot(&RICH, text) };
    let Some(snapshot) = read else { return };
    let mut written = write_snapshot_head(&RICH, snapshot.rev, snapshot.digest, snapshot.rows.len());
    for (key, row) in &snapshot.rows {
        write_rows(&RICH, key.table, std::iter::once((key.id, row)), &mut written);
    }
    written.push_str(SNAPSHOT_END);
    let again = read_snapshot(&RICH, &written).unwrap_or_else(|| panic!("{written}"));
    assert_eq!((again.rev, again.digest, again.rows), (snapshot.rev, snapshot.digest, snapshot.rows));
}
