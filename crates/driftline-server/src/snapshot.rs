//! A first load: all rows of a space at one revision, streamed.

use crate::db::DbError;
use crate::error::ApiError;
use crate::load::{read_digest, space_or_new};
use crate::quota::Seat;
use crate::reap;
use crate::router::App;
use crate::store::Store;
use crate::tables::TableLayout;
use axum::body::Body;
use bytes::Bytes;
use driftline_core::digest::Digest;
use driftline_core::schema::Schema;
use driftline_core::value::{Row, RowKey, Value};
use driftline_core::wire::{SNAPSHOT_END, write_rows, write_snapshot_head};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
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
pub async fn stream(app: &App, space: String, seat: Seat) -> Result<Body, ApiError> {
    let (lines, mut received) = mpsc::channel(LINES_AHEAD);
    let (app, runtime) = (app.clone(), Handle::current());
    tokio::spawn(async move {
        let sink = Sink { lines, runtime };
        let read = app.snapshots.run(move |store| read_all(store, &space, sink)).await;
        drop(seat);
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
    // Compressing asks once more at the end.
    Ok(Body::from_stream(rest.fuse()))
}

pub enum Ended {
    /// Nobody takes what is read.
    Gone,
    Failed(DbError),
}

impl From<DbError> for Ended {
    fn from(error: DbError) -> Ended {
        Ended::Failed(error)
    }
}

struct Sink {
    lines: Lines,
    runtime: Handle,
}

/// How long all of a first load may take: it holds a connection, and an old state of the database.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(300);

impl Sink {
    fn send(&self, line: String, began: Instant) -> Result<(), Ended> {
        let patience = STALL.min(LOAD_TIMEOUT.saturating_sub(began.elapsed()));
        let sent = self.runtime.block_on(timeout(patience, self.lines.send(Ok(Bytes::from(line)))));
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(Ended::Gone) }
    }
}

/// A row as it is to be seen while others are dying: not at all where it is one of them, and without references to them.
/// What is required is never null: no client could read the row, and with it the space.
pub fn without_hidden(schema: &Schema, (key, mut row): (RowKey, Row), hidden: &BTreeSet<RowKey>) -> Option<(RowKey, Row)> {
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

fn read_all(store: &Store, space: &str, sink: Sink) -> Result<(), Ended> {
    // Whoever waited for a connection may have gone.
    if sink.lines.is_closed() {
        return Err(Ended::Gone);
    }
    let began = Instant::now();
    store.db.reading(|| read_at_once(store, space, &mut |line| sink.send(line, began)))?;
    sink.send(SNAPSHOT_END.to_string(), began)
}

/// The tables whose rows leave the server, parents first.
pub fn shown(store: &Store) -> Vec<&TableLayout> {
    let leaves = |table: &&u16| !store.schema.tables[**table as usize].server_only;
    store.layout.parents_first.iter().filter(leaves).map(|table| store.layout.table(*table)).collect()
}

/// Reads all lines but the last, in a transaction of the caller's.
pub fn read_at_once(store: &Store, space: &str, send: &mut dyn FnMut(String) -> Result<(), Ended>) -> Result<(), Ended> {
    let (number, state) = space_or_new(store, space)?;
    let tables = shown(store);
    let hidden = reap::going(store, number)?;
    let (mut count, mut digest) = (0, Digest::default());
    if hidden.is_empty() {
        for table in &tables {
            let sql = format!("SELECT count(*) FROM \"{}\" WHERE space = ?1", table.name);
            count += store.db.one(&sql, &[number.into()], |row| row.number::<usize>(0))?;
        }
        digest = if number == 0 { digest } else { read_digest(store, number)? };
    } else {
        // What is dying still counts in the digest of the space.
        for table in &tables {
            store.db.each(&table.select, &[number.into()], |row| {
                if let Some((key, row)) = without_hidden(&store.schema, table.read(&store.schema, row)?, &hidden) {
                    digest.add(&store.schema, key, &row);
                    count += 1;
                }
                Ok::<_, DbError>(())
            })?;
        }
    }
    send(write_snapshot_head(&store.schema, state.rev, digest, count))?;
    for table in &tables {
        let mut chunk: Vec<(RowKey, Row)> = Vec::with_capacity(LINE_ROWS);
        let mut send_chunk = |chunk: &mut Vec<(RowKey, Row)>| {
            let mut line = String::new();
            write_rows(&store.schema, table.index, chunk.iter().map(|(key, row)| (key.id, row)), &mut line);
            chunk.clear();
            send(line)
        };
        store.db.each(&table.select, &[number.into()], |row| {
            chunk.extend(without_hidden(&store.schema, table.read(&store.schema, row)?, &hidden));
            if chunk.len() == LINE_ROWS { send_chunk(&mut chunk) } else { Ok(()) }
        })?;
        if !chunk.is_empty() {
            send_chunk(&mut chunk)?;
        }
    }
    Ok(())
}
