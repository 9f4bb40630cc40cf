//! Tables, numbers and times as every screen shows them.

use crate::model::duration::show_duration;
use crate::model::time::Micros;
use jiff::tz::TimeZone;
use std::fmt::Write as _;

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

/// How moments are shown: as seen from now, in one timezone.
#[derive(Clone, Debug)]
pub struct Times {
    pub now: Micros,
    /// What `--tz` names. Keys of hive partitions are never shown in another zone than their own.
    pub zone: TimeZone,
}

impl Times {
    /// `09:14:03Z` within a day of now, else `2015-09-12 09:14Z`; with `--tz`, `10:14:03+01:00`.
    pub fn time(&self, at: Micros) -> String {
        self.format(at, if self.is_near(at) { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" })
    }

    /// Whether a time of day says enough: within a day of now.
    pub fn is_near(&self, at: Micros) -> bool {
        at.since(self.now).max(self.now.since(at)).as_secs() < 86_400
    }

    /// The same for a moment that people name by its minute: `10:10Z`.
    pub fn minute(&self, at: Micros) -> String {
        let whole = at.0.rem_euclid(60_000_000) == 0;
        if whole && self.is_near(at) { self.format(at, "%H:%M") } else { self.time(at) }
    }

    /// `1 min 35 s ago`.
    pub fn ago(&self, at: Micros) -> String {
        format!("{} ago", show_duration(self.now.since(at)))
    }

    fn format(&self, at: Micros, pattern: &str) -> String {
        let at = at.timestamp().to_zoned(self.zone.clone());
        let offset = if self.zone == TimeZone::UTC { "Z" } else { "%:z" };
        at.strftime(&format!("{pattern}{offset}")).to_string()
    }
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

/// A run's id as far as people need it: what a closing made has one name without the random end.
pub fn short_run(id: &str) -> &str {
    match id.rsplit_once('-') {
        Some((named, _)) if id.starts_with("close-") => named,
        Some(_) | None => id,
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

    fn noon(zone: &str) -> Times {
        let now = "2026-11-21T12:00:00Z".parse::<jiff::Timestamp>().unwrap();
        Times { now: now.into(), zone: TimeZone::get(zone).unwrap() }
    }

    fn at(text: &str) -> Micros {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    #[test]
    fn a_time_far_from_now_has_its_date() {
        let times = noon("UTC");
        assert_eq!(times.time(times.now), "12:00:00Z");
        assert_eq!(times.time(at("2015-09-12T09:14:03Z")), "2015-09-12 09:14Z");
    }

    #[test]
    fn a_time_in_another_zone_tells_how_far_it_is_from_utc() {
        let times = noon("Europe/Madrid");
        assert_eq!(times.time(times.now), "13:00:00+01:00");
        assert_eq!(times.time(at("2026-07-01T23:00:00Z")), "2026-07-02 01:00+02:00");
    }

    #[test]
    fn a_whole_minute_is_named_by_it() {
        let times = noon("UTC");
        assert_eq!(times.minute(at("2026-11-21T10:10:00Z")), "10:10Z");
        assert_eq!(times.minute(at("2026-11-21T10:10:05Z")), "10:10:05Z");
    }

    #[test]
    fn the_run_of_a_closing_is_known_without_its_random_end() {
        assert_eq!(short_run("close-2026-11-20T05-r2-k3f9"), "close-2026-11-20T05-r2");
        assert_eq!(short_run("manual-20261121T0130Z-x81c"), "manual-20261121T0130Z-x81c");
    }
}
