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

/// Half of the seeds play in the small schema, in which more meets.
pub fn schema(seed: u64) -> Schema {
    match seed % 4 {
        2 => canvas(),
        3 => publishing(),
        _ => small(),
    }
}

pub fn small() -> Schema {
    parse(SCHEMA)
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
