//! A first load: all rows of a space at one revision, streamed.

use crate::error::ApiError;
use crate::load::{read_digest, read_space};
use crate::reap;
use crate::router::App;
use crate::store::Store;
use axum::body::Body;
use bytes::Bytes;
use driftline_core::digest::Digest;
use driftline_core::load::SpaceState;
use driftline_core::schema::Schema;
use driftline_core::value::{Row, RowKey, Value};
use driftline_core::wire::{SNAPSHOT_END, write_rows, write_snapshot_head};
use futures_util::stream::unfold;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Rows of one line.
const LINE_ROWS: usize = 500;
/// Lines read ahead of the reader.
const LINES_AHEAD: usize = 2;
/// A reader that takes none for so long loses its place: it holds a connection and an old state of the database.
const STALL: Duration = Duration::from_secs(30);

/// How long a first load may wait for others to end.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

type Lines = mpsc::Sender<Result<Bytes, std::io::Error>>;

/// Starts the reading; its body ends without the last line where the reading fails.
pub async fn stream(app: &App, space: String) -> Result<Body, ApiError> {
    let (lines, mut received) = mpsc::channel(LINES_AHEAD);
    let (app, runtime) = (app.clone(), Handle::current());
    tokio::spawn(async move {
        let read = app.snapshots.run(move |store| read_all(store, &space, &Sink { lines, runtime })).await;
        match read {
            Some(Err(Ended::Failed(error))) => tracing::error!(%error, "a snapshot broke off"),
            Some(Err(Ended::Gone)) => tracing::debug!("a snapshot's reader went away or stalled"),
            Some(Ok(())) | None => {}
        }
    });
    // The first line is waited for, so that a failure at the beginning is an answer and not a broken stream.
    let first = timeout(QUEUE_TIMEOUT, received.recv()).await;
    let first = first.map_err(|_| ApiError::unavailable("too many first loads at once; try again"))?.ok_or_else(ApiError::internal)?;
    let rest = unfold((Some(first), received), |(first, mut received)| async move {
        let line = match first {
            Some(first) => Some(first),
            None => received.recv().await,
        };
        line.map(|line| (line, (None, received)))
    });
    Ok(Body::from_stream(rest))
}

enum Ended {
    Gone,
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Ended {
    fn from(error: rusqlite::Error) -> Ended {
        Ended::Failed(error)
    }
}

struct Sink {
    lines: Lines,
    runtime: Handle,
}

impl Sink {
    fn send(&self, line: String) -> Result<(), Ended> {
        let sent = self.runtime.block_on(timeout(STALL, self.lines.send(Ok(Bytes::from(line)))));
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(Ended::Gone) }
    }
}

/// A row as it is to be seen while others are dying: not at all where it is one of them, and without references to them.
/// What is required is never null: no client could read the row, and with it the space.
fn without_hidden(schema: &Schema, (key, mut row): (RowKey, Row), hidden: &BTreeSet<RowKey>) -> Option<(RowKey, Row)> {
    if hidden.contains(&key) {
        return None;
    }
    let columns = &schema.tables[key.table as usize].columns;
    for (value, column) in row.values.iter_mut().zip(columns) {
        if column.nullable && matches!(value, Value::Ref(target) if hidden.contains(target)) {
            *value = Value::Null;
        }
    }
    Some((key, row))
}

fn read_all(store: &Store, space: &str, sink: &Sink) -> Result<(), Ended> {
    let transaction = store.conn.unchecked_transaction()?;
    let (number, state) = read_space(store, space)?.unwrap_or((0, SpaceState::default()));
    let shown = |table: &u16| !store.schema.tables[*table as usize].server_only;
    let hidden = reap::hidden(store, number)?;
    let digest = if number == 0 { Digest::default() } else { read_digest(store, number)? };
    let (mut count, mut digest) = (0, digest);
    for &table in store.layout.parents_first.iter().filter(|table| shown(table)) {
        let name = &store.layout.table(table).name;
        let sql = format!("SELECT count(*) FROM \"{name}\" WHERE space = ?1");
        count += store.conn.prepare_cached(&sql)?.query_row([number], |row| row.get::<_, i64>(0))? as usize;
    }
    if !hidden.is_empty() {
        // What is dying still counts in the digest of the space.
        (count, digest) = (0, Digest::default());
        for &table in store.layout.parents_first.iter().filter(|table| shown(table)) {
            let layout = store.layout.table(table);
            let mut statement = store.conn.prepare_cached(&layout.select)?;
            let mut rows = statement.query([number])?;
            while let Some(row) = rows.next()? {
                let row = layout.read(&store.schema, row)?;
                if let Some((key, row)) = without_hidden(&store.schema, row, &hidden) {
                    digest.add(&store.schema, key, &row);
                    count += 1;
                }
            }
        }
    }
    sink.send(write_snapshot_head(&store.schema, state.rev, digest, count))?;
    for &table in store.layout.parents_first.iter().filter(|table| shown(table)) {
        let layout = store.layout.table(table);
        let mut statement = store.conn.prepare_cached(&layout.select)?;
        let mut rows = statement.query([number])?;
        let mut chunk: Vec<(RowKey, Row)> = Vec::with_capacity(LINE_ROWS);
        loop {
            let row = rows.next()?.map(|row| layout.read(&store.schema, row)).transpose()?;
            let is_last = row.is_none();
            chunk.extend(row.and_then(|row| without_hidden(&store.schema, row, &hidden)));
            if !chunk.is_empty() && (is_last || chunk.len() == LINE_ROWS) {
                let mut line = String::new();
                write_rows(&store.schema, table, chunk.iter().map(|(key, row)| (key.id, row)), &mut line);
                chunk.clear();
                sink.send(line)?;
            }
            if is_last {
                break;
            }
        }
    }
    transaction.commit()?;
    sink.send(SNAPSHOT_END.to_string())
}
