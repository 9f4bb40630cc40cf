//! What a stream and an attempt do to a table that is published on close, for the bed.

use super::bed::Bed;
use super::bed::TOPIC_ID;
use crate::lake::Created;
use crate::lake::compaction::NewSorted;
use crate::model::commit::ClosedFile;
use crate::model::commit::Closing;
use crate::model::commit::Compacted;
use crate::model::commit::Compaction;
use crate::model::commit::FORMAT;
use crate::model::commit::Publish;
use crate::model::commit::Record;
use crate::store::compactions::Compact;

impl Bed {
    /// Commits ten rows in each of `hours` to both topic partitions, to be published on close.
    pub async fn commit_waiting(&self, hours: &[i64], watermark: i64) {
        for topic_partition in 0..2 {
            let on_close = |record: &mut Record| record.publish = Publish::OnClose;
            self.append(topic_partition, hours, Some(watermark), on_close).await;
        }
    }

    /// Makes the closing as an attempt does, but for the sorting.
    pub async fn compact(&self, compact: &Compact) -> Closing {
        let Compact { table, key, n, partial, complete, frontier } = compact.clone();
        let before = self.lake.closing(&table, &key, n - 1).await.unwrap();
        let (mut records, mut files) = (Vec::new(), Vec::new());
        if let Some(before) = before {
            files = before.files;
            records = before.compaction.unwrap().records;
        }
        let taken: u64 = records.iter().map(|its: &Compacted| its.rows).sum();
        for log in self.lake.logs(&table).await.unwrap() {
            let all = log.after(0, 100).await.unwrap();
            let of_key = |record: &&Record| record.files.iter().any(|file| file.key == Some(key));
            let seqs: Vec<u64> = all.iter().filter(of_key).map(|record| record.seq).collect();
            let (topic_id, topic_partition) = (TOPIC_ID.to_owned(), log.topic_partition());
            records.retain(|its| its.topic_partition != topic_partition);
            let rows = 10 * seqs.len() as u64;
            records.push(Compacted { topic_id, topic_partition, seqs, rows });
        }
        let rows = records.iter().map(|its| its.rows).sum::<u64>();
        let new = NewSorted {
            key,
            n,
            index: 0,
            payload: format!("{key} {n}").into_bytes().into(),
            rows: rows - taken,
            event_time_min: None,
            event_time_max: None,
        };
        let added = self.lake.stage_sorted(&table, new).await.unwrap();
        files.push(ClosedFile {
            published: added.published.clone(),
            topic_id: String::new(),
            topic_partition: 0,
            seq: n.into(),
            rows: added.rows,
            bytes: added.bytes,
            checksum: added.checksum.clone(),
        });
        let compaction = Some(Compaction { complete, added: vec![added], records });
        let (format, made_from) = (FORMAT, None);
        let closing = Closing {
            format,
            table,
            key,
            n,
            partial,
            files,
            rows,
            frontier,
            made_from,
            compaction,
        };
        assert_eq!(self.lake.create_closing(&closing).await.unwrap(), Created::Ours);
        closing
    }
}
