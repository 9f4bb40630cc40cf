//! The daemon as others see it.

use super::Stamp;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Up {
    pub pid: u32,
    pub since: Stamp,
    /// Settings that were edited since and count from its next start.
    pub restart_for: Vec<String>,
}
