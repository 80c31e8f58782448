//! Row ids, values and rows.

use crate::merge::Clocks;
use crate::schema::{Column, Kind, Schema};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A row's id: a UUID, made by the client. Packed, because a third of each value in memory would else be there to align it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(Rust, packed(8))]
pub struct RowId(pub u128);

impl RowId {
    /// Reads the 36-character form. Other spellings of the same id are refused, so that an id has one.
    pub fn parse(text: &str) -> Option<RowId> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return None;
        }
        // Two halves, because wasm has no larger numbers.
        let (mut halves, mut digits) = ([0u64; 2], 0);
        for (i, &b) in bytes.iter().enumerate() {
            if matches!(i, 8 | 13 | 18 | 23) {
                if b != b'-' {
                    return None;
                }
                continue;
            }
            let digit = match b {
                b'0'..=b'9' => b - b'0',
                b'a'..=b'f' => b - b'a' + 10,
                _ => return None,
            };
            let half = &mut halves[digits / 16];
            *half = *half << 4 | u64::from(digit);
            digits += 1;
        }
        Some(RowId(u128::from(halves[0]) << 64 | u128::from(halves[1])))
    }

    pub fn write(self, out: &mut String) {
        let digits = hex(self.0);
        let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
        for (i, group) in groups.into_iter().enumerate() {
            out.push_str(if i > 0 { "-" } else { "" });
            push_ascii(&digits[group], out);
        }
    }
}

impl std::fmt::Display for RowId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::with_capacity(36);
        self.write(&mut out);
        f.write_str(&out)
    }
}

/// A row of a space: the table's index in its schema, and the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    pub table: u16,
    pub id: RowId,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// `int` and `counter` columns.
    Int(i64),
    Real(f64),
    Text(String),
    /// JSON text with sorted members and no spaces, so that equal values are equal bytes.
    Json(String),
    Ref(RowKey),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The JSON of a value that is no reference.
    pub fn write_plain(&self, out: &mut String) {
        match self {
            Value::Null | Value::Ref(_) => out.push_str("null"),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Int(i) => write_int(*i, out),
            Value::Real(r) => write_real(*r, out),
            Value::Text(t) => write_string(t, out),
            Value::Json(j) => out.push_str(j),
        }
    }

    pub fn write_json(&self, schema: &Schema, column: &Column, out: &mut String) {
        match self {
            Value::Ref(key) => {
                let several = matches!(&column.kind, Kind::Ref { to, .. } if to.len() > 1);
                if several {
                    out.push('{');
                    write_string(&schema.tables[key.table as usize].name, out);
                    out.push(':');
                }
                out.push('"');
                key.id.write(out);
                out.push('"');
                if several {
                    out.push('}');
                }
            }
            _ => self.write_plain(out),
        }
    }
}

/// A row. Its copies are one until one of them changes.
#[derive(Debug, Clone)]
pub struct Row(Arc<Content>);

/// The values of a row in the order of its table's columns, and when each was written (on a server).
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    pub values: Vec<Value>,
    pub clocks: Clocks,
}

impl Deref for Row {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.0
    }
}

impl DerefMut for Row {
    fn deref_mut(&mut self) -> &mut Content {
        Arc::make_mut(&mut self.0)
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Row) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Row {
    pub fn new(values: Vec<Value>, clocks: Clocks) -> Row {
        Row(Arc::new(Content { values, clocks }))
    }

    /// A row as clients hold it: without clocks.
    pub fn of(values: Vec<Value>) -> Row {
        Row::new(values, Clocks::default())
    }

    pub fn reference_list(&self) -> Vec<(u16, RowKey)> {
        self.references().collect()
    }

    /// The rows this row refers to, with the column that does.
    pub fn references(&self) -> impl Iterator<Item = (u16, RowKey)> + '_ {
        self.values.iter().enumerate().filter_map(|(column, value)| match value {
            Value::Ref(target) => Some((column as u16, *target)),
            _ => None,
        })
    }
}

/// Writes a JSON string, quotes included.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    // Most texts have nothing to escape, and go as they are.
    while let Some(at) = rest.bytes().position(|b| b < 0x20 || b == b'"' || b == b'\\') {
        out.push_str(&rest[..at]);
        write_escaped(rest.as_bytes()[at], out);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

fn write_escaped(byte: u8, out: &mut String) {
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        b'\n' => out.push_str("\\n"),
        8 => out.push_str("\\b"),
        12 => out.push_str("\\f"),
        b'\r' => out.push_str("\\r"),
        b'\t' => out.push_str("\\t"),
        _ => {
            out.push_str("\\u00");
            push_ascii(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]], out);
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn hex(value: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(value.to_be_bytes()) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    digits
}

fn push_ascii(bytes: &[u8], out: &mut String) {
    out.push_str(std::str::from_utf8(bytes).unwrap_or_default());
}

pub fn write_int(value: i64, out: &mut String) {
    if value < 0 {
        out.push('-');
    }
    write_uint(value.unsigned_abs(), out);
}

pub fn write_uint(mut value: u64, out: &mut String) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    push_ascii(&digits[at..], out);
}

pub fn write_real(value: f64, out: &mut String) {
    // Whole numbers are the common case on a canvas, and shorter without a fraction.
    if value.fract() == 0.0 && value.abs() < 1e15 {
        write_int(value as i64, out);
        return;
    }
    // The shortest text that reads back as the same number; `null` for what is none.
    out.push_str(&serde_json::to_string(&value).unwrap_or_default());
}

pub fn write_hex64(value: u64, out: &mut String) {
    push_ascii(&hex(u128::from(value))[16..], out);
}

pub fn write_hex128(value: u128, out: &mut String) {
    push_ascii(&hex(value), out);
}

/// Reads exactly 16 lower-case hex digits.
pub fn parse_hex64(text: &str) -> Option<u64> {
    let ok = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if ok { u64::from_str_radix(text, 16).ok() } else { None }
}

/// Reads exactly 32 lower-case hex digits.
pub fn parse_hex128(text: &str) -> Option<u128> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let (high, low) = text.split_at(16);
    Some(u128::from(parse_hex64(high)?) << 64 | u128::from(parse_hex64(low)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        let text = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0123";
        assert_eq!(RowId::parse(text).unwrap().to_string(), text);
        for bad in ["", "0199AAAA-bbbb-7ccc-8ddd-eeeeffff0123", "0199aaaabbbb7ccc8dddeeeeffff0123", "0199aaaa-bbbb-7ccc-8ddd-eeeeffff012g"]
        {
            assert_eq!(RowId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn strings_and_numbers_read_back_as_written() {
        let mut out = String::new();
        let text = "quote \" slash \\ line \n bell \u{7} umlaut ü \u{1F600}";
        write_string(text, &mut out);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        for real in [0.0, -0.5, 1e300, 4.35, 1e15, -1e15, 123456789.123, 156.65999999999985, f64::MIN_POSITIVE] {
            let mut out = String::new();
            write_real(real, &mut out);
            assert_eq!(serde_json::from_str::<f64>(&out).unwrap(), real, "{out}");
        }
        for int in [0, -1, i64::MAX, i64::MIN] {
            let mut out = String::new();
            write_int(int, &mut out);
            assert_eq!(out, int.to_string());
        }
    }
}
