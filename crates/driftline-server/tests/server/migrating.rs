//! What tests of migrations have in common: the next one, and what a database is made of.

use crate::world::{World, planning};
use driftline_server::db::Dialect;
use driftline_server::{Config, Open, Server, migrate};
use serde_json::Value as Json;
use std::sync::Arc;

/// Plans what leads to a schema, losses included, without applying it.
pub fn plan_next(config: &Config, schema: &Json) -> Vec<String> {
    std::fs::write(&config.schema, schema.to_string()).unwrap();
    let paths = migrate::plan(&schema.to_string(), &config.migrations, "next", &planning(config, true)).unwrap();
    paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect()
}

impl World {
    /// The same data under another schema, behind a new server.
    pub fn migrate(mut self, schema: &Json) -> World {
        plan_next(&self.config, schema);
        migrate::apply(&self.config.migrations, &self.config.data).unwrap();
        self.schema = schema.to_string();
        self.restart();
        self
    }
}

/// Why a server does not start.
pub fn refusal(config: &Config) -> String {
    Server::open(config.clone(), Arc::new(Open)).err().expect("the server starts").to_string()
}

/// Tables, columns, constraints and indexes, a line for each.
pub fn catalog(config: &Config) -> Vec<String> {
    lines(
        config,
        match config.data.dialect() {
            Dialect::Sqlite => "SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_master ORDER BY name",
            Dialect::Postgres => {
                "SELECT line FROM (SELECT t.relname || '.' || a.attname || ' ' || row_number() OVER (PARTITION BY t.oid ORDER BY a.attnum) \
                 || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || CAST(a.attidentity AS TEXT) \
                 || coalesce(' ' || pg_get_expr(d.adbin, d.adrelid), '') AS line \
                 FROM pg_class AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped \
                 LEFT JOIN pg_attrdef AS d ON d.adrelid = t.oid AND d.adnum = a.attnum \
                 WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind = 'r' \
                 UNION ALL SELECT replace(pg_get_indexdef(c.oid), current_schema() || '.', '') FROM pg_class AS c \
                 WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'i' \
                 UNION ALL SELECT c.conrelid::regclass || ' ' || c.conname || ' ' || pg_get_constraintdef(c.oid) FROM pg_constraint AS c \
                 WHERE c.connamespace = current_schema()::regnamespace AND c.contype <> 'n') AS lines ORDER BY line"
            }
        },
    )
}

/// The same, and where in the database it stands: what is made anew stands elsewhere.
pub fn standing(config: &Config) -> Vec<String> {
    let places = match config.data.dialect() {
        Dialect::Sqlite => "SELECT name || ' ' || rootpage FROM sqlite_master ORDER BY rowid",
        Dialect::Postgres => {
            "SELECT relname || ' ' || oid || ' ' || relfilenode FROM pg_class WHERE relnamespace = current_schema()::regnamespace ORDER BY oid"
        }
    };
    let mut all = catalog(config);
    all.extend(lines(config, places));
    all
}

fn lines(config: &Config, sql: &str) -> Vec<String> {
    config.data.connect().unwrap().all(sql, &[], |row| Ok(row.text(0)?.into_owned())).unwrap()
}
