//! Patches: what changed in the view, as the application's side of the boundary takes it.
//!
//! A JSON array of `[table, id, null]` for a row that is gone, and `[table, id, {column: value}, full]` for one that is
//! there: `full` 1 gives all columns, 0 only those that changed.

use crate::edit::{Edit, Op};
use crate::schema::Schema;
use crate::value::{Row, RowKey, write_string};

/// Makes one patch of two that follow one another.
pub fn append(patch: &mut String, later: &str) {
    patch.pop();
    patch.push_str(if patch.len() > 1 { "," } else { "" });
    patch.push_str(later.get(1..).unwrap_or("]"));
}

/// A patch being written.
pub struct Patch<'a> {
    schema: &'a Schema,
    out: String,
}

impl<'a> Patch<'a> {
    pub fn new(schema: &'a Schema) -> Patch<'a> {
        Patch { schema, out: String::from("[") }
    }

    pub fn is_empty(&self) -> bool {
        self.out.len() == 1
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    pub fn finish(mut self) -> String {
        self.out.push(']');
        self.out
    }

    pub fn change(&mut self, edit: &Edit) {
        if matches!(edit.op, Op::Delete | Op::DeleteTree) {
            return self.gone(edit.row);
        }
        let columns = &self.schema.tables[edit.row.table as usize].columns;
        self.begin(edit.row, ",{");
        for (i, (column, value)) in edit.set.iter().enumerate() {
            let column = &columns[*column as usize];
            self.name(i == 0, &column.name);
            value.write_json(self.schema, column, &mut self.out);
        }
        self.out.push_str(if edit.makes() { "},1]" } else { "},0]" });
    }

    /// What leads from one state of a row to another; nothing where they are the same.
    pub fn diff(&mut self, key: RowKey, old: Option<&Row>, new: Option<&Row>) {
        let Some(new) = new else {
            if old.is_some() {
                self.gone(key);
            }
            return;
        };
        if old.is_some_and(|old| old.values == new.values) {
            return;
        }
        let columns = &self.schema.tables[key.table as usize].columns;
        self.begin(key, ",{");
        let mut first = true;
        for (i, column) in columns.iter().enumerate() {
            if old.is_some_and(|old| old.values[i] == new.values[i]) {
                continue;
            }
            self.name(first, &column.name);
            new.values[i].write_json(self.schema, column, &mut self.out);
            first = false;
        }
        self.out.push_str(if old.is_some() { "},0]" } else { "},1]" });
    }

    fn gone(&mut self, key: RowKey) {
        self.begin(key, ",null]");
    }

    fn begin(&mut self, key: RowKey, then: &str) {
        self.out.push_str(if self.out.len() == 1 { "[\"" } else { ",[\"" });
        self.out.push_str(&self.schema.tables[key.table as usize].name);
        self.out.push_str("\",\"");
        key.id.write(&mut self.out);
        self.out.push('"');
        self.out.push_str(then);
    }

    fn name(&mut self, first: bool, name: &str) {
        if !first {
            self.out.push(',');
        }
        write_string(name, &mut self.out);
        self.out.push(':');
    }
}
