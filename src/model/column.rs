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
