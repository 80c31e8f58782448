use super::data::Data;
use clap::Args;
use driftline_core::schema::Schema;
use driftline_server::{check, migrate};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct Check {
    #[arg(long)]
    schema: PathBuf,
    #[arg(long)]
    migrations: PathBuf,
    /// The directory of the database, or a URL `postgres://user@host/name`. A URL with a password is better left to the environment.
    #[arg(long, env = "DRIFTLINE_DATA", hide_env_values = true)]
    data: Data,
    /// One space; all of them without it.
    #[arg(long)]
    space: Option<String>,
}

impl Check {
    /// Exit 0: nothing is wrong; 1: something is, and stands on standard output; 2: it could not be checked.
    pub fn run(self) -> Result<ExitCode, String> {
        let text = std::fs::read_to_string(&self.schema).map_err(|e| format!("cannot read {}: {e}", self.schema.display()))?;
        let schema = Schema::parse(&text).map_err(|e| format!("{}: {e}", self.schema.display()))?;
        migrate::require_current(&schema, &self.migrations, &self.data.place()?)?;
        let began = |space: &str| eprintln!("checking {space}");
        let report = check::check(&schema, &self.data.place()?, self.space.as_deref(), began)?;
        for finding in &report.findings {
            println!("{}: {}: {}", finding.space, finding.kind, finding.text);
        }
        let (spaces, rows) = (report.spaces, report.rows);
        match report.findings.len() {
            0 => println!("{spaces} spaces with {rows} rows: nothing is wrong"),
            count => println!("{spaces} spaces with {rows} rows: {count} findings"),
        }
        Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
