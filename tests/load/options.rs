//! What the command line says.

use std::path::PathBuf;

/// Clients of a space where nobody says how many spaces there are.
const CLIENTS_PER_SPACE: usize = 20;
/// The number of a client stands in the stamps of its edits, which have 53 bits.
const MOST_CLIENTS: usize = 1_000_000;

pub const USAGE: &str = "usage: load [--clients N] [--seconds S] [--spaces N] [--rate EDITS_PER_S] [--seed N] [--threads N] [--soak] \
                         [--server PATH] [--data FOLDER_OR_URL] [--serve 'ARGUMENTS OF driftline serve'] [--json FILE]";

pub struct Options {
    pub clients: usize,
    /// How long edits are made.
    pub seconds: u64,
    pub spaces: usize,
    /// Edits a second of each client.
    pub rate: f64,
    pub seed: u64,
    pub threads: usize,
    /// Watches what must not grow.
    pub soak: bool,
    /// The server's binary.
    pub server: PathBuf,
    /// A folder, or the URL of a PostgreSQL database; a folder of its own without it.
    pub data: Option<String>,
    /// Further arguments of `driftline serve`.
    pub serve: Vec<String>,
    pub json: Option<PathBuf>,
}

impl Options {
    pub fn read() -> Result<Options, String> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let (mut clients, mut seconds, mut rate, mut seed, mut spaces) = (200_usize, 30, 0.5, 1, None);
        let (mut threads, mut soak, mut server) = (threads, false, beside_this()?);
        let (mut data, mut serve, mut json) = (None, Vec::new(), None);
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} takes a value"));
            match arg.as_str() {
                "--clients" => clients = number(&value()?)?,
                "--seconds" => seconds = number(&value()?)?,
                "--spaces" => spaces = Some(number(&value()?)?),
                "--rate" => rate = number(&value()?)?,
                "--seed" => seed = number(&value()?)?,
                "--threads" => threads = number(&value()?)?,
                "--soak" => soak = true,
                "--server" => server = value()?.into(),
                "--data" => data = Some(value()?),
                "--serve" => serve = value()?.split_whitespace().map(str::to_string).collect(),
                "--json" => json = Some(value()?.into()),
                _ => return Err(format!("{arg} is not an option; {USAGE}")),
            }
        }
        let spaces = spaces.unwrap_or_else(|| clients.div_ceil(CLIENTS_PER_SPACE));
        let options = Options { clients, seconds, spaces, rate, seed, threads, soak, server, data, serve, json };
        options.refuse_impossible()?;
        Ok(options)
    }

    fn refuse_impossible(&self) -> Result<(), String> {
        if !(1..=MOST_CLIENTS).contains(&self.clients) {
            return Err(format!("--clients is from 1 to {MOST_CLIENTS}"));
        }
        if !(1..=self.clients).contains(&self.spaces) {
            return Err("--spaces is at least 1, and each space has a client".to_string());
        }
        if !(self.rate.is_finite() && self.rate > 0.0 && self.seconds > 0 && self.threads > 0) {
            return Err("--rate, --seconds and --threads are above 0".to_string());
        }
        Ok(())
    }

    pub fn is_postgres(&self) -> bool {
        self.data.as_ref().is_some_and(|data| data.starts_with("postgres://") || data.starts_with("postgresql://"))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

/// The server's binary lies beside this one.
fn beside_this() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program does not know its path: {error}"))?;
    Ok(own.with_file_name("driftline"))
}
