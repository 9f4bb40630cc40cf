//! Golden input and output beside every SQL job: `jobs/<job>/golden/input.<table>.jsonl`, rows by
//! column name, and `expected.csv`, what the query makes of them; an empty cell is null.

use arrow::array::Array;
use arrow::json::ReaderBuilder;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use parquet::arrow::ArrowWriter;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use tidemill::batch::Declared;
use tidemill::config::{self, Environment};
use tidemill::model::hive::{PartitionBy, PartitionKey};
use tidemill::model::job::{BatchJob, JobKind};
use tidemill::model::name::TableName;
use tidemill::sql::session::{Budget, Parameters, Session};
use tidemill::sql::table::{Catalog, Table, TableFile};

#[tokio::test]
async fn every_sql_job_makes_its_golden_output() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = config::load(root, None, &Environment::default()).unwrap().project;
    let mut checked = 0;
    for (name, job) in &project.jobs {
        let JobKind::Batch(batch) = &job.kind else { continue };
        let folder = root.join("jobs").join(name.as_str()).join("golden");
        let expected = std::fs::read_to_string(folder.join("expected.csv"));
        let expected = expected.unwrap_or_else(|err| panic!("{name} has no golden output: {err}"));
        let mut tables = Vec::new();
        for read in &batch.reads {
            tables.push(table(&Declared::from(&project), read, &folder).await);
        }
        assert_eq!(csv(batch, &tables).await, expected, "{name}");
        checked += 1;
    }
    assert!(checked > 0, "no SQL job was found");
}

async fn table(declared: &Declared<'_>, name: &TableName, folder: &Path) -> Table {
    let schema = declared.schema(name).unwrap();
    let input = folder.join(format!("input.{name}.jsonl"));
    let lines = File::open(&input).unwrap_or_else(|err| panic!("{}: {err}", input.display()));
    let lines = ReaderBuilder::new(schema.clone()).build(BufReader::new(lines)).unwrap();
    let mut parquet = ArrowWriter::try_new(Vec::new(), schema.clone(), None).unwrap();
    for batch in lines {
        parquet.write(&batch.unwrap()).unwrap();
    }
    let content = parquet.into_inner().unwrap();
    let file = TableFile { path: "input.parquet".into(), bytes: content.len() as u64, times: None };
    let store = Arc::new(InMemory::new());
    store.put(&file.path, content.into()).await.unwrap();
    let (catalog, name, files) = (Catalog::Lake, name.clone(), vec![file]);
    Table { catalog, name, schema, store, files, routed_by: None }
}

async fn csv(batch: &BatchJob, tables: &[Table]) -> String {
    let spill = tempfile::tempdir().unwrap();
    let budget = Budget { memory_bytes: 64 << 20, spill: spill.path().into(), threads: 2 };
    let session = Session::new(&budget, tables).unwrap();
    let query = session.query(&batch.sql, Some(&parameters())).await.unwrap();
    let query = query.in_fixed_order().unwrap();
    let names: Vec<String> =
        query.schema().fields().iter().map(|field| field.name().clone()).collect();
    let rows: Vec<RecordBatch> = query.rows().await.unwrap().try_collect().await.unwrap();
    let mut text = names.join(",") + "\n";
    for batch in &rows {
        for row in 0..batch.num_rows() {
            let cells: Vec<String> =
                batch.columns().iter().map(|column| cell(column.as_ref(), row)).collect();
            text += &(cells.join(",") + "\n");
        }
    }
    text
}

fn cell(column: &dyn Array, row: usize) -> String {
    let options = FormatOptions::default();
    ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string()
}

/// The run of 2026-11-20T05, for queries that ask.
fn parameters() -> Parameters {
    let key: PartitionKey = "2026-11-20T05".parse().unwrap();
    let (start, end) = PartitionBy::utc(key.grain).range(&key);
    Parameters {
        data_interval_start: start,
        data_interval_end: end,
        partition_key: key.to_string(),
        run_id: "close-2026-11-20T05-r1-gold".into(),
    }
}
