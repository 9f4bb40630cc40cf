//! What every output of a stream promises, asked of each.

use super::super::chunk::Rejected;
use super::super::decode::Reject;
use super::super::header::RecordHeader;
use super::super::route::Part;
use super::lake::ParquetFiles;
use super::{Output, Prepared};
use crate::crash::Crash;
use crate::error::ErrorKind;
use crate::lake::Lake;
use crate::lake::testing::{CrashingStore, TOPIC_ID, memory, output, through};
use crate::model::commit::{File, Publish};
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::time::Micros;
use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

const SEQ: u64 = 7;

/// An output, and how to see what it has staged.
struct Place {
    lake: Lake,
    output: Box<dyn Output>,
}

fn schema() -> SchemaRef {
    let id = Field::new("id", DataType::Utf8, true);
    Arc::new(Schema::new(vec![id, Field::new("_offset", DataType::Int64, false)]))
}

fn key(hour: u32) -> PartitionKey {
    format!("2026-11-20T{hour:02}").parse().unwrap()
}

fn part(hour: u32, offsets: Range<i64>) -> Part {
    let ids: StringArray = offsets.clone().map(|offset| Some(format!("id-{offset}"))).collect();
    let numbers = Int64Array::from_iter_values(offsets.clone());
    let rows = RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(numbers)]).unwrap();
    Part { key: key(hour), rows, lowest: Micros(offsets.start), highest: Micros(offsets.end - 1) }
}

fn rejected(offset: i64) -> Rejected {
    Rejected { offset, arrived: None, reject: Reject::new("no JSON", ""), payload: b"{".to_vec() }
}

impl Place {
    /// The offsets in a staged file, in their order.
    async fn offsets(&self, file: &File) -> Vec<i64> {
        let got = self.lake.objects().get(&Path::from(file.staged.as_str())).await.unwrap();
        let bytes = got.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file.bytes);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let mut offsets = Vec::new();
        for batch in reader {
            let batch = batch.unwrap();
            let last = batch.column(batch.num_columns() - 1).as_primitive::<Int64Type>();
            offsets.extend(last.values());
        }
        assert_eq!(offsets.len() as u64, file.rows);
        offsets
    }

    /// The offsets that are prepared for an hour.
    async fn of_hour(&self, prepared: &Prepared, hour: u32) -> Vec<i64> {
        let mut offsets = Vec::new();
        for file in prepared.files.iter().filter(|file| file.key == Some(key(hour))) {
            offsets.extend(self.offsets(file).await);
        }
        offsets
    }
}

async fn what_is_prepared_holds_the_rows_that_were_taken(mut place: Place) {
    for part in [part(5, 0..3), part(6, 3..4), part(5, 4..6)] {
        place.output.take(part).unwrap();
    }
    let prepared = place.output.prepare(SEQ).await.unwrap();
    assert_eq!(place.of_hour(&prepared, 5).await, [0, 1, 2, 4, 5]);
    assert_eq!(place.of_hour(&prepared, 6).await, [3]);
    let sorted = prepared.files.iter().find(|file| file.key == Some(key(5))).unwrap();
    assert_eq!((sorted.event_time_min, sorted.event_time_max), (Some(Micros(0)), Some(Micros(5))));
    assert_eq!(prepared.quarantine, None);
}

async fn what_does_not_land_is_prepared_apart(mut place: Place) {
    place.output.take(part(5, 0..1)).unwrap();
    place.output.quarantine(&[rejected(1), rejected(2)]).unwrap();
    let prepared = place.output.prepare(SEQ).await.unwrap();
    assert_eq!(place.of_hour(&prepared, 5).await, [0]);
    let quarantine = prepared.quarantine.unwrap();
    assert_eq!((quarantine.key, place.offsets(&quarantine).await), (None, vec![1, 2]));
}

async fn it_begins_anew_after_a_record(mut place: Place) {
    place.output.take(part(5, 0..3)).unwrap();
    place.output.quarantine(&[rejected(3)]).unwrap();
    place.output.prepare(SEQ).await.unwrap();
    assert_eq!((place.output.memory(), place.output.staged_bytes()), (0, 0));
    assert!(place.output.keys().is_empty());
    let nothing = place.output.prepare(SEQ + 1).await.unwrap();
    assert_eq!(nothing, Prepared::default());
}

async fn what_is_sealed_leaves_memory_and_is_prepared_with_the_rest(mut place: Place) {
    place.output.take(part(5, 0..3)).unwrap();
    place.output.take(part(6, 3..5)).unwrap();
    let memory = place.output.memory();
    assert_eq!(place.output.open().iter().map(|(_, bytes)| bytes).sum::<u64>(), memory);
    place.output.seal(SEQ, key(5)).await.unwrap();
    assert!(place.output.memory() < memory);
    assert!(place.output.staged_bytes() > 0);
    let keys: BTreeSet<_> = place.output.keys().into_iter().collect();
    assert_eq!(keys, BTreeSet::from([key(5), key(6)]));
    place.output.take(part(5, 5..6)).unwrap();
    let prepared = place.output.prepare(SEQ).await.unwrap();
    assert_eq!(place.of_hour(&prepared, 5).await, [0, 1, 2, 5]);
    assert_eq!(place.of_hour(&prepared, 6).await, [3, 4]);
    let published: BTreeSet<_> = prepared.files.iter().map(|file| &file.published).collect();
    assert_eq!(published.len(), prepared.files.len(), "each file has a name of its own");
}

async fn nothing_is_visible_before_its_record(mut place: Place) {
    place.output.take(part(5, 0..3)).unwrap();
    let prepared = place.output.prepare(SEQ).await.unwrap();
    for file in &prepared.files {
        let visible = place.lake.objects().head(&Path::from(file.published.as_str())).await;
        assert!(matches!(visible, Err(object_store::Error::NotFound { .. })), "{visible:?}");
    }
}

/// Whatever call of it fails, the error says that another try may succeed.
async fn a_call_that_goes_wrong_is_an_outage(make: impl AsyncFn(Lake) -> Box<dyn Output>) {
    for crash in Crash::KILLS {
        for call in 0.. {
            let store = CrashingStore::over(memory().await.objects().clone(), crash(call));
            let mut output = make(through(&memory().await, store.clone())).await;
            output.take(part(5, 0..3)).unwrap();
            output.take(part(6, 3..4)).unwrap();
            let outcome = match output.seal(SEQ, key(5)).await {
                Ok(()) => output.prepare(SEQ).await.map(drop),
                Err(error) => Err(error),
            };
            if !store.crashed() {
                outcome.unwrap();
                assert!(call > 0, "no call was reached");
                break;
            }
            assert_eq!(outcome.unwrap_err().kind, ErrorKind::Unavailable, "{:?}", crash(call));
        }
    }
}

fn parquet_files(lake: &Lake) -> Box<dyn Output> {
    let header = RecordHeader {
        output: output(),
        topic: "changes".parse().unwrap(),
        topic_id: TOPIC_ID.into(),
        schema: 1,
        partition_by: PartitionBy::utc(Grain::Hour),
        publish: Publish::OnCommit,
        job: "job".into(),
        writer: "writer".into(),
    };
    let log = lake.log(&output(), TOPIC_ID, 3);
    Box::new(ParquetFiles::new(3, Arc::new(header), schema(), log))
}

/// Asks each promise of each output; a new output is a module here.
macro_rules! conformance {
    ($($promise:ident),+ $(,)?) => {
        mod lake {
            $(
                #[tokio::test]
                async fn $promise() {
                    let lake = super::memory().await;
                    let output = super::parquet_files(&lake);
                    super::$promise(super::Place { lake, output }).await;
                }
            )+

            #[tokio::test]
            async fn a_call_that_goes_wrong_is_an_outage() {
                let make = async |lake: crate::lake::Lake| super::parquet_files(&lake);
                super::a_call_that_goes_wrong_is_an_outage(make).await;
            }
        }
    };
}

conformance!(
    what_is_prepared_holds_the_rows_that_were_taken,
    what_does_not_land_is_prepared_apart,
    it_begins_anew_after_a_record,
    what_is_sealed_leaves_memory_and_is_prepared_with_the_rest,
    nothing_is_visible_before_its_record,
);
