//! A real database in a directory of its own, the real router before it, and clients that keep what a client keeps.

use axum::Router;
use axum::body::Body;
use axum::http::response::Parts;
use axum::http::{Request, header};
use driftline_core::schema::Schema;
use driftline_core::value::RowId;
use driftline_server::db::{Db, Dialect, Insert, Param};
use driftline_server::migrate::Planning;
use driftline_server::{Claims, Config, Faults, Place, Role, Server, Tokens, migrate};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tower::ServiceExt;

pub const SCHEMA: &str = include_str!("schema.json");
pub const SECRET: &[u8] = b"thirty-two bytes for the tests..";

pub struct World {
    pub directory: TempDir,
    pub config: Config,
    pub router: Router,
    pub schema: String,
}

/// A database with the test schema's tables and nothing in them.
pub fn prepare() -> (TempDir, Config) {
    prepare_for(SCHEMA)
}

pub fn prepare_for(text: &str) -> (TempDir, Config) {
    let directory = tempfile::tempdir().unwrap();
    let place = crate::place(&directory);
    prepare_at(directory, place, text)
}

fn prepare_at(directory: TempDir, place: Place, text: &str) -> (TempDir, Config) {
    let schema = directory.path().join("schema.json");
    std::fs::write(&schema, text).unwrap();
    let config = Config::new(schema, directory.path().join("migrations"), place);
    plan(&config, text, "first").unwrap();
    migrate::apply(&config.migrations, &config.data).unwrap();
    (directory, config)
}

/// Writes the next migration for the database that there is.
pub fn plan(config: &Config, schema: &str, name: &str) -> Result<Option<PathBuf>, String> {
    Ok(migrate::plan(schema, &config.migrations, name, &planning(config, false))?.into_iter().next())
}

pub fn planning(config: &Config, allow_drop: bool) -> Planning {
    Planning { dialect: config.data.dialect(), allow_drop }
}

/// The folder of the database.
pub fn folder(config: &Config) -> PathBuf {
    config.data.file().unwrap().parent().unwrap().to_path_buf()
}

pub fn open(config: &Config) -> Server {
    Server::open(config.clone(), Arc::new(Tokens::new(SECRET))).unwrap()
}

pub fn token_with(sub: &str, spaces: &[&str], role: Role, valid_s: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let spaces = spaces.iter().map(|s| s.to_string()).collect();
    Tokens::new(SECRET).issue(&Claims { sub: sub.into(), exp: (now + valid_s) as u64, spaces, role }).unwrap()
}

pub fn token(sub: &str) -> String {
    token_with(sub, &["*"], Role::Write, 3600)
}

pub fn id(n: u64) -> String {
    format!("0199aaaa-bbbb-7ccc-8ddd-{n:012x}")
}

pub fn row(n: u64) -> RowId {
    RowId::parse(&id(n)).unwrap()
}

impl World {
    pub fn new() -> World {
        World::with(Faults::default())
    }

    pub fn with(faults: Faults) -> World {
        World::set(|config| config.faults = faults)
    }

    /// A world whose operator has set something.
    pub fn set(change: impl FnOnce(&mut Config)) -> World {
        let (directory, mut config) = prepare();
        change(&mut config);
        let router = open(&config).router();
        World { directory, config, router, schema: SCHEMA.to_string() }
    }

    /// A world of another schema.
    pub fn of(schema: &str) -> World {
        let directory = tempfile::tempdir().unwrap();
        let place = crate::place(&directory);
        World::at(directory, place, schema)
    }

    /// A world in a place of one's own.
    pub fn at(directory: TempDir, place: Place, schema: &str) -> World {
        let (directory, config) = prepare_at(directory, place, schema);
        let router = open(&config).router();
        World { directory, config, router, schema: schema.to_string() }
    }

    /// The same data, and no server on it: nothing is done beside what a test does.
    pub async fn unserved(self) -> World {
        let world = World { router: Router::new(), ..self };
        // What a job was just looking at.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        world
    }

    /// The same data, and a server that remembers nothing else.
    pub fn restart(&mut self) {
        self.router = open(&self.config).router();
    }

    pub fn database(&self) -> Connection {
        self.db().into_sqlite().unwrap()
    }

    pub fn db(&self) -> Db {
        self.config.data.connect().unwrap()
    }

    pub async fn request(&self, method: &str, path: &str, token: Option<&str>, body: impl Into<Body>) -> (u16, String) {
        let (head, bytes) = self.response(method, path, token, &[], body).await;
        (head.status.as_u16(), String::from_utf8(bytes).unwrap())
    }

    /// The same, with headers of one's own, and with those of the answer.
    pub async fn response(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (Parts, Vec<u8>) {
        let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        (head, axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec())
    }

    /// Posts a raw push for alice.
    pub async fn post(&self, space: &str, body: impl Into<Body>) -> (u16, Json) {
        let (status, text) = self.request("POST", &format!("/v1/spaces/{space}/reconcile"), Some(&token("alice")), body).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    pub async fn snapshot(&self, space: &str) -> String {
        let (status, text) = self.request("GET", &format!("/v1/spaces/{space}/snapshot"), Some(&token("alice")), "").await;
        assert_eq!(status, 200, "{text}");
        text
    }

    pub fn count(&self, sql: &str) -> i64 {
        self.db().one(sql, &[], |row| row.int(0)).unwrap()
    }

    /// Every row of every table as text, but for what clients' receipts are.
    pub fn dump(&self) -> String {
        rows(&self.db(), |table| table != "_client", |_| true)
    }

    /// Keeps the server from writing until the transaction ends.
    pub fn lock(&self) -> Db {
        let db = self.db();
        db.begin_writing().unwrap();
        if db.dialect() == Dialect::Postgres {
            db.batch("LOCK TABLE _space IN EXCLUSIVE MODE").unwrap();
        }
        db
    }

    /// An id as it stands in SQL.
    pub fn literal(&self, n: u64) -> String {
        match self.config.data.dialect() {
            Dialect::Sqlite => format!("x'{:032x}'", { row(n).0 }),
            Dialect::Postgres => format!("'{}'", id(n)),
        }
    }

    /// Rows put into space `a` by hand, alike but for their ids; the digest comes with [`World::adopt`].
    pub fn plant(&self, table: &str, ids: impl Iterator<Item = u64>, cells: &[(&str, Param)]) {
        let (db, space) = (self.db(), self.number("a"));
        let names = cells.iter().map(|cell| cell.0);
        let columns: Vec<&str> = ["space", "id"].into_iter().chain(names).chain(["_clock"]).collect();
        let mut values = Vec::new();
        for n in ids {
            values.extend([space.into(), row(n).into()]);
            values.extend(cells.iter().map(|cell| cell.1.clone()));
            values.push("0.0000000000000000.0".into());
        }
        db.begin_writing().unwrap();
        db.insert(Insert { table, columns: &columns, conflict: "" }, &values).unwrap();
        db.commit().unwrap();
    }

    /// Notes the digest of what space `a` holds now.
    pub fn adopt(&self) {
        let (db, space) = (self.db(), self.number("a"));
        let digest = migrate::digest_of(&db, &Schema::parse(&self.schema).unwrap(), space).unwrap();
        db.execute("UPDATE _space SET digest = ?1 WHERE id = ?2", &[Param::Hash(digest.0), space.into()]).unwrap();
    }

    /// The number that a space has in the database.
    pub fn number(&self, space: &str) -> i64 {
        self.db().one("SELECT id FROM _space WHERE name = ?1", &[space.into()], |row| row.int(0)).unwrap()
    }

    /// One cell, as text.
    pub fn text(&self, sql: &str) -> Option<String> {
        self.db().one(sql, &[], |row| if row.is_null(0)? { Ok(None) } else { Ok(Some(row.text(0)?.into_owned())) }).unwrap()
    }

    /// What the space's digest is, by its tables.
    pub fn digest(&self, space: &str) -> String {
        let number = self.number(space);
        format!("{:032x}", migrate::digest_of(&self.db(), &Schema::parse(&self.schema).unwrap(), number).unwrap().0)
    }
}

/// The rows of the tables that are wanted as text, a line for each, with the columns that are wanted.
pub fn rows(db: &Db, has_table: impl Fn(&str) -> bool, has_column: impl Fn(&str) -> bool) -> String {
    let texts = |sql: &str| db.all(sql, &[], |row| Ok(row.text(0)?.into_owned())).unwrap();
    let tables = match db.dialect() {
        Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
        Dialect::Postgres => "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1",
    };
    let mut out = String::new();
    for table in texts(tables).iter().filter(|table| has_table(table)) {
        let columns = match db.dialect() {
            Dialect::Sqlite => format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"),
            Dialect::Postgres => format!(
                "SELECT CAST(column_name AS TEXT) FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = '{table}' ORDER BY ordinal_position"
            ),
        };
        let columns = texts(&columns).into_iter().filter(|column| has_column(column)).map(|column| format!("\"{column}\""));
        let line = match db.dialect() {
            Dialect::Sqlite => columns.map(|column| format!("quote({column})")).collect::<Vec<_>>().join(" || ' ' || "),
            Dialect::Postgres => format!("CAST(ROW({}) AS TEXT)", columns.collect::<Vec<_>>().join(", ")),
        };
        texts(&format!("SELECT {line} AS line FROM \"{table}\" ORDER BY line")).iter().for_each(|line| out += &format!("{table} {line}\n"));
    }
    out
}

/// One sender: a client id, its receipt, and its next number.
pub struct Client {
    pub id: String,
    pub token: String,
    pub receipt: Json,
    pub epoch: u64,
    pub closed: Json,
    pub seq: u64,
    pub cursor: Json,
}

impl Client {
    pub fn new(sub: &str, n: u64) -> Client {
        Client { id: format!("{n:016x}"), token: token(sub), receipt: Json::Null, epoch: 1, closed: json!([]), seq: 0, cursor: Json::Null }
    }

    pub fn body(edits: Json) -> Json {
        json!({"schema": 1, "at": [1000, 0], "edits": edits})
    }

    /// A unit of one transaction under the next number.
    pub fn unit(&mut self, edits: Json) -> Json {
        self.seq += 1;
        json!({"txns": [{"key": [0, self.seq], "body": Client::body(edits)}], "after": []})
    }

    pub fn push(&self, units: Vec<Json>) -> String {
        let client = json!({"id": self.id, "receipt": self.receipt, "closed": self.closed});
        json!({"epoch": self.epoch, "cursor": self.cursor, "clients": [client], "units": units}).to_string()
    }

    pub async fn send(&mut self, world: &World, space: &str, units: Vec<Json>) -> Json {
        let (status, text) = world.request("POST", &format!("/v1/spaces/{space}/reconcile"), Some(&self.token), self.push(units)).await;
        assert_eq!(status, 200, "{text}");
        let answer: Json = serde_json::from_str(&text).unwrap();
        self.receipt = answer["clients"][0]["receipt"].clone();
        answer
    }

    /// Sends one transaction and returns its outcome.
    pub async fn edit(&mut self, world: &World, space: &str, edits: Json) -> Json {
        let unit = self.unit(edits);
        let answer = self.send(world, space, vec![unit]).await;
        answer["outcomes"][0].clone()
    }
}

pub fn card(n: u64) -> Json {
    json!({"op": "create", "table": "card", "id": id(n), "set": {"text": format!("card {n}")}})
}

/// The outcome, and the problem's code where there is one.
pub fn verdict(outcome: &Json) -> String {
    let code = outcome["problem"]["code"].as_str().map(|code| format!(" {code}")).unwrap_or_default();
    format!("{}{code}", outcome["outcome"].as_str().unwrap())
}
