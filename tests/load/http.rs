//! Requests of one client over one connection that is kept, as a browser has it.

use std::cell::Cell;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Answers are small, and connections many.
const BUFFER_BYTES: usize = 4 * 1024;
/// A server that asks for a day is asked again within the hour.
const LONGEST_RETRY_S: u64 = 3_600;

type Stream = BufReader<TcpStream>;

pub struct Http {
    address: SocketAddr,
    space: String,
    token: String,
    idle: Cell<Option<Stream>>,
}

pub struct Answer {
    pub status: u16,
    pub retry_after_ms: Option<u64>,
    pub body: String,
}

/// Why there is no answer.
enum Broken {
    /// Nothing came of one.
    Unanswered(String),
    Midway(String),
}

impl Http {
    pub fn new(address: SocketAddr, space: &str, token: &str) -> Http {
        Http { address, space: space.to_string(), token: token.to_string(), idle: Cell::new(None) }
    }

    /// Posts a body to `reconcile`, or gets the snapshot where there is none.
    pub async fn request(&self, body: Option<String>) -> Result<Answer, String> {
        let request = self.write(body.as_deref());
        if let Some(mut stream) = self.idle.take() {
            match exchange(&mut stream, &request).await {
                Ok(done) => return Ok(self.keep(stream, done)),
                // The server closes what was idle for long. As a browser does, it is asked again over a new connection.
                Err(Broken::Unanswered(_)) => {}
                Err(Broken::Midway(why)) => return Err(why),
            }
        }
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("connect: {}", error.kind()))?;
        let _ = stream.set_nodelay(true);
        let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
        match exchange(&mut stream, &request).await {
            Ok(done) => Ok(self.keep(stream, done)),
            Err(Broken::Unanswered(why) | Broken::Midway(why)) => Err(why),
        }
    }

    fn keep(&self, stream: Stream, (answer, keeps): (Answer, bool)) -> Answer {
        if keeps {
            self.idle.set(Some(stream));
        }
        answer
    }

    fn write(&self, body: Option<&str>) -> Vec<u8> {
        let Http { address, space, token, .. } = self;
        let common = format!("host: {address}\r\nauthorization: Bearer {token}\r\n");
        let text = match body {
            None => format!("GET /v1/spaces/{space}/snapshot HTTP/1.1\r\n{common}\r\n"),
            Some(body) => {
                let kind = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
                format!("POST /v1/spaces/{space}/reconcile HTTP/1.1\r\n{common}{kind}\r\n{body}")
            }
        };
        text.into_bytes()
    }
}

/// The answer, and whether the connection may be used again.
async fn exchange(stream: &mut Stream, request: &[u8]) -> Result<(Answer, bool), Broken> {
    let unanswered = |error: std::io::Error| Broken::Unanswered(error.kind().to_string());
    stream.get_mut().write_all(request).await.map_err(unanswered)?;
    let mut line = String::new();
    if stream.read_line(&mut line).await.map_err(unanswered)? == 0 {
        return Err(Broken::Unanswered("ended without an answer".to_string()));
    }
    read_answer(stream, &line).await.map_err(Broken::Midway)
}

async fn read_answer(stream: &mut Stream, first_line: &str) -> Result<(Answer, bool), String> {
    let status = first_line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("an answer without a status")?;
    let (mut length, mut is_chunked, mut keeps, mut retry_after_s) = (None, false, true, None);
    loop {
        let line = read_line(stream).await?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((line.as_str(), ""));
        let value = value.trim();
        match name {
            "content-length" => length = value.parse::<usize>().ok(),
            "transfer-encoding" => is_chunked = value == "chunked",
            "connection" => keeps = value != "close",
            "retry-after" => retry_after_s = value.parse::<u64>().ok(),
            _ => {}
        }
    }
    let body = match length {
        _ if is_chunked => read_chunks(stream).await?,
        Some(length) => read_bytes(stream, Vec::new(), length).await?,
        None => return Err("an answer without a length".to_string()),
    };
    let body = String::from_utf8(body).map_err(|_| "an answer that is not UTF-8")?;
    let retry_after_ms = retry_after_s.map(|seconds| seconds.min(LONGEST_RETRY_S) * 1_000);
    Ok((Answer { status, retry_after_ms, body }, keeps))
}

/// A line without its end.
async fn read_line(stream: &mut Stream) -> Result<String, String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await {
        Ok(0) => Err("cut off".to_string()),
        Ok(_) => Ok(line.trim_end().to_string()),
        Err(error) => Err(error.kind().to_string()),
    }
}

/// What was read before, and so many bytes more.
async fn read_bytes(stream: &mut Stream, mut bytes: Vec<u8>, more: usize) -> Result<Vec<u8>, String> {
    let from = bytes.len();
    bytes.resize(from + more, 0);
    stream.read_exact(&mut bytes[from..]).await.map_err(|error| error.kind().to_string())?;
    Ok(bytes)
}

async fn read_chunks(stream: &mut Stream) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let length = usize::from_str_radix(&line, 16).map_err(|_| "a chunk without a length")?;
        body = read_bytes(stream, body, length).await?;
        // What follows each chunk, and the last of them.
        read_line(stream).await?;
        if length == 0 {
            return Ok(body);
        }
    }
}
