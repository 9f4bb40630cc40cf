//! The columns of a table, in the order that they keep for ever.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Added by Tidemill behind the user's columns of every lake table that a stream writes.
pub const PARTITION_COLUMN: &str = "_partition";
/// See [`PARTITION_COLUMN`]; together they name the Kafka message that a row came from.
pub const OFFSET_COLUMN: &str = "_offset";

/// What a column holds. Timestamps are UTC, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ColumnType {
    String,
    Int64,
    Float64,
    /// Precision 1 to 38, scale 0 to precision.
    Decimal(u8, u8),
    Bool,
    Timestamp,
    Date,
    Bytes,
    /// JSON text, kept as it was written.
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub origin: Origin,
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// A row without it is quarantined.
    pub required: bool,
}

/// Where a column's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The nested path of a field: `["meta", "id"]`.
    Path(Vec<String>),
    /// An expression over the columns that come from paths.
    Sql(String),
    /// `from = "*"`: every field that no column takes, as one JSON object.
    Rest,
    /// `from = "$key"`: what Kafka keeps beside the payload.
    Message(MessagePart),
}

/// What a message has beside its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessagePart {
    Key,
    /// The last header of this name.
    Header(String),
    TopicPartition,
    Offset,
    /// When it arrived, by the broker's or the producer's clock, as the topic is set up.
    Timestamp,
}

impl MessagePart {
    /// Whether a column of this type can hold it.
    pub fn fits(&self, kind: ColumnType) -> bool {
        match self {
            Self::Key | Self::Header(_) => matches!(kind, ColumnType::String | ColumnType::Bytes),
            Self::TopicPartition | Self::Offset => kind == ColumnType::Int64,
            Self::Timestamp => kind == ColumnType::Timestamp,
        }
    }
}

/// As it is written: `$header.trace-id`.
impl FromStr for MessagePart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "$key" => Self::Key,
            "$topic_partition" => Self::TopicPartition,
            "$offset" => Self::Offset,
            "$timestamp" => Self::Timestamp,
            _ => match text.strip_prefix("$header.").filter(|name| !name.is_empty()) {
                Some(name) => Self::Header(name.to_owned()),
                None => return Err(format!("a message has no part `{text}`")),
            },
        })
    }
}

impl fmt::Display for MessagePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("$key"),
            Self::Header(name) => write!(f, "$header.{name}"),
            Self::TopicPartition => f.write_str("$topic_partition"),
            Self::Offset => f.write_str("$offset"),
            Self::Timestamp => f.write_str("$timestamp"),
        }
    }
}

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "string" => Self::String,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "bool" => Self::Bool,
            "timestamp" => Self::Timestamp,
            "date" => Self::Date,
            "bytes" => Self::Bytes,
            "json" => Self::Json,
            _ => return decimal(text).ok_or_else(|| format!("no column type is named `{text}`")),
        })
    }
}

fn decimal(text: &str) -> Option<ColumnType> {
    let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    ((1..=38).contains(&precision) && scale <= precision)
        .then_some(ColumnType::Decimal(precision, scale))
}

impl TryFrom<String> for ColumnType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ColumnType> for String {
    fn from(kind: ColumnType) -> Self {
        kind.to_string()
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Decimal(precision, scale) => return write!(f, "decimal({precision},{scale})"),
            Self::Bool => "bool",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Bytes => "bytes",
            Self::Json => "json",
        })
    }
}
