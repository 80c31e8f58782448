//! What an engine wants done.

use super::{Client, Input};
use crate::board::Mark;
use crate::live::Line;
use crate::tally::{Kind, lock};
use driftline_core::engine::{Effect, parse_key};
use driftline_core::json::Json;
use driftline_core::value::{RowId, write_string};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tokio::task::spawn_local;

impl Client {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        let now_ms = self.shared.clock.now_ms();
        match effect {
            Effect::Save { id, slot, client, .. } => {
                if client.is_some() {
                    self.count(Kind::Fault, "taken for a copy of another client");
                }
                self.engine.handle_saved(now_ms, slot, id);
            }
            Effect::Commit { id, .. } => self.engine.handle_committed(now_ms, id),
            Effect::Push { id, body } => {
                self.shared.tally.pushes.fetch_add(1, Relaxed);
                self.ask(id, "push", Some(body));
            }
            Effect::Fetch { id } => self.ask(id, "snapshot", None),
            Effect::Abort { id } => {
                if let Some((_, task)) = self.request.take_if(|request| request.0 == id) {
                    task.abort();
                    self.count(Kind::Error, "request without an answer in time");
                }
            }
            Effect::Connect { cursor } => self.connect(cursor),
            Effect::Disconnect => self.disconnect(),
            Effect::RenewEpoch { at_least } => {
                self.epoch = self.epoch.max(at_least);
                self.engine.handle_epoch(now_ms, Some(self.epoch));
            }
            Effect::Patch(patch) => self.show(&patch),
            Effect::Event(event) => self.hear(&event),
            Effect::Wake { at_ms } => self.wake_at_ms = Some(at_ms),
            // There are no other tabs.
            Effect::Broadcast(_) => {}
            Effect::Reload | Effect::Replace => self.count(Kind::Fault, "an effect that a lone tab never needs"),
        }
    }

    fn ask(&mut self, id: u64, route: &'static str, body: Option<String>) {
        let (http, inputs) = (self.http.clone(), self.inputs.clone());
        let task = spawn_local(async move {
            let answer = http.request(body).await;
            let _ = inputs.send(Input::Answered { id, route, answer }).await;
        });
        self.request = Some((id, task));
    }

    fn connect(&mut self, cursor: u64) {
        self.disconnect();
        self.lives += 1;
        let mut hello = format!("{{\"cursor\":{cursor},\"token\":");
        write_string(&self.seat.token, &mut hello);
        hello.push('}');
        let (space, inputs) = (self.seat.space.name.clone(), self.inputs.clone());
        let line = Line { address: self.shared.address, space, hello, number: self.lives, inputs };
        self.live = Some((self.lives, spawn_local(line.run())));
    }

    fn disconnect(&mut self) {
        if let Some((_, task)) = self.live.take() {
            task.abort();
        }
    }

    pub(super) fn hang_up(&mut self) {
        self.disconnect();
        if let Some((_, task)) = self.request.take() {
            task.abort();
        }
    }

    /// A patch of the view: whatever others made is on this client's screen now.
    fn show(&self, patch: &str) {
        let at = Instant::now();
        let json = Json::parse_or_null(patch);
        let mut board = lock(&self.seat.space.board);
        for change in json.as_list().unwrap_or_default() {
            let row = change.at(1).and_then(Json::as_str).and_then(RowId::parse);
            let mark = match change.at(2) {
                Some(Json::Null) => row.map(Mark::Gone),
                set => set.and_then(|set| set.uint("stamp")).map(Mark::Stamp),
            };
            if let Some(mark) = mark {
                board.show(mark, self.seat.place, at);
            }
        }
    }

    fn hear(&mut self, event: &str) {
        // By far the most of them.
        if event.starts_with("{\"event\":\"status\"") {
            return;
        }
        let json = Json::parse_or_null(event);
        let code = json.get("problem").and_then(|problem| problem.text("code")).unwrap_or("without a code");
        match json.text("event").unwrap_or("") {
            "accepted" => {
                let accepted = json.list("keys").len() as u64;
                self.shared.tally.accepted.fetch_add(accepted, Relaxed);
            }
            "parked" => {
                self.count(Kind::Parked, code);
                self.parked.extend(json.text("key").and_then(parse_key));
            }
            "notice" => self.count(Kind::Notice, code),
            "suspended" | "rekeyed" => self.count(Kind::Fault, json.text("event").unwrap_or("")),
            "error" => self.count(Kind::Fault, code),
            _ => {}
        }
    }
}
