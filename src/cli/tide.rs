//! The tide chart: a table's hive partitions, one character each.

use crate::model::hive::{Grain, PartitionKey};
use crate::view::partitions::{PartitionLine, PartitionState};
use jiff::ToSpan;
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

fn mark(line: PartitionLine) -> char {
    match line.state {
        PartitionState::Closed => '■',
        PartitionState::Again => char::from_digit(line.revision.min(9), 10).unwrap_or('9'),
        PartitionState::Unfinished => '□',
        PartitionState::Failed => '!',
        PartitionState::Late => '~',
        PartitionState::Open => '○',
        PartitionState::Empty => '·',
        PartitionState::Partial => '/',
    }
}

fn meaning(state: PartitionState, revision: u32) -> String {
    match state {
        PartitionState::Closed => "■ closed, its runs done".to_owned(),
        PartitionState::Again => {
            let mark = mark(PartitionLine { state, revision });
            format!("{mark} closed again, revision {revision}")
        }
        PartitionState::Unfinished => "□ closed, its runs not done".to_owned(),
        PartitionState::Failed => "! closed, a run failed".to_owned(),
        PartitionState::Late => "~ late rows held".to_owned(),
        PartitionState::Open => "○ open".to_owned(),
        PartitionState::Empty => "· closed, no rows".to_owned(),
        PartitionState::Partial => "/ partial".to_owned(),
    }
}

/// The order in which the marks are explained.
const ORDER: [PartitionState; 8] = [
    PartitionState::Closed,
    PartitionState::Unfinished,
    PartitionState::Again,
    PartitionState::Failed,
    PartitionState::Late,
    PartitionState::Open,
    PartitionState::Empty,
    PartitionState::Partial,
];

/// Draws hours by day, days by month, months by year, and explains the marks that it used.
pub fn chart(partitions: &BTreeMap<PartitionKey, PartitionLine>) -> String {
    let Some(grain) = partitions.keys().next().map(|key| key.grain) else { return String::new() };
    let mut lines: BTreeMap<Date, Vec<char>> = BTreeMap::new();
    let width = match grain {
        Grain::Hour => 24,
        Grain::Day => 31,
        Grain::Month => 12,
    };
    for (key, partition) in partitions {
        let (line, column) = place(key);
        lines.entry(line).or_insert_with(|| vec![' '; width])[column] = mark(*partition);
    }
    let margin = lines.keys().next().map_or(0, |date| label(grain, *date).len());
    let mut shown = format!("{}  {}\n", " ".repeat(margin), ruler(grain, width));
    let mut next = lines.keys().next().copied();
    for (date, marks) in lines {
        if next.is_some_and(|next| next < date) {
            shown.push_str("…\n");
        }
        next = Some(after(grain, date));
        let marks: Vec<_> = marks.iter().map(char::to_string).collect();
        let _ = writeln!(shown, "{}  {}", label(grain, date), marks.join(" ").trim_end());
    }
    let used = partitions.values().map(|line| {
        let revision = if line.state == PartitionState::Again { line.revision } else { 0 };
        (ORDER.iter().position(|state| *state == line.state), line.state, revision)
    });
    let meanings = used.collect::<BTreeSet<_>>().into_iter();
    let meanings: Vec<_> = meanings.map(|(_, state, revision)| meaning(state, revision)).collect();
    let _ = writeln!(shown, "{}", meanings.join("   "));
    shown
}

/// The first day of a key's line, and its column.
fn place(key: &PartitionKey) -> (Date, usize) {
    let date = key.start.date();
    let (line, column) = match key.grain {
        Grain::Hour => (date, key.start.hour()),
        Grain::Day => (date.first_of_month(), date.day() - 1),
        Grain::Month => (date.first_of_year(), date.month() - 1),
    };
    (line, usize::try_from(column).unwrap_or(0))
}

fn label(grain: Grain, line: Date) -> String {
    match grain {
        Grain::Hour => line.to_string(),
        Grain::Day => line.strftime("%Y-%m").to_string(),
        Grain::Month => line.strftime("%Y").to_string(),
    }
}

/// Where the line after it begins.
fn after(grain: Grain, line: Date) -> Date {
    line.saturating_add(match grain {
        Grain::Hour => 1.day(),
        Grain::Day => 1.month(),
        Grain::Month => 1.year(),
    })
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
        let line = |state, revision| PartitionLine { state, revision };
        let closed = line(PartitionState::Closed, 1);
        let mut tides = BTreeMap::new();
        for hour in 0..24 {
            let key: PartitionKey = format!("2026-11-20T{hour:02}").parse().unwrap();
            let tide = match hour {
                14 | 15 => line(PartitionState::Again, 2),
                18 => line(PartitionState::Failed, 1),
                _ => closed,
            };
            tides.insert(key, tide);
        }
        for hour in 0..9 {
            tides.insert(format!("2026-11-21T{hour:02}").parse().unwrap(), closed);
        }
        tides.insert("2026-11-21T09".parse().unwrap(), line(PartitionState::Open, 0));
        insta::assert_snapshot!(chart(&tides), @r"
                    00          06          12          18
        2026-11-20  ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ 2 2 ■ ■ ! ■ ■ ■ ■ ■
        2026-11-21  ■ ■ ■ ■ ■ ■ ■ ■ ■ ○
        ■ closed, its runs done   2 closed again, revision 2   ! closed, a run failed   ○ open
        ");
    }

    #[test]
    fn days_stand_by_month_and_a_long_gap_is_a_line() {
        let days = ["2001-01-01", "2026-10-31", "2026-11-01", "2026-11-03"];
        let closed = PartitionLine { state: PartitionState::Closed, revision: 1 };
        let tides = days.map(|day| (day.parse().unwrap(), closed)).into();
        insta::assert_snapshot!(chart(&tides), @r"
                 01          07          13          19          25          31
        2001-01  ■
        …
        2026-10                                                              ■
        2026-11  ■   ■
        ■ closed, its runs done
        ");
    }
}
