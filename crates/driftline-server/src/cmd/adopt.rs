use super::places::Places;
use clap::Args;
use driftline_server::{check, migrate};
use std::process::ExitCode;

#[derive(Args)]
pub struct Adopt {
    #[command(flatten)]
    places: Places,
    /// The space whose rows somebody has changed.
    #[arg(long)]
    space: String,
}

impl Adopt {
    pub fn run(self) -> Result<ExitCode, String> {
        let (schema, data) = (self.places.schema()?, self.places.data.place()?);
        migrate::require_current(&schema, &self.places.migrations, &data)?;
        let rev = check::adopt(&schema, &data, &self.space)?;
        println!("the rows of {} are taken as they are, at revision {rev}; its clients load it anew", self.space);
        Ok(ExitCode::SUCCESS)
    }
}
