//! What the reading thread hands to the writing one: messages of one topic partition, decoded.

use super::decode::{Decoder, Reject, Rows, decoded};
use crate::kafka::{MARK_HEADER, Mark, Message};
use crate::model::column::Origin;
use crate::model::mark::{Reader, end_mark};
use crate::model::time::{EventTime, Micros};
use crate::model::topic::{EventTimeRule, Otherwise, Topic};
use arrow::array::{ArrayRef, BinaryArray, BinaryBuilder};
use std::time::Duration;

/// What the broker's and the producers' clocks may be ahead of ours.
const SKEW_MAX: Duration = Duration::from_mins(1);

/// Enough rows to make a chunk's fixed costs small, few enough that its columns stay in the cache.
const ROWS_MAX: usize = 4096;

/// So long, at least, another table of the topic may wait after a hive partition's end.
const OTHERS_CLOSE_AFTER: Duration = Duration::from_hours(24);

/// Event times that have a name: years 1 to 9999, less a day at each end for timezones.
const NAMED: std::ops::Range<i64> = -62_135_510_400_000_000..253_402_214_400_000_000;

/// Messages of one topic partition, in their order.
#[derive(Debug)]
pub struct Chunk {
    pub topic_partition: u32,
    /// Which start of the topic partition they were read after; older ones are void.
    pub life: u64,
    /// The decoded columns, in the table's order.
    pub columns: Vec<ArrayRef>,
    pub offsets: Vec<i64>,
    pub arrived: Vec<Option<Micros>>,
    /// The rows' messages, kept where a row may still be rejected.
    pub payloads: Option<BinaryArray>,
    pub rejected: Vec<Rejected>,
    pub read: u64,
    pub tombstones: u64,
    pub marks: u64,
    /// The newest one with an event time.
    pub mark: Option<EventTime>,
    /// To how many topic partitions a feed sends, if its marks are to be believed; 0: none says.
    pub spread: u32,
    /// The offset after everything read.
    pub end: i64,
}

/// A message for the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub offset: i64,
    pub arrived: Option<Micros>,
    pub reject: Reject,
    pub payload: Vec<u8>,
}

/// How messages of a topic become chunks; the same for all its topic partitions.
#[derive(Debug)]
pub struct Reading {
    decoder: Decoder,
    /// Where event time lies among the decoded columns; `None` if it is computed.
    event_time: Option<usize>,
    rule: EventTimeRule,
    /// The table, by which the feed of its topic marks its end.
    reader: Reader,
    keeps_payloads: bool,
    /// Bytes of messages in a chunk.
    bytes_max: usize,
}

/// A chunk that still grows.
#[derive(Debug)]
pub struct OpenChunk {
    rows: Rows,
    offsets: Vec<i64>,
    arrived: Vec<Option<Micros>>,
    payloads: BinaryBuilder,
    rejected: Vec<Rejected>,
    read: u64,
    bytes: usize,
    tombstones: u64,
    marks: u64,
    mark: Option<EventTime>,
    spread: u32,
    end: i64,
}

impl Reading {
    pub fn new(topic: &Topic, reader: Reader, bytes_max: usize) -> Self {
        let rule = topic.event_time.clone();
        let event_time = decoded(&topic.columns).position(|column| column.name == rule.column);
        let computed = topic.columns.iter().any(|column| matches!(column.origin, Origin::Sql(_)));
        let quarantines =
            topic.expects.iter().any(|expect| expect.otherwise == Otherwise::Quarantine);
        let keeps_payloads = computed || quarantines;
        // Another table that reads the topic may wait for longer, and its feed with it.
        let close_after = reader.close_after.max(OTHERS_CLOSE_AFTER);
        Self {
            decoder: Decoder::new(&topic.columns),
            event_time,
            rule,
            reader: Reader { close_after, ..reader },
            keeps_payloads,
            bytes_max,
        }
    }

    /// Reads one message, handed over at `now`, into `chunk`, and says whether that is full.
    pub fn read(&mut self, message: &Message<'_>, now: Micros, chunk: &mut OpenChunk) -> bool {
        chunk.read += 1;
        chunk.end = message.offset + 1;
        let Some(payload) = message.payload else {
            match message.mark {
                Some(mark) if self.rule.marks => self.mark(mark, message, now, chunk),
                Some(_) | None => chunk.tombstones += 1,
            }
            return false;
        };
        chunk.bytes += payload.len();
        let arrived = arrival(message);
        let row = self.decoder.decode(payload, message).and_then(|row| {
            if let Some(slot) = self.event_time {
                credible(&self.rule, row.micros(slot).map(Micros), arrived, now)?;
            }
            Ok(row)
        });
        match row {
            Ok(row) => {
                chunk.rows.push(&row);
                chunk.offsets.push(message.offset);
                chunk.arrived.push(arrived);
                if self.keeps_payloads {
                    chunk.payloads.append_value(payload);
                }
            }
            Err(reject) => chunk.rejected.push(Rejected {
                offset: message.offset,
                arrived,
                reject,
                payload: payload.to_vec(),
            }),
        }
        chunk.read >= ROWS_MAX as u64 || chunk.bytes >= self.bytes_max
    }

    /// Takes a mark in. Anyone who may write to the topic may have written it: so it moves the watermark only
    /// as far as the mark of a feed could.
    fn mark(&self, mark: Mark, message: &Message<'_>, now: Micros, chunk: &mut OpenChunk) {
        chunk.spread = chunk.spread.max(mark.topic_partitions.unwrap_or(0));
        let told = mark
            .at
            .map_or(Ok(()), |at| believable(&self.rule, &self.reader, at, arrival(message), now));
        match told {
            Ok(()) => {
                chunk.marks += 1;
                chunk.mark = chunk.mark.max(mark.at);
            }
            Err(reject) => chunk.rejected.push(Rejected {
                offset: message.offset,
                arrived: arrival(message),
                reject,
                payload: Vec::new(),
            }),
        }
    }

    pub fn keeps_payloads(&self) -> bool {
        self.keeps_payloads
    }
}

/// Whether an event time may be believed, and may move the watermark.
///
/// Nothing has arrived after `now`: a message that tells no arrival, or one that its producer's
/// wrong clock has put into the future together with the event, is measured by ours.
pub fn credible(
    rule: &EventTimeRule,
    at: Option<EventTime>,
    arrived: Option<Micros>,
    now: Micros,
) -> Result<(), Reject> {
    let column = &rule.column;
    let Some(at) = at else {
        return Err(Reject::new(format!("{column}: the event time is not there"), ""));
    };
    if !NAMED.contains(&at.0) {
        return Err(Reject::new(format!("{column}: no hive partition is so early or so late"), ""));
    }
    let latest = latest(arrived, now);
    if at > latest.plus(rule.max_ahead) {
        let reason = format!("{column}: more than max_ahead after its arrival");
        return Err(Reject::new(reason, format!("{at}, arrived {latest}")));
    }
    match (rule.max_age, arrived) {
        (Some(max_age), Some(arrived)) if at < arrived.minus(max_age) => {
            let reason = format!("{column}: more than max_age before its arrival");
            Err(Reject::new(reason, format!("{at}, arrived {arrived}")))
        }
        _ => Ok(()),
    }
}

/// Whether a mark may move the watermark: at most as far as the last one of a feed that ends with the latest
/// event that is believed.
fn believable(
    rule: &EventTimeRule,
    reader: &Reader,
    at: EventTime,
    arrived: Option<Micros>,
    now: Micros,
) -> Result<(), Reject> {
    if !NAMED.contains(&at.0) {
        let reason = format!("{MARK_HEADER}: no hive partition is so early or so late");
        return Err(Reject::new(reason, ""));
    }
    let latest = latest(arrived, now);
    if at > end_mark(latest.plus(rule.max_ahead), std::slice::from_ref(reader)) {
        let reason = format!("{MARK_HEADER}: later than the end of any event's day");
        return Err(Reject::new(reason, format!("{at}, arrived {latest}")));
    }
    Ok(())
}

/// The arrival, or `now` where it is not told or lies in the future.
fn latest(arrived: Option<Micros>, now: Micros) -> Micros {
    arrived.filter(|arrived| *arrived <= now.plus(SKEW_MAX)).unwrap_or(now)
}

/// When a message arrived. Its producer may have written any number: a year that has no name tells nothing.
fn arrival(message: &Message<'_>) -> Option<Micros> {
    message.arrived.filter(|arrived| arrived.is_in_calendar())
}

impl OpenChunk {
    pub fn new(topic: &Topic) -> Self {
        Self {
            rows: Rows::new(&topic.columns),
            offsets: Vec::new(),
            arrived: Vec::new(),
            payloads: BinaryBuilder::new(),
            rejected: Vec::new(),
            read: 0,
            bytes: 0,
            tombstones: 0,
            marks: 0,
            mark: None,
            spread: 0,
            end: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.read == 0
    }

    /// The chunk so far; it begins again, empty. `position` is where the source stands now, if it
    /// was asked: what lies between was no message, like the marker of a transaction.
    pub fn finish(
        &mut self,
        topic_partition: u32,
        life: u64,
        keeps_payloads: bool,
        position: Option<i64>,
    ) -> Chunk {
        let payloads = self.payloads.finish();
        self.bytes = 0;
        Chunk {
            topic_partition,
            life,
            columns: self.rows.finish(),
            offsets: std::mem::take(&mut self.offsets),
            arrived: std::mem::take(&mut self.arrived),
            payloads: keeps_payloads.then_some(payloads),
            rejected: std::mem::take(&mut self.rejected),
            read: std::mem::take(&mut self.read),
            tombstones: std::mem::take(&mut self.tombstones),
            marks: std::mem::take(&mut self.marks),
            mark: self.mark.take(),
            spread: std::mem::take(&mut self.spread),
            end: position.unwrap_or(self.end).max(self.end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hive::{Grain, PartitionBy};
    use crate::model::topic::Idle;

    fn at(text: &str) -> Micros {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    /// A mark that arrives at 10:00 with a clock that shows the same.
    #[track_caller]
    fn check_mark(mark: Micros, arrived: Option<Micros>, reason: Option<&str>) {
        let rule = EventTimeRule { max_ahead: Duration::from_mins(10), ..rule() };
        let partition_by = PartitionBy::utc(Grain::Hour);
        let reader = Reader { partition_by, close_after: Duration::from_mins(5) };
        let told = believable(&rule, &reader, mark, arrived, at("2026-11-20T10:00:00Z"));
        assert_eq!(told.err().map(|reject| reject.reason).as_deref(), reason);
    }

    #[test]
    fn a_mark_goes_as_far_as_a_feed_that_ends_today() {
        let late = Some("tidemill-mark: later than the end of any event's day");
        for arrived in [None, Some(at("2026-11-20T10:00:00Z")), Some(Micros(i64::MAX / 2))] {
            check_mark(at("2026-11-21T00:05:00Z"), arrived, None);
            check_mark(at("2026-11-21T00:05:00.000001Z"), arrived, late);
            check_mark(at("2015-01-01T00:00:00Z"), arrived, None);
        }
    }

    #[test]
    fn a_mark_outside_the_calendar_is_rejected() {
        let out = Some("tidemill-mark: no hive partition is so early or so late");
        for mark in [i64::MAX, i64::MIN, -62_135_596_800_000_000] {
            check_mark(Micros(mark), None, out);
        }
    }

    fn rule() -> EventTimeRule {
        EventTimeRule {
            column: "dt".into(),
            out_of_order: Duration::ZERO,
            max_ahead: Duration::from_micros(10),
            max_age: Some(Duration::from_micros(100)),
            idle: Idle::Others,
            marks: true,
        }
    }

    #[track_caller]
    fn check(at: Option<i64>, reason: Option<&str>) {
        check_arrived(at, Some(1000), 2000, reason);
    }

    #[track_caller]
    fn check_arrived(at: Option<i64>, arrived: Option<i64>, now: i64, reason: Option<&str>) {
        let told = credible(&rule(), at.map(Micros), arrived.map(Micros), Micros(now));
        assert_eq!(told.err().map(|reject| reject.reason).as_deref(), reason);
    }

    #[test]
    fn an_event_time_is_believed_within_its_bounds() {
        check(Some(1010), None);
        check(Some(1011), Some("dt: more than max_ahead after its arrival"));
        check(Some(900), None);
        check(Some(899), Some("dt: more than max_age before its arrival"));
        check(None, Some("dt: the event time is not there"));
    }

    #[test]
    fn without_a_time_of_arrival_our_clock_bounds_what_lies_ahead() {
        let ahead = Some("dt: more than max_ahead after its arrival");
        check_arrived(Some(2011), None, 2000, ahead);
        check_arrived(Some(2010), None, 2000, None);
        check_arrived(Some(1), None, 2000, None);
    }

    #[test]
    fn an_arrival_in_the_future_vouches_for_nothing() {
        let ahead = Some("dt: more than max_ahead after its arrival");
        check_arrived(Some(4_000_000_000), Some(4_000_000_000), 2000, ahead);
        check_arrived(Some(60_002_000), Some(60_002_000), 2000, None);
    }

    #[test]
    fn an_event_time_outside_the_calendar_is_rejected() {
        let out = Some("dt: no hive partition is so early or so late");
        for text in ["0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z"] {
            let at = text.parse::<jiff::Timestamp>().unwrap();
            check(Some(at.as_microsecond()), out);
        }
        check(Some(i64::MAX), out);
    }
}
