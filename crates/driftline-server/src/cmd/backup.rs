use super::places::Data;
use clap::Args;
use driftline_server::backup;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct Backup {
    /// The directory of the database.
    #[arg(long, env = "DRIFTLINE_DATA", hide_env_values = true)]
    data: Data,
    /// The file to write. It must not be there yet, and its directory must.
    #[arg(long)]
    to: PathBuf,
}

impl Backup {
    /// Exit 0: the file is there, whole and on disk; 2: it is not.
    pub fn run(self) -> Result<ExitCode, String> {
        let report = backup::backup(&self.data.place()?, &self.to, |step| eprintln!("{step}"))?;
        println!("wrote {}: {} spaces, {} bytes", self.to.display(), report.spaces, report.bytes);
        Ok(ExitCode::SUCCESS)
    }
}
