//! Edits and transactions: reading a body, checking it against the schema, writing it.

use crate::field::list_of;
use crate::json::{Json, Member};
use crate::limits;
use crate::merge::Hlc;
use crate::problem::Problem;
use crate::schema::{Column, Kind, Schema, Table, read_int};
use crate::upgrade::{oldest, upgrade_asked};
use crate::value::{RowId, RowKey, Value, write_int, write_string, write_uint};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Create,
    Update,
    Delete,
    /// Makes the row again, or leaves it as it is where it is there: undoing a delete keeps the id.
    Restore,
    /// A server's alone: the row goes, and all that hangs on it as the schema says. Who holds the rows works out which.
    DeleteTree,
}

/// What is to be worked into a field, where setting it would undo what others do.
#[derive(Debug, Clone, PartialEq)]
pub enum Merge {
    /// To a counter.
    Add(i64),
    /// A text, and what it was when it was changed.
    Text { from: Value, to: Value },
    /// Elements of a set; each list is sorted. Of texts that could not be merged, those that are settled.
    Set { insert: Vec<String>, remove: Vec<String> },
}

/// One change to one row. The same form carries what a person asked for and what a server did: then `add` is empty and
/// `set` holds final values.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    pub op: Op,
    pub row: RowKey,
    /// By column, ascending.
    pub set: Vec<(u16, Value)>,
    /// What is added to what the row holds, whoever changed that meanwhile. Updates only, by column, ascending.
    pub add: Vec<(u16, Merge)>,
    /// What the row was when a person updated it: where its table says so, all that making it again takes. By column, ascending.
    pub was: Vec<(u16, Value)>,
}

impl Edit {
    pub fn delete(row: RowKey) -> Edit {
        Edit::new(Op::Delete, row)
    }

    pub fn new(op: Op, row: RowKey) -> Edit {
        Edit { op, row, set: Vec::new(), add: Vec::new(), was: Vec::new() }
    }

    /// Whether the row is there afterwards, whatever was before.
    pub fn makes(&self) -> bool {
        matches!(self.op, Op::Create | Op::Restore)
    }

    /// The rows that this edit makes its row refer to.
    pub fn references(&self) -> impl Iterator<Item = (u16, RowKey)> + '_ {
        self.set.iter().filter_map(|(column, value)| match value {
            Value::Ref(target) => Some((*column, *target)),
            _ => None,
        })
    }

    /// Its row, and the rows to which it may make that refer.
    pub fn named(&self) -> impl Iterator<Item = RowKey> + '_ {
        let values = self.set.iter().chain(&self.was);
        let targets = values.filter_map(|(_, value)| if let Value::Ref(target) = value { Some(*target) } else { None });
        std::iter::once(self.row).chain(targets)
    }

    /// Whether it says what a column of its row holds.
    pub fn writes(&self, column: u16) -> bool {
        self.set.iter().any(|set| set.0 == column) || self.add.iter().any(|add| add.0 == column)
    }

    pub fn set_column(&mut self, column: u16, value: Value) {
        match self.set.binary_search_by_key(&column, |s| s.0) {
            Ok(i) => self.set[i].1 = value,
            Err(i) => self.set.insert(i, (column, value)),
        }
    }

    pub fn write_json(&self, schema: &Schema, out: &mut String) {
        let table = &schema.tables[self.row.table as usize];
        out.push_str(match self.op {
            Op::Create => "{\"op\":\"create\",\"table\":\"",
            Op::Update => "{\"op\":\"update\",\"table\":\"",
            Op::Delete => "{\"op\":\"delete\",\"table\":\"",
            Op::Restore => "{\"op\":\"restore\",\"table\":\"",
            Op::DeleteTree => "{\"op\":\"delete_tree\",\"table\":\"",
        });
        out.push_str(&table.name);
        out.push_str("\",\"id\":\"");
        self.row.id.write(out);
        out.push('"');
        for (name, values) in [("set", &self.set), ("was", &self.was)] {
            if values.is_empty() {
                continue;
            }
            out.push_str(",\"");
            out.push_str(name);
            out.push_str("\":{");
            for (i, (column, value)) in values.iter().enumerate() {
                let column = &table.columns[*column as usize];
                member(i, &column.name, out);
                value.write_json(schema, column, out);
            }
            out.push('}');
        }
        self.write_merges(schema, table, out);
        out.push('}');
    }

    /// The length of its JSON.
    pub fn bytes(&self, schema: &Schema) -> usize {
        let mut out = String::new();
        self.write_json(schema, &mut out);
        out.len()
    }

    /// One member for each way of merging: `add`, `text`, `insert` and `remove`.
    fn write_merges(&self, schema: &Schema, table: &Table, out: &mut String) {
        for way in ["add", "text", "insert", "remove"] {
            let mut count = 0;
            for (column, merge) in &self.add {
                let column = &table.columns[*column as usize];
                let mut begin = |out: &mut String| {
                    if count == 0 {
                        out.push_str(",\"");
                        out.push_str(way);
                        out.push_str("\":{");
                    }
                    member(count, &column.name, out);
                    count += 1;
                };
                match (merge, way) {
                    (Merge::Add(by), "add") => {
                        begin(out);
                        write_int(*by, out);
                    }
                    (Merge::Text { from, to }, "text") => {
                        begin(out);
                        out.push('[');
                        from.write_json(schema, column, out);
                        out.push(',');
                        to.write_json(schema, column, out);
                        out.push(']');
                    }
                    (Merge::Set { insert: list, .. }, "insert") | (Merge::Set { remove: list, .. }, "remove") if !list.is_empty() => {
                        begin(out);
                        list_of(list).write_json(schema, column, out);
                    }
                    _ => {}
                }
            }
            if count > 0 {
                out.push('}');
            }
        }
    }

    /// Reads one edit and checks it by itself: names, types and limits, not whether its rows exist.
    pub fn read(schema: &Schema, json: &Json, values: Values) -> Result<Edit, Problem> {
        let text = |name: &str| json.get(name).and_then(Json::as_str).unwrap_or("");
        let op = match text("op") {
            "create" => Op::Create,
            "update" => Op::Update,
            "delete" => Op::Delete,
            // Among what a server said, only an upgrade puts one.
            "restore" => Op::Restore,
            "delete_tree" if values == Values::Final => Op::DeleteTree,
            _ => return Err(Problem::invalid("an edit's `op` is create, update, delete or restore")),
        };
        let table = schema.table(text("table"));
        let table = table.ok_or_else(|| Problem::invalid(format!("there is no table `{}`", text("table"))))?;
        if schema.tables[table as usize].server_only && values == Values::Asked {
            return Err(Problem::invalid(format!("the table `{}` is kept on the server alone", text("table"))));
        }
        let id = RowId::parse(text("id")).ok_or_else(|| Problem::invalid("an edit's `id` is a UUID in lower case, 36 characters"))?;
        let mut edit = Edit::new(op, RowKey { table, id });
        // The values of `was` are a row's, as a server's are.
        edit.read_set(schema, members(json, "was")?, Values::Final)?;
        edit.was = std::mem::take(&mut edit.set);
        edit.read_set(schema, members(json, "set")?, values)?;
        for way in ["add", "text", "insert", "remove"] {
            edit.read_merges(schema, way, members(json, way)?)?;
        }
        if op == Op::Delete && !edit.set.is_empty() {
            return Err(Problem::invalid("a delete sets and adds nothing").row(schema, edit.row));
        }
        if op != Op::Update && !edit.add.is_empty() {
            let detail = "only an update has `add`, `text`, `insert` and `remove`";
            return Err(Problem::invalid(detail).row(schema, edit.row));
        }
        if edit.makes() {
            fill_defaults(schema, edit.row, &mut edit.set, values)?;
        }
        if !edit.was.is_empty() {
            if op != Op::Update {
                return Err(Problem::invalid("only an update says what the row `was`").row(schema, edit.row));
            }
            fill_defaults(schema, edit.row, &mut edit.was, Values::Final)?;
        }
        Ok(edit)
    }

    fn read_set(&mut self, schema: &Schema, members: &[Member], values: Values) -> Result<(), Problem> {
        let table = &schema.tables[self.row.table as usize];
        for (name, json) in members {
            let wrong = |why: &str| wrong_field(schema, self.row, name, why);
            let index = table.column(name).ok_or_else(|| wrong("does not exist"))?;
            let column = &table.columns[index as usize];
            if column.is_count() && values == Values::Asked {
                return Err(wrong(COUNTED));
            }
            if self.op == Op::Update && values == Values::Asked {
                match column.kind {
                    Kind::Counter => return Err(wrong("is a counter: it takes `add`, not `set`")),
                    Kind::Text { conflicts: Some(_), .. } => {
                        return Err(wrong("is merged: it takes `text` with what it was and what it is to be, not `set`"));
                    }
                    Kind::Set => return Err(wrong("is a set: it takes `insert` and `remove`, not `set`")),
                    _ => {}
                }
            }
            let value = column.read(Some(schema), json).map_err(|why| wrong(&why))?;
            self.set_column(index, value);
        }
        Ok(())
    }

    fn read_merges(&mut self, schema: &Schema, way: &str, members: &[Member]) -> Result<(), Problem> {
        let table = &schema.tables[self.row.table as usize];
        for (name, json) in members {
            let wrong = |why: &str| wrong_field(schema, self.row, name, why);
            let index = table.column(name).ok_or_else(|| wrong("does not exist"))?;
            let column = &table.columns[index as usize];
            if column.is_count() {
                return Err(wrong(COUNTED));
            }
            let merge = read_merge(column, way, json).map_err(|why| wrong(&why))?;
            if matches!(&merge, Merge::Set { insert, remove } if insert.is_empty() && remove.is_empty()) {
                continue;
            }
            match self.add.binary_search_by_key(&index, |add| add.0) {
                Err(at) => self.add.insert(at, (index, merge)),
                // The other half of a set's.
                Ok(at) => {
                    if let (Merge::Set { insert, remove }, Merge::Set { remove: more, .. }) = (&self.add[at].1, merge) {
                        if more.iter().any(|element| insert.binary_search(element).is_ok()) {
                            return Err(wrong("cannot have an element in both `insert` and `remove`"));
                        }
                        let (insert, mut all) = (insert.clone(), remove.clone());
                        all.extend(more);
                        self.add[at].1 = Merge::Set { insert, remove: all };
                    }
                }
            }
        }
        Ok(())
    }
}

/// After this a create names every column, so that a server's defaults can never differ from a client's; but for counts, which
/// are nobody's to ask for.
fn fill_defaults(schema: &Schema, row: RowKey, into: &mut Vec<(u16, Value)>, values: Values) -> Result<(), Problem> {
    let table = &schema.tables[row.table as usize];
    for (i, column) in table.columns.iter().enumerate() {
        let Err(at) = into.binary_search_by_key(&(i as u16), |s| s.0) else { continue };
        if column.is_count() && values == Values::Asked {
            continue;
        }
        let Some(default) = &column.default else {
            let detail = format!("{}.{} has no default: give it when creating", table.name, column.name);
            return Err(Problem::invalid(detail).row(schema, row));
        };
        into.insert(at, (i as u16, default.clone()));
    }
    Ok(())
}

fn wrong_field(schema: &Schema, row: RowKey, name: &str, why: &str) -> Problem {
    Problem::invalid(format!("{}.{name} {why}", schema.tables[row.table as usize].name)).row(schema, row)
}

fn read_merge(column: &Column, way: &str, json: &Json) -> Result<Merge, String> {
    match (way, &column.kind) {
        ("add", Kind::Counter) => Ok(Merge::Add(read_int(json).ok_or("takes a whole number within ±(2^53 - 1)")?)),
        ("add", _) => Err("is not a counter".into()),
        ("text", Kind::Text { conflicts: Some(_), .. }) => {
            let Some([from, to]) = json.as_list() else { return Err("takes a list of two: what it was, and what it is to be".into()) };
            Ok(Merge::Text { from: column.read(None, from)?, to: column.read(None, to)? })
        }
        ("text", _) => Err("is not a text that is merged three-way".into()),
        ("insert", Kind::Set) => Ok(Merge::Set { insert: column.read_texts(json)?, remove: Vec::new() }),
        ("remove", Kind::Set | Kind::Conflicts { .. }) => Ok(Merge::Set { insert: Vec::new(), remove: column.read_texts(json)? }),
        _ => Err("is not a set".into()),
    }
}

const COUNTED: &str = "is a count: nobody sets it or adds to it, it follows from the rows that it counts";

/// Whose values an edit carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// A person's: what is merged is not set.
    Asked,
    /// A server's: final, whatever the field.
    Final,
}

fn members<'a, 'b>(json: &'b Json<'a>, name: &str) -> Result<&'b [Member<'a>], Problem> {
    match json.get(name) {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::Object(members)) => Ok(members),
        Some(_) => Err(Problem::invalid(format!("an edit's `{name}` is an object"))),
    }
}

fn member(index: usize, name: &str, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
    write_string(name, out);
    out.push(':');
}

/// A transaction's content: what its body says.
#[derive(Debug, Clone, PartialEq)]
pub struct Txn {
    pub at: Hlc,
    pub edits: Vec<Edit>,
}

impl Txn {
    pub fn parse(schema: &Schema, body: &str) -> Result<Txn, Problem> {
        Txn::parse_versioned(schema, body).map(|(txn, _)| txn)
    }

    /// And the version of the schema in whose words it is.
    pub(crate) fn parse_versioned(schema: &Schema, body: &str) -> Result<(Txn, u32), Problem> {
        if body.len() > limits::TXN_BYTES {
            return Err(Problem::invalid("a transaction has at most 1 MiB: split it"));
        }
        let mut json = Json::parse(body).map_err(|why| Problem::invalid(format!("the body is {why}")))?;
        let version = known_version(schema, &json)?;
        let (Some(ms @ 0..0x1_0000_0000_0000), Some(count @ 0..0x1_0000)) = (part(&json, 0), part(&json, 1)) else {
            return Err(Problem::invalid("`at` is [milliseconds since 1970, count below 65,536]"));
        };
        let edits = if version == schema.version {
            read_edits(schema, &json)?
        } else {
            bounded(json.list("edits"))?;
            let edits = json.take("edits").map_or(Vec::new(), |edits| if let Json::List(edits) = edits { edits } else { Vec::new() });
            read_all(schema, &upgrade_asked(schema, version, edits)?)?
        };
        Ok((Txn { at: Hlc::new(ms, count), edits }, version))
    }

    /// `made`: when the first of what has been folded into it was made.
    pub fn to_body(&self, schema: &Schema, made: u64) -> String {
        let mut out = String::with_capacity(64 + 128 * self.edits.len());
        out.push_str("{\"schema\":");
        write_uint(u64::from(schema.version), &mut out);
        let made = Hlc(made);
        for (name, time) in [(",\"at\":[", self.at), (",\"made\":[", made)].into_iter().take(1 + usize::from(made != self.at)) {
            out.push_str(name);
            write_uint(time.ms(), &mut out);
            out.push(',');
            write_uint(time.count(), &mut out);
            out.push(']');
        }
        out.push_str(",\"edits\":[");
        write_edits(schema, &self.edits, &mut out);
        out.push_str("]}");
        out
    }
}

/// The version under which a body was made, if it can be brought up to the present one.
fn known_version(schema: &Schema, json: &Json) -> Result<u32, Problem> {
    let version = json.uint("schema").ok_or_else(|| Problem::invalid("`schema` is the version that the transaction was made under"))?;
    if version > u64::from(schema.version) {
        return Err(Problem::new("schema_newer", "it was made under a later version of the schema, and waits for a server that knows it"));
    }
    let oldest = oldest(schema);
    if version < u64::from(oldest) {
        return Err(Problem::new("schema_too_old", format!("the oldest schema version that can still be brought up to date is {oldest}")));
    }
    Ok(version as u32)
}

fn part(json: &Json, index: usize) -> Option<u64> {
    json.get("at")?.at(index)?.as_u64()
}

/// Reads and checks a transaction's edits.
pub fn read_edits(schema: &Schema, json: &Json) -> Result<Vec<Edit>, Problem> {
    bounded(json.list("edits"))?;
    read_all(schema, json.list("edits"))
}

fn bounded(list: &[Json]) -> Result<(), Problem> {
    if list.is_empty() {
        return Err(Problem::invalid("a transaction has at least one edit"));
    }
    if list.len() > limits::TXN_EDITS {
        return Err(Problem::invalid("a transaction has at most 1,000 edits: split it"));
    }
    Ok(())
}

fn read_all(schema: &Schema, list: &[Json]) -> Result<Vec<Edit>, Problem> {
    let mut edits = Vec::with_capacity(list.len());
    for edit in list {
        edits.push(Edit::read(schema, edit, Values::Asked)?);
    }
    Ok(edits)
}

pub fn write_edits(schema: &Schema, edits: &[Edit], out: &mut String) {
    for (i, edit) in edits.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        edit.write_json(schema, out);
    }
}
