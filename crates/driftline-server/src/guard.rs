//! What stands around every route: request ids, a log line, panics caught, and the local-only rule of an open server.

use crate::blobs::{UNNAMED, UPLOAD_LENGTH, UPLOAD_OFFSET};
use crate::error::ApiError;
use crate::linger::Lingering;
use crate::metrics::{Answered, Code, Metrics, Route};
use crate::router::App;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::cors::CorsLayer;
use tracing::Instrument;

/// Of a path, in the log.
const LOGGED_CHARS: usize = 200;
/// An answer below this size is not worth compressing.
const COMPRESSED_BYTES: u16 = 1_024;
/// What pages of other origins may send and read.
const CORS_HEADERS: [&str; 5] = ["authorization", "content-type", "driftline-user", UPLOAD_OFFSET, UPLOAD_LENGTH];
const CORS_EXPOSED: [&str; 4] = ["retry-after", "x-request-id", UPLOAD_OFFSET, UPLOAD_LENGTH];
const CORS_MAX_AGE: Duration = Duration::from_secs(24 * 3_600);

pub fn around(routes: Router<App>, app: &App) -> Router<App> {
    let routes = if app.authorizer.is_open() { routes.layer(from_fn(local_only)) } else { routes };
    // What blobs are sent as has been compressed before, and goes out at its length.
    let worth_it = SizeAbove::new(COMPRESSED_BYTES).and(NotForContentType::IMAGES).and(NotForContentType::const_new(UNNAMED));
    let compression = CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_it);
    let routes = routes
        .layer(CatchPanicLayer::custom(|_| ApiError::internal().into_response()))
        .layer(compression)
        .layer(from_fn_with_state(app.metrics.clone(), account))
        .layer(from_fn(harmless));
    if app.origins.is_empty() { routes } else { routes.layer(cors(app)) }
}

fn cors(app: &App) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(app.origins.to_vec())
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH])
        .allow_headers(CORS_HEADERS.map(HeaderName::from_static))
        .expose_headers(CORS_EXPOSED.map(HeaderName::from_static))
        .max_age(CORS_MAX_AGE)
}

/// Data is never to be taken for a page, nor kept, nor framed.
async fn harmless(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("cache-control", "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Gives each request an id, in the log and in the answer, and counts it. Neither bodies nor credentials are logged.
async fn account(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let id = format!("{:016x}", getrandom::u64().unwrap_or_default());
    let path: String = request.uri().path().chars().take(LOGGED_CHARS).collect();
    let (method, began) = (request.method().clone(), Instant::now());
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_string();
    let span = tracing::info_span!("request", id, %method, path);
    let mut response = next.run(request.map(Lingering::over)).instrument(span.clone()).await;
    let (status, ms) = (response.status().as_u16(), began.elapsed().as_millis() as u64);
    let refusal = response.extensions().get::<Refusal>();
    span.in_scope(|| match refusal {
        Some(Refusal { code, why }) => tracing::info!(status, ms, code, why, "refused"),
        None => tracing::debug!(status, ms, "answered"),
    });
    if let Some(refusal) = refusal {
        metrics.refusals.get_or_create(&Code { code: refusal.code }).inc();
    }
    metrics.request_seconds.get_or_create(&Route { route: route.clone() }).observe(began.elapsed().as_secs_f64());
    metrics.requests.get_or_create(&Answered { route, status }).inc();
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// Why a request was refused, for its log line.
#[derive(Clone)]
pub struct Refusal {
    pub code: &'static str,
    pub why: String,
}

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
    // Whoever stands before it speaks for others.
    let is_passed_on = ["forwarded", "x-forwarded-for", "via"].iter().any(|name| headers.contains_key(*name));
    if is_meant && from_here && !is_passed_on {
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
