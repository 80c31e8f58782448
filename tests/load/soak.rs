//! What must not grow in a long run: the server's memory, and what it keeps for dedupe.

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What has grown by less than this share of itself, over the second half of a run, is flat.
const FLAT_SHARE: f64 = 0.05;
/// The server's checkpoints keep a reader waiting for moments.
const BUSY: Duration = Duration::from_secs(2);

pub struct Point {
    pub minutes: f64,
    pub edits: u64,
    pub rss_kib: u64,
    /// Of the database and its log.
    pub bytes: Option<u64>,
    pub marks: Option<u64>,
    pub clients: Option<u64>,
}

/// The database from outside, where it is SQLite's.
pub struct Soak {
    file: Option<PathBuf>,
    database: Option<Connection>,
    pub points: Vec<Point>,
}

impl Soak {
    pub fn new(file: Option<&Path>) -> Soak {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = file.and_then(|file| Connection::open_with_flags(file, flags).ok());
        if let Some(database) = &database {
            let _ = database.busy_timeout(BUSY);
        }
        Soak { file: file.map(Path::to_path_buf), database, points: Vec::new() }
    }

    /// Takes a point, and says it in a line.
    pub fn look(&mut self, seconds: f64, edits: u64, rss_kib: u64) -> String {
        let (marks, clients) = (self.count("_mark"), self.count("_client"));
        let bytes = self.file.as_deref().map(|file| bytes(file) + bytes(&with_suffix(file, "-wal")));
        let told = |value: Option<u64>| value.map_or("-".to_string(), |value| value.to_string());
        let (memory, file) = (rss_kib as f64 / 1024.0, bytes.map(|bytes| bytes / 1024 / 1024));
        let line = format!(
            "{seconds:>6.0} s: {edits} edits, server {memory:.1} MiB, database {} MiB, {} marks, {} clients",
            told(file),
            told(marks),
            told(clients)
        );
        self.points.push(Point { minutes: seconds / 60.0, edits, rss_kib, bytes, marks, clients });
        line
    }

    fn count(&self, table: &str) -> Option<u64> {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let count = self.database.as_ref()?.query_row(&format!("SELECT count(*) FROM {table}"), [], count);
        count.ok().and_then(|count| u64::try_from(count).ok())
    }

    pub fn memory(&self) -> Option<Trend> {
        trend(&self.points.iter().map(|point| (point.minutes, point.rss_kib as f64)).collect::<Vec<_>>())
    }

    pub fn marks(&self) -> Option<Trend> {
        trend(&self.points.iter().filter_map(|point| Some((point.minutes, point.marks? as f64))).collect::<Vec<_>>())
    }

    pub fn to_json(&self) -> Json {
        let point = |point: &Point| {
            let Point { minutes, edits, rss_kib, bytes, marks, clients } = point;
            json!({"minutes": minutes, "edits": edits, "rss_kib": rss_kib, "bytes": bytes, "marks": marks, "clients": clients})
        };
        let trend = |trend: Option<Trend>| trend.map(|trend| json!({"per_minute": trend.per_minute, "is_flat": trend.is_flat}));
        let points: Vec<Json> = self.points.iter().map(point).collect();
        json!({"points": points, "memory_kib": trend(self.memory()), "marks": trend(self.marks())})
    }
}

fn bytes(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    pub per_minute: f64,
    pub is_flat: bool,
}

/// The line of least squares through the second half of points (minutes, value); none through fewer than three.
fn trend(points: &[(f64, f64)]) -> Option<Trend> {
    let half = &points[points.len() / 2..];
    let count = half.len() as f64;
    if half.len() < 3 {
        return None;
    }
    let mean = |value: fn(&(f64, f64)) -> f64| half.iter().map(value).sum::<f64>() / count;
    let (at, height) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = half.iter().map(|point| (point.0 - at).powi(2)).sum();
    let common: f64 = half.iter().map(|point| (point.0 - at) * (point.1 - height)).sum();
    let per_minute = if spread > 0.0 { common / spread } else { 0.0 };
    let minutes = half[half.len() - 1].0 - half[0].0;
    Some(Trend { per_minute, is_flat: (per_minute * minutes).abs() <= height * FLAT_SHARE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_decides_what_is_flat() {
        let rising: Vec<(f64, f64)> = (0..20_u8).map(|i| (f64::from(i), 100.0 + 3.0 * f64::from(i))).collect();
        let found = trend(&rising).unwrap();
        assert!((found.per_minute - 3.0).abs() < 1e-9 && !found.is_flat, "{found:?}");
        let settled: Vec<(f64, f64)> = (0..20_u8).map(|i| (f64::from(i), 100.0 + f64::from(i.min(10)) + f64::from(i % 2))).collect();
        assert!(trend(&settled).unwrap().is_flat);
        assert_eq!(trend(&rising[..4]), None);
        assert_eq!(trend(&[(0.0, 0.0); 8]), Some(Trend { per_minute: 0.0, is_flat: true }));
    }
}
