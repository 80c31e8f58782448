//! Edits and transactions: reading a body, checking it against the schema, writing it.

use crate::json::Json;
use crate::limits;
use crate::merge::Hlc;
use crate::problem::Problem;
use crate::schema::{Kind, Schema, read_int};
use crate::value::{RowId, RowKey, Value, write_int, write_string, write_uint};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Create,
    Update,
    Delete,
    /// A server's alone: the row goes, and all that hangs on it as the schema says. Who holds the rows works out which.
    DeleteTree,
}

/// One change to one row. The same form carries what a person asked for and what a server did: then `add` is empty and
/// `set` holds final values.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    pub op: Op,
    pub row: RowKey,
    /// By column, ascending.
    pub set: Vec<(u16, Value)>,
    /// Counters only, by column, ascending.
    pub add: Vec<(u16, i64)>,
}

impl Edit {
    pub fn delete(row: RowKey) -> Edit {
        Edit { op: Op::Delete, row, set: Vec::new(), add: Vec::new() }
    }

    /// The rows that this edit makes its row refer to.
    pub fn references(&self) -> impl Iterator<Item = (u16, RowKey)> + '_ {
        self.set.iter().filter_map(|(column, value)| match value {
            Value::Ref(target) => Some((*column, *target)),
            _ => None,
        })
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
            Op::DeleteTree => "{\"op\":\"delete_tree\",\"table\":\"",
        });
        out.push_str(&table.name);
        out.push_str("\",\"id\":\"");
        self.row.id.write(out);
        out.push('"');
        if !self.set.is_empty() {
            out.push_str(",\"set\":{");
            for (i, (column, value)) in self.set.iter().enumerate() {
                let column = &table.columns[*column as usize];
                member(i, &column.name, out);
                value.write_json(schema, column, out);
            }
            out.push('}');
        }
        if !self.add.is_empty() {
            out.push_str(",\"add\":{");
            for (i, (column, by)) in self.add.iter().enumerate() {
                member(i, &table.columns[*column as usize].name, out);
                write_int(*by, out);
            }
            out.push('}');
        }
        out.push('}');
    }

    /// Reads one edit and checks it by itself: names, types and limits, not whether its rows exist.
    pub fn read(schema: &Schema, json: &Json, values: Values) -> Result<Edit, Problem> {
        let text = |name: &str| json.get(name).and_then(Json::as_str).unwrap_or("");
        let op = match text("op") {
            "create" => Op::Create,
            "update" => Op::Update,
            "delete" => Op::Delete,
            "delete_tree" if values == Values::Final => Op::DeleteTree,
            _ => return Err(Problem::invalid("an edit's `op` is create, update or delete")),
        };
        let table = schema.table(text("table"));
        let table = table.ok_or_else(|| Problem::invalid(format!("there is no table `{}`", text("table"))))?;
        if schema.tables[table as usize].server_only && values == Values::Asked {
            return Err(Problem::invalid(format!("the table `{}` is kept on the server alone", text("table"))));
        }
        let id = RowId::parse(text("id")).ok_or_else(|| Problem::invalid("an edit's `id` is a UUID in lower case, 36 characters"))?;
        let mut edit = Edit { op, row: RowKey { table, id }, set: Vec::new(), add: Vec::new() };
        edit.read_set(schema, members(json, "set")?, values)?;
        edit.read_add(schema, members(json, "add")?)?;
        if op == Op::Delete && !(edit.set.is_empty() && edit.add.is_empty()) {
            return Err(Problem::invalid("a delete sets and adds nothing").row(schema, edit.row));
        }
        if op == Op::Create {
            edit.fill_defaults(schema, values)?;
        }
        Ok(edit)
    }

    fn read_set(&mut self, schema: &Schema, members: &Members, values: Values) -> Result<(), Problem> {
        let table = &schema.tables[self.row.table as usize];
        for (name, json) in members {
            let wrong = |why: &str| Problem::invalid(format!("{}.{name} {why}", table.name)).row(schema, self.row);
            let index = table.column(name).ok_or_else(|| wrong("does not exist"))?;
            let column = &table.columns[index as usize];
            if column.is_count() && values == Values::Asked {
                return Err(wrong(COUNTED));
            }
            if column.kind == Kind::Counter && self.op == Op::Update && values == Values::Asked {
                return Err(wrong("is a counter: it takes `add`, not `set`"));
            }
            let value = column.read(Some(schema), json).map_err(|why| wrong(&why))?;
            self.set_column(index, value);
        }
        Ok(())
    }

    fn read_add(&mut self, schema: &Schema, members: &Members) -> Result<(), Problem> {
        let table = &schema.tables[self.row.table as usize];
        for (name, json) in members {
            let wrong = |why: &str| Problem::invalid(format!("{}.{name} {why}", table.name)).row(schema, self.row);
            if table.column(name).is_some_and(|i| table.columns[i as usize].is_count()) {
                return Err(wrong(COUNTED));
            }
            let index = table.column(name).filter(|i| table.columns[*i as usize].kind == Kind::Counter);
            let index = index.ok_or_else(|| wrong("is not a counter"))?;
            let by = read_int(json).ok_or_else(|| wrong("takes a whole number within ±(2^53 - 1)"))?;
            let at = self.add.partition_point(|add| add.0 < index);
            self.add.insert(at, (index, by));
        }
        Ok(())
    }

    /// After this a create names every column, so that a server's defaults can never differ from a client's; but for counts, which
    /// are nobody's to ask for.
    fn fill_defaults(&mut self, schema: &Schema, values: Values) -> Result<(), Problem> {
        let table = &schema.tables[self.row.table as usize];
        for (i, column) in table.columns.iter().enumerate() {
            let i = i as u16;
            if (column.is_count() && values == Values::Asked) || self.set.binary_search_by_key(&i, |s| s.0).is_ok() {
                continue;
            }
            let Some(default) = &column.default else {
                let detail = format!("{}.{} has no default: give it when creating", table.name, column.name);
                return Err(Problem::invalid(detail).row(schema, self.row));
            };
            self.set_column(i, default.clone());
        }
        Ok(())
    }
}

const COUNTED: &str = "is a count: nobody sets it or adds to it, it follows from the rows that it counts";

/// Whose values an edit carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// A person's: counters are added to.
    Asked,
    /// A server's: final, counters included.
    Final,
}

type Members = [(String, Json)];

fn members<'a>(json: &'a Json, name: &str) -> Result<&'a Members, Problem> {
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
        if body.len() > limits::TXN_BYTES {
            return Err(Problem::invalid("a transaction has at most 1 MiB: split it"));
        }
        let json = Json::parse(body).map_err(|why| Problem::invalid(format!("the body is {why}")))?;
        if json.uint("schema") != Some(u64::from(schema.version)) {
            return Err(Problem::new("schema_unknown", format!("this side knows schema version {}", schema.version)));
        }
        let (Some(ms @ 0..0x1_0000_0000_0000), Some(count @ 0..0x1_0000)) = (part(&json, 0), part(&json, 1)) else {
            return Err(Problem::invalid("`at` is [milliseconds since 1970, count below 65,536]"));
        };
        let edits = read_edits(schema, &json)?;
        Ok(Txn { at: Hlc::new(ms, count), edits })
    }

    pub fn to_body(&self, schema: &Schema) -> String {
        let mut out = String::with_capacity(64 + 128 * self.edits.len());
        out.push_str("{\"schema\":");
        write_uint(u64::from(schema.version), &mut out);
        out.push_str(",\"at\":[");
        write_uint(self.at.ms(), &mut out);
        out.push(',');
        write_uint(self.at.count(), &mut out);
        out.push_str("],\"edits\":[");
        write_edits(schema, &self.edits, &mut out);
        out.push_str("]}");
        out
    }
}

fn part(json: &Json, index: usize) -> Option<u64> {
    json.get("at")?.at(index)?.as_u64()
}

/// Reads and checks a transaction's edits.
pub fn read_edits(schema: &Schema, json: &Json) -> Result<Vec<Edit>, Problem> {
    let list = json.list("edits");
    if list.is_empty() {
        return Err(Problem::invalid("a transaction has at least one edit"));
    }
    if list.len() > limits::TXN_EDITS {
        return Err(Problem::invalid("a transaction has at most 1,000 edits: split it"));
    }
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
