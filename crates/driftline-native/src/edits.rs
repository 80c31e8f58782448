//! What a transaction is made of.

use serde_json::{Value, json};

/// Edits that take effect together or not at all. What they mean is in `docs/protocol.md`, "A transaction".
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits {
    edits: Vec<Value>,
    after: Vec<String>,
}

impl Edits {
    pub fn new() -> Edits {
        Edits::default()
    }

    /// Makes a row. `id` is new ([`crate::new_id`]); `set` is an object of fields and references, and what it leaves out takes its default.
    pub fn create(self, table: &str, id: &str, set: Value) -> Edits {
        self.edit(json!({"op": "create", "table": table, "id": id, "set": set}))
    }

    /// Sets fields and references of a row. `null` is a value.
    pub fn update(self, table: &str, id: &str, set: Value) -> Edits {
        self.edit(json!({"op": "update", "table": table, "id": id, "set": set}))
    }

    /// Adds to counters of a row: `by` is an object of counters and whole numbers.
    pub fn add(self, table: &str, id: &str, by: Value) -> Edits {
        self.edit(json!({"op": "update", "table": table, "id": id, "add": by}))
    }

    /// Deletes a row, with what the schema says of those that refer to it.
    pub fn delete(self, table: &str, id: &str) -> Edits {
        self.edit(json!({"op": "delete", "table": table, "id": id}))
    }

    /// An edit as the protocol has it, such as `{"op": "update", "table", "id", "text": {…}, "insert": {…}}`.
    pub fn edit(mut self, edit: Value) -> Edits {
        self.edits.push(edit);
        self
    }

    /// The key of a transaction that must take effect first, beyond those that the references tell of.
    pub fn after(mut self, key: impl Into<String>) -> Edits {
        self.after.push(key.into());
        self
    }

    pub(crate) fn to_json(&self) -> String {
        json!({"edits": self.edits, "after": self.after}).to_string()
    }

    pub(crate) fn into_list(self) -> Vec<Value> {
        self.edits
    }
}

/// `{"edits": […], "after": […]}`, a list of edits, or one edit.
impl From<Value> for Edits {
    fn from(mut value: Value) -> Edits {
        if let Value::Array(edits) = value {
            return Edits { edits, after: Vec::new() };
        }
        let Some(Value::Array(edits)) = value.get_mut("edits").map(Value::take) else {
            return Edits::new().edit(value);
        };
        let after = value["after"].as_array().into_iter().flatten();
        // What is no text is kept as something that is no key, and refused as such.
        Edits { edits, after: after.map(|key| key.as_str().unwrap_or_default().to_string()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_the_same_however_they_are_given() {
        let built = Edits::new().delete("card", "a").after("k:1");
        let edit = json!({"op": "delete", "table": "card", "id": "a"});
        assert_eq!(Edits::from(json!({"edits": [edit], "after": ["k:1"]})), built);
        assert_eq!(Edits::from(json!([edit])), Edits::new().delete("card", "a"));
        assert_eq!(Edits::from(edit), Edits::new().delete("card", "a"));
        assert_eq!(built.to_json(), r#"{"after":["k:1"],"edits":[{"id":"a","op":"delete","table":"card"}]}"#);
    }
}
