//! What the fuzz targets share: a schema with everything in it, and pushes that are made of bytes.

pub mod made;

use driftline_core::schema::Schema;
use std::sync::LazyLock;

const TEXT: &str = include_str!("../../crates/driftline-server/tests/server/grammar/schema.json");

/// Every kind of field, reference, count and policy, in its third version.
pub static RICH: LazyLock<Schema> = LazyLock::new(|| Schema::parse(TEXT).unwrap_or_else(|error| panic!("{error}")));
