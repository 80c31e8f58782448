use crate::run::{Family, Run};
pub const FAMILY: Family = Family { name: "dedupe", rules: "", situations: &[], run };
fn run(_run: &mut Run) {}
