//! The schema of the simulated space: every kind of reference there is.

use driftline_core::schema::Schema;

const SCHEMA: &str = r#"{"name": "sim", "version": 1, "tables": {
  "box": {
    "fields": {"name": {"type": "text", "default": ""}, "count": {"type": "counter"}},
    "references": {"parent": {"to": ["box"], "nullable": true, "on_delete": "cascade"}}},
  "card": {
    "fields": {"title": {"type": "text", "default": ""}, "x": {"type": "real", "default": 0},
      "note": {"type": "text", "nullable": true}, "n": {"type": "counter"}},
    "references": {"box": {"to": ["box"], "nullable": true, "on_delete": "set_null"}}},
  "conn": {
    "edits_to_deleted": "park",
    "fields": {"label": {"type": "text", "nullable": true}},
    "references": {
      "from": {"to": ["card", "box"], "on_delete": "cascade"},
      "kind": {"to": ["kind"], "on_delete": "restrict"},
      "to": {"to": ["card", "box"], "nullable": true, "on_delete": "set_null"}}},
  "kind": {"fields": {"name": {"type": "text", "default": ""}, "uses": {"type": "counter"}}},
  "node": {
    "fields": {"name": {"type": "text", "default": ""}},
    "references": {"up": {"to": ["node", "box"], "on_delete": "cascade"}}},
  "person": {
    "fields": {"name": {"type": "text", "default": ""}},
    "references": {"team": {"to": ["team"], "on_delete": "cascade"}}},
  "team": {
    "fields": {"name": {"type": "text", "default": ""}, "points": {"type": "counter"}},
    "references": {
      "lead": {"to": ["person"], "nullable": true, "on_delete": "set_null"},
      "rival": {"to": ["team"], "nullable": true, "on_delete": "restrict"}}}
}}"#;

pub fn schema() -> Schema {
    Schema::parse(SCHEMA).unwrap_or_else(|error| panic!("{error}"))
}
