//! `limit-server ADDRESS`: what a server costs that does nothing but its transport: it takes what is posted to `/taken`, and on `/echo`
//! sends each message of a WebSocket back once one row with it is committed to SQLite. Prints `listening on http://…`.

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use axum::routing::{any, get};
use rusqlite::Connection;
use std::sync::{Arc, Mutex, PoisonError};

type Any = Box<dyn std::error::Error>;
type Db = Arc<Mutex<Connection>>;

fn main() -> Result<(), Any> {
    let address = std::env::args().nth(1).ok_or("limit-server ADDRESS")?;
    let folder = tempfile::tempdir()?;
    let db = Connection::open(folder.path().join("limit.db"))?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE message (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT",
    )?;
    let app = Router::new().route("/taken", any(take)).route("/echo", get(echo)).with_state(Arc::new(Mutex::new(db)));
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        println!("listening on http://{}", listener.local_addr()?);
        axum::serve(listener, app.layer(axum::extract::DefaultBodyLimit::disable())).await?;
        Ok(())
    })
}

/// Pages of other origins may post here.
async fn take(method: Method, body: axum::body::Bytes) -> (HeaderMap, String) {
    let mut headers = HeaderMap::new();
    for name in ["access-control-allow-origin", "access-control-allow-headers"] {
        headers.insert(name, HeaderValue::from_static(if name.ends_with("origin") { "*" } else { "content-type" }));
    }
    (headers, if method == Method::POST { body.len().to_string() } else { String::new() })
}

async fn echo(State(db): State<Db>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        while let Some(Ok(Message::Text(text))) = socket.recv().await {
            let db = db.clone();
            let stored = text.to_string();
            let commit = move || {
                let db = db.lock().unwrap_or_else(PoisonError::into_inner);
                db.execute("INSERT INTO message (text) VALUES (?1)", [stored]).map(drop)
            };
            let done = tokio::task::spawn_blocking(commit).await;
            if !matches!(done, Ok(Ok(()))) || socket.send(Message::Text(text)).await.is_err() {
                return;
            }
        }
    })
}
