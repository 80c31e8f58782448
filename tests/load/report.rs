//! What came of it, as a table and as JSON.

use crate::histogram::Histogram;
use crate::rest::Settled;
use crate::soak::{Soak, Trend};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// What the workload brings about by itself: a card is connected while somebody else deletes it.
const EXPECTED: [&str; 1] = ["missing_parent"];
/// Later than this, and edits are made in bursts: the machine is too slow for the load, and the figures are the load's as well.
const LATE_US: u64 = 100_000;

/// Of the server, in KiB.
pub struct Memory {
    pub before_kib: u64,
    /// Everybody is there, and nobody has made anything.
    pub connected_kib: u64,
    /// While edits are made.
    pub steady_kib: u64,
    pub end_kib: u64,
    pub peak_kib: u64,
}

impl Memory {
    fn per_client_kib(&self, clients: usize) -> f64 {
        (self.steady_kib as f64 - self.before_kib as f64) / clients as f64
    }
}

pub struct Report {
    pub clients: usize,
    pub spaces: usize,
    pub rate: f64,
    pub seed: u64,
    /// How long edits were made.
    pub seconds: f64,
    pub made: u64,
    /// While edits were made.
    pub accepted: u64,
    pub accepted_in_the_end: u64,
    pub pushes: u64,
    /// From making an edit to another client's showing it.
    pub times: Histogram,
    /// How often another client never showed an edit, as a later one had taken its place.
    pub overtaken: u64,
    /// How much later than planned edits were made.
    pub late: Histogram,
    pub memory: Memory,
    pub server_cpu_s: f64,
    pub load_cpu_s: f64,
    pub errors: BTreeMap<String, u64>,
    pub unmade: BTreeMap<String, u64>,
    pub parked: BTreeMap<String, u64>,
    pub notices: BTreeMap<String, u64>,
    pub faults: BTreeMap<String, u64>,
    pub settled: Settled,
    pub soak: Option<Soak>,
}

pub fn milliseconds(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1_000.0)
}

fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1_024.0)
}

fn row(name: &str, value: impl std::fmt::Display) {
    println!("  {name:<32} {value}");
}

fn counts(name: &str, counts: &BTreeMap<String, u64>) {
    row(name, counts.values().sum::<u64>());
    for (what, count) in counts {
        println!("      {count:>8} {what}");
    }
}

impl Report {
    /// Whether everybody has recovered, and nothing has come that must not.
    pub fn is_well(&self) -> bool {
        let is_expected = |code: &String| EXPECTED.contains(&code.as_str());
        self.settled.behind.is_empty() && self.faults.is_empty() && self.parked.keys().all(is_expected)
    }

    fn each_s(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }

    /// Accepted edits for each second that the server had a core to itself.
    fn per_core(&self) -> f64 {
        if self.server_cpu_s > 0.0 { self.accepted as f64 / self.server_cpu_s } else { 0.0 }
    }

    pub fn print(&self) {
        println!("\n{} clients in {} spaces, {:.1} s of edits, seed {}", self.clients, self.spaces, self.seconds, self.seed);
        self.print_edits();
        self.print_server();
        counts("errors", &self.errors);
        counts("refused, and given up", &self.parked);
        counts("not let be made", &self.unmade);
        counts("notices", &self.notices);
        counts("faults", &self.faults);
        self.print_soak();
        let behind = &self.settled.behind;
        match behind.is_empty() {
            true => row("everybody has recovered after", format!("{:.1} s", self.settled.seconds)),
            false => row("NOT RECOVERED, spaces", behind.len()),
        }
        behind.iter().for_each(|why| println!("      {why}"));
        println!("{}", if self.is_well() { "all is well" } else { "NOT ALL IS WELL" });
    }

    fn print_edits(&self) {
        let Report { made, accepted, times, late, overtaken, .. } = self;
        row("edits made", format!("{made}, {:.1}/s", self.each_s(*made)));
        row("edits accepted meanwhile", format!("{accepted}, {:.1}/s", self.each_s(*accepted)));
        row("edits accepted in the end", self.accepted_in_the_end);
        row("pushes", format!("{:.1}/s", self.each_s(self.pushes)));
        row("shown to others", format!("{} times, {overtaken} times overtaken by a later edit", times.count()));
        for (name, share) in [("  p50", 0.5), ("  p95", 0.95), ("  p99", 0.99)] {
            row(name, milliseconds(times.quantile_us(share)));
        }
        row("  most", milliseconds(times.most_us()));
        let (p99, most) = (late.quantile_us(0.99), late.most_us());
        row("made later than planned", format!("{} (p99), {} at most", milliseconds(p99), milliseconds(most)));
        if p99 > LATE_US {
            println!("      the load itself was too slow: give it more cores, or fewer clients");
        }
    }

    fn print_server(&self) {
        let Memory { before_kib, connected_kib, steady_kib, end_kib, peak_kib } = self.memory;
        row("server's memory before", mib(before_kib));
        row("  clients live and idle", mib(connected_kib));
        row("  while edits were made", mib(steady_kib));
        row("  at the end, and at most", format!("{}, {}", mib(end_kib), mib(peak_kib)));
        row("  for each client", format!("{:.1} KiB", self.memory.per_client_kib(self.clients)));
        row("server's cores", format!("{:.2}", self.server_cpu_s / self.seconds));
        row("edits a second of a core", format!("{:.0}", self.per_core()));
        row("cores of the load itself", format!("{:.2}", self.load_cpu_s / self.seconds));
    }

    fn print_soak(&self) {
        let Some(soak) = &self.soak else { return };
        let tell = |trend: Option<Trend>, unit: &str| match trend {
            Some(trend) => format!("{:+.2} {unit} a minute: {}", trend.per_minute, if trend.is_flat { "flat" } else { "NOT FLAT" }),
            None => "too few points".to_string(),
        };
        row("memory over the second half", tell(soak.memory(), "KiB"));
        row("marks over the second half", tell(soak.marks(), "marks"));
    }

    pub fn to_json(&self) -> Json {
        let Memory { before_kib, connected_kib, steady_kib, end_kib, peak_kib } = self.memory;
        json!({
            "clients": self.clients, "spaces": self.spaces, "rate": self.rate, "seed": self.seed, "seconds": self.seconds,
            "edits": {
                "made": self.made, "accepted": self.accepted, "accepted_in_the_end": self.accepted_in_the_end,
                "made_per_s": self.each_s(self.made), "accepted_per_s": self.each_s(self.accepted), "accepted_per_core_s": self.per_core(),
                "pushes_per_s": self.each_s(self.pushes), "overtaken": self.overtaken,
            },
            "shown_ms": times(&self.times),
            "late_ms": times(&self.late),
            "server": {
                "before_kib": before_kib, "connected_kib": connected_kib, "steady_kib": steady_kib, "end_kib": end_kib, "peak_kib": peak_kib,
                "per_client_kib": self.memory.per_client_kib(self.clients), "cores": self.server_cpu_s / self.seconds,
            },
            "load_cores": self.load_cpu_s / self.seconds,
            "errors": self.errors, "parked": self.parked, "unmade": self.unmade, "notices": self.notices, "faults": self.faults,
            "rest_s": self.settled.seconds, "behind": self.settled.behind, "is_well": self.is_well(),
            "soak": self.soak.as_ref().map(Soak::to_json),
        })
    }
}

fn times(times: &Histogram) -> Json {
    let ms = |us: u64| us as f64 / 1_000.0;
    let quantile = |share: f64| ms(times.quantile_us(share));
    json!({"count": times.count(), "p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99), "max": ms(times.most_us())})
}
