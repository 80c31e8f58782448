use super::places::Places;
use clap::Args;
use driftline_server::{check, migrate};
use std::process::ExitCode;

#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    places: Places,
    /// One space; all of them without it.
    #[arg(long)]
    space: Option<String>,
}

impl Check {
    /// Exit 0: nothing is wrong; 1: something is, and stands on standard output; 2: it could not be checked.
    pub fn run(self) -> Result<ExitCode, String> {
        let (schema, data) = (self.places.schema()?, self.places.data.place()?);
        migrate::require_current(&schema, &self.places.migrations, &data)?;
        let began = |space: &str| eprintln!("checking {space}");
        let report = check::check(&schema, &data, self.space.as_deref(), began)?;
        for finding in &report.findings {
            println!("{}: {}: {}", finding.space, finding.kind, finding.text);
        }
        let (spaces, rows) = (report.spaces, report.rows);
        let blobs = if report.blobs > 0 { format!(" and {} blobs", report.blobs) } else { String::new() };
        match report.findings.len() {
            0 => println!("{spaces} spaces with {rows} rows{blobs}: nothing is wrong"),
            count => println!("{spaces} spaces with {rows} rows{blobs}: {count} findings"),
        }
        Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
