use super::places::Places;
use clap::Args;
use driftline_server::{Authorizer, Config, Faults, Keeping, Limits, Open, Search, Server, Tokens};
use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

const MIB: u64 = 1_024 * 1_024;
/// How long clients are asked to wait at SIGUSR1.
const PAUSE: Duration = Duration::from_secs(30);

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    places: Places,
    #[arg(long, default_value = "127.0.0.1:4077")]
    listen: SocketAddr,
    /// A directory of files to serve beside the API.
    #[arg(long = "static")]
    assets: Option<PathBuf>,
    /// The secret that tokens are signed with. Without it everybody may do everything, on this machine only.
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// An origin whose pages may ask, as https://example.org; may be given several times. Without it, only this server's own.
    #[arg(long)]
    origin: Vec<String>,
    /// Keeps the words of all texts, to search for.
    #[arg(long)]
    search: bool,
    /// Where more rows of a space change their texts within a second, their words are kept a little later, once it is quiet.
    #[arg(long, default_value_t = Search::default().rows_at_once)]
    search_rows_at_once: usize,
    #[command(flatten)]
    keeping: KeepingArguments,
    #[cfg(feature = "webhooks")]
    #[command(flatten)]
    webhook: WebhookArguments,
    #[cfg(feature = "jwks")]
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    limits: LimitArguments,
}

#[cfg(feature = "jwks")]
#[derive(Args)]
struct KeyArguments {
    /// Where the keys are published that tokens are signed with (a JWK set): https, or http on this machine.
    #[arg(long, conflicts_with = "secret_file")]
    jwks_url: Option<String>,
    /// What a token's `iss` has to be.
    #[arg(long, requires = "jwks_url")]
    issuer: Option<String>,
    /// What a token's `aud` has to be, or to hold.
    #[arg(long, requires = "jwks_url")]
    audience: Option<String>,
    /// How many seconds the issuer's clock may be off.
    #[arg(long, default_value_t = driftline_server::keys::LEEWAY_S)]
    leeway_s: u64,
}

#[cfg(feature = "jwks")]
impl KeyArguments {
    fn config(&self) -> Option<driftline_server::KeysConfig> {
        let KeyArguments { jwks_url, issuer, audience, leeway_s } = self;
        let url = jwks_url.clone()?;
        Some(driftline_server::KeysConfig { url, issuer: issuer.clone(), audience: audience.clone(), leeway_s: *leeway_s })
    }
}

#[cfg(feature = "webhooks")]
#[derive(Args)]
struct WebhookArguments {
    /// An address that is told of what has changed: https, or http on this machine.
    #[arg(long, requires = "webhook_secret_file")]
    webhook: Option<String>,
    /// The secret that keys the signature of what it is told.
    #[arg(long)]
    webhook_secret_file: Option<PathBuf>,
    /// A table whose rows it is told of; may be given several times. Without it, of all.
    #[arg(long)]
    webhook_table: Vec<String>,
}

#[cfg(feature = "webhooks")]
impl WebhookArguments {
    fn read(&self) -> Result<Option<driftline_server::effects::Webhook>, String> {
        let (Some(url), Some(file)) = (&self.webhook, &self.webhook_secret_file) else { return Ok(None) };
        let (url, tables) = (url.clone(), self.webhook_table.clone());
        Ok(Some(driftline_server::effects::Webhook { url, secret: super::token::read_secret(file)?, tables }))
    }
}

#[derive(Args)]
struct KeepingArguments {
    /// Revisions of each space that the log keeps; a client that has been away for more loads the space anew.
    #[arg(long, default_value_t = Keeping::default().revisions)]
    keep_revisions: u64,
    /// Versions of each space that can be gone back to.
    #[arg(long, default_value_t = Keeping::default().versions)]
    keep_versions: u32,
    /// How many minutes lie between two versions of a space that goes on changing.
    #[arg(long, default_value_t = Keeping::default().version_every.as_secs() / 60)]
    version_minutes: u64,
}

impl KeepingArguments {
    fn read(&self) -> Keeping {
        let version_every = Duration::from_secs(self.version_minutes.saturating_mul(60));
        Keeping { revisions: self.keep_revisions, versions: self.keep_versions, version_every }
    }
}

#[derive(Args)]
struct LimitArguments {
    /// Requests a second of one user in the long run; more are answered 429.
    #[arg(long, default_value_t = Limits::default().requests_per_s)]
    requests_per_s: NonZeroU32,
    /// Requests of one user at once, after a silence.
    #[arg(long, default_value_t = Limits::default().burst_requests)]
    burst_requests: NonZeroU32,
    /// Live connections of all users.
    #[arg(long, default_value_t = Limits::default().live)]
    live: usize,
    /// Live connections of one user.
    #[arg(long, default_value_t = Limits::default().live_per_principal)]
    live_per_user: usize,
    /// MiB of one blob; a larger one is refused.
    #[arg(long, default_value_t = Limits::default().blob_bytes / MIB)]
    blob_mib: u64,
    /// MiB of all blobs of a space.
    #[arg(long, default_value_t = Limits::default().space_blob_bytes / MIB)]
    space_blob_mib: u64,
}

impl LimitArguments {
    fn read(&self) -> Limits {
        let LimitArguments { requests_per_s, burst_requests, live, live_per_user, blob_mib, space_blob_mib } = *self;
        let [blob_bytes, space_blob_bytes] = [blob_mib, space_blob_mib].map(|mib| mib.saturating_mul(MIB));
        Limits { requests_per_s, burst_requests, live, live_per_principal: live_per_user, blob_bytes, space_blob_bytes }
    }
}

impl Serve {
    fn authorizer(&self) -> Result<Arc<dyn Authorizer>, String> {
        #[cfg(feature = "jwks")]
        if let Some(config) = self.keys.config() {
            return Ok(Arc::new(driftline_server::Keys::new(config)?));
        }
        Ok(match &self.secret_file {
            Some(path) => Arc::new(Tokens::new(&super::token::read_secret(path)?)),
            None => Arc::new(Open),
        })
    }

    pub fn run(self) -> Result<ExitCode, String> {
        let authorizer = self.authorizer()?;
        let faults = Faults::parse(&std::env::var("DRIFTLINE_FAULT").unwrap_or_default())?;
        let config = Config {
            assets: self.assets,
            origins: self.origin,
            limits: self.limits.read(),
            keeping: self.keeping.read(),
            search: self.search.then_some(Search { rows_at_once: self.search_rows_at_once }),
            #[cfg(feature = "webhooks")]
            webhook: self.webhook.read()?,
            faults,
            ..Config::new(self.places.schema, self.places.migrations, self.places.data.place()?)
        };
        let server = Server::open(config, authorizer).map_err(|e| e.to_string())?;
        let runtime = tokio::runtime::Runtime::new().map_err(|e| format!("no runtime: {e}"))?;
        let served: Result<(), String> = runtime.block_on(async {
            let listener = TcpListener::bind(self.listen).await.map_err(|e| format!("cannot listen on {}: {e}", self.listen))?;
            let address = listener.local_addr().map_err(|e| e.to_string())?;
            let stopped = stop_signal()?;
            tokio::spawn(pause_at_signal(server.pauser())?);
            let announced = async move {
                println!("listening on http://{address}");
                let _ = std::io::stdout().flush();
                stopped.await;
            };
            server.run(listener, announced).await.map_err(|e| e.to_string())
        });
        // A first load to a stalled reader must not keep the process.
        runtime.shutdown_timeout(Duration::from_secs(1));
        served?;
        Ok(ExitCode::SUCCESS)
    }
}

/// SIGUSR1 asks all clients to send nothing for a while: before a migration, say.
fn pause_at_signal(pause: impl Fn(Duration)) -> Result<impl Future<Output = ()>, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut asked = signal(SignalKind::user_defined1()).map_err(|e| e.to_string())?;
    Ok(async move {
        while asked.recv().await.is_some() {
            tracing::info!(seconds = PAUSE.as_secs(), "clients are asked to wait");
            pause(PAUSE);
        }
    })
}

fn stop_signal() -> Result<impl Future<Output = ()>, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
