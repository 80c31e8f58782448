//! What `driftline check` says.

use crate::world::World;
use driftline_core::schema::Schema;
use driftline_server::check::{Report, check};

pub fn report(world: &World) -> Report {
    check(&Schema::parse(&world.schema).unwrap(), &world.config.data, None, |_| {}).unwrap()
}

/// What was found, as `kind: text`.
pub fn found(world: &World) -> Vec<String> {
    report(world).findings.into_iter().map(|finding| format!("{}: {}", finding.kind, finding.text)).collect()
}
