//! What goes wrong with a message, in its tree and in its bytes.

use super::rng::Rng;
use serde_json::{Value as Json, json};

/// Stands in a tree for bytes that no tree can hold.
const RAW: &str = "@raw@";
/// Longer than a transaction's body may be.
const LONG_CHARS: usize = 1_100_000;
const DEEP: usize = 100_000;

const FRAGMENTS: [&[u8]; 22] = [
    b"1e999",
    b"-0",
    b"-1",
    b"1.5",
    b"01",
    b"0x10",
    b"NaN",
    b"18446744073709551616",
    b"9223372036854775808",
    b"4294967296",
    b"\"\\ud800\"",
    b"\"\\udfff\\ud800\"",
    b"\"\\u0000\"",
    b"\"\x00\"",
    b"\"\xff\xfe\"",
    b"\"\xed\xa0\x80\"",
    b"{\"op\":\"create\",\"op\":\"delete\",\"op\":7}",
    b"{\"set\":{},\"set\":[]}",
    b"nul",
    b"",
    b"[,]",
    b"/**/1",
];

const NAMES: [&str; 10] = ["extra", "op", "set", "id", "key", "schema", "at", "was", "__proto__", ""];

/// Changes something anywhere in a message.
pub fn mutate(rng: &mut Rng, json: &mut Json) {
    let donor = any(rng, json).clone();
    let node = any(rng, json);
    match rng.below(8) {
        0 | 1 => *node = odd(rng),
        2 => *node = json!(RAW),
        3 => *node = donor,
        4 => *node = Json::Array(vec![node.take()]),
        5 => remove(rng, node),
        6 => extend(rng, node, donor),
        _ => rename(rng, node),
    }
}

/// The bytes of a message.
pub fn write(rng: &mut Rng, json: &Json) -> Vec<u8> {
    let text = json.to_string();
    let mark = format!("\"{RAW}\"");
    let Some((before, after)) = text.split_once(mark.as_str()) else { return text.into_bytes() };
    let raw = raw(rng);
    [before.as_bytes(), raw.as_slice(), after.as_bytes()].concat()
}

/// The bytes of a message that was damaged after it had been written.
pub fn damage(rng: &mut Rng, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let at = rng.below(bytes.len());
    match rng.below(8) {
        0 | 1 => bytes.truncate(at),
        2 => bytes[at] = 0,
        3 => bytes[at] = 0xff,
        4 => bytes.insert(at, b'}'),
        5 => bytes.extend_from_slice(text.as_bytes()),
        6 => bytes = [b"\xef\xbb\xbf".as_slice(), bytes.as_slice()].concat(),
        // The first member once more.
        _ => bytes = [b"{\"epoch\":1,".as_slice(), &bytes[1..]].concat(),
    }
    bytes
}

fn raw(rng: &mut Rng) -> Vec<u8> {
    match rng.below(FRAGMENTS.len() + 5) {
        // Around what a value may be nested, and what is read at all.
        0 => nested(60 + rng.below(80)),
        1 => nested(DEEP),
        2 => "[".repeat(DEEP).into_bytes(),
        3 => "{\"a\":".repeat(DEEP).into_bytes(),
        4 => format!("\"{}\"", "x".repeat(LONG_CHARS)).into_bytes(),
        n => FRAGMENTS[n - 5].to_vec(),
    }
}

fn nested(depth: usize) -> Vec<u8> {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth)).into_bytes()
}

/// A value that hardly any place expects.
fn odd(rng: &mut Rng) -> Json {
    match rng.below(14) {
        0 => Json::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(0.5),
        4 => json!(u64::MAX),
        5 => json!(i64::MIN),
        6 => json!(1e308),
        7 => json!(""),
        8 => json!([]),
        9 => json!({}),
        10 => json!("0".repeat(70_000)),
        11 => json!("\0\u{ffff}\u{202e}"),
        12 => json!("0199AAAA-BBBB-7CCC-8DDD-000000000001"),
        _ => json!([[[[[[[[1]]]]]]]]),
    }
}

fn count(json: &Json) -> usize {
    1 + match json {
        Json::Array(items) => items.iter().map(count).sum::<usize>(),
        Json::Object(members) => members.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

fn any<'a>(rng: &mut Rng, json: &'a mut Json) -> &'a mut Json {
    let mut n = rng.below(count(json));
    nth(json, &mut n).unwrap()
}

/// The nth value of a tree, itself first; `n` is lowered by those that are passed.
fn nth<'a>(json: &'a mut Json, n: &mut usize) -> Option<&'a mut Json> {
    if *n == 0 {
        return Some(json);
    }
    *n -= 1;
    match json {
        Json::Array(items) => items.iter_mut().find_map(|item| nth(item, n)),
        Json::Object(members) => members.values_mut().find_map(|member| nth(member, n)),
        _ => None,
    }
}

fn remove(rng: &mut Rng, node: &mut Json) {
    match node {
        Json::Array(items) if !items.is_empty() => drop(items.remove(rng.below(items.len()))),
        Json::Object(members) if !members.is_empty() => {
            let name = members.keys().nth(rng.below(members.len())).cloned().unwrap();
            members.remove(&name);
        }
        _ => *node = Json::Null,
    }
}

fn extend(rng: &mut Rng, node: &mut Json, donor: Json) {
    match node {
        Json::Array(items) => items.push(donor),
        Json::Object(members) => drop(members.insert(rng.pick(&NAMES).to_string(), donor)),
        _ => *node = odd(rng),
    }
}

fn rename(rng: &mut Rng, node: &mut Json) {
    match node {
        Json::Object(members) if !members.is_empty() => {
            let name = members.keys().nth(rng.below(members.len())).cloned().unwrap();
            let value = members.remove(&name).unwrap();
            members.insert(rng.pick(&NAMES).to_string(), value);
        }
        _ => *node = odd(rng),
    }
}
