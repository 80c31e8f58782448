//! The live connection of one client.

use crate::client::Input;
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Messages are small, and connections many.
const BUFFER_BYTES: usize = 4 * 1024;

pub struct Line {
    pub address: SocketAddr,
    pub space: String,
    /// The first message.
    pub hello: String,
    /// Counts the connections of its client: an earlier one is not heard any more.
    pub number: u64,
    pub inputs: mpsc::Sender<Input>,
}

impl Line {
    /// Tells the client what comes, and at last why nothing more does.
    pub async fn run(self) {
        let why = self.hold().await;
        let _ = self.inputs.send(Input::LiveClosed { number: self.number, why }).await;
    }

    async fn hold(&self) -> String {
        let stream = match TcpStream::connect(self.address).await {
            Ok(stream) => stream,
            Err(error) => return format!("live connect: {}", error.kind()),
        };
        let _ = stream.set_nodelay(true);
        let config = WebSocketConfig::default().read_buffer_size(BUFFER_BYTES).write_buffer_size(0);
        let url = format!("ws://{}/v1/spaces/{}/live", self.address, self.space);
        let mut socket = match client_async_with_config(url, stream, Some(config)).await {
            Ok((socket, _)) => socket,
            Err(error) => return describe(&error),
        };
        if let Err(error) = socket.send(Message::text(self.hello.as_str())).await {
            return describe(&error);
        }
        if self.inputs.send(Input::LiveOpen { number: self.number }).await.is_err() {
            return "live over".to_string();
        }
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    if self.inputs.send(Input::LiveMessage { number: self.number, text }).await.is_err() {
                        return "live over".to_string();
                    }
                }
                Some(Ok(Message::Close(Some(frame)))) => return format!("live closed: {} {}", u16::from(frame.code), frame.reason),
                Some(Ok(Message::Close(None))) | None => return "live ended".to_string(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return describe(&error),
            }
        }
    }
}

fn describe(error: &Error) -> String {
    match error {
        Error::Http(response) => format!("live {}", response.status().as_u16()),
        Error::Io(error) => format!("live: {}", error.kind()),
        other => format!("live: {other}"),
    }
}
