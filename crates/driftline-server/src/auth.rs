//! Who asks, and what they may: decided from the credential presented and nothing else.

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;

/// Names longer than this do not stand in a key.
const PRINCIPAL_BYTES: usize = 256;
/// What the names of server-side code begin with: no user has one.
pub(crate) const SERVER_PREFIX: &str = "server:";
/// Longer credentials are not looked at.
pub(crate) const TOKEN_BYTES: usize = 8 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Read,
    Write,
}

/// Whom a credential names, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub name: String,
    /// Seconds since 1970. A live connection ends then; `None`: it does not.
    pub expires_s: Option<u64>,
}

impl Principal {
    pub fn new(name: impl Into<String>) -> Principal {
        Principal { name: name.into(), expires_s: None }
    }

    /// Refuses a request whose sender says, percent-encoded, that its edits are another's: the app has taken up another credential,
    /// and what waits on the device is still of whoever made it.
    pub fn must_be(self, user: Option<&str>) -> Result<Principal, AuthError> {
        if self.name.starts_with(SERVER_PREFIX) {
            return Err(AuthError::Forbidden("names that begin with `server:` are the server's own code's".into()));
        }
        let is_it = user.is_none_or(|user| percent_decode_str(user).decode_utf8().is_ok_and(|user| user == self.name));
        if is_it { Ok(self) } else { Err(AuthError::WrongUser) }
    }
}

/// A refusal, with the check that failed. The reason goes to the asker and to the log; it holds no part of the credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    Unauthenticated(String),
    Forbidden(String),
    /// Whether the credential holds cannot be told now: it is no reason to ask anybody for another.
    Unavailable(String),
    /// The credential names somebody else than the request does.
    WrongUser,
}

pub type Authorized<'a> = Pin<Box<dyn Future<Output = Result<Principal, AuthError>> + Send + 'a>>;

/// Decides who may do what. Implement it to nest the router in an app with its own credentials.
pub trait Authorizer: Send + Sync {
    /// `token` is what follows `Bearer` in the request, or stands in the first live message.
    fn authorize<'a>(&'a self, token: Option<&'a str>, space: &'a str, action: Action) -> Authorized<'a>;

    /// Whether everybody may do everything: then the server serves its own machine only.
    fn is_open(&self) -> bool {
        false
    }
}

/// No credentials: everyone is `local`. For one person's own machine.
pub struct Open;

impl Authorizer for Open {
    fn authorize<'a>(&'a self, _: Option<&'a str>, _: &'a str, _: Action) -> Authorized<'a> {
        Box::pin(async { Ok(Principal::new("local")) })
    }

    fn is_open(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Read,
    Write,
}

/// What a token says. `exp` counts seconds since 1970; a space `*` is all of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    pub sub: String,
    pub exp: u64,
    pub spaces: Vec<String>,
    pub role: Role,
}

impl Claims {
    /// What a token that holds opens. A space `*` is asked for by what concerns all of them.
    pub fn admit(self, space: &str, action: Action) -> Result<Principal, AuthError> {
        if self.sub.is_empty() || self.sub.len() > PRINCIPAL_BYTES {
            return Err(AuthError::Unauthenticated("the token's `sub` is empty or too long".into()));
        }
        if !self.spaces.iter().any(|s| s == "*" || s == space) {
            return Err(AuthError::Forbidden("the token's `spaces` do not name this space".into()));
        }
        if action == Action::Write && self.role != Role::Write {
            return Err(AuthError::Forbidden("the token's `role` is read".into()));
        }
        Ok(Principal { name: self.sub, expires_s: Some(self.exp) })
    }
}

/// Which check of a token failed. It quotes nothing of the token.
pub(crate) fn failed(error: &Error) -> String {
    match error.kind() {
        ErrorKind::InvalidSignature => "its signature is not that of its key".to_string(),
        ErrorKind::ExpiredSignature => "its `exp` is past".to_string(),
        ErrorKind::ImmatureSignature => "its `nbf` is still to come".to_string(),
        ErrorKind::InvalidIssuer => "its `iss` is not the issuer that is trusted".to_string(),
        ErrorKind::InvalidAudience => "its `aud` is not this server's".to_string(),
        ErrorKind::InvalidAlgorithm => "its `alg` is not that of its key".to_string(),
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => format!("it has no `{claim}` that can be read"),
        ErrorKind::Json(_) => "its `sub`, `exp`, `spaces` or `role` is missing or cannot be read".to_string(),
        _ => "it cannot be read".to_string(),
    }
}

/// JSON Web Tokens signed with one shared secret (HS256).
pub struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl Tokens {
    pub fn new(secret: &[u8]) -> Tokens {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.leeway = 0;
        validation.validate_nbf = true;
        Tokens { signing: EncodingKey::from_secret(secret), checking: DecodingKey::from_secret(secret), validation }
    }

    pub fn issue(&self, claims: &Claims) -> Result<String, String> {
        encode(&Header::new(Algorithm::HS256), claims, &self.signing).map_err(|e| e.to_string())
    }

    fn check(&self, token: Option<&str>, space: &str, action: Action) -> Result<Principal, AuthError> {
        let token = token.ok_or_else(|| AuthError::Unauthenticated("no bearer token was presented".into()))?;
        if token.len() > TOKEN_BYTES {
            return Err(AuthError::Unauthenticated("the token is too long".into()));
        }
        let claims = decode::<Claims>(token, &self.checking, &self.validation);
        let claims = claims.map_err(|e| AuthError::Unauthenticated(format!("the token does not hold: {}", failed(&e))))?.claims;
        claims.admit(space, action)
    }
}

impl Authorizer for Tokens {
    fn authorize<'a>(&'a self, token: Option<&'a str>, space: &'a str, action: Action) -> Authorized<'a> {
        Box::pin(async move { self.check(token, space, action) })
    }
}
