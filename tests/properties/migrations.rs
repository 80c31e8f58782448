//! Migrations (M3): random schemas that change twice by random steps, edits made under each version, some of them sent with the answer
//! lost; the page goes on at the second version or at the third. What comes out is what the edits make of the rows of their own time,
//! with these taken through the steps afterwards, by rules written down here once more.

use crate::making::{self, call, moved, one_of, shown};
use crate::model::{self, Rows, values};
use crate::run::{Family, Run};
use crate::tab::{Tab, config, serve};
use driftline_core::edit::{Edit, Op};
use driftline_core::outbox::{Key, State};
use driftline_core::schema::{Kind, Schema};
use driftline_core::sender::SendFailure;
use driftline_core::value::{RowId, RowKey, Value};
use driftline_tests::sim::rng::Rng;
use driftline_tests::sim::server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub const FAMILY: Family = Family {
    name: "migrations",
    rules: "M1, M3, D1",
    situations: &[
        "table renamed",
        "field renamed",
        "reference renamed",
        "type converted",
        "null made a default",
        "value without a counterpart",
        "field added",
        "field added without a step",
        "required reference added",
        "row of a required reference made",
        "field dropped",
        "reference dropped",
        "table dropped",
        "never sent, upgraded",
        "request lost, upgraded",
        "answer lost, upgraded",
        "sent to a server of a later version, answer lost",
        "page upgraded one version at a time",
        "page upgraded two versions at once",
        "edits made under every version",
        "pending create upgraded",
        "pending update upgraded",
        "pending delete upgraded",
        "pending reference to one of several tables upgraded",
        "nothing left of a transaction",
        "came to the server exactly once",
    ],
    run: m3_what_waits_takes_effect_once_in_the_shape_of_the_day,
};

const NOW: u64 = 1_800_000_000_000;
/// The table of which added references name a row.
const HUB: usize = 0;

// ---- schemas ----

#[derive(Clone, Copy, PartialEq, Debug)]
enum Type {
    Text,
    Real,
    Int,
    Bool,
    Json,
    Counter,
    Set,
}

const TYPES: [Type; 7] = [Type::Text, Type::Real, Type::Int, Type::Bool, Type::Json, Type::Counter, Type::Set];

impl Type {
    fn name(self) -> &'static str {
        ["text", "real", "int", "bool", "json", "counter", "set"][self as usize]
    }

    fn value(self, rng: &mut Rng) -> Value {
        match self {
            Type::Text => Value::Text(text(rng)),
            Type::Real => Value::Real(real(rng)),
            Type::Int | Type::Counter => Value::Int(rng.below(9) as i64 - 3),
            Type::Bool => Value::Bool(rng.chance(500)),
            Type::Json => Value::Json(format!("[{}]", rng.below(9))),
            Type::Set => Value::Json("[]".to_string()),
        }
    }

    fn becomes(self) -> &'static [Type] {
        match self {
            Type::Int => &[Type::Real, Type::Text, Type::Bool, Type::Int],
            Type::Real => &[Type::Int, Type::Real],
            Type::Text => &[Type::Int, Type::Json, Type::Text],
            Type::Bool => &[Type::Int, Type::Bool],
            Type::Json => &[Type::Json],
            Type::Counter | Type::Set => &[],
        }
    }
}

fn text(rng: &mut Rng) -> String {
    let texts = ["12", "-3", "0", "007", "many", "", "4.5", "+1", " 5", "9007199254740993"];
    rng.pick(&texts).copied().unwrap_or("").to_string()
}

fn real(rng: &mut Rng) -> f64 {
    rng.pick(&[0.0, 0.5, -0.5, 1.5, -2.5, 0.49999999999999994, 7.0, 1e300, 2.25]).copied().unwrap_or(0.0)
}

#[derive(Clone)]
struct Field {
    name: String,
    of: Type,
    nullable: bool,
    default: Value,
    /// It is not converted any more: it came without a step, so that nothing but its default is known of older rows, or a conversion took its
    /// nulls, which a later schema does not tell.
    settled: bool,
}

#[derive(Clone)]
struct Reference {
    name: String,
    to: Vec<usize>,
    nullable: bool,
    on_delete: &'static str,
}

/// A table as of a version; tables are known by their place, and those that went stay in theirs.
#[derive(Clone)]
struct Table {
    name: String,
    fields: Vec<Field>,
    references: Vec<Reference>,
    ways: &'static str,
    is_gone: bool,
}

/// A step as the schema tells it, and as the model takes it.
#[derive(Clone, Debug)]
enum Step {
    RenameTable { from: String, to: String },
    Rename { table: String, from: String, to: String },
    Convert { table: String, field: String, from: Type, to: Type, nullable: bool, default: Value },
    Add { table: String, field: String, value: Value, parent: Option<(String, RowId)> },
    Drop { table: String, field: String },
    DropTable { table: String },
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Text(text) => format!("\"{text}\""),
        Value::Real(real) => format!("{real:?}"),
        Value::Int(int) => int.to_string(),
        Value::Bool(bool) => bool.to_string(),
        Value::Json(json) => json.clone(),
        Value::Ref(row) => format!("\"{}\"", row.id),
    }
}

impl Step {
    fn told(&self) -> String {
        match self {
            Step::RenameTable { from, to } => format!(r#"{{"rename_table":{{"from":"{from}","to":"{to}"}}}}"#),
            Step::Rename { table, from, to } => format!(r#"{{"rename":{{"table":"{table}","from":"{from}","to":"{to}"}}}}"#),
            Step::Convert { table, field, from, to, default, .. } => format!(
                r#"{{"convert":{{"table":"{table}","field":"{field}","from":"{}","to":"{}","default":{}}}}}"#,
                from.name(),
                to.name(),
                plain(default)
            ),
            Step::Add { table, field, value, parent } => {
                let value = parent.as_ref().map_or_else(|| plain(value), |parent| format!("\"{}\"", parent.1));
                format!(r#"{{"add":{{"table":"{table}","field":"{field}","default":{value}}}}}"#)
            }
            Step::Drop { table, field } => format!(r#"{{"drop":{{"table":"{table}","field":"{field}"}}}}"#),
            Step::DropTable { table } => format!(r#"{{"drop_table":{{"table":"{table}"}}}}"#),
        }
    }
}

/// Three versions of a schema, and what leads from each to the next.
struct Versions {
    schemas: Vec<Rc<Schema>>,
    steps: Vec<Vec<Step>>,
}

struct Maker {
    tables: Vec<Table>,
    names: u64,
}

impl Maker {
    fn name(&mut self) -> String {
        self.names += 1;
        // So that neither tables nor columns keep their places.
        format!("{}{}", (b'a' + (self.names * 7 % 26) as u8) as char, self.names)
    }

    fn field(&mut self, rng: &mut Rng) -> Field {
        let of = rng.pick(&TYPES).copied().unwrap_or(Type::Int);
        let nullable = of != Type::Counter && of != Type::Set && rng.chance(300);
        Field { name: self.name(), of, nullable, default: of.value(rng), settled: false }
    }

    fn first(rng: &mut Rng) -> Maker {
        let mut maker = Maker { tables: Vec::new(), names: rng.below(20) };
        for at in 0..rng.range(3, 5) as usize {
            let fields = (0..rng.range(1, 4)).map(|_| maker.field(rng)).collect();
            let mut references = Vec::new();
            for _ in 0..if at == HUB { 0 } else { rng.below(3) } {
                let mut to = vec![rng.below(at as u64) as usize];
                let more = rng.below(at as u64) as usize;
                to.extend((!to.contains(&more) && rng.chance(600)).then_some(more));
                let nullable = rng.chance(600);
                let on_delete = match (nullable, rng.below(10)) {
                    (true, 0..7) => "set_null",
                    (_, 9) => "restrict",
                    _ => "cascade",
                };
                references.push(Reference { name: maker.name(), to, nullable, on_delete });
            }
            let ways = rng.pick(&["drop", "null", "park", "restore"]).copied().unwrap_or("drop");
            let name = maker.name();
            maker.tables.push(Table { name, fields, references, ways, is_gone: false });
        }
        maker
    }

    fn schema(&self, version: usize, upgrades: &[Vec<Step>]) -> Result<Schema, String> {
        let tables = self.tables.iter().filter(|table| !table.is_gone).map(|table| {
            let fields = table.fields.iter().map(|field| {
                let default = if field.of == Type::Set { String::new() } else { format!(",\"default\":{}", plain(&field.default)) };
                format!(r#""{}":{{"type":"{}","nullable":{}{default}}}"#, field.name, field.of.name(), field.nullable)
            });
            let references = table.references.iter().map(|reference| {
                let to: Vec<String> = reference.to.iter().map(|to| format!("\"{}\"", self.tables[*to].name)).collect();
                let (name, nullable, on_delete) = (&reference.name, reference.nullable, reference.on_delete);
                format!(r#""{name}":{{"to":[{}],"nullable":{nullable},"on_delete":"{on_delete}"}}"#, to.join(","))
            });
            let (fields, references): (Vec<_>, Vec<_>) = (fields.collect(), references.collect());
            format!(
                r#""{}":{{"edits_to_deleted":"{}","fields":{{{}}},"references":{{{}}}}}"#,
                table.name,
                table.ways,
                fields.join(","),
                references.join(",")
            )
        });
        let upgrades = upgrades.iter().enumerate().map(|(i, steps)| {
            let steps: Vec<String> = steps.iter().map(Step::told).collect();
            format!(r#"{{"to":{},"steps":[{}]}}"#, i + 2, steps.join(","))
        });
        let (tables, upgrades) = (tables.collect::<Vec<_>>().join(","), upgrades.collect::<Vec<_>>().join(","));
        let text = format!(r#"{{"name":"m","version":{version},"upgrades":[{upgrades}],"tables":{{{tables}}}}}"#);
        Schema::parse(&text).map_err(|error| format!("{error}: {text}"))
    }

    /// One random step, carried out on the tables.
    fn step(&mut self, run: &mut Run) -> Option<Step> {
        let there: Vec<usize> = (0..self.tables.len()).filter(|at| !self.tables[*at].is_gone).collect();
        let at = run.rng.pick(&there).copied()?;
        let fresh = self.name();
        let hub = self.tables[HUB].name.clone();
        let names: Vec<String> = self.tables.iter().map(|table| table.name.clone()).collect();
        let (kind, rng) = (run.rng.below(100), &mut run.rng);
        let is_named = self.tables.iter().any(|other| !other.is_gone && other.references.iter().any(|r| r.to.contains(&at)));
        let table = &mut self.tables[at];
        let name = table.name.clone();
        let (step, situation) = match kind {
            0..12 => {
                table.name.clone_from(&fresh);
                (Step::RenameTable { from: name, to: fresh }, "table renamed")
            }
            12..24 if !table.fields.is_empty() => {
                let i = rng.below(table.fields.len() as u64) as usize;
                let from = std::mem::replace(&mut table.fields[i].name, fresh.clone());
                (Step::Rename { table: name, from, to: fresh }, "field renamed")
            }
            24..34 if !table.references.is_empty() => {
                let i = rng.below(table.references.len() as u64) as usize;
                let from = std::mem::replace(&mut table.references[i].name, fresh.clone());
                (Step::Rename { table: name, from, to: fresh }, "reference renamed")
            }
            // What a row of defaults is must not depend on when it was made.
            34..62 if at != HUB => {
                let able = |field: &&mut Field| !field.of.becomes().is_empty() && !field.settled;
                let mut fields: Vec<&mut Field> = table.fields.iter_mut().filter(able).collect();
                let i = rng.below(fields.len().max(1) as u64) as usize;
                let field = fields.get_mut(i)?;
                let from = field.of;
                field.of = rng.pick(from.becomes()).copied()?;
                let was_nullable = field.nullable;
                field.nullable &= rng.chance(400);
                field.settled = was_nullable && !field.nullable;
                field.default = field.of.value(rng);
                let (to, nullable, default) = (field.of, field.nullable, field.of.value(rng));
                (Step::Convert { table: name, field: field.name.clone(), from, to, nullable, default }, "type converted")
            }
            62..72 => {
                let field = Field { name: fresh.clone(), ..self.field(rng) };
                let value = field.of.value(rng);
                let silent = rng.chance(300);
                self.tables[at].fields.push(Field { settled: silent, ..field });
                if silent {
                    run.hit("field added without a step");
                    return None;
                }
                (Step::Add { table: name, field: fresh, value, parent: None }, "field added")
            }
            72..84 if at != HUB => {
                let id = making::fresh(rng, 0).id;
                table.references.push(Reference { name: fresh.clone(), to: vec![HUB], nullable: false, on_delete: "restrict" });
                (Step::Add { table: name, field: fresh, value: Value::Null, parent: Some((hub, id)) }, "required reference added")
            }
            84..90 if table.fields.len() > 1 => {
                let field = table.fields.remove(rng.below(table.fields.len() as u64) as usize).name;
                (Step::Drop { table: name, field }, "field dropped")
            }
            // What a cascade took under the old version would not go under the new one.
            90..95 => {
                let i = table.references.iter().position(|reference| reference.on_delete == "set_null")?;
                let field = table.references.remove(i).name;
                (Step::Drop { table: name, field }, "reference dropped")
            }
            95.. if at != HUB && !is_named && names.len() > 2 => {
                table.is_gone = true;
                (Step::DropTable { table: name }, "table dropped")
            }
            _ => return None,
        };
        run.hit(situation);
        Some(step)
    }
}

impl Versions {
    fn new(run: &mut Run) -> Result<Versions, String> {
        let mut maker = Maker::first(&mut run.rng);
        let mut steps: Vec<Vec<Step>> = Vec::new();
        let mut schemas = vec![Rc::new(maker.schema(1, &steps)?)];
        for version in 2..4 {
            let count = run.rng.range(1, 5);
            steps.push((0..count).filter_map(|_| maker.step(run)).collect());
            schemas.push(Rc::new(maker.schema(version, &steps)?));
        }
        Ok(Versions { schemas, steps })
    }

    /// Takes rows from one version to the next.
    fn migrated(&self, run: &mut Run, from: usize, rows: &Rows) -> Rows {
        let (old, new) = (&self.schemas[from - 1], &self.schemas[from]);
        let mut named: Named = BTreeMap::new();
        for (key, values) in rows {
            let table = &old.tables[usize::from(key.table)];
            let cell = |value: &Value| match value {
                Value::Ref(to) => Cell::Row(old.tables[usize::from(to.table)].name.clone(), to.id),
                _ => Cell::Value(value.clone()),
            };
            let cells = table.columns.iter().zip(values).map(|(column, value)| (column.name.clone(), cell(value)));
            named.insert((table.name.clone(), key.id), cells.collect());
        }
        self.steps[from - 1].iter().for_each(|step| take(run, &mut named, step));
        let key = |(table, id): (&str, RowId)| new.table(table).map(|table| RowKey { table, id });
        let mut migrated = Rows::new();
        for ((table, id), cells) in &named {
            let Some(key_now) = key((table, *id)) else {
                run.find("test", format!("no table {table}"));
                continue;
            };
            let columns = &new.tables[usize::from(key_now.table)].columns;
            let value = |name: &str| match cells.get(name)? {
                Cell::Value(value) => Some(value.clone()),
                Cell::Row(table, id) => key((table, *id)).map(Value::Ref),
            };
            let values = columns.iter().map(|c| value(&c.name).or(c.default.clone()).unwrap_or(Value::Null)).collect();
            migrated.insert(key_now, values);
        }
        migrated
    }
}

#[derive(Clone, Debug)]
enum Cell {
    Value(Value),
    Row(String, RowId),
}

type Named = BTreeMap<(String, RowId), BTreeMap<String, Cell>>;

fn take(run: &mut Run, rows: &mut Named, step: &Step) {
    match step {
        Step::RenameTable { from, to } => {
            for ((table, id), mut cells) in std::mem::take(rows) {
                for cell in cells.values_mut() {
                    if let Cell::Row(target, _) = cell
                        && target == from
                    {
                        target.clone_from(to);
                    }
                }
                rows.insert((if table == *from { to.clone() } else { table }, id), cells);
            }
        }
        Step::DropTable { table } => rows.retain(|key, _| key.0 != *table),
        Step::Add { table, parent: Some((hub, id)), .. } if rows.keys().any(|key| key.0 == *table) => {
            run.hit("row of a required reference made");
            rows.entry((hub.clone(), *id)).or_default();
            in_table(rows, table, step, run);
        }
        Step::Rename { table, .. } | Step::Convert { table, .. } | Step::Add { table, .. } | Step::Drop { table, .. } => {
            in_table(rows, table, step, run);
        }
    }
}

fn in_table(rows: &mut Named, table: &str, step: &Step, run: &mut Run) {
    for cells in rows.iter_mut().filter(|(key, _)| key.0 == table).map(|row| row.1) {
        match step {
            Step::Rename { from, to, .. } => {
                if let Some(cell) = cells.remove(from) {
                    cells.insert(to.clone(), cell);
                }
            }
            Step::Convert { field, from, to, nullable, default, .. } => {
                if let Some(Cell::Value(value)) = cells.get_mut(field) {
                    *value = converted(run, (*from, *to), value).unwrap_or_else(|| default.clone());
                    if *value == Value::Null && !nullable {
                        run.hit("null made a default");
                        *value = default.clone();
                    }
                }
            }
            Step::Add { field, value, parent, .. } => {
                let given = match parent {
                    Some((hub, id)) => Cell::Row(hub.clone(), *id),
                    None => Cell::Value(value.clone()),
                };
                cells.entry(field.clone()).or_insert(given);
            }
            Step::Drop { field, .. } => drop(cells.remove(field)),
            _ => {}
        }
    }
}

/// A value as one of another type; `None` where it has no counterpart.
fn converted(run: &mut Run, types: (Type, Type), value: &Value) -> Option<Value> {
    let most = 9_007_199_254_740_991_i64;
    let now = match (types, value) {
        (_, Value::Null) => Some(Value::Null),
        ((Type::Int, Type::Real), Value::Int(int)) => Some(Value::Real(*int as f64)),
        ((Type::Int, Type::Text), Value::Int(int)) => Some(Value::Text(int.to_string())),
        ((Type::Int, Type::Bool), Value::Int(int)) => Some(Value::Bool(*int != 0)),
        ((Type::Real, Type::Int), Value::Real(real)) => (real.abs() <= most as f64).then(|| Value::Int(real.round() as i64)),
        ((Type::Bool, Type::Int), Value::Bool(bool)) => Some(Value::Int(i64::from(*bool))),
        ((Type::Text, Type::Int), Value::Text(text)) => {
            text.parse::<i64>().ok().filter(|int| int.to_string() == *text && int.abs() <= most).map(Value::Int)
        }
        ((Type::Text, Type::Json), Value::Text(text)) => Some(Value::Json(format!("\"{text}\""))),
        _ => Some(value.clone()),
    };
    run.hits_of("value without a counterpart", u64::from(now.is_none()));
    now
}

// ---- histories ----

struct World {
    versions: Versions,
    /// That of the page, from 1.
    version: usize,
    server: Server,
    server_version: usize,
    tab: Tab,
    /// What the edits made so far come to, in the shape of the page.
    rows: Rows,
    made: BTreeSet<Key>,
    /// What may be in the server's hands.
    lost: BTreeMap<Key, &'static str>,
    /// Requests of the page that are still on their way.
    late: Vec<String>,
}

fn m3_what_waits_takes_effect_once_in_the_shape_of_the_day(run: &mut Run) {
    let versions = match Versions::new(run) {
        Ok(versions) => versions,
        Err(text) => return run.find("m1", text),
    };
    run.say(|| format!("{:?}", versions.steps));
    let server = Server::new(versions.schemas[0].clone());
    let tab = Tab::leading(config(&versions.schemas[0], 0xa1), &server, NOW);
    let (rows, made, lost, late) = Default::default();
    let mut world = World { versions, version: 1, server, server_version: 1, tab, rows, made, lost, late };
    world.edit_some(run, 12);
    world.sync(run);
    let mut under = BTreeSet::new();
    let way: &[usize] = if run.rng.chance(500) { &[1, 2, 3] } else { &[1, 3] };
    run.hit(if way.len() > 2 { "page upgraded one version at a time" } else { "page upgraded two versions at once" });
    for &version in way {
        if version > world.version {
            world.go_on_at(run, version);
        }
        let before = world.made.len();
        world.edit_some(run, 9);
        under.extend((world.made.len() > before).then_some(version));
        if !run.findings.is_empty() {
            return;
        }
    }
    run.hits_of("edits made under every version", u64::from(under.len() == 3));
    world.finish(run);
}

impl World {
    fn schema(&self) -> Rc<Schema> {
        self.versions.schemas[self.version - 1].clone()
    }

    fn edit_some(&mut self, run: &mut Run, most: u64) {
        for _ in 0..run.rng.range(2, most) {
            if !run.step() {
                return;
            }
            match run.rng.below(100) {
                0..74 => self.make(run),
                74..92 => self.deliver(run),
                _ => {
                    let online = run.rng.chance(600);
                    self.tab.set_online(online);
                }
            }
            self.check(run);
        }
    }

    fn make(&mut self, run: &mut Run) {
        let (schema, view) = (self.schema(), self.tab.view());
        // Whether a row that was made for references is there, the device can only guess until something refers to it.
        let made = self.made_for_references();
        let named: BTreeSet<RowKey> = view.iter().flat_map(|(key, row)| model::references(&schema, key, row)).map(|r| r.1).collect();
        let view: Rows = view.into_iter().filter(|(key, _)| !made.contains(&key.id) || named.contains(key)).collect();
        let rng = &mut run.rng;
        let row = one_of(rng, view.keys().copied());
        let target = |rng: &mut Rng, to: &[u16]| one_of(rng, view.keys().copied().filter(|key| to.contains(&key.table)));
        let mut edits: Vec<Edit> = match (rng.below(100), row) {
            (0..35, Some(row)) => vec![making::rewrite(rng, &schema, row, view.get(&row))],
            (35..50, Some(row)) => {
                let columns = making::reference_columns(&schema, row.table);
                let Some((column, to, nullable)) = rng.pick(&columns).copied() else { return };
                let target = if nullable && rng.chance(200) { None } else { target(rng, to) };
                if target.is_none() && !nullable {
                    return;
                }
                vec![moved(row, column, target)]
            }
            (50..58, Some(row)) => vec![Edit::delete(row)],
            _ => {
                let mut edits = Vec::new();
                for _ in 0..rng.range(1, 2) {
                    let table = rng.below(schema.tables.len() as u64) as u16;
                    let row = making::fresh(rng, table);
                    edits.extend(making::create(rng, &schema, row, |rng, _, to| target(rng, to)));
                }
                edits
            }
        };
        for edit in &mut edits {
            for (column, value) in &mut edit.set {
                match (model::kind(&schema, edit.row.table, usize::from(*column)), &value) {
                    (Kind::Text { .. }, Value::Text(_)) => *value = Value::Text(text(rng)),
                    (Kind::Real, Value::Real(_)) => *value = Value::Real(real(rng)),
                    (Kind::Int, Value::Int(_)) if rng.chance(300) => *value = Value::Int(0),
                    _ => {}
                }
            }
        }
        edits.retain(|edit| edit.op != Op::Update || !edit.set.is_empty() || !edit.add.is_empty());
        if edits.is_empty() {
            return;
        }
        self.tab.now += 3_000;
        let made = self.tab.make(&call(&schema, &edits, &[]));
        run.say(|| format!("under {} makes {} -> {made:x?}", self.version, shown(&schema, &edits)));
        if let Ok(key) = made {
            run.transactions += 1;
            edits.iter().for_each(|edit| model::show(&schema, &mut self.rows, edit));
            self.made.extend(self.tab.engine.outbox().get(key).map(|entry| entry.made.key));
            let outbox = self.tab.engine.outbox();
            self.made.retain(|key| outbox.get(*key).is_some() || self.server.logged.contains_key(key));
        }
        if run.rng.chance(600) {
            self.tab.run();
        }
    }

    /// A request goes, or is lost; the answer comes back, or is lost. The page and the server are of one version.
    fn deliver(&mut self, run: &mut Run) {
        self.tab.run();
        if self.tab.pushes.is_empty() {
            self.tab.tick(11_000);
        }
        self.tab.load(&self.server);
        let Some((id, body)) = self.tab.pushes.pop_front() else { return };
        let fate = run.rng.below(10);
        let on_its_way = |entry: &&driftline_core::outbox::Entry| matches!(entry.state, State::InFlight);
        let keys: Vec<Key> = self.tab.engine.outbox().iter().filter(on_its_way).map(|entry| entry.made.key).collect();
        if fate < 3 {
            self.lost.extend(keys.iter().map(|key| (*key, "request lost, upgraded")));
            self.late.push(body.clone());
        } else {
            let (status, answer) = serve(&self.schema(), &mut self.server, 1, &body, self.tab.now, run.rng.draw());
            while self.server.reap_step() {}
            if fate > 5 {
                return self.tab.answer(id, status, &answer);
            }
            self.lost.extend(keys.iter().map(|key| (*key, "answer lost, upgraded")));
        }
        self.tab.engine.handle_send_failed(self.tab.now, id, SendFailure::Network);
        self.tab.run();
    }

    fn sync(&mut self, run: &mut Run) {
        self.tab.set_online(true);
        let schema = self.schema();
        let quiet = self.tab.sync(&schema, &mut self.server, 1);
        run.check("r1", quiet, || "it does not come to rest".to_string());
        self.check(run);
    }

    /// The server is migrated, version by version; then the page is loaded again.
    fn go_on_at(&mut self, run: &mut Run, version: usize) {
        self.tab.run();
        // The last request of the old page may still be on its way.
        self.tab.tick(31_000);
        let in_flight: BTreeSet<Key> =
            self.tab.engine.outbox().iter().filter(|entry| entry.state == State::InFlight).map(|entry| entry.made.key).collect();
        self.late.extend(self.tab.pushes.drain(..).map(|push| push.1));
        while self.server_version < version {
            let schema = self.versions.schemas[self.server_version].clone();
            let server = std::mem::replace(&mut self.server, Server::new(schema.clone()));
            let Some(server) = server.migrated(schema.clone()) else { return run.find("m1", "the rows could not be migrated".to_string()) };
            self.server = server;
            self.server_version += 1;
            if run.rng.chance(400)
                && let Some(body) = self.late.pop()
            {
                let (status, answer) = serve(&schema, &mut self.server, 1, &body, self.tab.now, run.rng.draw());
                while self.server.reap_step() {}
                run.say(|| format!("the server of {} answers late, and in vain: {status} {answer}", self.server_version));
                run.hit("sent to a server of a later version, answer lost");
            }
            self.late.clear();
        }
        self.note_upgraded(run, &in_flight);
        while self.version < version {
            self.rows = self.versions.migrated(run, self.version, &self.rows);
            self.version += 1;
        }
        let kept = self.tab.close();
        let now = self.tab.now + 60_000;
        run.say(|| format!("the page is loaded again at {version}"));
        self.tab = Tab::opened(config(&self.schema(), 0xa1), kept, now);
        // Cold and offline it shows what it has.
        self.check(run);
        self.tab.lead();
        self.tab.load(&self.server);
        self.check(run);
    }

    fn note_upgraded(&self, run: &mut Run, in_flight: &BTreeSet<Key>) {
        let schema = self.schema();
        for entry in self.tab.engine.outbox().iter() {
            let key = entry.made.key;
            match self.lost.get(&key) {
                Some(how) => run.hit(how),
                None if !in_flight.contains(&key) => run.hit("never sent, upgraded"),
                None => {}
            }
            for edit in &entry.edits {
                match edit.op {
                    Op::Create => run.hit("pending create upgraded"),
                    Op::Update => run.hit("pending update upgraded"),
                    _ => run.hit("pending delete upgraded"),
                }
                let several =
                    |column: u16| matches!(model::kind(&schema, edit.row.table, usize::from(column)), Kind::Ref { to, .. } if to.len() > 1);
                let arcs = edit.references().filter(|r| several(r.0)).count();
                run.hits_of("pending reference to one of several tables upgraded", arcs as u64);
            }
        }
    }

    // ---- what must hold ----

    fn check(&mut self, run: &mut Run) {
        self.tab.run();
        let schema = self.schema();
        let mut should = self.tab.base();
        for entry in self.tab.engine.outbox().iter() {
            entry.edits.iter().for_each(|edit| model::show(&schema, &mut should, edit));
        }
        let view = self.tab.view();
        if let Some(text) = model::differ(&schema, &view, &should) {
            run.find("v2", format!("in the view, {text}"));
        }
        // A row that was made for references may be there though nothing is left that refers to it; from now on something may.
        let made = self.made_for_references();
        for (key, row) in view.iter().filter(|(key, _)| made.contains(&key.id)) {
            self.rows.entry(*key).or_insert_with(|| row.clone());
        }
        if let Some(text) = self.differs(&view) {
            run.find("m3", format!("in the view under {}, {text}", self.version));
        }
        let found: Vec<String> = self.server.findings.drain(..).map(|finding| finding.text).collect();
        run.find_all("d1", found);
        run.find_all("i3", model::orphans(&self.versions.schemas[self.server_version - 1], &values(&self.server.rows)));
        let parked = self.tab.engine.outbox().iter().find_map(|entry| match &entry.state {
            State::Parked { problem, .. } if problem.code != "schema_dropped" => Some(format!("{:x?}: {problem:?}", entry.made.key)),
            _ => None,
        });
        run.check("m3", parked.is_none(), || format!("parked: {parked:?}"));
    }

    fn made_for_references(&self) -> BTreeSet<RowId> {
        self.versions.steps.iter().flatten().filter_map(parent).collect()
    }

    /// A row that was made for a reference stays where nothing refers to it any more.
    fn differs(&self, is: &Rows) -> Option<String> {
        let schema = self.schema();
        let made = self.made_for_references();
        let mut is = is.clone();
        let mut should = self.rows.clone();
        for rows in [&mut is, &mut should] {
            let named: BTreeSet<RowKey> =
                rows.iter().flat_map(|(key, row)| model::references(&schema, key, row).map(|r| r.1).collect::<Vec<_>>()).collect();
            rows.retain(|key, _| !made.contains(&key.id) || named.contains(key));
        }
        model::differ(&schema, &is, &should)
    }

    fn finish(&mut self, run: &mut Run) {
        self.sync(run);
        // What waits for one of which nothing is left goes on once that is given up.
        let parked = |entry: &&driftline_core::outbox::Entry| matches!(entry.state, State::Parked { .. });
        let dropped: Vec<Key> = self.tab.engine.outbox().iter().filter(parked).map(|entry| entry.made.key).collect();
        for key in dropped {
            let result = self.tab.engine.discard(self.tab.now, key, false);
            run.hit("nothing left of a transaction");
            run.check("m3", result.is_ok(), || format!("{key:x?} waits, and {result:?}"));
            self.made.remove(&key);
        }
        self.sync(run);
        let waits = self.tab.engine.outbox().len();
        run.check("m3", waits == 0, || format!("{waits} still wait"));
        let is = values(&self.server.visible());
        if let Some(text) = self.differs(&is) {
            run.find("m3", format!("on the server, {text}"));
        }
        if let Some(text) = model::differ(&self.schema(), &self.tab.base(), &is) {
            run.find("v4", format!("on the device, {text}"));
        }
        run.check("v4", self.tab.engine.replica().digest == self.server.space.digest, || "the digests differ".to_string());
        let mut times: BTreeMap<Key, usize> = BTreeMap::new();
        self.server.log().for_each(|(_, key, _)| *times.entry(key).or_insert(0) += 1);
        for key in &self.made {
            let times = times.get(key).copied().unwrap_or(0);
            run.check("d1", times == 1, || format!("{key:x?} took effect {times} times"));
            run.hit("came to the server exactly once");
        }
    }
}

fn parent(step: &Step) -> Option<RowId> {
    match step {
        Step::Add { parent: Some((_, id)), .. } => Some(*id),
        _ => None,
    }
}
