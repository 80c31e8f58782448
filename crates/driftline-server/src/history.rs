//! Versions over HTTP: listed, read, kept on demand, gone back to.

use crate::auth::Action;
use crate::disk;
use crate::error::ApiError;
use crate::router::{App, Place, SpacePath, admit, json, space_name};
use crate::snapshot::LOAD_TIMEOUT;
use crate::store::StoreError;
use crate::versions;
use crate::writer::moment;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use flate2::read::GzDecoder;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use std::io::{Cursor, ErrorKind, Read};
use std::time::Instant;

/// What is inflated at once.
const CHUNK_BYTES: usize = 64 * 1024;

pub fn routes() -> Router<App> {
    Router::new()
        .route("/v1/spaces/{space}/versions", get(list).post(keep))
        .route("/v1/spaces/{space}/versions/{rev}", get(read))
        .route("/v1/spaces/{space}/versions/{rev}/restore", post(restore))
}

async fn list(State(app): State<App>, space: SpacePath, headers: HeaderMap) -> Result<Response, ApiError> {
    let space = space_name(space)?;
    admit(&app, &headers, &space, Action::Read).await?;
    let read = app.readers.run(move |store| versions::list(store, &space)).await;
    Ok(json(read.ok_or_else(ApiError::internal)?.map_err(|error| failed(&error.into()))?))
}

/// The text of a version, inflated as it is taken.
async fn read(State(app): State<App>, place: Place, headers: HeaderMap) -> Result<Response, ApiError> {
    let (space, rev) = at(place)?;
    let principal = admit(&app, &headers, &space, Action::Read).await?;
    let seat = app.loads.seat(app.whose(&principal))?;
    let (data, began) = (data(&app, space, rev).await?, Instant::now());
    let chunks = unfold((GzDecoder::new(Cursor::new(data)), seat), move |(mut inflating, seat)| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = if began.elapsed() < LOAD_TIMEOUT { inflating.read(&mut chunk) } else { Err(ErrorKind::TimedOut.into()) };
        match read {
            Ok(0) => None,
            Ok(length) => {
                chunk.truncate(length);
                Some((Ok(chunk), (inflating, seat)))
            }
            Err(error) => Some((Err(error), (inflating, seat))),
        }
    });
    let body = Body::from_stream(chunks.fuse());
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))], body).into_response())
}

async fn data(app: &App, space: String, rev: u64) -> Result<Vec<u8>, ApiError> {
    let read = app.readers.run(move |store| store.db.reading(|| versions::data(store, &space, rev))).await;
    read.ok_or_else(ApiError::internal)?.map_err(|error| failed(&error.into()))?.ok_or_else(absent)
}

/// Keeps what the space is now.
async fn keep(State(app): State<App>, space: SpacePath, headers: HeaderMap) -> Result<Response, ApiError> {
    let space = space_name(space)?;
    admit(&app, &headers, &space, Action::Write).await?;
    let nothing = || ApiError::new(409, "no_version", "the space is empty, or too large, or this server keeps no versions");
    if app.kept_versions == 0 {
        return Err(nothing());
    }
    let (name, kept) = (space.clone(), app.kept_versions);
    let read = app.snapshots.run(move |store| versions::read(store, &name)).await;
    let version = read.ok_or_else(ApiError::internal)?.map_err(|error| failed(&error))?.ok_or_else(nothing)?;
    let rev = version.rev;
    let name = space.clone();
    let written = app.writer.work(&space, move |store| {
        let number = store.db.first("SELECT id FROM _space WHERE name = ?1", &[name.as_str().into()], |row| row.int(0))?;
        Ok((number.map(|number| versions::write(store, number, &version, kept)).transpose()?, None))
    });
    written.await.map_err(|error| failed(&error))?;
    Ok(json(format!("{{\"rev\":{rev}}}")))
}

async fn restore(State(app): State<App>, place: Place, headers: HeaderMap) -> Result<Response, ApiError> {
    let (space, rev) = at(place)?;
    let principal = admit(&app, &headers, &space, Action::Write).await?.name;
    // Each holds a space twice in memory, and the writer for as long as it takes.
    let turn = app.restores.clone().try_acquire_owned().map_err(|_| ApiError::unavailable("another space is going back; try again"))?;
    let data = data(&app, space.clone(), rev).await?;
    let schema = app.schema.clone();
    // The turn goes with the work, also where nobody waits for it any more.
    let read = tokio::task::spawn_blocking(move || versions::then(&schema, &data).map(|then| (then, turn)));
    let (then, turn) = read.await.map_err(|_| ApiError::internal())??;
    let name = space.clone();
    let restored = app.writer.work(&space, move |store| {
        let _turn = turn;
        let restored = versions::restore(store, &name, &principal, then, moment()?)?;
        let rev = (restored.edits > 0).then_some(restored.rev);
        Ok((restored, rev))
    });
    let restored = restored.await.map_err(|error| failed(&error))?;
    Ok(json(format!("{{\"rev\":{},\"edits\":{}}}", restored.rev, restored.edits)))
}

fn at(place: Place) -> Result<(String, u64), ApiError> {
    let Path((space, rev)) = place.map_err(|_| absent())?;
    Ok((space_name(Ok(Path(space)))?, rev.parse().map_err(|_| absent())?))
}

fn absent() -> ApiError {
    ApiError::not_found("the space has no version of this revision")
}

fn failed(error: &StoreError) -> ApiError {
    match error {
        StoreError::Refused(refusal) => ApiError::clone(refusal),
        error => {
            tracing::error!(%error, "a version could not be read or written");
            let told = if let StoreError::Db(error) = error { disk::refusal(error) } else { None };
            told.unwrap_or_else(ApiError::internal)
        }
    }
}
