//! Small ways into JavaScript that web-sys keeps behind unstable flags, or does not have.

use js_sys::{Array, Function, Promise, Reflect};
use std::pin::Pin;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    js_sys::Date::now() as u64
}

/// A member of the global object, in a page or a worker.
pub fn global(name: &str) -> JsValue {
    get(&js_sys::global(), name)
}

/// A member, or undefined where there is none.
pub fn get(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

/// Calls a method; an error where it is missing.
pub fn call(object: &JsValue, name: &str, arguments: &[JsValue]) -> Result<JsValue, JsValue> {
    let method: Function = get(object, name).dyn_into().map_err(|_| JsValue::from(format!("{name} is not supported here")))?;
    method.apply(object, &arguments.iter().collect::<Array>())
}

/// A random number from the system.
pub fn random_u64() -> u64 {
    let bytes = js_sys::Uint8Array::new_with_length(8);
    let mut random = [0; 8];
    if call(&global("crypto"), "getRandomValues", &[bytes.clone().into()]).is_ok() {
        bytes.copy_to(&mut random);
    } else {
        // No secure source: an id need only be unlike others.
        random = (js_sys::Math::random() * 9e15 + js_sys::Date::now()).to_bits().to_le_bytes();
    }
    u64::from_le_bytes(random)
}

/// Runs a future on its own. Boxed, so that the wasm has one copy of the task.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
    wasm_bindgen_futures::spawn_local(future);
}

/// A promise and what resolves it.
pub fn promise() -> (Promise, Function) {
    let mut resolve = None;
    let promise = Promise::new(&mut |yes, _| resolve = Some(yes));
    // The executor has run by now, so the default is never used.
    (promise, resolve.unwrap_or_default())
}

/// Sets an event handler that lives as long as the page.
pub fn listen(target: &JsValue, event: &str, handler: impl FnMut(JsValue) + 'static) {
    let handler = Closure::<dyn FnMut(JsValue)>::new(handler).into_js_value();
    // Where there is no such target (a worker has no document) there is nothing to hear.
    let _ = call(target, "addEventListener", &[event.into(), handler]);
}

/// A problem as the application gets it when opening fails.
pub fn problem(code: &str, detail: &str) -> JsValue {
    let error: JsValue = js_sys::Error::new(detail).into();
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error
}

/// A stable code for what a database did. Problems of our own have one; the browser's errors have a number there, or nothing.
pub fn storage_code(error: &JsValue) -> String {
    if let Some(code) = get(error, "code").as_string() {
        return code;
    }
    match error_name(error).as_str() {
        "QuotaExceededError" => "storage_full",
        "AbortError" => "storage_aborted",
        "InvalidStateError" | "NotFoundError" => "storage_closed",
        "VersionError" => "storage_newer",
        "SecurityError" => "storage_refused",
        _ => "storage_failed",
    }
    .to_string()
}

/// Whether a database cannot read what it holds, and will not be able to.
pub fn is_data_error(error: &JsValue) -> bool {
    matches!(error_name(error).as_str(), "NotReadableError" | "DataError")
}

fn error_name(error: &JsValue) -> String {
    get(error, "name").as_string().unwrap_or_default()
}
