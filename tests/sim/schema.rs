//! The schemas of simulated spaces: a small one with every kind of reference there is, and two real ones.

use driftline_core::schema::{Kind, Schema};

const SCHEMA: &str = r#"{"name": "sim", "version": 1, "tables": {
  "box": {
    "edits_to_deleted": "restore",
    "fields": {"name": {"type": "text", "default": ""}, "count": {"type": "counter"}},
    "references": {"parent": {"to": ["box"], "nullable": true, "on_delete": "cascade"}},
    "counts": {"boxes": {"of": "box.parent"}, "cards": {"of": "card.box"}, "from_here": {"of": "conn.from"}, "to_here": {"of": "conn.to"}}},
  "card": {
    "edits_to_deleted": "null",
    "fields": {"title": {"type": "text", "default": ""}, "x": {"type": "real", "default": 0},
      "note": {"type": "text", "nullable": true, "merge": "three_way"}, "n": {"type": "counter"},
      "labels": {"type": "set"}, "place": {"type": "position", "nullable": true}},
    "references": {"box": {"to": ["box"], "nullable": true, "on_delete": "set_null"}},
    "counts": {"from_here": {"of": "conn.from"}}},
  "conn": {
    "edits_to_deleted": "park",
    "fields": {"label": {"type": "text", "nullable": true}},
    "references": {
      "from": {"to": ["card", "box"], "on_delete": "cascade"},
      "kind": {"to": ["kind"], "on_delete": "restrict"},
      "to": {"to": ["card", "box"], "nullable": true, "on_delete": "set_null"}}},
  "kind": {"fields": {"name": {"type": "text", "default": ""}, "uses": {"type": "counter"}}, "counts": {"conns": {"of": "conn.kind"}}},
  "node": {
    "fields": {"name": {"type": "text", "default": ""}},
    "references": {"up": {"to": ["node", "box"], "on_delete": "cascade"}}},
  "person": {
    "fields": {"name": {"type": "text", "default": ""}},
    "references": {"team": {"to": ["team"], "on_delete": "cascade"}},
    "counts": {"leads": {"of": "team.lead"}}},
  "team": {
    "edits_to_deleted": "restore",
    "fields": {"name": {"type": "text", "default": ""}, "points": {"type": "counter"}},
    "references": {
      "lead": {"to": ["person"], "nullable": true, "on_delete": "set_null"},
      "rival": {"to": ["team"], "nullable": true, "on_delete": "restrict"}},
    "counts": {"people": {"of": "person.team"}, "rivals": {"of": "team.rival"}}}
}}"#;

const CANVAS: &str = include_str!("../schemas/canvas/schema.json");
const PUBLISHING: &str = include_str!("../schemas/publishing/schema.json");

/// The versions of the schema of a world. Half of the seeds play in the small one, in which more meets.
pub fn versions(seed: u64) -> Vec<Schema> {
    match seed % 4 {
        2 => vec![canvas()],
        3 => vec![publishing()],
        _ => vec![small(), renamed()],
    }
}

pub fn small() -> Schema {
    parse(SCHEMA)
}

/// Its next version. Tables and fields go by other names in the same places, so that what was made under one version can be compared with
/// what came of it under the other; whatever else an upgrade may do is for the histories of migrations.
fn renamed() -> Schema {
    let upgrades = r#""version": 2, "upgrades": [{"to": 2, "steps": [
      {"rename_table": {"from": "node", "to": "nodes"}}, {"rename": {"table": "card", "from": "title", "to": "titled"}},
      {"rename": {"table": "conn", "from": "kind", "to": "kind_of"}}]}]"#;
    let names = [("\"version\": 1", upgrades), ("\"node\"", "\"nodes\""), ("\"title\"", "\"titled\"")];
    let mut text = names.iter().fold(SCHEMA.to_string(), |text, (from, to)| text.replace(from, to));
    text = text.replace("\"kind\": {\"to\"", "\"kind_of\": {\"to\"").replace("conn.kind", "conn.kind_of");
    // The steps name things as they were.
    text = text.replace(r#"{"from": "nodes", "to""#, r#"{"from": "node", "to""#).replace(r#""from": "titled""#, r#""from": "title""#);
    parse(&text)
}

pub fn canvas() -> Schema {
    parse(CANVAS)
}

pub fn publishing() -> Schema {
    parse(PUBLISHING)
}

fn parse(text: &str) -> Schema {
    Schema::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The tables that a history plays in: some that clients hold, with those that they cannot do without.
pub fn active(schema: &Schema, mut pick: impl FnMut(u64) -> u64) -> Vec<u16> {
    let held: Vec<u16> = (0..schema.tables.len() as u16).filter(|table| !schema.tables[*table as usize].server_only).collect();
    let mut active = Vec::new();
    while active.len() < held.len().min(6) {
        let mut wanted = vec![held[pick(held.len() as u64) as usize]];
        while let Some(table) = wanted.pop() {
            if active.contains(&table) {
                continue;
            }
            active.push(table);
            for column in schema.tables[table as usize].columns.iter().filter(|column| !column.nullable) {
                if let Kind::Ref { to, .. } = &column.kind {
                    wanted.push(to[pick(to.len() as u64) as usize]);
                }
            }
        }
    }
    active
}
