//! Files of unsynced work: what leaves, and what comes.

use super::Actor;
use crate::client::Answer;
use crate::error::Error;
use crate::keeper::{Reading, Work};
use crate::storage::{Key, StorageError};
use crate::transfer::{Content, Exported, Imported, read_file, write_file};
use driftline_core::engine::parse_key;
use serde::Deserialize;

/// How long an export waits for the disk. What that cannot take is in the file all the same.
const EXPORT_MS: u64 = 2_000;

/// A file that is being written to the disk.
pub struct Import {
    number: u64,
    /// What the engine is told once it is there.
    message: String,
    counts: Imported,
    answer: Answer<Imported>,
}

/// What the engine makes of a file's records.
#[derive(Deserialize)]
struct Admitted {
    puts: Vec<(String, String)>,
    message: String,
    known: usize,
    unreadable: usize,
}

#[derive(Deserialize)]
struct Waiting {
    records: Vec<String>,
    left_out: usize,
}

impl Actor {
    pub(crate) fn export(&mut self, answer: Answer<Exported>) {
        self.when_saved(EXPORT_MS, move |actor| drop(answer.send(actor.exported())));
    }

    fn exported(&mut self) -> Result<Exported, Error> {
        let text = self.tell(|engine, now| engine.export_unsynced(now));
        let Waiting { records, left_out } = serde_json::from_str(&text).map_err(unlike)?;
        let transactions = records.len();
        Ok(Exported { text: write_file(&self.home, records)?, transactions, left_out })
    }

    pub(crate) fn import(&mut self, text: &str, other_user: bool, answer: Answer<Imported>) {
        match self.admitted(text, other_user) {
            Ok((admitted, puts)) => {
                self.imports_begun += 1;
                let number = self.imports_begun;
                let counts = Imported { imported: puts.len(), known: admitted.known, unreadable: admitted.unreadable };
                self.imports.push(Import { number, message: admitted.message, counts, answer });
                self.keeper.begin(Work::Import { number, puts });
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    fn admitted(&mut self, text: &str, other_user: bool) -> Result<(Admitted, Vec<(Key, String)>), Error> {
        if self.is_closing {
            return Err(Error::closed());
        }
        let content = read_file(text)?;
        self.refuse_others(&content, other_user)?;
        let records = serde_json::to_string(&content.records).map_err(unlike)?;
        let admitted = self.engine.admit(&records)?;
        let mut admitted: Admitted = serde_json::from_str(&admitted).map_err(unlike)?;
        let mut puts = Vec::with_capacity(admitted.puts.len());
        for (key, record) in std::mem::take(&mut admitted.puts) {
            puts.extend(parse_key(&key).map(|key| (key, record)));
        }
        Ok((admitted, puts))
    }

    fn refuse_others(&self, content: &Content, other_user: bool) -> Result<(), Error> {
        let home = &self.home;
        let parts = [
            ("wrong_app", "app", &content.app, &home.app, false),
            ("wrong_space", "space", &content.space, &home.space, false),
            ("wrong_user", "user", &content.user, &home.user, other_user),
        ];
        match parts.iter().find(|(_, _, theirs, ours, is_welcome)| theirs != ours && !is_welcome) {
            Some((code, what, theirs, ..)) => {
                Err(Error::new(code, format!("the file is of the {what} `{theirs}`; nothing was taken from it")))
            }
            None => Ok(()),
        }
    }

    /// A file has been written to the disk: the engine is told as another tab would, and then looks itself.
    pub(super) fn imported(&mut self, number: u64, result: Result<(), StorageError>) {
        let Some(at) = self.imports.iter().position(|import| import.number == number) else { return };
        let Import { message, counts, answer, .. } = self.imports.swap_remove(at);
        if let Err(error) = result {
            return drop(answer.send(Err(error.into())));
        }
        self.tell(|engine, now| engine.handle_peer(now, &message));
        self.drain();
        self.keeper.begin(Work::Read(Reading::Imported));
        let _ = answer.send(Ok(counts));
    }
}

/// The engine and this crate are of one version.
fn unlike(error: serde_json::Error) -> Error {
    Error::new("invalid_file", error.to_string())
}
