//! Several devices and their server.

use crate::client::{board, note};
use crate::world::{World, id, shown, within};
use driftline_native::{Client, Edits, Event, Memory, Options, Web};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::task::LocalSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v5_what_one_device_makes_another_shows() {
    let world = World::start().await;
    let (laptop, desktop) = (world.open("laptop"), world.open("desktop"));
    within(desktop.transact(board(1)).await.unwrap().accepted()).await.unwrap();
    shown(&laptop, "board", &id(1)).await;
    let change = laptop.transact(note(2, 1)).await.unwrap();
    within(change.saved()).await.unwrap();
    within(change.accepted()).await.unwrap();
    assert_eq!(shown(&desktop, "note", &id(2)).await.field("board"), &json!(id(1)));
    within(laptop.accepted()).await.unwrap();
    laptop.close().await.unwrap();
    desktop.close().await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM note"), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_what_is_refused_is_parked_until_its_user_decides() {
    let world = World::start().await;
    let (laptop, desktop) = (world.open("laptop"), world.open("desktop"));
    within(laptop.transact(board(1)).await.unwrap().accepted()).await.unwrap();
    laptop.set_online(false).await.unwrap();
    shown(&desktop, "board", &id(1)).await;
    within(desktop.transact(note(2, 1)).await.unwrap().accepted()).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let parked = told.clone();
    let _heard = laptop.subscribe(move |event| {
        if let Event::Parked { key, error } = event {
            parked.lock().unwrap().push((key.clone(), error.code.clone()));
        }
    });
    // Here nothing refers to it; on the server something does.
    let change = laptop.transact(Edits::new().delete("board", &id(1))).await.unwrap();
    laptop.set_online(true).await.unwrap();
    let error = within(change.accepted()).await.unwrap_err();
    assert_eq!((error.code.as_str(), &error.rows[..]), ("restricted", &[("note".to_string(), id(2))][..]));
    assert_eq!(within(laptop.accepted()).await.unwrap_err().code, "parked");
    assert_eq!(*told.lock().unwrap(), [(change.key(), "restricted".to_string())]);
    laptop.discard(&change.key(), false).await.unwrap();
    shown(&laptop, "board", &id(1)).await;
    assert_eq!(change.accepted().await.unwrap_err().code, "discarded");
    within(laptop.accepted()).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM board"), 1);
    laptop.close().await.unwrap();
    desktop.close().await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q9_work_that_leaves_in_a_file_takes_effect_once() {
    let world = World::start().await;
    let laptop = Client::open(Options { online: false, ..world.options("laptop") }).unwrap();
    laptop.transact(board(1)).await.unwrap();
    laptop.transact(Edits::new().add("board", &id(1), json!({"edits": 1}))).await.unwrap();
    let file = within(laptop.export_unsynced()).await.unwrap();
    assert_eq!(file.left_out, 0);
    let desktop = world.open("desktop");
    let imported = within(desktop.import_unsynced(&file.text, false)).await.unwrap();
    assert_eq!((imported.imported, imported.known, imported.unreadable), (file.transactions, 0, 0));
    assert!(desktop.get("board", &id(1)).await.unwrap().is_some(), "it is seen when the reply comes");
    within(desktop.accepted()).await.unwrap();
    // The same work again, from where it was made.
    laptop.set_online(true).await.unwrap();
    within(laptop.accepted()).await.unwrap();
    assert_eq!(world.count("SELECT edits FROM board"), 1);
    let other = Client::open(Options { space: "b".to_string(), ..world.options("desktop") }).unwrap();
    assert_eq!(other.import_unsynced(&file.text, false).await.unwrap_err().code, "wrong_space");
    assert_eq!(other.import_unsynced("{}", false).await.unwrap_err().code, "invalid_file");
    for client in [laptop, desktop, other] {
        client.close().await.unwrap();
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_many_clients_share_a_thread_and_keep_nothing() {
    let world = World::start().await;
    let first = world.open("laptop");
    within(first.transact(board(1)).await.unwrap().accepted()).await.unwrap();
    let local = LocalSet::new();
    local
        .run_until(within(async {
            let mut clients = Vec::new();
            for n in 0..20 {
                let options = world.options("nowhere");
                let network = Web::new(&options).unwrap();
                let (client, task) = Client::with(options, Memory::default(), network).unwrap();
                tokio::task::spawn_local(task.run());
                clients.push((n, client));
            }
            for (n, client) in &clients {
                shown(client, "board", &id(1)).await;
                client.transact(note(100 + n, 1)).await.unwrap().accepted().await.unwrap();
            }
            for (n, client) in clients {
                shown(&client, "note", &id(100 + (n + 1) % 20)).await;
                client.close().await.unwrap();
            }
        }))
        .await;
    assert_eq!(world.count("SELECT count(*) FROM note"), 20);
    assert!(!world.folder.path().join("nowhere").exists());
    first.close().await.unwrap();
    world.stop().await;
}
