//! The tide chart: a table's hive partitions, one character each.

use crate::model::hive::{Grain, PartitionKey};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Where a hive partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Tide {
    Closed,
    /// Closed for the second time or more.
    Again {
        revision: u32,
    },
    Failed,
    Late,
    Open,
    Empty,
    Partial,
}

impl Tide {
    fn mark(self) -> char {
        match self {
            Self::Closed => '■',
            Self::Again { revision } => char::from_digit(revision.min(9), 10).unwrap_or('9'),
            Self::Failed => '!',
            Self::Late => '~',
            Self::Open => '○',
            Self::Empty => '·',
            Self::Partial => '/',
        }
    }

    fn meaning(self) -> String {
        match self {
            Self::Closed => "■ closed, its runs done".to_owned(),
            Self::Again { revision } => {
                format!("{} closed again, revision {revision}", self.mark())
            }
            Self::Failed => "! closed, a run failed".to_owned(),
            Self::Late => "~ late rows held".to_owned(),
            Self::Open => "○ open".to_owned(),
            Self::Empty => "· closed, no rows".to_owned(),
            Self::Partial => "/ partial".to_owned(),
        }
    }
}

/// Draws hours by day, days by month, months by year, and explains the marks that it used.
pub fn chart(tides: &BTreeMap<PartitionKey, Tide>) -> String {
    let Some(grain) = tides.keys().next().map(|key| key.grain) else { return String::new() };
    let mut lines: BTreeMap<String, Vec<char>> = BTreeMap::new();
    let width = match grain {
        Grain::Hour => 24,
        Grain::Day => 31,
        Grain::Month => 12,
    };
    for (key, tide) in tides {
        let (line, column) = place(key);
        lines.entry(line).or_insert_with(|| vec![' '; width])[column] = tide.mark();
    }
    let margin = lines.keys().next().map_or(0, String::len);
    let mut shown = format!("{}  {}\n", " ".repeat(margin), ruler(grain, width));
    for (line, marks) in lines {
        let marks: Vec<_> = marks.iter().map(char::to_string).collect();
        let _ = writeln!(shown, "{line}  {}", marks.join(" ").trim_end());
    }
    let mut used: Vec<_> = tides.values().copied().collect();
    used.sort_unstable();
    used.dedup();
    let meanings: Vec<_> = used.into_iter().map(Tide::meaning).collect();
    let _ = writeln!(shown, "{}", meanings.join("   "));
    shown
}

/// The line and the column of a key.
fn place(key: &PartitionKey) -> (String, usize) {
    let date = key.start.date();
    let (line, column) = match key.grain {
        Grain::Hour => (date.to_string(), key.start.hour()),
        Grain::Day => (key.start.strftime("%Y-%m").to_string(), date.day() - 1),
        Grain::Month => (key.start.strftime("%Y").to_string(), date.month() - 1),
    };
    (line, usize::try_from(column).unwrap_or(0))
}

/// A number above every sixth column; two characters a column.
fn ruler(grain: Grain, width: usize) -> String {
    let first = usize::from(grain != Grain::Hour);
    let mut ruler = String::new();
    for column in (0..width).step_by(6) {
        let _ = write!(ruler, "{:<12}", format!("{:02}", column + first));
    }
    ruler.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_line_of_24_hours_and_only_used_marks_are_explained() {
        let mut tides = BTreeMap::new();
        for hour in 0..24 {
            let key: PartitionKey = format!("2026-11-20T{hour:02}").parse().unwrap();
            let tide = match hour {
                14 | 15 => Tide::Again { revision: 2 },
                18 => Tide::Failed,
                _ => Tide::Closed,
            };
            tides.insert(key, tide);
        }
        for hour in 0..9 {
            tides.insert(format!("2026-11-21T{hour:02}").parse().unwrap(), Tide::Closed);
        }
        tides.insert("2026-11-21T09".parse().unwrap(), Tide::Open);
        insta::assert_snapshot!(chart(&tides), @r"
                    00          06          12          18
        2026-11-20  ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ 2 2 ■ ■ ! ■ ■ ■ ■ ■
        2026-11-21  ■ ■ ■ ■ ■ ■ ■ ■ ■ ○
        ■ closed, its runs done   2 closed again, revision 2   ! closed, a run failed   ○ open
        ");
    }

    #[test]
    fn days_stand_by_month() {
        let days = ["2026-10-31", "2026-11-01", "2026-11-03"];
        let tides = days.map(|day| (day.parse().unwrap(), Tide::Closed)).into();
        insta::assert_snapshot!(chart(&tides), @r"
                 01          07          13          19          25          31
        2026-10                                                              ■
        2026-11  ■   ■
        ■ closed, its runs done
        ");
    }
}
