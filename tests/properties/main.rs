//! `properties [--histories N] [--from M] [--family F] [--steps K] [--trace]`: runs N random histories of each family of rules, and
//! says what was met and what was found. Exit code 1 on any finding, and where a full run met a situation too seldom.
//!
//! The core is real, and so is the server's decision; the store is the simulator's. What should come out is worked out anew
//! in [`model`], by plain loops over plain maps. Nothing reads a clock or draws real chance, so a seed replays exactly, and
//! the first steps of a history are the same however far it goes: what fails is cut down to its shortest failing beginning.

mod batches;
mod dedupe;
mod integrity;
mod making;
mod merge;
mod migrations;
mod model;
mod order;
mod run;
mod tab;
mod undo;
mod view;

use run::{Family, Finding, Run, Schemas};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

const FAMILIES: [Family; 8] =
    [order::FAMILY, dedupe::FAMILY, integrity::FAMILY, merge::FAMILY, batches::FAMILY, view::FAMILY, undo::FAMILY, migrations::FAMILY];

/// A run of so many histories must meet every situation, and each so often.
const FULL_RUN: u64 = 10_000;
const LEAST_HITS: u64 = 50;
/// Failing histories that are cut down and shown; the rest are counted.
const SHOWN: usize = 3;

struct Options {
    histories: u64,
    from: u64,
    family: Option<String>,
    steps: usize,
    trace: bool,
    threads: u64,
}

fn options() -> Result<Options, String> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let mut options = Options { histories: FULL_RUN, from: 1, family: None, steps: usize::MAX, trace: false, threads };
    let mut histories = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut word = || args.next().ok_or(format!("{arg} takes a value"));
        let number = |word: String| word.parse::<u64>().map_err(|_| format!("{arg} takes a number"));
        match arg.as_str() {
            "--histories" => histories = Some(number(word()?)?),
            "--from" => options.from = number(word()?)?,
            "--family" => options.family = Some(word()?),
            "--steps" => options.steps = number(word()?)? as usize,
            "--threads" => options.threads = number(word()?)?.max(1),
            "--trace" => options.trace = true,
            _ => {
                let usage = "properties [--histories N] [--from M] [--family F] [--steps K] [--threads T] [--trace]";
                return Err(format!("{arg} is not an option; usage: {usage}"));
            }
        }
    }
    // One seed and one family are a replay.
    let replay = options.from != 1 && options.family.is_some();
    options.histories = histories.unwrap_or(if replay { 1 } else { FULL_RUN });
    match &options.family {
        Some(name) if !FAMILIES.iter().any(|family| family.name == name) => Err(format!("there is no family {name}")),
        _ => Ok(options),
    }
}

/// What a family's histories came to.
#[derive(Default)]
struct Tally {
    histories: u64,
    steps: u64,
    transactions: u64,
    hits: Vec<u64>,
    failed: BTreeMap<u64, Finding>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.histories += other.histories;
        self.steps += other.steps;
        self.transactions += other.transactions;
        self.hits.resize(self.hits.len().max(other.hits.len()), 0);
        self.hits.iter_mut().zip(other.hits).for_each(|(sum, hits)| *sum += hits);
        self.failed.extend(other.failed);
    }
}

/// Runs one history, or its first steps. A panic is a finding like any other.
fn run_one(family: &Family, schemas: &Schemas, seed: u64, most: usize, trace: bool) -> (Tally, Option<Finding>) {
    let mut run = Run::new(family, schemas, seed, most, trace);
    let panicked = catch_unwind(AssertUnwindSafe(|| (family.run)(&mut run))).is_err();
    let panic = panicked.then(|| Finding { rule: "panic", text: "it panicked".to_string() });
    let finding = panic.or(run.findings.first().cloned());
    let failed = finding.iter().map(|finding| (seed, finding.clone())).collect();
    (Tally { histories: 1, steps: run.steps as u64, transactions: run.transactions, hits: run.hits, failed }, finding)
}

fn run_some(family: &Family, options: &Options, first: u64, step: u64) -> Tally {
    let schemas = Schemas::new();
    let mut tally = Tally::default();
    for seed in (options.from + first..options.from + options.histories).step_by(step as usize) {
        tally.add(run_one(family, &schemas, seed, options.steps, options.trace).0);
    }
    tally
}

fn run_all(family: &Family, options: &Options) -> Tally {
    let threads = if options.trace { 1 } else { options.threads.min(options.histories.max(1)) };
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(move || run_some(family, options, first, threads))).collect();
        for worker in workers {
            tally.add(worker.join().unwrap_or_default());
        }
    });
    tally
}

/// The shortest beginning of a history that fails.
fn shortest(family: &Family, seed: u64, most: usize) -> Option<(usize, Finding)> {
    let schemas = Schemas::new();
    let whole = run_one(family, &schemas, seed, most, false).0.steps as usize;
    (0..=whole).find_map(|steps| run_one(family, &schemas, seed, steps, false).1.map(|finding| (steps, finding)))
}

/// Prints what came of a family; returns whether all is well.
fn report(family: &Family, options: &Options, tally: &Tally, seconds: f64) -> bool {
    println!(
        "{} ({}): {} histories, {} steps, {} transactions, {seconds:.1} s",
        family.name, family.rules, tally.histories, tally.steps, tally.transactions
    );
    for (situation, hits) in family.situations.iter().zip(&tally.hits) {
        println!("  {hits:>8} {situation}");
    }
    for (seed, finding) in tally.failed.iter().take(SHOWN) {
        println!("  seed {seed} breaks {}: {}", finding.rule, finding.text);
        if let Some((steps, finding)) = shortest(family, *seed, options.steps) {
            println!("    its first {steps} steps are enough, for {}: {}", finding.rule, finding.text);
            println!("    replay: npm run properties -- --family {} --from {seed} --histories 1 --steps {steps} --trace", family.name);
        }
    }
    if !tally.failed.is_empty() {
        let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
        tally.failed.values().for_each(|finding| *rules.entry(finding.rule).or_insert(0) += 1);
        println!("  failed: {} of {}: {rules:?}", tally.failed.len(), tally.histories);
    }
    let is_full = tally.histories >= FULL_RUN;
    let seldom = family.situations.iter().zip(&tally.hits).filter(|(_, hits)| is_full && **hits < LEAST_HITS);
    let seldom: Vec<&str> = seldom.map(|(situation, _)| *situation).collect();
    if !seldom.is_empty() {
        println!("  met fewer than {LEAST_HITS} times: {}", seldom.join(", "));
    }
    tally.failed.is_empty() && seldom.is_empty()
}

fn main() {
    let options = match options() {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            std::process::exit(2);
        }
    };
    let mut all_well = true;
    let (mut histories, began) = (0, Instant::now());
    for family in FAMILIES.iter().filter(|family| options.family.as_ref().is_none_or(|name| name == family.name)) {
        let start = Instant::now();
        let tally = run_all(family, &options);
        histories += tally.histories;
        all_well &= report(family, &options, &tally, start.elapsed().as_secs_f64());
    }
    println!("{histories} histories in {:.1} s: {}", began.elapsed().as_secs_f64(), if all_well { "all rules hold" } else { "FAILED" });
    if !all_well {
        std::process::exit(1);
    }
}
