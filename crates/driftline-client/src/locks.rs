//! Web Locks: what one tab holds, no other does, and the browser lets go of it when the tab dies.

use crate::js::{call, get, global, promise};
use js_sys::Promise;
use js_sys::{Function, Object, Reflect};
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen::closure::Closure;
use wasm_bindgen_futures::JsFuture;

/// A lock, until it is dropped or stolen.
pub struct Held {
    release: Function,
    request: Promise,
}

impl Held {
    /// Resolves when the lock is let go of; `true` if another has stolen it.
    pub fn stolen(&self) -> impl Future<Output = bool> + use<> {
        let request = JsFuture::from(self.request.clone());
        async move { request.await.is_err() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.release.call0(&JsValue::NULL);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    IfAvailable,
    Wait,
    Steal,
}

/// Takes a lock if it is free.
pub async fn try_hold(name: &str) -> Result<Option<Held>, JsValue> {
    request(name, How::IfAvailable, &Rc::default()).await
}

/// Waits for a lock; `None` if `closed` was set meanwhile.
pub async fn wait_hold(name: &str, closed: &Rc<Cell<bool>>) -> Result<Option<Held>, JsValue> {
    request(name, How::Wait, closed).await
}

/// Takes a lock away from whoever holds it: it may be a tab that the browser has frozen.
pub async fn steal(name: &str, closed: &Rc<Cell<bool>>) -> Result<Option<Held>, JsValue> {
    request(name, How::Steal, closed).await
}

async fn request(name: &str, how: How, closed: &Rc<Cell<bool>>) -> Result<Option<Held>, JsValue> {
    let (held_until, release) = promise();
    let (answered, answer) = promise();
    let closed = closed.clone();
    let granted = Closure::once_into_js(move |lock: JsValue| -> JsValue {
        let taken = !lock.is_null() && !closed.get();
        let _ = answer.call1(&JsValue::NULL, &taken.into());
        // The browser holds the lock until this promise resolves.
        if taken { held_until.into() } else { JsValue::UNDEFINED }
    });
    let options = Object::new();
    match how {
        How::IfAvailable => drop(Reflect::set(&options, &"ifAvailable".into(), &true.into())),
        How::Steal => drop(Reflect::set(&options, &"steal".into(), &true.into())),
        How::Wait => {}
    }
    let locks = get(&global("navigator"), "locks");
    let request = Promise::resolve(&call(&locks, "request", &[name.into(), options.into(), granted])?);
    let taken = JsFuture::from(answered).await?.is_truthy();
    Ok(taken.then(|| Held { release, request }))
}
