//! A schema that grows up in four versions.

use serde_json::{Value as Json, json};

pub const LAYER: &str = "0199aaaa-bbbb-7ccc-8ddd-00000000ffff";

pub fn first() -> Json {
    let text = json!({"type": "text", "default": ""});
    json!({"name": "notes", "version": 1, "tables": {
        "box": {"fields": {"label": text}},
        "note": {
            "fields": {"title": text, "count": {"type": "text", "default": "0"}, "old": {"type": "int", "default": 5}, "labels": {"type": "set"}},
            "references": {"box": {"to": ["box"], "nullable": true, "on_delete": "set_null"}}},
        "line": {"references": {"from": {"to": ["note", "box"], "on_delete": "cascade"}}},
        "scrap": {"fields": {"x": {"type": "int", "default": 0}}, "references": {"note": {"to": ["note"], "on_delete": "cascade"}}}}})
}

/// Renamed, converted, and with a required reference to a table that is new.
pub fn third() -> Json {
    let mut schema = first();
    schema["version"] = json!(3);
    schema["upgrades"] = json!([
        {"to": 2, "steps": [
            {"rename_table": {"from": "note", "to": "card"}},
            {"rename": {"table": "card", "from": "title", "to": "name"}}, {"rename": {"table": "card", "from": "labels", "to": "tags"}}]},
        {"to": 3, "steps": [
            {"convert": {"table": "card", "field": "count", "from": "text", "to": "int", "default": -1}},
            {"add": {"table": "card", "field": "layer", "default": LAYER}}]}]);
    let tables = schema["tables"].as_object_mut().unwrap();
    let mut card = tables.remove("note").unwrap();
    let title = card["fields"].as_object_mut().unwrap().remove("title").unwrap();
    let labels = card["fields"].as_object_mut().unwrap().remove("labels").unwrap();
    card["fields"]["name"] = title;
    card["fields"]["tags"] = labels;
    card["fields"]["count"] = json!({"type": "int", "default": 0});
    card["references"]["layer"] = json!({"to": ["layer"], "on_delete": "restrict"});
    card["indexes"] = json!({"by_name": ["name", "count"]});
    tables.insert("card".into(), card);
    tables.insert("layer".into(), json!({"fields": {"name": {"type": "text", "default": "base"}}}));
    tables["line"]["references"]["from"]["to"] = json!(["card", "box"]);
    tables["scrap"]["references"]["note"]["to"] = json!(["card"]);
    schema
}

/// The same, without a field and a table.
pub fn fourth() -> Json {
    let mut schema = third();
    schema["version"] = json!(4);
    let steps = json!({"to": 4, "steps": [{"drop": {"table": "card", "field": "old"}}, {"drop_table": {"table": "scrap"}}]});
    schema["upgrades"].as_array_mut().unwrap().push(steps);
    schema["tables"].as_object_mut().unwrap().remove("scrap");
    schema["tables"]["card"]["fields"].as_object_mut().unwrap().remove("old");
    schema
}
