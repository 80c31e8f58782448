//! Rows as an app sees them.

use driftline_core::schema::Schema;
use driftline_core::value::{RowKey, write_string};
use serde_json::{Map, Value};

/// A row of the view: what the server confirmed, with what waits on top.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: String,
    /// Every field, reference and count of its table. A reference to one table is an id, one to one of several `{"table": "id"}`.
    pub fields: Map<String, Value>,
}

impl Row {
    /// A field; null where its table has none of this name.
    pub fn field(&self, name: &str) -> &Value {
        self.fields.get(name).unwrap_or(&Value::Null)
    }

    pub(crate) fn of(schema: &Schema, key: RowKey, row: &driftline_core::value::Row) -> Row {
        let columns = &schema.tables[usize::from(key.table)].columns;
        let mut text = String::from("{");
        for (i, (column, value)) in columns.iter().zip(&row.values).enumerate() {
            text.push_str(if i > 0 { "," } else { "" });
            write_string(&column.name, &mut text);
            text.push(':');
            value.write_json(schema, column, &mut text);
        }
        text.push('}');
        Row { id: key.id.to_string(), fields: serde_json::from_str(&text).unwrap_or_default() }
    }
}
