//! The log for consumers: a mirror, an index elsewhere. They keep their own place, so one that fails or lags concerns nobody, and
//! they are told what is committed and nothing else.

use crate::auth::Action;
use crate::db::{DbError, Param};
use crate::disk;
use crate::error::ApiError;
use crate::log::{Changes, read_changes};
use crate::router::{App, SpacePath, admit, json as as_json, space_name};
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use driftline_core::wire::write_live;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

/// How long a question may wait for news.
const WAIT: Duration = Duration::from_secs(30);
/// Spaces of one answer.
const SPACES: usize = 1_000;

pub fn routes() -> Router<App> {
    Router::new().route("/v1/spaces", get(spaces)).route("/v1/spaces/{space}/changes", get(changes))
}

#[derive(Deserialize)]
struct From {
    #[serde(default)]
    cursor: u64,
    /// Seconds to wait for a revision after the cursor.
    #[serde(default)]
    wait: u64,
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: String,
    limit: Option<usize>,
}

/// What has changed in a space since a revision.
async fn changes(
    State(app): State<App>,
    space: SpacePath,
    asked: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let space = space_name(space)?;
    let principal = admit(&app, &headers, &space, Action::Read).await?;
    let Query(From { cursor, wait }) =
        asked.map_err(|_| ApiError::new(400, "invalid_request", "ask with `?cursor=0`, and perhaps `&wait=20`"))?;
    // Whoever watches first misses nothing.
    let seat = if wait > 0 { Some(app.lives.seat(app.whose(&principal))?) } else { None };
    let principal = principal.name;
    let mut commits = seat.as_ref().map(|_| app.hub.watch(&space));
    let mut read = read(&app, &space, &principal, cursor).await?;
    if let Some(commits) = &mut commits
        && read.rows.is_empty()
        && !read.reload
    {
        let mut stopping = app.stopping.clone();
        let news = async {
            tokio::select! {
                _ = commits.changed() => {}
                () = crate::live::stopped(&mut stopping) => {}
            }
        };
        let _ = timeout(Duration::from_secs(wait).min(WAIT), news).await;
        read = self::read(&app, &space, &principal, cursor).await?;
    }
    let rev = read.rows.last().map_or(cursor, |row| row.rev);
    let mut text = write_live(&app.schema, rev, &read.rows);
    text.pop();
    Ok(as_json(text + &format!(",\"more\":{},\"reload\":{}}}", read.more, read.reload)))
}

async fn read(app: &App, space: &str, principal: &str, cursor: u64) -> Result<Changes, ApiError> {
    let (space, principal) = (space.to_string(), principal.to_string());
    let read = app.readers.run(move |store| read_changes(store, &space, &principal, cursor, None)).await;
    read.ok_or_else(ApiError::internal)?.map_err(failed)
}

/// The spaces there are, by name, each with its revision: what has gone on since a consumer looked. For whoever may read all.
async fn spaces(State(app): State<App>, asked: Result<Query<After>, QueryRejection>, headers: HeaderMap) -> Result<Response, ApiError> {
    admit(&app, &headers, "*", Action::Read).await?;
    let Query(After { after, limit }) = asked.map_err(|_| ApiError::new(400, "invalid_request", "ask with `?after=name&limit=1000`"))?;
    let limit = limit.unwrap_or(SPACES).clamp(1, SPACES);
    let read = app.readers.run(move |store| {
        let sql = "SELECT name, rev FROM _space WHERE name > ?1 ORDER BY name LIMIT ?2";
        let params = [Param::from(after), (limit as i64 + 1).into()];
        store.db.reading(|| store.db.all(sql, &params, |row| Ok(json!({"space": row.text(0)?, "rev": row.bits(1)?}))))
    });
    let mut found = read.await.ok_or_else(ApiError::internal)?.map_err(failed)?;
    let more = found.len() > limit;
    found.truncate(limit);
    Ok(as_json(json!({"spaces": found, "more": more}).to_string()))
}

fn failed(error: DbError) -> ApiError {
    tracing::error!(%error, "the log could not be read");
    disk::refusal(&error).unwrap_or_else(ApiError::internal)
}
