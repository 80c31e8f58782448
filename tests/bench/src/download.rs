//! A first load of a space of 10,000 cards and 10,000 connections: from sending the request until the last byte is there, which nobody
//! parses. What counts is the time that all but one in twenty stay below.
//!
//! The limit reads the same rows from the same database by prepared statements, in one transaction, and writes them as the same JSON:
//! byte for byte, line for line.

use crate::figure::Figure;
use crate::server::{Client, Server};
use crate::work::Chance;
use driftline_core::value::{RowId, write_int, write_real, write_string};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde_json::{Value as Json, json};
use std::time::Instant;

const REPEATS: usize = 5;
/// Of a repeat.
const DOWNLOADS: usize = 30;
const CARDS: usize = 10_000;
const CONNECTIONS: usize = 10_000;
const TYPES: usize = 20;
const ROWS: usize = CARDS + CONNECTIONS + TYPES;
/// Of a transaction, and of a push.
const EDITS: usize = 1_000;
const UNITS: usize = 5;
/// Rows of a line, as the server cuts them.
const LINE_ROWS: usize = 500;

/// How a column stands in the answer.
#[derive(Clone, Copy)]
enum Form {
    Text,
    /// Text that is JSON already.
    Json,
    Real,
    Int,
    Bool,
    Id,
    /// A row of one of several tables, with a column for each in the database.
    IdOf(&'static [&'static str]),
}

struct Table {
    name: &'static str,
    /// In the order in which they stand in the answer, and in the database.
    columns: &'static [(&'static str, Form)],
}

const ITEMS: Form = Form::IdOf(&["card", "box", "list"]);
const TABLES: [Table; 3] = [
    Table { name: "connection_type", columns: &[("color", Form::Text), ("name", Form::Text)] },
    Table {
        name: "card",
        columns: &[
            ("background_color", Form::Text),
            ("counter_value", Form::Int),
            ("frame", Form::Json),
            ("height", Form::Real),
            ("is_locked", Form::Bool),
            ("labels", Form::Json),
            ("list_position", Form::Text),
            ("name", Form::Text),
            ("name_conflict", Form::Json),
            ("resize_width", Form::Real),
            ("tilt", Form::Real),
            ("width", Form::Real),
            ("x", Form::Real),
            ("y", Form::Real),
            ("z", Form::Int),
            ("link_to_card", Form::Id),
            ("list", Form::Id),
        ],
    },
    Table {
        name: "connection",
        columns: &[
            ("control_point", Form::Json),
            ("direction_is_visible", Form::Bool),
            ("label", Form::Text),
            ("path", Form::Text),
            ("connection_type", Form::Id),
            ("end_item", ITEMS),
            ("start_item", ITEMS),
        ],
    },
];

impl Table {
    fn select(&self) -> String {
        let slots = |(name, form): &(&str, Form)| match form {
            Form::IdOf(tables) => tables.iter().map(|table| format!("\"{name}_{table}\"")).collect::<Vec<String>>(),
            _ => vec![format!("\"{name}\"")],
        };
        let slots: Vec<String> = self.columns.iter().flat_map(slots).collect();
        format!("SELECT id, {} FROM \"{}\" WHERE space = ?1", slots.join(", "), self.name)
    }

    /// How each line begins.
    fn head(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| format!("\"{}\"", column.0)).collect();
        format!("{{\"table\":\"{}\",\"columns\":[{}],\"rows\":[", self.name, columns.join(","))
    }

    /// Writes all rows of a space, and says how many there are.
    fn write(&self, conn: &Connection, space: i64, out: &mut String) -> rusqlite::Result<usize> {
        let mut statement = conn.prepare_cached(&self.select())?;
        let (head, mut count) = (self.head(), 0);
        let mut rows = statement.query([space])?;
        while let Some(row) = rows.next()? {
            match count % LINE_ROWS {
                0 => {
                    out.push_str(if count > 0 { "]}\n" } else { "" });
                    out.push_str(&head);
                }
                _ => out.push(','),
            }
            count += 1;
            self.write_row(row, out)?;
        }
        if count > 0 {
            out.push_str("]}\n");
        }
        Ok(count)
    }

    fn write_row(&self, row: &Row, out: &mut String) -> rusqlite::Result<()> {
        out.push('[');
        write_id(row.get_ref(0)?.as_blob()?, out);
        let mut at = 1;
        for (_, form) in self.columns {
            out.push(',');
            if let Form::IdOf(tables) = form {
                for (table, slot) in tables.iter().zip(at..) {
                    if let ValueRef::Blob(id) = row.get_ref(slot)? {
                        out.push_str("{\"");
                        out.push_str(table);
                        out.push_str("\":");
                        write_id(id, out);
                        out.push('}');
                    }
                }
                at += tables.len();
            } else {
                write_value(row.get_ref(at)?, *form, out)?;
                at += 1;
            }
        }
        out.push(']');
        Ok(())
    }
}

fn write_id(bytes: &[u8], out: &mut String) {
    out.push('"');
    RowId(u128::from_be_bytes(bytes.try_into().expect("an id has 16 bytes"))).write(out);
    out.push('"');
}

fn write_value(value: ValueRef, form: Form, out: &mut String) -> rusqlite::Result<()> {
    match (value, form) {
        (ValueRef::Null, _) => out.push_str("null"),
        (_, Form::Text) => write_string(value.as_str()?, out),
        (_, Form::Json) => out.push_str(value.as_str()?),
        (_, Form::Real) => write_real(value.as_f64()?, out),
        (_, Form::Int) => write_int(value.as_i64()?, out),
        (_, Form::Bool) => out.push_str(if value.as_i64()? != 0 { "true" } else { "false" }),
        (_, Form::Id | Form::IdOf(_)) => write_id(value.as_blob()?, out),
    }
    Ok(())
}

/// The limit: all lines with rows, of one moment, and how many rows.
fn read_raw(conn: &Connection, space: &str) -> rusqlite::Result<(String, usize)> {
    conn.execute_batch("BEGIN")?;
    let number = conn.prepare_cached("SELECT id FROM _space WHERE name = ?1")?.query_row([space], |row| row.get(0))?;
    let (mut out, mut count) = (String::new(), 0);
    for table in &TABLES {
        count += table.write(conn, number, &mut out)?;
    }
    conn.execute_batch("COMMIT")?;
    Ok((out, count))
}

fn color(chance: &mut Chance) -> String {
    format!("#{:06x}", chance.below(1 << 24))
}

fn rows() -> Vec<Json> {
    let mut chance = Chance::new(10);
    let ids: Vec<String> = (0..ROWS).map(|n| chance.id(n as u64)).collect();
    let (types, others) = ids.split_at(TYPES);
    let (cards, connections) = others.split_at(CARDS);
    let mut edits = Vec::with_capacity(ROWS);
    for (n, id) in types.iter().enumerate() {
        let set = json!({"name": format!("type {n}"), "color": color(&mut chance)});
        edits.push(json!({"op": "create", "table": "connection_type", "id": id, "set": set}));
    }
    for id in cards {
        let words = 2 + chance.below(9);
        let mut half_pixels = || chance.below(20_000) as f64 / 2.0;
        let (x, y) = (half_pixels(), half_pixels());
        let set = json!({"name": chance.words(words), "x": x, "y": y, "background_color": color(&mut chance)});
        edits.push(json!({"op": "create", "table": "card", "id": id, "set": set}));
    }
    for id in connections {
        let (start, end) = (&cards[chance.below(CARDS)], &cards[chance.below(CARDS)]);
        let path = format!("m{},{} q90,40 200,0", chance.below(10_000), chance.below(10_000));
        let kind = &types[chance.below(TYPES)];
        let set = json!({"start_item": {"card": start}, "end_item": {"card": end}, "connection_type": kind, "path": path});
        edits.push(json!({"op": "create", "table": "connection", "id": id, "set": set}));
    }
    edits
}

fn fill(client: &mut Client) {
    let units: Vec<Json> = rows().chunks(EDITS).map(|edits| client.unit(edits.to_vec())).collect();
    units.chunks(UNITS).for_each(|units| client.push("a", units));
}

/// The answer has the rows that it says, and they are those of the limit.
fn check(answer: &[u8], (raw, count): &(String, usize)) {
    let text = std::str::from_utf8(answer).expect("an answer is text");
    let mut lines: Vec<&str> = text.lines().collect();
    let head: Json = serde_json::from_str(lines.remove(0)).expect("the first line is JSON");
    assert_eq!(lines.pop(), Some("{\"end\":true}"), "the answer is whole");
    assert_eq!((head["rows"].as_u64(), *count), (Some(ROWS as u64), ROWS), "all rows are there");
    let mut raw: Vec<&str> = raw.lines().collect();
    // Tables may come in another order.
    lines.sort_unstable();
    raw.sort_unstable();
    assert!(lines == raw, "the same rows, in the same form");
}

/// What all but one in twenty stay below.
fn p95(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() * 95).div_ceil(100) - 1]
}

pub fn run() -> Vec<Figure> {
    let server = Server::start("canvas");
    let mut client = server.connect();
    fill(&mut client);
    let conn = server.database();
    let read = || read_raw(&conn, "a").expect("rows that can be read");
    // Both have begun once before it counts.
    check(&client.download("/v1/spaces/a/snapshot"), &read());
    let (mut downloads, mut raws) = (Vec::new(), Vec::new());
    for repeat in 0..REPEATS {
        let (mut times, mut raw_times) = (Vec::new(), Vec::new());
        for _ in 0..DOWNLOADS {
            let began = Instant::now();
            let answer = client.download("/v1/spaces/a/snapshot");
            times.push(began.elapsed().as_secs_f64());
            let began = Instant::now();
            let raw = read();
            raw_times.push(began.elapsed().as_secs_f64());
            check(&answer, &raw);
        }
        downloads.push(p95(times));
        raws.push(p95(raw_times));
        let (time, raw) = (downloads[repeat] * 1e3, raws[repeat] * 1e3);
        eprintln!("  {} of {REPEATS}: {time:.1} ms at p95; {raw:.1} ms for the limit", repeat + 1);
    }
    let name = "B10 download of 10,000 cards and 10,000 connections, p95 of 30; limit: the same rows read and serialised";
    vec![Figure::of_times(name, &downloads, &raws, 2.0)]
}
