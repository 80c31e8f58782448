//! The server: requests by reqwest (`fetch` here), the live connection by WebSocket.

use crate::js::listen;
use js_sys::{Function, Promise};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Request, Url};
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MessageEvent, WebSocket};

/// A little more than the engine's own patience, so that it has the first word.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(35);
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(305);

pub struct Net {
    client: reqwest::Client,
    /// `http://host/v1/spaces/name/`.
    space_url: String,
    token: Option<Function>,
}

pub struct Answer {
    pub status: u16,
    pub retry_after_ms: Option<u64>,
    pub body: String,
}

impl Net {
    pub fn new(url: &str, space: &str, token: Option<Function>) -> Net {
        let origin = match url {
            "" => crate::js::get(&crate::js::global("location"), "origin").as_string().unwrap_or_default(),
            url => url.to_string(),
        };
        // In its normal form: the live connection's address is made from it.
        let origin = Url::parse(&origin).map_or(origin, String::from);
        let origin = origin.trim_end_matches('/');
        Net { client: reqwest::Client::new(), space_url: format!("{origin}/v1/spaces/{space}/"), token }
    }

    /// The application's token; it may take its time to get one.
    async fn token(&self) -> Option<String> {
        let token = self.token.as_ref()?.call0(&JsValue::NULL).ok()?;
        JsFuture::from(Promise::resolve(&token)).await.ok()?.as_string()
    }

    /// Posts a body to `reconcile`, or gets the snapshot where there is none. `None`: there was no answer.
    pub async fn request(&self, body: Option<String>) -> Option<Answer> {
        let (method, name, timeout) = match &body {
            Some(_) => (Method::POST, "reconcile", REQUEST_TIMEOUT),
            None => (Method::GET, "snapshot", SNAPSHOT_TIMEOUT),
        };
        let mut request = Request::new(method, Url::parse(&format!("{}{name}", self.space_url)).ok()?);
        *request.timeout_mut() = Some(timeout);
        if let Some(body) = body {
            *request.body_mut() = Some(body.into());
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(token) = self.token().await {
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).ok()?);
        }
        let response = self.client.execute(request).await.ok()?;
        let status = response.status().as_u16();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        // A server that asks for a day is asked again within the hour.
        let retry_after_ms = seconds.map(|seconds| seconds.min(3_600) * 1_000);
        Some(Answer { status, retry_after_ms, body: response.text().await.ok()? })
    }

    /// Opens the live connection.
    pub async fn connect(&self, cursor: u64, hear: Rc<dyn Fn(Heard)>) -> Result<Live, JsValue> {
        let token = self.token().await;
        // `http` becomes `ws`, and `https` `wss`.
        let url = format!("ws{}live", self.space_url.trim_start_matches(['h', 't', 'p']));
        let socket = WebSocket::new(&url)?;
        let hello = match token {
            Some(token) => {
                let mut out = String::from("{\"token\":");
                driftline_core::value::write_string(&token, &mut out);
                format!("{out},\"cursor\":{cursor}}}")
            }
            None => format!("{{\"token\":null,\"cursor\":{cursor}}}"),
        };
        let (opening, opened) = (socket.clone(), hear.clone());
        listen(&socket, "open", move |_| {
            let _ = opening.send_with_str(&hello);
            opened(Heard::Open);
        });
        let message = hear.clone();
        listen(&socket, "message", move |event| {
            if let Some(text) = event.unchecked_into::<MessageEvent>().data().as_string() {
                message(Heard::Message(text));
            }
        });
        listen(&socket, "close", move |_| hear(Heard::Closed));
        Ok(Live(socket))
    }
}

pub enum Heard {
    Open,
    Message(String),
    Closed,
}

/// The live connection, until it is dropped.
pub struct Live(WebSocket);

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.0.close();
    }
}
