//! What a shell has told an engine, in order. The engine knows nothing else, so another that is told the same comes to the same.
//!
//! A trace is lines of JSON. The first is what the engine began with; each further one is a call, `["name", time, …]`, named after the
//! command or the `handle_*` method, or `["poll", n]`, so often in a row; the last is what has come of it: `{"outbox", "view", "line"}`.

use crate::digest::Digest;
use crate::engine::{Config, Disk, Engine, SlotDisk, write_keys};
use crate::value::{write_hex64, write_hex128, write_string, write_uint};

/// Of a trace so much is kept, from its beginning.
pub const TRACE_BYTES: usize = 32 * 1024 * 1024;
/// Of what waits, so many are compared.
const OUTBOX_SHOWN: usize = 1_000;

/// What a call was given.
pub enum Arg<'a> {
    Nothing,
    Number(u64),
    Text(&'a str),
    Disk(&'a Disk),
    Slots(&'a [SlotDisk]),
}

/// A call, written down before it is made: what it is given may be gone afterwards.
pub struct Call {
    name: &'static str,
    args: String,
}

impl Call {
    pub fn new(name: &'static str, args: &[Arg<'_>]) -> Call {
        let mut out = String::new();
        for arg in args {
            out.push(',');
            match arg {
                Arg::Nothing => out.push_str("null"),
                Arg::Number(number) => write_uint(*number, &mut out),
                Arg::Text(text) => write_string(text, &mut out),
                Arg::Slots(slots) => write_slots(slots, &mut out),
                Arg::Disk(disk) => write_disk(disk, &mut out),
            }
        }
        Call { name, args: out }
    }
}

pub struct Trace {
    text: String,
    polls: u64,
    is_whole: bool,
}

impl Trace {
    /// `schema` is its text.
    pub fn begin(config: &Config, schema: &str) -> Trace {
        let mut text = String::from("{\"trace\":1,\"slot\":");
        write_uint(u64::from(config.slot), &mut text);
        text.push_str(",\"client\":\"");
        write_hex64(config.client, &mut text);
        text.push_str("\",\"seed\":");
        write_uint(config.seed, &mut text);
        text.push_str(",\"outbox_txns\":");
        write_uint(config.outbox_txns as u64, &mut text);
        text.push_str(",\"outbox_bytes\":");
        write_uint(config.outbox_bytes as u64, &mut text);
        text.push_str(",\"high\":");
        write_keys(&config.high, &mut text);
        text.push_str(",\"imported\":");
        write_keys(&config.imported, &mut text);
        text.push_str(",\"schema\":");
        write_string(schema, &mut text);
        text.push('}');
        Trace { text, polls: 0, is_whole: true }
    }

    /// Whether there is room for more.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// [`Engine::poll`] is called.
    pub fn polled(&mut self) {
        self.polls += 1;
    }

    /// Something else is called.
    pub fn called(&mut self, now_ms: u64, call: &Call) {
        self.write_polls();
        self.is_whole &= self.text.len() + call.args.len() < TRACE_BYTES;
        if self.is_whole {
            self.text.push_str("\n[\"");
            self.text.push_str(call.name);
            self.text.push_str("\",");
            write_uint(now_ms, &mut self.text);
            self.text.push_str(&call.args);
            self.text.push(']');
        }
    }

    /// The trace so far.
    pub fn text(&mut self, engine: &Engine, now_ms: u64) -> String {
        self.write_polls();
        let mut text = self.text.clone();
        if !self.is_whole {
            text.push_str("\n{\"truncated\":true}");
            return text;
        }
        text.push_str("\n{\"outbox\":");
        text.push_str(&engine.outbox_json(now_ms, OUTBOX_SHOWN));
        text.push_str(",\"view\":\"");
        write_hex128(view_digest(engine), &mut text);
        text.push_str("\",\"now\":");
        write_uint(now_ms, &mut text);
        text.push_str(",\"line\":\"");
        text.push_str(&engine.line());
        text.push_str("\"}");
        text
    }

    fn write_polls(&mut self) {
        if self.polls > 0 && self.is_whole {
            self.text.push_str("\n[\"poll\",");
            write_uint(self.polls, &mut self.text);
            self.text.push(']');
        }
        self.polls = 0;
    }
}

/// A digest of what the application sees.
pub fn view_digest(engine: &Engine) -> u128 {
    let mut digest = Digest::default();
    for (key, row) in engine.replica().view().iter() {
        digest.add(engine.schema(), *key, row);
    }
    digest.0
}

fn write_disk(disk: &Disk, out: &mut String) {
    out.push_str("{\"meta\":");
    match &disk.meta {
        Some(meta) => write_string(meta, out),
        None => out.push_str("null"),
    }
    out.push_str(",\"base\":");
    write_texts(&disk.base, out);
    out.push_str(",\"tails\":");
    write_texts(&disk.tails, out);
    out.push_str(",\"slots\":");
    write_slots(&disk.slots, out);
    out.push('}');
}

fn write_slots(slots: &[SlotDisk], out: &mut String) {
    out.push('[');
    for (i, slot) in slots.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"slot\":" } else { "{\"slot\":" });
        write_uint(u64::from(slot.slot), out);
        out.push_str(",\"records\":");
        write_texts(&slot.records, out);
        out.push_str(",\"high\":");
        write_keys(&slot.high, out);
        out.push('}');
    }
    out.push(']');
}

fn write_texts(texts: &[String], out: &mut String) {
    out.push('[');
    for (i, text) in texts.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        write_string(text, out);
    }
    out.push(']');
}
