//! What a topic holds: `topics/<topic>.toml`, used by every job that reads or fills it.

use super::column::Column;
use super::name::TopicName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub name: TopicName,
    /// How many topic partitions it gets when Tidemill creates it, and at least when a feed fills it.
    pub partitions: u32,
    pub retention: Duration,
    pub columns: Vec<Column>,
    pub event_time: EventTimeRule,
    pub expects: Vec<Expect>,
}

/// Which column is event time, and what is believed of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTimeRule {
    pub column: String,
    /// Watermark = newest event time - this.
    pub out_of_order: Duration,
    /// Dated later than its arrival in Kafka + this: quarantined, moves no watermark.
    pub max_ahead: Duration,
    /// Dated earlier than its arrival - this: quarantined. Off unless asked for.
    pub max_age: Option<Duration>,
    pub idle: Idle,
    /// Whether marks count. Anyone who may write to the topic can write one.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub marks: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// What lets the watermark of a silent topic partition without marks move on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// Only while another topic partition of the topic speaks.
    Others,
    /// Always: silence is taken for "nothing happened".
    Advance,
}

/// A rule for rows, `[[expect]]`; null passes, as in a SQL CHECK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    pub name: String,
    /// A boolean SQL expression over the columns.
    pub that: String,
    pub otherwise: Otherwise,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    Drop,
    Quarantine,
    Stop,
}
