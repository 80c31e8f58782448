use super::places::Data;
use clap::Args;
use driftline_server::effects;
use std::process::ExitCode;

#[derive(Args)]
pub struct Effects {
    /// The directory of the database, or a URL `postgres://user@host/name`. A URL with a password is better left to the environment.
    #[arg(long, env = "DRIFTLINE_DATA", hide_env_values = true)]
    data: Data,
    /// Has the webhook called again for those that were given up.
    #[arg(long)]
    retry: bool,
}

impl Effects {
    pub fn run(self) -> Result<ExitCode, String> {
        if self.retry {
            println!("{} effects are tried again", effects::retry_parked(&self.data.place()?)?);
            return Ok(ExitCode::SUCCESS);
        }
        let parked = effects::parked(&self.data.place()?)?;
        parked.iter().for_each(|line| println!("{line}"));
        println!("{} effects were given up", parked.len());
        Ok(if parked.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
