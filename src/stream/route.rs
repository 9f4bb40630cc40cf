//! Sends rows to the hive partitions that their event times lie in.
//!
//! Rows come nearly in the order of event time, so most batches lie in one hive partition and go
//! there as they are. The others are cut by copying: a slice would keep the whole batch in memory.

use super::judge::Judged;
use crate::error::{Error, ErrorKind};
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::time::{EventTime, Micros};
use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use std::collections::BTreeMap;

const HOUR_US: i64 = 3_600_000_000;

/// Ranges that are kept at hand; a stream seldom has more hive partitions open.
const KNOWN_MAX: usize = 1024;

/// Rows of one hive partition.
#[derive(Debug)]
pub struct Part {
    pub key: PartitionKey,
    pub rows: RecordBatch,
    pub lowest: EventTime,
    pub highest: EventTime,
}

#[derive(Debug)]
pub struct Router {
    by: PartitionBy,
    /// Half-open ranges of event time by their start: their end, and whose they are.
    known: BTreeMap<i64, (i64, PartitionKey)>,
    last: (i64, i64, PartitionKey),
}

impl Router {
    pub fn new(by: &PartitionBy) -> Self {
        let key = by.key_of(Micros(0));
        Self { by: by.clone(), known: BTreeMap::new(), last: (0, 0, key) }
    }

    /// Cuts the rows that land, whose event times are `times`, by hive partition.
    pub fn route(&mut self, judged: &Judged, times: &[i64]) -> Result<Vec<Part>, Error> {
        let lands = judged.lands.as_deref();
        let landing = times.iter().enumerate().filter(|(row, _)| lands.is_none_or(|l| l[*row]));
        let span = landing.clone().fold(None, |span: Option<(i64, i64)>, (_, &at)| {
            Some(span.map_or((at, at), |(low, high)| (low.min(at), high.max(at))))
        });
        let Some((lowest, highest)) = span else { return Ok(Vec::new()) };
        let (_, end, key) = self.range(lowest);
        let bug = |err| Error::new(ErrorKind::Bug, err);
        if highest < end {
            let rows = match lands {
                None => judged.rows.clone(),
                Some(lands) => {
                    filter_record_batch(&judged.rows, &BooleanArray::from(lands.to_vec()))
                        .map_err(bug)?
                }
            };
            return Ok(vec![Part { key, rows, lowest: Micros(lowest), highest: Micros(highest) }]);
        }
        let mut places: BTreeMap<PartitionKey, (Vec<u32>, i64, i64)> = BTreeMap::new();
        for (row, &at) in landing {
            let (_, _, key) = self.range(at);
            let (rows, low, high) = places.entry(key).or_insert((Vec::new(), at, at));
            rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            (*low, *high) = ((*low).min(at), (*high).max(at));
        }
        let part = |(key, (rows, low, high)): (PartitionKey, (Vec<u32>, i64, i64))| {
            let rows = take_record_batch(&judged.rows, &UInt32Array::from(rows)).map_err(bug)?;
            Ok(Part { key, rows, lowest: Micros(low), highest: Micros(high) })
        };
        places.into_iter().map(part).collect()
    }

    /// The hive partition of `at` and its range.
    fn range(&mut self, at: i64) -> (i64, i64, PartitionKey) {
        if self.last.0 <= at && at < self.last.1 {
            return self.last;
        }
        let known = self.known.range(..=at).next_back();
        self.last = match known {
            Some((&start, &(end, key))) if at < end => (start, end, key),
            Some(_) | None => {
                let (start, end, key) = self.work_out(at);
                if self.known.len() >= KNOWN_MAX {
                    self.known.clear();
                }
                self.known.insert(start, (end, key));
                (start, end, key)
            }
        };
        self.last
    }

    fn work_out(&self, at: i64) -> (i64, i64, PartitionKey) {
        let key = self.by.key_of(Micros(at));
        if self.by.grain == Grain::Hour {
            let start = at.div_euclid(HOUR_US) * HOUR_US;
            return (start, start + HOUR_US, key);
        }
        let (start, end) = self.by.range(&key);
        (start.0, end.0, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::cast::AsArray;
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::Int64Type;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use std::sync::Arc;

    #[track_caller]
    fn check(by: &PartitionBy, times: &[&str], lands: Option<Vec<bool>>, parts: &[(&str, &[i64])]) {
        let times: Vec<i64> = times
            .iter()
            .map(|text| text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
            .collect();
        let rows: Vec<i64> = (0..).take(times.len()).collect();
        let rows: ArrayRef = Arc::new(Int64Array::from(rows));
        let rows = RecordBatch::try_from_iter([("row", rows)]).unwrap();
        let judged = Judged { rows, lands, rejected: Vec::new(), dropped: BTreeMap::new() };
        let found = Router::new(by).route(&judged, &times).unwrap();
        let shown: Vec<(String, &[i64])> = found
            .iter()
            .map(|part| {
                let rows = part.rows.column(0).as_primitive::<Int64Type>();
                (part.key.to_string(), &rows.values()[..])
            })
            .collect();
        let parts: Vec<_> = parts.iter().map(|(key, rows)| ((*key).to_owned(), *rows)).collect();
        assert_eq!(shown, parts);
    }

    #[test]
    fn rows_go_to_the_hour_of_their_event_time() {
        let hour = PartitionBy::utc(Grain::Hour);
        check(
            &hour,
            &["2026-11-20T05:00:00Z", "2026-11-20T05:59:59.999999Z"],
            None,
            &[("2026-11-20T05", &[0, 1])],
        );
        check(
            &hour,
            &[
                "2026-11-20T05:59:59Z",
                "2026-11-20T06:00:00Z",
                "1969-12-31T23:30:00Z",
                "2026-11-20T05:00:00Z",
            ],
            None,
            &[("1969-12-31T23", &[2]), ("2026-11-20T05", &[0, 3]), ("2026-11-20T06", &[1])],
        );
    }

    #[test]
    fn rows_that_do_not_land_go_nowhere() {
        let hour = PartitionBy::utc(Grain::Hour);
        let times = ["2026-11-20T05:00:00Z", "2026-11-20T07:00:00Z", "2026-11-20T05:00:00Z"];
        check(&hour, &times, Some(vec![true, false, true]), &[("2026-11-20T05", &[0, 2])]);
        check(&hour, &times, Some(vec![false, false, false]), &[]);
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "a random test prints its seed")]
    fn where_a_row_goes_does_not_depend_on_the_rows_before_it() {
        let seed = rand::random();
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        // Clocks are set back across midnight, and a day is skipped.
        for (timezone, from) in [
            ("America/St_Johns", "2006-10-28T00:00:00Z"),
            ("America/Moncton", "2006-10-28T00:00:00Z"),
            ("Pacific/Apia", "2011-12-29T00:00:00Z"),
        ] {
            let by = PartitionBy { grain: Grain::Day, timezone: timezone.parse().unwrap() };
            let from = from.parse::<jiff::Timestamp>().unwrap().as_microsecond();
            let mut times: Vec<i64> = (0..3 * 24 * 60).map(|n| from + n * 60_000_000).collect();
            times.shuffle(&mut dice);
            let mut router = Router::new(&by);
            for at in times {
                let (start, end, key) = router.range(at);
                assert_eq!(key, by.key_of(Micros(at)), "{} in {timezone}", Micros(at));
                assert!(start <= at && at < end, "{} in {timezone}", Micros(at));
            }
        }
    }

    #[test]
    fn a_day_may_live_in_another_timezone() {
        let by = PartitionBy { grain: Grain::Day, timezone: "Europe/Madrid".parse().unwrap() };
        let times = ["2026-11-19T22:59:59Z", "2026-11-19T23:00:00Z"];
        check(&by, &times, None, &[("2026-11-19", &[0]), ("2026-11-20", &[1])]);
    }
}
