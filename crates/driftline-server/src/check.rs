//! `driftline check`: whether a database keeps its promises. It reads, changes nothing, and may run beside a server.

use crate::counts;
use crate::db::{Db, DbError, DbResult, Param, Row};
use crate::diff::MIGRATION;
use crate::place::Place;
use crate::tables::{Layout, Slot, TableLayout, digest_of};
use driftline_core::schema::Schema;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub space: String,
    /// `orphans`, `arc`, `counts`, `revived`, `log`, `marks`, `blobs` or `digest`.
    pub kind: &'static str,
    pub text: String,
}

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    pub spaces: usize,
    pub rows: u64,
    /// Files that are whole.
    pub blobs: u64,
    pub findings: Vec<Finding>,
}

struct Space {
    number: i64,
    name: String,
    rev: i64,
    horizon: i64,
    digest: u128,
    /// The schema version whose columns the digest counts.
    schema: u32,
    /// Something is being deleted in the background.
    dying: bool,
}

/// Checks every space, or the one that is named; `began` hears of each before it is checked. The tables must be those of the schema.
pub fn check(schema: &Schema, data: &Place, only: Option<&str>, mut began: impl FnMut(&str)) -> Result<Report, String> {
    let db = data.open()?;
    let layout = Layout::new(schema, db.dialect())?;
    let goes_on = |space: &str| {
        began(space);
        true
    };
    let report = check_with(&db, schema, &layout, only, goes_on)?;
    if let Some(only) = only.filter(|_| report.spaces == 0) {
        return Err(format!("there is no space `{only}` in {data}"));
    }
    Ok(report)
}

/// The same over a connection that there is, as long as `goes_on` says so.
pub(crate) fn check_with(
    db: &Db,
    schema: &Schema,
    layout: &Layout,
    only: Option<&str>,
    mut goes_on: impl FnMut(&str) -> bool,
) -> Result<Report, String> {
    let mut report = Report::default();
    let all = spaces(db).map_err(|e| e.to_string())?;
    for named in all.iter().filter(|space| only.is_none_or(|only| only == space.name)) {
        if !goes_on(&named.name) {
            break;
        }
        // One moment of the database, whatever a server does meanwhile.
        let checked = db.reading(|| {
            let Some(space) = one_space(db, named.number)? else { return Ok(()) };
            report.spaces += 1;
            Checker { db, schema, layout, space: &space, report: &mut report }.run()
        });
        checked.map_err(|e: DbError| format!("space {}: {e}", named.name))?;
    }
    Ok(report)
}

/// Takes rows of a space as they are, after somebody has changed them behind the server's back: notes their digest, and has every
/// client load the space anew. What is wrong with them otherwise has to be mended first. Returns the new revision.
pub fn adopt(schema: &Schema, data: &Place, name: &str) -> Result<u64, String> {
    adopt_over(&data.open()?, schema, name)
}

/// The same over a connection that there is already. On an error nothing has changed.
pub fn adopt_over(db: &Db, schema: &Schema, name: &str) -> Result<u64, String> {
    let layout = Layout::new(schema, db.dialect())?;
    db.begin_writing().map_err(|e| e.to_string())?;
    let adopted = adopt_within(db, schema, &layout, name).and_then(|rev| db.commit().map(|()| rev).map_err(|e| e.to_string()));
    if adopted.is_err() {
        db.roll_back().map_err(|e| e.to_string())?;
    }
    adopted
}

fn adopt_within(db: &Db, schema: &Schema, layout: &Layout, name: &str) -> Result<u64, String> {
    let failed = |e: DbError| e.to_string();
    let lock = format!("SELECT id FROM _space WHERE name = ?1{}", db.row_lock());
    let number = db.first(&lock, &[name.into()], |row| row.int(0)).map_err(failed)?;
    let space = number.map(|number| one_space(db, number)).transpose().map_err(failed)?.flatten();
    let space = space.ok_or_else(|| format!("there is no space `{name}`"))?;
    let mut report = Report::default();
    Checker { db, schema, layout, space: &space, report: &mut report }.run().map_err(failed)?;
    let others: Vec<String> =
        report.findings.iter().filter(|found| found.kind != "digest").map(|found| format!("{}: {}", found.kind, found.text)).collect();
    if !others.is_empty() {
        return Err(format!("not_sound: mend this first, nothing has changed: {}", others.join("; ")));
    }
    let digest = digest_of(db, schema, layout, space.number).map_err(failed)?;
    let rev = space.rev + 1;
    // A revision that stands in no log: what every cursor is told to load anew.
    let sql = "UPDATE _space SET rev = ?2, horizon = ?2, digest = ?3, schema = ?4 WHERE id = ?1";
    db.execute(sql, &[space.number.into(), rev.into(), Param::Hash(digest.0), schema.version.into()]).map_err(failed)?;
    Ok(rev as u64)
}

const SPACE: &str = "SELECT s.id, s.name, s.rev, s.horizon, s.digest, s.schema, EXISTS (SELECT 1 FROM _dying AS d WHERE d.space = s.id) \
                     FROM _space AS s";

fn read_space(row: &Row) -> DbResult<Space> {
    let (digest, schema, dying) = (row.hash(4)?, row.number(5)?, row.bool(6)?);
    Ok(Space { number: row.int(0)?, name: row.text(1)?.to_string(), rev: row.int(2)?, horizon: row.int(3)?, digest, schema, dying })
}

fn spaces(db: &Db) -> DbResult<Vec<Space>> {
    db.all(&format!("{SPACE} ORDER BY s.name"), &[], read_space)
}

fn one_space(db: &Db, number: i64) -> DbResult<Option<Space>> {
    db.first(&format!("{SPACE} WHERE s.id = ?1"), &[number.into()], read_space)
}

struct Checker<'a> {
    db: &'a Db,
    schema: &'a Schema,
    layout: &'a Layout,
    space: &'a Space,
    report: &'a mut Report,
}

impl Checker<'_> {
    fn run(&mut self) -> DbResult<()> {
        for table in &self.layout.tables {
            let sql = format!("SELECT count(*) FROM \"{}\" WHERE space = ?1", table.name);
            self.report.rows += self.count(&sql)? as u64;
            for slot in &table.slots {
                self.orphans(table, slot)?;
            }
            self.arcs(table)?;
            self.revived(table)?;
        }
        self.counts()?;
        self.log()?;
        self.marks()?;
        self.blobs()?;
        match digest_of(self.db, self.schema, self.layout, self.space.number) {
            Ok(digest) if digest.0 != self.space.digest && self.space.schema == self.schema.version => {
                self.find("digest", format!("its rows have the digest {:032x}, and {:032x} is noted", digest.0, self.space.digest));
            }
            Ok(_) => {}
            Err(error @ DbError::Unreadable(_)) => {
                self.find("unreadable", format!("a row holds what the server never wrote: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn find(&mut self, kind: &'static str, text: String) {
        self.report.findings.push(Finding { space: self.space.name.clone(), kind, text });
    }

    fn count(&self, sql: &str) -> DbResult<i64> {
        self.db.one(sql, &[self.space.number.into()], |row| row.int(0))
    }

    /// The database refuses these by itself; somebody may have told it not to.
    fn orphans(&mut self, table: &TableLayout, slot: &Slot) -> DbResult<()> {
        let Some(target) = slot.target else { return Ok(()) };
        let (name, column, target) = (&table.name, &slot.name, &self.layout.table(target).name);
        let sql = format!(
            "SELECT count(*) OVER (), c.id FROM \"{name}\" AS c WHERE c.space = ?1 AND c.\"{column}\" IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM \"{target}\" AS t WHERE t.space = ?1 AND t.id = c.\"{column}\") LIMIT 1"
        );
        let found = self.db.first(&sql, &[self.space.number.into()], |row| Ok((row.int(0)?, row.id(1)?)))?;
        if let Some((count, example)) = found {
            self.find(
                "orphans",
                format!("{count} rows of `{name}` refer by `{column}` to rows of `{target}` that are not there, such as {example}"),
            );
        }
        Ok(())
    }

    /// A reference names exactly one row, or none where it may be null: also one to several tables, which has a column for each.
    fn arcs(&mut self, table: &TableLayout) -> DbResult<()> {
        let columns = &self.schema.tables[table.index as usize].columns;
        for (i, column) in columns.iter().enumerate() {
            let slots: Vec<String> = table
                .slots
                .iter()
                .filter(|slot| slot.column as usize == i && slot.target.is_some())
                .map(|slot| format!("CASE WHEN \"{}\" IS NULL THEN 0 ELSE 1 END", slot.name))
                .collect();
            if slots.is_empty() || (slots.len() == 1 && column.nullable) {
                continue;
            }
            let sound = if column.nullable { "<= 1" } else { "= 1" };
            let sql = format!("SELECT count(*) FROM \"{}\" WHERE space = ?1 AND NOT ({} {sound})", table.name, slots.join(" + "));
            let count = self.count(&sql)?;
            if count > 0 {
                self.find("arc", format!("{count} rows of `{}` name none or more than one row in `{}`", table.name, column.name));
            }
        }
        Ok(())
    }

    /// A count is the number of rows that refer to its row; what is dying counts no more.
    fn counts(&mut self) -> DbResult<()> {
        for count in &self.schema.counts {
            if let Some((rows, example)) = counts::wrong(self.db, self.schema, self.layout, self.space.number, count)? {
                let [parent, child] = [count.parent, count.child].map(|table| &self.schema.tables[usize::from(table)]);
                let (table, name) = (&parent.name, &parent.columns[usize::from(count.column)].name);
                let counted = format!("{}.{}", child.name, child.columns[usize::from(count.reference)].name);
                self.find("counts", format!("{rows} rows of `{table}` have a `{name}` other than their `{counted}`, such as {example}"));
            }
        }
        Ok(())
    }

    /// What was deleted stays deleted; only what is being deleted may still be there.
    fn revived(&mut self, table: &TableLayout) -> DbResult<()> {
        if self.space.dying {
            return Ok(());
        }
        let sql = format!(
            "SELECT count(*) FROM _deleted AS d CROSS JOIN \"{0}\" AS t ON t.space = d.space AND t.id = d.id WHERE d.space = ?1 AND d.tbl = '{0}'",
            table.name
        );
        let count = self.count(&sql)?;
        if count > 0 {
            self.find("revived", format!("{count} rows of `{}` are there although they were deleted", table.name));
        }
        Ok(())
    }

    /// The log has every revision after the horizon, so that a cursor finds what follows it.
    fn log(&mut self) -> DbResult<()> {
        let sql = "SELECT count(DISTINCT rev), coalesce(min(rev), 0), coalesce(max(rev), 0) FROM _log WHERE space = ?1 AND rev > ?2";
        let params = [self.space.number.into(), self.space.horizon.into()];
        let (count, first, last) = self.db.one(sql, &params, |row| Ok((row.int(0)?, row.int(1)?, row.int(2)?)))?;
        let expected = self.space.rev - self.space.horizon;
        if count != expected || (expected > 0 && (first != self.space.horizon + 1 || last != self.space.rev)) {
            let (from, to) = (self.space.horizon + 1, self.space.rev);
            self.find(
                "log",
                format!("the log should hold the revisions {from} to {to}, and holds {count} of them, from {first} to {last}"),
            );
        }
        Ok(())
    }

    /// The chunks of a blob are as many bytes as it has, and each belongs to a blob, or to one that is still coming.
    fn blobs(&mut self) -> DbResult<()> {
        self.report.blobs += self.count("SELECT count(*) FROM _blob WHERE space = ?1")? as u64;
        let of_owner = "c.space = b.space AND c.hash = b.hash AND c.upload = b.upload";
        let sum = format!("(SELECT CAST(coalesce(sum(length(c.data)), 0) AS BIGINT) FROM _blob_chunk AS c WHERE {of_owner})");
        let cut = self.count(&format!("SELECT count(*) FROM _blob AS b WHERE b.space = ?1 AND b.bytes <> {sum}"))?;
        let cut_uploads = self.count(&format!("SELECT count(*) FROM _blob_upload AS b WHERE b.space = ?1 AND b.received <> {sum}"))?;
        if cut + cut_uploads > 0 {
            self.find("blobs", format!("{cut} blobs and {cut_uploads} uploads have more or fewer bytes than are noted of them"));
        }
        let owned = |table: &str| format!("EXISTS (SELECT 1 FROM {table} AS b WHERE {of_owner})");
        let (whole, coming) = (owned("_blob"), owned("_blob_upload"));
        let left = self.count(&format!("SELECT count(*) FROM _blob_chunk AS c WHERE c.space = ?1 AND NOT {whole} AND NOT {coming}"))?;
        if left > 0 {
            self.find("blobs", format!("{left} chunks belong to no blob"));
        }
        Ok(())
    }

    /// Whoever wrote is known, and what is noted of a transaction belongs to somebody.
    fn marks(&mut self) -> DbResult<()> {
        for (table, what) in [("_log", "parts of the log"), ("_mark", "marks")] {
            let sql = format!(
                "SELECT count(*) FROM {table} AS m WHERE m.space = ?1 AND m.actor <> {MIGRATION} \
                 AND NOT EXISTS (SELECT 1 FROM _client AS c WHERE c.space = ?1 AND c.actor = m.actor)"
            );
            let count = self.count(&sql)?;
            if count > 0 {
                self.find("marks", format!("{count} {what} belong to clients that are not known"));
            }
        }
        Ok(())
    }
}
