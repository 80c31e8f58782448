//! Opening, running and stopping.

use crate::auth::Authorizer;
use crate::check::{Finding, check_with};
use crate::db::{DbResult, Watch};
use crate::editor::Editor;
use crate::fault::Faults;
use crate::jobs::{self, Jobs, Keeping, Waker};
use crate::live::{Hub, stopped};
use crate::log::Readers;
use crate::metrics::Metrics;
use crate::migrate;
use crate::place::Place;
use crate::presence::Presence;
use crate::quota::{Limits, Rates, Seats};
use crate::router::{App, BODIES_KIB, Pause, SMALL_BODIES_KIB, router};
use crate::rules::Ruled;
use crate::search::Search;
use crate::store::Store;
use crate::tables::Layout;
use crate::writer;
use axum::Router;
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use driftline_core::schema::Schema;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tower::ServiceBuilder;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

/// Connections for answers; a read of the log takes a few milliseconds.
const READERS: usize = 4;
/// First loads that run at once.
const SNAPSHOTS: usize = 8;
/// First loads that run or wait, in all and of one user.
const LOADS: usize = 256;
const LOADS_PER_USER: usize = 4;
/// Blobs that are sent at once, in all and to one user.
const BLOBS: usize = 128;
const BLOBS_PER_USER: usize = 16;
const CONNECTIONS: usize = 8_192;
/// A request's head has to arrive in this time, which is also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
const HEAD_BYTES: usize = 64 * 1024;
/// What a stop may take before it cuts connections.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the server finds its things.
#[derive(Debug, Clone)]
pub struct Config {
    pub schema: PathBuf,
    pub migrations: PathBuf,
    pub data: Place,
    /// Files to serve beside the API.
    pub assets: Option<PathBuf>,
    pub limits: Limits,
    pub keeping: Keeping,
    /// Keeps the words of all texts, to search for.
    pub search: Option<Search>,
    /// Origins whose pages may ask, as `https://example.org`. None: only pages that this server, or its proxy, serves.
    pub origins: Vec<String>,
    /// Told of what has changed.
    #[cfg(feature = "webhooks")]
    pub webhook: Option<crate::effects::Webhook>,
    /// What the app itself allows.
    pub rules: Option<Ruled>,
    /// Sees each statement of this server: for tests.
    pub watch: Option<Watch>,
    pub faults: Faults,
}

impl Config {
    pub fn new(schema: impl Into<PathBuf>, migrations: impl Into<PathBuf>, data: impl Into<Place>) -> Config {
        Config {
            schema: schema.into(),
            migrations: migrations.into(),
            data: data.into(),
            assets: None,
            limits: Limits::default(),
            keeping: Keeping::default(),
            search: None,
            origins: Vec::new(),
            #[cfg(feature = "webhooks")]
            webhook: None,
            rules: None,
            watch: None,
            faults: Faults::default(),
        }
    }
}

/// Why the server does not start, in a sentence that says what to do.
#[derive(Debug)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

pub struct Server {
    app: App,
    assets: Option<PathBuf>,
    stop: watch::Sender<bool>,
    pause: watch::Sender<Pause>,
    threads: Vec<std::thread::JoinHandle<()>>,
    /// What calls others, and writes down how that went.
    callers: Vec<std::thread::JoinHandle<()>>,
    waker: Waker,
}

impl Server {
    /// Opens the database, whose tables must be exactly those of the last migration. Never changes a table.
    pub fn open(config: Config, authorizer: Arc<dyn Authorizer>) -> Result<Server, StartError> {
        let text =
            std::fs::read_to_string(&config.schema).map_err(|e| StartError(format!("cannot read {}: {e}", config.schema.display())))?;
        let schema = Schema::parse(&text).map_err(|e| StartError(format!("{}: {e}", config.schema.display())))?;
        migrate::require_current(&schema, &config.migrations, &config.data).map_err(StartError)?;
        let layout = Arc::new(Layout::new(&schema, config.data.dialect()).map_err(StartError)?);
        let schema = Arc::new(schema);
        let or_say = |store: DbResult<Store>| {
            store.inspect(|store| store.db.set_watch(config.watch.clone())).map_err(|e| StartError(config.data.describe(&e)))
        };
        let open = |_| or_say(Store::open(&config.data, schema.clone(), layout.clone()));
        let open_for_long = |_| or_say(Store::open_for_long(&config.data, schema.clone(), layout.clone()));
        let readers = (0..READERS).map(open).collect::<Result<Vec<_>, _>>()?;
        let snapshots = (0..SNAPSHOTS).map(open_for_long).collect::<Result<Vec<_>, _>>()?;
        let (readers, snapshots) = (Arc::new(Readers::new(readers)), Arc::new(Readers::new(snapshots)));
        if config.faults.is_set() {
            tracing::warn!(faults = ?config.faults, "DRIFTLINE_FAULT is set: this server fails on purpose");
        }
        let (hub, presence) = shared_memory(&config.data);
        let metrics = Arc::new(Metrics::new());
        let origins = config.origins.iter().map(|origin| origin_of(origin)).collect::<Result<Vec<_>, _>>()?;
        let no_thread = |e: std::io::Error| StartError(format!("no thread to write with: {e}"));
        let (waker, changes, woken) = jobs::waker();
        let mut stores = (0..config.data.writers()).map(open).collect::<Result<Vec<_>, _>>()?;
        #[cfg(feature = "webhooks")]
        let webhook = config.webhook.clone().map(Arc::new);
        for store in &mut stores {
            #[cfg(feature = "webhooks")]
            store.webhook.clone_from(&webhook);
            store.rules.clone_from(&config.rules);
            store.search = config.search;
        }
        let (handle, writers) = writer::start(stores, &hub, &config.faults, &waker, &metrics).map_err(no_thread)?;
        let (store, writer, keeping) = (open_for_long(0)?, handle.background(), config.keeping);
        let jobs = Jobs { store, writer, metrics: metrics.clone(), keeping, search: config.search, changes };
        let mut threads = writers;
        threads.push(jobs.start(woken).map_err(no_thread)?);
        let (stop, stopping) = watch::channel(false);
        #[cfg(not(feature = "webhooks"))]
        let callers = Vec::new();
        #[cfg(feature = "webhooks")]
        let callers = match webhook {
            Some(webhook) => {
                let calls = crate::effects::Calls::new(webhook, open(0)?, handle.background(), metrics.clone()).map_err(StartError)?;
                vec![calls.start(stopping.clone()).map_err(no_thread)?]
            }
            None => Vec::new(),
        };
        look_through(open_for_long(0)?, metrics.clone(), stopping.clone()).map_err(no_thread)?;
        let (pause, pauses) = watch::channel(Pause::default());
        listen_to_others(&config.data, &hub, &presence, &readers, &stopping)?;
        let app = App {
            schema,
            authorizer,
            writer: handle,
            readers,
            snapshots,
            hub,
            presence,
            kept_versions: config.keeping.versions,
            restores: Arc::new(Semaphore::new(1)),
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            small_bodies: Arc::new(Semaphore::new(SMALL_BODIES_KIB)),
            loads: Seats::new(LOADS, LOADS_PER_USER),
            search: config.search,
            rates: Arc::new(Rates::new(&config.limits)),
            lives: Seats::new(config.limits.live, config.limits.live_per_principal),
            blobs: Seats::new(BLOBS, BLOBS_PER_USER),
            limits: config.limits,
            metrics,
            origins: origins.into(),
            stopping,
            pauses,
        };
        Ok(Server { app, assets: config.assets, stop, pause, threads, callers, waker })
    }

    /// The API's routes, to nest in an app of one's own.
    pub fn router(&self) -> Router {
        router(self.app.clone())
    }

    /// Has all jobs run once for every space: pruning, versions, large deletes. They run by themselves, too.
    pub fn jobs(&self) -> impl Future<Output = ()> + Send + 'static {
        let waker = self.waker.clone();
        async move { waker.run_all().await }
    }

    /// For server-side code to write with, as `server:` and this name. Code that writes at once in several processes has a name
    /// for each.
    pub fn editor(&self, name: &str) -> Editor {
        Editor::new(self.app.clone(), name)
    }

    /// Asks all clients to send nothing for a while. What they make meanwhile waits with them.
    pub fn pauser(&self) -> impl Fn(Duration) + Send + Sync + 'static {
        let pause = self.pause.clone();
        move |time| {
            pause.send_replace(Pause(Some(tokio::time::Instant::now() + time)));
        }
    }

    /// Serves until `shutdown` ends; then takes no more, finishes what waits, closes live connections, and returns.
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let address = listener.local_addr().map_err(|e| StartError(format!("the listener has no address: {e}")))?;
        if self.app.authorizer.is_open() && !address.ip().is_loopback() {
            return Err(StartError(format!(
                "open_needs_loopback: without --secret-file everybody may do everything, so {address} is refused; listen on 127.0.0.1, or set up credentials"
            )));
        }
        let service = match &self.assets {
            Some(directory) => self.router().fallback_service(assets(directory)),
            None => self.router().fallback(async || crate::ApiError::not_found("there is no such route")),
        };
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        tokio::pin!(shutdown);
        loop {
            let slot = tokio::select! {
                slot = slots.clone().acquire_owned() => slot.ok(),
                () = &mut shutdown => break,
            };
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of file handles, or the peer went away: neither is a reason to stop.
                        tracing::warn!(%error, "a connection could not be taken");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
                () = &mut shutdown => break,
            };
            tokio::spawn(serve_connection(stream, service.clone(), self.app.stopping.clone(), slot));
        }
        drop(listener);
        drop(service);
        tracing::info!("stopping");
        let _ = self.stop.send(true);
        if timeout(STOP_TIMEOUT, slots.acquire_many(CONNECTIONS as u32)).await.is_err() {
            tracing::warn!("some connections did not end in time and are cut");
        }
        self.stop().await
    }

    /// Closes live connections and finishes what is queued. For apps that nest the router and serve by themselves.
    pub async fn stop(self) -> Result<(), StartError> {
        let Server { app, stop, threads, callers, waker, .. } = self;
        let _ = stop.send(true);
        let _ = timeout(STOP_TIMEOUT, app.lives.emptied()).await;
        waker.stop();
        let called = tokio::task::spawn_blocking(move || callers.into_iter().try_for_each(std::thread::JoinHandle::join));
        let _ = timeout(2 * STOP_TIMEOUT, called).await;
        app.writer.finish().await;
        let join = move || threads.into_iter().try_for_each(std::thread::JoinHandle::join);
        match timeout(STOP_TIMEOUT, tokio::task::spawn_blocking(join)).await {
            Ok(Ok(Ok(()))) => Ok(()),
            _ => Err(StartError("the writer did not end in time".to_string())),
        }
    }
}

/// Checks the whole database beside the work. What it finds stands in the log and in the figures, and keeps nobody.
fn look_through(store: Store, metrics: Arc<Metrics>, stopping: watch::Receiver<bool>) -> std::io::Result<()> {
    let run = move || match check_with(&store.db, &store.schema, &store.layout, None, |_| !*stopping.borrow()) {
        Ok(report) => {
            for Finding { space, kind, text } in &report.findings {
                tracing::error!(space, kind, text, "the check at the start has found something");
            }
            metrics.findings.set(report.findings.len() as i64);
        }
        Err(error) => tracing::error!(error, "the check at the start could not be done"),
    };
    std::thread::Builder::new().name("check".into()).spawn(run).map(|_| ())
}

fn origin_of(text: &str) -> Result<HeaderValue, StartError> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, rest)| matches!(scheme, "http" | "https") && !rest.contains('/'));
    let origin = HeaderValue::from_str(text).ok().filter(|_| is_origin);
    origin.ok_or_else(|| StartError(format!("`{text}` is no origin: one is a scheme, a host and perhaps a port, as https://example.org")))
}

/// Where several servers share a database, each tells the others what it has committed, and who is there.
fn shared_memory(_place: &Place) -> (Arc<Hub>, Arc<Presence>) {
    #[cfg(feature = "postgres")]
    if let Place::Postgres(_) = _place {
        return (Arc::new(Hub::among_others()), Arc::new(Presence::among_others()));
    }
    Default::default()
}

#[cfg(feature = "postgres")]
fn listen_to_others(
    place: &Place,
    hub: &Arc<Hub>,
    presence: &Arc<Presence>,
    readers: &Arc<Readers>,
    stopping: &watch::Receiver<bool>,
) -> Result<(), StartError> {
    if let (Place::Postgres(config), Some(outgoing)) = (place, &hub.outgoing) {
        let runtime = crate::db::arrivals().map_err(|e| StartError(e.to_string()))?;
        let known = crate::notes::Known { hub: Arc::downgrade(hub), presence: presence.clone(), readers: readers.clone() };
        runtime.spawn(crate::notes::exchange(crate::place::patient(config, true), known, outgoing.clone(), stopping.clone()));
    }
    Ok(())
}

#[cfg(not(feature = "postgres"))]
fn listen_to_others(_: &Place, _: &Arc<Hub>, _: &Arc<Presence>, _: &Arc<Readers>, _: &watch::Receiver<bool>) -> Result<(), StartError> {
    Ok(())
}

/// Serves one connection; at a stop it ends after the request that is under way.
async fn serve_connection(stream: TcpStream, service: Router, mut stopping: watch::Receiver<bool>, slot: Option<OwnedSemaphorePermit>) {
    let _ = stream.set_nodelay(true);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    drop(slot);
}

/// Files of an app. What carries a hash in its name never changes; everything else is asked for anew.
fn assets(directory: &std::path::Path) -> Router {
    let fixed = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(header::HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let caching = |request: Request<axum::body::Body>, next: axum::middleware::Next| async move {
        let is_hashed = request.uri().path().starts_with("/assets/");
        let mut response: Response = next.run(request).await;
        let value = if is_hashed && response.status().is_success() { "public, max-age=31536000, immutable" } else { "no-cache" };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
        response
    };
    let layers = ServiceBuilder::new()
        .layer(axum::middleware::from_fn(caching))
        .layer(fixed("x-content-type-options", "nosniff"))
        .layer(fixed("x-frame-options", "DENY"))
        .layer(fixed("referrer-policy", "no-referrer"))
        .layer(fixed("cross-origin-opener-policy", "same-origin"))
        .layer(fixed("cross-origin-resource-policy", "same-origin"));
    Router::new().fallback_service(ServeDir::new(directory)).layer(layers)
}
