//! Catching up with 10,000 changes of texts, until search answers fresh: with the index left for later, kept by every push, and without one.
//! Once each change makes a row, and once they go on in 500 longer texts, as people type.

use crate::figure::Figure;
use crate::server::{Client, Server};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

const REPEATS: usize = 5;
const ROWS: u64 = 10_000;
/// Changes of a push.
const PUSH_ROWS: u64 = 25;
const VOCABULARY: u64 = 20_000;

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Rows,
    Typing,
}

impl Work {
    /// The row of a change, and how many words its text has then.
    fn change(self, n: u64) -> (u64, u64) {
        match self {
            Work::Rows => (n, 30),
            Work::Typing => (n % 500, 200 + n / 500),
        }
    }

    fn edit(self, n: u64) -> Json {
        let (row, words) = self.change(n);
        let id = format!("0199aaaa-bbbb-7ccc-8ddd-{:012x}", row + 1);
        match row == n {
            true => json!({"op": "create", "table": "card", "id": id, "set": {"name": text(row, words)}}),
            false => json!({"op": "update", "table": "card", "id": id, "text": {"name": [text(row, words - 1), text(row, words)]}}),
        }
    }
}

/// Words as people use them: few often, most of them seldom.
fn text(row: u64, words: u64) -> String {
    let mut state = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (state >> 11) as f64 / (1u64 << 53) as f64;
        format!("w{}", (VOCABULARY as f64).powf(share) as u64)
    };
    (0..words).map(|_| word()).collect::<Vec<_>>().join(" ")
}

/// Pushes all changes into a space of its own, and waits until search has them; in seconds.
fn catch_up(client: &mut Client, work: Work, space: &str, is_searched: bool) -> f64 {
    let changes: Vec<Vec<Json>> = (0..ROWS)
        .step_by(PUSH_ROWS as usize)
        .map(|first| (first..first + PUSH_ROWS).map(|n| client.unit(vec![work.edit(n)])).collect())
        .collect();
    let began = Instant::now();
    for units in &changes {
        client.push(space, units);
    }
    if is_searched {
        while client.get(&format!("/v1/spaces/{space}/search?q=w1%20"))["stale"] != false {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let time = began.elapsed().as_secs_f64();
    if is_searched {
        let found = client.get(&format!("/v1/spaces/{space}/search?q=w77%20&limit=100"));
        let last = (0..ROWS).map(|n| work.change(n)).collect::<std::collections::BTreeMap<_, _>>();
        let has = |(row, words): &(&u64, &u64)| text(**row, **words).split(' ').any(|word| word == "w77");
        let expected: Vec<u64> = last.iter().rev().filter(has).map(|(row, _)| row + 1).take(100).collect();
        let id = |row: &Json| u64::from_str_radix(&row["id"].as_str().expect("an id")[24..], 16).expect("an id");
        let found: Vec<u64> = found["rows"].as_array().expect("rows").iter().map(id).collect();
        assert_eq!(found, expected, "search finds what the rows say");
    }
    time
}

pub fn run() -> Vec<Figure> {
    let later = Server::start_with("canvas", &["--search"]);
    let at_once = Server::start_with("canvas", &["--search", "--search-rows-at-once", "1000000"]);
    let without = Server::start_with("canvas", &[]);
    let mut clients = [later.connect(), at_once.connect(), without.connect()];
    let mut figures = Vec::new();
    for (work, name) in [(Work::Rows, "10,000 new rows"), (Work::Typing, "10,000 changes of 500 texts")] {
        let (mut deferred, mut kept, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for repeat in 0..REPEATS {
            let space = format!("s{repeat}{}", if work == Work::Rows { "a" } else { "b" });
            deferred.push(catch_up(&mut clients[0], work, &space, true));
            kept.push(catch_up(&mut clients[1], work, &space, true));
            bare.push(catch_up(&mut clients[2], work, &space, false));
            let (later, always, never) = (deferred[repeat], kept[repeat], bare[repeat]);
            eprintln!("  {} of {REPEATS}: {later:.2} s; {always:.2} s kept by every push, {never:.2} s without search", repeat + 1);
        }
        let above = |times: &[f64]| times.iter().zip(&bare).map(|(time, bare)| time - bare).collect::<Vec<_>>();
        figures.push(Figure::of_times(format!("{name} until search is fresh; limit: without search"), &deferred, &bare, 1.5));
        if work == Work::Typing {
            let name = "what search adds to that; limit: where every push keeps the index";
            figures.push(Figure::of_times(name, &above(&deferred), &above(&kept), 0.33));
        }
    }
    figures
}
