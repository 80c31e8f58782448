//! Backups of a database in use, and what clients find once one was put back: the binary itself, on files as an operator has them.

use crate::findings::found;
use crate::process::{Process, get, post_to, start};
use crate::world::{Client, World, card, folder, id, open, verdict};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Rows that a device may make; by its number and theirs they are told apart.
const SPAN: u64 = 10_000;
/// A device that goes on pushing comes to an end here.
const LAST_SEQ: u64 = 9_000;
const SILENT: u64 = 9;

/// A device as a server knows it: what waits in its outbox, and up to which number all is settled. Its first transaction makes a tally,
/// and each of the others a card and one more on the tally: so the rows tell what is lost, and the tally what is doubled.
struct Device {
    client: Client,
    number: u64,
    space: &'static str,
    waiting: Vec<Json>,
    settled: u64,
}

impl Device {
    fn new(number: u64, space: &'static str) -> Device {
        let client = Client { cursor: json!(0), ..Client::new("local", number) };
        Device { client, number, space, waiting: Vec::new(), settled: 0 }
    }

    fn make(&mut self) {
        let row = |seq| self.number * SPAN + seq;
        let mut edits = vec![card(row(self.client.seq + 1))];
        if self.client.seq > 0 {
            edits.push(json!({"op": "update", "table": "card", "id": id(row(1)), "add": {"count": 1}}));
        }
        self.waiting.push(self.client.unit(json!(edits)));
    }

    /// Sends all that waits.
    fn push(&self, process: &Process) -> Json {
        post_to(process, self.space, &self.client.push(self.waiting.clone())).expect("the server answers")
    }

    /// Settles what was answered, as a client does that has written it down.
    fn take(&mut self, answer: &Json) {
        let outcomes = answer["outcomes"].as_array().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(outcomes.len(), self.waiting.len(), "{answer}");
        assert!(outcomes.iter().all(|outcome| verdict(outcome) == "applied"), "{answer}");
        self.waiting.clear();
        self.settled = self.client.seq;
        self.client.closed = json!([[1, self.settled]]);
        if answer["clients"][0]["fork"] == json!(false) {
            self.client.receipt = answer["clients"][0]["receipt"].clone();
        }
        if answer["reload"] == json!(false) {
            let last = answer["changes"].as_array().and_then(|changes| changes.last()).map(|last| &last["rev"]);
            self.client.cursor = last.filter(|_| answer["more"] == json!(true)).unwrap_or(&answer["rev"]).clone();
        }
    }

    fn sync(&mut self, process: &Process) {
        let answer = self.push(process);
        self.take(&answer);
    }

    /// Goes on after its server was set back.
    fn go_on(&mut self, restored: &World, process: &Process) {
        let answer = self.push(process);
        assert_eq!((&answer["reload"], &answer["clients"][0]["fork"]), (&json!(true), &json!(true)), "{answer}");
        assert_eq!(self.push(process)["outcomes"], answer["outcomes"], "whatever is sent again gets the first answer");
        self.take(&answer);
        self.client.cursor = snapshot_head(process, self.space)["rev"].clone();
        // What it makes from now on is another client's.
        let client = Client::new("local", 100 + self.number);
        self.client = Client { cursor: self.client.cursor.clone(), seq: self.client.seq, ..client };
        self.make();
        let answer = self.push(process);
        assert_eq!((&answer["reload"], &answer["clients"][0]["fork"]), (&json!(false), &json!(false)), "{answer}");
        assert_eq!(answer["digest"], json!(restored.digest(self.space)));
        self.take(&answer);
    }
}

/// Asks for what is new after a cursor, and has nothing to send.
fn ask(process: &Process, space: &str, cursor: &Json) -> Json {
    post_to(process, space, &json!({"epoch": 1, "cursor": cursor, "clients": [], "units": []}).to_string()).expect("the server answers")
}

fn snapshot_head(process: &Process, space: &str) -> Json {
    let answer = get(process, &format!("/v1/spaces/{space}/snapshot"), "");
    let head = answer.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{answer}"));
    serde_json::from_str(head).unwrap()
}

fn driftline(command: &str) -> Command {
    let mut driftline = Command::new(env!("CARGO_BIN_EXE_driftline"));
    driftline.arg(command);
    driftline
}

/// The exit code, and what is said on standard error.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn back_up(data: &Path, to: &Path) -> (Option<i32>, String) {
    run(driftline("backup").arg("--data").arg(data).arg("--to").arg(to))
}

fn restore(from: &Path, data: &Path) -> (Option<i32>, String) {
    run(driftline("restore").arg("--from").arg(from).arg("--data").arg(data))
}

fn check(world: &World, data: &Path) -> (Option<i32>, String) {
    let (schema, migrations) = (&world.config.schema, &world.config.migrations);
    run(driftline("check").arg("--schema").arg(schema).arg("--migrations").arg(migrations).arg("--data").arg(data))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The same app on the database of another folder.
fn at(world: &World, data: &Path) -> World {
    let mut config = world.config.clone();
    config.data = data.into();
    let router = open(&config).router();
    World { directory: tempfile::tempdir().unwrap(), config, router, schema: world.schema.clone() }
}

fn read_only(file: &Path) -> Connection {
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

fn revision(database: &Connection, space: &str) -> u64 {
    let rev: i64 = database.query_row("SELECT rev FROM _space WHERE name = ?1", [space], |row| row.get(0)).unwrap();
    rev as u64
}

type Contents = BTreeMap<u64, (BTreeSet<u64>, u64)>;

/// By device: the numbers of the transactions whose rows are there, and what its tally says.
fn contents(database: &Connection) -> Contents {
    let mut statement = database.prepare("SELECT id, count FROM card").unwrap();
    let cards = statement.query_map([], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?))).unwrap();
    let mut found = Contents::new();
    for card in cards {
        let (id, count) = card.unwrap();
        let row = u128::from_be_bytes(id) as u64 & 0xffff_ffff_ffff;
        let (numbers, tally) = found.entry(row / SPAN).or_default();
        numbers.insert(row % SPAN);
        *tally += count as u64;
    }
    found
}

/// A backup that was made while devices pushed.
struct Scene {
    process: Process,
    world: World,
    devices: Vec<Device>,
    /// It has not heard the answer to its last push, which came before the backup.
    silent: Device,
    unheard: Json,
    file: PathBuf,
    /// What each of the devices had settled before the backup began, and when it had ended.
    settled: Vec<(u64, u64)>,
}

fn push_on(process: &Process, device: &mut Device, stop: &AtomicBool, settled: &AtomicU64) {
    while !stop.load(Ordering::SeqCst) && device.client.seq < LAST_SEQ {
        (0..device.client.seq % 3 + 1).for_each(|_| device.make());
        device.sync(process);
        settled.store(device.settled, Ordering::SeqCst);
    }
}

fn backed_up_beside_writers() -> Scene {
    let world = World::new();
    let process = start(&world, "");
    let mut devices: Vec<Device> = (1..=4).map(|number| Device::new(number, "a")).collect();
    let mut silent = Device::new(SILENT, "a");
    for device in devices.iter_mut().chain([&mut silent]) {
        device.make();
        device.sync(&process);
    }
    silent.make();
    let unheard = silent.push(&process);
    let stop = AtomicBool::new(false);
    let marks: Vec<AtomicU64> = devices.iter().map(|device| AtomicU64::new(device.settled)).collect();
    let read = || marks.iter().map(|mark| mark.load(Ordering::SeqCst)).collect::<Vec<u64>>();
    let (mut attempts, mut backups) = (0, Vec::new());
    std::thread::scope(|scope| {
        for (device, mark) in devices.iter_mut().zip(&marks) {
            let (process, stop) = (&process, &stop);
            scope.spawn(move || push_on(process, device, stop, mark));
        }
        let mut all_wrote = false;
        while !all_wrote && attempts < 50 {
            attempts += 1;
            let file = world.directory.path().join(format!("{attempts}.backup"));
            let before = read();
            let said = back_up(&folder(&world.config), &file);
            let settled: Vec<(u64, u64)> = before.into_iter().zip(read()).collect();
            all_wrote = settled.iter().all(|(before, after)| before < after);
            backups.push((said, file, settled));
        }
        stop.store(true, Ordering::SeqCst);
        assert!(all_wrote, "all devices write while a backup is made");
    });
    let (said, file, settled) = backups.pop().unwrap();
    assert_eq!(said.0, Some(0), "{}", said.1);
    Scene { process, world, devices, silent, unheard, file, settled }
}

#[test]
fn t6_a_backup_beside_writers_is_one_moment_of_every_history() {
    let scene = backed_up_beside_writers();
    let found = contents(&read_only(&scene.file));
    assert_eq!(found.len(), scene.devices.len() + 1);
    for (device, (before, after)) in scene.devices.iter().zip(&scene.settled) {
        let (numbers, tally) = &found[&device.number];
        let count = numbers.len() as u64;
        let all: BTreeSet<u64> = (1..=count).collect();
        assert_eq!((numbers, *tally), (&all, count - 1), "device {}: nothing is left out, and nothing doubled", device.number);
        // Up to three were on their way.
        assert!((*before..=after + 3).contains(&count), "{count} of device {}, not {before} to {after}", device.number);
    }
    assert_eq!(found[&SILENT], (BTreeSet::from([1, 2]), 1));
    let copy = scene.world.directory.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(&scene.file, copy.join("driftline.db")).unwrap();
    let (code, said) = check(&scene.world, &copy);
    assert_eq!(code, Some(0), "{said}");
    let left: Vec<String> = names(scene.world.directory.path()).into_iter().filter(|name| name.contains("backup")).collect();
    assert!(left.iter().all(|name| name.ends_with(".backup")), "one file each, and nothing beside it: {left:?}");
}

#[test]
fn t3_whoever_knows_more_than_the_backup_loads_anew_and_delivers_what_waits_once() {
    let Scene { process, world, mut devices, mut silent, unheard, file, .. } = backed_up_beside_writers();
    let backed_up = contents(&read_only(&file));
    for device in &mut devices {
        for _ in 0..3 {
            device.make();
            device.sync(&process);
        }
        // The answer to this one is lost, and the next is not sent any more.
        device.make();
        device.push(&process);
        device.make();
    }
    let acknowledged: Vec<u64> = devices.iter().map(|device| device.settled).collect();
    let lost = ask(&process, "a", &Json::Null)["rev"].as_u64().unwrap();
    // By SIGKILL.
    drop(process);
    let data = world.directory.path().join("restored");
    let (code, said) = restore(&file, &data);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(names(&data), ["driftline.db"]);
    let restored = at(&world, &data);
    let process = start(&restored, "");
    // Where the backup is, where the last answer of the time that is lost was, and where the first client stood.
    let cursors = [revision(&read_only(&file), "a"), lost, 1].map(|rev| json!(rev));
    let reloads = || cursors.each_ref().map(|cursor| ask(&process, "a", cursor)["reload"].clone());
    assert_eq!(reloads(), [json!(true), json!(true), json!(true)]);
    let answer = silent.push(&process);
    assert_eq!(
        (&answer["reload"], &answer["clients"][0]["fork"], &answer["outcomes"]),
        (&json!(true), &json!(false), &unheard["outcomes"]),
        "what it has not heard of the backup has"
    );
    silent.take(&answer);
    devices.iter_mut().for_each(|device| device.go_on(&restored, &process));
    let now = ask(&process, "a", &Json::Null)["rev"].clone();
    assert!(now.as_u64().unwrap() > lost, "the new time has grown past the old one: {now} {lost}");
    assert_eq!(reloads(), [json!(true), json!(true), json!(true)]);
    assert_eq!(ask(&process, "a", &now)["reload"], json!(false));
    let found = contents(&restored.database());
    for (device, acknowledged) in devices.iter().zip(acknowledged) {
        let kept = backed_up[&device.number].0.len() as u64;
        assert!(acknowledged >= kept + 3, "what was acknowledged after the backup is gone");
        // What waited is there, and what was made since.
        let expected: BTreeSet<u64> = (1..=kept).chain(acknowledged + 1..=acknowledged + 3).collect();
        let tally = expected.len() as u64 - 1;
        assert_eq!(found[&device.number], (expected, tally), "device {}", device.number);
    }
    assert_eq!(found[&SILENT], (BTreeSet::from([1, 2]), 1));
    let (code, said) = check(&world, &data);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn t3_a_space_that_the_backup_does_not_know_begins_above_what_was_seen_of_it() {
    let world = World::new();
    let process = start(&world, "");
    let mut first = Device::new(1, "a");
    first.make();
    first.sync(&process);
    let file = world.directory.path().join("backup");
    assert_eq!(back_up(&folder(&world.config), &file).0, Some(0));
    let mut lost = Device::new(2, "b");
    for _ in 0..5 {
        lost.make();
        lost.sync(&process);
    }
    drop(process);
    let data = world.directory.path().join("restored");
    assert_eq!(restore(&file, &data).0, Some(0));
    let restored = at(&world, &data);
    let process = start(&restored, "");
    let begun = ask(&process, "b", &lost.client.cursor);
    assert_eq!(begun["reload"], json!(true), "{begun}");
    assert_eq!(snapshot_head(&process, "b")["rev"], begun["rev"]);
    assert_eq!(ask(&process, "b", &begun["rev"])["reload"], json!(false), "nobody is sent round in circles");
    let mut other = Device::new(3, "b");
    other.client.cursor = begun["rev"].clone();
    for _ in 0..8 {
        other.make();
        let answer = other.push(&process);
        assert_eq!(answer["reload"], json!(false), "{answer}");
        other.take(&answer);
    }
    let answer = ask(&process, "b", &lost.client.cursor);
    assert_eq!((answer["reload"].clone(), answer["rev"].as_u64()), (json!(true), begun["rev"].as_u64().map(|rev| rev + 8)));
    assert_eq!(found(&restored), [""; 0]);
}

#[tokio::test]
async fn t3_a_database_that_was_put_back_by_other_means_is_made_safe_where_it_is() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.cursor = json!(0);
    let first = alice.unit(json!([card(1)]));
    let before = alice.send(&world, "a", vec![first.clone()]).await;
    // From now on only the log knows of it.
    alice.closed = json!([[1, 1]]);
    alice.send(&world, "a", vec![]).await;
    assert_eq!(world.count("SELECT count(*) FROM _mark"), 0);
    let (code, said) = run(driftline("restore").arg("--in-place").arg("--data").arg(folder(&world.config)));
    assert_eq!(code, Some(0), "{said}");
    let second = alice.unit(json!([card(2)]));
    let answer = alice.send(&world, "a", vec![first, second]).await;
    assert_eq!((&answer["reload"], &answer["clients"][0]["fork"]), (&json!(true), &json!(false)), "{answer}");
    assert_eq!(answer["outcomes"][0], before["outcomes"][0], "what is beneath the beginning of the log is still known");
    assert_eq!(verdict(&answer["outcomes"][1]), "applied");
    alice.cursor = answer["rev"].clone();
    let third = alice.unit(json!([card(3)]));
    let next = alice.send(&world, "a", vec![third]).await;
    assert_eq!((&next["reload"], &next["digest"]), (&json!(false), &json!(world.digest("a"))));
    assert_eq!(world.count("SELECT count(*) FROM card"), 3);
    assert_eq!(found(&world), [""; 0]);
    let neither = run(driftline("restore").arg("--data").arg(folder(&world.config)));
    assert_eq!(neither.0, Some(2), "{}", neither.1);
}

#[tokio::test]
async fn t6_a_backup_goes_over_nothing_and_is_of_nothing_else() {
    let world = World::new();
    Client::new("alice", 1).edit(&world, "a", json!([card(1)])).await;
    let (data, files) = (folder(&world.config), tempfile::tempdir().unwrap());
    let file = files.path().join("backup");
    assert_eq!(back_up(&data, &file).0, Some(0));
    let first = fs::read(&file).unwrap();
    Client::new("alice", 2).edit(&world, "a", json!([card(2)])).await;
    let (code, said) = back_up(&data, &file);
    assert!(code == Some(2) && said.contains("backup_exists: "), "{code:?} {said}");
    assert!(fs::read(&file).unwrap() == first, "it is as it was");
    let (empty, foreign) = (files.path().join("empty"), files.path().join("foreign"));
    fs::create_dir(&empty).unwrap();
    fs::create_dir(&foreign).unwrap();
    Connection::open(foreign.join("driftline.db")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    for (data, code) in [(&empty, "no_database: "), (&foreign, "other_database: ")] {
        let (status, said) = back_up(data, &files.path().join("none"));
        assert!(status == Some(2) && said.contains(code), "{status:?} {said}");
    }
    let away = back_up(&data, &files.path().join("away").join("backup"));
    assert!(away.0 == Some(2) && away.1.contains("server_disk: "), "a folder that is not there is not made: {away:?}");
    assert_eq!(names(files.path()), ["backup", "empty", "foreign"]);
    assert_eq!(names(&empty), [""; 0]);
}

#[tokio::test]
async fn t6_a_restore_refuses_what_is_damaged_and_makes_nothing() {
    let world = World::new();
    Client::new("alice", 1).edit(&world, "a", json!([card(1)])).await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("backup");
    assert_eq!(back_up(&folder(&world.config), &file).0, Some(0));
    let whole = fs::read(&file).unwrap();
    let half = whole.len() / 2;
    let page = half / 4_096 * 4_096;
    let scrawled = [&whole[..page], [0xff; 4_096].as_slice(), &whole[page + 4_096..]].concat();
    let text = b"no database, but longer than the head of one; ".repeat(20);
    for (name, bytes, code) in [
        ("half", &whole[..half], "server_corrupt: "),
        ("scrawled", &scrawled[..], "server_corrupt: "),
        ("text", &text[..], "server_corrupt: "),
        ("nothing", &[][..], "other_database: "),
    ] {
        let (from, data) = (files.path().join(name), files.path().join("data"));
        fs::write(&from, bytes).unwrap();
        let (status, said) = restore(&from, &data);
        assert!(status == Some(2) && said.contains(code), "{name}: {status:?} {said}");
        assert!(!data.exists(), "{name}");
    }
    fs::write(files.path().join("backup-wal"), "x").unwrap();
    let (status, said) = restore(&file, &files.path().join("data"));
    assert!(status == Some(2) && said.contains("restore_unfinished: "), "{status:?} {said}");
    assert!(!files.path().join("data").exists());
}

#[tokio::test]
async fn t6_a_restore_goes_over_nothing() {
    let world = World::new();
    Client::new("alice", 1).edit(&world, "a", json!([card(1)])).await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("backup");
    assert_eq!(back_up(&folder(&world.config), &file).0, Some(0));
    Client::new("alice", 2).edit(&world, "a", json!([card(2)])).await;
    let before = world.dump();
    let (status, said) = restore(&file, &folder(&world.config));
    assert!(status == Some(2) && said.contains("restore_exists: "), "{status:?} {said}");
    assert!(world.dump() == before, "it is as it was");
    // SQLite would take the log of the database before for that of this one.
    let data = files.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("driftline.db-wal"), "x").unwrap();
    let (status, said) = restore(&file, &data);
    assert!(status == Some(2) && said.contains("restore_exists: "), "{status:?} {said}");
    assert_eq!(names(&data), ["driftline.db-wal"]);
    fs::remove_file(data.join("driftline.db-wal")).unwrap();
    assert_eq!(restore(&file, &data).0, Some(0), "an empty folder will do");
    assert_eq!(names(&data), ["driftline.db"]);
}

/// The disk is a small one that only these processes see.
#[tokio::test]
async fn d3_a_backup_that_a_full_disk_cuts_short_leaves_nothing() {
    let world = World::new();
    Client::new("alice", 1).edit(&world, "a", json!([card(1)])).await;
    let disk = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=64k tmpfs "$2" || exit 9
        "$0" backup --data "$1" --to "$2/backup"
        echo "$?"
        ls -A "$2""#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_driftline")]);
    let output = command.arg(folder(&world.config)).arg(disk.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("server_full: "), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2\n", "nothing is left there: {said}");
}
