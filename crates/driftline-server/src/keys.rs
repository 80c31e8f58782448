//! JSON Web Tokens signed with keys that their issuer publishes at an address (a JWK set, RFC 7517) and changes from time to time.
//!
//! The keys are fetched at the start, then every ten minutes, and when a token names one that is not among them. Where that fails, those
//! that came last stay: an issuer that is away for an hour keeps nobody from saving. What cannot be told for want of keys is answered
//! `Unavailable`, because a client that hears `Unauthenticated` asks its user for another token, and the one that it has may be right.
//!
//! The algorithm is the key's and never the token's word: RS256 for RSA, ES256 for P-256.

use crate::auth::{Action, AuthError, Authorized, Authorizer, Claims, Principal, TOKEN_BYTES, failed};
use crate::http;
use jsonwebtoken::crypto::verify;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation, decode, decode_header};
use reqwest::{Client, StatusCode, Url, header};
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::{sleep, timeout};

/// How far an issuer's clock may be from this server's, unless the configuration says otherwise.
pub const LEEWAY_S: u64 = 60;
/// With more, tokens would hold long after they have expired.
const MOST_LEEWAY_S: u64 = 3_600;
/// For all of a fetch. A request waits for one as long.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon a key is forgotten that its issuer has withdrawn.
const REFRESH_EVERY: Duration = Duration::from_secs(600);
/// While there are no keys at all.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Between fetches that tokens ask for: made-up keys must not keep the issuer busy.
const REFETCH_AFTER: Duration = Duration::from_secs(10);
/// A key with a chain of certificates takes a few kilobytes, and issuers publish two or three.
const DOCUMENT_BYTES: usize = 64 * 1024;
const MOST_KEYS: usize = 100;
/// Shorter ones are too weak (RFC 7518, 3.3); longer ones the library does not take.
const RSA_BYTES: RangeInclusive<usize> = 256..=512;

#[derive(Debug, Clone)]
pub struct KeysConfig {
    /// Where the JWK set is: at https, or at http on this machine.
    pub url: String,
    /// What a token's `iss` has to be.
    pub issuer: Option<String>,
    /// What a token's `aud` has to be, or to hold.
    pub audience: Option<String>,
    /// How long a token is taken before its `nbf` and after its `exp`.
    pub leeway_s: u64,
}

impl KeysConfig {
    pub fn new(url: impl Into<String>) -> KeysConfig {
        KeysConfig { url: url.into(), issuer: None, audience: None, leeway_s: LEEWAY_S }
    }

    /// What every token is checked for, whichever key it names.
    fn validation(&self) -> Validation {
        let mut validation = Validation::new(Algorithm::RS256);
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        validation.set_required_spec_claims(&required);
        validation.validate_nbf = true;
        validation.leeway = self.leeway_s;
        validation
    }
}

/// Tokens signed by one of the keys that are published at an address.
pub struct Keys {
    source: Arc<Source>,
    /// The fetch at the start has ended, well or not.
    tried: watch::Receiver<bool>,
    /// Of the thread that fetches: what was begun there goes on when the request that asked for it goes away.
    runtime: Handle,
    /// With it the thread ends.
    _alive: oneshot::Sender<()>,
}

impl Keys {
    /// Begins to fetch the keys, on a thread of its own, and does not wait for them.
    pub fn new(config: KeysConfig) -> Result<Keys, String> {
        let source = Arc::new(Source::new(&config)?);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| format!("no runtime to fetch keys with: {e}"))?;
        let (tried, (alive, gone)) = (watch::Sender::new(false), oneshot::channel());
        let keys = Keys { source: source.clone(), tried: tried.subscribe(), runtime: runtime.handle().clone(), _alive: alive };
        let keeping = async move {
            tokio::select! {
                _ = gone => {}
                () = source.keep(&tried) => {}
            }
        };
        let thread = std::thread::Builder::new().name("keys".to_string());
        thread.spawn(move || runtime.block_on(keeping)).map_err(|e| format!("no thread to fetch keys with: {e}"))?;
        Ok(keys)
    }

    async fn check(&self, token: Option<&str>, space: &str, action: Action) -> Result<Principal, AuthError> {
        let token = token.ok_or_else(|| refused("no bearer token was presented"))?;
        if token.len() > TOKEN_BYTES {
            return Err(refused("the token is too long"));
        }
        let header = decode_header(token).map_err(|_| refused("the token's header cannot be read, or its `alg` is unknown"))?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
            return Err(refused("the token's `alg` is neither RS256 nor ES256"));
        }
        if header.crit.is_some() {
            return Err(refused("the token's `crit` asks for what this server does not know"));
        }
        let kid = header.kid.as_deref();
        let keys = self.keys_for(kid).await?;
        let key = keys.find(kid, header.alg)?;
        let token = decode::<Claims>(token, &key.key, &key.validation);
        let mut claims = token.map_err(|e| refused(format!("the token does not hold: {}", failed(&e))))?.claims;
        // A live connection holds as long as a request with the same token does.
        claims.exp = claims.exp.saturating_add(key.validation.leeway);
        claims.admit(space, action)
    }

    /// The keys to look a token's up in: as they are, or fetched anew where it is not among them.
    async fn keys_for(&self, kid: Option<&str>) -> Result<Arc<KeySet>, AuthError> {
        let unavailable = || AuthError::Unavailable("the keys that tokens are signed with cannot be fetched now".to_string());
        if self.source.keys().0.is_empty() {
            let _ = timeout(FETCH_TIMEOUT, self.tried.clone().wait_for(|tried| *tried)).await;
        }
        let keys = self.source.keys();
        if keys.0.is_empty() {
            return Err(unavailable());
        }
        if keys.has(kid) {
            return Ok(keys);
        }
        let source = self.source.clone();
        let fetching = self.runtime.spawn(async move { source.refetch().await });
        let is_news = matches!(timeout(FETCH_TIMEOUT, fetching).await, Ok(Ok(true)));
        let keys = self.source.keys();
        // Whether there is such a key nobody knows, where the keys did not come.
        if is_news || keys.has(kid) { Ok(keys) } else { Err(unavailable()) }
    }
}

impl Authorizer for Keys {
    fn authorize<'a>(&'a self, token: Option<&'a str>, space: &'a str, action: Action) -> Authorized<'a> {
        Box::pin(self.check(token, space, action))
    }
}

fn refused(check: impl Into<String>) -> AuthError {
    AuthError::Unauthenticated(check.into())
}

/// Where the keys come from, and what came last.
struct Source {
    url: Url,
    client: Client,
    validation: Validation,
    keys: RwLock<Arc<KeySet>>,
    /// Held by whoever fetches, so that one does at a time: when a token has last asked for a fetch, and whether keys came.
    asked: Mutex<Option<(Instant, bool)>>,
}

impl Source {
    fn new(config: &KeysConfig) -> Result<Source, String> {
        if config.leeway_s > MOST_LEEWAY_S {
            return Err(format!("a leeway of more than {MOST_LEEWAY_S} s would let tokens hold long after they have expired"));
        }
        let url = http::address(&config.url).map_err(|e| format!("the address of the keys cannot be used: {e}"))?;
        let (client, validation) = (http::client(FETCH_TIMEOUT)?, config.validation());
        Ok(Source { url, client, validation, keys: RwLock::default(), asked: Mutex::default() })
    }

    fn keys(&self) -> Arc<KeySet> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches for as long as the thread lives.
    async fn keep(&self, tried: &watch::Sender<bool>) {
        loop {
            let turn = self.asked.lock().await;
            self.fetch().await;
            drop(turn);
            tried.send_replace(true);
            sleep(if self.keys().0.is_empty() { RETRY_AFTER } else { REFRESH_EVERY }).await;
        }
    }

    /// Fetches for a token, unless one has just asked. Whether the keys came.
    async fn refetch(&self) -> bool {
        let mut asked = self.asked.lock().await;
        if let Some((at, came)) = *asked
            && at.elapsed() < REFETCH_AFTER
        {
            return came;
        }
        let came = self.fetch().await;
        *asked = Some((Instant::now(), came));
        came
    }

    async fn fetch(&self) -> bool {
        match self.read().await {
            Ok(keys) => {
                tracing::debug!(keys = keys.0.len(), "the keys that tokens are signed with have come");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                true
            }
            Err(check) => {
                tracing::warn!(check, "the keys that tokens are signed with do not come");
                false
            }
        }
    }

    async fn read(&self) -> Result<KeySet, String> {
        let request = self.client.get(self.url.clone()).header(header::ACCEPT, "application/jwk-set+json, application/json");
        let mut response = request.send().await.map_err(http::reason)?;
        if response.status() != StatusCode::OK {
            return Err(format!("the status is {}", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(http::reason)? {
            body.extend_from_slice(&chunk);
            if body.len() > DOCUMENT_BYTES {
                return Err(format!("the document has more than {DOCUMENT_BYTES} bytes"));
            }
        }
        KeySet::parse(&body, &self.validation)
    }
}

/// A JWK set, whose keys are read one by one: those of a kind that nobody here knows do not spoil the others.
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

impl Key {
    /// `None`: it is for something else, or no key that should be trusted.
    fn read(jwk: &Jwk, validation: &Validation) -> Option<Key> {
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => (Algorithm::ES256, KeyAlgorithm::ES256),
            _ => return None,
        };
        let common = &jwk.common;
        let is_meant = common.key_algorithm.is_none_or(|algorithm| algorithm == named)
            && common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| is_meant)?;
        let is_sound = match key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, .. } => RSA_BYTES.contains(&n.iter().skip_while(|byte| **byte == 0).count()),
            // A point that is not on the curve is an error, and a signature that is not the key's is none.
            DecodingKeyKind::SecretOrDer(_) => verify("", b"", &key, algorithm).is_ok(),
        };
        let mut validation = validation.clone();
        validation.algorithms = vec![algorithm];
        is_sound.then(|| Key { kid: common.key_id.clone(), algorithm, key, validation })
    }
}

/// What came last; empty before anything has.
#[derive(Default)]
struct KeySet(Vec<Key>);

impl KeySet {
    fn parse(body: &[u8], validation: &Validation) -> Result<KeySet, String> {
        let Document { keys } = serde_json::from_slice(body).map_err(|e| format!("the document is no JWK set: {e}"))?;
        if keys.len() > MOST_KEYS {
            return Err(format!("the document has more than {MOST_KEYS} keys"));
        }
        let read = |key| Key::read(&serde_json::from_value(key).ok()?, validation);
        let keys: Vec<Key> = keys.into_iter().filter_map(read).collect();
        if keys.is_empty() { Err("no key of the document is for RS256 or ES256".to_string()) } else { Ok(KeySet(keys)) }
    }

    /// Whether there is a key of this name, where a token names one.
    fn has(&self, kid: Option<&str>) -> bool {
        kid.is_none() || self.0.iter().any(|key| key.kid.as_deref() == kid)
    }

    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Key, AuthError> {
        if kid.is_none() && self.0.len() > 1 {
            return Err(refused("the token names no key (`kid`), and there are several"));
        }
        if !self.has(kid) {
            return Err(refused("the token's `kid` names no key that is published"));
        }
        let mut named = self.0.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        named.find(|key| key.algorithm == algorithm).ok_or_else(|| refused("the token's `alg` is not that of its key"))
    }
}
