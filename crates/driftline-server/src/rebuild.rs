//! The SQL of a migration. A table that changes is built anew and filled from the old one: it then stands exactly as a fresh
//! database would have it, and SQLite has no other way to change a type or a foreign key.
//!
//! What only takes something away (the contracting part) has a number of its own: until then the old columns and tables stay,
//! with nothing required of them, so that the new server can run while the old ones are shut down.

use crate::db::Dialect;
use crate::ddl::{
    self, Leftover, add_constraints, create_indexes, create_loose, create_table, drop_table, indexes, literal, new_name, quote,
    rename_table, sql_type,
};
use crate::diff::{self, Conversion, Diff, MIGRATION, Origin, Source, indexes_by_name, values};
use crate::tables::{Layout, Slot, TableLayout};
use driftline_core::schema::{Column, Kind, Schema};
use driftline_core::upgrade::Type;
use std::collections::BTreeSet;

/// One migration file.
pub struct Part {
    pub sql: String,
    /// It only takes away. Its number comes after that of what it was planned with.
    pub contracts: bool,
    /// The oldest schema version whose server can run beside it.
    pub oldest_server: u32,
    /// Rows that hang on a dying one may lose what they hang by, so none may be dying.
    pub needs_no_deletes: bool,
}

/// The statements for an empty database.
pub fn first(dialect: Dialect, schema: &Schema) -> Result<String, String> {
    let layout = Layout::new(schema, dialect)?;
    let create = |table: &TableLayout| create_table(dialect, schema, table, &table.name, &[]) + &create_indexes(dialect, schema, table);
    let constrain = |table: &TableLayout| add_constraints(dialect, schema, table, |_| true);
    Ok(layout.tables.iter().map(create).chain(layout.tables.iter().map(constrain)).collect())
}

/// The statements that lead from one schema to the next. `oldest` is the oldest server that can run beside the former.
pub fn parts(dialect: Dialect, old: &Schema, new: &Schema, oldest: u32, allow_drop: bool) -> Result<Vec<Part>, String> {
    let diff = Diff::new(old, new)?;
    let losses = diff.losses();
    if !losses.is_empty() && !allow_drop {
        return Err(format!("this would be lost for good: {}; with --allow-drop it is planned", losses.join("; ")));
    }
    let (before, after) = (Layout::new(old, dialect)?, Layout::new(new, dialect)?);
    let mut plan = Plan { dialect, before, after, expands: false, diff };
    plan.expands = plan.does_expand()?;
    let (mut parts, needs_no_deletes) = (Vec::new(), !losses.is_empty());
    if losses.is_empty() || plan.expands {
        let sql = plan.expand()?;
        let oldest_server = if plan.old_servers_can_stay() { oldest } else { new.version };
        parts.push(Part { sql, contracts: false, oldest_server, needs_no_deletes });
    }
    if !losses.is_empty() {
        parts.push(Part { sql: plan.contract(), contracts: true, oldest_server: new.version, needs_no_deletes });
    }
    for part in parts.iter_mut().filter(|part| part.sql.is_empty()) {
        part.sql = "-- No table changes.\n".to_string();
    }
    Ok(parts)
}

struct Plan<'a> {
    dialect: Dialect,
    diff: Diff<'a>,
    before: Layout,
    after: Layout,
    /// Something else is to be done than dropping.
    expands: bool,
}

impl Plan<'_> {
    fn origins(&self) -> impl Iterator<Item = (&TableLayout, &Origin)> {
        self.after.tables.iter().zip(&self.diff.tables).filter_map(|(table, origin)| Some((table, origin.as_ref()?)))
    }

    fn new_tables(&self) -> impl Iterator<Item = &TableLayout> {
        self.after.tables.iter().zip(&self.diff.tables).filter(|(_, origin)| origin.is_none()).map(|(table, _)| table)
    }

    fn columns(&self, table: &TableLayout) -> &[Column] {
        &self.diff.new.tables[table.index as usize].columns
    }

    /// Whether rows stay as they are but for columns that go.
    fn is_same(&self, table: &TableLayout, origin: &Origin) -> Result<bool, String> {
        let before = &self.diff.old.tables[origin.table as usize];
        if before.name != table.name {
            return Ok(false);
        }
        let same = |(source, column): (&Source, &Column)| match source {
            Source::Old { column: was, conversions } => conversions.is_empty() && before.columns[*was as usize].name == column.name,
            Source::New(_) => false,
        };
        if !origin.columns.iter().zip(self.columns(table)).all(same) {
            return Ok(false);
        }
        let mut kept = self.diff.old.clone();
        for origin in self.diff.tables.iter().flatten() {
            let kept = &mut kept.tables[origin.table as usize];
            kept.indexes.clear();
            let mut at = 0;
            kept.columns.retain(|_| {
                at += 1;
                !origin.gone.contains(&(at - 1))
            });
        }
        let layout = Layout::new(&kept, self.dialect)?;
        let text = |schema: &Schema, layout: &TableLayout| {
            create_table(self.dialect, schema, layout, &layout.name, &[]) + &add_constraints(self.dialect, schema, layout, |_| true)
        };
        Ok(text(&kept, layout.table(origin.table)) == text(self.diff.new, table))
    }

    fn does_expand(&self) -> Result<bool, String> {
        if self.new_tables().next().is_some() {
            return Ok(true);
        }
        for (table, origin) in self.origins() {
            let before = &self.diff.old.tables[origin.table as usize];
            let gone: Vec<&str> = origin.gone.iter().map(|column| before.columns[*column as usize].name.as_str()).collect();
            let mut kept = indexes_by_name(before);
            kept.retain(|index| !index.1.iter().any(|column| gone.contains(column)));
            if !self.is_same(table, origin)? || kept != indexes_by_name(&self.diff.new.tables[table.index as usize]) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The SQL columns of a table that wait to be dropped.
    fn leftover(&self, origin: &Origin) -> Vec<Leftover> {
        let slots = self.before.table(origin.table).slots.iter().filter(|slot| origin.gone.contains(&slot.column));
        let columns = &self.diff.old.tables[origin.table as usize].columns;
        slots.map(|slot| (slot.name.clone(), sql_type(self.dialect, &columns[slot.column as usize].kind))).collect()
    }

    fn expand(&self) -> Result<String, String> {
        let (mut fill, mut drop, mut rename, mut index) = (String::new(), String::new(), String::new(), String::new());
        for table in &self.after.tables {
            if self.diff.gone.iter().any(|gone| self.before.table(*gone).name == table.name) {
                return Err(format!(
                    "table `{}` is dropped, and another takes its name: drop it in a version of its own first",
                    table.name
                ));
            }
        }
        let mut rebuilt = BTreeSet::new();
        for table in self.new_tables() {
            rebuilt.insert(table.index);
            fill += &create_table(self.dialect, self.diff.new, table, &table.name, &[]);
            index += &create_indexes(self.dialect, self.diff.new, table);
        }
        for (table, origin) in self.origins() {
            let before = self.before.table(origin.table);
            let more = self.leftover(origin);
            if let Some((name, _)) = more.iter().find(|more| table.slots.iter().any(|slot| slot.name == more.0)) {
                return Err(format!(
                    "table `{}`, field `{name}`: is dropped, and another takes its name: drop it in a version of its own first",
                    table.name
                ));
            }
            let columns = &self.diff.old.tables[origin.table as usize].columns;
            let required = |column: &Column| !column.nullable || matches!(column.kind, Kind::Ref { .. });
            let is_bound = origin.gone.iter().any(|column| required(&columns[*column as usize]));
            if self.is_same(table, origin)? && !is_bound {
                self.change_indexes(origin, before, table, &mut drop, &mut index);
                continue;
            }
            rebuilt.insert(table.index);
            fill += &self.fill(table, origin, &more);
            drop += &drop_table(self.dialect, &before.name);
            rename += &rename_table(self.dialect, &table.name);
            index += &create_indexes(self.dialect, self.diff.new, table);
        }
        for &gone in &self.diff.gone {
            let table = self.before.table(gone);
            let columns = &self.diff.old.tables[gone as usize].columns;
            if table.slots.iter().any(|slot| slot.target.is_some()) {
                let more: Vec<_> = table
                    .slots
                    .iter()
                    .map(|slot| (slot.name.clone(), sql_type(self.dialect, &columns[slot.column as usize].kind)))
                    .collect();
                let names: String = more.iter().map(|more| format!("\"{}\", ", more.0)).collect();
                let new = new_name(&table.name);
                fill += &create_loose(self.dialect, &new, &more);
                fill += &format!(
                    "INSERT INTO \"{new}\" (space, id, {names}_clock)\n  SELECT space, id, {names}_clock FROM \"{}\";\n",
                    table.name
                );
                drop += &drop_table(self.dialect, &table.name);
                rename += &rename_table(self.dialect, &table.name);
            }
        }
        let constraints = self.constraints(|table| rebuilt.contains(&table));
        // What is required is looked at when it is said, so the rows that it needs come before.
        Ok(fill + &drop + &rename + &index + &self.rename_in_notes() + &self.parents() + &constraints)
    }

    /// Those of new and rebuilt tables, and of what refers to them.
    fn constraints(&self, is_rebuilt: impl Fn(u16) -> bool) -> String {
        let wanted = |table: u16, target: Option<u16>| is_rebuilt(table) || target.is_some_and(&is_rebuilt);
        let tables = self.after.tables.iter();
        tables.map(|table| add_constraints(self.dialect, self.diff.new, table, |target| wanted(table.index, target))).collect()
    }

    /// Indexes that are the schema's own wish come and go without touching the table.
    fn change_indexes(&self, origin: &Origin, before: &TableLayout, table: &TableLayout, drop: &mut String, create: &mut String) {
        let gone = |slot: &Slot| origin.gone.contains(&slot.column);
        let leftover: Vec<String> =
            before.slots.iter().filter(|slot| gone(slot)).map(|slot| format!("_{}.{}", before.name, slot.name)).collect();
        let (was, is) = (indexes(self.dialect, self.diff.old, before), indexes(self.dialect, self.diff.new, table));
        for (name, _) in was.iter().filter(|index| !is.contains(index) && !leftover.contains(&index.0)) {
            *drop += &format!("DROP INDEX \"{name}\";\n");
        }
        *create += &is.into_iter().filter(|index| !was.contains(index)).map(|index| index.1).collect::<String>();
    }

    fn fill(&self, table: &TableLayout, origin: &Origin, more: &[Leftover]) -> String {
        let (new, old) = (new_name(&table.name), &self.before.table(origin.table).name);
        let (mut into, mut from) = (String::new(), String::new());
        for slot in &table.slots {
            into += &format!("\"{}\", ", slot.name);
            from += &format!("{}, ", self.value(table, origin, slot));
        }
        for (name, _) in more {
            into += &format!("\"{name}\", ");
            from += &format!("\"{name}\", ");
        }
        let create = create_table(self.dialect, self.diff.new, table, &new, more);
        let clock = self.clock(table, origin);
        format!("{create}INSERT INTO \"{new}\" (space, id, {into}_clock)\n  SELECT space, id, {from}{clock} FROM \"{old}\";\n")
    }

    fn value(&self, table: &TableLayout, origin: &Origin, slot: &Slot) -> String {
        match &origin.columns[slot.column as usize] {
            Source::New(value) => literal(self.dialect, value, slot.target),
            Source::Old { column, conversions } => {
                let old_target = slot.target.and_then(|target| self.diff.tables[target as usize].as_ref()).map(|origin| origin.table);
                let before = self.before.table(origin.table).slots.iter().find(|old| old.column == *column && old.target == old_target);
                let name = before.map_or("NULL".to_string(), |old| format!("\"{}\"", old.name));
                let columns = self.columns(table);
                conversions
                    .iter()
                    .fold(name, |expression, conversion| convert(self.dialect, &expression, conversion, &columns[slot.column as usize]))
            }
        }
    }

    /// Stamps go by the names of fields, those of a set's elements too; none of the texts has a `>`.
    fn clock(&self, table: &TableLayout, origin: &Origin) -> String {
        let before = &self.diff.old.tables[origin.table as usize].columns;
        let mut clock = "_clock".to_string();
        for (source, column) in origin.columns.iter().zip(self.columns(table)) {
            if let Source::Old { column: was, .. } = source
                && before[*was as usize].name != column.name
            {
                let (was, is) = (&before[*was as usize].name, &column.name);
                clock = format!("replace(replace({clock}, ' {was}=', ' >{is}='), ' {was}:', ' >{is}:')");
            }
        }
        if clock == "_clock" { clock } else { format!("replace({clock}, ' >', ' ')") }
    }

    /// What is known of deleted rows goes by tables' names.
    fn rename_in_notes(&self) -> String {
        let renamed: Vec<(&str, &str)> = self
            .origins()
            .map(|(table, origin)| (self.before.table(origin.table).name.as_str(), table.name.as_str()))
            .filter(|(before, now)| before != now)
            .collect();
        if renamed.is_empty() {
            return String::new();
        }
        let cases: String = renamed.iter().map(|(before, now)| format!(" WHEN '{before}' THEN '{now}'")).collect();
        let names: Vec<String> = renamed.iter().map(|(before, _)| format!("'{before}'")).collect();
        let names = names.join(", ");
        let update = |table: &str| format!("UPDATE {table} SET tbl = CASE tbl{cases} END WHERE tbl IN ({names});\n");
        update("_deleted") + &update("_dying") + &update("_effect")
    }

    /// Makes the rows that added references point at, in each space that needs them, and tells of it in the space's log.
    fn parents(&self) -> String {
        let mut sql = String::new();
        for (needing, rows) in &self.diff.parents {
            let needing = &self.after.table(*needing).name;
            for row in rows {
                let (key, values) = values(row);
                let table = self.after.table(key.table);
                let (name, id) = (&table.name, ddl::id(self.dialect, key.id));
                let needed = |space: &str| {
                    format!(
                        "EXISTS (SELECT 1 FROM \"{needing}\" AS t WHERE t.space = {space})\n  \
                         AND NOT EXISTS (SELECT 1 FROM \"{name}\" AS t WHERE t.space = {space} AND t.id = {id})"
                    )
                };
                let mut change = String::from("[");
                row.write_json(self.diff.new, &mut change);
                change.push(']');
                if self.diff.new.tables[key.table as usize].server_only {
                    change = "[]".to_string();
                }
                let (change, version) = (quote(self.dialect, &change), self.diff.new.version);
                let no_hash = ddl::no_hash(self.dialect);
                let (needed, revived) = (needed("s.id"), needed("d.space"));
                let names: String = table.slots.iter().map(|slot| format!("\"{}\", ", slot.name)).collect();
                let literals: String = table
                    .slots
                    .iter()
                    .map(|slot| format!("{}, ", literal(self.dialect, values[slot.column as usize], slot.target)))
                    .collect();
                sql += &format!(
                    "UPDATE _space AS s SET rev = rev + 1 WHERE {needed};\n\
                     INSERT INTO _log (space, rev, part, actor, seq, hash, schema, changes)\n  \
                     SELECT s.id, s.rev, 0, {MIGRATION}, s.rev, {no_hash}, {version}, {change} FROM _space AS s\n  WHERE {needed};\n\
                     DELETE FROM _deleted AS d WHERE d.tbl = '{name}' AND d.id = {id} AND {revived};\n\
                     INSERT INTO \"{name}\" (space, id, {names}_clock)\n  \
                     SELECT s.id, {id}, {literals}'0.0000000000000000.0' FROM _space AS s\n  WHERE {needed};\n"
                );
            }
        }
        sql
    }

    fn contract(&self) -> String {
        let (mut fill, mut drop, mut rename, mut index, mut notes) =
            (String::new(), String::new(), String::new(), String::new(), String::new());
        let mut rebuilt = BTreeSet::new();
        for (table, _) in self.origins().filter(|(_, origin)| !origin.gone.is_empty()) {
            rebuilt.insert(table.index);
            let (new, name) = (new_name(&table.name), &table.name);
            let names: String = table.slots.iter().map(|slot| format!("\"{}\", ", slot.name)).collect();
            fill += &create_table(self.dialect, self.diff.new, table, &new, &[]);
            fill += &format!("INSERT INTO \"{new}\" (space, id, {names}_clock)\n  SELECT space, id, {names}_clock FROM \"{name}\";\n");
            drop += &drop_table(self.dialect, name);
            rename += &rename_table(self.dialect, name);
            index += &create_indexes(self.dialect, self.diff.new, table);
        }
        for &gone in &self.diff.gone {
            let name = &self.before.table(gone).name;
            drop += &drop_table(self.dialect, name);
            notes += &format!("DELETE FROM _deleted WHERE tbl = '{name}';\n");
        }
        let constraints = self.constraints(|table| rebuilt.contains(&table));
        fill + &drop + &rename + &index + &constraints + &notes
    }

    /// Whether servers of the version before write what these tables take and read what the new servers write.
    fn old_servers_can_stay(&self) -> bool {
        let refers_to_old = |column: &Column| {
            let old = |target: &u16| self.diff.tables[*target as usize].is_some();
            matches!(&column.kind, Kind::Ref { to, .. } if to.iter().any(old))
        };
        let new_ones_stand_alone = self.new_tables().all(|table| !self.columns(table).iter().any(refers_to_old));
        let stays = |(table, origin): (&TableLayout, &Origin)| {
            let (was, is) = (&self.diff.old.tables[origin.table as usize], &self.diff.new.tables[table.index as usize]);
            let same = |(source, column): (&Source, &Column)| match source {
                Source::New(value) => value.is_null() && !matches!(column.kind, Kind::Ref { .. }),
                Source::Old { column: before, conversions } => {
                    let before = &was.columns[*before as usize];
                    let counts_the_same = !column.is_count()
                        || diff::kind_in_words(self.diff.old, &before.kind) == diff::kind_in_words(self.diff.new, &column.kind);
                    conversions.is_empty() && before.name == column.name && before.nullable == column.nullable && counts_the_same
                }
            };
            let loosely = |column: &u16| {
                let column = &was.columns[*column as usize];
                column.nullable && !matches!(column.kind, Kind::Ref { .. })
            };
            was.name == is.name
                && was.server_only == is.server_only
                && origin.columns.iter().zip(&is.columns).all(same)
                && origin.gone.iter().all(loosely)
        };
        new_ones_stand_alone && self.diff.gone.is_empty() && self.origins().all(stays)
    }
}

/// One conversion of the expression `e`, and what becomes of null.
fn convert(dialect: Dialect, e: &str, conversion: &Conversion, column: &Column) -> String {
    let Conversion { from, to, nullable, default } = conversion;
    let typed = Column { name: String::new(), kind: kind_of(*to, column), nullable: true, default: None };
    let default = typed.read(None, default).map_or("NULL".to_string(), |value| literal(dialect, &value, None));
    let converted = ddl::convert(dialect, e, *from, *to, &default);
    if converted == e && *nullable {
        return converted;
    }
    let null = if *nullable { "NULL" } else { &default };
    format!("CASE WHEN {e} IS NULL THEN {null} ELSE {converted} END")
}

fn kind_of(to: Type, column: &Column) -> Kind {
    if Type::of(&column.kind) == Some(to) { column.kind.clone() } else { to.kind() }
}
