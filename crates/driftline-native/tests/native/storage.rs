//! What every storage promises, and what a file does beside.

use driftline_core::engine::record_key;
use driftline_native::storage::{Commit, IMPORTED, Key, OWN, STALE_EPOCH, Save};
use driftline_native::{Home, Memory, Sqlite, Storage};
use std::path::Path;

fn home(space: &str) -> Home {
    Home { app: "notes".to_string(), user: "ada".to_string(), space: space.to_string() }
}

fn record((client, seq): Key) -> String {
    format!("{{\"client\":\"{client:016x}\",\"seq\":{seq}}}\nbody {seq}")
}

fn puts(keys: &[Key]) -> Save {
    Save { puts: keys.iter().map(|key| (*key, record(*key))).collect(), ..Save::default() }
}

fn code<T>(path: &Path, space: &str, opened: impl Fn(&Path, &Home) -> Result<T, driftline_native::storage::StorageError>) -> &'static str {
    opened(path, &home(space)).err().map_or("opened", |error| error.code)
}

fn keeps_slots_apart(storage: &mut dyn Storage) {
    assert_eq!(storage.client(7), Ok(7));
    assert_eq!(storage.client(8), Ok(7), "the first stays");
    storage.save(OWN, Save { client: Some(9), ..puts(&[(7, 1), (7, 2), (9, 1)]) }).unwrap();
    assert_eq!(storage.client(8), Ok(9));
    storage.save(IMPORTED, puts(&[(5, 40)])).unwrap();
    let again = ((7, 2), record((7, 2)) + " again");
    storage.save(OWN, Save { puts: vec![again.clone()], deletes: vec![(7, 1), (7, 9), (9, 1)], client: None }).unwrap();
    // A lower number does not take back a higher.
    storage.save(OWN, Save { deletes: vec![(7, 3)], ..Save::default() }).unwrap();
    let own = storage.read_slot(OWN).unwrap();
    assert_eq!((own.slot, &own.records, &own.high), (OWN, &vec![again.1], &vec![(7, 9), (9, 1)]));
    let imported = storage.read_slot(IMPORTED).unwrap();
    assert_eq!((imported.slot, imported.records, imported.high), (IMPORTED, vec![record((5, 40))], vec![]));
}

fn writes_the_base_under_its_epoch_alone(storage: &mut dyn Storage) {
    assert_eq!((storage.take_epoch(), storage.take_epoch()), (Ok(1), Ok(2)));
    let text = |text: &str| text.to_string();
    let commit = Commit { epoch: 1, meta: text("first"), tail: None, base: Some(vec![text("a"), text("b")]) };
    assert_eq!(storage.commit(commit.clone()).unwrap_err().code, STALE_EPOCH);
    assert_eq!(storage.read().unwrap().meta, None, "nothing of it is there");
    storage.commit(Commit { epoch: 2, ..commit.clone() }).unwrap();
    for rev in [9, 10, 10, 11] {
        storage.commit(Commit { epoch: 2, meta: text("later"), tail: Some((rev, format!("to {rev}"))), base: None }).unwrap();
    }
    let disk = storage.read().unwrap();
    assert_eq!((disk.meta.as_deref(), &disk.base[..]), (Some("later"), &[text("a"), text("b")][..]));
    assert_eq!(disk.tails, ["to 9", "to 10", "to 11"], "in the order of revisions");
    assert_eq!(disk.slots.iter().map(|slot| slot.slot).collect::<Vec<_>>(), [OWN, IMPORTED]);
    storage.commit(Commit { epoch: 2, tail: Some((12, text("to 12"))), base: Some(vec![text("c")]), ..commit }).unwrap();
    let disk = storage.read().unwrap();
    assert_eq!((disk.base, disk.tails), (vec![text("c")], vec![text("to 12")]));
    assert_eq!(storage.renew_epoch(2, 6), Ok(Some(6)));
    assert_eq!(storage.renew_epoch(2, 7), Ok(None));
    assert_eq!(storage.renew_epoch(6, 3), Ok(Some(6)), "it never falls");
    assert_eq!(storage.take_epoch(), Ok(7));
}

#[test]
fn l2_every_storage_keeps_what_the_engine_counts_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = |space| Box::new(Sqlite::open(&folder.path().join("notes.db"), &home(space)).unwrap()) as Box<dyn Storage>;
    for mut storage in [Box::new(Memory::default()) as Box<dyn Storage>, file("a"), file("b")] {
        keeps_slots_apart(storage.as_mut());
        writes_the_base_under_its_epoch_alone(storage.as_mut());
    }
}

#[test]
fn l1_a_file_lets_one_client_at_a_time_into_a_space() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep").join("notes.db");
    let first = Sqlite::open(&path, &home("a")).unwrap();
    assert_eq!(code(&path, "a", Sqlite::open), "in_use");
    assert_eq!(code(&path, "b", Sqlite::open), "opened");
    drop(first);
    assert_eq!(code(&path, "a", Sqlite::open), "opened");
}

#[test]
fn l3_a_damaged_record_is_set_aside_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.db");
    let mut storage = Sqlite::open(&path, &home("a")).unwrap();
    storage.save(OWN, puts(&[(7, 1), (7, 2), (7, 3)])).unwrap();
    drop(storage);
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute("UPDATE txn SET record = CAST(x'ff00fe' AS TEXT) WHERE seq = 1", []).unwrap();
    // One that stands under the wrong key is no better.
    database.execute("UPDATE txn SET record = (SELECT record FROM txn WHERE seq = 3) WHERE seq = 2", []).unwrap();
    drop(database);
    let slot = Sqlite::open(&path, &home("a")).unwrap().read_slot(OWN).unwrap();
    let keys: Vec<Option<Key>> = slot.records.iter().map(|record| record_key(record)).collect();
    assert_eq!(keys, [Some((7, 1)), Some((7, 2)), Some((7, 3))]);
    let damaged: Vec<bool> = slot.records.iter().map(|record| record.contains("\"damaged\":")).collect();
    assert_eq!(damaged, [true, true, false]);
}

#[test]
fn l2_a_file_that_cannot_be_used_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.db");
    drop(Sqlite::open(&path, &home("a")).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert_eq!(code(&path, "a", Sqlite::open), "storage_newer");
    let path = folder.path().join("letter.txt");
    std::fs::write(&path, "Dear Ada, this is no database at all. ".repeat(30)).unwrap();
    assert_eq!(code(&path, "a", Sqlite::open), "storage_corrupt");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("Dear Ada"));
    let folder_in_the_way = folder.path().join("folder.db");
    std::fs::create_dir(&folder_in_the_way).unwrap();
    assert_eq!(code(&folder_in_the_way, "a", Sqlite::open), "storage_refused");
}
