//! How a schema's tables stand in SQL: names, columns, keys, and rows to parameters and back.
//!
//! Every table is keyed `(space, id)`. A reference is a BLOB column with an immediate composite foreign key that does
//! nothing by itself: what a delete does is written by the plan, so that the log knows of it. A reference to one of
//! several tables is one column per target of which exactly one is set.

use crate::db::{self, Db, DbError, DbResult, Dialect, Param};
use crate::ddl;
use driftline_core::digest::Digest;
use driftline_core::merge::Clocks;
use driftline_core::schema::{Column, Kind, OnDelete, Schema, Table};
use driftline_core::value::{Row, RowId, RowKey, Value};
use std::collections::BTreeMap;

/// SQLite refuses tables beyond 2,000 columns; ours add three.
const SQL_COLUMNS: usize = 1_990;

const POSTGRES_OWN: [&str; 6] = ["xmin", "xmax", "cmin", "cmax", "ctid", "tableoid"];
const POSTGRES_NAME_BYTES: usize = 63;
/// PostgreSQL refuses tables beyond 1,600 columns.
const POSTGRES_COLUMNS: usize = 1_590;

/// The SQL side of a schema.
#[derive(Debug)]
pub struct Layout {
    pub dialect: Dialect,
    pub tables: Vec<TableLayout>,
    /// Table indexes, those that required references point at first.
    pub parents_first: Vec<u16>,
}

#[derive(Debug)]
pub struct TableLayout {
    pub index: u16,
    pub name: String,
    pub slots: Vec<Slot>,
    /// `SELECT id, …, _clock FROM "name" WHERE space = ?1`
    pub select: String,
    /// `space`, `id`, …, `_clock`: what [`TableLayout::bind`] has parameters for.
    pub columns: Vec<String>,
    /// ` ON CONFLICT (space, id) DO UPDATE SET …`
    pub upsert: String,
}

/// One SQL column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    pub column: u16,
    /// The table that a reference in this column points at.
    pub target: Option<u16>,
}

impl Layout {
    /// Says which table and field cannot stand in SQL.
    pub fn new(schema: &Schema, dialect: Dialect) -> Result<Layout, String> {
        let tables = schema.tables.iter().enumerate().map(|(i, table)| TableLayout::new(schema, i as u16, table));
        let tables: Vec<TableLayout> = tables.collect::<Result<_, _>>()?;
        if dialect == Dialect::Postgres {
            tables.iter().try_for_each(|table| fits_postgres(schema, table))?;
        }
        Ok(Layout { dialect, tables, parents_first: schema.parents_first() })
    }

    pub fn table(&self, index: u16) -> &TableLayout {
        &self.tables[index as usize]
    }

    /// The cascading references by which a delete spreads from rows of `roots`, each with the table that it leads to.
    pub fn cascades<'a>(&'a self, schema: &'a Schema, roots: &[u16]) -> Vec<(&'a TableLayout, &'a Slot, u16)> {
        let mut tables = roots.to_vec();
        let mut cascades = Vec::new();
        let mut next = 0;
        while let Some(&target) = tables.get(next) {
            next += 1;
            for (from, slot, _) in self.referring(schema, target).filter(|from| from.2 == OnDelete::Cascade) {
                cascades.push((from, slot, target));
                if !tables.contains(&from.index) {
                    tables.push(from.index);
                }
            }
        }
        cascades
    }

    /// Those of them by which it spreads to tables that are `wanted`.
    fn cascades_to<'a>(&'a self, schema: &'a Schema, roots: &[u16], wanted: Option<&[u16]>) -> Vec<(&'a TableLayout, &'a Slot, u16)> {
        let mut cascades = self.cascades(schema, roots);
        if let Some(wanted) = wanted {
            let mut leading = wanted.to_vec();
            let mut next = 0;
            while let Some(&table) = leading.get(next) {
                next += 1;
                for (_, _, target) in cascades.iter().filter(|cascade| cascade.0.index == table) {
                    if !leading.contains(target) {
                        leading.push(*target);
                    }
                }
            }
            cascades.retain(|cascade| leading.contains(&cascade.0.index));
        }
        cascades
    }

    /// `WITH RECURSIVE going (head_tbl, head, tbl, id)`: the rows that go when a head does, by head. `heads` and `ends` are lists of
    /// ids by table; rows in those of `ends`, heads among them, go with no other. What the statement uses is added to `params`.
    pub fn going_by_head<'a>(
        &self,
        schema: &Schema,
        heads: &BTreeMap<u16, Param<'a>>,
        ends: &BTreeMap<u16, Param<'a>>,
        wanted: &[u16],
        params: &mut Vec<Param<'a>>,
    ) -> String {
        let mut place = |list: &Param<'a>| {
            params.push(list.clone());
            params.len()
        };
        let base: Vec<String> =
            heads.iter().map(|(table, list)| format!("SELECT {table}, value, {table}, value FROM rarray(?{})", place(list))).collect();
        let roots: Vec<u16> = heads.keys().copied().collect();
        let mut steps = Vec::new();
        for (from, slot, target) in self.cascades_to(schema, &roots, Some(wanted)) {
            let mut step = Step::down(from, slot, target, &format!("g.head_tbl, g.head, {}, c.id", from.index));
            if let Some(list) = ends.get(&from.index) {
                step.on += &format!(" AND c.id NOT IN (SELECT value FROM rarray(?{}))", place(list));
            }
            steps.push(step);
        }
        self.recursive("going (head_tbl, head, tbl, id)", "going AS g", &base.join(" UNION "), &steps)
    }

    /// `WITH RECURSIVE going (tbl, id)`: the rows that go when those of `base` do, whose tables are `roots`. `?1` is the space.
    /// Tables stand as their index. Where only some tables are `wanted`, rows that lead to none of these may be left out.
    pub fn going(&self, schema: &Schema, base: &str, roots: &[u16], wanted: Option<&[u16]>) -> String {
        let cascades = self.cascades_to(schema, roots, wanted).into_iter();
        let steps: Vec<Step> =
            cascades.map(|(from, slot, target)| Step::down(from, slot, target, &format!("{}, c.id", from.index))).collect();
        self.recursive("going (tbl, id)", "going AS g", base, &steps)
    }

    /// `WITH RECURSIVE up (child_tbl, child, tbl, id)`: from the rows of `table` whose ids are in the array `?2`, all that they hang
    /// on, each with what hangs on it by one step. `?1` is the space. `None`: they hang on nothing.
    pub fn above(&self, schema: &Schema, table: u16) -> Option<String> {
        let base = format!("SELECT CAST(NULL AS INTEGER), CAST(NULL AS UUID), {table}, value FROM rarray(?2)");
        let steps = self.climb(schema, table, "u.tbl, u.id");
        (!steps.is_empty()).then(|| self.recursive("up (child_tbl, child, tbl, id)", "up AS u", &base, &steps))
    }

    /// `WITH RECURSIVE up (first, tbl, id)`: the same, with the row that the way began at, and itself.
    pub fn above_each(&self, schema: &Schema, table: u16) -> String {
        let base = format!("SELECT value, {table}, value FROM rarray(?2)");
        self.recursive("up (first, tbl, id)", "up AS u", &base, &self.climb(schema, table, "u.first"))
    }

    fn climb(&self, schema: &Schema, table: u16, from_where: &str) -> Vec<Step> {
        let mut tables = vec![table];
        let mut steps = Vec::new();
        let mut next = 0;
        while let Some(&from) = tables.get(next) {
            next += 1;
            let layout = self.table(from);
            for slot in &layout.slots {
                let kind = &schema.tables[from as usize].columns[slot.column as usize].kind;
                if let (Some(target), Kind::Ref { on_delete: OnDelete::Cascade, .. }) = (slot.target, kind) {
                    steps.push(Step {
                        columns: format!("{from_where}, {target}, c.\"{}\"", slot.name),
                        table: layout.name.clone(),
                        on: format!("u.tbl = {from} AND c.space = ?1 AND c.id = u.id AND c.\"{}\" IS NOT NULL", slot.name),
                    });
                    if !tables.contains(&target) {
                        tables.push(target);
                    }
                }
            }
        }
        steps
    }

    /// What `base` and the steps from there lead to. PostgreSQL takes a recursion that is named once; SQLite has no joins that look
    /// sideways.
    fn recursive(&self, name: &str, from: &str, base: &str, steps: &[Step]) -> String {
        let mut terms = base.to_string();
        match self.dialect {
            Dialect::Sqlite => {
                for Step { columns, table, on } in steps {
                    terms += &format!(" UNION SELECT {columns} FROM {from} CROSS JOIN \"{table}\" AS c ON {on}");
                }
            }
            Dialect::Postgres if steps.is_empty() => {}
            Dialect::Postgres => {
                let step = |Step { columns, table, on }: &Step| format!("SELECT {columns} FROM \"{table}\" AS c WHERE {on}");
                let all: Vec<String> = steps.iter().map(step).collect();
                terms += &format!(" UNION SELECT s.* FROM {from} CROSS JOIN LATERAL ({}) AS s", all.join(" UNION ALL "));
            }
        }
        format!("WITH RECURSIVE {name} AS MATERIALIZED ({terms}) ")
    }

    /// The SQL columns that may refer to rows of `target`: table, slot, and what a delete does.
    pub fn referring<'a>(&'a self, schema: &'a Schema, target: u16) -> impl Iterator<Item = (&'a TableLayout, &'a Slot, OnDelete)> {
        schema.referrers(target).filter_map(move |(from, column, on_delete)| {
            let table = self.table(from);
            Some((table, table.slot(column, target)?, on_delete))
        })
    }
}

/// One way in which a recursion goes on, from a row that it has found to rows `c` of a table.
struct Step {
    columns: String,
    table: String,
    on: String,
}

impl Step {
    /// From a row `g` to those that go with it, by a reference.
    fn down(from: &TableLayout, slot: &Slot, target: u16, columns: &str) -> Step {
        let on = format!("g.tbl = {target} AND c.space = ?1 AND c.\"{}\" = g.id", slot.name);
        Step { columns: columns.to_string(), table: from.name.clone(), on }
    }
}

impl TableLayout {
    fn new(schema: &Schema, index: u16, table: &Table) -> Result<TableLayout, String> {
        if table.name.starts_with("sqlite_") {
            return Err(format!("table `{}`: SQLite keeps names that begin with `sqlite_` for itself; choose another", table.name));
        }
        let mut slots: Vec<Slot> = Vec::new();
        for (i, column) in table.columns.iter().enumerate() {
            for (name, target) in slot_names(schema, column) {
                if slots.iter().any(|slot| slot.name == name) {
                    return Err(format!(
                        "table `{}`, field `{}`: its SQL column `{name}` is taken; choose another name",
                        table.name, column.name
                    ));
                }
                slots.push(Slot { name, column: i as u16, target });
            }
        }
        if slots.len() > SQL_COLUMNS {
            return Err(format!("table `{}`: needs more than {SQL_COLUMNS} SQL columns", table.name));
        }
        let names: String = slots.iter().map(|slot| format!("\"{}\", ", slot.name)).collect();
        let own = slots.iter().map(|slot| slot.name.clone());
        let columns = ["space".to_string(), "id".to_string()].into_iter().chain(own).chain(["_clock".to_string()]).collect();
        let sets: String = slots.iter().map(|slot| format!("\"{0}\" = excluded.\"{0}\", ", slot.name)).collect();
        let name = table.name.clone();
        Ok(TableLayout {
            index,
            slots,
            select: format!("SELECT id, {names}_clock FROM \"{name}\" WHERE space = ?1"),
            columns,
            upsert: format!(" ON CONFLICT (space, id) DO UPDATE SET {sets}_clock = excluded._clock"),
            name,
        })
    }

    pub fn column_names(&self) -> Vec<&str> {
        self.columns.iter().map(String::as_str).collect()
    }

    /// The SQL column that holds a column's references to `target`.
    pub fn slot(&self, column: u16, target: u16) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.column == column && slot.target == Some(target))
    }

    /// Appends a row's parameters; references that `defer` names go in as null.
    pub fn bind<'a>(
        &self,
        schema: &Schema,
        space: i64,
        id: RowId,
        row: &'a Row,
        defer: impl Fn(u16, RowKey) -> bool,
        out: &mut Vec<Param<'a>>,
    ) {
        out.extend([space.into(), id.into()]);
        for slot in &self.slots {
            out.push(match &row.values[slot.column as usize] {
                Value::Ref(key) if slot.target != Some(key.table) || defer(slot.column, *key) => Param::Null,
                Value::Ref(key) => key.id.into(),
                Value::Null => Param::Null,
                Value::Bool(b) => (*b).into(),
                Value::Int(i) => (*i).into(),
                Value::Real(r) => (*r).into(),
                Value::Text(text) | Value::Json(text) => text.as_str().into(),
            });
        }
        let columns = &schema.tables[self.index as usize].columns;
        out.push(row.clocks.to_text(|column| columns[column as usize].name.clone()).into());
    }

    /// Reads what [`TableLayout::select`] selects.
    pub fn read(&self, schema: &Schema, sql: &db::Row) -> DbResult<(RowKey, Row)> {
        let table = &schema.tables[self.index as usize];
        let key = RowKey { table: self.index, id: sql.id(0)? };
        let mut values = vec![Value::Null; table.columns.len()];
        for (i, slot) in self.slots.iter().enumerate() {
            if !sql.is_null(i + 1)? {
                let column = &table.columns[slot.column as usize];
                values[slot.column as usize] = read_cell(sql, i + 1, column, slot.target)?;
            }
        }
        let clocks = Clocks::from_text(&sql.text(self.slots.len() + 1)?, |name| table.column(name));
        let clocks =
            clocks.ok_or_else(|| DbError::Unreadable("column `_clock` should hold stamps, and holds something else".to_string()))?;
        Ok((key, Row::new(values, clocks)))
    }
}

/// The digest of a space's rows as the tables hold them.
pub fn digest_of(db: &Db, schema: &Schema, layout: &Layout, space: i64) -> DbResult<Digest> {
    let mut digest = Digest::default();
    for table in &layout.tables {
        db.each(&table.select, &[space.into()], |row| {
            let (key, row) = table.read(schema, row)?;
            digest.add(schema, key, &row);
            Ok::<_, DbError>(())
        })?;
    }
    Ok(digest)
}

/// PostgreSQL cuts longer names, and then two could be one.
fn fits_postgres(schema: &Schema, table: &TableLayout) -> Result<(), String> {
    let names = ddl::indexes(Dialect::Postgres, schema, table)
        .into_iter()
        .map(|index| index.0)
        .chain([format!("{}:key", ddl::new_name(&table.name))]);
    match names.into_iter().find(|name| name.len() > POSTGRES_NAME_BYTES) {
        Some(name) => {
            Err(format!("table `{}`: PostgreSQL takes names of 63 bytes, and `{name}` is longer: choose shorter ones", table.name))
        }
        None if table.slots.iter().any(|slot| POSTGRES_OWN.contains(&slot.name.as_str())) => {
            Err(format!("table `{}`: PostgreSQL keeps the names {} for itself: choose others", table.name, POSTGRES_OWN.join(", ")))
        }
        None if table.slots.len() > POSTGRES_COLUMNS => {
            Err(format!("table `{}`: needs more than {POSTGRES_COLUMNS} SQL columns", table.name))
        }
        None => Ok(()),
    }
}

fn slot_names(schema: &Schema, column: &Column) -> Vec<(String, Option<u16>)> {
    match &column.kind {
        Kind::Ref { to, .. } if to.len() > 1 => {
            to.iter().map(|target| (format!("{}_{}", column.name, schema.tables[*target as usize].name), Some(*target))).collect()
        }
        Kind::Ref { to, .. } => vec![(column.name.clone(), to.first().copied())],
        _ => vec![(column.name.clone(), None)],
    }
}

fn read_cell(sql: &db::Row, at: usize, column: &Column, target: Option<u16>) -> DbResult<Value> {
    Ok(match (&column.kind, target) {
        (_, Some(table)) => Value::Ref(RowKey { table, id: sql.id(at)? }),
        (Kind::Bool, _) => Value::Bool(sql.bool(at)?),
        (Kind::Real, _) => Value::Real(sql.real(at)?),
        (Kind::Int | Kind::Counter | Kind::Count { .. }, _) => Value::Int(sql.int(at)?),
        (Kind::Json | Kind::Set | Kind::Conflicts { .. }, _) => Value::Json(sql.text(at)?.to_string()),
        _ => Value::Text(sql.text(at)?.to_string()),
    })
}
