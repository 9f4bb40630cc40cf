use super::file::TableFile;
use super::schema::output_schema;
use super::session::Budget;
use super::statement::tables_of;
use super::*;
use crate::error::{Error, ErrorKind};
use crate::model::time::Micros;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;

const RAW: &str = "raw.recentchange";

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), true);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

fn raw_schema() -> SchemaRef {
    schema(&[("wiki", DataType::Utf8), ("change", DataType::Int64), ("added", DataType::Utf8)])
}

async fn put(store: &dyn ObjectStore, name: &str, columns: Vec<(&str, ArrayRef)>) -> TableFile {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let file = TableFile { path: name.into(), bytes: bytes.len() as u64, times: None };
    store.put(&file.path, bytes.into()).await.unwrap();
    file
}

/// Two files of `raw.recentchange`; the second is older and lacks the column `added`.
async fn raw() -> Table {
    let store = InMemory::new();
    let wikis = |wikis: &[&str]| Arc::new(StringArray::from(wikis.to_vec())) as ArrayRef;
    let new = put(
        &store,
        "raw/recentchange/new.parquet",
        vec![
            ("wiki", wikis(&["dewiki", "enwiki", "dewiki"])),
            ("change", Arc::new(Int64Array::from(vec![Some(5), None, Some(2)]))),
            ("added", wikis(&["x", "y", "z"])),
        ],
    );
    let old = put(
        &store,
        "raw/recentchange/old.parquet",
        vec![("wiki", wikis(&["dewiki"])), ("change", Arc::new(Int64Array::from(vec![9])))],
    );
    let files = vec![new.await, old.await];
    put(&store, "raw/recentchange/later.parquet", vec![("wiki", wikis(&["never"]))]).await;
    let name = RAW.parse().unwrap();
    let (schema, store) = (raw_schema(), Arc::new(store));
    Table { catalog: Catalog::Lake, name, schema, store, files, routed_by: None }
}

fn budget(memory_bytes: u64) -> Budget {
    let spill = std::env::temp_dir().join(format!("tidemill-sql-{}", std::process::id()));
    Budget { memory_bytes, spill, threads: 2 }
}

fn parameters() -> Parameters {
    Parameters {
        data_interval_start: Micros(0),
        data_interval_end: Micros(3_600_000_000),
        partition_key: "1970-01-01T00".into(),
        run_id: "x' or 1=1 --".into(),
    }
}

async fn run(tables: &[Table], text: &str) -> Result<Vec<RecordBatch>, Error> {
    let session = Session::new(&budget(64 << 20), tables)?;
    let query = session.query(text, Some(&parameters()))?.in_fixed_order()?;
    query.rows()?.try_collect().await
}

#[track_caller]
fn check(rows: Result<Vec<RecordBatch>, Error>, expected: &[&str]) {
    let text = pretty_format_batches(&rows.unwrap()).unwrap().to_string();
    let lines: Vec<&str> = text.lines().collect();
    let rows = &lines[3.min(lines.len())..lines.len() - 1];
    let rows: Vec<String> = rows
        .iter()
        .map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(","))
        .collect();
    assert_eq!(rows, expected);
}

/// Expects `message`, about the place `at` in the text, with `help`.
#[track_caller]
fn check_problem(text: &str, message: &str, at: &str, help: &str) {
    let problem = plan_schema(text, &[(RAW.parse().unwrap(), raw_schema())]).unwrap_err();
    assert_eq!(problem.message, message);
    assert_eq!(problem.at.map_or("", |at| &text[at]), at);
    assert_eq!(problem.help.unwrap_or_default(), help);
}

#[tokio::test]
async fn a_table_is_exactly_its_files_and_old_ones_give_null() {
    let rows = run(&[raw().await], "select wiki, change, added from raw.recentchange").await;
    check(rows, &["dewiki,2,z", "dewiki,5,x", "dewiki,9,", "enwiki,,y"]);
}

#[tokio::test]
async fn a_table_without_files_is_empty() {
    let empty = Table { files: Vec::new(), ..raw().await };
    check(run(&[empty], "select count(*), sum(change) from raw.recentchange").await, &["0,"]);
}

#[tokio::test]
async fn aggregates_are_exact_and_leave_nulls_out() {
    let text = "select wiki, count(*), count(*) filter (where change > 4), count(distinct change),
                       sum(change), percentile_cont(0.95) within group (order by change)
                from raw.recentchange group by wiki";
    check(run(&[raw().await], text).await, &["dewiki,3,2,3,16,8.6", "enwiki,1,0,0,,"]);
}

#[tokio::test]
async fn parameters_are_values_and_not_text() {
    let text = "select $run_id, $partition_key, $data_interval_end - $data_interval_start";
    check(run(&[], text).await, &["x' or 1=1 --,1970-01-01T00,PT3600S"]);
}

#[tokio::test]
async fn a_moment_in_utc_is_cut_as_the_calendar_cuts_it() {
    for part in ["second", "minute", "hour", "day", "week", "month"] {
        let text = format!(
            "select distinct cast(date_trunc('{part}', m) as varchar)
                    = cast(date_trunc('{part}', cast(m as timestamp)) as varchar) || 'Z' as same
             from (select arrow_cast(v * 86398765432 + 1, 'Timestamp(Microsecond, Some(\"UTC\"))') as m
                   from generate_series(-900, 900) as s (v))"
        );
        check(run(&[], &text).await, &["true"]);
    }
}

#[tokio::test]
async fn columns_of_one_name_can_be_read() {
    let text = "select a.wiki, b.wiki from raw.recentchange as a join raw.recentchange as b
                on a.change = b.change where a.change > 4 and a.added is not null";
    check(run(&[raw().await], text).await, &["dewiki,dewiki"]);
}

#[tokio::test]
async fn a_sum_that_overflows_fails() {
    let text = "select sum(change * 1000000000000000000) from raw.recentchange";
    let err = run(&[raw().await], text).await.unwrap_err();
    assert_eq!(err.kind, ErrorKind::Input);
    assert!(err.to_string().contains("64-bit whole numbers"), "{err}");
}

#[tokio::test]
async fn a_query_that_is_over_its_memory_spills() {
    let session = Session::new(&budget(16 << 20), &[]).unwrap();
    let text = "select value % 500000 as k, count(*) as n, max(value) as v
                from generate_series(1, 1000000) group by 1 order by 3 desc, 1";
    let query = session.query(text, None).unwrap();
    let rows: Vec<RecordBatch> = query.rows().unwrap().try_collect().await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 500_000);
}

#[test]
fn a_query_can_only_read() {
    for text in [
        "delete from raw.recentchange",
        "copy (select 1) to '/tmp/x.csv'",
        "create external table x stored as parquet location '/etc'",
        "set datafusion.execution.batch_size = 1",
        "with x as (select 1) insert into raw.recentchange select 1",
    ] {
        check_problem(text, "a query only reads", "", "write a `select`");
    }
    let one = "write a single `select`";
    check_problem("select 1; drop table raw.recentchange", "more than one statement", "", one);
    let path = "no table is named `/etc/passwd`";
    check_problem("select * from '/etc/passwd'", path, "", "the tables are: raw.recentchange");
}

#[test]
fn a_wrong_name_is_told_with_its_place_and_a_likely_one() {
    check_problem(
        "select wiki,\n  sum(chnage)\nfrom raw.recentchange",
        "no column is named `chnage`",
        "chnage",
        "did you mean `change`?",
    );
    check_problem(
        "select 1 from raw.recentchanges",
        "no table is named `raw.recentchanges`",
        "raw.recentchanges",
        "did you mean `raw.recentchange`?",
    );
    check_problem(
        "select $data_interval_begin",
        "no run parameter is named `$data_interval_begin`",
        "$data_interval_begin",
        "did you mean `$data_interval_end`?",
    );
    check_problem(
        "select 1 from raw.recentchange where wiki and change > 1",
        "Cannot infer common argument type for logical boolean operation Utf8View AND Boolean",
        "",
        "",
    );
    check_problem(
        "select wiki form raw.recentchange",
        "Expected: end of statement, found: raw",
        "raw",
        "",
    );
}

#[test]
fn an_output_begins_with_the_column_that_tidemill_adds() {
    let table = (RAW.parse().unwrap(), raw_schema());
    let planned =
        plan_schema("select wiki, count(*) as n from raw.recentchange group by 1", &[table]);
    let schema = output_schema(crate::model::hive::Grain::Hour, &planned.unwrap()).unwrap();
    let fields: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect();
    assert_eq!(fields, ["hour_start Timestamp(µs)", "wiki Utf8", "n Int64"]);
}

#[test]
fn an_output_whose_columns_no_warehouse_takes_is_refused() {
    let message = |text: &str| {
        let planned = plan_schema(text, &[]).unwrap();
        output_schema(crate::model::hive::Grain::Day, &planned).unwrap_err().message
    };
    assert_eq!(message("select 1 as day_start"), "Tidemill adds `day_start` itself");
    assert_eq!(message("select count(*)"), "`count(*)` can't be a column's name");
    assert_eq!(message("select 1 as a, 2 as \"A\""), "two columns are named `A`");
    assert!(message("select [1, 2] as list").contains("which no table can hold"));
}

#[test]
fn the_tables_of_a_query_are_found_without_knowing_them() {
    let text = "with d as (select * from warehouse.agg.by_day) select * from d join raw.x on true";
    let tables: Vec<String> = tables_of(text)
        .unwrap()
        .into_iter()
        .map(|(catalog, name)| format!("{}:{name}", catalog.as_str()))
        .collect();
    assert_eq!(tables, ["lake:raw.x", "warehouse:agg.by_day"]);
}

#[tokio::test]
async fn files_of_hive_partitions_that_a_filter_excludes_are_not_opened() {
    let hour = |hour: i64| hour * 3_600_000_000;
    let store = InMemory::new();
    let times = |times: Vec<i64>| {
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) as ArrayRef
    };
    let mut first = put(&store, "a.parquet", vec![("at", times(vec![hour(0), hour(1) - 1]))]).await;
    let mut second = put(&store, "b.parquet", vec![("at", times(vec![hour(1)]))]).await;
    // Nobody can read it.
    let mut third = TableFile { path: "gone.parquet".into(), bytes: 1, times: None };
    for (at, file) in (0..).zip([&mut first, &mut second, &mut third]) {
        file.times = Some((Micros(hour(at)), Micros(hour(at + 1))));
    }
    let kind = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let table = Table {
        catalog: Catalog::Lake,
        name: RAW.parse().unwrap(),
        schema: schema(&[("at", kind)]),
        store: Arc::new(store),
        files: vec![first, second, third],
        routed_by: Some("at".to_owned()),
    };
    let counted = |filter: &str| format!("select count(*) as n from {RAW} where {filter}");
    for (filter, rows) in [
        ("at < timestamp '1970-01-01 01:00:00'", "2"),
        ("at <= timestamp '1970-01-01 01:00:00'", "3"),
        ("at >= timestamp '1970-01-01 01:00:00' and at < timestamp '1970-01-01 02:00:00'", "1"),
        ("at between timestamp '1970-01-01' and timestamp '1970-01-01 00:59:59.999999'", "2"),
    ] {
        check(run(std::slice::from_ref(&table), &counted(filter)).await, &[rows]);
    }
    assert!(run(&[table], &counted("at > timestamp '1970-01-01 02:00:00'")).await.is_err());
}
