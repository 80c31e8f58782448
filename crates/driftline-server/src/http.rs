//! How this server asks others over HTTP: for the keys that tokens are signed with, and at webhooks.

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Follows no redirect, uses no proxy and keeps no cookies: it asks who was named, and nobody else. `timeout` is for all of a request, from
/// connecting to the last byte of the answer.
pub(crate) fn client(timeout: Duration) -> Result<Client, String> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let tls = tls.map_err(|e| format!("no TLS: {e}"))?;
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let builder = Client::builder()
        .tls_backend_preconfigured(tls.with_root_certificates(roots).with_no_client_auth())
        .timeout(timeout)
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .user_agent(concat!("driftline/", env!("CARGO_PKG_VERSION")));
    builder.build().map_err(|e| format!("no HTTP client: {}", reason(e)))
}

/// An address to ask at. What goes over the network is encrypted; what stays on this machine need not be.
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
