//! Web Locks: what one tab holds, no other does, and the browser lets go of it when the tab dies.

use crate::js::{call, get, global, promise};
use js_sys::{Function, Object, Reflect};
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen::closure::Closure;
use wasm_bindgen_futures::JsFuture;

/// A lock, until it is dropped.
pub struct Held(Function);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.call0(&JsValue::NULL);
    }
}

/// Takes a lock if it is free.
pub async fn try_hold(name: &str) -> Result<Option<Held>, JsValue> {
    request(name, true, &Rc::default()).await
}

/// Waits for a lock; `None` if `closed` was set meanwhile.
pub async fn wait_hold(name: &str, closed: &Rc<Cell<bool>>) -> Result<Option<Held>, JsValue> {
    request(name, false, closed).await
}

async fn request(name: &str, if_available: bool, closed: &Rc<Cell<bool>>) -> Result<Option<Held>, JsValue> {
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
    let _ = Reflect::set(&options, &"ifAvailable".into(), &if_available.into());
    let locks = get(&global("navigator"), "locks");
    call(&locks, "request", &[name.into(), options.into(), granted])?;
    let taken = JsFuture::from(answered).await?.is_truthy();
    Ok(taken.then(|| Held(release)))
}
