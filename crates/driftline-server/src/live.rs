//! Live changes: after each commit the sockets of its space read the log from where they stand.

use crate::auth::{Action, AuthError, Principal};
use crate::clock;
use crate::error::ApiError;
use crate::log::read_changes;
use crate::presence::Visitor;
use crate::quota::Seat;
use crate::router::App;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use driftline_core::wire::write_live;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep, sleep_until, timeout};

const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the other side has to answer a goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(2);
/// A reader that takes longer over one message is better off reconciling.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// A hello is a token and a number; a word about oneself is shorter.
const MESSAGE_BYTES: usize = 16 * 1024;
/// Held by each connection all the while; little is sent up.
const READ_BUFFER_BYTES: usize = 2 * 1024;
/// A peer that is gone without a word shows by not answering the pings of the WebSocket, which every browser does by itself.
const SIGN_EVERY: Duration = Duration::from_secs(20);
const SIGN_TIMEOUT: Duration = Duration::from_secs(60);
/// Where others are is told so often at most: three frames of a screen.
const PRESENCE_EVERY: Duration = Duration::from_millis(50);
/// And for each who is there.
const PRESENCE_SHARE: Duration = Duration::from_millis(2);
/// Words about oneself in the time between two pings. A page says one for each frame at most.
const WORDS: u32 = 240;
/// A timer that lies further ahead is not needed: browsers and balancers do not keep a connection for a day.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

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

    /// How many spaces somebody watches.
    pub(crate) fn spaces(&self) -> usize {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner).len()
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

    pub(crate) fn watch(self: &Arc<Self>, space: &str) -> Watching {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        let commits = spaces.entry(space.to_string()).or_insert_with(|| watch::channel(0).0).subscribe();
        Watching { hub: self.clone(), space: space.to_string(), commits: Some(commits) }
    }
}

/// Hears of the commits of a space, for as long as it is kept.
pub(crate) struct Watching {
    hub: Arc<Hub>,
    space: String,
    commits: Option<watch::Receiver<u64>>,
}

impl Watching {
    /// Waits for the next commit. `false`: there will be none.
    pub async fn changed(&mut self) -> bool {
        match &mut self.commits {
            Some(commits) => commits.changed().await.is_ok(),
            None => false,
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        drop(self.commits.take());
        self.hub.leave(&self.space);
    }
}

#[derive(Deserialize)]
struct Hello {
    token: Option<String>,
    user: Option<String>,
    /// Without it no changes are told.
    cursor: Option<u64>,
    #[serde(default)]
    presence: bool,
}

impl Hello {
    fn asks(&self) -> bool {
        self.cursor.is_some() || self.presence
    }
}

#[derive(Deserialize)]
struct Word {
    presence: Box<RawValue>,
}

/// Why a socket is closed.
struct Closing(u16, &'static str);

impl Closing {
    const AWAY: Closing = Closing(1001, "the server goes away");
}

pub async fn upgrade(app: App, space: String, upgrade: WebSocketUpgrade) -> Response {
    let Some(seat) = app.lives.enter() else {
        return ApiError::unavailable("too many live connections; try again").into_response();
    };
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES).max_frame_size(MESSAGE_BYTES).read_buffer_size(READ_BUFFER_BYTES);
    upgrade.on_upgrade(move |mut socket| async move {
        let mut seat = seat;
        let Closing(code, reason) = serve(&app, &space, &mut socket, &mut seat).await;
        tracing::debug!(space, code, reason, "live connection closes");
        let _ = timeout(CLOSE_TIMEOUT, close(&mut socket, CloseFrame { code, reason: reason.into() })).await;
        drop(seat);
    })
}

/// The closing handshake of RFC 6455. Until the other side has heard of the end it may go on speaking, and a connection that is
/// closed under its sender takes the reason with it.
async fn close(socket: &mut WebSocket, frame: CloseFrame) {
    if socket.send(Message::Close(Some(frame))).await.is_ok() {
        while let Some(Ok(_)) = socket.recv().await {}
    }
}

async fn serve(app: &App, space: &str, socket: &mut WebSocket, seat: &mut Seat) -> Closing {
    let mut stopping = app.stopping.clone();
    let first = tokio::select! {
        first = timeout(HELLO_TIMEOUT, socket.recv()) => first,
        () = stopped(&mut stopping) => return Closing::AWAY,
    };
    let hello = match first {
        Err(_) => return Closing(4408, "nothing is heard"),
        Ok(Some(Ok(Message::Text(text)))) => serde_json::from_str::<Hello>(&text).ok().filter(Hello::asks),
        _ => None,
    };
    let Some(hello) = hello else { return Closing(4400, "the first message is {token, cursor}") };
    let principal = match admit(app, space, &hello, seat).await {
        Ok(principal) => principal,
        Err(closing) => return closing,
    };
    let commits = app.hub.watch(space);
    let mut line = Line { app, space, socket, principal: principal.name, cursor: hello.cursor };
    // What was committed before the watch began is in the log.
    if let Err(closing) = line.catch_up().await {
        return closing;
    }
    let visitor = hello.presence.then(|| app.presence.enter(space));
    line.run(commits, visitor, remaining(principal.expires_s)).await
}

async fn admit(app: &App, space: &str, hello: &Hello, seat: &mut Seat) -> Result<Principal, Closing> {
    let user = hello.user.as_deref().filter(|_| !app.authorizer.is_open());
    let authorized = app.authorizer.authorize(hello.token.as_deref(), space, Action::Read).await;
    let refused = |check: &str| tracing::info!(space, check, "live connection refused");
    let principal = authorized.and_then(|principal| principal.must_be(user)).map_err(|error| match error {
        AuthError::Unauthenticated(reason) => {
            refused(&reason);
            Closing(4401, "no valid credential")
        }
        AuthError::Forbidden(reason) => {
            refused(&reason);
            Closing(4403, "not allowed")
        }
        AuthError::WrongUser => {
            refused("the credential is another user's");
            Closing(4403, "wrong user")
        }
        AuthError::Unavailable(reason) => {
            refused(&reason);
            Closing(1013, "try again later")
        }
    })?;
    if !app.authorizer.is_open() {
        if !seat.take(&principal.name) {
            refused("the user has too many live connections");
            return Err(Closing(4429, "too many live connections of one user"));
        }
        if app.rates.take(&principal.name).is_err() {
            refused("the user asks too often");
            return Err(Closing(4429, "too many requests of one user"));
        }
    }
    Ok(principal)
}

/// How long a credential still holds.
fn remaining(expires_s: Option<u64>) -> Duration {
    expires_s.map_or(LONGEST, |at| Duration::from_secs(at).saturating_sub(clock::now()).min(LONGEST))
}

/// One connection, from its first message on.
struct Line<'a> {
    app: &'a App,
    space: &'a str,
    socket: &'a mut WebSocket,
    principal: String,
    cursor: Option<u64>,
}

impl Line<'_> {
    async fn run(&mut self, mut commits: Watching, mut visitor: Option<Visitor>, holds: Duration) -> Closing {
        let mut stopping = self.app.stopping.clone();
        let mut pauses = self.app.pauses.clone();
        pauses.mark_unchanged();
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        let mut signs = interval_at(Instant::now() + SIGN_EVERY, SIGN_EVERY);
        let mut heard = Instant::now();
        let mut words = 0;
        let mut shown = Instant::now() - PRESENCE_EVERY;
        let expired = sleep(holds);
        tokio::pin!(expired);
        loop {
            let done = tokio::select! {
                changed = commits.changed() => match changed {
                    true => self.catch_up().await,
                    false => Err(Closing(1011, "the server failed")),
                },
                _ = pings.tick() => {
                    words = 0;
                    self.send(format!("{{\"ping\":{}}}", self.cursor.unwrap_or_default())).await
                }
                _ = signs.tick() => match heard.elapsed() < SIGN_TIMEOUT {
                    true => self.send_message(Message::Ping(Default::default())).await,
                    false => Err(Closing(4408, "nothing is heard")),
                },
                received = self.socket.recv() => {
                    heard = Instant::now();
                    match received {
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                        Some(Ok(Message::Text(text))) => {
                            words += 1;
                            listen(&mut visitor, &text, words)
                        }
                        Some(Ok(Message::Binary(_))) => Err(Closing(4400, "messages are text")),
                        _ => Err(Closing(1000, "the client went away")),
                    }
                }
                news = others(&mut visitor, shown) => {
                    shown = Instant::now();
                    match news {
                        Some(news) => self.send(news).await,
                        None => Ok(()),
                    }
                }
                Ok(()) = pauses.changed() => {
                    let seconds = pauses.borrow_and_update().remaining_s();
                    self.send(format!("{{\"pause\":{seconds}}}")).await
                }
                () = &mut expired => Err(match holds < LONGEST {
                    true => Closing(4401, "the credential has expired"),
                    false => Closing(1001, "the connection is a day old"),
                }),
                () = stopped(&mut stopping) => Err(Closing::AWAY),
            };
            if let Err(closing) = done {
                return closing;
            }
        }
    }

    /// Sends what the log has beyond the cursor.
    async fn catch_up(&mut self) -> Result<(), Closing> {
        let Some(mut cursor) = self.cursor else { return Ok(()) };
        loop {
            let (named, reader) = (self.space.to_string(), self.principal.clone());
            let read = self.app.readers.run(move |store| read_changes(store, &named, &reader, cursor, None)).await;
            let Some(Ok(changes)) = read else { return Err(Closing(1011, "the server failed")) };
            if changes.reload {
                return Err(Closing(4410, "reload"));
            }
            let Some(last) = changes.rows.last().map(|row| row.rev) else { return Ok(()) };
            cursor = last;
            self.cursor = Some(last);
            self.send(write_live(&self.app.schema, last, &changes.rows)).await?;
            if !changes.more {
                return Ok(());
            }
        }
    }

    async fn send(&mut self, text: String) -> Result<(), Closing> {
        self.send_message(Message::Text(text.into())).await
    }

    async fn send_message(&mut self, message: Message) -> Result<(), Closing> {
        match timeout(SEND_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Closing(1000, "the client went away")),
            Err(_) => Err(Closing(4408, "too slow a reader")),
        }
    }
}

/// What is sent up is a word about oneself.
fn listen(visitor: &mut Option<Visitor>, text: &str, words: u32) -> Result<(), Closing> {
    let Some(visitor) = visitor else { return Err(Closing(4400, "nothing is sent up here")) };
    if words > WORDS {
        return Err(Closing(4429, "too many messages"));
    }
    let word: Word = serde_json::from_str(text).map_err(|_| Closing(4400, "messages are {presence}"))?;
    if visitor.say(&word.presence) { Ok(()) } else { Err(Closing(4413, "too much presence")) }
}

/// What is new of others, not too soon after the last time.
async fn others(visitor: &mut Option<Visitor>, shown: Instant) -> Option<String> {
    let Some(visitor) = visitor else { return std::future::pending().await };
    // In this order: whoever stops waiting in between has missed nothing.
    // The more there are, the more each hears: so each hears of them less often.
    sleep_until(shown + PRESENCE_EVERY.max(PRESENCE_SHARE * visitor.others())).await;
    visitor.changed().await;
    visitor.news()
}

/// Ends when the server stops; never, where nobody is left to say so.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        std::future::pending::<()>().await;
    }
}
