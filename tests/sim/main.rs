//! `sim --seeds N [--from M] [--trace]`: runs the worlds of N seeds and says what was found. Exit code 1 on any finding.
//! `sim --replay FILE [--trace]`: plays what a page has recorded, and says whether that comes to the same.
//! A seed that fails is shrunk: `--skip` and `--without` play the part of its history that is left.

use driftline_tests::sim::faults::{STATES, can_hit};
use driftline_tests::sim::replay::replay;
use driftline_tests::sim::shrink::shrink;
use driftline_tests::sim::world::MOST_WORK;
use driftline_tests::sim::{Finding, KINDS, Part, Stats, run};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Findings shown in full; the rest are counted.
const SHOWN: usize = 5;
/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(30);
const USAGE: &str = "usage: sim --seeds N [--from M] [--threads T] [--skip 3,5-9] [--without FAULT,FAULT] [--no-shrink] [--trace]
       sim --replay FILE [--trace]";

struct Options {
    seeds: u64,
    from: u64,
    threads: u64,
    part: Part,
    shrinks: bool,
    trace: bool,
    replay: Option<String>,
}

fn options() -> Result<Options, String> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let mut options = Options { seeds: 1_000, from: 1, threads, part: Part::default(), shrinks: true, trace: false, replay: None };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} takes a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is not a number"));
        match arg.as_str() {
            "--seeds" => options.seeds = number(value()?)?,
            "--from" => options.from = number(value()?)?,
            "--threads" => options.threads = number(value()?)?.max(1),
            "--skip" => {
                for range in value()?.split(',') {
                    let (from, to) = range.split_once('-').unwrap_or((range, range));
                    options.part.skip.extend(number(from.to_string())?..=number(to.to_string())?);
                }
            }
            "--without" => options.part.without.extend(value()?.split(',').map(str::to_string)),
            "--no-shrink" => options.shrinks = false,
            "--trace" => options.trace = true,
            "--replay" => options.replay = Some(value()?),
            _ => return Err(format!("{arg} is not an option; {USAGE}")),
        }
    }
    Ok(options)
}

/// Returns the exit code.
fn print_replay(file: &str, is_told: bool) -> i32 {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"));
    let replayed = text.and_then(|text| {
        replay(&text, &mut |line| {
            if is_told {
                println!("{line}")
            }
        })
    });
    match replayed {
        Ok(replayed) => {
            replayed.differs.iter().for_each(|text| println!("differs: {text}"));
            let end = if replayed.truncated { "the trace was cut off here" } else { "that is where the page was" };
            let end = if replayed.differs.is_empty() { end } else { "that is not where the page was" };
            println!("{} calls, {}: {end}", replayed.calls, replayed.line);
            i32::from(!replayed.differs.is_empty())
        }
        Err(text) => {
            eprintln!("{text}");
            2
        }
    }
}

type Outcome = (Stats, BTreeMap<u64, Vec<Finding>>);

/// Runs every `step`-th seed. A panic is a finding like any other.
fn run_some(options: &Options, first: u64, step: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut told = Instant::now();
    for seed in (options.from + first..options.from + options.seeds).step_by(step as usize) {
        match std::panic::catch_unwind(|| run(seed, &options.part, options.trace)) {
            Ok((stats, found)) => {
                outcome.0.add(&stats);
                if let Some(first) = found.first() {
                    eprintln!("seed {seed} failed: {}", first.kind);
                    outcome.1.insert(seed, found);
                }
            }
            Err(_) => drop(outcome.1.insert(seed, vec![Finding { kind: "panic", text: "it panicked".to_string() }])),
        }
        if first == 0 && told.elapsed() > PROGRESS {
            told = Instant::now();
            eprintln!("{} of {} seeds, {} failed so far in this thread", seed - options.from, options.seeds, outcome.1.len());
        }
    }
    outcome
}

fn main() {
    let options = match options() {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            std::process::exit(2);
        }
    };
    if let Some(file) = &options.replay {
        std::process::exit(print_replay(file, options.trace));
    }
    let start = Instant::now();
    let threads = if options.trace { 1 } else { options.threads.min(options.seeds.max(1)) };
    let mut stats = Stats::default();
    let mut failed = BTreeMap::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn({
                    let options = &options;
                    move || run_some(options, first, threads)
                })
            })
            .collect();
        for worker in workers {
            let (some, found) = worker.join().unwrap_or_default();
            stats.add(&some);
            failed.extend(found);
        }
    });
    print(&options, &stats, &failed, start.elapsed().as_secs_f64());
    if let Some(seed) = failed.keys().next().filter(|_| options.shrinks && !options.trace) {
        print_shrunk(*seed, &stats);
    }
    if !failed.is_empty() {
        std::process::exit(1);
    }
}

fn print_shrunk(seed: u64, stats: &Stats) {
    let faults: Vec<&str> = stats.faults.keys().copied().collect();
    let Some((part, finding)) = shrink(seed, &faults) else { return };
    println!(
        "seed {seed} shrunk: {} of {MOST_WORK} things done are left, {} kinds of faults",
        MOST_WORK - part.skip.len() as u64,
        faults.len() - part.without.len()
    );
    println!("  {}: {}", finding.kind, finding.text);
    let without: Vec<&str> = part.without.iter().map(String::as_str).collect();
    let mut skip: Vec<(u64, u64)> = Vec::new();
    for at in part.skip {
        match skip.last_mut() {
            Some(last) if last.1 + 1 == at => last.1 = at,
            _ => skip.push((at, at)),
        }
    }
    let skip: Vec<String> = skip.iter().map(|(from, to)| format!("{from}-{to}")).collect();
    println!("  replay: npm run sim -- --from {seed} --seeds 1 --trace --skip {} --without '{}'", skip.join(","), without.join(","));
}

fn print(options: &Options, stats: &Stats, failed: &BTreeMap<u64, Vec<Finding>>, seconds: f64) {
    for (seed, findings) in failed.iter().take(SHOWN) {
        println!("seed {seed}:");
        for finding in findings.iter().take(4) {
            println!("  {}: {}", finding.kind, finding.text);
        }
        println!("  replay: npm run sim -- --from {seed} --seeds 1 --trace");
    }
    if !failed.is_empty() {
        let seeds: Vec<String> = failed.iter().take(40).map(|(seed, found)| format!("{seed} {}", found[0].kind)).collect();
        println!("failed: {} of {}: {}", failed.len(), options.seeds, seeds.join(", "));
    }
    let seeds = options.seeds;
    println!("seeds {seeds} (from {}), edits {}, refused when made {}", options.from, stats.edits, stats.refused);
    println!("folded {}, applied {}, parked {}, requests {}", stats.folded, stats.applied, stats.parked, stats.pushes);
    for (event, count) in &stats.events {
        println!("  {count:>8} {event}");
    }
    let total: u64 = stats.faults.values().flat_map(BTreeMap::values).sum();
    println!("faults {total}, by what the tabs that they hit were doing");
    let heads: Vec<String> = STATES.iter().map(|state| format!("{state:>10}")).collect();
    println!("  {:34}{}", "", heads.concat());
    for (fault, states) in &stats.faults {
        let cell = |state: &&str| match states.get(state).copied().unwrap_or(0) {
            0 if !can_hit(fault, state) => format!("{:>10}", "-"),
            hits => format!("{hits:>10}"),
        };
        let cells: Vec<String> = STATES.iter().map(cell).collect();
        println!("  {fault:34}{}", cells.concat());
    }
    let cells =
        stats.faults.iter().flat_map(|(fault, states)| STATES.map(|state| (states.get(state).copied().unwrap_or(0), *fault, state)));
    if let Some((hits, fault, state)) = cells.filter(|(_, fault, state)| can_hit(fault, state)).min() {
        println!("  - cannot be; the least of the others is {hits}: {fault} while {state}");
    }
    for kind in KINDS {
        let count: usize = failed.values().flatten().filter(|finding| finding.kind == kind).count();
        println!("{kind} {count}");
    }
    let [hours, silent] = [stats.virtual_ms, stats.silent_ms].map(|ms| ms as f64 / 3_600_000.0);
    let seeds = seeds as f64;
    println!("a history has {:.0} edits and {:.0} faults on average", stats.edits as f64 / seeds, total as f64 / seeds);
    let (seeds_per_s, edits_per_s) = (seeds / seconds, stats.edits as f64 / seconds);
    println!("{seconds:.1} s: {seeds_per_s:.0} seeds/s, {edits_per_s:.0} edits/s, {hours:.0} virtual hours, {silent:.0} of them silent");
}
