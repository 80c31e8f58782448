//! What stands around every route: request ids, a log line, panics caught, and the local-only rule of an open server.

use crate::error::ApiError;
use crate::linger::Lingering;
use crate::router::App;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use std::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

pub fn around(routes: Router<App>, is_open: bool) -> Router<App> {
    let routes = if is_open { routes.layer(from_fn(local_only)) } else { routes };
    routes.layer(CatchPanicLayer::custom(|_| ApiError::internal().into_response())).layer(from_fn(account))
}

/// Gives each request an id, in the log and in the answer. Neither bodies nor credentials are logged.
async fn account(request: Request, next: Next) -> Response {
    let id = format!("{:016x}", getrandom::u64().unwrap_or_default());
    let (method, path, began) = (request.method().clone(), request.uri().path().to_string(), Instant::now());
    let span = tracing::info_span!("request", id, %method, path);
    let mut response = next.run(request.map(Lingering::over)).instrument(span.clone()).await;
    let (status, ms) = (response.status().as_u16(), began.elapsed().as_millis() as u64);
    let refusal = response.extensions().get::<Refusal>().map(|refusal| refusal.0.as_str());
    span.in_scope(|| match refusal {
        Some(why) => tracing::info!(status, ms, why, "refused"),
        None => tracing::debug!(status, ms, "answered"),
    });
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// Why a request was refused, for its log line.
#[derive(Clone)]
pub struct Refusal(pub String);

/// Without credentials any web page could ask in its visitor's name. So the request must be meant for this machine
/// (no name that was made to point here), and come from no page or from one of this machine's.
async fn local_only(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let is_meant = header_text(headers, header::HOST).or(authority).is_none_or(is_local);
    let from_here = match header_text(headers, header::ORIGIN) {
        Some(origin) => origin.split_once("://").is_some_and(|(_, authority)| is_local(authority)),
        None => !headers.contains_key(header::ORIGIN),
    };
    if is_meant && from_here {
        return next.run(request).await;
    }
    ApiError::new(403, "forbidden", "this server has no credentials set up, so it serves pages of its own machine only").into_response()
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    };
    host == "localhost" || host.ends_with(".localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
