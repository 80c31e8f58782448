//! `load --clients N --seconds S [--soak]`: how a real server bears N real clients. Exit code 1 where not all is well in the end.
//!
//! The server is the binary, on a database of its own. Each client is the engine of the browser's client, with memory for its disk, over
//! HTTP and a WebSocket of its own on this machine. What one makes is timed until each other client of its space shows it.
//!
//! In reading order: `stages` (what is done one after the other), `server` (the process), `crowd` and `client` (the shell around an engine;
//! `http`, `live`), `person` (what is edited), `board` (who has shown what), `rest` (whether everybody has recovered), `usage` and
//! `soak` (what the server takes), `report`.

mod board;
mod client;
mod clock;
mod crowd;
mod histogram;
mod http;
mod live;
mod options;
mod person;
mod report;
mod rest;
mod server;
mod soak;
mod stages;
mod tally;
mod usage;

use crowd::Crowd;
use options::Options;
use report::Report;
use server::Server;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use usage::Usage;

/// A server that has just started still takes memory by itself.
const START: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let ran = Builder::new_current_thread().enable_all().build().map_err(|error| format!("no runtime: {error}"));
    match ran.and_then(|runtime| runtime.block_on(run(&options))) {
        Ok(report) if report.is_well() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}

/// However this ends, what it has started ends with it.
async fn run(options: &Options) -> Result<Report, String> {
    // Before anything is started that a signal must end.
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    usage::check_open_files(options.clients)?;
    let mut server = Server::start(options)?;
    tokio::time::sleep(START).await;
    let before = Usage::of(server.pid());
    let crowd = Crowd::start(options, &server)?;
    let report = tokio::select! {
        report = stages::run(options, &mut server, &crowd, before) => report?,
        _ = interrupt.recv() => return Err("interrupted".to_string()),
        _ = terminate.recv() => return Err("terminated".to_string()),
    };
    drop(crowd);
    report.print();
    if let Some(path) = &options.json {
        let text = format!("{:#}\n", report.to_json());
        std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(report)
}

fn on(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("no signals: {error}"))
}
