//! `sim --seeds N [--from M] [--trace]`: runs the worlds of N seeds and says what was found. Exit code 1 on any finding.

use driftline_tests::sim::{Finding, KINDS, Stats, run};
use std::collections::BTreeMap;
use std::time::Instant;

/// Findings shown in full; the rest are counted.
const SHOWN: usize = 5;

struct Options {
    seeds: u64,
    from: u64,
    trace: bool,
    threads: u64,
}

fn options() -> Result<Options, String> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let mut options = Options { seeds: 1_000, from: 1, trace: false, threads };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|n| n.parse().ok()).ok_or(format!("{arg} takes a number"));
        match arg.as_str() {
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--threads" => options.threads = number()?.max(1),
            "--trace" => options.trace = true,
            _ => return Err(format!("{arg} is not an option; usage: sim --seeds N [--from M] [--threads T] [--trace]")),
        }
    }
    Ok(options)
}

type Outcome = (Stats, BTreeMap<u64, Vec<Finding>>);

/// Runs every `step`-th seed. A panic is a finding like any other.
fn run_some(options: &Options, first: u64, step: u64) -> Outcome {
    let mut outcome = Outcome::default();
    for seed in (options.from + first..options.from + options.seeds).step_by(step as usize) {
        match std::panic::catch_unwind(|| run(seed, options.trace)) {
            Ok((stats, found)) => {
                outcome.0.add(&stats);
                if !found.is_empty() {
                    outcome.1.insert(seed, found);
                }
            }
            Err(_) => drop(outcome.1.insert(seed, vec![Finding { kind: "stuck", text: "it panicked".to_string() }])),
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
    if !failed.is_empty() {
        std::process::exit(1);
    }
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
    println!("seeds {} (from {}), edits {}, refused when made {}", options.seeds, options.from, stats.edits, stats.refused);
    println!("folded {}, applied {}, parked {}, requests {}", stats.folded, stats.applied, stats.parked, stats.pushes);
    let total: u64 = stats.faults.values().sum();
    println!("faults {total}");
    for (kind, count) in &stats.faults {
        println!("  {count:>8} {kind}");
    }
    println!("deaths of tabs by what they were doing");
    for (state, count) in &stats.states {
        println!("  {count:>8} {state}");
    }
    for kind in KINDS {
        let count: usize = failed.values().flatten().filter(|finding| finding.kind == kind).count();
        println!("{kind} {count}");
    }
    let hours = stats.virtual_ms as f64 / 3_600_000.0;
    println!(
        "{seconds:.1} s: {:.0} seeds/s, {:.0} edits/s, {hours:.0} virtual hours",
        options.seeds as f64 / seconds,
        stats.edits as f64 / seconds
    );
}
