//! What the server counts and measures, for Prometheus; and whether it is alive and ready.
//!
//! Nothing here asks the database: a server whose database is away tells so all the same. What only the database knows, the jobs
//! count now and then, and leave here.

use crate::clock::now_s;
use crate::error::ApiError;
use crate::router::{App, json};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;
use tokio::time::timeout;

/// A job that has not looked for so long has something the matter with it.
const STALE_S: i64 = 300;
/// A database that takes longer to say anything is not ready.
const READY_TIMEOUT: Duration = Duration::from_secs(2);
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Answered {
    pub route: String,
    pub status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Route {
    pub route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Code {
    pub code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Outcome {
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Job {
    pub job: &'static str,
    pub result: &'static str,
}

/// All of it; shared by whoever has something to count.
pub struct Metrics {
    registry: Registry,
    pub requests: Family<Answered, Counter>,
    pub request_seconds: Family<Route, Histogram>,
    pub refusals: Family<Code, Counter>,
    pub transactions: Family<Outcome, Counter>,
    pub commit_seconds: Histogram,
    pub group_pushes: Histogram,
    pub failed_groups: Counter,
    pub last_write: Gauge,
    pub last_prune: Gauge,
    pub last_jobs: Gauge,
    pub jobs: Family<Job, Counter>,
    pub pruned_rows: Counter,
    /// -1 until all is looked through.
    pub findings: Gauge,
    pub queue_bytes: Gauge,
    pub live_connections: Gauge,
    pub watched_spaces: Gauge,
    pub marks: Gauge,
    pub dying_roots: Gauge,
    pub search_waiting: Gauge,
    pub effects_waiting: Gauge,
    pub effects_parked: Gauge,
    pub calls: Family<Outcome, Counter>,
    pub blobs: Gauge,
    pub blob_bytes: Gauge,
    pub blob_uploads: Gauge,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

fn seconds() -> Histogram {
    // From half a millisecond to about 16 s.
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

macro_rules! registered {
    ($registry:ident, $($field:ident: $metric:expr, $help:literal;)*) => {{
        $(let $field = $metric;)*
        $($registry.register(stringify!($field), $help, $field.clone());)*
        Metrics { registry: $registry, $($field),* }
    }};
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("driftline");
        let metrics = registered! { registry,
            requests: Family::default(), "Requests by route and status";
            request_seconds: Family::new_with_constructor(seconds as fn() -> Histogram), "How long a request took, in seconds";
            refusals: Family::default(), "Refused requests by code";
            transactions: Family::default(), "Transactions by outcome; a repeat counts as what it was the first time";
            commit_seconds: seconds(), "How long a group commit took, from its first statement, in seconds";
            group_pushes: Histogram::new(exponential_buckets(1.0, 2.0, 7)), "Pushes that share a commit";
            failed_groups: Counter::default(), "Group commits that failed and were tried push by push";
            last_write: Gauge::default(), "When something was last committed, in seconds since 1970";
            last_prune: Gauge::default(), "When all spaces were last pruned without a fault, in seconds since 1970";
            last_jobs: Gauge::default(), "When the jobs last ran, in seconds since 1970";
            jobs: Family::default(), "Runs of a job for one space, by result";
            pruned_rows: Counter::default(), "Rows of logs that were pruned";
            findings: Gauge::default(), "What the check at the start has found; -1 until it is done";
            queue_bytes: Gauge::default(), "Bytes of pushes that wait to be written";
            live_connections: Gauge::default(), "Live connections";
            watched_spaces: Gauge::default(), "Spaces with a live connection";
            marks: Gauge::default(), "Marks kept for dedupe, when last counted";
            dying_roots: Gauge::default(), "Large deletes under way, when last counted";
            search_waiting: Gauge::default(), "Rows that wait to be indexed for search, and spaces whose log has yet to be read for it, when last counted";
            effects_waiting: Gauge::default(), "Calls to the webhook that are due or to be tried again, when last counted";
            effects_parked: Gauge::default(), "Calls to the webhook that were given up, when last counted";
            calls: Family::default(), "Calls to the webhook by outcome";
            blobs: Gauge::default(), "Blobs, when last counted";
            blob_bytes: Gauge::default(), "Bytes of these blobs";
            blob_uploads: Gauge::default(), "Blobs that have not arrived whole, when last counted";
        };
        metrics.findings.set(-1);
        metrics
    }

    pub fn wrote(&self) {
        self.last_write.set(now_s());
    }

    pub fn ran(&self, job: &'static str, result: &'static str) {
        self.jobs.get_or_create(&Job { job, result }).inc();
    }

    pub fn outcome(&self, outcome: &'static str, count: u64) {
        if count > 0 {
            self.transactions.get_or_create(&Outcome { outcome }).inc_by(count);
        }
    }
}

/// All metrics as text, for whoever may read every space.
pub async fn scrape(app: &App) -> Response {
    let metrics = &app.metrics;
    metrics.queue_bytes.set(app.writer.waiting_bytes() as i64);
    metrics.live_connections.set(app.lives.taken() as i64);
    metrics.watched_spaces.set(app.hub.spaces() as i64);
    let mut text = String::new();
    match encode(&mut text, &metrics.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, HeaderValue::from_static(TEXT))], text).into_response(),
        Err(_) => ApiError::internal().into_response(),
    }
}

/// That the process runs, and what is stale. It is 200 as long as anything answers.
pub fn health(app: &App) -> Response {
    let metrics = &app.metrics;
    let age = |at: i64| if at == 0 { None } else { Some(now_s() - at) };
    let is_stale = |age: Option<i64>| age.is_none_or(|age| age > STALE_S);
    let (jobs, prune) = (age(metrics.last_jobs.get()), age(metrics.last_prune.get()));
    let stale: Vec<&str> = [("jobs", jobs), ("prune", prune)].into_iter().filter(|(_, age)| is_stale(*age)).map(|(name, _)| name).collect();
    let body = serde_json::json!({
        "status": if stale.is_empty() { "ok" } else { "stale" },
        "stale": stale,
        "version": env!("CARGO_PKG_VERSION"),
        "last_write_s_ago": age(metrics.last_write.get()),
        "last_prune_s_ago": prune,
        "last_jobs_s_ago": jobs,
        "findings": Some(metrics.findings.get()).filter(|findings| *findings >= 0),
    });
    json(body.to_string())
}

/// Whether requests had better come here: the database answers, and the server is not about to stop.
pub async fn ready(app: &App) -> Response {
    if *app.stopping.borrow() {
        return ApiError::unavailable("the server is stopping").into_response();
    }
    let looked = app.readers.run(|store| store.db().reading(|| store.db().exists("SELECT 1 FROM _system LIMIT 1", &[])));
    match timeout(READY_TIMEOUT, looked).await {
        Ok(Some(Ok(_))) => json("{\"status\":\"ready\"}"),
        Ok(Some(Err(error))) => {
            crate::disk::refusal(&error).unwrap_or_else(|| ApiError::unavailable("the database cannot be read")).into_response()
        }
        _ => ApiError::unavailable("the database does not answer").into_response(),
    }
}
