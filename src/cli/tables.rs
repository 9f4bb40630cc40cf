//! `tidemill tables`: how other engines get to see a table of the lake.

use crate::batch::Declared;
use crate::error::{Error, ErrorKind};
use crate::model::hive::Grain;
use crate::model::job::JobKind;
use crate::model::name::TableName;
use crate::model::project::Project;
use crate::model::settings::Warehouse;
use crate::terminal::context::{Context, unknown};
use crate::terminal::print;
use arrow::datatypes::{DataType, Schema};
use clap::{Subcommand, ValueEnum};
use std::collections::BTreeSet;

#[derive(Debug, Subcommand)]
pub enum TablesVerb {
    /// Prints statements that let another engine read a table in place
    Ddl {
        /// A table of the lake: raw.recentchange
        table: String,
        #[arg(long = "for", value_enum, value_name = "ENGINE")]
        engine: Engine,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    Bigquery,
    Spark,
    Duckdb,
}

pub fn run(context: &Context, verb: &TablesVerb) -> Result<(), Error> {
    let TablesVerb::Ddl { table, engine } = verb;
    let project = context.project()?;
    let declared = project.tables.values().find(|declared| declared.name.as_str() == table);
    let Some(declared) = declared else {
        let known: Vec<_> = project.tables.keys().map(ToString::to_string).collect();
        return Err(unknown("table", table, &known, &context.command("check")));
    };
    let schema = Declared::from(&project).schema(&declared.name)?;
    let lake = project.settings.lake.to_string();
    if *engine == Engine::Bigquery && !lake.starts_with("gs://") {
        let problem = format!("BigQuery reads from gs:// only, and the lake is {lake}");
        return Err(Error::new(ErrorKind::Input, problem)
            .remedy("name the environment whose lake is a bucket: --env gcp"));
    }
    let url = format!("{lake}/{}/{}", declared.name.data_set(), declared.name.table());
    let grain = declared.partition_by.grain;
    let place = Place {
        url,
        loaded: loaded(&project),
        location: match &project.settings.warehouse {
            Warehouse::BigQuery(bigquery) => Some(bigquery.location.clone()),
            Warehouse::Local(_) => None,
        },
    };
    print::text(&ddl(*engine, &declared.name, grain, &schema, &place))
}

/// Where the table lies, and what of the warehouse the statements must fit.
struct Place {
    url: String,
    /// Tables that jobs load into the warehouse.
    loaded: BTreeSet<String>,
    location: Option<String>,
}

fn loaded(project: &Project) -> BTreeSet<String> {
    let into = project.jobs.values().filter_map(|job| match &job.kind {
        JobKind::Batch(batch) => batch.to_warehouse.as_ref().map(|to| to.table.to_string()),
        JobKind::Feed(_) | JobKind::Stream(_) => None,
    });
    into.collect()
}

/// The statements, each ended by a semicolon.
fn ddl(engine: Engine, table: &TableName, grain: Grain, schema: &Schema, place: &Place) -> String {
    let (set, name) = (table.data_set(), table.table());
    let url = place.url.replace('\'', "''");
    let hive: Vec<_> = hive_columns(grain).into_iter().collect();
    let fields = || schema.fields().iter().map(|field| (field.name(), field.data_type()));
    match engine {
        Engine::Duckdb => {
            let columns = fields().map(|(name, _)| format!("  \"{name}\",\n"));
            let columns = columns.collect::<Vec<_>>().concat();
            let parts = hive.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>();
            let types = hive.iter().map(|(name, kind)| format!("{name}: {}", kind.duckdb()));
            let types = types.collect::<Vec<_>>().join(", ");
            format!(
                "CREATE SCHEMA IF NOT EXISTS {set};\nCREATE OR REPLACE VIEW {set}.{name} AS SELECT\n{columns}  {}\n\
                 FROM read_parquet('{url}/**/*.parquet', union_by_name = true,\n  hive_partitioning = true, hive_types = {{{types}}});\n",
                parts.join(", ")
            )
        }
        Engine::Spark => {
            let columns = fields().map(|(name, kind)| format!("  `{name}` {},\n", spark(kind)));
            let columns = columns.collect::<Vec<_>>().concat();
            let typed = hive.iter().map(|(name, kind)| format!("`{name}` {}", kind.spark()));
            let typed = typed.collect::<Vec<_>>().join(", ");
            let parts = hive.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            format!(
                "CREATE DATABASE IF NOT EXISTS {set};\nCREATE TABLE {set}.{name} (\n{columns}  {typed}\n)\n\
                 USING PARQUET PARTITIONED BY ({parts})\nLOCATION '{url}';\n\
                 -- Again whenever new hive partitions are to be seen:\nMSCK REPAIR TABLE {set}.{name};\n"
            )
        }
        Engine::Bigquery => {
            let columns = fields().map(|(name, kind)| format!("  `{name}` {}", bigquery(kind)));
            let columns = columns.collect::<Vec<_>>().join(",\n");
            let parts = hive.iter().map(|(name, kind)| format!("{name} {}", kind.bigquery()));
            let parts = parts.collect::<Vec<_>>().join(", ");
            let (named, why) = external(table, &place.loaded);
            let location = place.location.as_ref();
            let location =
                location.map_or(String::new(), |at| format!(" OPTIONS (location = '{at}')"));
            format!(
                "CREATE SCHEMA IF NOT EXISTS `{set}`{location};\n{why}CREATE OR REPLACE EXTERNAL TABLE `{named}` (\n{columns}\n)\n\
                 WITH PARTITION COLUMNS ({parts})\nOPTIONS (\n  format = 'PARQUET',\n  uris = ['{url}/*.parquet'],\n  \
                 hive_partition_uri_prefix = '{url}'\n);\n"
            )
        }
    }
}

/// A name that no table has which a job loads, for replacing that one would be its end; and why it is
/// not the lake's own.
fn external(table: &TableName, loaded: &BTreeSet<String>) -> (String, String) {
    let mut named = table.to_string();
    while loaded.contains(&named) {
        named += "_lake";
    }
    let why = format!("-- `{table}` is the table that a job loads; this one reads the lake.\n");
    let why = if named == table.as_str() { String::new() } else { why };
    (named, why)
}

/// What a value in a hive partition's path is.
#[derive(Clone, Copy)]
enum Part {
    Date,
    Hour,
    /// `2026-11`, which no engine has a type for.
    Month,
}

impl Part {
    fn duckdb(self) -> &'static str {
        match self {
            Self::Date => "DATE",
            Self::Hour => "INTEGER",
            Self::Month => "VARCHAR",
        }
    }

    fn spark(self) -> &'static str {
        match self {
            Self::Date => "DATE",
            Self::Hour => "INT",
            Self::Month => "STRING",
        }
    }

    fn bigquery(self) -> &'static str {
        match self {
            Self::Date => "DATE",
            Self::Hour => "INT64",
            Self::Month => "STRING",
        }
    }
}

fn hive_columns(grain: Grain) -> Vec<(&'static str, Part)> {
    match grain {
        Grain::Hour => vec![("dt", Part::Date), ("hour", Part::Hour)],
        Grain::Day => vec![("dt", Part::Date)],
        Grain::Month => vec![("month", Part::Month)],
    }
}

fn spark(kind: &DataType) -> String {
    match kind {
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP_NTZ".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Binary => "BINARY".into(),
        _ => "STRING".into(),
    }
}

fn bigquery(kind: &DataType) -> &'static str {
    match kind {
        DataType::Int32 | DataType::Int64 => "INT64",
        DataType::Float64 => "FLOAT64",
        DataType::Decimal128(precision, scale) => {
            let whole = i32::from(*precision) - i32::from(*scale);
            if *scale <= 9 && whole <= 29 { "NUMERIC" } else { "BIGNUMERIC" }
        }
        DataType::Boolean => "BOOL",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP",
        DataType::Timestamp(_, None) => "DATETIME",
        DataType::Date32 => "DATE",
        DataType::Binary => "BYTES",
        _ => "STRING",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, TimeUnit};

    fn told(engine: Engine, grain: Grain) -> String {
        let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Schema::new(vec![
            Field::new("at", at, true),
            Field::new("user", DataType::Utf8, true),
            Field::new("price", DataType::Decimal128(18, 2), true),
        ]);
        let table = "raw.clicks".parse().unwrap();
        let (url, location) = ("gs://acme/raw/clicks".into(), None);
        ddl(engine, &table, grain, &schema, &Place { url, loaded: BTreeSet::new(), location })
    }

    #[test]
    fn what_a_job_loads_is_not_replaced() {
        let loaded: BTreeSet<_> = ["agg.x".to_owned(), "agg.y".to_owned()].into();
        let named = |table: &str| external(&table.parse().unwrap(), &loaded).0;
        assert_eq!((named("agg.x").as_str(), named("raw.x").as_str()), ("agg.x_lake", "raw.x"));
    }

    #[test]
    fn bigquery_reads_the_hive_directory() {
        insta::assert_snapshot!(told(Engine::Bigquery, Grain::Hour), @r"
        CREATE SCHEMA IF NOT EXISTS `raw`;
        CREATE OR REPLACE EXTERNAL TABLE `raw.clicks` (
          `at` TIMESTAMP,
          `user` STRING,
          `price` NUMERIC
        )
        WITH PARTITION COLUMNS (dt DATE, hour INT64)
        OPTIONS (
          format = 'PARQUET',
          uris = ['gs://acme/raw/clicks/*.parquet'],
          hive_partition_uri_prefix = 'gs://acme/raw/clicks'
        );
        ");
    }

    #[test]
    fn spark_keeps_a_catalogue_of_hive_partitions() {
        insta::assert_snapshot!(told(Engine::Spark, Grain::Day), @r"
        CREATE DATABASE IF NOT EXISTS raw;
        CREATE TABLE raw.clicks (
          `at` TIMESTAMP,
          `user` STRING,
          `price` DECIMAL(18,2),
          `dt` DATE
        )
        USING PARQUET PARTITIONED BY (dt)
        LOCATION 'gs://acme/raw/clicks';
        -- Again whenever new hive partitions are to be seen:
        MSCK REPAIR TABLE raw.clicks;
        ");
    }
}
