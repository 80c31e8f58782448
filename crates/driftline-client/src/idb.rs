//! An IndexedDB database, opened when it is needed, and again whenever it was closed from outside.
//!
//! Called and not wrapped, because wrappers lack what is needed here: durability, an explicit commit, the reason of an abort, and to
//! hear of being closed.

use crate::js::{call, get, listen, problem, promise, random_u64, spawn};
use gloo_timers::callback::Timeout;
use js_sys::{Array, Function, Object, Promise, Reflect};
use std::cell::{Cell, RefCell};
use std::iter::once;
use std::rc::Rc;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{IdbDatabase, IdbKeyRange, IdbRequest, IdbTransaction};

/// Opening waits for tabs that keep an older version open, or that delete it. After so long it is said to be blocked; it goes on.
const OPEN_MS: u32 = 2_000;
/// The store that every database has. Under `[["made"]]`, which is no space's, it holds a number that tells a database from one that was made
/// anew in its place, by this tab or another.
const META: &str = "meta";

/// A handle; its clones are the same database.
#[derive(Clone)]
pub struct Database(Rc<Inner>);

struct Inner {
    name: String,
    stores: &'static [&'static str],
    durability: &'static str,
    connection: RefCell<Option<IdbDatabase>>,
    /// A request to open that is under way: resolves to null, or to why the database is not open.
    opening: RefCell<Option<Promise>>,
    /// Which one was open, if any was.
    known: RefCell<Option<JsValue>>,
    /// It is another one than was open before: what that held is gone.
    lost: Cell<bool>,
    on_closed: RefCell<Option<Box<dyn Fn()>>>,
    /// Closed by us, for good.
    shut: Cell<bool>,
}

impl Database {
    pub fn new(name: String, stores: &'static [&'static str], durability: &'static str) -> Database {
        Database(Rc::new(Inner {
            name,
            stores,
            durability,
            connection: RefCell::default(),
            opening: RefCell::default(),
            known: RefCell::default(),
            lost: Cell::default(),
            on_closed: RefCell::default(),
            shut: Cell::default(),
        }))
    }

    /// Calls back whenever something else closes the database: the browser, a deletion, a page of a later version.
    pub fn on_closed(&self, hear: impl Fn() + 'static) {
        *self.0.on_closed.borrow_mut() = Some(Box::new(hear));
    }

    /// Whether what it held was found to be gone, since this was asked last.
    pub fn take_lost(&self) -> bool {
        self.0.lost.take()
    }

    /// Begins to open it, for whoever needs it soon.
    pub fn prepare(&self) {
        if self.0.connection.borrow().is_none() && self.0.opening.borrow().is_none() {
            // Whoever opens it hears why it cannot be.
            let _ = self.request();
        }
    }

    pub async fn open(&self) -> Result<IdbDatabase, JsValue> {
        let inner = &self.0;
        // What is open already is not yet told from another that was open before.
        let under_way = inner.opening.borrow().clone();
        if !inner.shut.get() && (under_way.is_some() || inner.connection.borrow().is_none()) {
            let opening = match under_way {
                Some(opening) => opening,
                None => self.request()?,
            };
            let reason = JsFuture::from(opening).await?;
            if !reason.is_null() {
                return Err(reason);
            }
        }
        inner.connection.borrow().clone().ok_or_else(|| problem("storage_closed", "the database was closed"))
    }

    fn request(&self) -> Result<Promise, JsValue> {
        let inner = &self.0;
        let request: IdbRequest = call(&crate::js::global("indexedDB"), "open", &[inner.name.as_str().into(), 1.into()])?.unchecked_into();
        let (opening, answer) = promise();
        *inner.opening.borrow_mut() = Some(opening.clone());
        let (stores, asked) = (inner.stores, request.clone());
        let upgrade = Closure::once_into_js(move || {
            let Ok(database) = asked.result().map(JsCast::unchecked_into::<IdbDatabase>) else { return };
            for store in stores {
                let made = database.create_object_store(store);
                if let Some(meta) = made.ok().filter(|_| *store == META) {
                    let _ = meta.put_with_key(&format!("{:016x}", random_u64()).into(), &made_key());
                }
            }
        });
        let _ = Reflect::set(&request, &"onupgradeneeded".into(), &upgrade);
        let (opened, asked, say) = (inner.clone(), request.clone(), answer.clone());
        on_end(&request, move || {
            let database = result(&asked).map(JsCast::unchecked_into::<IdbDatabase>);
            if let Ok(database) = &database {
                hold(&opened, database.clone());
            }
            spawn(async move {
                let reason = match database {
                    Ok(database) => tell_apart(&opened, &database).await.err(),
                    Err(error) => Some(error),
                };
                opened.opening.borrow_mut().take();
                let _ = say.call1(&JsValue::NULL, &reason.unwrap_or(JsValue::NULL));
            });
        });
        Timeout::new(OPEN_MS, move || {
            let blocked = problem("storage_blocked", "another tab keeps the database from being opened");
            let _ = answer.call1(&JsValue::NULL, &blocked);
        })
        .forget();
        Ok(opening)
    }

    /// A transaction over all stores.
    pub async fn begin(&self, mode: &str) -> Result<IdbTransaction, JsValue> {
        let options = Object::new();
        let _ = Reflect::set(&options, &"durability".into(), &self.0.durability.into());
        let stores: Array = self.0.stores.iter().map(|store| JsValue::from(*store)).collect();
        let mut tried = false;
        loop {
            let database = self.open().await?;
            match call(&database, "transaction", &[stores.clone().into(), mode.into(), options.clone().into()]) {
                Ok(transaction) => return Ok(transaction.unchecked_into()),
                Err(error) if tried => return Err(error),
                // It was closed under us: open it again, once.
                Err(_) => {
                    tried = true;
                    database.close();
                    self.0.connection.borrow_mut().take();
                }
            }
        }
    }

    pub fn close(&self) {
        self.0.shut.set(true);
        if let Some(connection) = self.0.connection.borrow_mut().take() {
            connection.close();
        }
    }
}

fn hold(inner: &Rc<Inner>, database: IdbDatabase) {
    if inner.shut.get() {
        return database.close();
    }
    for event in ["close", "versionchange"] {
        let (inner, database) = (inner.clone(), database.clone());
        let closing = database.clone();
        listen(&database, event, move |_| {
            closing.close();
            let is_ours = inner.connection.borrow_mut().take_if(|open| *open == closing).is_some();
            if let Some(hear) = inner.on_closed.borrow().as_ref().filter(|_| is_ours) {
                hear();
            }
        });
    }
    *inner.connection.borrow_mut() = Some(database);
}

fn made_key() -> JsValue {
    Array::of1(&Array::of1(&"made".into())).into()
}

/// Notes which database this is, and whether another one was open before.
async fn tell_apart(inner: &Inner, database: &IdbDatabase) -> Result<(), JsValue> {
    let meta = database.transaction_with_str(META)?.object_store(META)?;
    let made = done(&meta.get(&made_key())?).await?;
    let before = inner.known.replace(Some(made.clone()));
    inner.lost.set(inner.lost.get() || before.is_some_and(|before| before != made));
    Ok(())
}

/// Waits for a request.
pub async fn done(request: &IdbRequest) -> Result<JsValue, JsValue> {
    let (promise, resolve) = promise();
    on_end(request, move || drop(resolve.call0(&JsValue::NULL)));
    JsFuture::from(promise).await?;
    result(request)
}

fn on_end(request: &IdbRequest, end: impl FnOnce() + 'static) {
    let end: Function = Closure::once_into_js(end).unchecked_into();
    request.set_onsuccess(Some(&end));
    request.set_onerror(Some(&end));
}

fn result(request: &IdbRequest) -> Result<JsValue, JsValue> {
    match request.error()? {
        Some(error) => Err(error.into()),
        None => request.result(),
    }
}

/// Lets a transaction end without waiting a turn for more requests.
pub fn commit(transaction: &IdbTransaction) {
    let _ = call(transaction, "commit", &[]);
}

/// Waits until a transaction is on disk; an abort comes with its reason. WebKit leaves a transaction that was told to commit
/// without one: its requests have it.
pub async fn finished(transaction: &IdbTransaction, requests: &[IdbRequest]) -> Result<(), JsValue> {
    let (promise, resolve) = promise();
    let aborted = resolve.clone();
    let complete = Closure::once_into_js(move || drop(resolve.call1(&JsValue::NULL, &JsValue::TRUE)));
    let abort = Closure::once_into_js(move || drop(aborted.call1(&JsValue::NULL, &JsValue::FALSE)));
    transaction.set_oncomplete(Some(complete.unchecked_ref()));
    transaction.set_onabort(Some(abort.unchecked_ref()));
    if JsFuture::from(promise).await?.is_truthy() {
        return Ok(());
    }
    let reasons = requests.iter().map(|request| get(request, "error"));
    let reason = once(get(transaction, "error")).chain(reasons).find(JsValue::is_object);
    Err(reason.unwrap_or_else(|| problem("storage_aborted", "the transaction was aborted")))
}

/// All keys that begin with these parts: an array sorts after every string and number.
pub fn range(parts: &Array) -> Result<IdbKeyRange, JsValue> {
    let end = parts.slice(0, parts.length());
    end.push(&Array::new());
    IdbKeyRange::bound(parts, &end)
}
