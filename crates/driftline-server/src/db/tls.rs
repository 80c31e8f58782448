//! TLS on the way to PostgreSQL, as the URL's `sslmode` has it.
//!
//! `require` asks for a certificate that is for the host and comes from a root that is trusted. `prefer`, which is what a URL without
//! a word means, takes TLS where the server has it and looks at no certificate: whoever could forge one could as well say that there is
//! no TLS. `disable` goes without, and so does a Unix socket.

use super::{DbError, DbResult};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The environment variable that names a PEM file of the roots that are trusted. Without it they are those that browsers trust.
pub const ROOT_CERT: &str = "DRIFTLINE_PG_ROOT_CERT";

/// What an encrypted connection is read from and written to.
pub type Stream = <Connector as MakeTlsConnect<Socket>>::Stream;

/// Connects, encrypted or not, as the URL says.
pub async fn connect(config: &Config) -> DbResult<(Client, Connection<Socket, Stream>)> {
    let is_tcp = |host: &Host| matches!(host, Host::Tcp(_));
    // Without a host there is an address.
    let stays_here = config.get_hostaddrs().is_empty() && !config.get_hosts().iter().any(is_tcp);
    let mode = if stays_here { SslMode::Disable } else { config.get_ssl_mode() };
    let connector = shared(mode).map_err(DbError::Unreadable)?;
    let mut config = config.clone();
    Ok(config.ssl_mode(mode).connect(connector).await?)
}

/// Roots are read once: a file that is gone later keeps nobody from connecting anew.
fn shared(mode: SslMode) -> Result<Connector, String> {
    static STRICT: OnceLock<Connector> = OnceLock::new();
    if mode != SslMode::Require {
        return Connector::new(mode, None);
    }
    if let Some(connector) = STRICT.get() {
        return Ok(connector.clone());
    }
    let file = std::env::var_os(ROOT_CERT).filter(|file| !file.is_empty());
    let connector = Connector::new(mode, file.as_deref().map(Path::new))?;
    Ok(STRICT.get_or_init(|| connector).clone())
}

/// What makes TLS of a connection.
#[derive(Clone)]
pub struct Connector(MakeRustlsConnect);

impl Connector {
    /// `roots` is a PEM file of the roots that are trusted.
    pub fn new(mode: SslMode, roots: Option<&Path>) -> Result<Connector, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| format!("no TLS: {e}"))?;
        let builder = match mode {
            SslMode::Require => builder.with_root_certificates(read_roots(roots)?),
            _ => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        };
        Ok(Connector(MakeRustlsConnect::new(builder.with_no_client_auth())))
    }
}

fn read_roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let Some(file) = file else { return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }) };
    let cannot = |why: String| format!("cannot read the root certificates in {}, which {ROOT_CERT} names: {why}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| cannot(e.to_string()))? {
        let certificate = certificate.map_err(|e| cannot(e.to_string()))?;
        roots.add(certificate).map_err(|e| cannot(e.to_string()))?;
    }
    if roots.is_empty() { Err(cannot("there is none in it".to_string())) } else { Ok(roots) }
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
    type Error = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Error;

    /// Is asked also where no TLS follows: a Unix socket has no name.
    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let name = if host.is_empty() { "localhost" } else { host };
        MakeTlsConnect::<Socket>::make_tls_connect(&mut self.0, name)
    }
}

/// Takes every certificate, and only makes sure that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
