//! Notes on the command line. They are on this disk at once, and on the server when there is one.
//!
//! ```sh
//! cargo run -p driftline-native --example notes -- add "Buy milk"
//! cargo run -p driftline-native --example notes -- --offline add "Call Ada"
//! cargo run -p driftline-native --example notes -- list
//! cargo run -p driftline-native --example notes -- watch
//! ```
//!
//! A server for it is in this crate's README. `--file`, `--space` and `--url` choose others than `notes.db`, `notes` and
//! `http://127.0.0.1:4077`; the environment's `DRIFTLINE_TOKEN` is a credential.

use driftline_native::{Changed, Client, Edits, Error, Event, Options, Row, State, Token, new_id};
use serde_json::json;
use std::time::Duration;

const SCHEMA: &str = include_str!("notes.json");
const USAGE: &str = "notes [--offline] [--file F] [--space S] [--url U] add TEXT | done ID | remove ID | list | watch";
/// So long a command waits for the server. What it has not taken by then waits on the disk.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (options, words) = read_arguments()?;
    let is_online = options.online;
    let client = Client::open(options)?;
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["add", text] => edit(&client, Edits::new().create("note", &new_id(), json!({"text": text}))).await?,
        ["done", id] => edit(&client, Edits::new().update("note", id, json!({"done": true}))).await?,
        ["remove", id] => edit(&client, Edits::new().delete("note", id)).await?,
        ["list"] => list(&client).await?,
        ["watch"] => watch(&client).await?,
        _ => return Err(Error::new("invalid", USAGE)),
    }
    if is_online && tokio::time::timeout(PATIENCE, client.accepted()).await.is_err() {
        println!("The server has not answered yet.");
    }
    println!("{}", describe(&client));
    client.close().await
}

fn read_arguments() -> Result<(Options, Vec<String>), Error> {
    let mut options = Options::new("notes.db", SCHEMA, "notes", "http://127.0.0.1:4077");
    options.token = std::env::var("DRIFTLINE_TOKEN").ok().map(Token::fixed);
    let mut words = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| Error::new("invalid", USAGE));
        match argument.as_str() {
            "--offline" => options.online = false,
            "--file" => options.path = value()?.into(),
            "--space" => options.space = value()?,
            "--url" => options.url = value()?,
            _ => words.push(argument),
        }
    }
    Ok((options, words))
}

/// Comes back when the edit is on the disk.
async fn edit(client: &Client, edits: Edits) -> Result<(), Error> {
    client.transact(edits).await?.saved().await
}

async fn list(client: &Client) -> Result<(), Error> {
    for row in client.rows("note").await? {
        println!("{}", line(&row));
    }
    Ok(())
}

/// Until it is interrupted.
async fn watch(client: &Client) -> Result<(), Error> {
    list(client).await?;
    let _heard = client.subscribe(|event| match event {
        Event::Rows(rows) => rows.iter().for_each(|Changed { id, row, .. }| match row {
            Some(row) => println!("{}", line(row)),
            None => println!("{id} is gone"),
        }),
        Event::Parked { key, error } => println!("{key} is refused: {error}"),
        _ => {}
    });
    let mut statuses = client.statuses();
    let mut shown = None;
    loop {
        let state = statuses.borrow_and_update().state;
        if shown.replace(state) != Some(state) {
            println!("-- {}", describe(client));
        }
        if statuses.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn line(row: &Row) -> String {
    let mark = if row.field("done") == true { 'x' } else { ' ' };
    format!("{} [{mark}] {}", row.id, row.field("text").as_str().unwrap_or_default())
}

fn describe(client: &Client) -> String {
    let status = client.status();
    match status.state {
        State::Saved => "The server has everything.".to_string(),
        State::Saving => format!("{} edits are on their way.", status.queued + status.in_flight),
        State::Offline => format!("{} edits wait on this disk for the server.", status.queued + status.in_flight),
        State::NotSaving => format!("Not saving: {}.", status.reason.unwrap_or_default()),
    }
}
