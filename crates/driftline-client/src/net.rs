//! The server: requests by `fetch`, the live connection by WebSocket.

use crate::js::listen;
use js_sys::{Function, Promise};
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, MessageEvent, RequestInit, Response, Url, WebSocket};

pub struct Net {
    /// `http://host/v1/spaces/name/`.
    space_url: String,
    token: Option<Function>,
    /// Whose edits these are, percent-encoded; empty where the app does not say.
    user: String,
}

pub struct Answer {
    pub status: u16,
    pub retry_after_ms: Option<u64>,
    pub body: String,
}

impl Net {
    pub fn new(url: &str, space: &str, token: Option<Function>, user: String) -> Net {
        let origin = match url {
            "" => crate::js::get(&crate::js::global("location"), "origin").as_string().unwrap_or_default(),
            url => url.to_string(),
        };
        // In its normal form: the live connection's address is made from it.
        let origin = Url::new(&origin).map_or(origin, |url| url.href());
        let origin = origin.trim_end_matches('/');
        Net { space_url: format!("{origin}/v1/spaces/{space}/"), token, user }
    }

    /// The application's token; it may take its time to get one.
    async fn token(&self) -> Option<String> {
        let token = self.token.as_ref()?.call0(&JsValue::NULL).ok()?;
        JsFuture::from(Promise::resolve(&token)).await.ok()?.as_string()
    }

    /// Posts a body to `reconcile`, or gets the snapshot where there is none. An error: there was no answer. How long to wait for
    /// one is the engine's business.
    pub async fn request(&self, body: Option<String>, until: &AbortSignal) -> Result<Answer, JsValue> {
        let (name, headers, init) = (if body.is_some() { "reconcile" } else { "snapshot" }, Headers::new()?, RequestInit::new());
        if let Some(body) = body {
            init.set_method("POST");
            init.set_body(&body.into());
            headers.set("content-type", "application/json")?;
        }
        if let Some(token) = self.token().await {
            headers.set("authorization", &format!("Bearer {token}"))?;
        }
        if !self.user.is_empty() {
            headers.set("driftline-user", &self.user)?;
        }
        init.set_headers(&headers);
        init.set_signal(Some(until));
        let fetch: Function = crate::js::global("fetch").dyn_into()?;
        let url = format!("{}{name}", self.space_url);
        let response = JsFuture::from(Promise::from(fetch.call2(&JsValue::NULL, &url.into(), &init)?)).await?;
        let response: Response = response.unchecked_into();
        let seconds = response.headers().get("retry-after")?.and_then(|value| value.parse::<u64>().ok());
        // A server that asks for a day is asked again within the hour.
        let retry_after_ms = seconds.map(|seconds| seconds.min(3_600) * 1_000);
        let body = JsFuture::from(response.text()?).await?.as_string().unwrap_or_default();
        Ok(Answer { status: response.status(), retry_after_ms, body })
    }

    /// Opens the live connection.
    pub async fn connect(&self, cursor: u64, hear: Rc<dyn Fn(Heard)>) -> Result<Live, JsValue> {
        let token = self.token().await;
        // `http` becomes `ws`, and `https` `wss`.
        let url = format!("ws{}live", self.space_url.trim_start_matches(['h', 't', 'p']));
        let socket = WebSocket::new(&url)?;
        let mut hello = format!("{{\"cursor\":{cursor}");
        for (member, value) in [("token", token.as_deref().unwrap_or("")), ("user", &self.user)] {
            if !value.is_empty() {
                hello = format!("{hello},\"{member}\":");
                driftline_core::value::write_string(value, &mut hello);
            }
        }
        hello.push('}');
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
