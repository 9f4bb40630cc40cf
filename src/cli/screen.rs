//! Tables, numbers and times as every screen shows them.

use crate::model::duration::show_duration;
use crate::model::run::RunState;
use crate::model::time::Micros;
use crate::store::runs::Run;
use serde::Serialize;
use serde::Serializer;
use std::fmt::Write as _;

/// A moment in facts: `-o json` prints it as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub Micros);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

/// Which way a column leans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lean {
    Left,
    Right,
}

/// Rows under a head, each column as wide as its widest cell.
#[derive(Clone, Debug)]
pub struct Grid {
    head: Vec<(&'static str, Lean)>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub fn new(head: &[(&'static str, Lean)]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn show(&self) -> String {
        let head: Vec<_> = self.head.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut widths: Vec<_> = head.iter().map(|cell| width(cell)).collect();
        for row in &self.rows {
            for (column, cell) in widths.iter_mut().zip(row) {
                *column = (*column).max(width(cell));
            }
        }
        let mut shown = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width_max), (_, lean)) in row.iter().zip(&widths).zip(&self.head) {
                let pad = " ".repeat(width_max - width(cell));
                match lean {
                    Lean::Left => line.extend([cell, &pad, "  "]),
                    Lean::Right => line.extend([&pad, cell, "  "]),
                }
            }
            let _ = writeln!(shown, "{}", line.trim_end());
        }
        shown
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// `1,204,331`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1 hour`, `24 hours`.
pub fn counted(number: u64, what: &str) -> String {
    let many = if number == 1 { "" } else { "s" };
    format!("{} {what}{many}", count(number))
}

/// `09:14:03Z` where `at` lies within a day of `now`, else `2015-09-12 09:14Z`.
pub fn time(at: Micros, now: Micros) -> String {
    let near = at.since(now).max(now.since(at)).as_secs() < 86_400;
    at.timestamp().strftime(if near { "%H:%M:%SZ" } else { "%Y-%m-%d %H:%MZ" }).to_string()
}

/// `1 min 35 s ago`.
pub fn ago(at: Micros, now: Micros) -> String {
    format!("{} ago", show_duration(now.since(at)))
}

/// `9.8 MB`; what was written in powers of two is shown so: `128 MiB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        MIB.. if bytes.is_multiple_of(MIB) => format!("{} MiB", count(bytes / MIB)),
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// The first digits of a content hash, as `git` does.
pub fn short(hash: &str) -> String {
    hash.chars().take(7).collect()
}

/// `succeeded, 1.9 s`: where a run stands, and how long it took or has been taking.
pub fn fate(run: &Run, now: Micros) -> String {
    let took = run.started.map(|started| show_duration(run.ended.unwrap_or(now).since(started)));
    match (run.state, took) {
        (RunState::Held, _) => "held: waits for a person".to_owned(),
        (RunState::Queued | RunState::Superseded, _) | (_, None) => run.state.to_string(),
        (RunState::Running, Some(took)) => format!("running for {took}"),
        (RunState::Succeeded | RunState::Failed, Some(took)) => format!("{}, {took}", run.state),
    }
}

/// What stands in a cell without a value.
pub fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut grid = Grid::new(&[("STREAM", Lean::Left), ("LAG", Lean::Right)]);
        grid.row(["wikimedia.land".into(), "212".into()]);
        grid.row(["é".into(), "-".into()]);
        assert_eq!(grid.show(), "STREAM          LAG\nwikimedia.land  212\né                 -\n");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 1_204_331].map(count), ["0", "999", "1,000", "1,204,331"]);
        assert_eq!([counted(1, "hour"), counted(24, "hour")], ["1 hour", "24 hours"]);
    }

    #[test]
    fn a_time_far_from_now_has_its_date() {
        let noon = Micros::from("2026-11-21T12:00:00Z".parse::<jiff::Timestamp>().unwrap());
        let old = Micros::from("2015-09-12T09:14:03Z".parse::<jiff::Timestamp>().unwrap());
        assert_eq!(time(noon, noon), "12:00:00Z");
        assert_eq!(time(old, noon), "2015-09-12 09:14Z");
    }
}
