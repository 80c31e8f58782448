//! The least of a history that still fails: without the faults and the things done that it does not take.

use super::world::MOST_WORK;
use super::{Finding, Part, run};

/// Runs a part of a history; a panic is a finding like any other.
pub fn fails(seed: u64, part: &Part) -> Option<Finding> {
    let found = std::panic::catch_unwind(|| run(seed, part, false).1.into_iter().next());
    found.unwrap_or_else(|_| Some(Finding { kind: "panic", text: "it panicked".to_string() }))
}

/// Leaves out of a failing history whatever it fails without, in the same way. Greedy: first kinds of faults, then things
/// done, in ever smaller pieces (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).
pub fn shrink(seed: u64, faults: &[&str]) -> Option<(Part, Finding)> {
    let mut part = Part::default();
    let mut finding = fails(seed, &part)?;
    let mut attempt = |part: &mut Part, smaller: Part| match fails(seed, &smaller).filter(|found| found.kind == finding.kind) {
        Some(found) => {
            (finding, *part) = (found, smaller);
            true
        }
        None => false,
    };
    for fault in faults {
        let mut smaller = part.clone();
        smaller.without.insert(fault.to_string());
        attempt(&mut part, smaller);
    }
    let mut piece = MOST_WORK.next_power_of_two() / 2;
    while piece > 0 {
        let mut again = false;
        for from in (1..=MOST_WORK).step_by(piece as usize) {
            let mut smaller = part.clone();
            smaller.skip.extend(from..=MOST_WORK.min(from + piece - 1));
            again |= smaller.skip.len() > part.skip.len() && attempt(&mut part, smaller);
        }
        if !again {
            piece /= 2;
        }
    }
    Some((part, finding))
}
