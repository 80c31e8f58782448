//! The bytes of messages: requests, answers, snapshots. docs/protocol.md is their description.

use crate::dedupe::{Ranges, read_id};
use crate::digest::{Digest, body_hash};
use crate::edit::{Edit, Txn, Values};
use crate::json::Json;
use crate::limits;
use crate::load::PushKey;
use crate::problem::Problem;
use crate::reconcile::Plan;
use crate::schema::Schema;
use crate::upgrade::upgrade_revisions;
use crate::value::{Row, RowId, RowKey, parse_hex128, write_hex64, write_hex128, write_string, write_uint};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeSet;

// ---- requests ----

#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    pub epoch: u64,
    /// `None`: send no changes.
    pub cursor: Option<u64>,
    pub clients: Vec<PushClient>,
    pub units: Vec<PushUnit>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PushClient {
    pub id: u64,
    pub receipt: Option<u64>,
    pub closed: Ranges,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PushUnit {
    pub txns: Vec<PushTxn>,
    pub after: Vec<PushKey>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PushTxn {
    pub client: usize,
    pub seq: u64,
    pub hash: u128,
    /// Keys of what it was before somebody decided about it: none of these may take effect as well.
    pub replaces: Vec<PushKey>,
    /// A body that is not a transaction is refused alone, with its reason.
    pub txn: Result<Txn, Problem>,
}

/// A request that cannot be served at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    pub status: u16,
    pub code: &'static str,
    pub detail: String,
}

#[derive(Deserialize)]
struct RawPush<'a> {
    epoch: u64,
    cursor: Option<u64>,
    clients: Vec<RawClient>,
    #[serde(borrow)]
    units: Vec<RawUnit<'a>>,
}

#[derive(Deserialize)]
struct RawClient {
    id: String,
    receipt: Option<String>,
    closed: Vec<(u64, u64)>,
}

#[derive(Deserialize)]
struct RawUnit<'a> {
    #[serde(borrow)]
    txns: Vec<RawTxn<'a>>,
    after: Vec<(usize, u64)>,
}

#[derive(Deserialize)]
struct RawTxn<'a> {
    key: (usize, u64),
    #[serde(default)]
    replaces: Vec<(usize, u64)>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// Reads a reconcile request. Whatever is wrong with one transaction's body stays with that transaction.
pub fn read_push(schema: &Schema, text: &str) -> Result<Push, RequestError> {
    let raw: RawPush = serde_json::from_str(text).map_err(|e| RequestError {
        status: 400,
        code: "malformed",
        // Not in the reader's own words, which quote what it has read.
        detail: format!("the request does not read as a reconcile request, from line {}, column {} on", e.line(), e.column()),
    })?;
    let too_large = |detail: &str| RequestError { status: 413, code: "too_large", detail: detail.to_string() };
    let invalid = |detail: &str| RequestError { status: 400, code: "invalid_request", detail: detail.to_string() };
    if raw.units.iter().map(|u| u.txns.len()).sum::<usize>() > limits::PUSH_TXNS {
        return Err(too_large("a request has at most 1,000 transactions"));
    }
    if raw.clients.len() > limits::PUSH_CLIENTS {
        return Err(invalid("a request names at most 64 clients"));
    }
    if raw.epoch > i64::MAX as u64 {
        return Err(invalid("`epoch` is below 2^63"));
    }
    let mut clients: Vec<PushClient> = Vec::with_capacity(raw.clients.len());
    for client in raw.clients {
        let id = crate::value::parse_hex64(&client.id).ok_or_else(|| invalid("a client's `id` is 16 lower-case hex digits"))?;
        if clients.iter().any(|c| c.id == id) {
            return Err(invalid("a client stands in the request twice"));
        }
        let receipt =
            client.receipt.map(|r| crate::value::parse_hex64(&r).ok_or_else(|| invalid("a `receipt` is 16 lower-case hex digits")));
        let sound = |r: &(u64, u64)| r.0 >= 1 && r.0 <= r.1 && r.1 <= i64::MAX as u64;
        if client.closed.len() > limits::CLOSED_RANGES || !client.closed.iter().all(sound) {
            return Err(invalid("`closed` is a list of at most 1,000 ranges [from, to], from 1 up"));
        }
        let mut closed = Ranges::default();
        client.closed.iter().for_each(|(from, to)| closed.add(*from, *to));
        clients.push(PushClient { id, receipt: receipt.transpose()?, closed });
    }
    let known = |key: &PushKey| key.0 < clients.len() && key.1 >= 1 && key.1 <= i64::MAX as u64;
    let mut units = Vec::with_capacity(raw.units.len());
    for unit in raw.units {
        if unit.txns.is_empty() || unit.after.len() > limits::AFTER_KEYS {
            return Err(invalid("a unit has a transaction, and `after` at most 1,000 keys"));
        }
        if unit.txns.iter().any(|txn| txn.replaces.len() > limits::REPLACED_KEYS) {
            return Err(invalid("`replaces` has at most 8 keys"));
        }
        if !unit.after.iter().all(known) || !unit.txns.iter().all(|t| known(&t.key) && t.replaces.iter().all(known)) {
            return Err(invalid("a key is [index into `clients`, sequence number from 1 up]"));
        }
        let mut keys = BTreeSet::new();
        if !unit.txns.iter().all(|txn| keys.insert(txn.key)) {
            return Err(invalid("a key stands in a unit twice"));
        }
        let txns = unit.txns.into_iter().map(|txn| {
            let body = txn.body.get();
            let (client, seq) = txn.key;
            PushTxn { client, seq, hash: body_hash(body), replaces: txn.replaces, txn: Txn::parse(schema, body) }
        });
        units.push(PushUnit { txns: txns.collect(), after: unit.after });
    }
    Ok(Push { epoch: raw.epoch, cursor: raw.cursor, clients, units })
}

/// What a sender puts into a request; bodies go in as they are.
pub struct PushText<'a> {
    pub epoch: u64,
    pub cursor: Option<u64>,
    pub clients: &'a [PushClient],
    pub units: Vec<UnitText<'a>>,
}

pub struct UnitText<'a> {
    pub txns: Vec<TxnText<'a>>,
    pub after: Vec<PushKey>,
}

pub struct TxnText<'a> {
    pub key: PushKey,
    pub replaces: Vec<PushKey>,
    pub body: &'a str,
}

impl PushText<'_> {
    pub fn to_json(&self) -> String {
        let mut out = String::from("{\"epoch\":");
        write_uint(self.epoch, &mut out);
        out.push_str(",\"cursor\":");
        match self.cursor {
            Some(cursor) => write_uint(cursor, &mut out),
            None => out.push_str("null"),
        }
        out.push_str(",\"clients\":[");
        for (i, client) in self.clients.iter().enumerate() {
            out.push_str(if i > 0 { ",{\"id\":\"" } else { "{\"id\":\"" });
            write_hex64(client.id, &mut out);
            out.push_str("\",\"receipt\":");
            write_receipt(client.receipt, &mut out);
            out.push_str(",\"closed\":");
            client.closed.write_json(&mut out);
            out.push('}');
        }
        out.push_str("],\"units\":[");
        for (i, unit) in self.units.iter().enumerate() {
            out.push_str(if i > 0 { ",{\"txns\":[" } else { "{\"txns\":[" });
            for (j, txn) in unit.txns.iter().enumerate() {
                out.push_str(if j > 0 { ",{\"key\":" } else { "{\"key\":" });
                write_key(txn.key, &mut out);
                if !txn.replaces.is_empty() {
                    out.push_str(",\"replaces\":");
                    write_keys(&txn.replaces, &mut out);
                }
                out.push_str(",\"body\":");
                out.push_str(txn.body);
                out.push('}');
            }
            out.push_str("],\"after\":");
            write_keys(&unit.after, &mut out);
            out.push('}');
        }
        out.push_str("]}");
        out
    }
}

fn write_keys(keys: &[PushKey], out: &mut String) {
    out.push('[');
    for (i, key) in keys.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_key(*key, out);
    }
    out.push(']');
}

fn write_key(key: PushKey, out: &mut String) {
    out.push('[');
    write_uint(key.0 as u64, out);
    out.push(',');
    write_uint(key.1, out);
    out.push(']');
}

pub fn write_receipt(receipt: Option<u64>, out: &mut String) {
    match receipt {
        Some(receipt) => {
            out.push('"');
            write_hex64(receipt, out);
            out.push('"');
        }
        None => out.push_str("null"),
    }
}

// ---- answers ----

/// A row of the log as a store reads it for one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow {
    pub rev: u64,
    pub actor: u32,
    /// Client, sequence number and the hash of the body, where the principal made it.
    pub own: Option<(u64, u64, u128)>,
    /// A JSON array of changes.
    pub changes: String,
}

/// Writes the `changes` of an answer or of a live message. `as_sent` tells which own parts may go without their content.
pub fn write_changes(rows: &[ChangeRow], as_sent: impl Fn(u64, u64) -> bool, out: &mut String) {
    out.push('[');
    let mut last = None;
    for row in rows {
        if last == Some(row.rev) {
            out.push(',');
        } else {
            out.push_str(if last.is_some() { "]},{\"rev\":" } else { "{\"rev\":" });
            write_uint(row.rev, out);
            out.push_str(",\"parts\":[");
            last = Some(row.rev);
        }
        out.push_str("{\"actor\":");
        write_uint(u64::from(row.actor), out);
        let as_sent = row.own.is_some_and(|(client, seq, _)| as_sent(client, seq));
        if let Some((client, seq, hash)) = row.own {
            out.push_str(",\"key\":[\"");
            write_hex64(client, out);
            out.push_str("\",");
            write_uint(seq, out);
            out.push(']');
            if !as_sent {
                out.push_str(",\"hash\":\"");
                write_hex128(hash, out);
                out.push('"');
            }
        }
        if !as_sent {
            out.push_str(",\"changes\":");
            out.push_str(&row.changes);
        }
        out.push('}');
    }
    out.push_str(if last.is_some() { "]}]" } else { "]" });
}

/// Writes the answer to a push. `changes` are the log's rows after the push's cursor.
pub fn write_answer(schema: &Schema, push: &Push, plan: &Plan, changes: &[ChangeRow], more: bool, reload: bool) -> String {
    let mut out = head(schema, plan.space.rev);
    out.push_str(if more { ",\"more\":true" } else { ",\"more\":false" });
    if !more && !reload && !plan.unsettled {
        out.push_str(",\"digest\":\"");
        write_hex128(plan.space.digest.0, &mut out);
        out.push('"');
    }
    out.push_str(if reload { ",\"reload\":true" } else { ",\"reload\":false" });
    out.push_str(",\"clients\":[");
    for (i, client) in push.clients.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"id\":\"" } else { "{\"id\":\"" });
        write_hex64(client.id, &mut out);
        out.push_str("\",\"receipt\":");
        write_receipt(plan.clients[i].receipts.current, &mut out);
        out.push_str(if plan.forks[i] { ",\"fork\":true}" } else { ",\"fork\":false}" });
    }
    out.push_str("],\"outcomes\":[");
    for (i, (key, outcome)) in plan.outcomes.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"key\":" } else { "{\"key\":" });
        write_key(*key, &mut out);
        out.push(',');
        out.push_str(outcome);
        out.push('}');
    }
    out.push_str("],\"changes\":");
    let index = |client: u64| push.clients.iter().position(|c| c.id == client);
    write_changes(changes, |client, seq| index(client).is_some_and(|i| plan.as_sent.contains(&(i, seq))), &mut out);
    out.push('}');
    out
}

/// Writes a message of a live connection: everything up to a revision.
pub fn write_live(schema: &Schema, rev: u64, changes: &[ChangeRow]) -> String {
    let mut out = head(schema, rev);
    out.push_str(",\"changes\":");
    write_changes(changes, |_, _| false, &mut out);
    out.push('}');
    out
}

/// How everything with a revision begins.
fn head(schema: &Schema, rev: u64) -> String {
    let mut out = String::from("{\"schema\":");
    write_uint(u64::from(schema.version), &mut out);
    out.push_str(",\"rev\":");
    write_uint(rev, &mut out);
    out
}

/// The version of the schema in which something speaks; the reader's, where it does not say.
pub fn version(schema: &Schema, json: &Json) -> u32 {
    json.uint("schema").map_or(schema.version, |version| version as u32)
}

#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The server's version. Where it is newer than the reader's, `changes` are left out: they cannot be read.
    pub schema: u32,
    pub rev: u64,
    pub more: bool,
    pub digest: Option<Digest>,
    pub reload: bool,
    pub clients: Vec<AnswerClient>,
    pub outcomes: Vec<(PushKey, Outcome)>,
    pub changes: Vec<Revision>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AnswerClient {
    pub id: u64,
    pub receipt: Option<u64>,
    pub fork: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Applied { rev: u64, notices: Vec<Problem> },
    Refused(Problem),
    Held,
    Unknown(Problem),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    pub rev: u64,
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub actor: u32,
    pub key: Option<(u64, u64)>,
    /// Of the body that the key stands for, beside `changes`.
    pub hash: Option<u128>,
    /// `None`: exactly as sent.
    pub changes: Option<Vec<Edit>>,
}

/// Reads an answer; `None` where it is not one: then it counts as no answer at all.
pub fn read_answer(schema: &Schema, text: &str) -> Option<Answer> {
    let mut json = Json::parse_or_null(text);
    let changes = json.take("changes")?;
    let version = version(schema, &json);
    let mut answer = Answer {
        schema: version,
        rev: json.uint("rev")?,
        more: json.get("more")?.as_bool()?,
        digest: json.text("digest").and_then(parse_hex128).map(Digest),
        reload: json.get("reload")?.as_bool()?,
        clients: Vec::new(),
        outcomes: Vec::new(),
        changes: if version > schema.version { Vec::new() } else { read_revisions(schema, version, changes)? },
    };
    for client in json.get("clients")?.as_list()? {
        let receipt = read_id(client.get("receipt"));
        answer.clients.push(AnswerClient { id: read_id(client.get("id"))?, receipt, fork: client.get("fork")?.as_bool()? });
    }
    for outcome in json.get("outcomes")?.as_list()? {
        let key = outcome.get("key")?;
        answer.outcomes.push(((key.at(0)?.as_u64()? as usize, key.at(1)?.as_u64()?), read_outcome(outcome)?));
    }
    Some(answer)
}

fn read_outcome(json: &Json) -> Option<Outcome> {
    let problem = json.get("problem").map(Problem::from_json);
    Some(match json.text("outcome")? {
        "applied" => {
            let mut notices = Vec::new();
            for notice in json.get("notices")?.as_list()? {
                notices.push(Problem::from_json(notice));
            }
            Outcome::Applied { rev: json.uint("rev")?, notices }
        }
        "refused" => Outcome::Refused(problem?),
        "held" => Outcome::Held,
        "unknown" => Outcome::Unknown(problem?),
        _ => return None,
    })
}

/// Reads the changes that a version not newer than the reader's has written.
pub fn read_revisions(schema: &Schema, version: u32, changes: Json) -> Option<Vec<Revision>> {
    match version < schema.version {
        true => read_changes(schema, &upgrade_revisions(schema, version, changes).ok()?),
        false => read_changes(schema, &changes),
    }
}

pub fn read_changes(schema: &Schema, json: &Json) -> Option<Vec<Revision>> {
    let mut revisions = Vec::new();
    for revision in json.as_list()? {
        let mut parts = Vec::new();
        for part in revision.get("parts")?.as_list()? {
            let changes = match part.get("changes") {
                None => None,
                Some(list) => {
                    let mut changes = Vec::new();
                    for change in list.as_list()? {
                        changes.push(Edit::read(schema, change, Values::Final).ok()?);
                    }
                    Some(changes)
                }
            };
            let (key, hash) = (part.get("key").and_then(read_pair), part.text("hash").and_then(parse_hex128));
            parts.push(Part { actor: part.uint("actor")? as u32, key, hash, changes });
        }
        revisions.push(Revision { rev: revision.uint("rev")?, parts });
    }
    Some(revisions)
}

/// Reads `[client, seq]`.
pub(crate) fn read_pair(json: &Json) -> Option<(u64, u64)> {
    Some((read_id(json.at(0))?, json.at(1)?.as_u64()?))
}

// ---- snapshots, also the form of the base on a client's disk ----

/// The first line of a snapshot.
pub fn write_snapshot_head(schema: &Schema, rev: u64, digest: Digest, rows: usize) -> String {
    let mut out = head(schema, rev);
    out.push_str(",\"digest\":\"");
    write_hex128(digest.0, &mut out);
    out.push_str("\",\"rows\":");
    write_uint(rows as u64, &mut out);
    out.push_str("}\n");
    out
}

/// Writes one line with rows of one table, line feed included.
pub fn write_rows<'a>(schema: &Schema, table: u16, rows: impl Iterator<Item = (RowId, &'a Row)>, out: &mut String) {
    let columns = &schema.tables[table as usize].columns;
    out.push_str("{\"table\":");
    write_string(&schema.tables[table as usize].name, out);
    out.push_str(",\"columns\":[");
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(&column.name, out);
    }
    out.push_str("],\"rows\":[");
    for (i, (id, row)) in rows.enumerate() {
        out.push_str(if i > 0 { ",[\"" } else { "[\"" });
        id.write(out);
        out.push('"');
        for (column, value) in columns.iter().zip(&row.values) {
            out.push(',');
            value.write_json(schema, column, out);
        }
        out.push(']');
    }
    out.push_str("]}\n");
}

pub const SNAPSHOT_END: &str = "{\"end\":true}\n";

/// Reads one line of rows. Columns that the schema lacks are passed over; missing ones take their defaults.
pub fn read_rows(schema: &Schema, line: &str) -> Option<Vec<(RowKey, Row)>> {
    let json = Json::parse(line).ok()?;
    let table = schema.table(json.text("table")?)?;
    let columns = &schema.tables[table as usize].columns;
    let names = json.get("columns")?.as_list()?;
    let mut places = Vec::with_capacity(columns.len());
    for column in columns {
        places.push(names.iter().position(|name| name.as_str() == Some(&column.name)));
    }
    let mut rows = Vec::new();
    for cells in json.get("rows")?.as_list()? {
        let id = RowId::parse(cells.at(0)?.as_str()?)?;
        let mut values = Vec::with_capacity(columns.len());
        for (column, place) in columns.iter().zip(&places) {
            values.push(match place {
                Some(place) => column.read(Some(schema), cells.at(place + 1)?).ok()?,
                None => column.default.clone()?,
            });
        }
        rows.push((RowKey { table, id }, Row::of(values)));
    }
    Some(rows)
}

/// A whole snapshot.
#[derive(Debug)]
pub struct Snapshot {
    pub rev: u64,
    pub digest: Digest,
    pub rows: Vec<(RowKey, Row)>,
}

/// The version of the schema in which a snapshot is written.
pub fn snapshot_version(schema: &Schema, text: &str) -> u32 {
    version(schema, &Json::parse_or_null(text.lines().next().unwrap_or("")))
}

/// Reads a snapshot; `None` where it is cut off or broken.
pub fn read_snapshot(schema: &Schema, text: &str) -> Option<Snapshot> {
    read_lines(schema, &mut text.strip_suffix(SNAPSHOT_END)?.lines().map(Cow::Borrowed))
}

/// The same of what a client has on its disk: a line in each record, and no last one.
pub fn read_base(schema: &Schema, records: Vec<String>) -> Option<Snapshot> {
    read_lines(schema, &mut records.into_iter().map(Cow::Owned))
}

fn read_lines<'a>(schema: &Schema, lines: &mut dyn Iterator<Item = Cow<'a, str>>) -> Option<Snapshot> {
    let head = lines.next()?;
    let head = Json::parse(&head).ok()?;
    let (rev, count) = (head.uint("rev")?, head.uint("rows")?);
    let digest = Digest(parse_hex128(head.text("digest")?)?);
    let mut rows = Vec::new();
    for line in lines {
        rows.extend(read_rows(schema, &line)?);
    }
    (rows.len() as u64 == count).then_some(Snapshot { rev, digest, rows })
}
