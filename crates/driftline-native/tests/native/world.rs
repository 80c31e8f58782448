//! A server in this process, on a database of its own, and what it holds.

use driftline_native::{Client, Event, Options, Row, Token};
use driftline_server::migrate::{self, Planning};
use driftline_server::{Claims, Config, Role, Server, Tokens};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub const SCHEMA: &str = include_str!("schema.json");
const SECRET: &[u8] = b"thirty-two bytes for the tests..";
/// A test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub url: String,
    pub folder: TempDir,
    config: Config,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl World {
    pub async fn start() -> World {
        let folder = tempfile::tempdir().unwrap();
        let schema = folder.path().join("schema.json");
        std::fs::write(&schema, SCHEMA).unwrap();
        let config = Config::new(schema, folder.path().join("migrations"), folder.path().join("data"));
        migrate::plan(SCHEMA, &config.migrations, "first", &Planning::default()).unwrap();
        migrate::apply(&config.migrations, &config.data).unwrap();
        let server = Server::open(config.clone(), Arc::new(Tokens::new(SECRET))).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            server.run(listener, stopped).await.unwrap();
        });
        World { url, folder, config, stop, ended }
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        within(self.ended).await.unwrap();
    }

    /// For a device of this name, whose user is `ada`.
    pub fn options(&self, device: &str) -> Options {
        Options { token: Some(Token::fixed(token("ada"))), ..options(self.folder.path(), device, &self.url) }
    }

    pub fn open(&self, device: &str) -> Client {
        Client::open(self.options(device)).unwrap()
    }

    pub fn count(&self, sql: &str) -> i64 {
        self.config.data.connect().unwrap().one(sql, &[], |row| row.int(0)).unwrap()
    }

    pub fn texts(&self, sql: &str) -> Vec<String> {
        self.config.data.connect().unwrap().all(sql, &[], |row| Ok(row.text(0)?.into_owned())).unwrap()
    }
}

/// Of a device that finds its server here.
pub fn options(folder: &Path, device: &str, url: &str) -> Options {
    let path = folder.join(device).join("notes.db");
    Options { user: Some("ada".to_string()), ..Options::new(path, SCHEMA, "a", url) }
}

pub fn token(user: &str) -> String {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = Claims { sub: user.to_string(), exp: now_s + 3_600, spaces: vec!["*".to_string()], role: Role::Write };
    Tokens::new(SECRET).issue(&claims).unwrap()
}

pub fn id(n: u64) -> String {
    format!("0199aaaa-bbbb-7ccc-8ddd-{n:012x}")
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it does not come")
}

/// Waits until a client shows a row.
pub async fn shown(client: &Client, table: &str, id: &str) -> Row {
    let (tell, mut told) = mpsc::unbounded_channel::<Event>();
    let _heard = client.subscribe(move |event| drop(tell.send(event.clone())));
    within(async {
        loop {
            if let Some(row) = client.get(table, id).await.unwrap() {
                return row;
            }
            told.recv().await.unwrap();
        }
    })
    .await
}
