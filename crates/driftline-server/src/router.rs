//! The routes: authorise, bound, hand over, answer.

use crate::auth::{Action, AuthError, Authorizer, Principal};
use crate::blobs;
use crate::db::DbError;
use crate::disk;
use crate::error::ApiError;
use crate::feed;
use crate::guard;
use crate::history;
use crate::live::{self, Hub};
use crate::log::{Readers, read_changes};
use crate::metrics::{self, Metrics};
use crate::presence::Presence;
use crate::quota::{Limits, Rates, Seats};
use crate::search::{self, Search};
use crate::snapshot;
use crate::writer::WriterHandle;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use driftline_core::limits;
use driftline_core::reconcile::Plan;
use driftline_core::schema::Schema;
use driftline_core::wire::{Push, read_push, write_answer};
use hyper::body::Body as HttpBody;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

/// A body that takes longer to arrive is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a push may wait for its commit. It may still take effect; a resend finds out.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// KiB of bodies held at once; beyond it a sender is asked to come back.
pub const BODIES_KIB: usize = 96 * 1024;
pub const SMALL_BODIES_KIB: usize = 32 * 1024;
/// A body is small up to here: some edits, or a question.
const SMALL_KIB: usize = 64;
/// Reading a small body takes less than handing it to another thread.
const INLINE_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
struct Find {
    q: String,
    limit: Option<usize>,
}

pub type SpacePath = Result<Path<String>, PathRejection>;
/// A space, and a revision of it.
pub type Place = Result<Path<(String, String)>, PathRejection>;

/// What every request shares.
#[derive(Clone)]
pub struct App {
    pub(crate) schema: Arc<Schema>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) writer: WriterHandle,
    pub(crate) readers: Arc<Readers>,
    pub(crate) snapshots: Arc<Readers>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) kept_versions: u32,
    /// One space goes back at a time.
    pub(crate) restores: Arc<Semaphore>,
    /// KiB of bodies that may be held at once.
    pub(crate) bodies: Arc<Semaphore>,
    pub(crate) small_bodies: Arc<Semaphore>,
    /// First loads, by user.
    pub(crate) loads: Arc<Seats>,
    pub(crate) search: Option<Search>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) lives: Arc<Seats>,
    /// Blobs on their way out, by user.
    pub(crate) blobs: Arc<Seats>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    /// Pages of these origins may ask.
    pub(crate) origins: Arc<[HeaderValue]>,
    pub(crate) stopping: watch::Receiver<bool>,
    /// For how many seconds from now clients are asked to send nothing.
    pub(crate) pauses: watch::Receiver<Pause>,
}

impl App {
    /// Whose share something is; where everybody is the same, nobody has one.
    pub fn whose<'a>(&self, principal: &'a Principal) -> Option<&'a str> {
        (!self.authorizer.is_open()).then_some(principal.name.as_str())
    }
}

/// Until when clients are to send nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pause(pub(crate) Option<Instant>);

impl Pause {
    /// Seconds that are left of it, rounded up.
    pub(crate) fn remaining_s(self) -> u32 {
        let left = self.0.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
        u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
    }
}

/// The routes under `/v1`, to serve or to nest in an app of one's own.
pub fn router(app: App) -> Router {
    let routes = Router::new()
        .route("/v1/spaces/{space}/reconcile", post(reconcile))
        .route("/v1/spaces/{space}/snapshot", get(load_snapshot))
        .route("/v1/spaces/{space}/live", get(go_live))
        .merge(history::routes())
        .merge(feed::routes())
        .merge(blobs::routes())
        .route("/v1/spaces/{space}/search", get(find))
        .route("/v1/spaces/{space}/access", get(tell_access))
        .route("/v1", any(no_route))
        .route("/v1/", any(no_route))
        .route("/v1/{*rest}", any(no_route))
        .route("/healthz", get(async |State(app): State<App>| metrics::health(&app)))
        .route("/readyz", get(async |State(app): State<App>| metrics::ready(&app).await))
        .route("/metrics", get(scrape))
        .method_not_allowed_fallback(wrong_method);
    guard::around(routes, &app).with_state(app)
}

/// For whoever may read every space.
async fn scrape(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    authorize(&app, &headers, "*", Action::Read).await?;
    Ok(metrics::scrape(&app).await)
}

/// A good answer.
pub fn json(text: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text.into()).into_response()
}

async fn no_route() -> ApiError {
    ApiError::not_found("there is no such route")
}

async fn wrong_method() -> ApiError {
    ApiError::new(405, "method_not_allowed", "this route takes another method")
}

async fn reconcile(State(app): State<App>, space: SpacePath, request: Request) -> Result<Response, ApiError> {
    let space = space_name(space)?;
    let (parts, body) = request.into_parts();
    let principal = admit(&app, &parts.headers, &space, Action::Read).await?;
    let mut held = hold_body(&app, &body)?;
    let text = read_body(&parts.headers, body).await?;
    // What it said, or did not say, of its length is more than it takes.
    drop(held.split(held.num_permits().saturating_sub(text.len().div_ceil(1_024))));
    let bytes = text.len();
    let push = parse(app.schema.clone(), text).await?;
    let principal = match push.units.is_empty() {
        true => principal.name,
        false => authorize(&app, &parts.headers, &space, Action::Write).await?.name,
    };
    let committed = timeout(COMMIT_TIMEOUT, app.writer.push(space.clone(), principal.clone(), push, bytes)).await;
    let (push, plan) = committed.unwrap_or_else(|_| Err(ApiError::unavailable("the commit takes too long; try again").unsure()))?;
    count(&app.metrics, &plan);
    let answer = app.readers.run(move |store| {
        let changes = push.cursor.map(|cursor| read_changes(store, &space, &principal, cursor, Some(plan.space.rev)));
        let changes = changes.transpose()?.unwrap_or_default();
        Ok::<_, DbError>(write_answer(&store.schema, &push, &plan, &changes.rows, changes.more, changes.reload))
    });
    match answer.await {
        Some(Ok(answer)) => Ok(json(answer)),
        Some(Err(error)) => {
            tracing::error!(%error, "the log could not be read");
            Err(disk::refusal(&error).unwrap_or_else(ApiError::internal).unsure())
        }
        None => Err(ApiError::internal().unsure()),
    }
}

async fn load_snapshot(State(app): State<App>, space: SpacePath, headers: HeaderMap) -> Result<Response, ApiError> {
    let space = space_name(space)?;
    let principal = admit(&app, &headers, &space, Action::Read).await?;
    let seat = app.loads.seat(app.whose(&principal))?;
    let body = snapshot::stream(&app, space, seat).await?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")), no_store()], body).into_response())
}

/// What the credential allows here: so who may not write knows it before he edits.
async fn tell_access(State(app): State<App>, space: SpacePath, headers: HeaderMap) -> Result<Response, ApiError> {
    let space = space_name(space)?;
    let Principal { name, expires_s } = admit(&app, &headers, &space, Action::Read).await?;
    let role = match authorize(&app, &headers, &space, Action::Write).await {
        Ok(_) => "write",
        Err(AuthError::Unavailable(reason)) => return Err(ApiError::unavailable(&reason)),
        Err(_) => "read",
    };
    let told = serde_json::json!({"user": name, "role": role, "expires_s": expires_s}).to_string();
    Ok(json(told))
}

/// Rows by their words: `?q=` what somebody types, `&limit=` how many.
async fn find(
    State(app): State<App>,
    space: SpacePath,
    asked: Result<Query<Find>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let space = space_name(space)?;
    admit(&app, &headers, &space, Action::Read).await?;
    if app.search.is_none() {
        return Err(ApiError::not_found("search is not turned on at this server"));
    }
    let Query(asked) = asked.map_err(|_| ApiError::new(400, "invalid_request", "ask with `?q=words`, and perhaps `&limit=20`"))?;
    let limit = asked.limit.unwrap_or(search::FOUND_ROWS).clamp(1, search::FOUND_ROWS);
    let found = app.readers.run(move |store| store.db.reading(|| search::find(store, &space, &asked.q, limit))).await;
    match found {
        Some(Ok(found)) => Ok(json(found)),
        Some(Err(error)) => {
            tracing::error!(%error, "the words could not be looked up");
            Err(disk::refusal(&error).unwrap_or_else(ApiError::internal))
        }
        None => Err(ApiError::internal()),
    }
}

async fn go_live(
    State(app): State<App>,
    space: SpacePath,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let space = space_name(space)?;
    let upgrade = upgrade.map_err(|e| ApiError::new(400, "invalid_request", format!("this route is a WebSocket: {e}")))?;
    Ok(live::upgrade(app, space, upgrade).await)
}

pub fn space_name(path: SpacePath) -> Result<String, ApiError> {
    let name = path.map(|path| path.0).unwrap_or_default();
    if limits::is_space_name(&name) {
        Ok(name)
    } else {
        Err(ApiError::not_found("a space's name is 1 to 64 characters of A-Z a-z 0-9 _ . -"))
    }
}

/// Lets in whom the credential allows it. Refuses what is too much of one principal, and everything while clients are asked to wait.
pub async fn admit(app: &App, headers: &HeaderMap, space: &str, action: Action) -> Result<Principal, ApiError> {
    let principal = authorize(app, headers, space, action).await?;
    let pause_s = app.pauses.borrow().remaining_s();
    if pause_s > 0 {
        let detail = "the server asks everybody to wait a little";
        return Err(ApiError { retry_after_s: Some(pause_s), ..ApiError::unavailable(detail) });
    }
    app.whose(&principal).map_or(Ok(()), |name| app.rates.take(name))?;
    Ok(principal)
}

fn count(metrics: &Metrics, plan: &Plan) {
    for outcome in ["applied", "refused", "held", "unknown"] {
        let named = format!("\"outcome\":\"{outcome}\"");
        metrics.outcome(outcome, plan.outcomes.iter().filter(|(_, told)| told.starts_with(&named)).count() as u64);
    }
}

async fn authorize(app: &App, headers: &HeaderMap, space: &str, action: Action) -> Result<Principal, AuthError> {
    let principal = app.authorizer.authorize(bearer(headers), space, action).await?;
    // Where everybody is the same, nobody is somebody else.
    let user = headers.get("driftline-user").filter(|_| !app.authorizer.is_open());
    principal.must_be(user.map(|user| user.to_str().unwrap_or_default()))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn no_store() -> (header::HeaderName, HeaderValue) {
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// Room for a body, by what it says of its length; for the longest where it says nothing.
pub fn hold_body(app: &App, body: &Body) -> Result<OwnedSemaphorePermit, ApiError> {
    let length = body.size_hint().upper().and_then(|length| usize::try_from(length).ok());
    let kib = length.unwrap_or(limits::PUSH_BYTES).min(limits::PUSH_BYTES).div_ceil(1_024).max(1);
    // Those that are small do not wait for those that are not.
    let room = if kib <= SMALL_KIB { &app.small_bodies } else { &app.bodies };
    let held = room.clone().try_acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX));
    held.map_err(|_| ApiError::unavailable("too much is being taken in; try again"))
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::new(415, "unsupported_media_type", "send `content-type: application/json`"));
    }
    take_body(headers, body).await
}

/// A body of whatever type, whole.
pub async fn take_body(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(ApiError::new(415, "unsupported_media_type", "send the body without a content-encoding"));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limits::PUSH_BYTES) {
        return Err(ApiError::too_large());
    }
    match timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limits::PUSH_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => Err(ApiError::too_large()),
        // The way it came is to blame, and not what was in it.
        Ok(Err(_)) => Err(ApiError::new(408, "incomplete", "the body broke off; send it again")),
        Err(_) => Err(ApiError::timeout("the body did not arrive in 30 s")),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.to_string().contains("length limit"))
}

async fn parse(schema: Arc<Schema>, bytes: Bytes) -> Result<Push, ApiError> {
    let is_small = bytes.len() <= INLINE_BYTES;
    let read = move || {
        let text = std::str::from_utf8(&bytes).map_err(|_| ApiError::new(400, "malformed", "the body is not UTF-8"))?;
        Ok(read_push(&schema, text)?)
    };
    if is_small {
        return read();
    }
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Err(ApiError::internal()))
}
