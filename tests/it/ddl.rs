//! What `tables ddl` prints is run by the engine that it is for.

use crate::project::Project;
use crate::servers;
use arrow::json::ReaderBuilder;
use parquet::arrow::ArrowWriter;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use tidemill::batch::Declared;
use tidemill::config::{self, Environment};

const TABLE: &str = "raw.recentchange";

#[test]
fn duckdb_reads_the_table_where_it_lies() {
    let Some(python) = servers::python() else { return };
    let project = Project::shipped();
    land_golden_input(&project);
    let told = project.tidemill(&["tables", "ddl", TABLE, "--for", "duckdb"]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    let script = "import duckdb, sys\n\
        db = duckdb.connect()\n\
        db.execute(sys.argv[1])\n\
        print(*db.sql('select count(*) > 0, count(wiki) > 0, min(dt), max(hour) from raw.recentchange').fetchone())";
    let asked = Command::new(python).args(["-c", script, &told.out]).output().unwrap();
    assert!(asked.status.success(), "{}\n{}", told.out, String::from_utf8_lossy(&asked.stderr));
    assert_eq!(String::from_utf8_lossy(&asked.stdout).trim(), "True True 2026-11-20 5");
}

#[test]
fn bigquery_can_not_read_a_folder_of_this_machine() {
    let told = Project::shipped().tidemill(&["tables", "ddl", TABLE, "--for", "bigquery"]);
    assert_eq!(told.code, Some(2));
    assert!(told.err.contains("BigQuery reads from gs:// only"), "{}", told.err);
}

#[test]
fn bigquery_keeps_the_table_that_is_loaded_and_reads_the_lake_beside_it() {
    let project = Project::shipped();
    project.in_bigquery("http://127.0.0.1:9");
    project.set("[lake]\nurl = \"gs://acme/wiki\"\n");
    let table = "agg.recentchange_by_hour";
    let told = project.tidemill(&["tables", "ddl", table, "--for", "bigquery"]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    let makes = format!("EXTERNAL TABLE `{table}_lake` (");
    for part in [&makes[..], "CREATE SCHEMA IF NOT EXISTS `agg` OPTIONS (location = 'EU');"] {
        assert!(told.out.contains(part), "{}", told.out);
    }
}

/// Puts the golden input of the hourly job where a stream would have landed it.
fn land_golden_input(project: &Project) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let declared = config::load(root, None, &Environment::default()).unwrap().project;
    let schema = Declared::from(&declared).schema(&TABLE.parse().unwrap()).unwrap();
    let input = root.join("jobs/recentchange_by_hour/golden/input.raw.recentchange.jsonl");
    let lines = BufReader::new(File::open(input).unwrap());
    let folder = project.lake().join("raw/recentchange/dt=2026-11-20/hour=05");
    fs::create_dir_all(&folder).unwrap();
    let file = File::create(folder.join("0.parquet")).unwrap();
    let mut parquet = ArrowWriter::try_new(file, schema.clone(), None).unwrap();
    for batch in ReaderBuilder::new(schema).build(lines).unwrap() {
        parquet.write(&batch.unwrap()).unwrap();
    }
    parquet.close().unwrap();
}
