//! Benchmarks of what runs outside a browser. Each figure is held against a limit measured in the same run, its repeats taking
//! turns with the limit's, because the speed of a machine changes by the minute. Prints the figures as JSON, and what it does to
//! stderr. `bench --only NAME` takes those whose names begin so.

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
    ("delete", deletes::run),
    ("order", order::run),
    ("serve", serve::run),
    ("postgres", postgres::run),
    ("download", download::run),
    ("catch_up", catch_up::run),
    ("replay", replay::run),
];

fn main() {
    let only = std::env::args().skip_while(|arg| arg != "--only").nth(1).unwrap_or_default();
    let mut figures: Vec<Figure> = Vec::new();
    for (name, run) in BENCHMARKS {
        if name.starts_with(&only) {
            eprintln!("{name} …");
            figures.extend(run());
        }
    }
    println!("{}", serde_json::Value::from_iter(figures.iter().map(Figure::to_json)));
}
