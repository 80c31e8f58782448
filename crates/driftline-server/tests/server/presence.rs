//! Who is there: told to the others of a space, and kept nowhere.

use crate::live::{Socket, connect_to, next, start};
use crate::world::{World, token};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

fn hello(sub: &str) -> Json {
    json!({"token": token(sub), "presence": true})
}

async fn say(socket: &mut Socket, state: Json) {
    socket.send(Message::text(json!({"presence": state}).to_string())).await.unwrap();
}

/// What is told next, by the state alone: numbers of connections are made at random.
async fn told(socket: &mut Socket) -> Vec<Json> {
    let message = next(socket).await;
    message["presence"].as_object().unwrap_or_else(|| panic!("{message}")).values().cloned().collect()
}

async fn is_quiet(socket: &mut Socket) {
    let news = async {
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Text(text) if !text.contains("ping") => return text,
                _ => {}
            }
        }
    };
    let news = timeout(Duration::from_millis(400), news).await;
    assert!(news.is_err(), "{news:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn v5_people_of_a_space_see_each_other_and_nobody_else_and_nothing_is_stored() {
    let mut world = World::new();
    let running = start(&mut world).await;
    let before = world.dump();
    let (mut alice, mut bob) = (connect_to(&running, "a", hello("alice")).await, connect_to(&running, "a", hello("bob")).await);
    let mut elsewhere = connect_to(&running, "b", hello("carol")).await;
    say(&mut alice, json!({"name": "Alice", "at": [1, 2]})).await;
    assert_eq!(told(&mut bob).await, [json!({"name": "Alice", "at": [1, 2]})]);
    let mut late = connect_to(&running, "a", hello("dave")).await;
    assert_eq!(told(&mut late).await, [json!({"name": "Alice", "at": [1, 2]})], "who comes later sees who is there");
    // What comes between is left out.
    for x in 0..100 {
        say(&mut alice, json!({"at": [x, 0]})).await;
    }
    let mut heard = 0;
    while told(&mut bob).await != [json!({"at": [99, 0]})] {
        heard += 1;
    }
    assert!(heard < 50, "{heard} of 100 states were told");
    while told(&mut late).await != [json!({"at": [99, 0]})] {}
    // Whoever goes, in whatever way, is gone.
    drop(alice);
    assert_eq!(told(&mut bob).await, [Json::Null]);
    assert_eq!(told(&mut late).await, [Json::Null]);
    say(&mut bob, json!("here")).await;
    assert_eq!(told(&mut late).await, [json!("here")]);
    say(&mut bob, Json::Null).await;
    assert_eq!(told(&mut late).await, [Json::Null]);
    is_quiet(&mut elsewhere).await;
    assert_eq!(world.dump(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_presence_has_limits_and_is_for_those_who_ask_for_it() {
    let mut world = World::new();
    let running = start(&mut world).await;
    let mut engine = connect_to(&running, "a", json!({"token": token("alice"), "cursor": 0})).await;
    let mut long = connect_to(&running, "a", hello("alice")).await;
    say(&mut long, json!("x".repeat(1_022))).await;
    say(&mut long, json!("x".repeat(1_023))).await;
    assert_eq!(next(&mut long).await, json!(4413));
    let mut fast = connect_to(&running, "a", hello("alice")).await;
    for n in 0..300 {
        let _ = fast.send(Message::text(json!({"presence": n}).to_string())).await;
    }
    assert_eq!(next(&mut fast).await, json!(4429));
    let mut wrong = connect_to(&running, "a", hello("alice")).await;
    wrong.send(Message::text("{\"presents\":1}")).await.unwrap();
    assert_eq!(next(&mut wrong).await, json!(4400));
    is_quiet(&mut engine).await;
    say(&mut engine, json!(1)).await;
    assert_eq!(next(&mut engine).await, json!(4400), "who did not ask sends nothing up");
}
