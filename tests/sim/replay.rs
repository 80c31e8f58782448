//! Plays a trace of a real page again: the same calls on the same engine, which must come to the same outbox and view.

use driftline_core::engine::{Config, Disk, Effect, Engine, SlotDisk, parse_key};
use driftline_core::outbox::Key;
use driftline_core::schema::Schema;
use driftline_core::sender::SendFailure;
use driftline_core::trace::view_digest;
use serde_json::Value as Json;

/// As the trace shows of what waits.
const OUTBOX_SHOWN: usize = 1_000;

/// What a trace has come to.
pub struct Replayed {
    pub calls: usize,
    /// The one-line status at its end.
    pub line: String,
    /// The trace was cut off, so nothing is known of how it went on.
    pub truncated: bool,
    /// What differs from what the page had.
    pub differs: Vec<String>,
}

/// `tell` hears of each call, and of what the engine wants done.
pub fn replay(text: &str, tell: &mut dyn FnMut(&str)) -> Result<Replayed, String> {
    let mut lines = text.lines().enumerate();
    let first = lines.next().map_or("", |line| line.1);
    let mut engine = Engine::new(begin(&parse(1, first)?)?);
    let mut replayed = Replayed { calls: 0, line: String::new(), truncated: false, differs: Vec::new() };
    for (i, line) in lines {
        let json = parse(i + 1, line)?;
        match &json {
            Json::Array(call) => {
                tell(line);
                replayed.calls += 1;
                play(&mut engine, call, tell).ok_or(format!("line {}: not a call that is known: {line:.200}", i + 1))?;
            }
            _ if json["truncated"] == true => replayed.truncated = true,
            _ => replayed.differs = compare(&engine, &json),
        }
    }
    replayed.line = engine.line();
    Ok(replayed)
}

fn parse(line: usize, text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| format!("line {line}: {error}"))
}

fn begin(json: &Json) -> Result<Config, String> {
    if json["trace"] != 1 {
        return Err("this is no trace, or one of another version".to_string());
    }
    let number = |name: &str| json[name].as_u64().ok_or(format!("the trace has no {name}"));
    let schema = Schema::parse(json["schema"].as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
    Ok(Config {
        schema,
        slot: number("slot")? as u32,
        client: u64::from_str_radix(json["client"].as_str().unwrap_or_default(), 16).map_err(|error| error.to_string())?,
        high: keys(&json["high"]),
        imported: keys(&json["imported"]),
        seed: number("seed")?,
        outbox_txns: number("outbox_txns")? as usize,
        outbox_bytes: number("outbox_bytes")? as usize,
    })
}

fn keys(list: &Json) -> Vec<Key> {
    list.as_array().into_iter().flatten().filter_map(|key| parse_key(key.as_str()?)).collect()
}

fn texts(list: &Json) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_string())).collect()
}

fn slots(list: &Json) -> Vec<SlotDisk> {
    let slot = |slot: &Json| SlotDisk {
        slot: slot["slot"].as_u64().unwrap_or(0) as u32,
        records: texts(&slot["records"]),
        high: keys(&slot["high"]),
    };
    list.as_array().into_iter().flatten().map(slot).collect()
}

fn disk(json: &Json) -> Disk {
    Disk {
        meta: json["meta"].as_str().map(str::to_string),
        base: texts(&json["base"]),
        tails: texts(&json["tails"]),
        slots: slots(&json["slots"]),
    }
}

/// `None` where it is no call that an engine knows. What a call returns went to the page, and nowhere else.
fn play(engine: &mut Engine, call: &[Json], tell: &mut dyn FnMut(&str)) -> Option<()> {
    let now = call.get(1)?.as_u64()?;
    let number = |i: usize| call.get(i)?.as_u64();
    let text = |i: usize| call.get(i)?.as_str();
    match call.first()?.as_str()? {
        "poll" => (0..now).filter_map(|_| engine.poll()).for_each(|effect| tell(&told(&effect))),
        "transact" => drop(engine.transact(now, text(2)?)),
        "undo" => drop(engine.undo(now)),
        "redo" => drop(engine.redo(now)),
        "decide" => drop(engine.decide(now, text(2)?)),
        "export_unsynced" => drop(engine.export_unsynced(now)),
        "set_online" => engine.set_online(now, number(2)? == 1),
        "save_now" => engine.save_now(now),
        "tick" => engine.handle_tick(now),
        "storage" => engine.handle_storage(now, text(2).map(str::to_string)),
        "opened" => engine.handle_opened(now, disk(call.get(2)?)),
        "reloaded" => engine.handle_reloaded(now, disk(call.get(2)?)),
        "saved" => engine.handle_saved(now, number(2)? as u32, number(3)?),
        "save_failed" => engine.handle_save_failed(now, number(2)? as u32, number(3)?, text(4)?),
        "slot_lost" => engine.handle_slot_lost(now, number(2)? as u32),
        "base_lost" => engine.handle_base_lost(now),
        "committed" => engine.handle_committed(now, number(2)?),
        "commit_failed" => engine.handle_commit_failed(now, number(2)?, text(3)?),
        "peer" => engine.handle_peer(now, text(2)?),
        "lead" => engine.handle_lead(now, number(2)?, text(3), slots(call.get(4)?)),
        "unlead" => engine.handle_unlead(now),
        "adopted" => slots(call.get(2)?).into_iter().for_each(|slot| engine.handle_adopted(now, slot)),
        "epoch" => engine.handle_epoch(now, number(2)),
        "answer" => engine.handle_answer(now, number(2)?, number(3)? as u16, number(4), text(5)?),
        "send_failed" => engine.handle_send_failed(now, number(2)?, SendFailure::Network),
        "live_open" => engine.handle_live_open(now),
        "live_message" => engine.handle_live_message(now, text(2)?),
        "live_closed" => engine.handle_live_closed(now),
        _ => return None,
    }
    Some(())
}

fn told(effect: &Effect) -> String {
    format!("    {effect:.400?}")
}

fn compare(engine: &Engine, end: &Json) -> Vec<String> {
    let mut differs = Vec::new();
    let outbox: Json = serde_json::from_str(&engine.outbox_json(end["now"].as_u64().unwrap_or(0), OUTBOX_SHOWN)).unwrap_or_default();
    if outbox != end["outbox"] {
        differs.push(format!("the outbox: {outbox} here, {} there", end["outbox"]));
    }
    if end["view"] != format!("{:032x}", view_digest(engine)) {
        differs.push("the view".to_string());
    }
    if end["line"] != engine.line() {
        differs.push(format!("the status: {} here, {} there", engine.line(), end["line"]));
    }
    differs
}
