//! What comes back, and whether it is what the protocol has for it.

use super::requests::{Expected, Made};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use driftline_core::schema::Schema;
use driftline_core::wire::{Outcome, read_answer, read_snapshot};
use futures_util::stream::iter;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use tower::ServiceExt;

/// The codes of a request that is refused, by status. Those of a server that fails are not among them.
const REFUSALS: [(u16, &str); 16] = [
    (400, "malformed"),
    (400, "invalid_request"),
    (401, "unauthenticated"),
    (403, "forbidden"),
    (403, "wrong_user"),
    (404, "not_found"),
    (405, "method_not_allowed"),
    (408, "timeout"),
    (408, "incomplete"),
    (409, "stale_sender"),
    (409, "no_version"),
    (409, "not_restored"),
    (413, "too_large"),
    (415, "unsupported_media_type"),
    (429, "rate_limited"),
    (503, "unavailable"),
];

const PROBLEMS: [&str; 14] = [
    "invalid",
    "schema_too_old",
    "schema_dropped",
    "row_exists",
    "row_deleted",
    "row_unknown",
    "missing_parent",
    "restricted",
    "cycle",
    "conflicts_full",
    "set_full",
    "key_reused",
    "unit_refused",
    "too_late",
];

pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub request_id: String,
    pub text: String,
}

impl Answer {
    /// The code of a problem; nothing where it is none.
    pub fn code(&self) -> String {
        let json: Json = serde_json::from_str(&self.text).unwrap_or_default();
        json["code"].as_str().unwrap_or("").to_string()
    }
}

pub async fn send(router: &Router, made: &Made) -> Answer {
    let mut request = Request::builder().method(made.method).uri(made.path.as_str());
    for (name, value) in &made.headers {
        request = request.header(*name, value.as_slice());
    }
    let body = if made.breaks_off { broken_off(&made.body) } else { Body::from(made.body.clone()) };
    let response = router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_string());
    let (kind, request_id) = (header("content-type"), header("x-request-id"));
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer { status, kind, request_id, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

fn broken_off(bytes: &[u8]) -> Body {
    let parts = [Ok(Bytes::copy_from_slice(bytes)), Err(std::io::Error::other("the line broke"))];
    Body::from_stream(iter(parts))
}

/// How often what came.
#[derive(Debug, Default)]
pub struct Tally {
    pub statuses: BTreeMap<u16, usize>,
    /// By outcome, and for a refused one also by code.
    pub outcomes: BTreeMap<String, usize>,
}

impl Tally {
    /// Fails where an answer is none that the protocol has, or not the one that its request must get.
    pub fn take(&mut self, schema: &Schema, made: &Made, answer: &Answer) {
        let start = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).to_string();
        let told =
            format!("{} {:.90} {} -> {} {}", made.method, made.path, start(&made.body), answer.status, start(answer.text.as_bytes()));
        assert!(answer.request_id.len() == 16, "{told}");
        *self.statuses.entry(answer.status).or_default() += 1;
        match answer.status {
            200 if made.path.ends_with("/reconcile") => self.outcomes(schema, made, answer, &told),
            200 if made.method == "GET" && (made.path.contains("/snapshot") || made.path.contains("/versions/")) => {
                assert!(read_snapshot(schema, &answer.text).is_some(), "{told}");
            }
            200 => assert!(serde_json::from_str::<Json>(&answer.text).is_ok(), "{told}"),
            _ => refusal(made, answer, &told),
        }
        match made.expected {
            Expected::Anything => {}
            Expected::Served(_) => assert!(matches!(answer.status, 200 | 409), "{told}"),
            Expected::Snapshot => assert_eq!(answer.status, 200, "{told}"),
            // Nothing but a head comes back to HEAD.
            Expected::Refused(status, _) if made.method == "HEAD" => assert_eq!(answer.status, status, "{told}"),
            Expected::Refused(status, code) => assert_eq!((answer.status, answer.code().as_str()), (status, code), "{told}"),
        }
    }

    fn outcomes(&mut self, schema: &Schema, made: &Made, answer: &Answer, told: &str) {
        let read = read_answer(schema, &answer.text).unwrap_or_else(|| panic!("{told}"));
        if let Expected::Served(txns) = made.expected {
            assert_eq!(read.outcomes.len(), txns, "{told}");
        }
        for (_, outcome) in read.outcomes {
            let (name, code) = match outcome {
                Outcome::Applied { .. } => ("applied", None),
                Outcome::Held => ("held", None),
                Outcome::Unknown(problem) => {
                    assert_eq!(problem.code, "outcome_unknown", "{told}");
                    ("unknown", None)
                }
                Outcome::Refused(problem) => {
                    assert!(PROBLEMS.contains(&problem.code.as_str()), "{told}");
                    ("refused", Some(format!("refused {}", problem.code)))
                }
            };
            for counted in [Some(name.to_string()), code].into_iter().flatten() {
                *self.outcomes.entry(counted).or_default() += 1;
            }
        }
    }
}

fn refusal(made: &Made, answer: &Answer, told: &str) {
    assert_eq!(answer.kind, "application/problem+json", "{told}");
    if made.method == "HEAD" {
        return;
    }
    let problem: Json = serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{error}: {told}"));
    let code = problem["code"].as_str().unwrap_or("");
    assert!(REFUSALS.contains(&(answer.status, code)), "{told}");
    assert_eq!((&problem["status"], &problem["type"]), (&json!(answer.status), &json!(format!("urn:driftline:{code}"))), "{told}");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{told}");
}
