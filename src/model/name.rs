//! Names that may become part of a path, an id or a label, checked before they do.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is wrong with a name: the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName(pub String);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadName {}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(BadName(format!("`{text}` is not a name: {}", $rule)))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A DAG, stream, task or job: `recentchange_by_hour`. No dot, for ids join names with one.
    Name,
    is_name,
    "a lower-case letter, then up to 62 of a-z, 0-9 and _"
);
name!(
    /// A table of lake or warehouse, `raw.recentchange`: a data set, a dot, a table.
    TableName,
    |text| text.split_once('.').is_some_and(|(set, table)| is_name(set) && is_name(table)),
    "data set, dot, table, like raw.recentchange; each a lower-case letter, then a-z, 0-9 and _"
);
name!(
    /// A Kafka topic: at most 249 of letters, digits, `.`, `_` and `-`.
    TopicName,
    |text| (1..=249).contains(&text.len())
        && text != "."
        && text != ".."
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
    "1 to 249 of letters, digits, '.', '_' and '-'"
);
name!(
    /// Part of consumer groups, BigQuery job ids and labels.
    ProjectName,
    |text| (1..=30).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
    "1 to 30 of a-z, 0-9 and -"
);
name!(
    /// Anything that people type to name a run or a partition key: it may become part of a path.
    Id,
    |text| (1..=200).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)),
    "1 to 200 of A-Z, a-z, 0-9, '_', '.' and '-', not beginning with a dot"
);

impl TableName {
    /// `raw` of `raw.recentchange`.
    pub fn data_set(&self) -> &str {
        self.0.split_once('.').map_or("", |(set, _)| set)
    }

    /// `recentchange` of `raw.recentchange`.
    pub fn table(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, table)| table)
    }
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for text in ["", "..", "a/b", "a.b", "A", "9a", "a\0", &"a".repeat(64)] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_table_is_a_data_set_and_a_table() {
        let table: TableName = "raw.recentchange".parse().unwrap();
        assert_eq!((table.data_set(), table.table()), ("raw", "recentchange"));
        assert!("raw.a.b".parse::<TableName>().is_err());
        assert!("raw".parse::<TableName>().is_err());
    }

    #[test]
    fn an_id_from_outside_cannot_hide_or_climb() {
        assert!("close-2026-11-20T05-r2-k3f9".parse::<Id>().is_ok());
        assert!(".hidden".parse::<Id>().is_err());
        assert!("../x".parse::<Id>().is_err());
    }
}
