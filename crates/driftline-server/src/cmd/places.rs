use clap::Args;
use driftline_core::schema::Schema;
use driftline_server::Place;
use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a server finds its things: its schema, its migrations and its database.
#[derive(Args)]
pub struct Places {
    /// The app's schema.json.
    #[arg(long)]
    pub schema: PathBuf,
    /// The directory of its migrations.
    #[arg(long)]
    pub migrations: PathBuf,
    /// The directory of the database, or a URL `postgres://user@host/name`. A URL with a password is better left to the environment.
    #[arg(long, env = "DRIFTLINE_DATA", hide_env_values = true)]
    pub data: Data,
}

impl Places {
    /// The text of the schema.
    pub fn text(&self) -> Result<String, String> {
        std::fs::read_to_string(&self.schema).map_err(|e| format!("cannot read {}: {e}", self.schema.display()))
    }

    pub fn schema(&self) -> Result<Schema, String> {
        Schema::parse(&self.text()?).map_err(|e| format!("{}: {e}", self.schema.display()))
    }
}

/// Where a database is, as it was given. It is read later: an error of the command line would print it, with the password in it.
#[derive(Clone)]
pub struct Data(String);

impl FromStr for Data {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Data, Infallible> {
        Ok(Data(text.to_string()))
    }
}

impl Data {
    pub fn place(&self) -> Result<Place, String> {
        self.0.parse()
    }
}
