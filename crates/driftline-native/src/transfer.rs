//! Files of unsynced work, of the same form as those that browsers write: each takes the other's.

use crate::error::Error;
use crate::options::Home;
use crate::random::system_ms;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const KIND: &str = "unsynced";
const FORMAT: u64 = 1;

/// What has been exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The file: JSON, to be kept as it is.
    pub text: String,
    pub transactions: usize,
    /// So many more could not be put in, as this device is just writing them: export again.
    pub left_out: usize,
}

/// What a file brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    pub imported: usize,
    /// Waits here already.
    pub known: usize,
    /// Could not be read on the device that exported it, and cannot be here.
    pub unreadable: usize,
}

/// What a file tells. The members stand in this order: their bytes are hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub app: String,
    pub user: String,
    pub space: String,
    pub records: Vec<String>,
    /// The latest version of the schema among the records.
    pub schema: u64,
    pub exported_at: String,
}

#[derive(Serialize)]
struct File<'a> {
    driftline: &'a str,
    format: u64,
    sha256: String,
    content: &'a Content,
}

pub(crate) fn write_file(home: &Home, records: Vec<String>) -> Result<String, Error> {
    let Home { app, user, space } = home.clone();
    let schema = records.iter().map(|record| version_of(record)).max().unwrap_or(0);
    let content = Content { app, user, space, records, schema, exported_at: iso(system_ms()) };
    let file = File { driftline: KIND, format: FORMAT, sha256: sha256(&content)?, content: &content };
    serde_json::to_string(&file).map_err(|error| invalid(&error.to_string()))
}

/// Reads a file; one that is damaged is refused as a whole.
pub(crate) fn read_file(text: &str) -> Result<Content, Error> {
    let mut file: Value = serde_json::from_str(text).unwrap_or_default();
    if file["driftline"] != json!(KIND) {
        return Err(invalid("this is no file of unsynced work"));
    }
    if file["format"] != json!(FORMAT) {
        return Err(invalid("the file is of another version of this app: use that one"));
    }
    let damaged = || invalid("the file is damaged: nothing was taken from it");
    let content: Content = serde_json::from_value(file["content"].take()).map_err(|_| damaged())?;
    if file["sha256"] != json!(sha256(&content)?) {
        return Err(damaged());
    }
    Ok(content)
}

/// Of a record's body, which stands on its second line.
fn version_of(record: &str) -> u64 {
    let body = record.split_once('\n').map_or("", |parts| parts.1);
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    body["schema"].as_u64().unwrap_or(0)
}

/// Of the content and not of the text: whoever opens the file may indent it.
fn sha256(content: &Content) -> Result<String, Error> {
    let text = serde_json::to_string(content).map_err(|error| invalid(&error.to_string()))?;
    Ok(Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn invalid(detail: &str) -> Error {
    Error::new("invalid_file", detail)
}

/// As `2026-01-02T03:04:05.678Z`.
fn iso(ms: u64) -> String {
    let (days, ms_of_day) = (ms / 86_400_000, ms % 86_400_000);
    // Years that begin in March end with the day that leaps; 719,468 days lie between 1 March of the year 0 and 1970.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (seconds, ms) = (ms_of_day / 1_000, ms_of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Home {
        Home { app: "notes".to_string(), user: "ada".to_string(), space: "a".to_string() }
    }

    #[test]
    fn times_are_written_as_browsers_write_them() {
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso(1_767_323_045_678), "2026-01-02T03:04:05.678Z");
    }

    #[test]
    fn q9_a_file_is_read_as_it_was_written_and_refused_where_it_was_not() {
        let records = vec!["{\"made\":1}\n{\"schema\":3,\"edits\":[]}".to_string(), "\u{1}damaged \"ß\u{2028}".to_string()];
        let text = write_file(&home(), records.clone()).unwrap();
        let content = read_file(&text).unwrap();
        assert_eq!((content.records, content.schema), (records, 3));
        // Members may change places, and there may be spaces.
        let indented = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&text).unwrap()).unwrap();
        assert!(read_file(&indented).is_ok());
        for wrong in [text.replace("damaged", "changed"), text.replace("\"format\":1", "\"format\":2"), "{}".to_string(), String::new()] {
            assert_eq!(read_file(&wrong).unwrap_err().code, "invalid_file", "{wrong}");
        }
    }

    #[test]
    fn q9_a_file_of_a_browser_is_read() {
        let content = r#"{"app":"notes","user":"ada","space":"a","records":["x\n{\"schema\":2}"],"schema":2,"exported_at":"2026-01-02T03:04:05.678Z"}"#;
        let digest: String = Sha256::digest(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let file = format!(r#"{{"driftline":"unsynced","format":1,"sha256":"{digest}","content":{content}}}"#);
        assert_eq!(read_file(&file).map(|content| content.records), Ok(vec!["x\n{\"schema\":2}".to_string()]));
    }
}
