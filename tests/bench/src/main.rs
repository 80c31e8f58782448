//! Benchmarks of what runs outside a browser. Each figure is held against a limit measured in the same run, its repeats taking
//! turns with the limit's, because the speed of a machine changes by the minute. Prints the figures as JSON, and what it does to
//! stderr. `bench --only NAME` takes those whose names begin so.

mod deletes;
mod figure;
mod search;
mod server;

use figure::Figure;

fn main() {
    let only = std::env::args().skip_while(|arg| arg != "--only").nth(1).unwrap_or_default();
    let mut figures: Vec<Figure> = Vec::new();
    for (name, run) in [("delete", deletes::run as fn() -> Vec<Figure>), ("search", search::run)] {
        if name.starts_with(&only) {
            eprintln!("{name} …");
            figures.extend(run());
        }
    }
    println!("{}", serde_json::Value::from_iter(figures.iter().map(Figure::to_json)));
}
