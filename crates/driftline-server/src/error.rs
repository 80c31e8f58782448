//! One error for every request, and its form on the wire (RFC 9457).

use crate::auth::AuthError;
use crate::guard::Refusal;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use driftline_core::value::write_string;
use driftline_core::wire::RequestError;

/// A refusal of a whole request: a status, a code to branch on, and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: u16,
    pub code: &'static str,
    pub detail: String,
    pub retry_after_s: Option<u32>,
    /// Of a stale sender: the epoch that it has to exceed.
    pub epoch: Option<u64>,
    /// What was asked for may have taken effect all the same; a resend finds out.
    pub unsure: bool,
}

impl ApiError {
    pub fn new(status: u16, code: &'static str, detail: impl Into<String>) -> ApiError {
        ApiError { status, code, detail: detail.into(), retry_after_s: None, epoch: None, unsure: false }
    }

    /// What went wrong is in the log; a client has no use for it.
    pub fn internal() -> ApiError {
        ApiError::new(500, "internal", "the server failed on this request; it has been logged")
    }

    pub fn unavailable(detail: &str) -> ApiError {
        ApiError { retry_after_s: Some(1), ..ApiError::new(503, "unavailable", detail) }
    }

    pub fn unsure(self) -> ApiError {
        ApiError { unsure: true, ..self }
    }

    pub fn too_large() -> ApiError {
        ApiError::new(413, "too_large", "a request body has at most 4 MiB")
    }

    /// More requests than a principal may make.
    pub fn rate_limited(retry_after_s: u32) -> ApiError {
        let detail = "too many requests of one user; wait before the next";
        ApiError { retry_after_s: Some(retry_after_s.max(1)), ..ApiError::new(429, "rate_limited", detail) }
    }

    pub fn stale_sender(epoch: u64) -> ApiError {
        let detail = format!("a sender of epoch {epoch} has taken over");
        ApiError { epoch: Some(epoch), ..ApiError::new(409, "stale_sender", detail) }
    }

    pub fn timeout(detail: &str) -> ApiError {
        ApiError::new(408, "timeout", detail)
    }

    pub fn not_found(detail: &str) -> ApiError {
        ApiError::new(404, "not_found", detail)
    }

    pub fn to_json(&self) -> String {
        let mut out = format!(
            "{{\"type\":\"urn:driftline:{0}\",\"title\":\"{1}\",\"status\":{2},\"code\":\"{0}\",\"detail\":",
            self.code,
            title(self.code),
            self.status
        );
        write_string(&self.detail, &mut out);
        if let Some(epoch) = self.epoch {
            out += &format!(",\"epoch\":{epoch}");
        }
        if self.unsure {
            out += ",\"unsure\":true";
        }
        out.push('}');
        out
    }
}

fn title(code: &str) -> &'static str {
    match code {
        "malformed" => "The request cannot be read",
        "invalid_request" => "The request is not valid",
        "unauthenticated" => "A valid credential is needed",
        "forbidden" => "The credential does not allow this",
        "wrong_user" => "The credential is another user's",
        "not_found" => "There is no such place",
        "method_not_allowed" => "This place takes another method",
        "timeout" => "The request took too long to arrive",
        "incomplete" => "The request did not arrive whole",
        "rate_limited" => "There are too many requests",
        "unavailable" => "The server cannot take this now",
        "server_full" => "The server's disk is full",
        "server_disk" => "The server's disk fails",
        "server_corrupt" => "The server's database is damaged",
        "server_database" => "The server cannot reach its database",
        "stale_sender" => "Another sender has taken over",
        "not_restored" => "The version cannot be gone back to",
        "no_version" => "There is nothing to keep a version of",
        "too_large" => "The request is too large",
        "blob_too_large" => "The blob is too large",
        "blobs_full" => "The space has no room for the blob",
        "hash_mismatch" => "The bytes are not those of the hash",
        "wrong_offset" => "The upload stands elsewhere",
        "unsupported_media_type" => "The body is not JSON",
        _ => "The server failed",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Refusal { code: self.code, why: self.detail });
        let headers = response.headers_mut();
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> ApiError {
        ApiError::new(error.status, error.code, error.detail)
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> ApiError {
        match error {
            AuthError::Unauthenticated(reason) => ApiError::new(401, "unauthenticated", reason),
            AuthError::Forbidden(reason) => ApiError::new(403, "forbidden", reason),
            AuthError::Unavailable(reason) => ApiError::unavailable(&reason),
            AuthError::WrongUser => {
                ApiError::new(403, "wrong_user", "these edits are another user's than the credential: send them with a token of theirs")
            }
        }
    }
}
