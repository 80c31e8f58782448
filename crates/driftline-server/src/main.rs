//! The `driftline` command.

mod cmd;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Parser)]
#[command(name = "driftline", version, about = "The Driftline sync server")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve spaces, and an app's files where --static names them.
    Serve(Box<cmd::serve::Serve>),
    /// Write, apply and list the changes of tables.
    Migrate(cmd::migrate::Migrate),
    /// Look whether a database keeps its promises; changes nothing.
    Check(cmd::check::Check),
    /// Take the rows of a space as they are, after they were changed behind the server's back.
    Adopt(cmd::adopt::Adopt),
    /// List what the webhook has not taken, or have it tried again.
    #[cfg(feature = "webhooks")]
    Effects(cmd::effects::Effects),
    /// Copy a database into a file, beside a server at work.
    Backup(cmd::backup::Backup),
    /// Make a database from a backup, safe for clients that know more than it does.
    Restore(cmd::restore::Restore),
    /// Make a credential for development.
    Token(cmd::token::Token),
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt::layer().with_ansi(is_terminal).with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry().with(filter).with(log);
    #[cfg(feature = "telemetry")]
    let (_spans, layer) = match driftline_server::telemetry::layer() {
        Ok(spans) => spans.unzip(),
        Err(error) => {
            eprintln!("driftline: {error}");
            return ExitCode::from(2);
        }
    };
    #[cfg(feature = "telemetry")]
    let subscriber = subscriber.with(layer);
    subscriber.init();
    let result = match Arguments::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Migrate(migrate) => migrate.run(),
        Command::Check(check) => check.run(),
        Command::Adopt(adopt) => adopt.run(),
        #[cfg(feature = "webhooks")]
        Command::Effects(effects) => effects.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Token(token) => token.run(),
    };
    result.unwrap_or_else(|message| {
        eprintln!("driftline: {message}");
        ExitCode::from(2)
    })
}
