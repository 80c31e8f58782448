//! Two people with real engines, each offline, on one card of a real database.

use crate::world::{Client, World, id, token, verdict};
use driftline_core::engine::{Config, Disk, Effect, Engine};
use driftline_core::schema::Schema;
use driftline_core::value::{RowId, RowKey, Value, write_hex128};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

const CANVAS: &str = include_str!("../../../../tests/schemas/canvas/schema.json");

/// A tab that keeps nothing on disk.
struct Person {
    name: &'static str,
    engine: Engine,
    now: u64,
}

impl Person {
    async fn new(name: &'static str, client: u64, now: u64, world: &World) -> Person {
        let schema = Schema::parse(CANVAS).unwrap();
        let (outbox_txns, outbox_bytes) = (1_000, 10_000_000);
        let engine = Engine::new(Config {
            schema,
            slot: 0,
            client,
            high: Vec::new(),
            imported: Vec::new(),
            seed: client,
            outbox_txns,
            outbox_bytes,
        });
        let mut person = Person { name, engine, now };
        person.engine.handle_opened(now, Disk::default());
        person.engine.handle_lead(now, 1, None, Vec::new());
        person.exchange(world).await;
        person
    }

    fn edit(&mut self, edit: Json) {
        self.engine.transact(self.now, &json!({"edits": [edit]}).to_string()).unwrap();
    }

    fn field(&self, column: &str) -> Json {
        let schema = self.engine.schema();
        let table = schema.table("card").unwrap();
        let row = self.engine.replica().view().get(RowKey { table, id: RowId::parse(&id(1)).unwrap() }).unwrap();
        match &row.values[schema.tables[table as usize].column(column).unwrap() as usize] {
            Value::Text(text) => json!(text),
            Value::Json(text) => serde_json::from_str(text).unwrap(),
            _ => Json::Null,
        }
    }

    /// Changes the text from what is shown, as the package does.
    fn types(&mut self, from: &str, to: &str) {
        let name = self.field("name").as_str().unwrap().to_string();
        assert!(name.contains(from));
        self.edit(json!({"op": "update", "table": "card", "id": id(1), "text": {"name": [name, name.replace(from, to)]}}));
    }

    /// Goes online, sends what waits, hears what others did, and goes offline.
    async fn exchange(&mut self, world: &World) {
        self.engine.set_online(self.now, true);
        for _ in 0..20 {
            self.now += 1_000;
            self.engine.handle_tick(self.now);
            while let Some(effect) = self.engine.poll() {
                let space = "/v1/spaces/a";
                match effect {
                    Effect::Save { id, slot, .. } => self.engine.handle_saved(self.now, slot, id),
                    Effect::Commit { id, .. } => self.engine.handle_committed(self.now, id),
                    Effect::Push { id, body } => {
                        let (status, text) = world.request("POST", &format!("{space}/reconcile"), Some(&token(self.name)), body).await;
                        self.engine.handle_answer(self.now, id, status, None, &text);
                    }
                    Effect::Fetch { id } => {
                        let (status, text) = world.request("GET", &format!("{space}/snapshot"), Some(&token(self.name)), "").await;
                        self.engine.handle_answer(self.now, id, status, None, &text);
                    }
                    Effect::Event(text) => assert!(!text.contains(r#""event":"parked"#) && !text.contains(r#""event":"error"#), "{text}"),
                    _ => {}
                }
            }
        }
        assert_eq!(self.engine.outbox().len(), 0);
        self.engine.set_online(self.now, false);
        while self.engine.poll().is_some() {}
    }

    /// Once everything is exchanged, both sides hold the same.
    async fn sync(&mut self, world: &World) {
        self.exchange(world).await;
        let mut digest = String::new();
        write_hex128(self.engine.replica().digest.0, &mut digest);
        assert_eq!(digest, world.digest("a"), "{} holds what the database does", self.name);
    }
}

fn paragraph(n: usize) -> String {
    format!("Paragraph {n}. {}", "All of it was written by one person, some time ago. ".repeat(7))
}

/// A card of nearly 4,000 characters, and two people who hold it.
async fn two_people(world: &World) -> (Person, Person) {
    let mut ann = Person::new("ann", 1, 1_000_000, world).await;
    let text: Vec<String> = (0..10).map(paragraph).collect();
    let text = text.join("\n\n");
    assert!((3_500..3_900).contains(&text.len()), "{}", text.len());
    ann.edit(json!({"op": "create", "table": "card", "id": id(1), "set": {"name": text, "labels": ["old", "draft"]}}));
    ann.sync(world).await;
    let mut ben = Person::new("ben", 2, 2_000_000, world).await;
    ben.sync(world).await;
    assert_eq!(ben.field("name"), ann.field("name"));
    (ann, ben)
}

fn stored(world: &World, column: &str) -> Json {
    world.text(&format!("SELECT {column} FROM card")).into()
}

#[tokio::test]
async fn i7_two_people_offline_in_different_paragraphs_both_see_both() {
    let world = World::of(CANVAS);
    let (mut ann, mut ben) = two_people(&world).await;
    ann.types("Paragraph 2. All", "Paragraph 2, by ann. All");
    ben.types("Paragraph 7. All", "Paragraph 7, by ben. All");
    ben.types("Paragraph 9.", "New paragraph by ben.\n\nParagraph 9.");
    for person in [&mut ann, &mut ben] {
        person.sync(&world).await;
    }
    ann.sync(&world).await;
    for person in [&ann, &ben] {
        let text = person.field("name").as_str().unwrap().to_string();
        for part in ["Paragraph 2, by ann. All", "Paragraph 7, by ben. All", "New paragraph by ben.\n\nParagraph 9."] {
            assert!(text.contains(part), "{} sees {text}", person.name);
        }
        assert_eq!(person.field("name_conflict"), Json::Null);
        assert_eq!(stored(&world, "name"), json!(text));
    }
}

#[tokio::test]
async fn i7_two_people_offline_in_one_paragraph_lose_nothing() {
    let world = World::of(CANVAS);
    // Whoever syncs first: the text of the one who wrote last is in the row.
    for first in 0..2 {
        let world = if first == 0 { &world } else { &World::of(CANVAS) };
        let (mut ann, mut ben) = two_people(world).await;
        ann.types("Paragraph 4. All", "Paragraph 4, by ann. All");
        ben.types("Paragraph 4. All", "Paragraph 4, by ben. All");
        let mut people = [ann, ben];
        people[first].sync(world).await;
        people[1 - first].sync(world).await;
        people[first].sync(world).await;
        for person in &people {
            assert!(person.field("name").as_str().unwrap().contains("by ben"), "ben wrote last");
            let lost = person.field("name_conflict");
            assert!(lost[0].as_str().unwrap().contains("Paragraph 4, by ann. All"), "{} sees {lost}", person.name);
            assert_eq!(stored(world, "name_conflict"), json!(lost.to_string()));
        }
        // Settled by one, it is settled for both; and a server that starts anew knows who wrote last.
        let [ann, ben] = &mut people;
        let lost = ann.field("name_conflict");
        ann.types("by ben", "by both");
        ann.edit(json!({"op": "update", "table": "card", "id": id(1), "remove": {"name_conflict": lost}}));
        ann.sync(world).await;
        ben.sync(world).await;
        assert!(ben.field("name").as_str().unwrap().contains("by both"));
        assert_eq!((ben.field("name_conflict"), stored(world, "name_conflict")), (Json::Null, Json::Null));
    }
}

#[tokio::test]
async fn i7_labels_put_on_by_two_people_offline_are_all_there() {
    let mut world = World::of(CANVAS);
    let (mut ann, mut ben) = two_people(&world).await;
    let labels = |insert: &[&str], remove: &[&str]| json!({"op": "update", "table": "card", "id": id(1), "insert": {"labels": insert}, "remove": {"labels": remove}});
    ann.edit(labels(&["a=b:c %20", "ann's"], &["draft"]));
    ben.edit(labels(&["ben's"], &["old"]));
    ben.sync(&world).await;
    ann.sync(&world).await;
    ben.sync(&world).await;
    assert_eq!(ben.field("labels"), json!(["a=b:c %20", "ann's", "ben's"]));
    assert_eq!(ann.field("labels"), ben.field("labels"));
    // What ann did long ago, heard of only now by a server that was started anew, undoes nothing.
    world.restart();
    let mut late = Person::new("late", 3, 500_000, &world).await;
    late.edit(labels(&["draft", "old"], &["ann's", "a=b:c %20"]));
    late.sync(&world).await;
    ann.sync(&world).await;
    assert_eq!(ann.field("labels"), json!(["a=b:c %20", "ann's", "ben's"]));
    assert_eq!(stored(&world, "labels"), json!("[\"a=b:c %20\",\"ann's\",\"ben's\"]"));
}

const SETS: &str = r#"{"name": "sets", "version": 1, "tables": {"card": {"fields": {"labels": {"type": "set"}}}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_transaction_within_the_limits_does_not_keep_the_writer_for_long() {
    let world = World::of(SETS);
    let mut alice = Client::new("alice", 1);
    let full: Vec<String> = (0..1_000).map(|n| format!("zzzzzzzzzzzzzzzzzzzz{n}")).collect();
    assert_eq!(
        verdict(&alice.edit(&world, "a", json!([{"op": "create", "table": "card", "id": id(1), "set": {"labels": full}}])).await),
        "applied"
    );
    for (elements, expected) in [(1_100, "refused set_full"), (1_000, "applied")] {
        let edits: Vec<Json> = (0..95)
            .map(|part| {
                let remove: Vec<String> = (0..elements).map(|n| format!("{:x}", part * elements + n)).collect();
                json!({"op": "update", "table": "card", "id": id(1), "remove": {"labels": remove}})
            })
            .collect();
        let began = Instant::now();
        assert_eq!(verdict(&alice.edit(&world, "a", json!(edits)).await), expected);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}
