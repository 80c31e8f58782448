//! What leads from one schema to another: which table and field comes from which, by the steps of the schema's `upgrades`.
//!
//! [`crate::rebuild`] makes SQL of it. What a step does to rows here, it does to edits and to clients' rows in the core.

use driftline_core::edit::{Edit, Values};
use driftline_core::json::Json;
use driftline_core::schema::{Column, Kind, Schema, Table};
use driftline_core::upgrade::{self, CONVERSIONS, Step, Type, make_unless_there, steps_after};
use driftline_core::value::{RowKey, Value};

/// In whose name the log has what a migration adds to a space. Clients count from 1.
pub const MIGRATION: u32 = 0;

/// The way from an old schema to a new one.
pub struct Diff<'a> {
    pub old: &'a Schema,
    pub new: &'a Schema,
    /// By table of the new schema; `None` where it is new.
    pub tables: Vec<Option<Origin>>,
    /// Tables of the old schema that a step drops.
    pub gone: Vec<u16>,
    /// Rows that references added by a step point at: who needs them, and the rows, parents first.
    pub parents: Vec<(u16, Vec<Edit>)>,
}

/// Where a table's rows come from.
pub struct Origin {
    pub table: u16,
    /// By column of the new schema.
    pub columns: Vec<Source>,
    /// Columns of the old table that a step drops.
    pub gone: Vec<u16>,
}

/// Where a column's values come from.
#[derive(Clone)]
pub enum Source {
    Old { column: u16, conversions: Vec<Conversion> },
    New(Value),
}

#[derive(Clone)]
pub struct Conversion {
    pub from: Type,
    pub to: Type,
    pub nullable: bool,
    pub default: Json<'static>,
}

/// The tables of the old schema on their way through the steps.
struct Walk<'a> {
    old: &'a Schema,
    tables: Vec<Going>,
    gone: Vec<u16>,
    parents: Vec<(u16, Vec<Json<'static>>)>,
}

struct Going {
    name: String,
    table: u16,
    columns: Vec<(String, From)>,
    gone: Vec<u16>,
}

enum From {
    Old(u16, Vec<Conversion>),
    /// A create with the added value, taken through the steps that follow.
    New(Json<'static>),
}

impl<'a> Diff<'a> {
    /// Follows the steps; names what they leave unexplained.
    pub fn new(old: &'a Schema, new: &'a Schema) -> Result<Diff<'a>, String> {
        if old.name != new.name {
            return Err(format!(
                "the schema was named `{}` and is now `{}`: that is another app's; use another migrations directory",
                old.name, new.name
            ));
        }
        if new.version <= old.version {
            return Err(format!("the schema has changed, so its version must be above {}: senders name it", old.version));
        }
        if old.version < upgrade::oldest(new) {
            return Err(format!(
                "the schema's upgrades begin at version {}, and the last migration is of version {}: keep the older ones",
                upgrade::oldest(new),
                old.version
            ));
        }
        let walk = Walk::along(old, new)?;
        if let Some(left) = walk.tables.iter().find(|table| new.table(&table.name).is_none()) {
            return Err(format!("table `{0}` is gone: say what became of it by a `drop_table` or `rename_table` step", left.name));
        }
        let mut diff = Diff { old, new, tables: Vec::new(), gone: walk.gone.clone(), parents: Vec::new() };
        for table in &new.tables {
            let going = walk.tables.iter().find(|going| going.name == table.name);
            diff.tables.push(going.map(|going| walk.origin(new, table, going)).transpose()?);
        }
        for (table, edits) in &walk.parents {
            let Some(now) = diff.now(*table) else { continue };
            let mut rows = Vec::new();
            for mut json in edits.iter().cloned() {
                json.put("op", Json::owned("create".to_string()));
                let row = Edit::read(new, &json, Values::Final).map_err(|problem| {
                    format!(
                        "table `{}`: an upgrade makes one of its rows, and that fails: {}",
                        json.text("table").unwrap_or(""),
                        problem.detail
                    )
                })?;
                rows.push(row);
            }
            diff.parents.push((now, rows));
        }
        Ok(diff)
    }

    /// The new table that an old one has become.
    pub fn now(&self, old: u16) -> Option<u16> {
        self.tables.iter().position(|origin| origin.as_ref().is_some_and(|origin| origin.table == old)).map(|i| i as u16)
    }

    /// What would be lost, as it is told.
    pub fn losses(&self) -> Vec<String> {
        let mut losses: Vec<String> = self.gone.iter().map(|table| format!("table `{}`", self.old.tables[*table as usize].name)).collect();
        for origin in self.tables.iter().flatten() {
            let table = &self.old.tables[origin.table as usize];
            losses.extend(
                origin.gone.iter().map(|column| format!("table `{}`, field `{}`", table.name, table.columns[*column as usize].name)),
            );
        }
        losses
    }
}

impl Walk<'_> {
    fn along<'a>(old: &'a Schema, new: &Schema) -> Result<Walk<'a>, String> {
        let mut tables = Vec::new();
        for (i, table) in old.tables.iter().enumerate() {
            let columns = table.columns.iter().enumerate().map(|(i, column)| (column.name.clone(), From::Old(i as u16, Vec::new())));
            tables.push(Going { name: table.name.clone(), table: i as u16, columns: columns.collect(), gone: Vec::new() });
        }
        let mut walk = Walk { old, tables, gone: Vec::new(), parents: Vec::new() };
        let steps: Vec<&Step> = steps_after(new, old.version).collect();
        for (i, step) in steps.iter().enumerate() {
            walk.step(step, &steps[i + 1..])?;
        }
        Ok(walk)
    }

    /// Steps on what is not there are of a history that these tables never had.
    fn step(&mut self, step: &Step, rest: &[&Step]) -> Result<(), String> {
        let going = |tables: &mut Vec<Going>, name: &str| tables.iter().position(|going| going.name == name);
        match step {
            Step::RenameTable { from, to, .. } => {
                if let Some(at) = going(&mut self.tables, from) {
                    self.tables[at].name = to.clone();
                }
            }
            Step::Rename { table, from, to } => {
                if let Some(at) = going(&mut self.tables, table)
                    && let Some(column) = self.tables[at].columns.iter_mut().find(|column| column.0 == *from)
                {
                    column.0 = to.clone();
                }
            }
            Step::Convert { table, field, from, to, nullable, default } => {
                let Some(at) = going(&mut self.tables, table) else { return Ok(()) };
                let origin = self.tables[at].table;
                if let Some((_, From::Old(column, conversions))) = self.tables[at].columns.iter_mut().find(|column| column.0 == *field) {
                    let before = &self.old.tables[origin as usize].columns[*column as usize];
                    let is = conversions.last().map(|last| last.to).or(Type::of(&before.kind));
                    if is != Some(*from) {
                        return Err(format!("table `{table}`, field `{field}`: an upgrade converts it from a type that it did not have"));
                    }
                    conversions.push(Conversion { from: *from, to: *to, nullable: *nullable, default: default.clone() });
                }
            }
            Step::Add { table, field, value, parent } => {
                let Some(at) = going(&mut self.tables, table) else { return Ok(()) };
                if self.tables[at].columns.iter().any(|column| column.0 == *field) {
                    return Err(format!("table `{table}`, field `{field}`: an upgrade adds it, and it was there"));
                }
                let set = Json::Object(vec![(field.clone().into(), value.clone())]);
                let mut edit = make_unless_there(table, driftline_core::value::RowId(0));
                edit.put("set", set);
                let taken = |edit: Json<'static>, parents: bool| {
                    upgrade::upgrade(rest.iter().copied(), vec![edit], Values::Final, parents).map_err(|problem| problem.detail)
                };
                let made = taken(edit, false)?.pop().unwrap_or(Json::Null);
                self.tables[at].columns.push((field.clone(), From::New(made)));
                if let Some((target, id)) = parent {
                    self.parents.push((self.tables[at].table, taken(make_unless_there(target, *id), true)?));
                }
            }
            Step::Drop { table, field } => {
                let Some(at) = going(&mut self.tables, table) else { return Ok(()) };
                let going = &mut self.tables[at];
                if let Some(column) = going.columns.iter().position(|column| column.0 == *field)
                    && let (_, From::Old(column, _)) = going.columns.remove(column)
                {
                    going.gone.push(column);
                }
            }
            Step::DropTable { table } => {
                if let Some(at) = going(&mut self.tables, table) {
                    self.gone.push(self.tables.remove(at).table);
                }
            }
        }
        Ok(())
    }

    fn origin(&self, new: &Schema, table: &Table, going: &Going) -> Result<Origin, String> {
        if let Some((name, _)) = going.columns.iter().find(|column| table.column(&column.0).is_none()) {
            return Err(format!("table `{}`, field `{name}` is gone: say what became of it by a `drop` or `rename` step", table.name));
        }
        let mut columns = Vec::new();
        for column in &table.columns {
            let place = format!("table `{}`, field `{}`", table.name, column.name);
            columns.push(match going.columns.iter().find(|going| going.0 == column.name) {
                Some((_, From::Old(index, conversions))) => {
                    let before = &self.old.tables[going.table as usize].columns[*index as usize];
                    self.refuse_unexplained(new, before, conversions, column).map_err(|why| format!("{place}: {why}"))?;
                    Source::Old { column: *index, conversions: conversions.clone() }
                }
                Some((_, From::New(made))) => {
                    let value = made.get("set").and_then(|set| set.get(&column.name)).unwrap_or(&Json::Null);
                    Source::New(column.read(Some(new), value).map_err(|why| format!("{place}: what an upgrade adds {why}"))?)
                }
                None => {
                    let missing = || format!("{place} is new: it must be nullable, have a default, or be added by an `add` step");
                    Source::New(column.default.clone().ok_or_else(missing)?)
                }
            });
        }
        Ok(Origin { table: going.table, columns, gone: going.gone.clone() })
    }

    fn refuse_unexplained(&self, new: &Schema, before: &Column, conversions: &[Conversion], now: &Column) -> Result<(), String> {
        let is = conversions.last().map(|last| last.to).or(Type::of(&before.kind));
        match (&before.kind, &now.kind) {
            (Kind::Ref { to: before, .. }, Kind::Ref { to: now, .. }) => {
                let mut before: Vec<&str> = before.iter().filter_map(|table| self.name_now(*table)).collect();
                let mut now: Vec<&str> = now.iter().map(|table| new.tables[*table as usize].name.as_str()).collect();
                before.sort_unstable();
                now.sort_unstable();
                if before != now {
                    return Err("changing what a reference may point at is not supported: drop it, and add another".to_string());
                }
            }
            // Counts are made anew whenever tables have changed.
            (Kind::Conflicts { .. }, Kind::Conflicts { .. }) | (Kind::Count { .. }, Kind::Count { .. }) => {}
            (before, now) if (is.is_none() || Type::of(now).is_none()) && before != now => {
                return Err("there is no way from what it was to what it is: drop it, and add another".to_string());
            }
            (_, now) if is != Type::of(now) => return Err(format!("changing its type takes a `convert` step; allowed are {CONVERSIONS}")),
            (Kind::Text { max_chars: before, .. }, Kind::Text { max_chars: now, .. }) if now < before && is == Some(Type::Text) => {
                return Err(format!("max_chars goes from {before} down to {now}: what is longer would be cut, so it is refused"));
            }
            _ => {}
        }
        if before.nullable && !now.nullable && conversions.is_empty() {
            return Err(if is.is_some() {
                "nulls are no longer allowed: say what they become by a `convert` step to the same type, with a default".to_string()
            } else {
                "a reference that was nullable must stay so: drop it, and add another".to_string()
            });
        }
        Ok(())
    }

    fn name_now(&self, table: u16) -> Option<&str> {
        self.tables.iter().find(|going| going.table == table).map(|going| going.name.as_str())
    }
}

/// How two schemas differ, a line for each table and field, in words.
pub fn describe(old: &Schema, new: &Schema) -> Vec<String> {
    let mut lines = Vec::new();
    if old.version != new.version {
        lines.push(format!("the version goes from {} to {}", old.version, new.version));
    }
    for table in &old.tables {
        if new.table(&table.name).is_none() {
            lines.push(format!("table `{}` is gone", table.name));
        }
    }
    for table in &new.tables {
        let Some(before) = old.table(&table.name).map(|index| &old.tables[index as usize]) else {
            lines.push(format!("table `{}` is new", table.name));
            continue;
        };
        let name = &table.name;
        for column in &before.columns {
            if table.column(&column.name).is_none() {
                lines.push(format!("table `{name}`, field `{}` is gone", column.name));
            }
        }
        for column in &table.columns {
            let place = format!("table `{name}`, field `{}`", column.name);
            let Some(was) = before.column(&column.name).map(|index| &before.columns[index as usize]) else {
                lines.push(format!("{place} is new"));
                continue;
            };
            let (was_kind, kind) = (kind_in_words(old, &was.kind), kind_in_words(new, &column.kind));
            if was_kind != kind {
                lines.push(format!("{place} was {was_kind} and is {kind}"));
            }
            if was.nullable != column.nullable {
                lines.push(format!("{place} {} be null", if column.nullable { "may now" } else { "may no longer" }));
            }
            if was.default != column.default {
                lines.push(format!("{place} has another default"));
            }
        }
        if indexes_by_name(before) != indexes_by_name(table) {
            lines.push(format!("table `{name}` has other indexes"));
        }
        if before.edits_to_deleted != table.edits_to_deleted {
            lines.push(format!("table `{name}` has another `edits_to_deleted`"));
        }
        if before.server_only != table.server_only {
            lines.push(format!("table `{name}` {} on the server alone", if table.server_only { "is now" } else { "is no longer" }));
        }
    }
    lines
}

/// Declared indexes with their columns' names.
pub fn indexes_by_name(table: &Table) -> Vec<(&str, Vec<&str>)> {
    let names = |columns: &[u16]| columns.iter().map(|column| table.columns[*column as usize].name.as_str()).collect();
    table.indexes.iter().map(|(name, columns)| (name.as_str(), names(columns))).collect()
}

pub fn kind_in_words(schema: &Schema, kind: &Kind) -> String {
    match kind {
        Kind::Text { max_chars, conflicts } => {
            format!("a {}text of at most {max_chars} characters", if conflicts.is_some() { "merged " } else { "" })
        }
        Kind::Set => "a set".to_string(),
        Kind::Position => "a position".to_string(),
        Kind::Conflicts { .. } => "what could not be merged".to_string(),
        Kind::Real => "a real".to_string(),
        Kind::Int => "an int".to_string(),
        Kind::Bool => "a bool".to_string(),
        Kind::Json => "JSON".to_string(),
        Kind::Counter => "a counter".to_string(),
        Kind::Count { table, column } => {
            let table = &schema.tables[*table as usize];
            format!("a count of {}.{}", table.name, table.columns[*column as usize].name)
        }
        Kind::Weak => "a weak reference".to_string(),
        Kind::Ref { to, on_delete } => {
            let names: Vec<&str> = to.iter().map(|table| schema.tables[*table as usize].name.as_str()).collect();
            format!("a reference to {} ({on_delete:?} on delete)", names.join(", "))
        }
    }
}

/// A row's values, by column.
pub fn values(edit: &Edit) -> (RowKey, Vec<&Value>) {
    (edit.row, edit.set.iter().map(|set| &set.1).collect())
}
