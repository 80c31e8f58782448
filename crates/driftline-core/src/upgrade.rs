//! Upgrades: what was made under an older version of the schema, in terms of the present one.
//!
//! The schema lists the steps that lead from one version to the next. Edits, changes of the log and rows on a client's disk
//! are JSON, so the steps change JSON; what comes out is read and checked like anything else.

use crate::counts::{counting, counts_hidden_rows};
use crate::digest::Digest;
use crate::edit::{Edit, Values};
use crate::json::Json;
use crate::limits;
use crate::problem::Problem;
use crate::schema::{Column, Kind, Schema, SchemaError, fail, read_int};
use crate::sorted::{SortedMap, SortedSet};
use crate::value::{Row, RowId, Value, write_int, write_string};
use crate::wire::{SNAPSHOT_END, Snapshot};
use std::borrow::Cow;

/// What leads from the version before to this one.
#[derive(Debug, Clone, PartialEq)]
pub struct Upgrade {
    pub to: u32,
    pub steps: Vec<Step>,
}

/// One step. Tables and fields are named as of this step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    RenameTable {
        from: String,
        to: String,
        /// References to one of several tables that may name this one: table and column.
        arcs: Vec<(String, String)>,
    },
    Rename {
        table: String,
        from: String,
        to: String,
    },
    Convert {
        table: String,
        field: String,
        from: Type,
        to: Type,
        /// Whether a null may stay.
        nullable: bool,
        /// What a value becomes that has no counterpart.
        default: Json<'static>,
    },
    Add {
        table: String,
        field: String,
        value: Json<'static>,
        /// The row that the value refers to.
        parent: Option<(String, RowId)>,
    },
    Drop {
        table: String,
        field: String,
    },
    DropTable {
        table: String,
    },
}

/// The type of a field, without its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Text,
    Real,
    Int,
    Bool,
    Json,
    Counter,
}

/// What a conversion may lead from and to, as it is told.
pub const CONVERSIONS: &str = "int to real, real to int, int to text, text to int, bool to int, int to bool, text to json, counter to int, int to counter, \
     and a type to itself";

const TEXT_OF_INT_CHARS: usize = 17;

impl Type {
    pub fn of(kind: &Kind) -> Option<Type> {
        Some(match kind {
            Kind::Text { .. } => Type::Text,
            Kind::Real => Type::Real,
            Kind::Int => Type::Int,
            Kind::Bool => Type::Bool,
            Kind::Json => Type::Json,
            Kind::Counter => Type::Counter,
            _ => return None,
        })
    }

    fn parse(name: &str) -> Option<Type> {
        Some(match name {
            "text" => Type::Text,
            "real" => Type::Real,
            "int" => Type::Int,
            "bool" => Type::Bool,
            "json" => Type::Json,
            "counter" => Type::Counter,
            _ => return None,
        })
    }

    pub fn kind(self) -> Kind {
        match self {
            Type::Text => Kind::Text { max_chars: usize::MAX, conflicts: None },
            Type::Real => Kind::Real,
            Type::Int => Kind::Int,
            Type::Bool => Kind::Bool,
            Type::Json => Kind::Json,
            Type::Counter => Kind::Counter,
        }
    }

    /// Whether values of this type can become values of another.
    fn becomes(self, to: Type) -> bool {
        use Type::{Bool, Counter, Int, Json, Real, Text};
        self == to
            || matches!(
                (self, to),
                (Int, Real)
                    | (Real, Int)
                    | (Int, Text)
                    | (Text, Int)
                    | (Bool, Int)
                    | (Int, Bool)
                    | (Text, Json)
                    | (Counter, Int)
                    | (Int, Counter)
            )
    }
}

// ---- reading the steps ----

/// The tables as of a step, found by going back from the present ones.
struct Shape {
    tables: Vec<TableThen>,
}

struct TableThen {
    name: String,
    /// The present table; `None` where a later step drops it: then nothing is known of its fields.
    index: Option<u16>,
    columns: Vec<ColumnThen>,
}

struct ColumnThen {
    name: String,
    /// `None` where a later step drops it.
    column: Option<Column>,
}

/// Reads `upgrades`, and checks them from the last to the first against what the tables must have been.
pub(crate) fn read(schema: &Schema, json: Option<&Json>) -> Result<Vec<Upgrade>, SchemaError> {
    let Some(json) = json.filter(|json| !json.is_null()) else { return Ok(Vec::new()) };
    let list = json.as_list().ok_or_else(|| fail("", "upgrades", "must be a list"))?;
    let mut shape = Shape::of(schema);
    let mut upgrades = Vec::with_capacity(list.len());
    let mut next = None;
    for json in list.iter().rev() {
        let to = json.uint("to").filter(|to| *to > 1 && *to <= u64::from(schema.version));
        let to = to.ok_or_else(|| fail("", "upgrades", "an upgrade leads `to` a version from 2 up, the schema's own at most"))? as u32;
        if next.is_some_and(|next| next != to + 1) {
            return Err(fail("", "upgrades", "each upgrade leads to the version above the last one's"));
        }
        next = Some(to);
        let mut steps = Vec::new();
        for step in json.list("steps").iter().rev() {
            steps.push(shape.undo(schema, step)?);
        }
        steps.reverse();
        upgrades.push(Upgrade { to, steps });
    }
    upgrades.reverse();
    Ok(upgrades)
}

impl Shape {
    fn of(schema: &Schema) -> Shape {
        let mut tables = Vec::with_capacity(schema.tables.len());
        for (i, table) in schema.tables.iter().enumerate() {
            let mut columns = Vec::with_capacity(table.columns.len());
            for column in &table.columns {
                columns.push(ColumnThen { name: column.name.clone(), column: Some(column.clone()) });
            }
            tables.push(TableThen { name: table.name.clone(), index: Some(i as u16), columns });
        }
        Shape { tables }
    }

    /// Reads a step, and goes back to before it.
    fn undo(&mut self, schema: &Schema, json: &Json) -> Result<Step, SchemaError> {
        let Some([(name, json)]) = json.as_object() else { return Err(fail("", "upgrades", "a step is an object with one member")) };
        let text = |member: &str| json.text(member).unwrap_or("").to_string();
        let (table, field, from, to) = (text("table"), text("field"), text("from"), text("to"));
        match &**name {
            "rename_table" => self.rename_table(from, to),
            "rename" => {
                let then = self.table(&table)?;
                if then.index.is_some() {
                    then.vacant(&from)?;
                    then.column(&to)?.name = from.clone();
                }
                Ok(Step::Rename { table, from, to })
            }
            "convert" => self.convert(table, field, &from, &to, json.get("default")),
            "add" => self.add(schema, table, field, json.get("default")),
            "drop" => {
                let then = self.table(&table)?;
                then.vacant(&field)?;
                then.columns.push(ColumnThen { name: field.clone(), column: None });
                Ok(Step::Drop { table, field })
            }
            "drop_table" => {
                let table = json.as_str().map_or(table, str::to_string);
                self.vacant(&table)?;
                self.tables.push(TableThen { name: table.clone(), index: None, columns: Vec::new() });
                Ok(Step::DropTable { table })
            }
            _ => Err(fail("", "upgrades", "a step is rename_table, rename, convert, add, drop or drop_table")),
        }
    }

    fn table(&mut self, name: &str) -> Result<&mut TableThen, SchemaError> {
        let found = self.tables.iter_mut().find(|table| table.name == name);
        found.ok_or_else(|| fail(name, "", "an upgrade names this table, which is not there after its step"))
    }

    fn vacant(&self, name: &str) -> Result<(), SchemaError> {
        if name.is_empty() || self.tables.iter().any(|table| table.name == name) {
            return Err(fail(name, "", "an upgrade takes this table away, and it is there after its step"));
        }
        Ok(())
    }

    fn rename_table(&mut self, from: String, to: String) -> Result<Step, SchemaError> {
        self.vacant(&from)?;
        let index = self.table(&to)?.index;
        let mut arcs = Vec::new();
        for table in &self.tables {
            for column in &table.columns {
                if let Some(Column { kind: Kind::Ref { to: targets, .. }, .. }) = &column.column
                    && targets.len() > 1
                    && index.is_some_and(|index| targets.contains(&index))
                {
                    arcs.push((table.name.clone(), column.name.clone()));
                }
            }
        }
        self.table(&to)?.name = from.clone();
        Ok(Step::RenameTable { from, to, arcs })
    }

    fn convert(&mut self, table: String, field: String, from: &str, to: &str, default: Option<&Json>) -> Result<Step, SchemaError> {
        let wrong = |why: &str| fail(&table, &field, why);
        let (Some(from), Some(to)) = (Type::parse(from), Type::parse(to)) else {
            return Err(wrong("a conversion leads `from` one type of field `to` another"));
        };
        if !from.becomes(to) {
            let mut why = String::from("there is no such conversion; allowed are ");
            why.push_str(CONVERSIONS);
            return Err(wrong(&why));
        }
        let then = self.table(&table)?;
        let mut step = (true, default.cloned().map(Json::into_owned));
        if then.index.is_some()
            && let Some(column) = &mut then.column(&field)?.column
        {
            if Type::of(&column.kind) != Some(to) {
                return Err(wrong("a conversion leads to another type than the field has after it"));
            }
            if let (Type::Int, Kind::Text { max_chars: 0..TEXT_OF_INT_CHARS, .. }) = (from, &column.kind) {
                return Err(wrong("a number needs 17 characters: let max_chars be as much"));
            }
            let own = column.default.as_ref().map(|value| {
                let mut text = String::new();
                value.write_plain(&mut text);
                Json::parse_or_null(&text).into_owned()
            });
            step = (column.nullable, step.1.or(own));
            let default = step.1.as_ref().ok_or_else(|| wrong("a conversion needs a `default`, for values without a counterpart"))?;
            column.read(None, default).map_err(|why| wrong(&["the default of its conversion ", &why].concat()))?;
            *column = Column { name: String::new(), kind: from.kind(), nullable: true, default: None };
        }
        let (nullable, default) = (step.0, step.1.unwrap_or(Json::Null));
        Ok(Step::Convert { table, field, from, to, nullable, default })
    }

    fn add(&mut self, schema: &Schema, table: String, field: String, default: Option<&Json>) -> Result<Step, SchemaError> {
        let wrong = |why: &str| fail(&table, &field, why);
        let value = default.cloned().ok_or_else(|| wrong("an added field needs a `default`"))?.into_owned();
        let mut names = Vec::with_capacity(self.tables.len());
        for table in &self.tables {
            names.push((table.name.clone(), table.index));
        }
        let then = self.table(&table)?;
        if then.index.is_none() {
            return Ok(Step::Add { table, field, value, parent: None });
        }
        let mut parent = None;
        match &then.column(&field)?.column {
            Some(Column { kind: Kind::Ref { to, .. }, .. }) if !value.is_null() => {
                let (target, id) = match (&value, value.as_object()) {
                    (Json::Text(id), _) if to.len() == 1 => (names.iter().find(|name| name.1 == to.first().copied()), Some(&**id)),
                    (_, Some([(target, id)])) if to.len() > 1 => (names.iter().find(|name| name.0 == *target), id.as_str()),
                    _ => (None, None),
                };
                let target = target.filter(|name| name.1.is_some_and(|index| to.contains(&index)));
                let id = id.and_then(RowId::parse);
                let (Some((name, Some(index))), Some(id)) = (target, id) else {
                    return Err(wrong("its default must be the id of a row, beside its table's name where there are several"));
                };
                let target = &schema.tables[usize::from(*index)];
                if let Some(column) = target.columns.iter().find(|column| column.default.is_none()) {
                    return Err(fail(
                        &target.name,
                        &column.name,
                        "must be nullable or have a default, because an upgrade makes a row of this table",
                    ));
                }
                parent = Some((name.clone(), id));
            }
            Some(column) => {
                column.read(None, &value).map_err(|why| wrong(&["the default that an upgrade adds ", &why].concat()))?;
            }
            None => {}
        }
        then.columns.retain(|column| column.name != field);
        Ok(Step::Add { table, field, value, parent })
    }
}

impl TableThen {
    fn column(&mut self, name: &str) -> Result<&mut ColumnThen, SchemaError> {
        let found = self.columns.iter_mut().find(|column| column.name == name);
        found.ok_or_else(|| fail(&self.name, name, "an upgrade names this field, which is not there after its step"))
    }

    fn vacant(&self, name: &str) -> Result<(), SchemaError> {
        if name.is_empty() || self.columns.iter().any(|column| column.name == name) {
            return Err(fail(&self.name, name, "an upgrade takes this field away, and it is there after its step"));
        }
        Ok(())
    }
}

// ---- edits ----

/// The oldest version that can be brought up to the present one.
pub fn oldest(schema: &Schema) -> u32 {
    schema.upgrades.first().map_or(1, |upgrade| upgrade.to - 1)
}

/// The steps that follow a version.
pub fn steps_after(schema: &Schema, version: u32) -> impl Iterator<Item = &Step> {
    schema.upgrades.iter().filter(move |upgrade| upgrade.to > version).flat_map(|upgrade| &upgrade.steps)
}

/// The table that one of an older version has become, if it is still there.
pub fn table_now(schema: &Schema, from: u32, name: &str) -> Option<u16> {
    let mut name = name;
    for step in steps_after(schema, from) {
        match step {
            Step::RenameTable { from, to, .. } if from == name => name = to,
            Step::DropTable { table } if table == name => return None,
            _ => {}
        }
    }
    schema.table(name)
}

/// A transaction's edits in terms of the present version. A transaction of which nothing is left says so: it must not be lost
/// in silence.
pub fn upgrade_asked<'a>(schema: &Schema, from: u32, edits: Vec<Json<'a>>) -> Result<Vec<Json<'a>>, Problem> {
    let had_some = !edits.is_empty();
    let mut edits = upgrade(steps_after(schema, from), edits, Values::Asked, true)?;
    for edit in &mut edits {
        fit_texts(schema, edit);
    }
    if edits.is_empty() && had_some {
        return Err(dropped("all that it edits has been taken out of the schema"));
    }
    Ok(edits)
}

/// A server's changes in terms of the present version; of those to dropped tables nothing is left.
pub fn upgrade_changes<'a>(schema: &Schema, from: u32, changes: Vec<Json<'a>>) -> Result<Vec<Json<'a>>, Problem> {
    upgrade(steps_after(schema, from), changes, Values::Final, false)
}

/// The tail on a client's disk in terms of the present version. Its rows may be given a reference to a row of which the server has told
/// nothing yet: before them stands a `restore` of it, for whoever applies them to their end and finds it missing.
pub fn upgrade_revisions<'a>(schema: &Schema, from: u32, mut revisions: Json<'a>) -> Result<Json<'a>, Problem> {
    for revision in revisions.items_mut() {
        for part in revision.get_mut("parts").map_or(&mut [] as &mut [Json], Json::items_mut) {
            if let Some(Json::List(changes)) = part.get_mut("changes") {
                *changes = upgrade(steps_after(schema, from), std::mem::take(changes), Values::Final, true)?;
            }
        }
    }
    Ok(revisions)
}

/// A snapshot, or the base on a client's disk, in terms of the present version; `None` where it is cut off or broken. The digest
/// is that of the rows as they are now.
pub fn upgrade_snapshot(schema: &Schema, from: u32, text: &str) -> Option<Snapshot> {
    let mut lines = text.strip_suffix(SNAPSHOT_END)?.lines();
    let head = Json::parse(lines.next()?).ok()?;
    let mut count = 0;
    let mut snapshot = Snapshot { rev: head.uint("rev")?, digest: Digest::default(), rows: Vec::new() };
    let mut defaults: Vec<Edit> = Vec::new();
    let mut there = SortedSet::new();
    for line in lines {
        let line = Json::parse(line).ok()?;
        let mut creates = Vec::new();
        for cells in line.get("rows")?.as_list()? {
            count += 1;
            let mut set = Vec::new();
            for (i, column) in line.get("columns")?.as_list()?.iter().enumerate() {
                set.push((Cow::Owned(column.as_str()?.to_string()), cells.at(i + 1)?.clone()));
            }
            creates.push(edit("create", line.text("table")?, cells.at(0)?.as_str()?, Json::object(set)));
        }
        for mut json in upgrade(steps_after(schema, from), creates, Values::Final, true).ok()? {
            let is_default = json.text("op") == Some(RESTORE);
            json.put("op", Json::Text(Cow::Borrowed("create")));
            let made = Edit::read(schema, &json, Values::Final).ok()?;
            if is_default {
                defaults.push(made);
            } else if there.insert(made.row) {
                snapshot.rows.push((made.row, row_of(made)));
            }
        }
    }
    if head.uint("rows")? != count {
        return None;
    }
    for made in defaults {
        if there.insert(made.row) {
            snapshot.rows.push((made.row, row_of(made)));
        }
    }
    count_children(schema, &mut snapshot);
    for (key, row) in &snapshot.rows {
        snapshot.digest.add(schema, *key, row);
    }
    Some(snapshot)
}

/// A count may be new, or count something else than it did. Of rows that only the server holds it is left as it was.
fn count_children(schema: &Schema, snapshot: &mut Snapshot) {
    let mut children = SortedMap::new();
    for (key, row) in &snapshot.rows {
        for count in &schema.counts {
            if count.child == key.table
                && let Some(parent) = counting(count, Some(row))
            {
                *children.get_or_insert_with((parent, count.column), || 0) += 1;
            }
        }
    }
    for (key, row) in &mut snapshot.rows {
        for count in &schema.counts {
            if count.parent == key.table && !counts_hidden_rows(schema, key.table, count.column) {
                row.values[usize::from(count.column)] = Value::Int(children.get(&(*key, count.column)).copied().unwrap_or(0));
            }
        }
    }
}

/// A create names every column.
fn row_of(made: Edit) -> Row {
    let mut values = Vec::with_capacity(made.set.len());
    for (_, value) in made.set {
        values.push(value);
    }
    Row::of(values)
}

fn edit<'a>(op: &str, table: &str, id: &str, set: Json<'a>) -> Json<'a> {
    let text = |text: &str| Json::owned(text.to_string());
    let members = [("op", text(op)), ("table", text(table)), ("id", text(id)), ("set", set)];
    Json::object(members.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect())
}

const RESTORE: &str = "restore";

/// The edit that makes a row of defaults unless it is there.
pub fn make_unless_there(table: &str, id: RowId) -> Json<'static> {
    let mut text = String::new();
    id.write(&mut text);
    edit(RESTORE, table, &text, Json::Object(Vec::new()))
}

/// Takes edits through steps. `parents`: before an edit that is given a default reference goes one that makes its row.
pub fn upgrade<'a, 's>(
    steps: impl Iterator<Item = &'s Step>,
    mut edits: Vec<Json<'a>>,
    values: Values,
    parents: bool,
) -> Result<Vec<Json<'a>>, Problem> {
    for step in steps {
        let mut kept = Vec::with_capacity(edits.len());
        let mut parent = if let Step::Add { parent, .. } = step { parent.as_ref().filter(|_| parents) } else { None };
        for mut edit in edits {
            match step.run(&mut edit, values)? {
                Fate::Goes => continue,
                Fate::Filled => kept.extend(parent.take().map(|(table, id)| make_unless_there(table, *id))),
                Fate::Stays => {}
            }
            kept.push(edit);
        }
        edits = kept;
    }
    Ok(edits)
}

enum Fate {
    Stays,
    /// It was given the default of an added field.
    Filled,
    Goes,
}

impl Step {
    fn run(&self, edit: &mut Json, values: Values) -> Result<Fate, Problem> {
        let on = |edit: &Json, table: &str| edit.text("table") == Some(table);
        match self {
            Step::RenameTable { from, to, arcs } => {
                if on(edit, from) {
                    edit.put("table", Json::owned(to.clone()));
                }
                for (table, column) in arcs {
                    for part in ["set", "was"] {
                        if on(edit, table)
                            && let Some(arc) = edit.get_mut(part).and_then(|members| members.get_mut(column))
                            && let Some(id) = arc.take(from)
                        {
                            arc.put(to, id);
                        }
                    }
                }
            }
            Step::Rename { table, from, to } if on(edit, table) => {
                for part in PARTS.into_iter().chain(["was"]) {
                    if let Some(members) = edit.get_mut(part)
                        && let Some(value) = members.take(from)
                    {
                        members.put(to, value);
                    }
                }
            }
            Step::Convert { table, field, from, to, nullable, default } if on(edit, table) => {
                let lost = |why: &str| Err(dropped(&[table, ".", field, why].concat()));
                if *to != Type::Counter && edit.get("add").is_some_and(|add| add.get(field).is_some()) {
                    return lost(" is no counter any more, so nothing can be added to it");
                }
                if let Some(was_and_is) = edit.get_mut("text").and_then(|texts| texts.take(field)) {
                    // What it was says nothing to a field that is no text.
                    put_in(edit, "set", field, was_and_is.at(1).cloned().unwrap_or(Json::Null));
                }
                let is_update = edit.text("op") == Some("update");
                let is_set = edit.get("set").is_some_and(|set| set.get(field).is_some());
                if is_set && *to == Type::Counter && from != to && is_update && values == Values::Asked {
                    return lost(" is a counter now, and cannot be set");
                }
                for part in ["set", "was"] {
                    if let Some(value) = edit.get_mut(part).and_then(|members| members.get_mut(field)) {
                        let converted = convert(*from, *to, *nullable, default, value);
                        *value =
                            converted.ok_or_else(|| Problem::invalid([table, ".", field, " is not of the type that it had"].concat()))?;
                    }
                }
            }
            Step::Add { table, field, value, .. } if on(edit, table) => {
                let makes = matches!(edit.text("op"), Some("create" | RESTORE));
                if makes && edit.get("set").is_none_or(Json::is_null) {
                    edit.put("set", Json::Object(Vec::new()));
                }
                // What the row `was` names all of its fields, like a create.
                let row = edit.get_mut(if makes { "set" } else { "was" });
                if let Some(row) = row.filter(|row| row.as_object().is_some() && row.get(field).is_none()) {
                    row.put(field, value.clone());
                    return Ok(Fate::Filled);
                }
            }
            Step::Drop { table, field } if on(edit, table) => {
                if let Some(was) = edit.get_mut("was") {
                    was.take(field);
                }
                let mut any = false;
                for part in PARTS {
                    any |= edit.get_mut(part).and_then(|members| members.take(field)).is_some();
                }
                let is_empty = |part: &str| edit.get(part).and_then(Json::as_object).is_none_or(<[_]>::is_empty);
                if any && edit.text("op") == Some("update") && PARTS.into_iter().all(is_empty) {
                    return Ok(Fate::Goes);
                }
            }
            Step::DropTable { table } if on(edit, table) => return Ok(Fate::Goes),
            _ => {}
        }
        Ok(Fate::Stays)
    }
}

/// The members of an edit that name fields, beside `was`.
const PARTS: [&str; 5] = ["set", "add", "text", "insert", "remove"];

fn put_in<'a>(edit: &mut Json<'a>, part: &str, field: &str, value: Json<'a>) {
    if edit.get(part).is_none_or(Json::is_null) {
        edit.put(part, Json::Object(Vec::new()));
    }
    if let Some(members) = edit.get_mut(part) {
        members.put(field, value);
    }
}

/// Texts may have begun to be merged, or have ceased to be. Who set a whole text did not say what it was: then all of it is new.
fn fit_texts(schema: &Schema, edit: &mut Json) {
    let Some(table) = edit.text("table").and_then(|name| schema.table(name)).filter(|_| edit.text("op") == Some("update")) else { return };
    for column in &schema.tables[usize::from(table)].columns {
        let Kind::Text { conflicts, .. } = &column.kind else { continue };
        let from = if conflicts.is_some() { "set" } else { "text" };
        let Some(value) = edit.get_mut(from).and_then(|members| members.take(&column.name)) else { continue };
        if conflicts.is_some() {
            let empty = if column.nullable { Json::Null } else { Json::owned(String::new()) };
            put_in(edit, "text", &column.name, Json::List(vec![empty, value]));
        } else {
            put_in(edit, "set", &column.name, value.at(1).cloned().unwrap_or(Json::Null));
        }
    }
}

fn dropped(detail: &str) -> Problem {
    Problem::new("schema_dropped", detail)
}

/// A value of one type as one of another; `None` where it is not of the first. A server's migrations do the same in SQL.
pub fn convert<'a>(from: Type, to: Type, nullable: bool, default: &Json<'a>, value: &Json<'a>) -> Option<Json<'a>> {
    if value.is_null() {
        return Some(if nullable { Json::Null } else { default.clone() });
    }
    Some(match (from, to) {
        (Type::Int | Type::Counter, _) => {
            let int = read_int(value)?;
            match to {
                Type::Text => {
                    let mut text = String::new();
                    write_int(int, &mut text);
                    Json::owned(text)
                }
                Type::Bool => Json::Bool(int != 0),
                _ => Json::int(int),
            }
        }
        (Type::Real, Type::Int) => {
            let real = value.as_f64()?;
            let whole = real.trunc();
            // Half away from zero. Adding a half first would round 0.49999999999999994 up.
            let rest = real - whole;
            let step = if rest >= 0.5 {
                1.0
            } else if rest <= -0.5 {
                -1.0
            } else {
                0.0
            };
            if real.abs() <= limits::INT_MAX as f64 { Json::int((whole + step) as i64) } else { default.clone() }
        }
        (Type::Bool, Type::Int) => Json::Uint(u64::from(value.as_bool()?)),
        (Type::Text, Type::Int) => int_of_text(value.as_str()?).map_or_else(|| default.clone(), Json::int),
        (Type::Text, Type::Json) => {
            let text = value.as_str()?;
            let mut quoted = String::new();
            write_string(text, &mut quoted);
            if quoted.len() <= limits::JSON_BYTES { value.clone() } else { default.clone() }
        }
        _ => value.clone(),
    })
}

/// Only the spelling that the number itself would get.
fn int_of_text(text: &str) -> Option<i64> {
    let int: i64 = text.parse().ok()?;
    let mut again = String::new();
    write_int(int, &mut again);
    (again == text && (-limits::INT_MAX..=limits::INT_MAX).contains(&int)).then_some(int)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{Op, Txn};
    use crate::value::Value;
    use crate::wire::read_changes;

    const ID: &str = "0199aaaa-bbbb-7ccc-8ddd-000000000001";
    const LAYER: &str = "0199aaaa-bbbb-7ccc-8ddd-00000000000f";

    /// Version 3. What was a note is a card, on a layer.
    fn cards() -> Schema {
        let tables = r#"{
            "card":{"fields":{"name":{"type":"text","default":""},"n":{"type":"int","default":0},"c":{"type":"counter"}},
                    "references":{"layer":{"to":["layer"],"on_delete":"restrict"}}},
            "layer":{"fields":{"name":{"type":"text","default":"base"},"shade":{"type":"text","default":"dark"}}},
            "line":{"references":{"from":{"to":["card","layer"],"on_delete":"cascade"}}}}"#;
        let upgrades = format!(
            r#"[{{"to":2,"steps":[{{"rename_table":{{"from":"note","to":"card"}}}},{{"rename":{{"table":"card","from":"count","to":"c"}}}},
                {{"rename":{{"table":"card","from":"title","to":"name"}}}},{{"drop_table":{{"table":"gone"}}}},
                {{"add":{{"table":"card","field":"layer","default":"{LAYER}"}}}}]}},
              {{"to":3,"steps":[{{"convert":{{"table":"card","field":"n","from":"text","to":"int","default":-1}}}},
                {{"drop":{{"table":"card","field":"old"}}}},{{"add":{{"table":"layer","field":"shade","default":"light"}}}}]}}]"#
        );
        Schema::parse(&format!("{{\"name\":\"s\",\"version\":3,\"tables\":{tables},\"upgrades\":{upgrades}}}")).unwrap()
    }

    fn upgraded(edits: &str) -> Result<String, Problem> {
        let Json::List(edits) = Json::parse(edits).unwrap() else { panic!() };
        let mut out = String::new();
        Json::List(upgrade_asked(&cards(), 1, edits)?).write(&mut out);
        Ok(out.replace(ID, "ID").replace(LAYER, "LAYER"))
    }

    fn update(members: &str) -> String {
        format!("[{{\"op\":\"update\",\"table\":\"note\",\"id\":\"{ID}\",{members}}}]")
    }

    #[test]
    fn m3_edits_are_taken_through_the_steps() {
        for (before, after) in [
            (r#""set":{"title":"a","n":"12"}"#, r#"[{"id":"ID","op":"update","set":{"n":12,"name":"a"},"table":"card"}]"#),
            (r#""set":{"n":"many"},"add":{"count":3}"#, r#"[{"add":{"c":3},"id":"ID","op":"update","set":{"n":-1},"table":"card"}]"#),
            (r#""set":{"title":"a","old":1}"#, r#"[{"id":"ID","op":"update","set":{"name":"a"},"table":"card"}]"#),
        ] {
            assert_eq!(upgraded(&update(before)).unwrap(), after);
        }
        let line = format!(r#"[{{"op":"update","table":"line","id":"{ID}","set":{{"from":{{"note":"{ID}"}}}}}}]"#);
        assert_eq!(upgraded(&line).unwrap(), r#"[{"id":"ID","op":"update","set":{"from":{"card":"ID"}},"table":"line"}]"#);
        let delete = format!(r#"[{{"op":"delete","table":"note","id":"{ID}"}}]"#);
        assert_eq!(upgraded(&delete).unwrap(), r#"[{"id":"ID","op":"delete","table":"card"}]"#);
        assert_eq!(upgraded(&update(r#""set":{"n":12}"#)).unwrap_err().code, "invalid", "not what a text can be");
    }

    #[test]
    fn m3_what_a_row_was_is_taken_along() {
        let members = r#""set":{"title":"b"},"was":{"title":"a","n":"1","count":4,"old":2}"#;
        assert_eq!(
            upgraded(&update(members)).unwrap(),
            r#"[{"id":"LAYER","op":"restore","set":{"shade":"light"},"table":"layer"},"#.to_string()
                + r#"{"id":"ID","op":"update","set":{"name":"b"},"table":"card","was":{"c":4,"layer":"LAYER","n":1,"name":"a"}}]"#
        );
    }

    #[test]
    fn m3_the_row_of_a_default_reference_is_made_once_and_before_it_is_needed() {
        let note = format!(r#"{{"op":"create","table":"note","id":"{ID}"}}"#);
        let edits = upgraded(&format!("[{note},{note}]")).unwrap();
        let card = r#"{"id":"ID","op":"create","set":{"layer":"LAYER"},"table":"card"}"#;
        assert_eq!(edits, format!(r#"[{{"id":"LAYER","op":"restore","set":{{"shade":"light"}},"table":"layer"}},{card},{card}]"#));
    }

    #[test]
    fn m3_only_the_steps_that_follow_a_version_are_taken() {
        let create = |version: u32| {
            let edits = format!(r#"[{{"op":"create","table":"card","id":"{ID}"}}]"#);
            Txn::parse(&cards(), &format!(r#"{{"schema":{version},"at":[1,0],"edits":{edits}}}"#)).map(|txn| txn.edits.len())
        };
        assert_eq!(create(1), Ok(2));
        assert_eq!(create(2).unwrap_err().detail, "card.layer has no default: give it when creating");
    }

    #[test]
    fn m3_a_transaction_of_which_nothing_is_left_says_so() {
        let gone = format!(r#"{{"op":"delete","table":"gone","id":"{ID}"}}"#);
        assert_eq!(upgraded(&format!("[{gone}]")).unwrap_err().code, "schema_dropped");
        assert_eq!(upgraded(&update(r#""set":{"old":1}"#)).unwrap_err().code, "schema_dropped");
        let both = format!("[{gone},{}", &update(r#""set":{"title":"a"}"#)[1..]);
        assert_eq!(upgraded(&both).unwrap(), r#"[{"id":"ID","op":"update","set":{"name":"a"},"table":"card"}]"#);
    }

    #[test]
    fn m3_what_a_counter_takes_is_not_lost_in_silence() {
        let convert = |from: &str, to: &str| {
            let tables = format!(r#"{{"t":{{"fields":{{"f":{{"type":"{to}","default":0}}}}}}}}"#);
            let steps = format!(r#"[{{"to":2,"steps":[{{"convert":{{"table":"t","field":"f","from":"{from}","to":"{to}"}}}}]}}]"#);
            Schema::parse(&format!(r#"{{"name":"s","version":2,"tables":{tables},"upgrades":{steps}}}"#)).unwrap()
        };
        let body = |op: &str, part: &str| {
            format!(r#"{{"schema":1,"at":[1,0],"edits":[{{"op":"{op}","table":"t","id":"{ID}","{part}":{{"f":2}}}}]}}"#)
        };
        let code = |schema: &Schema, op: &str, part: &str| Txn::parse(schema, &body(op, part)).map_or_else(|e| e.code, |_| String::new());
        let (int, counter) = (convert("counter", "int"), convert("int", "counter"));
        assert_eq!([code(&int, "update", "add"), code(&int, "create", "set")], ["schema_dropped", ""]);
        assert_eq!([code(&counter, "update", "set"), code(&counter, "create", "set")], ["schema_dropped", ""]);
    }

    #[test]
    fn m3_texts_may_begin_or_cease_to_be_merged() {
        let schema = |more: &str| {
            let tables =
                format!(r#"{{"t":{{"fields":{{"f":{{"type":"text","default":""{more}}},"n":{{"type":"text","nullable":true{more}}}}}}}}}"#);
            Schema::parse(&format!(r#"{{"name":"s","version":2,"tables":{tables}}}"#)).unwrap()
        };
        let edit = |schema: &Schema, part: &str| {
            let body = format!(r#"{{"schema":1,"at":[1,0],"edits":[{{"op":"update","table":"t","id":"{ID}",{part}}}]}}"#);
            let mut out = String::new();
            Txn::parse(schema, &body).unwrap().edits[0].write_json(schema, &mut out);
            out.split_once("\",\"").unwrap().1.split_once("\",\"").unwrap().1.split_once(",").unwrap().1.to_string()
        };
        let merged = schema(r#","merge":"three_way""#);
        assert_eq!(edit(&merged, r#""set":{"f":"a","n":"b"}"#), r#""text":{"f":["","a"],"n":[null,"b"]}}"#);
        assert_eq!(edit(&merged, r#""text":{"f":["a","b"]}"#), r#""text":{"f":["a","b"]}}"#);
        assert_eq!(edit(&schema(""), r#""text":{"f":["a","b"],"n":["a",null]}"#), r#""set":{"f":"b","n":null}}"#);
    }

    #[test]
    fn m3_the_versions_that_are_known() {
        let tables = r#"{"t":{"fields":{"f":{"type":"int","default":0}}}}"#;
        let with =
            |upgrades: &str| Schema::parse(&format!(r#"{{"name":"s","version":5,"tables":{tables},"upgrades":{upgrades}}}"#)).unwrap();
        let code = |schema: &Schema, version: &str| {
            let body = format!(r#"{{"schema":{version},"at":[1,0],"edits":[{{"op":"create","table":"t","id":"{ID}"}}]}}"#);
            Txn::parse(schema, &body).map_or_else(|e| e.code, |_| String::new())
        };
        let codes = |schema: &Schema| ["0", "1", "3", "4", "5", "6", "\"5\""].map(|version| code(schema, version));
        assert_eq!(codes(&with("[]")), ["schema_too_old", "", "", "", "", "schema_newer", "invalid"]);
        let late = with(r#"[{"to":4,"steps":[]},{"to":5,"steps":[]}]"#);
        assert_eq!(codes(&late), ["schema_too_old", "schema_too_old", "", "", "", "schema_newer", "invalid"]);
    }

    #[test]
    fn m3_the_changes_of_a_tail_are_taken_through_the_steps() {
        let changes = format!(
            r#"[{{"rev":1,"parts":[{{"actor":1,"changes":[{{"op":"create","table":"note","id":"{ID}","set":{{"title":"a","n":"3","count":5,"old":0}}}},
            {{"op":"delete_tree","table":"gone","id":"{ID}"}}]}},{{"actor":2}}]}}]"#
        );
        let schema = cards();
        let upgraded = upgrade_revisions(&schema, 1, Json::parse(&changes).unwrap()).unwrap();
        let revisions = read_changes(&schema, &upgraded).unwrap();
        let changes = revisions[0].parts[0].changes.as_ref().unwrap();
        let ops: Vec<Op> = changes.iter().map(|change| change.op).collect();
        assert_eq!((ops, revisions[0].parts[1].changes.is_none()), (vec![Op::Restore, Op::Create], true));
        assert_eq!(changes[1].set[..3], [(0, Value::Int(5)), (1, Value::Int(3)), (2, Value::Text("a".into()))]);
    }

    #[test]
    fn m3_a_snapshot_of_an_older_version_reads_as_one_of_this() {
        let text = format!(
            "{{\"rev\":7,\"digest\":\"{}\",\"rows\":2}}\n{{\"table\":\"note\",\"columns\":[\"count\",\"n\",\"old\",\"title\"],\"rows\":[[\"{ID}\",4,\"5\",0,\"a\"]]}}\n{{\"table\":\"gone\",\"columns\":[],\"rows\":[[\"{ID}\"]]}}\n{SNAPSHOT_END}",
            "0".repeat(32)
        );
        let schema = cards();
        let snapshot = upgrade_snapshot(&schema, 1, &text).unwrap();
        let mut rows = crate::rows::Rows::default();
        for (key, row) in &snapshot.rows {
            rows.put(*key, Some(row.clone()));
        }
        let named: Vec<_> =
            snapshot.rows.iter().map(|(key, row)| (schema.tables[key.table as usize].name.as_str(), row.values.clone())).collect();
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(named[0].1[..3], [Value::Int(4), Value::Int(5), text("a")]);
        assert_eq!(named[1], ("layer", vec![text("base"), text("light")]), "the card's layer came with it");
        assert_eq!((snapshot.rev, snapshot.digest, named.len()), (7, rows.digest(&schema), 2));
        assert!(upgrade_snapshot(&schema, 1, "{\"rev\":7}\n").is_none(), "cut off");
    }

    #[test]
    fn m1_steps_that_do_not_lead_here_fail_to_load_naming_table_and_field() {
        let tables = r#"{"t":{"fields":{"f":{"type":"int","default":0},"s":{"type":"text","max_chars":9},"p":{"type":"text"}},"references":{"r":{"to":["u"],"nullable":true,"on_delete":"set_null"}}},
            "u":{"fields":{"x":{"type":"int"}}}}"#;
        for (steps, expected) in [
            (r#"{"rename_table":{"from":"a","to":"b"}}"#, "table `b`: an upgrade names this table, which is not there"),
            (r#"{"rename_table":{"from":"u","to":"t"}}"#, "table `u`: an upgrade takes this table away, and it is there"),
            (r#"{"rename":{"table":"t","from":"a","to":"b"}}"#, "table `t`, field `b`: an upgrade names this field, which is not there"),
            (r#"{"rename":{"table":"t","from":"p","to":"f"}}"#, "table `t`, field `p`: an upgrade takes this field away, and it is there"),
            (
                r#"{"convert":{"table":"t","field":"f","from":"json","to":"int"}}"#,
                "table `t`, field `f`: there is no such conversion; allowed are int to real",
            ),
            (
                r#"{"convert":{"table":"t","field":"f","from":"real","to":"int","default":"x"}}"#,
                "table `t`, field `f`: the default of its conversion must be a whole",
            ),
            (r#"{"convert":{"table":"t","field":"p","from":"text","to":"text"}}"#, "table `t`, field `p`: a conversion needs a `default`"),
            (
                r#"{"convert":{"table":"t","field":"p","from":"text","to":"int"}}"#,
                "table `t`, field `p`: a conversion leads to another type",
            ),
            (r#"{"convert":{"table":"t","field":"s","from":"int","to":"text","default":""}}"#, "table `t`, field `s`: a number needs 17"),
            (
                r#"{"convert":{"table":"t","field":"r","from":"text","to":"text","default":""}}"#,
                "table `t`, field `r`: a conversion leads to another type",
            ),
            (r#"{"add":{"table":"t","field":"f"}}"#, "table `t`, field `f`: an added field needs a `default`"),
            (
                r#"{"add":{"table":"t","field":"f","default":"x"}}"#,
                "table `t`, field `f`: the default that an upgrade adds must be a whole",
            ),
            (r#"{"add":{"table":"t","field":"r","default":"x"}}"#, "table `t`, field `r`: its default must be the id of a row"),
            (
                r#"{"add":{"table":"t","field":"r","default":"0199aaaa-bbbb-7ccc-8ddd-000000000001"}}"#,
                "table `u`, field `x`: must be nullable or have a default",
            ),
            (r#"{"drop":{"table":"t","field":"f"}}"#, "table `t`, field `f`: an upgrade takes this field away"),
            (r#"{"drop_table":{"table":"u"}}"#, "table `u`: an upgrade takes this table away"),
            (r#"{"split":{}}"#, "field `upgrades`: a step is rename_table"),
        ] {
            let text = format!(r#"{{"name":"s","version":2,"tables":{tables},"upgrades":[{{"to":2,"steps":[{steps}]}}]}}"#);
            let error = Schema::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        for upgrades in [r#"[{"to":3,"steps":[]}]"#, r#"[{"to":1,"steps":[]}]"#, r#"[{"to":2,"steps":[]},{"to":2,"steps":[]}]"#, "7"] {
            let text = format!(r#"{{"name":"s","version":2,"tables":{tables},"upgrades":{upgrades}}}"#);
            assert!(Schema::parse(&text).unwrap_err().to_string().contains("`upgrades`"), "{upgrades}");
        }
        let text = format!(r#"{{"name":"s","version":4,"tables":{tables},"upgrades":[{{"to":2,"steps":[]}},{{"to":4,"steps":[]}}]}}"#);
        assert!(Schema::parse(&text).unwrap_err().to_string().contains("the version above the last one's"));
    }

    #[test]
    fn m1_indexes_name_fields() {
        let table = |indexes: &str| {
            let fields = r#""fields":{"a":{"type":"int"}},"references":{"r":{"to":["t","u"],"nullable":true,"on_delete":"set_null"}}"#;
            Schema::parse(&format!(r#"{{"name":"s","version":1,"tables":{{"u":{{}},"t":{{{fields},"indexes":{indexes}}}}}}}"#))
        };
        assert_eq!(table(r#"{"by_a":["a"]}"#).unwrap().tables[0].indexes, [("by_a".to_string(), vec![0])]);
        for (indexes, expected) in [
            (r#"{"by_b":["b"]}"#, "table `t`, field `b`: an index names this field"),
            (r#"{"by_r":["r"]}"#, "table `t`, field `r`: an index cannot hold"),
            (r#"{"by_a":[]}"#, "table `t`, field `by_a`: an index has a name"),
            (r#"{"By":["a"]}"#, "table `t`, field `By`: an index has a name"),
        ] {
            let error = table(indexes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
