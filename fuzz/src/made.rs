//! Pushes made of bytes: all of them are well-formed, so that every byte is a decision about what is in them.

use std::slice::Iter;

const PUSHES: usize = 32;
const RECEIPTS: [&str; 3] = ["null", "null", "\"00000000000000ff\""];
const CLOSED: [&str; 4] = ["[]", "[]", "[[1,4]]", "[[2,2],[6,9223372036854775807]]"];
const CURSORS: [&str; 6] = ["null", "0", "1", "5", "9223372036854775808", "18446744073709551615"];
const EPOCHS: [&str; 5] = ["1", "1", "1", "2", "9223372036854775807"];
const AFTER: [&str; 4] = ["[]", "[]", "[[0,1]]", "[[1,3],[0,2]]"];
const REPLACES: [&str; 4] = ["", "", ",\"replaces\":[[0,2]]", ",\"replaces\":[[0,1],[1,1]]"];
const TEXTS: [&str; 6] =
    ["\"\"", "\"one\"", "\"one\\ntwo\\nthree\"", "\"one\\n2\\nthree\"", "\"one\\ntwo\\n3\"", "\"\\u0000\\ud83d\\ude42\""];
const NUMBERS: [&str; 5] = ["0", "1", "-3", "9007199254740991", "-9007199254740991"];
const LABELS: [&str; 4] = ["[]", "[\"a\"]", "[\"b\",\"a\"]", "[\"c d=e:f\"]"];
/// Tables, each with the number of its first row.
const TABLES: [(&str, u64); 6] = [("box", 10), ("card", 20), ("kind", 30), ("link", 40), ("page", 50), ("picture", 60)];
const BOX: usize = 0;
const CARD: usize = 1;
const KIND: usize = 2;
const LINK: usize = 3;
const PAGE: usize = 4;
const PICTURE: usize = 5;
/// Few rows, so that edits meet.
const ROWS: u64 = 4;

/// Decisions, and zeroes once they are used up.
struct Bytes<'a>(Iter<'a, u8>);

impl Bytes<'_> {
    fn below(&mut self, n: u64) -> u64 {
        u64::from(self.0.next().copied().unwrap_or(0)) % n
    }

    fn pick<'b, T>(&mut self, list: &'b [T]) -> &'b T {
        &list[self.below(list.len() as u64) as usize]
    }
}

/// The texts of pushes that come one after the other. An empty one stands for the background, which takes away what is dying.
pub fn pushes(data: &[u8]) -> Vec<String> {
    let mut bytes = Bytes(data.iter());
    let mut pushes = Vec::new();
    while bytes.0.len() > 0 && pushes.len() < PUSHES {
        pushes.push(if bytes.below(16) == 15 { String::new() } else { push(&mut bytes) });
    }
    pushes
}

/// Something to begin with: a push of a client of its own.
pub fn prelude() -> String {
    let edits = [
        create(BOX, 10, "\"title\":\"a\""),
        create(BOX, 11, &format!("\"parent\":\"{}\"", id(10))),
        create(CARD, 20, &format!("\"box\":\"{}\",\"name\":\"one\\ntwo\\nthree\",\"labels\":[\"a\"]", id(11))),
        create(KIND, 30, "\"name\":\"leads to\""),
        create(LINK, 40, &format!("\"kind\":\"{}\",\"from\":{{\"card\":\"{}\"}},\"to\":{{\"box\":\"{}\"}}", id(30), id(20), id(10))),
        create(PAGE, 50, ""),
        create(PICTURE, 60, &format!("\"page\":\"{}\"", id(50))),
    ];
    let body = format!("{{\"schema\":3,\"at\":[1000,0],\"edits\":[{}]}}", edits.join(","));
    let client = "{\"id\":\"00000000000000b0\",\"receipt\":null,\"closed\":[]}";
    format!("{{\"epoch\":1,\"cursor\":0,\"clients\":[{client}],\"units\":[{{\"txns\":[{{\"key\":[0,1],\"body\":{body}}}],\"after\":[]}}]}}")
}

fn push(bytes: &mut Bytes) -> String {
    let (epoch, cursor) = (*bytes.pick(&EPOCHS), *bytes.pick(&CURSORS));
    let clients = [1, 2].map(|client| {
        let (receipt, closed) = (*bytes.pick(&RECEIPTS), *bytes.pick(&CLOSED));
        format!("{{\"id\":\"{client:016x}\",\"receipt\":{receipt},\"closed\":{closed}}}")
    });
    let units: Vec<String> = (0..=bytes.below(6)).map(|_| unit(bytes)).collect();
    format!("{{\"epoch\":{epoch},\"cursor\":{cursor},\"clients\":[{}],\"units\":[{}]}}", clients.join(","), units.join(","))
}

fn unit(bytes: &mut Bytes) -> String {
    let members = if bytes.below(6) == 5 { 2 } else { 1 };
    let (client, first) = (bytes.below(2), 1 + bytes.below(24));
    let txns: Vec<String> = (first..first + members)
        .map(|seq| {
            let replaces = *bytes.pick(&REPLACES);
            let at = format!("[{},{}]", 1_000 + bytes.below(8), bytes.below(2));
            let edits: Vec<String> = (0..=bytes.below(3)).map(|_| edit(bytes)).collect();
            let body = format!("{{\"schema\":3,\"at\":{at},\"edits\":[{}]}}", edits.join(","));
            format!("{{\"key\":[{client},{seq}]{replaces},\"body\":{body}}}")
        })
        .collect();
    format!("{{\"txns\":[{}],\"after\":{}}}", txns.join(","), bytes.pick(&AFTER))
}

fn edit(bytes: &mut Bytes) -> String {
    match bytes.below(18) {
        0 => named(bytes, "create", BOX, |bytes| format!("\"set\":{{\"parent\":{}}}", maybe(bytes, BOX))),
        1 => named(bytes, "create", CARD, |bytes| format!("\"set\":{{\"box\":{},\"name\":{}}}", maybe(bytes, BOX), bytes.pick(&TEXTS))),
        2 => named(bytes, "create", KIND, |bytes| format!("\"set\":{{\"name\":{}}}", bytes.pick(&TEXTS))),
        3 => named(bytes, "create", LINK, |bytes| {
            let (kind, from) = (row(bytes, KIND), row(bytes, CARD));
            format!("\"set\":{{\"kind\":\"{kind}\",\"from\":{{\"card\":\"{from}\"}},\"to\":{{\"box\":\"{}\"}}}}", row(bytes, BOX))
        }),
        4 => named(bytes, "create", PAGE, |bytes| format!("\"set\":{{\"cover\":{}}}", maybe(bytes, PICTURE))),
        5 => named(bytes, "create", PICTURE, |bytes| format!("\"set\":{{\"page\":\"{}\"}}", row(bytes, PAGE))),
        6 | 7 => named(bytes, "update", BOX, |bytes| {
            format!(
                "\"set\":{{\"parent\":{},\"main\":{}}},\"was\":{{\"title\":{}}}",
                maybe(bytes, BOX),
                maybe(bytes, CARD),
                bytes.pick(&TEXTS)
            )
        }),
        8 => named(bytes, "update", CARD, |bytes| format!("\"set\":{{\"x\":{},\"box\":{}}}", bytes.pick(&NUMBERS), maybe(bytes, BOX))),
        9 => named(bytes, "update", CARD, |bytes| format!("\"add\":{{\"count\":{}}}", bytes.pick(&NUMBERS))),
        10 => named(bytes, "update", CARD, |bytes| format!("\"text\":{{\"name\":[{},{}]}}", bytes.pick(&TEXTS), bytes.pick(&TEXTS))),
        11 => named(bytes, "update", CARD, |bytes| {
            format!("\"insert\":{{\"labels\":{}}},\"remove\":{{\"labels\":{}}}", bytes.pick(&LABELS), bytes.pick(&LABELS))
        }),
        12 => named(bytes, "update", CARD, |_| "\"set\":{\"name_conflict\":null}".to_string()),
        13 => named(bytes, "update", LINK, |bytes| format!("\"set\":{{\"to\":{{\"card\":\"{}\"}}}}", row(bytes, CARD))),
        14..=16 => {
            let table = bytes.below(TABLES.len() as u64) as usize;
            named(bytes, "delete", table, |_| "\"set\":{}".to_string())
        }
        _ => named(bytes, "restore", BOX, |bytes| format!("\"set\":{{\"parent\":{}}}", maybe(bytes, BOX))),
    }
}

fn named(bytes: &mut Bytes, op: &str, table: usize, rest: impl FnOnce(&mut Bytes) -> String) -> String {
    let id = row(bytes, table);
    format!("{{\"op\":\"{op}\",\"table\":\"{}\",\"id\":\"{id}\",{}}}", TABLES[table].0, rest(bytes))
}

fn create(table: usize, n: u64, set: &str) -> String {
    format!("{{\"op\":\"create\",\"table\":\"{}\",\"id\":\"{}\",\"set\":{{{set}}}}}", TABLES[table].0, id(n))
}

fn row(bytes: &mut Bytes, table: usize) -> String {
    id(TABLES[table].1 + bytes.below(ROWS))
}

fn maybe(bytes: &mut Bytes, table: usize) -> String {
    if bytes.below(3) == 0 { "null".to_string() } else { format!("\"{}\"", row(bytes, table)) }
}

fn id(n: u64) -> String {
    format!("00000000-0000-7000-8000-{n:012x}")
}
