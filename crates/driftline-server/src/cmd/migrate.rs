use super::places::Places;
use clap::{Args, Subcommand};
use driftline_server::Faults;
use driftline_server::migrate::{self, Options, Planning};
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
        /// Plan also what deletes tables and fields, with all that stands in them.
        #[arg(long)]
        allow_drop: bool,
    },
    /// Apply the migrations that the database lacks, each in one transaction.
    Apply {
        #[command(flatten)]
        places: Places,
        /// Stop before a migration that takes away what older servers use.
        #[arg(long)]
        expand_only: bool,
    },
    /// List migrations, and say what differs: the schema from the last of them, the database from all of them. Exit 1 when
    /// something does.
    Status(Places),
}

impl Migrate {
    pub fn run(self) -> Result<ExitCode, String> {
        match self.action {
            Action::Plan { places, name, allow_drop } => {
                let text = places.text()?;
                let paths =
                    migrate::plan(&text, &places.migrations, &name, &Planning { dialect: places.data.place()?.dialect(), allow_drop })?;
                for path in &paths {
                    println!("wrote {}; review it, then run: driftline migrate apply", path.display());
                }
                if paths.is_empty() {
                    println!("nothing to do: the last migration has this schema");
                }
                Ok(ExitCode::SUCCESS)
            }
            Action::Apply { places, expand_only } => {
                let faults = Faults::parse(&std::env::var("DRIFTLINE_FAULT").unwrap_or_default())?;
                for name in migrate::apply_with(&places.migrations, &places.data.place()?, &Options { expand_only, faults })? {
                    println!("applied {name}");
                }
                Ok(ExitCode::SUCCESS)
            }
            Action::Status(places) => {
                let schema = places.schema()?;
                let entries = migrate::status(&places.migrations, &places.data.place()?)?;
                for entry in &entries {
                    println!("{:04} {} {}", entry.number, entry.name, entry.state);
                }
                let differences = migrate::differences(&schema, &places.migrations, &places.data.place()?)?;
                for line in &differences {
                    println!("{line}");
                }
                let is_current = differences.is_empty() && entries.iter().all(|entry| entry.state == migrate::State::Applied);
                Ok(if is_current { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
        }
    }
}
