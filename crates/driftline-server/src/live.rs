//! Live changes: after each commit the sockets of its space read the log from where they stand.

use crate::auth::{Action, AuthError};
use crate::error::ApiError;
use crate::log::read_changes;
use crate::router::App;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use driftline_core::wire::write_live;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, timeout};

const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(2);
/// A reader that takes longer over one message is better off reconciling.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// A hello is a token and a number; nothing else is ever sent up.
const MESSAGE_BYTES: usize = 16 * 1024;

/// The latest revision of each space that somebody watches.
#[derive(Default)]
pub struct Hub {
    spaces: Mutex<HashMap<String, watch::Sender<u64>>>,
    /// For the servers beside this one.
    #[cfg(feature = "postgres")]
    pub(crate) outgoing: Option<std::sync::Arc<crate::notes::Outgoing>>,
}

impl Hub {
    /// Of a server that is not the only one on its database.
    #[cfg(feature = "postgres")]
    pub(crate) fn among_others() -> Hub {
        Hub { outgoing: Some(std::sync::Arc::default()), ..Hub::default() }
    }

    /// To be called after the commit.
    pub fn committed(&self, space: &str, rev: u64) {
        self.heard(space, rev);
        #[cfg(feature = "postgres")]
        if let Some(outgoing) = &self.outgoing {
            outgoing.add(space, rev);
        }
    }

    /// To be called when a commit of any server is heard of, once or again, in any order.
    pub(crate) fn heard(&self, space: &str, rev: u64) {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = spaces.get(space) else { return };
        if sender.receiver_count() == 0 {
            spaces.remove(space);
            return;
        }
        sender.send_if_modified(|latest| {
            let is_news = rev != *latest;
            *latest = rev;
            is_news
        });
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn watched(&self) -> Vec<String> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// To be called by whoever has stopped watching: a space that nobody watches takes no memory.
    fn leave(&self, space: &str) {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        if spaces.get(space).is_some_and(|sender| sender.receiver_count() == 0) {
            spaces.remove(space);
        }
    }

    fn watch(&self, space: &str) -> watch::Receiver<u64> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        spaces.entry(space.to_string()).or_insert_with(|| watch::channel(0).0).subscribe()
    }
}

#[derive(Deserialize)]
struct Hello {
    token: Option<String>,
    user: Option<String>,
    cursor: u64,
}

/// Why a socket is closed.
struct Closing(u16, &'static str);

pub async fn upgrade(app: App, space: String, upgrade: WebSocketUpgrade) -> Response {
    let Ok(permit) = app.lives.clone().try_acquire_owned() else {
        return ApiError::unavailable("too many live connections; try again").into_response();
    };
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES).max_frame_size(MESSAGE_BYTES);
    upgrade.on_upgrade(move |mut socket| async move {
        let Closing(code, reason) = serve(&app, &space, &mut socket).await;
        app.hub.leave(&space);
        tracing::debug!(space, code, reason, "live connection closes");
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = timeout(Duration::from_secs(1), socket.send(Message::Close(Some(frame)))).await;
        drop(permit);
    })
}

async fn serve(app: &App, space: &str, socket: &mut WebSocket) -> Closing {
    let hello = match timeout(HELLO_TIMEOUT, socket.recv()).await {
        Ok(Some(Ok(Message::Text(text)))) => serde_json::from_str::<Hello>(&text).ok(),
        _ => None,
    };
    let Some(hello) = hello else { return Closing(4400, "the first message is {token, cursor}") };
    let user = hello.user.filter(|_| !app.authorizer.is_open());
    let authorized = app.authorizer.authorize(hello.token.as_deref(), space, Action::Read).await;
    let principal = match authorized.and_then(|principal| principal.must_be(user.as_deref())) {
        Ok(principal) => principal.0,
        Err(AuthError::Unauthenticated(reason)) => {
            tracing::info!(space, reason, "live connection refused");
            return Closing(4401, "no valid credential");
        }
        Err(AuthError::Forbidden(reason)) => {
            tracing::info!(space, reason, "live connection refused");
            return Closing(4403, "not allowed");
        }
        Err(AuthError::WrongUser) => {
            tracing::info!(space, "live connection refused: the credential is another user's");
            return Closing(4403, "wrong user");
        }
    };
    let mut commits = app.hub.watch(space);
    let mut stopping = app.stopping.clone();
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    let mut cursor = hello.cursor;
    // What was committed before the watch began is in the log.
    if let Err(closing) = catch_up(app, space, &principal, socket, &mut cursor).await {
        return closing;
    }
    loop {
        let done = tokio::select! {
            changed = commits.changed() => match changed {
                Ok(()) => catch_up(app, space, &principal, socket, &mut cursor).await,
                Err(_) => Err(Closing(1011, "the server failed")),
            },
            _ = pings.tick() => send(socket, format!("{{\"ping\":{cursor}}}")).await,
            received = socket.recv() => match received {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                Some(Ok(Message::Text(_) | Message::Binary(_))) => Err(Closing(4400, "nothing is sent up here")),
                _ => Err(Closing(1000, "the client went away")),
            },
            () = stopped(&mut stopping) => Err(Closing(1001, "the server goes away")),
        };
        if let Err(closing) = done {
            return closing;
        }
    }
}

async fn catch_up(app: &App, space: &str, principal: &str, socket: &mut WebSocket, cursor: &mut u64) -> Result<(), Closing> {
    loop {
        let (named, reader, from) = (space.to_string(), principal.to_string(), *cursor);
        let read = app.readers.run(move |store| read_changes(store, &named, &reader, from, None)).await;
        let Some(Ok(changes)) = read else { return Err(Closing(1011, "the server failed")) };
        if changes.reload {
            return Err(Closing(4410, "reload"));
        }
        let Some(last) = changes.rows.last().map(|row| row.rev) else { return Ok(()) };
        *cursor = last;
        send(socket, write_live(&app.schema, last, &changes.rows)).await?;
        if !changes.more {
            return Ok(());
        }
    }
}

async fn send(socket: &mut WebSocket, text: String) -> Result<(), Closing> {
    match timeout(SEND_TIMEOUT, socket.send(Message::Text(text.into()))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Closing(1000, "the client went away")),
        Err(_) => Err(Closing(4408, "too slow a reader")),
    }
}

/// Ends when the server stops; never, where nobody is left to say so.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        std::future::pending::<()>().await;
    }
}
