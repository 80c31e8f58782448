//! Benchmarks of what runs outside a browser. Each figure is held against a limit measured in the same run, its repeats taking
//! turns with the limit's, because the speed of a machine changes by the minute. Prints the figures as JSON, and what it does to
//! stderr. `bench --only NAME` takes one.

mod catch_up;
mod deletes;
mod download;
mod figure;
mod order;
mod postgres;
mod replay;
mod serve;
mod server;
mod work;

use figure::Figure;

/// A name, and what measures its figures.
type Benchmark = (&'static str, fn() -> Vec<Figure>);

const BENCHMARKS: [Benchmark; 7] = [
    ("B7", order::run),
    ("B8", serve::run),
    ("B9", postgres::run),
    ("B10", download::run),
    ("B12", deletes::run),
    ("B13", catch_up::run),
    ("B14", replay::run),
];

fn main() {
    let only = std::env::args().skip_while(|arg| arg != "--only").nth(1);
    let mut figures: Vec<Figure> = Vec::new();
    for (name, run) in BENCHMARKS {
        if only.as_ref().is_none_or(|only| only == name) {
            eprintln!("{name} …");
            figures.extend(run());
        }
    }
    println!("{}", serde_json::Value::from_iter(figures.iter().map(Figure::to_json)));
}
