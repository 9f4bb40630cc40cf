//! A writer for tests: what the stream does around this module, with offsets for rows.

use super::super::Lake;
use super::super::testing::{TOPIC_ID, output, record_of};
use super::{Append, Log, NewFile, Tip, Unpublished};
use crate::error::{Error, ErrorKind};
use crate::model::commit::Record;

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    /// The store's create is not conditional.
    ForgetfulStore,
    /// A writer publishes its files before it owns the record.
    PublishFirst,
    /// A writer takes a refusal for a success.
    TheirsIsOurs,
    /// A writer continues after the record that beat it without looking whether it is published.
    NoRecovery,
}

pub fn log_of(lake: &Lake) -> Log {
    lake.log(&output(), TOPIC_ID, 3)
}

/// One process: it lands offsets until all are there, and begins again after a lost answer.
pub async fn land_all(
    lake: Lake,
    process: u64,
    offsets: i64,
    planted: Planted,
) -> Result<(), Error> {
    loop {
        match land(&lake, process, offsets, planted).await {
            Err(error) if error.kind == ErrorKind::Unavailable => {}
            ended => return ended,
        }
    }
}

async fn land(lake: &Lake, process: u64, offsets: i64, planted: Planted) -> Result<(), Error> {
    let log = log_of(lake);
    let mut tip = log.recover().await?;
    log.sweep(0).await?;
    while tip.end().unwrap_or(0) < offsets {
        let record = stage(&log, &tip, process, offsets).await?;
        if planted == Planted::PublishFirst {
            lake.publish(&record).await?;
        }
        let mut appended = log.append(&tip, &record).await;
        if appended.is_err() && process.is_multiple_of(2) {
            // The other way on after an unanswered append: the same bytes again.
            appended = log.append(&tip, &record).await;
        }
        tip = match appended? {
            Append::Ours(committed) => log.publish(&committed).await?,
            Append::Theirs(theirs) => match planted {
                Planted::TheirsIsOurs => log.publish(&Unpublished(record)).await?,
                Planted::NoRecovery => Tip { last: Some(theirs) },
                Planted::Nothing | Planted::ForgetfulStore | Planted::PublishFirst => {
                    log.recover().await?
                }
            },
        };
        log.sweep(0).await?;
    }
    Ok(())
}

/// Stages the next few offsets, as many as differ from process to process, in two files.
async fn stage(log: &Log, tip: &Tip, process: u64, offsets: i64) -> Result<Record, Error> {
    let start = tip.end().unwrap_or(0);
    let seq = tip.next_seq();
    let length = 1 + i64::try_from((process * 7 + seq * 3) % 4).unwrap();
    let end = (start + length).min(offsets);
    let mut files = vec![];
    for (index, hour) in (0..).zip(["2026-11-20T05", "2026-11-20T06"]) {
        let mine = (start..end).filter(|offset| offset % 2 == i64::from(index));
        let rows: Vec<String> = mine.map(|offset| offset.to_string()).collect();
        if rows.is_empty() {
            continue;
        }
        let file = NewFile {
            key: Some(hour.parse().unwrap()),
            index,
            payload: format!("process-{process} {}", rows.join(" ")).into(),
            rows: rows.len() as u64,
            event_time_min: None,
            event_time_max: None,
        };
        files.push(log.stage(seq, file).await?);
    }
    let mut record = record_of(seq, start, end, files);
    record.writer = format!("process {process}");
    Ok(record)
}
