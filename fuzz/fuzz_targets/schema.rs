//! Bytes as schemas: one that is refused is refused in words, and one that is read stands in the tables of either database.
#![no_main]

use driftline_core::schema::{Kind, Schema};
use driftline_server::db::Dialect;
use driftline_server::tables::Layout;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Schema::parse(text) {
        Err(error) => assert!(!error.detail.is_empty()),
        Ok(schema) => {
            parents_come_first(&schema);
            for dialect in [Dialect::Sqlite, Dialect::Postgres] {
                lay_out(&schema, dialect);
            }
        }
    }
});

/// A row can be made once all that it requires is there.
fn parents_come_first(schema: &Schema) {
    let order = schema.parents_first();
    let mut places = vec![usize::MAX; schema.tables.len()];
    order.iter().enumerate().for_each(|(place, table)| places[usize::from(*table)] = place);
    assert!(order.len() == schema.tables.len() && !places.contains(&usize::MAX), "{order:?}");
    for (t, table) in schema.tables.iter().enumerate() {
        for column in table.columns.iter().filter(|column| !column.nullable) {
            let Kind::Ref { to, .. } = &column.kind else { continue };
            for target in to.iter().map(|target| usize::from(*target)).filter(|target| *target != t) {
                assert!(places[target] < places[t], "{} needs {}", table.name, schema.tables[target].name);
            }
        }
    }
}

fn lay_out(schema: &Schema, dialect: Dialect) {
    let layout = match Layout::new(schema, dialect) {
        Ok(layout) => layout,
        Err(why) => return assert!(why.contains("table `"), "{why}"),
    };
    assert_eq!(layout.tables.len(), schema.tables.len());
    for (table, laid) in schema.tables.iter().zip(&layout.tables) {
        let names: BTreeSet<&String> = laid.columns.iter().collect();
        assert_eq!(names.len(), laid.columns.len(), "{}: a name stands for two columns", table.name);
        for (at, column) in table.columns.iter().enumerate() {
            let slots = laid.slots.iter().filter(|slot| usize::from(slot.column) == at).count();
            let expected = if let Kind::Ref { to, .. } = &column.kind { to.len() } else { 1 };
            assert_eq!(slots, expected, "{}.{}", table.name, column.name);
        }
        layout.above(schema, laid.index);
        layout.cascades(schema, &[laid.index]);
    }
}
