use super::places::Data;
use clap::Args;
use driftline_server::backup;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct Restore {
    /// A file that `driftline backup` has written.
    #[arg(long, required_unless_present = "in_place", conflicts_with = "in_place")]
    from: Option<PathBuf>,
    /// The database stands there already, put back by pg_restore or from a snapshot of its disk: only make it safe for clients
    /// that know more than it does.
    #[arg(long)]
    in_place: bool,
    /// The directory of the database, which must have none yet; with --in-place also a URL `postgres://user@host/name`.
    #[arg(long, env = "DRIFTLINE_DATA", hide_env_values = true)]
    data: Data,
}

impl Restore {
    /// Exit 0: a server may be started on it; 2: nothing was made or changed.
    pub fn run(self) -> Result<ExitCode, String> {
        let report = match &self.from {
            Some(from) => backup::restore(from, &self.data.place()?, |step| eprintln!("{step}"))?,
            None => backup::restore_in_place(&self.data.place()?)?,
        };
        println!("restored {}: {} spaces, which go on from revision {}", self.data.place()?, report.spaces, report.rev);
        Ok(ExitCode::SUCCESS)
    }
}
