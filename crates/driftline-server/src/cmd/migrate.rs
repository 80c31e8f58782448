use clap::{Args, Subcommand};
use driftline_core::schema::Schema;
use driftline_server::migrate;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct Migrate {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Write the next migration for review, from what the schema says beyond the last one.
    Plan {
        #[command(flatten)]
        places: Places,
        /// A word or two for the file's name.
        #[arg(long, default_value = "change")]
        name: String,
    },
    /// Apply the migrations that the database lacks, each in one transaction.
    Apply(Places),
    /// List migrations; exit 1 when one is not applied.
    Status(Places),
}

#[derive(Args)]
struct Places {
    #[arg(long)]
    schema: PathBuf,
    #[arg(long)]
    migrations: PathBuf,
    #[arg(long)]
    data: PathBuf,
}

impl Migrate {
    pub fn run(self) -> Result<ExitCode, String> {
        match self.action {
            Action::Plan { places, name } => {
                let text = std::fs::read_to_string(&places.schema).map_err(|e| format!("cannot read {}: {e}", places.schema.display()))?;
                Schema::parse(&text).map_err(|e| e.to_string())?;
                match migrate::plan(&text, &places.migrations, &name)? {
                    Some(path) => println!("wrote {}; review it, then run: driftline migrate apply", path.display()),
                    None => println!("nothing to do: the last migration has this schema"),
                }
                Ok(ExitCode::SUCCESS)
            }
            Action::Apply(places) => {
                for name in migrate::apply(&places.migrations, &places.data)? {
                    println!("applied {name}");
                }
                Ok(ExitCode::SUCCESS)
            }
            Action::Status(places) => {
                let entries = migrate::status(&places.migrations, &places.data)?;
                for entry in &entries {
                    println!("{:04} {} {}", entry.number, entry.name, entry.state);
                }
                let is_current = entries.iter().all(|entry| entry.state == migrate::State::Applied);
                Ok(if is_current { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
        }
    }
}
