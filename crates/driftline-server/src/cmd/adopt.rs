use super::data::Data;
use clap::Args;
use driftline_core::schema::Schema;
use driftline_server::{check, migrate};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct Adopt {
    #[arg(long)]
    schema: PathBuf,
    #[arg(long)]
    migrations: PathBuf,
    /// The directory of the database, or a URL `postgres://user@host/name`. A URL with a password is better left to the environment.
    #[arg(long, env = "DRIFTLINE_DATA", hide_env_values = true)]
    data: Data,
    /// The space whose rows somebody has changed.
    #[arg(long)]
    space: String,
}

impl Adopt {
    pub fn run(self) -> Result<ExitCode, String> {
        let text = std::fs::read_to_string(&self.schema).map_err(|e| format!("cannot read {}: {e}", self.schema.display()))?;
        let schema = Schema::parse(&text).map_err(|e| format!("{}: {e}", self.schema.display()))?;
        migrate::require_current(&schema, &self.migrations, &self.data.place()?)?;
        let rev = check::adopt(&schema, &self.data.place()?, &self.space)?;
        println!("the rows of {} are taken as they are, at revision {rev}; its clients load it anew", self.space);
        Ok(ExitCode::SUCCESS)
    }
}
