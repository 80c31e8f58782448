//! Counts of children: columns that nobody writes, because they follow from the references that they count.
//!
//! A server holds few of the children, so a count is not made anew: what a unit does to references is noted, and at its end
//! each parent that is still there gets one update. A parent that has gone meanwhile gets none. Only a row that is created
//! looks for children, for a client may show these before their parent.

use crate::edit::{Edit, Op};
use crate::rows::Rows;
use crate::schema::{Count, Kind, Schema};
use crate::sorted::SortedMap;
use crate::value::{Row, RowKey, Value};

/// What a unit has done to counts so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// One update per parent, with what is to be added; in the order in which they were met.
    moved: Vec<Moved>,
    /// Where a parent stands among them.
    places: SortedMap<RowKey, usize>,
}

#[derive(Debug)]
struct Moved {
    row: RowKey,
    /// By column, ascending.
    by: Vec<(u16, i64)>,
}

impl Counts {
    /// Notes what the change of a row means to those that count it.
    pub fn note(&mut self, schema: &Schema, key: RowKey, old: Option<&Row>, new: Option<&Row>) {
        for count in &schema.counts {
            if count.child != key.table {
                continue;
            }
            let (left, reached) = (counting(count, old), counting(count, new));
            if left != reached {
                self.add(left, count.column, -1);
                self.add(reached, count.column, 1);
            }
        }
    }

    fn add(&mut self, parent: Option<RowKey>, column: u16, by: i64) {
        let Some(row) = parent else { return };
        let place = match self.places.get(&row) {
            Some(place) => *place,
            None => {
                self.places.insert(row, self.moved.len());
                self.moved.push(Moved { row, by: Vec::new() });
                self.moved.len() - 1
            }
        };
        let add = &mut self.moved[place].by;
        match add.binary_search_by_key(&column, |a| a.0) {
            Ok(i) => add[i].1 += by,
            Err(i) => add.insert(i, (column, by)),
        }
    }

    /// A create with its counts. What was noted of the row before is part of them.
    pub fn complete(&mut self, schema: &Schema, rows: &Rows, edit: &Edit) -> Edit {
        let mut made = Edit { set: edit.set.clone(), ..Edit::new(Op::Create, edit.row) };
        for count in &schema.counts {
            if count.parent != edit.row.table {
                continue;
            }
            let mut children = 0;
            for (child, column) in rows.children(edit.row) {
                children += i64::from(child.table == count.child && column == count.reference);
            }
            made.set_column(count.column, Value::Int(children));
        }
        if let Some(place) = self.places.get(&edit.row) {
            self.moved[*place].by.clear();
        }
        made
    }

    /// Writes what was noted, and returns the updates, with whether a client comes to the same: it does not hold what stays on the
    /// server. Rows that `is_hidden` names are as good as gone.
    pub fn settle(self, schema: &Schema, rows: &mut Rows, is_hidden: &dyn Fn(&Rows, RowKey) -> bool) -> (Vec<Edit>, bool) {
        let (mut updates, mut as_sent) = (Vec::new(), true);
        for moved in self.moved {
            let Some(row) = rows.get(moved.row).filter(|_| !is_hidden(rows, moved.row)) else { continue };
            let mut row = row.clone();
            let mut update = Edit::new(Op::Update, moved.row);
            for (column, by) in moved.by {
                let Value::Int(count) = &mut row.values[usize::from(column)] else { continue };
                if by != 0 {
                    *count += by;
                    update.set_column(column, Value::Int(*count));
                    as_sent &= !counts_hidden_rows(schema, update.row.table, column);
                }
            }
            if !update.set.is_empty() {
                rows.change(update.row, Some(row));
                updates.push(update);
            }
        }
        (updates, as_sent)
    }
}

/// The row that counts this one.
pub fn counting(count: &Count, row: Option<&Row>) -> Option<RowKey> {
    match row?.values[usize::from(count.reference)] {
        Value::Ref(parent) if parent.table == count.parent => Some(parent),
        _ => None,
    }
}

/// Whether a column counts rows that clients do not hold.
pub fn counts_hidden_rows(schema: &Schema, table: u16, column: u16) -> bool {
    match schema.tables[usize::from(table)].columns[usize::from(column)].kind {
        Kind::Count { table, .. } => schema.tables[usize::from(table)].server_only,
        _ => false,
    }
}
