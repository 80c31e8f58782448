//! How this server asks others over HTTP: for the keys that tokens are signed with, at webhooks, and with spans for a collector.

#[cfg(any(feature = "jwks", feature = "webhooks"))]
use reqwest::Url;
use reqwest::redirect::Policy;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
#[cfg(any(feature = "jwks", feature = "webhooks"))]
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const USER_AGENT: &str = concat!("driftline/", env!("CARGO_PKG_VERSION"));

/// Follows no redirect, uses no proxy and keeps no cookies: it asks who was named, and nobody else. `timeout` is for all of a request, from
/// connecting to the last byte of the answer.
#[cfg(any(feature = "jwks", feature = "webhooks"))]
pub(crate) fn client(timeout: Duration) -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls()?).timeout(timeout).redirect(Policy::none());
    builder.referer(false).no_proxy().user_agent(USER_AGENT).build().map_err(|e| format!("no HTTP client: {}", reason(e)))
}

/// The same for a thread that may wait.
#[cfg(feature = "telemetry")]
pub(crate) fn blocking_client(timeout: Duration) -> Result<reqwest::blocking::Client, String> {
    let builder = reqwest::blocking::Client::builder().tls_backend_preconfigured(tls()?).timeout(timeout).redirect(Policy::none());
    builder.referer(false).no_proxy().user_agent(USER_AGENT).build().map_err(|e| format!("no HTTP client: {}", reason(e)))
}

fn tls() -> Result<ClientConfig, String> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    Ok(tls.map_err(|e| format!("no TLS: {e}"))?.with_root_certificates(roots).with_no_client_auth())
}

/// An address to ask at. What goes over the network is encrypted; what stays on this machine need not be.
#[cfg(any(feature = "jwks", feature = "webhooks"))]
pub(crate) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("it is no URL: {e}"))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let is_fit = url.scheme() == "https" || (url.scheme() == "http" && is_local);
    if is_fit { Ok(url) } else { Err("it has to begin with https://; http:// is for 127.0.0.1, [::1] and localhost alone".to_string()) }
}

/// What went wrong, down to its cause. Addresses are left out: they may hold secrets.
pub(crate) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        out += &format!(": {cause}");
        source = cause.source();
    }
    out
}
