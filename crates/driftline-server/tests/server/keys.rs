//! Tokens signed with keys that are published: by a server of this machine, which counts who asks, changes its keys, and goes away.

use crate::world::World;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use driftline_server::{Action, AuthError, Authorizer, Keys, KeysConfig, Server};
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::ServiceExt;

// Made for these tests, and good for nothing else.
const RSA: &str = "-----BEGIN RSA PRIVATE KEY-----
MIIEowIBAAKCAQEAmPykZolp6E/teGI7tMekd4EZ9egGjB0gs6te5VN7nSeEeoCQ
N9M22vWTGK6SeOe+aAKf20UTOLL/bj6OEM6+RptN6w71L3RIToialUvgrxHAtBSd
MDBG1YZKdgWivIZZslx7Ens48Nlbe4vFFJn+jhJuQmJvKK4iqNqHcRxI2ZcEm6Vn
8bC5UcEXCaYH4UDFwCNbtxKBaNmGwMlLwhwkV3kSTBYnmDpxin2KjNdIx5M7SSGb
79Fbpr71YWph3EmiO8irnkobrC7uwu610FbTYu3lyOULz1j2pz9oJX2UTZKihIoX
rq2+UCrL8u69pf6ugpTvyzrNRcav9+A0PKW+nQIDAQABAoIBADvGCl3dtrmD8R6m
EvnxPvtKP+BqhZRdFRfeDze+xH+EnyhV7wNAzSAD7zMnkicXNLfivp6ngHkYxuBG
JK/Ad2uS5oC+2WFvJ4k3ql5GxUThxM8XdssLMcHftFwkm47ZV1Zu988iwf6ojivZ
UmlYObM81EOvvgrA7t3WdDDngjcxROjkBGaJ8F+pJV1I546eb3FHvK4ggEULiVPB
1fky4ySpZ3Llnoj7PF8iB5Snsy0ZSmId0801uhkAuATds5h69RrP3flcCxl7hnMm
BZcS0ZBrOMV1J/tlwV4ItC+5k8Kb+XCLfATVwNMzGAx6NTKAG9/7YgdX0SIvoopo
ohMZKmkCgYEA1/qFcnQX/bp9AQQMxiujR5gKJeyhvCCCB69/E88yDo7RMFBmwHVz
8Xzgfg1rQrOjvPHHI0QXXXNccOH8VYG0CdlMPvPqRudCRzGzvQ6ZcC6AAGNkiV+c
JjfdREbT5WIE0VkNIgWXGHJHCC5oKCktftIXF0aIcKY/OY/8ARimCAMCgYEAtVX0
BC5949NREp5M2J5rtC/TKrwXkUyfanB++AiUqWTLMYBiJYuSuAQxESZZnBg/9bgb
zo9wGOMdkEJY1CANc4kglAEIqr5rcg2Ys81QIHK08pENcSzLvjiyCggTUtweyFjE
rVqwak+p8h8Af6VGS4q/c0ZaVnHP6xP6taw27N8CgYEAzckZ1Y/gPBWwfYNKWJfD
n7eyE6iAAixHOONyhYFqBIz3rL0u6jn/Gx0NGY3XoVpgrOsB/wwl5xi//56TOzW2
QZwWFfV6R8yZThSBWaXLdSQZOkV5yZqbwZ6A6UlDJNBcHsxmwv/ok5ZvL9Bn1bxG
aQvsjHTcE9mTbFlQmArQR9kCgYAao9IBe0MLYVQbxB3OBRgVlKEVOiTMN9GDtZsx
nTEZ4bDoSNAia+rWFeePeW7Yu8dJtg5/vhrdzR/evaCHKV5Qhui+VZiMXQUz8ENq
xtLqsW9b42tyIP6dp36gcqdEGQp8rG3YeeZI+AMjiuJr3kABgRS3PrKu2HGPO5Qt
dGttSQKBgBE/4GCkPWl32L4sgoIN3ks6TrhUP2YEsU/js+op+77ha2CLcDflwlGU
V6gzQ/7FL+2HGWUPAu5nhOh+XwGl8NI94ynWI6f/5oyvVFYDHOE4tUn9KXgi1Ub7
irkUkR/N7/PtMVdcWBHZkHanOyvm5B/uN9x6Ru6DdHGS4xyuBJTK
-----END RSA PRIVATE KEY-----";
const RSA_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAmPykZolp6E/teGI7tMek
d4EZ9egGjB0gs6te5VN7nSeEeoCQN9M22vWTGK6SeOe+aAKf20UTOLL/bj6OEM6+
RptN6w71L3RIToialUvgrxHAtBSdMDBG1YZKdgWivIZZslx7Ens48Nlbe4vFFJn+
jhJuQmJvKK4iqNqHcRxI2ZcEm6Vn8bC5UcEXCaYH4UDFwCNbtxKBaNmGwMlLwhwk
V3kSTBYnmDpxin2KjNdIx5M7SSGb79Fbpr71YWph3EmiO8irnkobrC7uwu610FbT
Yu3lyOULz1j2pz9oJX2UTZKihIoXrq2+UCrL8u69pf6ugpTvyzrNRcav9+A0PKW+
nQIDAQAB
-----END PUBLIC KEY-----";
const RSA_N: &str = "\
    mPykZolp6E_teGI7tMekd4EZ9egGjB0gs6te5VN7nSeEeoCQN9M22vWTGK6SeOe-aAKf20UTOLL_bj6OEM6-RptN6w71L3RIToia\
    lUvgrxHAtBSdMDBG1YZKdgWivIZZslx7Ens48Nlbe4vFFJn-jhJuQmJvKK4iqNqHcRxI2ZcEm6Vn8bC5UcEXCaYH4UDFwCNbtxKB\
    aNmGwMlLwhwkV3kSTBYnmDpxin2KjNdIx5M7SSGb79Fbpr71YWph3EmiO8irnkobrC7uwu610FbTYu3lyOULz1j2pz9oJX2UTZKi\
    hIoXrq2-UCrL8u69pf6ugpTvyzrNRcav9-A0PKW-nQ";
const RSA_N_OF_1024_BITS: &str = "\
    uVidOlbcJW7dW3-jUGO4g6cRqdGsH25mGTyjM7Xc-DwEZP1k2mXW0SMnPvNadOG10tDypF1HzQu9M3q5HTuEV51pRdVpG4Jf5Pvo\
    cPBA21uAHFLkyzrDUXYkEiiNypOy5lLv8DFrZkAY7OSD4f1tlwCEI7FKsedk5Spsgxsl5as";
const EC: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg63eP3YHl9xeQ4kKP
sAhHf7y/XLwUEXsCt5rFBkNAanGhRANCAARW6HGYi8M3UWLJyvKiZfESRGRAOI/T
t1+Q0v8WSvjPyLW7yb2XSgprmDXbK4fbwlSrZsv7r6rUQi2gFk/C9ml0
-----END PRIVATE KEY-----";
const EC_POINT: [&str; 2] = ["VuhxmIvDN1FiycryomXxEkRkQDiP07dfkNL_Fkr4z8g", "tbvJvZdKCmuYNdsrh9vCVKtmy_uvqtRCLaAWT8L2aXQ"];
const OTHER_EC: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgSRHxwZafQ5sRBnkd
elYtrB0xF5Ufrkd2WhIk+/sWd7KhRANCAAQzsi/pk1lfQb24bUdB3aWVekYnykEq
/gAwx+CflnrHEolW4l9l3iQVxNV8bU0JlqpP6qVEl3/sp26BZR/6+xkd
-----END PRIVATE KEY-----";
const OTHER_EC_POINT: [&str; 2] = ["M7Iv6ZNZX0G9uG1HQd2llXpGJ8pBKv4AMMfgn5Z6xxI", "iVbiX2XeJBXE1XxtTQmWqk_qpUSXf-ynboFlH_r7GR0"];
/// `{"alg":"none","typ":"JWT","kid":"rsa"}`
const ALG_NONE: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoicnNhIn0";

fn rsa() -> EncodingKey {
    EncodingKey::from_rsa_der(PrivatePkcs1KeyDer::from_pem_slice(RSA.as_bytes()).unwrap().secret_pkcs1_der())
}

fn ec(pem: &str) -> EncodingKey {
    EncodingKey::from_ec_der(PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap().secret_pkcs8_der())
}

fn rsa_jwk() -> Json {
    json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": RSA_N, "e": "AQAB"})
}

fn ec_jwk(kid: &str, [x, y]: [&str; 2]) -> Json {
    json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y})
}

fn both() -> Json {
    json!([rsa_jwk(), ec_jwk("ec", EC_POINT)])
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What a good token says, but for what is given.
fn claims(other: Json) -> Json {
    let mut claims = json!({"sub": "alice", "exp": now_s() + 3_600, "spaces": ["*"], "role": "write"});
    claims.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    claims
}

fn sign(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey, claims: &Json) -> String {
    let header = Header { kid: kid.map(str::to_string), ..Header::new(algorithm) };
    encode(&header, claims, key).unwrap()
}

fn rsa_token(other: Json) -> String {
    sign(Algorithm::RS256, Some("rsa"), &rsa(), &claims(other))
}

fn ec_token(other: Json) -> String {
    sign(Algorithm::ES256, Some("ec"), &ec(EC), &claims(other))
}

/// Whom a token names where it opens space `a` for writing; or the status, and the check that failed.
async fn asked(keys: &Keys, token: &str) -> String {
    match keys.authorize(Some(token), "a", Action::Write).await {
        Ok(principal) => principal.name,
        Err(AuthError::Unauthenticated(check)) => format!("401 {check}"),
        Err(AuthError::Forbidden(check)) => format!("403 {check}"),
        Err(AuthError::Unavailable(check)) => format!("503 {check}"),
        Err(AuthError::WrongUser) => "403 another user".to_string(),
    }
}

/// Where keys are published.
struct Issuer {
    address: SocketAddr,
    document: Arc<Mutex<String>>,
    count: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Issuer {
    async fn start(keys: Json) -> Issuer {
        Issuer::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), json!({"keys": keys}).to_string())
    }

    fn on(listener: TcpListener, document: String) -> Issuer {
        let address = listener.local_addr().unwrap();
        let (document, count) = (Arc::new(Mutex::new(document)), Arc::new(AtomicUsize::new(0)));
        let (published, counted) = (document.clone(), count.clone());
        let answer = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let document = published.lock().unwrap().clone();
            async move { document }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = axum::serve(listener, Router::new().route("/keys", get(answer))).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        let ended = tokio::spawn(async move { serving.await.unwrap() });
        Issuer { address, document, count, stop, ended }
    }

    fn publish(&self, keys: Json) {
        *self.document.lock().unwrap() = json!({"keys": keys}).to_string();
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn keys(&self) -> Keys {
        Keys::new(config(self.address)).unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap();
    }
}

fn config(address: SocketAddr) -> KeysConfig {
    KeysConfig::new(format!("http://{address}/keys"))
}

#[tokio::test]
async fn a5_tokens_of_published_keys_open_what_they_name_and_no_others_do() {
    let issuer = Issuer::start(both()).await;
    let keys = issuer.keys();
    assert_eq!(asked(&keys, &rsa_token(json!({}))).await, "alice");
    assert_eq!(asked(&keys, &ec_token(json!({"sub": "bob"}))).await, "bob");
    let good = claims(json!({}));
    let unsigned = format!("{ALG_NONE}.{}.", rsa_token(json!({})).split('.').nth(1).unwrap());
    let signature = "401 the token does not hold: its signature is not that of its key";
    let unread = "401 the token's header cannot be read, or its `alg` is unknown";
    for (token, refusal) in [
        (ec_token(json!({"spaces": ["b"]})), "403 the token's `spaces` do not name this space"),
        (ec_token(json!({"role": "read"})), "403 the token's `role` is read"),
        (ec_token(json!({"sub": ""})), "401 the token's `sub` is empty or too long"),
        (ec_token(json!({"sub": null})), "401 the token does not hold: its `sub`, `exp`, `spaces` or `role` is missing or cannot be read"),
        (ec_token(json!({"exp": null})), "401 the token does not hold: its `sub`, `exp`, `spaces` or `role` is missing or cannot be read"),
        (sign(Algorithm::ES256, Some("ec"), &ec(OTHER_EC), &good), signature),
        (sign(Algorithm::RS256, Some("ec"), &rsa(), &good), "401 the token's `alg` is not that of its key"),
        (sign(Algorithm::ES256, Some("rsa"), &ec(EC), &good), "401 the token's `alg` is not that of its key"),
        (sign(Algorithm::RS512, Some("rsa"), &rsa(), &good), "401 the token's `alg` is neither RS256 nor ES256"),
        (sign(Algorithm::ES256, None, &ec(EC), &good), "401 the token names no key (`kid`), and there are several"),
        (unsigned, unread),
        ("nonsense".to_string(), unread),
        ("x".repeat(9_000), "401 the token is too long"),
    ] {
        assert_eq!(asked(&keys, &token).await, refusal, "{token}");
    }
    for secret in [RSA_PUBLIC, RSA_N] {
        let forged = sign(Algorithm::HS256, Some("rsa"), &EncodingKey::from_secret(secret.as_bytes()), &good);
        assert_eq!(asked(&keys, &forged).await, "401 the token's `alg` is neither RS256 nor ES256");
    }
    let critical = Header { kid: Some("ec".into()), crit: Some(vec!["b64".into()]), ..Header::new(Algorithm::ES256) };
    let critical = encode(&critical, &good, &ec(EC)).unwrap();
    assert_eq!(asked(&keys, &critical).await, "401 the token's `crit` asks for what this server does not know");
    let nothing = keys.authorize(None, "a", Action::Read).await.unwrap_err();
    assert_eq!(nothing, AuthError::Unauthenticated("no bearer token was presented".to_string()));
    assert_eq!(issuer.count(), 1, "none of these was a reason to ask for keys");
}

#[tokio::test]
async fn a5_issuer_and_audience_have_to_be_those_that_are_configured() {
    let issuer = Issuer::start(both()).await;
    let strict = KeysConfig { issuer: Some("https://login".into()), audience: Some("canvas".into()), ..config(issuer.address) };
    let (strict, lax) = (Keys::new(strict).unwrap(), issuer.keys());
    for (claims, told) in [
        (json!({"iss": "https://login", "aud": "canvas"}), "alice"),
        (json!({"iss": "https://login", "aud": ["mail", "canvas"]}), "alice"),
        (json!({"iss": "https://other", "aud": "canvas"}), "401 the token does not hold: its `iss` is not the issuer that is trusted"),
        (json!({"aud": "canvas"}), "401 the token does not hold: it has no `iss` that can be read"),
        (json!({"iss": "https://login", "aud": "mail"}), "401 the token does not hold: its `aud` is not this server's"),
        (json!({"iss": "https://login"}), "401 the token does not hold: it has no `aud` that can be read"),
    ] {
        let token = rsa_token(claims);
        assert_eq!((asked(&strict, &token).await.as_str(), asked(&lax, &token).await.as_str()), (told, "alice"));
    }
}

#[tokio::test]
async fn a5_clocks_may_be_a_minute_apart() {
    let issuer = Issuer::start(both()).await;
    let keys = issuer.keys();
    let exact = Keys::new(KeysConfig { leeway_s: 0, ..config(issuer.address) }).unwrap();
    let (past, to_come) = ("401 the token does not hold: its `exp` is past", "401 the token does not hold: its `nbf` is still to come");
    for (claims, told, told_exactly) in [
        (json!({"exp": now_s() - 20}), "alice", past),
        (json!({"exp": now_s() - 90}), past, past),
        (json!({"nbf": now_s() + 30}), "alice", to_come),
        (json!({"nbf": now_s() + 120}), to_come, to_come),
    ] {
        let token = ec_token(claims);
        assert_eq!((asked(&keys, &token).await.as_str(), asked(&exact, &token).await.as_str()), (told, told_exactly));
    }
    let exp = now_s() + 100;
    let principal = keys.authorize(Some(&ec_token(json!({"exp": exp}))), "a", Action::Read).await.unwrap();
    assert_eq!(principal.expires_s, Some(exp + 60), "a live connection ends when requests would be refused");
    let too_much = Keys::new(KeysConfig { leeway_s: 4_000, ..config(issuer.address) }).err();
    assert!(too_much.is_some_and(|why| why.contains("leeway")));
}

#[tokio::test]
async fn a1_keys_that_change_are_found_and_those_withdrawn_are_forgotten() {
    let issuer = Issuer::start(json!([rsa_jwk()])).await;
    let keys = issuer.keys();
    assert_eq!((asked(&keys, &rsa_token(json!({}))).await.as_str(), issuer.count()), ("alice", 1));
    issuer.publish(json!([ec_jwk("ec", EC_POINT)]));
    assert_eq!((asked(&keys, &ec_token(json!({}))).await.as_str(), issuer.count()), ("alice", 2));
    let unknown = "401 the token's `kid` names no key that is published";
    assert_eq!(asked(&keys, &rsa_token(json!({}))).await, unknown);
    let other = ec(OTHER_EC);
    let storm = (0..50).map(|n| sign(Algorithm::ES256, Some(&format!("made up {n}")), &other, &claims(json!({}))));
    let storm: Vec<String> = storm.collect();
    let told = join_all(storm.iter().map(|token| asked(&keys, token))).await;
    assert!(told.iter().all(|told| told == unknown), "{told:?}");
    assert_eq!(issuer.count(), 2, "one fetch at the start, and one for all tokens of ten seconds");
}

#[tokio::test]
async fn a1_many_tokens_of_a_new_key_at_once_are_one_fetch() {
    let issuer = Issuer::start(json!([rsa_jwk()])).await;
    let keys = issuer.keys();
    assert_eq!(asked(&keys, &rsa_token(json!({}))).await, "alice");
    issuer.publish(json!([rsa_jwk(), ec_jwk("other", OTHER_EC_POINT)]));
    let token = sign(Algorithm::ES256, Some("other"), &ec(OTHER_EC), &claims(json!({})));
    let told = join_all((0..50).map(|_| asked(&keys, &token))).await;
    assert!(told.iter().all(|told| told == "alice"), "{told:?}");
    assert_eq!(issuer.count(), 2);
}

#[tokio::test]
async fn a1_an_issuer_that_goes_away_keeps_nobody_out() {
    let issuer = Issuer::start(json!([rsa_jwk()])).await;
    let keys = issuer.keys();
    assert_eq!(asked(&keys, &rsa_token(json!({}))).await, "alice");
    issuer.stop().await;
    // Whether this key is a new one cannot be told, so it is not refused either.
    assert_eq!(asked(&keys, &ec_token(json!({}))).await, "503 the keys that tokens are signed with cannot be fetched now");
    assert_eq!(asked(&keys, &rsa_token(json!({}))).await, "alice");
}

#[tokio::test]
async fn a1_without_keys_nobody_is_asked_for_another_token_and_all_goes_on_once_they_come() {
    // The port is taken, and nobody listens.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let keys = Keys::new(config(socket.local_addr().unwrap())).unwrap();
    let mut world = World::new();
    world.router = Server::open(world.config.clone(), Arc::new(keys)).unwrap().router();
    let token = rsa_token(json!({}));
    let request = || Request::get("/v1/spaces/a/snapshot").header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
    let answer = world.router.clone().oneshot(request()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    let text = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    assert_eq!(serde_json::from_slice::<Json>(&text).unwrap()["code"], "unavailable");

    let issuer = Issuer::on(socket.listen(64).unwrap(), json!({"keys": both()}).to_string());
    let mut status = 503;
    for _ in 0..400 {
        status = world.router.clone().oneshot(request()).await.unwrap().status().as_u16();
        if status != 503 {
            break;
        }
        sleep(Duration::from_millis(25)).await;
    }
    assert_eq!((status, issuer.count()), (200, 1));
}

#[tokio::test]
async fn a5_a_document_is_read_within_bounds_and_bad_keys_in_it_are_passed_over() {
    let weak = json!({"kty": "RSA", "kid": "rsa", "n": RSA_N_OF_1024_BITS, "e": "AQAB"});
    let secret = json!({"kty": "oct", "kid": "rsa", "k": "AAAA", "alg": "HS256"});
    let mut for_encryption = rsa_jwk();
    for_encryption["use"] = "enc".into();
    let mut for_another = rsa_jwk();
    for_another["alg"] = "PS256".into();
    let off_the_curve = ec_jwk("rsa", [EC_POINT[0], EC_POINT[0]]);
    let of_another_kind = json!({"kty": "EC", "crv": "secp256k1", "kid": "rsa", "x": EC_POINT[0], "y": EC_POINT[1]});
    let bad = [weak, secret, for_encryption, for_another, off_the_curve, of_another_kind, json!(7)];
    let keys = |keys: Vec<Json>| json!({"keys": keys}).to_string();
    let mut documents: Vec<String> = bad.iter().map(|key| keys(vec![key.clone()])).collect();
    documents.push(keys(vec![rsa_jwk(); 101]));
    documents.push(json!({"keys": [rsa_jwk()], "padding": "x".repeat(64 * 1024)}).to_string());
    documents.extend(["{}".to_string(), "no JSON".to_string(), String::new()]);
    let unnamed = sign(Algorithm::RS256, None, &rsa(), &claims(json!({})));
    for document in documents {
        let issuer = Issuer::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), document.clone());
        let told = asked(&issuer.keys(), &unnamed).await;
        let shown: String = document.chars().take(200).collect();
        assert_eq!(told, "503 the keys that tokens are signed with cannot be fetched now", "{shown}");
        assert!(issuer.count() > 0, "{shown}");
    }
    let issuer = Issuer::start(Json::Array(bad.into_iter().chain([rsa_jwk()]).collect())).await;
    assert_eq!(asked(&issuer.keys(), &unnamed).await, "alice", "the one key that is left needs no name");
}

#[tokio::test]
async fn a5_keys_come_over_tls_or_from_this_machine() {
    for url in
        ["http://login.example/keys", "http://127.0.0.1.example/", "http://10.0.0.1/", "file:///keys.json", "ftp://localhost/", "keys.json"]
    {
        let refusal = Keys::new(KeysConfig::new(url)).err();
        assert!(refusal.as_ref().is_some_and(|why| why.starts_with("the address of the keys cannot be used: ")), "{url}: {refusal:?}");
    }
    // Nobody is there, which is found out later.
    for url in ["https://127.0.0.1:1/keys", "http://127.0.0.1:1/keys", "http://[::1]:1/keys", "http://localhost:1/keys"] {
        assert_eq!(Keys::new(KeysConfig::new(url)).err(), None, "{url}");
    }
}
