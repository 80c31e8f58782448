//! The schema: tables, their fields and their references, read from `schema.json`.
//!
//! The order of sending, the checks of integrity and the SQL tables are all derived from it.

use crate::edit::{Edit, Op};
use crate::field::list_of;
use crate::json::{Json, Member};
use crate::limits;
use crate::sorted::sort_dedup;
use crate::upgrade::{self, Upgrade};
use crate::value::{RowId, RowKey, Value};

#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    pub name: String,
    pub version: u32,
    /// Sorted by name, so that a table's index does not depend on the order in the file.
    pub tables: Vec<Table>,
    /// The counts of all tables.
    pub counts: Vec<Count>,
    /// What leads here from older versions, oldest first.
    pub upgrades: Vec<Upgrade>,
}

/// A column of `parent` that says how many rows of `child` refer to its row by `reference`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub parent: u16,
    pub column: u16,
    pub child: u16,
    pub reference: u16,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub name: String,
    /// Fields, then references, then counts, each sorted by name.
    pub columns: Vec<Column>,
    pub edits_to_deleted: EditsToDeleted,
    /// Its rows stay on the server: clients neither hold nor edit them, and digests leave them out.
    pub server_only: bool,
    /// Indexes beside those of its references, for whoever reads the tables with SQL: names, sorted, and columns.
    pub indexes: Vec<(String, Vec<u16>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub nullable: bool,
    /// What a create that leaves the column out gets; `None` where it must not be left out.
    pub default: Option<Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Text {
        max_chars: usize,
        /// Where it is merged three-way: the column of the texts that could not be.
        conflicts: Option<u16>,
    },
    /// The texts that lost where edits of a text overlapped, for the user to settle: a sorted list, or null.
    Conflicts {
        max_chars: usize,
    },
    /// Texts, each once: a sorted list.
    Set,
    /// A place among others: digits of base 62, sorted as bytes.
    Position,
    Real,
    Int,
    Bool,
    Json,
    Counter,
    /// The id of a row that may be absent, or in another space. It orders nothing and nothing is checked.
    Weak,
    Ref {
        to: Vec<u16>,
        on_delete: OnDelete,
    },
    /// How many rows of `table` refer to this one by their reference `column`. Nobody writes it: it follows from them.
    Count {
        table: u16,
        column: u16,
    },
}

/// What deleting a row does to those that refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    Cascade,
    SetNull,
    Restrict,
}

/// What becomes of an edit that arrives for a row that someone else deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditsToDeleted {
    /// The rest of the transaction is applied, and a notice tells of the edit.
    Drop,
    /// The transaction is refused, and the client parks it.
    Park,
    /// As `Drop`; and where an edit refers to a deleted row and need not, the reference becomes null, with a notice.
    Null,
    /// The row is made again as its editor saw it, with the edit.
    Restore,
}

/// Why a schema does not load: the table, the field where it is one, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    pub table: String,
    pub field: String,
    pub detail: String,
}

impl std::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("schema")?;
        if !self.table.is_empty() {
            write!(f, ", table `{}`", self.table)?;
        }
        if !self.field.is_empty() {
            write!(f, ", field `{}`", self.field)?;
        }
        write!(f, ": {}", self.detail)
    }
}

impl std::error::Error for SchemaError {}

impl Schema {
    pub fn parse(text: &str) -> Result<Schema, SchemaError> {
        let json = Json::parse(text).map_err(|why| fail("", "", &why))?;
        let name = json.text("name").filter(|n| is_name(n));
        let name = name.ok_or_else(|| fail("", "name", "give the schema a name of a-z, 0-9 and _"))?.to_string();
        let version = json.uint("version").filter(|v| (1..=u64::from(u32::MAX)).contains(v));
        let version = version.ok_or_else(|| fail("", "version", "give the schema a version, from 1 up"))? as u32;
        let tables = json.get("tables").and_then(Json::as_object).unwrap_or(&[]);
        if tables.is_empty() {
            return Err(fail("", "tables", "a schema needs a table"));
        }
        if tables.len() > limits::SCHEMA_TABLES {
            return Err(fail("", "tables", "a schema has at most 1,000 tables"));
        }
        // Members come sorted by name.
        let mut schema = Schema { name, version, tables: Vec::with_capacity(tables.len()), counts: Vec::new(), upgrades: Vec::new() };
        for (name, definition) in tables {
            schema.tables.push(Table::parse(name, definition, tables)?);
        }
        schema.add_counts(tables)?;
        schema.refuse_hidden_targets()?;
        schema.refuse_unbreakable_cycles()?;
        schema.upgrades = upgrade::read(&schema, json.get("upgrades"))?;
        Ok(schema)
    }

    pub fn table(&self, name: &str) -> Option<u16> {
        self.tables.binary_search_by(|t| t.name.as_str().cmp(name)).ok().map(|i| i as u16)
    }

    /// Every reference that may point at `table`: the table and the column that hold it, and what a delete does.
    pub fn referrers(&self, table: u16) -> impl Iterator<Item = (u16, u16, OnDelete)> + '_ {
        self.tables.iter().enumerate().flat_map(move |(t, from)| {
            from.columns.iter().enumerate().filter_map(move |(c, column)| match &column.kind {
                Kind::Ref { to, on_delete } if to.contains(&table) => Some((t as u16, c as u16, *on_delete)),
                _ => None,
            })
        })
    }

    /// Whether a `restrict` reference may forbid deleting a row of this table or one that goes with it.
    pub fn may_be_restricted(&self, table: u16) -> bool {
        let mut going = vec![table];
        let mut next = 0;
        while let Some(&table) = going.get(next) {
            next += 1;
            for (from, _, on_delete) in self.referrers(table) {
                match on_delete {
                    OnDelete::Restrict => return true,
                    OnDelete::Cascade if !going.contains(&from) => going.push(from),
                    _ => {}
                }
            }
        }
        false
    }

    /// Whether a server makes an edit's reference null where it points at nothing, instead of refusing the edit.
    pub fn is_loose(&self, edit: &Edit, column: u16) -> bool {
        let table = &self.tables[edit.row.table as usize];
        let lets_go = edit.op == Op::Restore || table.edits_to_deleted == EditsToDeleted::Null;
        lets_go && table.columns[column as usize].nullable
    }

    /// Tables ordered so that one comes after those its required references may point at.
    pub fn parents_first(&self) -> Vec<u16> {
        crate::order::components(self.tables.len(), |t, out| out.extend(self.required_targets(t)))
            .into_iter()
            .flatten()
            .map(|t| t as u16)
            .collect()
    }

    fn required_targets(&self, table: usize) -> Vec<usize> {
        let columns = self.tables[table].columns.iter().filter(|c| !c.nullable);
        columns
            .filter_map(|c| if let Kind::Ref { to, .. } = &c.kind { Some(to) } else { None })
            .flatten()
            .map(|t| usize::from(*t))
            .collect()
    }

    /// Counts come last: they name references of tables that stand later in the file.
    fn add_counts(&mut self, tables: &[Member]) -> Result<(), SchemaError> {
        for (parent, (name, json)) in tables.iter().enumerate() {
            let Some(members) = json.get("counts").filter(|m| !m.is_null()) else { continue };
            let members = members.as_object().ok_or_else(|| fail(name, "counts", "must be an object"))?;
            for (column, definition) in members {
                check_column(name, column, &self.tables[parent].columns)?;
                let (table, reference) = self.counted(parent as u16, column, definition)?;
                let columns = &mut self.tables[parent].columns;
                self.counts.push(Count { parent: parent as u16, column: columns.len() as u16, child: table, reference });
                let kind = Kind::Count { table, column: reference };
                columns.push(Column { name: column.to_string(), kind, nullable: false, default: Some(Value::Int(0)) });
            }
            check_width(name, &self.tables[parent].columns)?;
        }
        Ok(())
    }

    /// The table and the reference that a count names.
    fn counted(&self, parent: u16, column: &str, json: &Json) -> Result<(u16, u16), SchemaError> {
        let wrong = |detail: &str| fail(&self.tables[usize::from(parent)].name, column, detail);
        let of = match json.as_object() {
            Some([(name, of)]) if name == "of" => of.as_str().and_then(|of| of.split_once('.')),
            _ => None,
        };
        let (table, reference) = of.ok_or_else(|| wrong("a count is {\"of\": \"table.reference\"} and nothing else"))?;
        let unknown = || wrong(&format!("counts `{table}.{reference}`, which is not there"));
        let index = self.table(table).ok_or_else(unknown)?;
        let columns = &self.tables[usize::from(index)].columns;
        let at = columns.iter().position(|c| c.name == reference).ok_or_else(unknown)?;
        match &columns[at].kind {
            Kind::Ref { to, .. } if to.contains(&parent) => Ok((index, at as u16)),
            Kind::Ref { .. } => Err(wrong(&format!("counts `{table}.{reference}`, which cannot point at this table"))),
            _ => Err(wrong(&format!("counts `{table}.{reference}`, which is not a reference that is checked"))),
        }
    }

    /// A client could never know whether such a row is there.
    fn refuse_hidden_targets(&self) -> Result<(), SchemaError> {
        for table in self.tables.iter().filter(|table| !table.server_only) {
            for column in &table.columns {
                if let Kind::Ref { to, .. } = &column.kind
                    && to.iter().any(|target| self.tables[usize::from(*target)].server_only)
                {
                    return Err(fail(&table.name, &column.name, "a table that clients hold cannot refer to one that is `server_only`"));
                }
            }
        }
        Ok(())
    }

    /// Rows of such tables could never be created: each would need the other first. Only a table that may point at
    /// itself *or* elsewhere is safe, because its first row points elsewhere.
    fn refuse_unbreakable_cycles(&self) -> Result<(), SchemaError> {
        let closes = |t: usize, column: &Column, target: u16| match &column.kind {
            Kind::Ref { to, .. } if !column.nullable => to.len() == 1 || usize::from(target) != t,
            _ => false,
        };
        let edges = |t: usize, out: &mut Vec<usize>| {
            for column in &self.tables[t].columns {
                if let Kind::Ref { to, .. } = &column.kind {
                    out.extend(to.iter().filter(|target| closes(t, column, **target)).map(|target| usize::from(*target)));
                }
            }
        };
        for group in crate::order::components(self.tables.len(), edges) {
            let looped = |t: usize, column: &Column| matches!(&column.kind, Kind::Ref { to, .. } if to.iter().any(|x| group.contains(&usize::from(*x)) && closes(t, column, *x)));
            for &t in &group {
                let mut columns = self.tables[t].columns.iter();
                if let Some(column) = columns.find(|c| looped(t, c)) {
                    let detail = "this required reference closes a cycle; make one of its references nullable";
                    return Err(fail(&self.tables[t].name, &column.name, detail));
                }
            }
        }
        Ok(())
    }
}

impl Table {
    fn parse(name: &str, json: &Json, tables: &[Member]) -> Result<Table, SchemaError> {
        if !is_name(name) {
            return Err(fail(name, "", "a table's name is a-z, 0-9 and _, begins with a letter and has at most 63 characters"));
        }
        let mut columns = Vec::new();
        for part in ["fields", "references"] {
            let Some(members) = json.get(part).filter(|m| !m.is_null()) else { continue };
            let members = members.as_object().ok_or_else(|| fail(name, part, "must be an object"))?;
            for (column, definition) in members {
                check_column(name, column, &columns)?;
                columns.push(if part == "fields" {
                    field(name, column, definition)?
                } else {
                    reference(name, column, definition, tables)?
                });
            }
            if part == "fields" {
                keep_conflicts(name, &mut columns)?;
            }
        }
        for i in 0..columns.len() {
            let kept = columns[i].name.clone() + CONFLICT;
            let index = columns.iter().position(|c| c.name == kept).map(|at| at as u16);
            if let Kind::Text { conflicts: at @ Some(_), .. } = &mut columns[i].kind {
                *at = index;
            }
        }
        check_width(name, &columns)?;
        let edits_to_deleted = match json.get("edits_to_deleted").map(|v| v.as_str()) {
            None | Some(Some("drop")) => EditsToDeleted::Drop,
            Some(Some("park")) => EditsToDeleted::Park,
            Some(Some("null")) => EditsToDeleted::Null,
            Some(Some("restore")) => EditsToDeleted::Restore,
            _ => return Err(fail(name, "edits_to_deleted", "must be \"drop\", \"null\", \"park\" or \"restore\"")),
        };
        let server_only = flag(name, "", "server_only", json)?;
        let mut table = Table { name: name.to_string(), columns, edits_to_deleted, server_only, indexes: Vec::new() };
        table.indexes = table.read_indexes(json)?;
        Ok(table)
    }

    fn read_indexes(&self, json: &Json) -> Result<Vec<(String, Vec<u16>)>, SchemaError> {
        let mut indexes = Vec::new();
        for (name, list) in json.get("indexes").and_then(Json::as_object).unwrap_or(&[]) {
            let mut columns = Vec::new();
            for column in list.as_list().unwrap_or(&[]) {
                let column = column.as_str().unwrap_or("");
                let index = self.column(column).ok_or_else(|| fail(&self.name, column, "an index names this field, which is not there"))?;
                if let Kind::Ref { to, .. } = &self.columns[usize::from(index)].kind
                    && to.len() > 1
                {
                    return Err(fail(&self.name, column, "an index cannot hold a reference to one of several tables"));
                }
                columns.push(index);
            }
            if columns.is_empty() || !is_name(name) {
                return Err(fail(&self.name, name, "an index has a name of a-z, 0-9 and _, and lists fields"));
            }
            indexes.push((name.to_string(), columns));
        }
        Ok(indexes)
    }

    pub fn column(&self, name: &str) -> Option<u16> {
        self.columns.iter().position(|c| c.name == name).map(|i| i as u16)
    }
}

/// What the name of a merged text has after it in that of the column beside it.
const CONFLICT: &str = "_conflict";

/// A text that is merged three-way brings a column of its own for what could not be.
fn keep_conflicts(table: &str, columns: &mut Vec<Column>) -> Result<(), SchemaError> {
    let mut i = 0;
    while let Some(column) = columns.get(i) {
        i += 1;
        let Kind::Text { max_chars, conflicts: Some(_) } = column.kind else { continue };
        let name = column.name.clone() + CONFLICT;
        if !is_name(&name) {
            return Err(fail(table, &column.name, "a text that is merged has a name of at most 54 characters"));
        }
        // Sorted by name, as the others are; that is behind its text.
        let Err(at) = columns.binary_search_by(|c| c.name.cmp(&name)) else {
            return Err(fail(table, &name, "is the name of a field that comes with a text that is merged: choose another"));
        };
        columns.insert(at, Column { name, kind: Kind::Conflicts { max_chars }, nullable: true, default: Some(Value::Null) });
    }
    Ok(())
}

fn check_column(table: &str, name: &str, columns: &[Column]) -> Result<(), SchemaError> {
    if !is_name(name) || name == "id" || name == "space" {
        return Err(fail(table, name, "a field's name is a-z, 0-9 and _, begins with a letter and is not `id` or `space`"));
    }
    if columns.iter().any(|c| c.name == name) {
        return Err(fail(table, name, "is declared twice: as a field, a reference or a count"));
    }
    Ok(())
}

fn check_width(table: &str, columns: &[Column]) -> Result<(), SchemaError> {
    if columns.len() > limits::TABLE_COLUMNS {
        return Err(fail(table, "", "a table has at most 500 columns"));
    }
    Ok(())
}

fn field(table: &str, name: &str, json: &Json) -> Result<Column, SchemaError> {
    let max_chars = match json.get("max_chars") {
        None => limits::TEXT_CHARS,
        Some(n) => n.as_u64().filter(|n| *n > 0).ok_or_else(|| fail(table, name, "max_chars must be a positive number"))? as usize,
    };
    if json.get("merge").is_some() && json.text("type") != Some("text") {
        return Err(fail(table, name, "only a text has `merge`"));
    }
    let kind = match json.text("type") {
        Some("text") => match json.get("merge").map(Json::as_str) {
            None => Kind::Text { max_chars, conflicts: None },
            // Which column that is follows when all have their places.
            Some(Some("three_way")) => Kind::Text { max_chars, conflicts: Some(0) },
            _ => return Err(fail(table, name, "`merge` must be \"three_way\", or be left out")),
        },
        Some("set") => Kind::Set,
        Some("position") => Kind::Position,
        Some("real") => Kind::Real,
        Some("int") => Kind::Int,
        Some("bool") => Kind::Bool,
        Some("json") => Kind::Json,
        Some("counter") => Kind::Counter,
        _ => return Err(fail(table, name, "`type` must be text, real, int, bool, json, counter, set or position")),
    };
    let nullable = flag(table, name, "nullable", json)?;
    if nullable && kind == Kind::Counter {
        return Err(fail(table, name, "a counter begins at 0 and cannot be nullable"));
    }
    if nullable && kind == Kind::Set {
        return Err(fail(table, name, "a set begins empty and cannot be nullable"));
    }
    let mut column = Column { name: name.to_string(), nullable, default: None, kind };
    column.default = match json.get("default") {
        Some(value) => Some(column.read(None, value).map_err(|why| fail(table, name, &format!("the default {why}")))?),
        None if nullable => Some(Value::Null),
        None if column.kind == Kind::Counter => Some(Value::Int(0)),
        None if column.kind == Kind::Set => Some(list_of(&[])),
        None => None,
    };
    Ok(column)
}

fn reference(table: &str, name: &str, json: &Json, tables: &[Member]) -> Result<Column, SchemaError> {
    let nullable = flag(table, name, "nullable", json)?;
    let default = if nullable { Some(Value::Null) } else { None };
    if flag(table, name, "weak", json)? {
        if json.get("on_delete").is_some() {
            return Err(fail(table, name, "a weak reference does nothing when its row is deleted: leave `on_delete` out"));
        }
        return Ok(Column { name: name.to_string(), nullable, default, kind: Kind::Weak });
    }
    let targets = json.list("to");
    if targets.is_empty() {
        return Err(fail(table, name, "`to` must list the tables that it may point at"));
    }
    let mut to = Vec::new();
    for target in targets {
        let target = target.as_str().unwrap_or("");
        let index = tables.iter().position(|t| t.0 == target);
        let index = index.ok_or_else(|| fail(table, name, &format!("refers to the unknown table `{target}`")))?;
        if to.contains(&(index as u16)) {
            return Err(fail(table, name, &format!("names the table `{target}` twice")));
        }
        to.push(index as u16);
    }
    let on_delete = match json.text("on_delete") {
        Some("cascade") => OnDelete::Cascade,
        Some("set_null") if !nullable => return Err(fail(table, name, "set_null needs a nullable reference")),
        Some("set_null") => OnDelete::SetNull,
        Some("restrict") => OnDelete::Restrict,
        _ => return Err(fail(table, name, "`on_delete` must say cascade, set_null or restrict")),
    };
    Ok(Column { name: name.to_string(), nullable, default, kind: Kind::Ref { to, on_delete } })
}

impl Column {
    pub fn is_count(&self) -> bool {
        matches!(self.kind, Kind::Count { .. })
    }

    /// Reads a value of this column. The schema is needed for a reference to one of several tables.
    pub fn read(&self, schema: Option<&Schema>, json: &Json) -> Result<Value, String> {
        if json.is_null() {
            return if self.nullable { Ok(Value::Null) } else { Err("must not be null".into()) };
        }
        match &self.kind {
            Kind::Text { max_chars, .. } => Ok(Value::Text(read_text(json, *max_chars)?)),
            Kind::Conflicts { .. } => {
                let texts = self.read_texts(json)?;
                if texts.len() > limits::CONFLICTS {
                    return Err("must have at most 20 texts".into());
                }
                Ok(list_of(&texts))
            }
            Kind::Set => {
                let texts = self.read_texts(json)?;
                if texts.len() > limits::SET_ELEMENTS {
                    return Err("must have at most 1,000 elements".into());
                }
                Ok(list_of(&texts))
            }
            Kind::Position => {
                let digits = json.as_str().filter(|digits| is_position(digits));
                let wrong = "must be a position: 1 to 200 of 0-9, A-Z and a-z, the last not 0";
                Ok(Value::Text(digits.ok_or(wrong)?.to_string()))
            }
            Kind::Real => json.as_f64().filter(|r| r.is_finite()).map(|r| Value::Real(r + 0.0)).ok_or("must be a number".into()),
            Kind::Int | Kind::Counter | Kind::Count { .. } => {
                read_int(json).map(Value::Int).ok_or("must be a whole number within ±(2^53 - 1)".into())
            }
            Kind::Bool => json.as_bool().map(Value::Bool).ok_or("must be true or false".into()),
            Kind::Json => {
                let mut text = String::new();
                json.write(&mut text);
                if text.len() > limits::JSON_BYTES || json.depth() > limits::JSON_DEPTH {
                    return Err("is too large: at most 262,144 bytes and 64 levels".into());
                }
                Ok(Value::Json(text))
            }
            Kind::Weak => {
                let id = json.as_str().filter(|id| RowId::parse(id).is_some()).ok_or(ROW_ID)?;
                Ok(Value::Text(id.to_string()))
            }
            Kind::Ref { to, .. } => read_reference(schema, to, json),
        }
    }

    /// Reads texts for a set, or for what is kept of texts that were not merged: sorted, each once.
    pub fn read_texts(&self, json: &Json) -> Result<Vec<String>, String> {
        let max_chars = if let Kind::Conflicts { max_chars } = self.kind { max_chars } else { limits::SET_ELEMENT_CHARS };
        let mut texts = Vec::new();
        for item in json.as_list().ok_or("must be a list of texts")? {
            texts.push(read_text(item, max_chars)?);
        }
        sort_dedup(&mut texts);
        Ok(texts)
    }
}

fn read_text(json: &Json, max_chars: usize) -> Result<String, String> {
    let text = json.as_str().ok_or("must be a text")?;
    // Bytes first: counting characters costs, and most texts are far below the limit.
    if text.len() > max_chars && text.chars().count() > max_chars {
        return Err(format!("must have at most {max_chars} characters"));
    }
    Ok(text.to_string())
}

/// A last 0 would leave no room before it.
fn is_position(digits: &str) -> bool {
    let is_digit = |b: u8| b.is_ascii_alphanumeric();
    digits.len() <= limits::POSITION_CHARS && digits.bytes().last().is_some_and(|b| b != b'0') && digits.bytes().all(is_digit)
}

const ROW_ID: &str = "must be a row id (a UUID in lower case)";

fn read_reference(schema: Option<&Schema>, to: &[u16], json: &Json) -> Result<Value, String> {
    if let [table] = to {
        let id = json.as_str().and_then(RowId::parse).ok_or(ROW_ID)?;
        return Ok(Value::Ref(RowKey { table: *table, id }));
    }
    let wrong = "must be an object with one member, table name to row id";
    let Some([(name, id)]) = json.as_object() else { return Err(wrong.into()) };
    let table = schema.and_then(|s| s.table(name)).filter(|t| to.contains(t));
    let table = table.ok_or_else(|| format!("must not point at `{name}`"))?;
    let id = id.as_str().and_then(RowId::parse).ok_or(wrong)?;
    Ok(Value::Ref(RowKey { table, id }))
}

/// JavaScript writes 5 and 5.0 alike, so a whole number is one however it is spelled.
pub fn read_int(json: &Json) -> Option<i64> {
    let int = match json {
        Json::Int(int) => *int,
        Json::Uint(int) => i64::try_from(*int).ok()?,
        Json::Real(real) if real.fract() == 0.0 && real.abs() <= limits::INT_MAX as f64 => *real as i64,
        _ => return None,
    };
    (-limits::INT_MAX..=limits::INT_MAX).contains(&int).then_some(int)
}

fn flag(table: &str, name: &str, member: &str, json: &Json) -> Result<bool, SchemaError> {
    match json.get(member) {
        None => Ok(false),
        Some(Json::Bool(b)) => Ok(*b),
        Some(_) => Err(fail(table, name, &format!("`{member}` must be true or false"))),
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

pub(crate) fn fail(table: &str, field: &str, detail: &str) -> SchemaError {
    SchemaError { table: table.to_string(), field: field.to_string(), detail: detail.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(tables: &str) -> String {
        Schema::parse(&format!(r#"{{"name":"s","version":1,"tables":{tables}}}"#)).unwrap_err().to_string()
    }

    #[test]
    fn i1_a_reference_without_on_delete_fails_to_load_naming_it() {
        let text = error(r#"{"a":{"references":{"up":{"to":["a"],"nullable":true}}}}"#);
        assert!(text.contains("table `a`, field `up`") && text.contains("on_delete"), "{text}");
        let text = error(r#"{"a":{"references":{"up":{"to":["b"],"on_delete":"cascade"}}}}"#);
        assert!(text.contains("field `up`") && text.contains("unknown table `b`"), "{text}");
        let text = error(r#"{"a":{"references":{"up":{"to":["a"],"on_delete":"set_null"}}}}"#);
        assert!(text.contains("needs a nullable"), "{text}");
    }

    #[test]
    fn o8_a_weak_reference_is_declared_so_and_does_nothing_on_a_delete() {
        let text = error(r#"{"a":{"references":{"up":{"to":["a"],"weak":true,"on_delete":"cascade"}}}}"#);
        assert!(text.contains("field `up`") && text.contains("weak"), "{text}");
        let schema = r#"{"name":"s","version":1,"tables":{"a":{"references":{"b":{"weak":true}}},"b":{"references":{"a":{"weak":true}}}}}"#;
        let schema = Schema::parse(schema).unwrap();
        assert_eq!(schema.parents_first(), [0, 1], "not even a required one orders or closes a cycle");
        assert!(schema.referrers(0).next().is_none());
        let column = &schema.tables[0].columns[0];
        assert!(column.read(None, &Json::Text("0199aaaa-bbbb-7ccc-8ddd-eeeeffff0123".into())).is_ok());
        assert!(column.read(None, &Json::Text("card 7".into())).is_err());
    }

    #[test]
    fn i9_a_count_names_a_reference_that_may_point_at_its_table() {
        let counts = |of: &str| {
            error(&format!(
                r#"{{"a":{{"counts":{{"n":{of}}}}},"b":{{"fields":{{"x":{{"type":"int"}}}},"references":{{
                "a":{{"to":["a"],"weak":true}},"b":{{"to":["b"],"nullable":true,"on_delete":"cascade"}}}}}}}}"#
            ))
        };
        for (of, why) in [
            (r#"{"of":"c.a"}"#, "counts `c.a`, which is not there"),
            (r#"{"of":"b.z"}"#, "counts `b.z`, which is not there"),
            (r#"{"of":"b.x"}"#, "counts `b.x`, which is not a reference"),
            (r#"{"of":"b.a"}"#, "counts `b.a`, which is not a reference"),
            (r#"{"of":"b.b"}"#, "counts `b.b`, which cannot point at this table"),
            (r#"{"of":"b"}"#, "a count is {\"of\": \"table.reference\"}"),
            (r#"{"of":"b.b","where":"x"}"#, "and nothing else"),
            (r#""b.b""#, "a count is {\"of\": \"table.reference\"}"),
        ] {
            let text = counts(of);
            assert!(text.contains("table `a`, field `n`") && text.contains(why), "{of}: {text}");
        }
        let twice = r#"{"a":{"fields":{"n":{"type":"int"}},"counts":{"n":{"of":"a.up"}},"references":{"up":{"to":["a"],"nullable":true,"on_delete":"cascade"}}}}"#;
        assert!(error(twice).contains("table `a`, field `n`: is declared twice"), "{}", error(twice));
        let schema = twice.replace(r#""counts":{"n":"#, r#""counts":{"ups":"#);
        let schema = Schema::parse(&format!(r#"{{"name":"s","version":1,"tables":{schema}}}"#)).unwrap();
        assert_eq!(schema.counts, [Count { parent: 0, column: 2, child: 0, reference: 1 }]);
        assert_eq!(schema.tables[0].columns[2].kind, Kind::Count { table: 0, column: 1 });
    }

    #[test]
    fn a_table_that_clients_hold_cannot_refer_to_one_that_they_do_not() {
        let text = error(r#"{"a":{"references":{"b":{"to":["b"],"on_delete":"cascade"}}},"b":{"server_only":true}}"#);
        assert!(text.contains("table `a`, field `b`") && text.contains("server_only"), "{text}");
    }

    #[test]
    fn i1_a_cycle_that_no_row_could_begin_fails_to_load() {
        let text = error(
            r#"{"a":{"references":{"b":{"to":["b"],"on_delete":"cascade"}}},"b":{"references":{"a":{"to":["a"],"on_delete":"cascade"}}}}"#,
        );
        assert!(text.contains("closes a cycle"), "{text}");
    }

    #[test]
    fn tables_and_columns_do_not_depend_on_the_order_in_the_file() {
        let one = r#"{"name":"s","version":1,"tables":{"b":{"fields":{"y":{"type":"int"},"x":{"type":"real"}}},"a":{}}}"#;
        let two = r#"{"name":"s","version":1,"tables":{"a":{},"b":{"fields":{"x":{"type":"real"},"y":{"type":"int"}}}}}"#;
        assert_eq!(Schema::parse(one).unwrap(), Schema::parse(two).unwrap());
    }

    #[test]
    fn parents_come_first() {
        let text = r#"{"name":"s","version":1,"tables":{
            "a":{"references":{"b":{"to":["b"],"on_delete":"cascade"}}},
            "b":{"references":{"c":{"to":["c","d"],"on_delete":"cascade"}}}, "c":{}, "d":{}}}"#;
        assert_eq!(Schema::parse(text).unwrap().parents_first(), [2, 3, 1, 0]);
    }
}
