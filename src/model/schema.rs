//! What the files of a table hold, and which columns may follow which: a format that lasts for ever.

use super::column::Column;
use super::commit::FORMAT;
use super::hive::PartitionBy;
use super::stored::Stored;
use super::topic::Topic;
use serde::{Deserialize, Serialize};

impl Stored for Schema {
    const NAME: &'static str = "schema";
}

/// What the files of a table hold: `schema/<k>.json`. Columns are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    pub format: u32,
    /// Never changes: hive partitions that are cut in two ways are no table. `None` where an earlier
    /// version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_by: Option<PartitionBy>,
    /// The user's, without those that Tidemill adds.
    pub columns: Vec<SchemaColumn>,
    /// The column by which rows are routed to hive partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaColumn {
    pub name: String,
    /// As a topic's file names it; a query may also return `datetime`, what a clock on a wall shows.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Schema {
    /// Of a table that is filled from a topic.
    pub fn of(partition_by: &PartitionBy, topic: &Topic) -> Self {
        let column = |column: &Column| SchemaColumn {
            name: column.name.clone(),
            kind: column.kind.to_string(),
        };
        let columns = topic.columns.iter().map(column).collect();
        Self {
            format: FORMAT,
            partition_by: Some(partition_by.clone()),
            columns,
            event_time: Some(topic.event_time.column.clone()),
        }
    }

    /// What keeps `wanted` from following this one.
    pub fn refuses(&self, wanted: &Self) -> Option<Refusal> {
        if let Some((was, is)) = self.partition_by.as_ref().zip(wanted.partition_by.as_ref())
            && was != is
        {
            let why = format!("the table was partitioned by {was} and is by {is} now");
            return Some(Refusal { what: Changed::PartitionBy, why });
        }
        refused(&self.columns, &wanted.columns)
    }
}

/// What keeps columns from following those before: they are only ever added at the end.
pub fn refused(before: &[SchemaColumn], wanted: &[SchemaColumn]) -> Option<Refusal> {
    for (place, old) in before.iter().enumerate() {
        let (name, number) = (&old.name, place + 1);
        let (now, why) = match wanted.get(place) {
            Some(new) if new == old => continue,
            Some(new) if new.name == old.name => {
                let why = format!("column `{name}` was {} and is {} now", old.kind, new.kind);
                (Some(place), why)
            }
            Some(_) | None => match wanted.iter().position(|new| new.name == old.name) {
                Some(now) => {
                    let why =
                        format!("column `{name}` has moved from place {number} to {}", now + 1);
                    (Some(now), why)
                }
                None => (None, format!("column `{name}`, at place {number}, is gone")),
            },
        };
        return Some(Refusal { what: Changed::Column(now), why });
    }
    None
}

/// Why a schema can't follow another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub what: Changed,
    /// ``column `wiki` has moved from place 3 to 6``
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    PartitionBy,
    /// Where the column stands now, counted from 0.
    Column(Option<usize>),
}

impl Refusal {
    /// What a person can do.
    pub fn remedy(&self) -> &'static str {
        match self.what {
            Changed::PartitionBy => "put it back, or land into another table",
            Changed::Column(_) => "put it back, new columns go at the end; or write another table",
        }
    }
}
