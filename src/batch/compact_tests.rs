// Over 400 lines: one claim a test, all on one bed.

use super::Budget;
use super::compact::{Made, Wanted, compact};
use crate::error::{Error, ErrorKind};
use crate::lake::Lake;
use crate::lake::commit::{Append, NewFile};
use crate::lake::testing::{
    TOPIC_ID, crash_at_every_call, memory, output, record_of, trouble_at_every_request,
};
use crate::lake::verify::{Known, Severity};
use crate::model::commit::{Closing, Compact, FORMAT, Publish, RecordId};
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::schema::{Schema, SchemaColumn};
use crate::model::time::Micros;
use arrow::array::{
    AsArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::sync::Arc;
use tempfile::TempDir;

const HOUR: &str = "2026-11-20T05";

fn key() -> PartitionKey {
    HOUR.parse().unwrap()
}

/// Commits rows of topic partition 3, dated backwards.
async fn commit(lake: &Lake, publish: Publish, rows: i64, columns: usize) {
    commit_saying(lake, publish, rows, columns, rows).await;
}

/// The same, with a record that speaks of another number of rows.
async fn commit_saying(lake: &Lake, publish: Publish, rows: i64, columns: usize, said: i64) {
    let log = lake.log(&output(), TOPIC_ID, 3);
    let tip = log.recover().await.unwrap();
    let (seq, start) = (tip.next_seq(), tip.end().unwrap_or(0));
    let offsets = start..start + rows;
    let times = TimestampMicrosecondArray::from_iter_values(offsets.clone().map(|at| 1_000 - at));
    let mut cells = vec![("at", Arc::new(times.with_timezone("UTC")) as _)];
    if columns > 1 {
        cells.push(("n", Arc::new(Int64Array::from_iter_values(offsets.clone())) as _));
    }
    if columns > 2 {
        let wide = offsets.clone().map(|at| format!("{at:-<16384}"));
        cells.push(("text", Arc::new(StringArray::from_iter_values(wide)) as _));
    }
    let partitions = Int32Array::from_iter_values(offsets.clone().map(|_| 3));
    cells.push(("_partition", Arc::new(partitions) as _));
    cells.push(("_offset", Arc::new(Int64Array::from_iter_values(offsets)) as _));
    let batch = RecordBatch::try_from_iter(cells).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let file = NewFile {
        key: Some(key()),
        index: 0,
        payload: writer.into_inner().unwrap().into(),
        rows: said.unsigned_abs(),
        event_time_min: Some(Micros(1_000 - start - rows + 1)),
        event_time_max: Some(Micros(1_000 - start)),
    };
    let staged = log.stage(seq, file).await.unwrap();
    let mut record = record_of(seq, start, start + said, vec![staged]);
    record.publish = publish;
    record.schema = lake.schema_number(&output(), &schema(columns)).await.unwrap();
    let Append::Ours(committed) = log.append(&tip, &record).await.unwrap() else {
        panic!("nobody else writes")
    };
    log.publish(&committed).await.unwrap();
}

fn schema(columns: usize) -> Schema {
    let named = [("at", "timestamp"), ("n", "int64"), ("text", "string")].into_iter();
    let column = |(name, kind): (&str, &str)| SchemaColumn { name: name.into(), kind: kind.into() };
    let columns = named.take(columns).map(column).collect();
    let partition_by = Some(PartitionBy::utc(Grain::Hour));
    Schema { format: FORMAT, partition_by, columns, event_time: Some("at".into()) }
}

fn id(seq: u64) -> RecordId {
    RecordId { topic_id: TOPIC_ID.to_owned(), topic_partition: 3, seq }
}

/// Closing `n` of records 1 to `records`.
fn wanted(n: u32, records: u64) -> Wanted {
    Wanted {
        closing: Compact {
            table: output(),
            key: key(),
            n,
            partial: false,
            complete: true,
            frontier: Micros(0),
        },
        records: (1..=records).map(id).collect(),
        event_time: Some("at".into()),
    }
}

async fn close(lake: &Lake, n: u32, records: u64) -> Result<Made, Error> {
    close_with(lake, &wanted(n, records), 64 << 20).await
}

async fn close_with(lake: &Lake, wanted: &Wanted, memory_bytes: u64) -> Result<Made, Error> {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let budget = Budget { memory_bytes, spill: folder.path().join("spill"), threads: 2 };
    compact(lake, wanted, &budget).await
}

async fn closing(lake: &Lake, n: u32) -> Closing {
    lake.closing(&output(), &key(), n).await.unwrap().unwrap()
}

/// The offsets that a plain reader sees, file by file in the order of names.
async fn visible(lake: &Lake) -> Vec<Vec<i64>> {
    let mut all = Vec::new();
    for file in lake.visible_files(&output()).await.unwrap() {
        let bytes = lake.objects().get(&file.published).await.unwrap().bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let mut offsets = Vec::new();
        for batch in reader {
            let batch = batch.unwrap();
            let times = batch.column_by_name("at").unwrap();
            let times = times.as_primitive::<TimestampMicrosecondType>();
            assert!(times.values().is_sorted(), "{}", file.published);
            let origin = batch.column_by_name("_partition").unwrap();
            assert!(origin.as_primitive::<Int32Type>().values().iter().all(|at| *at == 3));
            let column = batch.column_by_name("_offset").unwrap();
            offsets.extend_from_slice(column.as_primitive::<Int64Type>().values());
        }
        all.push(offsets);
    }
    all
}

fn success() -> Path {
    format!("raw/recentchange/{}/_SUCCESS", key().path()).into()
}

async fn is_success(lake: &Lake) -> bool {
    lake.objects().head(&success()).await.is_ok()
}

/// Nothing is wrong, and nothing is left staged.
async fn check_sound(lake: &Lake, late_rows: u64) {
    let report = lake.verify(&output(), &Known::default()).await.unwrap();
    assert_eq!((report.findings, report.staged, report.late_rows), (vec![], 0, late_rows));
}

#[tokio::test]
async fn what_waits_is_visible_only_when_it_has_closed_and_then_sorted() {
    let lake = memory().await;
    commit(&lake, Publish::OnClose, 3, 2).await;
    commit(&lake, Publish::OnClose, 2, 2).await;
    assert_eq!(visible(&lake).await, Vec::<Vec<i64>>::new());
    check_sound(&lake, 0).await;
    let made = close(&lake, 1, 2).await.unwrap();
    assert_eq!((made.files_read, made.files, made.rows), (2, 1, 5));
    assert_eq!(visible(&lake).await, [[4, 3, 2, 1, 0]]);
    assert!(is_success(&lake).await);
    check_sound(&lake, 0).await;
}

#[tokio::test]
async fn a_sorted_file_tells_its_event_times_in_the_closing_and_its_columns_keep_their_ids() {
    let lake = memory().await;
    commit(&lake, Publish::OnClose, 5, 2).await;
    close(&lake, 1, 1).await.unwrap();
    let file = closing(&lake, 1).await.files.remove(0);
    let times = (file.event_time_min, file.event_time_max);
    assert_eq!(times, (Some(Micros(996)), Some(Micros(1_000))));
    let path = Path::from(file.published);
    let bytes = lake.objects().get(&path).await.unwrap().bytes().await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let columns = reader.parquet_schema().root_schema().get_fields().iter();
    let ids: Vec<_> = columns.map(|column| column.get_basic_info().id()).collect();
    assert_eq!(ids, [1, 2, 1_000_001, 1_000_002]);
}

#[tokio::test]
async fn late_rows_are_added_and_what_was_visible_stays_as_it_is() {
    let lake = memory().await;
    commit(&lake, Publish::OnClose, 3, 2).await;
    close(&lake, 1, 1).await.unwrap();
    let before = lake.visible_files(&output()).await.unwrap();
    commit(&lake, Publish::OnClose, 2, 2).await;
    check_sound(&lake, 2).await;
    let made = close(&lake, 2, 2).await.unwrap();
    assert_eq!((made.files_read, made.rows), (1, 2));
    assert_eq!(visible(&lake).await, [vec![2, 1, 0], vec![4, 3]]);
    let after = lake.visible_files(&output()).await.unwrap();
    assert_eq!(after[..1], before);
    let listed = closing(&lake, 2).await;
    assert_eq!((listed.rows, listed.files.len()), (5, 2));
    check_sound(&lake, 0).await;
}

#[tokio::test]
async fn what_was_published_on_commit_is_listed_as_it_is() {
    let lake = memory().await;
    commit(&lake, Publish::OnCommit, 1, 2).await;
    commit(&lake, Publish::OnClose, 2, 2).await;
    let made = close(&lake, 1, 2).await.unwrap();
    assert_eq!((made.files_read, made.rows), (1, 2));
    assert_eq!((closing(&lake, 1).await.rows, closing(&lake, 1).await.files.len()), (3, 2));
    assert_eq!(visible(&lake).await, [vec![0], vec![2, 1]]);
    check_sound(&lake, 0).await;
}

#[tokio::test]
async fn columns_that_were_added_meanwhile_are_kept() {
    let lake = memory().await;
    commit(&lake, Publish::OnClose, 2, 1).await;
    commit(&lake, Publish::OnClose, 2, 2).await;
    close(&lake, 1, 2).await.unwrap();
    let file = lake.visible_files(&output()).await.unwrap().remove(0);
    let bytes = lake.objects().get(&file.published).await.unwrap().bytes().await.unwrap();
    let batch = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let batch = batch.into_iter().next().unwrap().unwrap();
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["at", "n", "_partition", "_offset"]);
    let added = batch.column(1).as_primitive::<Int64Type>();
    assert_eq!(added.iter().collect::<Vec<_>>(), [Some(3), Some(2), None, None]);
}

#[tokio::test]
async fn a_closing_ahead_of_time_gives_no_sign_of_completeness() {
    let lake = memory().await;
    commit(&lake, Publish::OnClose, 1, 2).await;
    let mut forced = wanted(1, 1);
    (forced.closing.complete, forced.closing.partial) = (false, true);
    close_with(&lake, &forced, 64 << 20).await.unwrap();
    assert!(!is_success(&lake).await);
    check_sound(&lake, 0).await;
}

#[tokio::test]
async fn a_sign_of_completeness_that_somebody_deletes_is_damage() {
    let lake = memory().await;
    commit(&lake, Publish::OnClose, 1, 2).await;
    close(&lake, 1, 1).await.unwrap();
    lake.objects().delete(&success()).await.unwrap();
    let found = lake.verify(&output(), &Known::default()).await.unwrap().findings;
    assert_eq!((found.len(), found[0].severity), (1, Severity::Damage), "{found:?}");
}

#[tokio::test]
async fn more_rows_than_fit_into_memory_become_files_in_one_order() {
    let lake = memory().await;
    for _ in 0..4 {
        commit(&lake, Publish::OnClose, 200_000, 2).await;
    }
    let made = close_with(&lake, &wanted(1, 4), 8 << 20).await.unwrap();
    assert!(made.files > 1, "{made:?}");
    let offsets = visible(&lake).await.concat();
    assert_eq!(offsets, (0..800_000).rev().collect::<Vec<_>>());
    check_sound(&lake, 0).await;
}

#[tokio::test]
async fn rows_that_no_stream_dates_any_more_are_in_the_order_of_the_topic() {
    let lake = memory().await;
    commit(&lake, Publish::OnClose, 3, 2).await;
    let undated = Wanted { event_time: None, ..wanted(1, 1) };
    close_with(&lake, &undated, 64 << 20).await.unwrap();
    let closing = closing(&lake, 1).await;
    let added = &closing.compaction.unwrap().added[0];
    assert_eq!((added.rows, added.event_time_min, added.event_time_max), (3, None, None));
    check_sound(&lake, 0).await;
}

#[tokio::test]
async fn rows_of_which_few_fit_into_memory_are_sorted_too() {
    let lake = memory().await;
    for _ in 0..4 {
        commit(&lake, Publish::OnClose, 3_000, 3).await;
    }
    close_with(&lake, &wanted(1, 4), 32 << 20).await.unwrap();
    assert_eq!(visible(&lake).await.concat(), (0..12_000).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn two_compactions_of_one_closing_show_each_row_once() {
    let lake = memory().await;
    commit(&lake, Publish::OnClose, 3, 2).await;
    let other = lake.clone();
    let (ours, theirs) = tokio::join!(close(&lake, 1, 1), close(&other, 1, 1));
    assert_eq!((ours.unwrap().rows, theirs.unwrap().rows), (3, 3));
    assert_eq!(visible(&lake).await, [[2, 1, 0]]);
    check_sound(&lake, 0).await;
}

#[tokio::test]
async fn rows_that_are_missing_from_a_staged_file_close_nothing() {
    let lake = memory().await;
    commit_saying(&lake, Publish::OnClose, 3, 2, 4).await;
    let error = close(&lake, 1, 1).await.unwrap_err();
    assert!(error.to_string().contains("hold 3 rows, and their records say 4"), "{error}");
    assert_eq!(lake.newest_closing(&output(), &key()).await.unwrap(), None);
}

/// A record closed, and another one whose row is late.
async fn reopen(lake: Lake) {
    commit(&lake, Publish::OnClose, 2, 2).await;
    close(&lake, 1, 1).await.unwrap();
    commit(&lake, Publish::OnClose, 1, 2).await;
}

async fn reopened() -> (Lake, ()) {
    let lake = memory().await;
    reopen(lake.clone()).await;
    (lake, ())
}

/// As the daemon does.
async fn sweep(lake: &Lake) {
    lake.sweep_sorted(&output()).await.unwrap();
    for log in lake.logs(&output()).await.unwrap() {
        log.sweep(0).await.unwrap();
        log.retire_closed().await.unwrap();
    }
}

/// One that has failed is followed by another.
async fn close_second(lake: Lake, (): ()) -> Result<(), Error> {
    match close(&lake, 2, 2).await {
        Err(error) if error.kind == ErrorKind::Unavailable => close(&lake, 2, 2).await.map(|_| ()),
        closed => closed.map(|_| ()),
    }
}

#[tokio::test]
async fn a_crash_at_any_call_is_mended_by_the_next_compaction_and_a_sweep() {
    crash_at_every_call(reopened, close_second, mend).await;
}

#[tokio::test]
async fn trouble_at_any_request_to_a_bucket_is_mended_so_too() {
    trouble_at_every_request(reopen, close_second, mend).await;
}

async fn mend(lake: Lake, (): ()) {
    assert!(visible(&lake).await.concat().len() <= 3, "a row is visible twice");
    close(&lake, 2, 2).await.unwrap();
    sweep(&lake).await;
    assert_eq!(visible(&lake).await, [vec![1, 0], vec![2]]);
    check_sound(&lake, 0).await;
}

#[tokio::test]
async fn a_crash_at_any_call_after_the_closing_is_mended_by_the_sweep_alone() {
    crash_at_every_call(reopened, close_second, async |lake, ()| {
        sweep(&lake).await;
        let is_closed = lake.closing(&output(), &key(), 2).await.unwrap().is_some();
        let expected = if is_closed { vec![vec![1, 0], vec![2]] } else { vec![vec![1, 0]] };
        assert_eq!(visible(&lake).await, expected);
        let report = lake.verify(&output(), &Known::default()).await.unwrap();
        assert_eq!(report.findings, []);
        assert_eq!(report.late_rows, u64::from(!is_closed));
    })
    .await;
}

#[tokio::test]
async fn a_sweep_shows_what_older_closings_add_before_it_clears() {
    let (lake, ()) = reopened().await;
    let record = lake.log(&output(), TOPIC_ID, 3).last().await.unwrap().unwrap();
    let staged = record.files[0].staged.as_str().into();
    let kept = lake.objects().get(&staged).await.unwrap().bytes().await.unwrap();
    close(&lake, 2, 2).await.unwrap();
    lake.objects().put(&staged, kept.into()).await.unwrap();
    let hidden = closing(&lake, 1).await.compaction.unwrap().added.remove(0);
    let (from, to) = (hidden.published.as_str().into(), hidden.staged.as_str().into());
    lake.objects().rename(&from, &to).await.unwrap();
    sweep(&lake).await;
    assert_eq!(visible(&lake).await, [vec![1, 0], vec![2]]);
    check_sound(&lake, 0).await;
}

#[tokio::test]
async fn what_was_sorted_stays_staged_while_any_file_of_the_closing_is_missing() {
    let (lake, ()) = reopened().await;
    let record = lake.log(&output(), TOPIC_ID, 3).last().await.unwrap().unwrap();
    let staged = record.files[0].staged.as_str().into();
    let kept = lake.objects().get(&staged).await.unwrap().bytes().await.unwrap();
    close(&lake, 2, 2).await.unwrap();
    lake.objects().put(&staged, kept.into()).await.unwrap();
    let first = closing(&lake, 1).await;
    lake.objects().delete(&first.files[0].published.as_str().into()).await.unwrap();
    lake.publish_closing(&first).await.unwrap();
    let log = lake.log(&output(), TOPIC_ID, 3);
    assert_eq!(log.retire_closed().await.unwrap_err().kind, ErrorKind::Data);
    assert!(lake.objects().head(&staged).await.is_ok());
}

#[tokio::test]
async fn a_sweep_that_crashes_is_repeated_and_takes_nothing_that_is_needed() {
    let make = async || {
        let (lake, ()) = reopened().await;
        let log = lake.log(&output(), TOPIC_ID, 3);
        let record = log.last().await.unwrap().unwrap();
        let staged = record.files[0].staged.as_str().into();
        let kept = lake.objects().get(&staged).await.unwrap().bytes().await.unwrap();
        close(&lake, 2, 2).await.unwrap();
        // As a kill leaves it between the two last steps.
        lake.objects().put(&staged, kept.into()).await.unwrap();
        commit(&lake, Publish::OnClose, 1, 2).await;
        (lake, ())
    };
    let work = async |lake: Lake, ()| {
        for log in lake.logs(&output()).await? {
            log.sweep(0).await?;
            log.retire_closed().await?;
        }
        lake.sweep_sorted(&output()).await.map(|_| ())
    };
    crash_at_every_call(make, work, async |lake, ()| {
        sweep(&lake).await;
        check_sound(&lake, 1).await;
        close(&lake, 3, 3).await.unwrap();
        assert_eq!(visible(&lake).await, [vec![1, 0], vec![2], vec![3]]);
        check_sound(&lake, 0).await;
    })
    .await;
}
