//! The log of one topic partition of one output.

use super::super::create::Created;
use super::super::paths::Place;
use super::super::{Lake, decode, encode, paths};
use super::check;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::commit::Record;
use crate::model::name::TableName;
use futures::{StreamExt, TryStreamExt};

/// How many records are read at once when a log is read from far behind.
const READ_AHEAD_MAX: usize = 16;

/// A handle to the log of one topic partition of one output; it remembers nothing.
#[derive(Clone, Debug)]
pub struct Log {
    pub(in super::super) lake: Lake,
    pub(in super::super) place: Place,
}

/// The end of a log, whose last record is known to be published: where the next may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    pub(super) last: Option<Record>,
}

/// A record that is committed, but whose files may not be published yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpublished(pub(super) Record);

/// What became of an attempt to append a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Append {
    /// It is committed; now [`Log::publish`] it.
    Ours(Unpublished),
    /// Another writer holds that number. Drop what is not committed, [`Log::recover`], and begin
    /// again at the new end.
    Theirs(Record),
}

impl Tip {
    pub fn last(&self) -> Option<&Record> {
        self.last.as_ref()
    }

    /// The number of the record that may follow.
    pub fn next_seq(&self) -> u64 {
        self.last.as_ref().map_or(1, |record| record.seq + 1)
    }

    /// Where the next record starts; `None` while there is no record.
    pub fn end(&self) -> Option<i64> {
        self.last.as_ref().map(|record| record.end)
    }
}

impl Unpublished {
    pub fn record(&self) -> &Record {
        &self.0
    }
}

impl Lake {
    /// The log of one topic partition.
    pub fn log(&self, output: &TableName, topic_id: &str, topic_partition: u32) -> Log {
        Log { lake: self.clone(), place: Place::new(output, topic_id, topic_partition) }
    }

    /// Every log that `output` has, those of topics that are no more included.
    pub async fn logs(&self, output: &TableName) -> Result<Vec<Log>, Error> {
        let folder = paths::logs(output);
        let found = self.list_folders(&folder).await?;
        let place = |folder| paths::place_of(output, folder);
        let log = |place| Log { lake: self.clone(), place };
        let mut logs: Vec<_> = found.iter().filter_map(place).map(log).collect();
        logs.sort_by(|a, b| a.place.cmp(&b.place));
        Ok(logs)
    }
}

impl Log {
    pub fn topic_partition(&self) -> u32 {
        self.place.topic_partition()
    }

    /// Reads record `seq`; `None` if it does not exist yet.
    pub async fn read(&self, seq: u64) -> Result<Option<Record>, Error> {
        let path = self.place.record(seq);
        let Some(bytes) = self.lake.read(&path).await? else { return Ok(None) };
        self.decode(seq, &bytes).map(Some)
    }

    /// The last record; `None` if there is none. For readers: a writer asks [`Log::recover`].
    pub async fn last(&self) -> Result<Option<Record>, Error> {
        match self.lake.newest(|seq| self.place.record(seq)).await? {
            0 => Ok(None),
            seq => self.read(seq).await,
        }
    }

    /// The record whose offsets hold `offset`; `None` if there is none.
    pub async fn holding(&self, offset: i64) -> Result<Option<Record>, Error> {
        let (mut first, mut after) = (1, self.lake.newest(|seq| self.place.record(seq)).await? + 1);
        while first < after {
            let middle = first + (after - first) / 2;
            match self.read(middle).await? {
                Some(record) if record.end <= offset => first = middle + 1,
                Some(record) if record.start > offset => after = middle,
                found => return Ok(found),
            }
        }
        Ok(None)
    }

    /// The records after number `seq`, in order, as many as there are now; `max` at most.
    pub async fn after(&self, seq: u64, max: usize) -> Result<Vec<Record>, Error> {
        let mut found = Vec::new();
        // One look answers the common question, whether there is a new one.
        let mut ahead = 1;
        while found.len() < max {
            let first = seq + 1 + found.len() as u64;
            let wanted = ahead.min(max - found.len());
            let batch: Vec<Option<Record>> = futures::stream::iter(first..first + wanted as u64)
                .map(|seq| self.read(seq))
                .buffered(READ_AHEAD_MAX)
                .try_collect()
                .await?;
            found.extend(batch.into_iter().map_while(|record| record));
            if (found.len() as u64) < first + wanted as u64 - seq - 1 {
                break;
            }
            ahead = (ahead * 2).min(READ_AHEAD_MAX);
        }
        Ok(found)
    }

    /// Finds the end of the log and finishes what an earlier writer may have left undone.
    ///
    /// Every writer begins here, and comes back here when an append was not ours or gave an error.
    pub async fn recover(&self) -> Result<Tip, Error> {
        let last = self.last().await?;
        if let Some(record) = &last {
            self.lake.publish(record).await?;
        }
        Ok(Tip { last })
    }

    /// Commits `record` as the one after `tip`.
    ///
    /// After an error the record may or may not be in the log: append the same one again, or
    /// [`Log::recover`]. An error of kind `Bug` means that it breaks a rule and was not tried.
    pub async fn append(&self, tip: &Tip, record: &Record) -> Result<Append, Error> {
        let path = self.place.record(record.seq);
        let doing = || format!("append record {path}");
        check::follows(&self.place, tip.last(), record).doing(doing)?;
        match self.lake.create(&path, encode(record)).await.doing(doing)? {
            Created::Ours => Ok(Append::Ours(Unpublished(record.clone()))),
            Created::Theirs(theirs) => Ok(Append::Theirs(self.decode(record.seq, &theirs)?)),
        }
    }

    /// Makes the files of a committed record visible. Safe to repeat.
    pub async fn publish(&self, committed: &Unpublished) -> Result<Tip, Error> {
        self.lake.publish(&committed.0).await?;
        Ok(Tip { last: Some(committed.0.clone()) })
    }

    fn decode(&self, seq: u64, bytes: &[u8]) -> Result<Record, Error> {
        let path = self.place.record(seq);
        let record: Record = decode(bytes).doing(|| format!("read record {path}"))?;
        let Record { output, topic_id, topic_partition, .. } = &record;
        let at_home = Place::new(output, topic_id, *topic_partition) == self.place;
        if !at_home || record.seq != seq {
            let problem = format!(
                "it holds record {} of {output}, topic id {topic_id}, topic partition {topic_partition}",
                record.seq
            );
            return Err(Error::new(ErrorKind::Data, problem)
                .remedy("put the object back that was there; nothing but Tidemill may write under `_tidemill/`")
                .while_doing(format!("read record {path}")));
        }
        Ok(record)
    }
}
