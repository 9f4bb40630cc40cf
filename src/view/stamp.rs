//! How a moment stands in facts.

use crate::model::time::Micros;
use serde::{Serialize, Serializer};

/// A moment; JSON has it as text in UTC: `2026-11-20T05:31:07.25Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub Micros);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}
