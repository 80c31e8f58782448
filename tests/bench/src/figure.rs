//! A figure and its limit, as medians of repeats that took turns.

use serde_json::{Value as Json, json};

pub struct Figure {
    pub name: String,
    /// What `value` and `limit` are in.
    pub unit: &'static str,
    pub value: f64,
    pub limit: f64,
    /// The most that `value / limit` should be.
    pub target: f64,
    /// Repeats.
    pub n: usize,
}

impl Figure {
    /// Of times in seconds, told in milliseconds.
    pub fn of_times(name: impl Into<String>, values: &[f64], limits: &[f64], target: f64) -> Figure {
        assert_eq!(values.len(), limits.len(), "each repeat has its limit beside it");
        Figure { name: name.into(), unit: "ms", value: median(values) * 1e3, limit: median(limits) * 1e3, target, n: values.len() }
    }

    pub fn to_json(&self) -> Json {
        let Figure { name, unit, value, limit, target, n } = self;
        json!({"name": name, "unit": unit, "value": value, "limit": limit, "ratio": value / limit, "target": target, "n": n})
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}
