//! Files of a space, such as images: named by the SHA-256 of their bytes, sent in parts, and kept in the database beside the rows.
//!
//! Each user's upload is their own until its hash is found to be right, so that nobody can spoil another's. Then it is the space's, and
//! whoever else sends the same bytes is answered at once. A blob is written to by nobody any more, so it is read chunk by chunk, and a
//! slow reader holds no connection.

mod table;

use self::table::{BESIDE_BYTES, Blob, CHUNK_BYTES, Hash, Upload};
use crate::auth::Action;
use crate::clock::now_s;
use crate::db::DbResult;
use crate::disk;
use crate::error::ApiError;
use crate::jobs::Progress;
use crate::quota::Seat;
use crate::router::{App, Place, admit, hold_body, json, space_name, take_body};
use crate::store::{Store, StoreError};
use crate::writer::{Background, moment};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub const UPLOAD_OFFSET: &str = "upload-offset";
pub const UPLOAD_LENGTH: &str = "upload-length";
/// What is not said to be an image that every browser only draws.
pub const UNNAMED: &str = "application/octet-stream";
/// SVG is none of these: it may hold scripts.
const IMAGES: [&str; 5] = ["image/avif", "image/gif", "image/jpeg", "image/png", "image/webp"];
/// A reader that takes nothing for so long holds its place no longer.
const STALL: Duration = Duration::from_secs(30);
/// An upload of which nothing has come for a day is given up.
const UPLOAD_TTL_S: i64 = 24 * 3_600;

pub fn routes() -> Router<App> {
    Router::new().route("/v1/spaces/{space}/blobs/{hash}", get(read).head(look).put(begin).patch(go_on))
}

/// The spaces with uploads that nobody goes on with.
pub fn stale(store: &Store) -> DbResult<BTreeSet<i64>> {
    let found = store.db.reading(|| table::stale_spaces(store, now_s() - UPLOAD_TTL_S))?;
    Ok(found.into_iter().collect())
}

/// Drops them.
pub fn expire(store: &Store, writer: &Background, space: i64) -> Result<Progress, StoreError> {
    let before_s = now_s() - UPLOAD_TTL_S;
    while store.db.reading(|| table::has_stale(store, space, before_s))? {
        match writer.write(space, move |store| table::forget_stale(store, space, before_s)) {
            None => return Ok(Progress::Stopping),
            Some(done) => done?,
        }
    }
    Ok(Progress::Done)
}

/// A blob of a space, and who asks.
#[derive(Clone)]
struct Asked {
    space: String,
    hash: Hash,
    principal: String,
}

/// What is there of a blob.
enum Found {
    Whole(i64, Blob),
    Part(i64, Upload),
    Nothing,
}

fn find(store: &Store, asked: &Asked) -> Result<Found, StoreError> {
    let Asked { space, hash, principal } = asked;
    let Some(number) = table::lock(store, space)? else { return Ok(Found::Nothing) };
    if let Some(blob) = table::blob(store, number, hash)? {
        return Ok(Found::Whole(number, blob));
    }
    Ok(table::upload(store, number, hash, principal)?.map_or(Found::Nothing, |upload| Found::Part(number, upload)))
}

async fn look_up(app: &App, asked: Asked) -> Result<Found, ApiError> {
    let found = app.readers.run(move |store| store.db.reading(|| find(store, &asked))).await;
    found.ok_or_else(ApiError::internal)?.map_err(|error| failed(&error))
}

/// How much is there.
async fn look(State(app): State<App>, place: Place, headers: HeaderMap) -> Result<Response, ApiError> {
    let (space, hash) = at(place)?;
    let principal = admit(&app, &headers, &space, Action::Read).await?.name;
    match look_up(&app, Asked { space, hash, principal }).await? {
        Found::Whole(_, blob) => Ok((described(&blob), offset_of(blob.bytes, blob.bytes)).into_response()),
        Found::Part(_, upload) => Ok((StatusCode::NO_CONTENT, offset_of(upload.received, upload.bytes)).into_response()),
        Found::Nothing => Err(absent()),
    }
}

/// Its bytes.
async fn read(State(app): State<App>, place: Place, headers: HeaderMap) -> Result<Response, ApiError> {
    let (space, hash) = at(place)?;
    let principal = admit(&app, &headers, &space, Action::Read).await?;
    let seat = app.blobs.seat(app.whose(&principal))?;
    let asked = Asked { space, hash, principal: principal.name };
    let Found::Whole(number, blob) = look_up(&app, asked).await? else { return Err(absent()) };
    let head = described(&blob);
    Ok((head, Reading { app, space: number, hash, blob }.body(seat)).into_response())
}

/// A blob on its way out.
struct Reading {
    app: App,
    space: i64,
    hash: Hash,
    blob: Blob,
}

impl Reading {
    /// A reader that takes nothing for too long loses its place, and the stream breaks off.
    fn body(self, seat: Seat) -> Body {
        let (chunks, received) = mpsc::channel(1);
        tokio::spawn(async move {
            for index in 0..self.blob.bytes.div_ceil(CHUNK_BYTES) {
                let chunk = self.chunk(index).await;
                let is_over = chunk.is_err();
                let taken = timeout(STALL, chunks.send(chunk)).await;
                if is_over || !matches!(taken, Ok(Ok(()))) {
                    break;
                }
            }
            drop(seat);
        });
        let stream = unfold(received, |mut received| async move { received.recv().await.map(|chunk| (chunk, received)) });
        Body::from_stream(stream.fuse())
    }

    /// Where it cannot be read, the stream breaks off before its length.
    async fn chunk(&self, index: u64) -> Result<Bytes, std::io::Error> {
        let (space, hash, upload) = (self.space, self.hash, self.blob.upload);
        let read = self.app.readers.run(move |store| store.db.reading(|| table::chunk(store, space, &hash, upload, index))).await;
        match read {
            Some(Ok(Some(chunk))) => Ok(chunk.into()),
            Some(Err(error)) => {
                tracing::error!(%error, "a blob could not be read");
                Err(std::io::Error::other("the blob could not be read"))
            }
            Some(Ok(None)) | None => Err(std::io::Error::other("the blob could not be read")),
        }
    }
}

/// The whole of a blob, or its beginning where `Upload-Length` says that more comes.
async fn begin(State(app): State<App>, place: Place, request: Request) -> Result<Response, ApiError> {
    let (space, hash) = at(place)?;
    let (parts, body) = request.into_parts();
    let principal = admit(&app, &parts.headers, &space, Action::Write).await?.name;
    let asked = Asked { space, hash, principal };
    let said = number(&parts.headers, UPLOAD_LENGTH)?;
    // Before it has come.
    refuse_too_large(&app, said.unwrap_or_default())?;
    let held = hold_body(&app, &body)?;
    let data = take_body(&parts.headers, body).await?;
    let length = data.len() as u64;
    let bytes = said.unwrap_or(length);
    refuse_too_large(&app, bytes)?;
    if bytes == 0 || length > bytes {
        return Err(invalid("a blob has at least one byte, and as many as `upload-length` says"));
    }
    let media_type = media_type(&parts.headers);
    let (limit, sent) = (app.limits.space_blob_bytes, asked.clone());
    let taken = app.writer.work(&asked.space, move |store| {
        // Until it is written, also where whoever sent it does not wait for that.
        let _held = held;
        let Asked { space, hash, principal } = &sent;
        let space = table::lock_or_make(store, space)?;
        if let Some(blob) = table::blob(store, space, hash)? {
            table::forget(store, space, hash, principal)?;
            return Ok((Found::Whole(space, blob), None));
        }
        let used = table::used_bytes(store, space, hash, principal)?;
        if used.saturating_add(bytes + BESIDE_BYTES) > limit {
            return Err(refused(full(limit)));
        }
        let upload = Upload { number: moment()?.random, bytes, received: 0 };
        table::begin(store, space, hash, principal, &upload, media_type)?;
        let received = table::append(store, space, hash, principal, &upload, &data)?;
        Ok((Found::Part(space, Upload { received, ..upload }), None))
    });
    let taken = taken.await.map_err(|error| failed(&error))?;
    answer(&app, asked, taken).await
}

/// What follows the bytes that are there.
async fn go_on(State(app): State<App>, place: Place, request: Request) -> Result<Response, ApiError> {
    let (space, hash) = at(place)?;
    let (parts, body) = request.into_parts();
    let principal = admit(&app, &parts.headers, &space, Action::Write).await?.name;
    let asked = Asked { space, hash, principal };
    let offset = number(&parts.headers, UPLOAD_OFFSET)?.ok_or_else(|| invalid("say by `upload-offset` where the bytes belong"))?;
    let held = hold_body(&app, &body)?;
    let data = take_body(&parts.headers, body).await?;
    let sent = asked.clone();
    let taken = app.writer.work(&asked.space, move |store| {
        let _held = held;
        let (space, upload) = match find(store, &sent)? {
            Found::Part(space, upload) if upload.received == offset => (space, upload),
            Found::Part(_, upload) => return Err(refused(wrong_offset(upload.received))),
            Found::Nothing => return Err(refused(wrong_offset(0))),
            Found::Whole(space, blob) => {
                table::forget(store, space, &sent.hash, &sent.principal)?;
                return Ok((Found::Whole(space, blob), None));
            }
        };
        if offset.saturating_add(data.len() as u64) > upload.bytes {
            return Err(refused(invalid("these are more bytes than `upload-length` said when the upload began")));
        }
        let received = table::append(store, space, &sent.hash, &sent.principal, &upload, &data)?;
        Ok((Found::Part(space, Upload { received, ..upload }), None))
    });
    let taken = taken.await.map_err(|error| failed(&error))?;
    answer(&app, asked, taken).await
}

/// What has come of the bytes that were sent. Those of a blob that has come whole are hashed, and no writer waits for that.
async fn answer(app: &App, asked: Asked, taken: Found) -> Result<Response, ApiError> {
    let (space, upload) = match taken {
        Found::Whole(_, blob) => return Ok(told(StatusCode::OK, blob.bytes, blob.bytes)),
        Found::Part(_, upload) if upload.received < upload.bytes => {
            return Ok(told(StatusCode::ACCEPTED, upload.received, upload.bytes));
        }
        Found::Part(space, upload) => (space, upload),
        Found::Nothing => return Err(ApiError::internal()),
    };
    let (hash, number, bytes) = (asked.hash, upload.number, upload.bytes);
    let hashed = app.snapshots.run(move |store| store.db.reading(|| table::hash_of(store, space, &hash, &upload))).await;
    let hashed = hashed.ok_or_else(ApiError::internal)?.map_err(|error| failed(&error.into()))?;
    let name = asked.space.clone();
    let settled = app.writer.work(&name, move |store| settle(store, &asked, number, hashed == asked.hash).map(|()| ((), None)));
    settled.await.map_err(|error| failed(&error))?;
    if hashed == hash { Ok(told(StatusCode::CREATED, bytes, bytes)) } else { Err(mismatch()) }
}

/// Makes a blob of an upload whose hash is right, and drops it where it is not.
fn settle(store: &Store, asked: &Asked, number: u64, is_right: bool) -> Result<(), StoreError> {
    let Asked { hash, principal, .. } = asked;
    match find(store, asked)? {
        // Another user was faster; what this one has sent is not needed.
        Found::Whole(space, _) => Ok(table::forget(store, space, hash, principal)?),
        Found::Part(space, upload) if upload.number == number => match is_right {
            true => Ok(table::complete(store, space, hash, principal)?),
            false => Ok(table::forget(store, space, hash, principal)?),
        },
        // The same user has begun anew meanwhile.
        Found::Part(_, upload) => Err(refused(wrong_offset(upload.received))),
        Found::Nothing => Err(refused(wrong_offset(0))),
    }
}

fn at(place: Place) -> Result<(String, Hash), ApiError> {
    let Path((space, hash)) = place.map_err(|_| absent())?;
    Ok((space_name(Ok(Path(space)))?, read_hash(&hash).ok_or_else(absent)?))
}

/// 64 hex digits, in lower case: a blob has one name.
fn read_hash(text: &str) -> Option<Hash> {
    if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut hash = [0; 32];
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(hash)
}

fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|value| value.parse().ok());
    number.map(Some).ok_or_else(|| invalid(&format!("`{name}` is a number of bytes")))
}

/// The type that a blob is served as: what the sender says where that is an image.
fn media_type(headers: &HeaderMap) -> &'static str {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let said = said.split(';').next().unwrap_or_default().trim();
    IMAGES.into_iter().find(|image| image.eq_ignore_ascii_case(said)).unwrap_or(UNNAMED)
}

/// A blob never changes, and is never taken for a page: neither here, nor where somebody opens its address.
fn described(blob: &Blob) -> HeaderMap {
    let media_type = IMAGES.into_iter().find(|image| *image == blob.media_type).unwrap_or(UNNAMED);
    let fixed = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
        (header::VARY, "authorization, driftline-user"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let mut head: HeaderMap = fixed.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
    head.insert(header::CONTENT_LENGTH, blob.bytes.into());
    head
}

fn offset_of(offset: u64, bytes: u64) -> HeaderMap {
    let numbers = [(UPLOAD_OFFSET, offset), (UPLOAD_LENGTH, bytes)];
    numbers.into_iter().map(|(name, number)| (HeaderName::from_static(name), HeaderValue::from(number))).collect()
}

fn told(status: StatusCode, offset: u64, bytes: u64) -> Response {
    (status, offset_of(offset, bytes), json(format!("{{\"offset\":{offset},\"bytes\":{bytes}}}"))).into_response()
}

fn refuse_too_large(app: &App, bytes: u64) -> Result<(), ApiError> {
    let limit = app.limits.blob_bytes;
    if bytes <= limit {
        return Ok(());
    }
    Err(ApiError::new(413, "blob_too_large", format!("a blob has at most {limit} bytes here")))
}

fn full(limit: u64) -> ApiError {
    ApiError::new(413, "blobs_full", format!("the blobs of a space have at most {limit} bytes here"))
}

fn mismatch() -> ApiError {
    ApiError::new(422, "hash_mismatch", "the bytes have another SHA-256 than the address says; none of them is kept")
}

fn wrong_offset(offset: u64) -> ApiError {
    ApiError::new(409, "wrong_offset", format!("{offset} bytes of it are there from this user: go on from there, or begin anew with PUT"))
}

fn invalid(detail: &str) -> ApiError {
    ApiError::new(400, "invalid_request", detail)
}

fn absent() -> ApiError {
    ApiError::not_found("the space has no blob of this name, which is the SHA-256 of its bytes as 64 digits of 0-9 a-f")
}

fn refused(refusal: ApiError) -> StoreError {
    StoreError::Refused(Box::new(refusal))
}

fn failed(error: &StoreError) -> ApiError {
    match error {
        StoreError::Refused(refusal) => ApiError::clone(refusal),
        error => {
            tracing::error!(%error, "a blob could not be read or written");
            let told = if let StoreError::Db(error) = error { disk::refusal(error) } else { None };
            told.unwrap_or_else(ApiError::internal)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v8_a_blob_has_one_name() {
        let name = format!("00ff{}", "ab".repeat(30));
        let hash = read_hash(&name).unwrap();
        assert_eq!((hash[0], hash[1], hash[31]), (0, 255, 0xab));
        let upper = name.to_uppercase();
        for wrong in [String::new(), "00".to_string(), upper, format!("{name}0"), "g".repeat(64), "ä".repeat(32), "+1".repeat(32)] {
            assert_eq!(read_hash(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn v8_only_what_a_browser_draws_without_scripts_keeps_its_type() {
        for (said, kept) in [
            ("image/png", "image/png"),
            ("Image/JPEG; q=1", "image/jpeg"),
            ("image/svg+xml", UNNAMED),
            ("text/html", UNNAMED),
            ("image/png,text/html", UNNAMED),
            ("", UNNAMED),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(said))]);
            assert_eq!(media_type(&headers), kept, "{said}");
        }
    }
}
