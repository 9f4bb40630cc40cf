//! What was read of a topic partition since its last record: offsets, counts, the watermark. From it
//! the next record is made, whatever its rows are written to.

use super::chunk::{Chunk, Rejected};
use super::header::RecordHeader;
use super::output::Prepared;
use super::roll::Facts;
use super::route::Part;
use super::watermark::Watermark;
use crate::lake::commit::Tip;
use crate::model::commit::{Counts, FORMAT, Record};
use crate::model::time::Micros;
use crate::model::topic::EventTimeRule;
use std::collections::BTreeMap;

/// The account of one topic partition.
pub struct Ledger {
    pub watermark: Watermark,
    /// Where everything read ends.
    pub end: i64,
    /// No row was ever read, and there is nothing to read; markers of transactions at most.
    pub empty: bool,
    /// There is more to read, or there may be.
    pub behind: bool,
    pub committed_at: Option<Micros>,
    topic_partition: u32,
    tip: Tip,
    start: i64,
    cut: bool,
    counts: Counts,
    reasons: BTreeMap<String, u64>,
    since: Option<Micros>,
}

impl Ledger {
    /// Begins behind the last record of the log.
    pub fn new(topic_partition: u32, tip: Tip, rule: &EventTimeRule) -> Self {
        let end = tip.end().unwrap_or(0);
        let watermark = Watermark::after(tip.last(), rule.out_of_order);
        Self {
            watermark: if rule.marks { watermark } else { watermark.without_marks() },
            end,
            empty: false,
            behind: true,
            committed_at: None,
            topic_partition,
            tip,
            start: end,
            cut: false,
            counts: Counts::default(),
            reasons: BTreeMap::new(),
            since: None,
        }
    }

    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    pub fn last(&self) -> Option<&Record> {
        self.tip.last()
    }

    /// Where its log ends, and reading begins; `None` while there is no record.
    pub fn committed_end(&self) -> Option<i64> {
        self.tip.end()
    }

    /// Reading has begun, at `offset`; `cut` where older messages exist or existed that will never
    /// land.
    pub fn started(&mut self, offset: i64, cut: bool) {
        self.start = offset;
        self.end = offset;
        self.cut = cut;
    }

    /// The position has moved without messages, over what is none; whether it has.
    pub fn moved(&mut self, position: i64) -> bool {
        let moved = self.end < position;
        self.end = self.end.max(position);
        moved
    }

    /// Up to where nothing is left to commit. What follows the last record may be no message, as the
    /// marker that ends a transaction: that waits for nothing, so it is no lag.
    pub fn settled(&self) -> i64 {
        if self.counts.read == 0 { self.end } else { self.start }
    }

    /// Notes a chunk, and what has become of its rows.
    pub fn note(
        &mut self,
        chunk: &Chunk,
        parts: &[Part],
        rejected: &[Rejected],
        dropped: BTreeMap<String, u64>,
        now: Micros,
    ) {
        self.end = self.end.max(chunk.end);
        self.empty = false;
        if chunk.read > 0 {
            self.since.get_or_insert(now);
            self.watermark.heard();
        }
        let landed: usize = parts.iter().map(|part| part.rows.num_rows()).sum();
        self.counts.read += chunk.read;
        self.counts.landed += landed as u64;
        self.counts.tombstones += chunk.tombstones;
        self.counts.marks += chunk.marks;
        for (rule, rows) in dropped {
            self.counts.dropped += rows;
            *self.reasons.entry(rule).or_insert(0) += rows;
        }
        for part in parts {
            self.watermark.landed(part.lowest, part.highest);
        }
        if chunk.marks > 0 {
            self.watermark.topic_has_marks();
        }
        if let Some(mark) = chunk.mark {
            self.watermark.mark(mark);
        }
        self.counts.quarantined += rejected.len() as u64;
        for one in rejected {
            *self.reasons.entry(one.reject.reason.clone()).or_insert(0) += 1;
        }
    }

    /// What the roll policy decides by; `bytes` are those that its output holds.
    pub fn facts(&self, bytes: u64) -> Facts {
        Facts {
            since: self.since,
            bytes,
            committed_at: self.committed_at,
            has_record: self.tip.last().is_some(),
            behind: self.tip.last().is_some_and(|last| last.behind),
            empty: self.empty,
            watermark_before: self.watermark.before(),
            watermark_committed: self.watermark.committed().is_some(),
            watermark: self.watermark.now(),
        }
    }

    /// Whether a record made now would say anything.
    pub fn has_news(&self) -> bool {
        self.counts.read > 0 || self.end > self.start
    }

    /// The record of everything noted since the last one, with the files that an output has prepared.
    pub fn record(&mut self, header: &RecordHeader, prepared: Prepared) -> Record {
        Record {
            format: FORMAT,
            seq: self.tip.next_seq(),
            output: header.output.clone(),
            topic: header.topic.clone(),
            topic_id: header.topic_id.clone(),
            topic_partition: self.topic_partition,
            start: self.start,
            end: self.end,
            schema: header.schema,
            partition_by: header.partition_by.clone(),
            publish: header.publish,
            files: prepared.files,
            quarantine: prepared.quarantine,
            watermark: self.watermark.now(),
            marked: self.watermark.marked(),
            behind: self.behind && self.watermark.now().is_none(),
            cut: self.cut,
            counts: self.counts,
            reasons: std::mem::take(&mut self.reasons),
            job: header.job.clone(),
            writer: header.writer.clone(),
        }
    }

    /// The record is in the log, which ends at `tip` now: what follows is for the next one.
    pub fn committed(&mut self, record: &Record, tip: Tip, now: Micros) {
        self.tip = tip;
        self.start = record.end;
        self.cut = false;
        self.counts = Counts::default();
        self.since = None;
        self.committed_at = Some(now);
        self.watermark.commit(record.watermark);
    }
}
