//! Bytes as credentials: nobody gets in with one that was not issued, or further than it says.
#![no_main]

use driftline_server::{Action, AuthError, Authorizer, Claims, Principal, Role, Tokens};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| Tokens::new(b"thirty-two bytes for the fuzzer."));
static GOOD: LazyLock<String> = LazyLock::new(|| issue("alice", &["a"], Role::Write));

/// Some day in the year 2096.
const EXP: u64 = 4_000_000_000;
/// Below these no name and no token is too long.
const NAME_BYTES: usize = 200;
const TOKEN_BYTES: usize = 4_096;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if *text != *GOOD {
        assert!(judge(Some(&text), "a", Action::Read).is_err(), "nobody has issued {text:?}");
    }
    altered(data);
    issued(&text);
    named(&text);
});

fn issue(sub: &str, spaces: &[&str], role: Role) -> String {
    let spaces = spaces.iter().map(|space| space.to_string()).collect();
    TOKENS.issue(&Claims { sub: sub.to_string(), exp: EXP, spaces, role }).unwrap_or_default()
}

fn judge(token: Option<&str>, space: &str, action: Action) -> Result<Principal, AuthError> {
    let mut judging = TOKENS.authorize(token, space, action);
    match judging.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(judged) => judged,
        Poll::Pending => panic!("these tokens are judged by themselves"),
    }
}

/// A token that holds, with some characters replaced: place (two bytes) and character.
fn altered(data: &[u8]) {
    let mut bytes = GOOD.clone().into_bytes();
    for change in data.chunks_exact(3) {
        let place = usize::from(change[0]) << 8 | usize::from(change[1]);
        let at = place % bytes.len();
        bytes[at] = change[2] & 0x7f;
    }
    let token = String::from_utf8_lossy(&bytes);
    assert_eq!(judge(Some(&token), "a", Action::Write).is_ok(), *token == *GOOD, "{token}");
}

/// A token for whom the first line names, for reading where the second is empty, and for the spaces of the others.
fn issued(text: &str) {
    let mut lines = text.lines();
    let sub = lines.next().unwrap_or("");
    let role = if lines.next().unwrap_or("").is_empty() { Role::Read } else { Role::Write };
    let spaces: Vec<&str> = lines.collect();
    let token = issue(sub, &spaces, role);
    for (space, action) in [("a", Action::Read), ("a", Action::Write), ("b", Action::Write)] {
        let may = spaces.iter().any(|named| *named == "*" || *named == space) && (action == Action::Read || role == Role::Write);
        match judge(Some(&token), space, action) {
            Ok(principal) => assert!(may && !sub.is_empty() && principal.name == sub, "{token}"),
            Err(AuthError::Forbidden(_)) => assert!(!may, "{token}"),
            Err(error) => assert!(sub.is_empty() || sub.len() > NAME_BYTES || token.len() > TOKEN_BYTES, "{token}: {error:?}"),
        }
    }
}

/// Whoever says percent-encoded who they are is taken for nobody else.
fn named(text: &str) {
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert!(Principal::new(text).must_be(Some(&encoded)).is_ok());
    assert!(Principal::new(format!("{text}!")).must_be(Some(&encoded)).is_err());
    let _ = Principal::new("alice").must_be(Some(text));
}
