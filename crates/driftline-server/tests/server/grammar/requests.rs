//! Requests around what a push may say: who sends it, where to, and in which form.

use super::bodies::Grammar;
use super::mutations::{damage, mutate, write};
use crate::world::{token, token_with};
use driftline_core::limits;
use driftline_server::{Claims, Role, Tokens};
use serde_json::{Value as Json, json};

/// A request, and what has to come of it.
pub struct Made {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub body: Vec<u8>,
    /// The body breaks off where its bytes end.
    pub breaks_off: bool,
    pub expected: Expected,
}

pub enum Expected {
    Anything,
    /// An answer with so many outcomes, unless somebody has raised the epoch of its client.
    Served(usize),
    Snapshot,
    Refused(u16, &'static str),
}

const FORBIDDEN: Expected = Expected::Refused(403, "forbidden");
const NOBODY: Expected = Expected::Refused(401, "unauthenticated");
const TOO_LARGE: Expected = Expected::Refused(413, "too_large");
const WRONG_KIND: Expected = Expected::Refused(415, "unsupported_media_type");
const WRONG_USER: Expected = Expected::Refused(403, "wrong_user");

const NOT_FOUND: (u16, &str) = (404, "not_found");
const WRONG_METHOD: (u16, &str) = (405, "method_not_allowed");
const PLACES: [(&str, &str, (u16, &str)); 28] = [
    ("GET", "/v1", NOT_FOUND),
    ("GET", "/v1/", NOT_FOUND),
    ("GET", "/v1//", NOT_FOUND),
    ("POST", "/v1/nothing?space=a", NOT_FOUND),
    ("GET", "/v1/spaced", NOT_FOUND),
    ("POST", "/v1/spaces/reconcile", NOT_FOUND),
    ("POST", "/v1/spaces//reconcile", NOT_FOUND),
    ("POST", "/v1/spaces/a%20b/reconcile", NOT_FOUND),
    ("POST", "/v1/spaces/a%2Fb/reconcile", NOT_FOUND),
    ("POST", "/v1/spaces/a%2/reconcile", NOT_FOUND),
    ("GET", "/v1/spaces/a%00b/snapshot", NOT_FOUND),
    ("GET", "/v1/spaces/%ED%A0%80/snapshot", NOT_FOUND),
    ("GET", "/v1/spaces/%FF/live", NOT_FOUND),
    ("GET", "/v1/spaces/a/snapshot/", NOT_FOUND),
    ("PURGE", "/v1/nothing", NOT_FOUND),
    ("GET", "/v1/spaces/a/versions/x", NOT_FOUND),
    ("POST", "/v1/spaces/a/versions/-1/restore", NOT_FOUND),
    ("POST", "/v1/spaces/a%20b/versions", NOT_FOUND),
    ("GET", "/v1/spaces/a/reconcile", WRONG_METHOD),
    ("HEAD", "/v1/spaces/a/reconcile", WRONG_METHOD),
    ("PUT", "/v1/spaces/a/reconcile", WRONG_METHOD),
    ("OPTIONS", "/v1/spaces/a/snapshot", WRONG_METHOD),
    ("DELETE", "/v1/spaces/a/snapshot", WRONG_METHOD),
    ("DELETE", "/v1/spaces/a/versions", WRONG_METHOD),
    ("POST", "/v1/spaces/a/versions/1", WRONG_METHOD),
    ("GET", "/v1/spaces/a/versions/1/restore", WRONG_METHOD),
    ("PURGE", "/v1/spaces/a/live", WRONG_METHOD),
    ("GET", "/v1/spaces/a/live", (400, "invalid_request")),
];

impl Grammar {
    /// The next request. Hardly half of them are as they should be.
    pub fn request(&mut self) -> Made {
        self.space = self.rng.below(2);
        match self.rng.below(200) {
            0..=89 => self.sound(),
            90..=135 => self.mutated(),
            136..=147 => self.damaged(),
            148..=165 => self.wrong_credential(),
            166..=174 => self.too_large(),
            175..=178 => self.wrong_kind(),
            179..=188 => self.wrong_place(),
            189..=192 => self.snapshot(),
            193..=196 => self.version(),
            197 | 198 => self.broken_off(),
            _ => self.many(),
        }
    }

    fn named(&self) -> String {
        format!("{}{}", ["a", "b"][self.space], self.round)
    }

    fn reconcile(&mut self, body: Vec<u8>, expected: Expected) -> Made {
        let who = *self.rng.pick(&["alice", "alice", "bob"]);
        let headers = vec![("content-type", b"application/json".to_vec()), ("authorization", bearer(&token(who)))];
        Made { method: "POST", path: format!("/v1/spaces/{}/reconcile", self.named()), headers, body, breaks_off: false, expected }
    }

    fn units(&mut self) -> Vec<Json> {
        (0..=self.rng.below(4)).map(|_| self.unit()).collect()
    }

    fn sound(&mut self) -> Made {
        let units = self.units();
        let txns: usize = units.iter().map(|unit| unit["txns"].as_array().map_or(0, Vec::len)).sum();
        let push = self.push(units);
        self.reconcile(push.to_string().into_bytes(), Expected::Served(txns))
    }

    fn mutated(&mut self) -> Made {
        let units = self.units();
        let mut push = self.push(units);
        for _ in 0..=self.rng.below(2) {
            mutate(&mut self.rng, &mut push);
        }
        let body = write(&mut self.rng, &push);
        self.reconcile(body, Expected::Anything)
    }

    fn damaged(&mut self) -> Made {
        let units = self.units();
        let text = self.push(units).to_string();
        let body = damage(&mut self.rng, &text);
        self.reconcile(body, Expected::Anything)
    }

    fn wrong_credential(&mut self) -> Made {
        let good = token("alice");
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let (credential, user, expected) = match self.rng.below(15) {
            0 => (None, None, NOBODY),
            1 => (text("Basic YWxpY2U6cGFzcw=="), None, NOBODY),
            2 => (text("Bearer"), None, NOBODY),
            3 => (text("Bearer nonsense"), None, NOBODY),
            4 => (text("Bearer ..."), None, NOBODY),
            5 => (Some(b"Bearer \xc3\xbc\xff".to_vec()), None, NOBODY),
            6 => (Some(bearer(&"a".repeat(60_000))), None, NOBODY),
            7 => (Some(bearer(&token_with("alice", &["*"], Role::Write, -5))), None, NOBODY),
            8 => (Some(bearer(&good[..good.len() - 1])), None, NOBODY),
            9 => (Some(bearer(&forged())), None, NOBODY),
            10 => (Some(bearer(&unsigned(&good))), None, NOBODY),
            11 => (Some(bearer(&token_with("alice", &["elsewhere"], Role::Write, 60))), None, FORBIDDEN),
            12 => (Some(bearer(&token_with("alice", &["*"], Role::Read, 60))), None, FORBIDDEN),
            13 => (Some(bearer(&good)), text("bob"), WRONG_USER),
            _ => (Some(bearer(&good)), text("alice%FF"), WRONG_USER),
        };
        let mut made = self.sound();
        made.headers.retain(|header| header.0 != "authorization");
        made.headers.extend(credential.map(|credential| ("authorization", credential)));
        made.headers.extend(user.map(|user| ("driftline-user", user)));
        if self.rng.chance(30) && matches!(expected, Expected::Refused(401, _)) {
            // Of two credentials the first is looked at.
            made.headers.insert(0, ("authorization", b"Bearer first".to_vec()));
            made.headers.push(("authorization", bearer(&good)));
        }
        Made { expected, ..made }
    }

    fn too_large(&mut self) -> Made {
        let txns = limits::PUSH_TXNS + 1 + self.rng.below(2_000);
        let bare = |n: usize| json!({"key": [0, n], "body": {}});
        match self.rng.below(10) {
            0 => self.reconcile(vec![b' '; limits::PUSH_BYTES + 1], TOO_LARGE),
            1..=3 => {
                let mut made = self.sound();
                made.headers.push(("content-length", (limits::PUSH_BYTES + 1).to_string().into_bytes()));
                Made { expected: TOO_LARGE, ..made }
            }
            4..=6 => {
                let units: Vec<Json> = (1..=txns).map(|n| json!({"txns": [bare(n)], "after": []})).collect();
                let push = self.push(units);
                self.reconcile(push.to_string().into_bytes(), TOO_LARGE)
            }
            _ => {
                let txns: Vec<Json> = (1..=txns).map(bare).collect();
                let push = self.push(vec![json!({"txns": txns, "after": []})]);
                self.reconcile(push.to_string().into_bytes(), TOO_LARGE)
            }
        }
    }

    fn wrong_kind(&mut self) -> Made {
        let mut made = self.sound();
        if self.rng.chance(50) {
            made.headers.push(("content-encoding", self.rng.pick(&["gzip", "br", "identity"]).as_bytes().to_vec()));
        } else {
            made.headers.retain(|header| header.0 != "content-type");
            let kind = *self.rng.pick(&["", "text/plain", "application/jsonx", "application/problem+json", ";application/json"]);
            made.headers.extend(Some(("content-type", kind.as_bytes().to_vec())).filter(|_| !kind.is_empty()));
        }
        Made { expected: WRONG_KIND, ..made }
    }

    fn wrong_place(&mut self) -> Made {
        let (method, path, (status, code)) = *self.rng.pick(&PLACES);
        let mut made = Made { method, path: path.to_string(), expected: Expected::Refused(status, code), ..self.sound() };
        if self.rng.chance(20) {
            let name = "x".repeat(*self.rng.pick(&[limits::SPACE_NAME_CHARS + 1, 60_000]));
            made = Made {
                method: "POST",
                path: format!("/v1/spaces/{name}/reconcile"),
                expected: Expected::Refused(404, "not_found"),
                ..made
            };
        }
        if self.rng.chance(50) {
            let upgrade =
                [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", "AA==")];
            made.headers.extend(upgrade.map(|(name, value)| (name, value.as_bytes().to_vec())));
        }
        made
    }

    fn snapshot(&mut self) -> Made {
        let made = self.reconcile(Vec::new(), Expected::Snapshot);
        let name = if self.rng.chance(20) { "...".to_string() } else { self.named() };
        Made { method: "GET", path: format!("/v1/spaces/{name}/snapshot?again"), ..made }
    }

    /// What a space was at a revision, which may never have been kept.
    fn version(&mut self) -> Made {
        let rev = *self.rng.pick(&["1", "2", "9", "18446744073709551615"]);
        let cursor = *self.rng.pick(&["0", "7", "-1", "x", "18446744073709551615", ""]);
        let words = *self.rng.pick(&["a", "%22%20OR%20%22", "%00", "%f0%9f", "~1*", "", "%27%3a*%20%26%20%21"]);
        let (method, route) = match self.rng.below(9) {
            6 => ("GET", format!("changes?cursor={cursor}&wait=0")),
            7 => ("GET", format!("search?q={words}&limit={cursor}")),
            8 => ("GET", format!("search?{words}")),
            0 => ("GET", "versions".to_string()),
            1 | 2 => ("POST", "versions".to_string()),
            3 => ("GET", format!("versions/{rev}")),
            _ => ("POST", format!("versions/{rev}/restore")),
        };
        let made = self.reconcile(Vec::new(), Expected::Anything);
        Made { method, path: format!("/v1/spaces/{}/{route}", self.named()), ..made }
    }

    fn broken_off(&mut self) -> Made {
        let mut made = self.sound();
        made.body.truncate(self.rng.below(made.body.len()));
        Made { breaks_off: true, expected: Expected::Refused(408, "incomplete"), ..made }
    }

    /// As many transactions as a request may have, in a space of their own.
    fn many(&mut self) -> Made {
        let units: Vec<Json> = (0..limits::PUSH_TXNS)
            .map(|_| {
                self.seq += 1;
                let body = json!({"schema": 3, "at": [1_000, 0], "edits": [self.create_card()]});
                json!({"txns": [{"key": [0, self.seq], "body": body}], "after": []})
            })
            .collect();
        let push = self.push(units);
        let made = self.reconcile(push.to_string().into_bytes(), Expected::Served(limits::PUSH_TXNS));
        Made { path: format!("/v1/spaces/m{}/reconcile", self.round), ..made }
    }
}

pub fn bearer(token: &str) -> Vec<u8> {
    format!("Bearer {token}").into_bytes()
}

/// A token that somebody else has signed.
pub fn forged() -> String {
    let claims = Claims { sub: "alice".into(), exp: 4_000_000_000, spaces: vec!["*".into()], role: Role::Write };
    Tokens::new(b"another secret of 32 bytes......").issue(&claims).unwrap()
}

/// The claims of a token below `{"alg":"none","typ":"JWT"}`, without a signature.
pub fn unsigned(token: &str) -> String {
    format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", token.split('.').nth(1).unwrap())
}
