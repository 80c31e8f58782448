//! The real network: HTTP/1.1 and a WebSocket, with TLS where the address says `https`.

use super::{Answer, Asking, Heard, Line, Network, NetworkError, tls};
use crate::error::Error;
use crate::options::{Options, Token};
use driftline_core::value::write_string;
use futures_util::{SinkExt, StreamExt, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::error::Error as _;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A server that asks for a day is asked again within the hour.
const LONGEST_RETRY_S: u64 = 3_600;

/// A space on a server. It uses no proxy.
pub struct Web(Arc<Server>);

struct Server {
    http: reqwest::Client,
    tls: Arc<ClientConfig>,
    /// Ends in `/v1/spaces/name/`.
    url: Url,
    token: Option<Token>,
    /// Percent-encoded.
    user: Option<String>,
}

impl Web {
    /// Fails with `invalid` where [`Options::url`] is no address. Nothing is asked yet.
    pub fn new(options: &Options) -> Result<Web, Error> {
        let invalid = |why: String| Error::new("invalid", format!("`{}` is no address of a server: {why}", options.url));
        let url = Url::parse(&options.url).map_err(|error| invalid(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("it begins with http:// or https://".to_string()));
        }
        let text = format!("{}/v1/spaces/{}/", url.as_str().trim_end_matches('/'), options.space);
        let url = Url::parse(&text).map_err(|error| invalid(error.to_string()))?;
        let tls = tls::config()?;
        // The live connection takes no proxy, so requests take none either.
        let http = reqwest::Client::builder().tls_backend_preconfigured(tls.clone()).no_proxy().referer(false);
        let http = http.build().map_err(|error| Error::new("invalid", format!("no HTTP client: {}", reason(error))))?;
        let user = options.user.as_ref().map(|user| utf8_percent_encode(user, NON_ALPHANUMERIC).to_string());
        Ok(Web(Arc::new(Server { http, tls: Arc::new(tls), url, token: options.token.clone(), user })))
    }

    fn ask(&self, body: Option<String>) -> Asking {
        let server = self.0.clone();
        Box::pin(async move { server.ask(body).await.map_err(|error| NetworkError(reason(error))) })
    }
}

impl Network for Web {
    fn push(&self, body: String) -> Asking {
        self.ask(Some(body))
    }

    fn fetch(&self) -> Asking {
        self.ask(None)
    }

    fn connect(&self, cursor: u64) -> Line {
        Box::pin(stream::unfold(Stage::Closed { server: self.0.clone(), cursor }, next))
    }
}

impl Server {
    /// Posts a body to `reconcile`, or gets the snapshot where there is none.
    async fn ask(&self, body: Option<String>) -> reqwest::Result<Answer> {
        let mut request = match body {
            Some(body) => self.http.post(format!("{}reconcile", self.url)).header(CONTENT_TYPE, "application/json").body(body),
            None => self.http.get(format!("{}snapshot", self.url)),
        };
        if let Some(token) = self.token().await {
            request = request.bearer_auth(token);
        }
        if let Some(user) = &self.user {
            request = request.header("driftline-user", user.as_str());
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let retry_after_ms = retry_after.map(|seconds| seconds.min(LONGEST_RETRY_S) * 1_000);
        Ok(Answer { status, retry_after_ms, body: response.text().await? })
    }

    async fn token(&self) -> Option<String> {
        match &self.token {
            Some(token) => token.get().await,
            None => None,
        }
    }

    async fn dial(&self, cursor: u64) -> Result<Socket, String> {
        let url = &self.url;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        // An address of version 6 stands in brackets.
        let host = host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn Connection> = if url.scheme() == "https" {
            let name = ServerName::try_from(host.to_string()).map_err(|error| error.to_string())?;
            let connector = TlsConnector::from(self.tls.clone());
            Box::new(connector.connect(name, stream).await.map_err(|error| error.to_string())?)
        } else {
            Box::new(stream)
        };
        // `http` becomes `ws`, and `https` `wss`.
        let address = format!("ws{}live", url.as_str().trim_start_matches("http"));
        let (mut socket, _) = client_async(address, stream).await.map_err(|error| error.to_string())?;
        let hello = self.hello(cursor).await;
        socket.send(Message::text(hello)).await.map_err(|error| error.to_string())?;
        Ok(socket)
    }

    /// The first message.
    async fn hello(&self, cursor: u64) -> String {
        let mut hello = format!("{{\"cursor\":{cursor}");
        for (member, value) in [("token", self.token().await), ("user", self.user.clone())] {
            if let Some(value) = value {
                hello = format!("{hello},\"{member}\":");
                write_string(&value, &mut hello);
            }
        }
        hello.push('}');
        hello
    }
}

/// What a WebSocket is spoken over.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

type Socket = WebSocketStream<Box<dyn Connection>>;

enum Stage {
    Closed { server: Arc<Server>, cursor: u64 },
    Open(Box<Socket>),
}

/// The next thing that is heard, until the connection ends.
async fn next(stage: Stage) -> Option<(Heard, Stage)> {
    let mut socket = match stage {
        Stage::Closed { server, cursor } => {
            let socket = server.dial(cursor).await.ok()?;
            return Some((Heard::Open, Stage::Open(Box::new(socket))));
        }
        Stage::Open(socket) => socket,
    };
    loop {
        match socket.next().await? {
            Ok(Message::Text(text)) => return Some((Heard::Message(text.as_str().to_string()), Stage::Open(socket))),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// What went wrong, down to its cause. The address is left out.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        out += &format!(": {cause}");
        source = cause.source();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(url: &str) -> Result<Web, Error> {
        Web::new(&Options { user: Some("Ada L.".to_string()), ..Options::new("", "", "my-space", url) })
    }

    #[test]
    fn addresses_are_put_together_or_refused() {
        let server = |url| web(url).unwrap().0;
        assert_eq!(server("http://127.0.0.1:4077").url.as_str(), "http://127.0.0.1:4077/v1/spaces/my-space/");
        assert_eq!(server("https://example.org/sync/").url.as_str(), "https://example.org/sync/v1/spaces/my-space/");
        for wrong in ["", "127.0.0.1:4077", "ftp://example.org", "http://"] {
            assert_eq!(web(wrong).err().map(|error| error.code).as_deref(), Some("invalid"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a7_the_first_message_says_whose_edits_these_are() {
        let (token, user) = (Some(Token::fixed("t\"1")), Some("Ada L.".to_string()));
        let options = Options { token, user, ..Options::new("", "", "s", "http://[::1]:1") };
        let server = Web::new(&options).unwrap().0;
        assert_eq!(server.hello(7).await, r#"{"cursor":7,"token":"t\"1","user":"Ada%20L%2E"}"#);
    }
}
