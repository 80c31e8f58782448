//! Versions over HTTP: listed, read, kept on demand, gone back to.

use crate::auth::Action;
use crate::disk;
use crate::error::ApiError;
use crate::router::{App, Place, SpacePath, admit, space_name};
use crate::store::StoreError;
use crate::versions;
use crate::writer::moment;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

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

async fn read(State(app): State<App>, place: Place, headers: HeaderMap) -> Result<Response, ApiError> {
    let (space, rev) = at(place)?;
    admit(&app, &headers, &space, Action::Read).await?;
    let read = app.snapshots.run(move |store| store.db.reading(|| versions::text(store, &space, rev))).await;
    let text = read.ok_or_else(ApiError::internal)?.map_err(|error| failed(&error))?.ok_or_else(absent)?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))], text).into_response())
}

/// Keeps what the space is now.
async fn keep(State(app): State<App>, space: SpacePath, headers: HeaderMap) -> Result<Response, ApiError> {
    let space = space_name(space)?;
    admit(&app, &headers, &space, Action::Write).await?;
    let (name, kept) = (space.clone(), app.kept_versions);
    let read = app.snapshots.run(move |store| versions::read(store, &name)).await;
    let version = read.ok_or_else(ApiError::internal)?.map_err(|error| failed(&error))?;
    let version = version.ok_or_else(|| ApiError::new(409, "no_version", "the space is empty, or too large for versions"))?;
    let rev = version.rev;
    let name = space.clone();
    let written = app.writer.work(&space, move |store| {
        let number = store.db.first("SELECT id FROM _space WHERE name = ?1", &[name.as_str().into()], |row| row.int(0))?;
        Ok(number.map(|number| versions::write(store, number, &version, kept)).transpose()?)
    });
    written.await.map_err(|error| failed(&error))?;
    Ok(json(format!("{{\"rev\":{rev}}}")))
}

async fn restore(State(app): State<App>, place: Place, headers: HeaderMap) -> Result<Response, ApiError> {
    let (space, rev) = at(place)?;
    let principal = admit(&app, &headers, &space, Action::Write).await?.name;
    let name = space.clone();
    let restored = app.writer.work(&space, move |store| match versions::restore(store, &name, &principal, rev, moment()?)? {
        Ok(restored) => Ok(restored),
        // An error, so that nothing of it is committed.
        Err(refusal) => Err(StoreError::Refused(Box::new(refusal))),
    });
    let restored = restored.await.map_err(|error| failed(&error))?;
    app.hub.committed(&space, restored.rev);
    app.waker.changed(&space);
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

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}
