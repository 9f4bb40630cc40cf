//! `tidemill lake trace`: from rows back to the topic, and on to what has used them.
//!
//! A row carries its topic partition and offset; the one record that holds the offset names its
//! files, the closings of the hive partition say which of them list the file, and the state store
//! knows which runs read those closings, and by which jobs they loaded what they made of it.

use super::{find, open};
use crate::batch;
use crate::batch::Answer;
use crate::error::{Error, ErrorKind};
use crate::lake::Lake;
use crate::model::column::{OFFSET_COLUMN, PARTITION_COLUMN};
use crate::model::commit::{Closing, File, Publish, Record};
use crate::model::dag::TableContent;
use crate::model::hive::PartitionKey;
use crate::model::load::RunLoad;
use crate::model::name::TableName;
use crate::model::project::Project;
use crate::model::time::Micros;
use crate::model::topic::Topic;
use crate::store::Store;
use crate::terminal::context::{Context, block_on};
use crate::terminal::screen::counted;
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;

#[derive(Debug, Args)]
pub struct TraceArgs {
    pub table: String,
    /// Which rows: what stands after WHERE in SQL
    #[arg(long = "where", value_name = "SQL")]
    pub that: String,
    /// How many rows are traced at most
    #[arg(short = 'n', long, default_value_t = 20)]
    pub rows_max: usize,
}

#[derive(Debug, Serialize)]
struct Traced {
    topic: String,
    topic_id: String,
    topic_partition: u32,
    offset: i64,
    event_time: String,
    hive_partition: PartitionKey,
    /// Number of the record that committed it.
    record: u64,
    /// Those files that the row may lie in, the record's own or what a closing sorted; mostly one.
    files: Vec<String>,
    closings: Vec<u32>,
    runs: Vec<Used>,
}

/// A run that read the row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Used {
    dag: String,
    run: String,
    closing: u32,
    state: String,
    /// How what it made came into BigQuery.
    loads: Vec<LoadedBy>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct LoadedBy {
    job: String,
    table: TableName,
    hive_partition: PartitionKey,
    /// `false`: it runs, or a crash has hidden how it ended.
    ended: bool,
}

/// A row, as far as it tells itself.
struct Row {
    topic_partition: u32,
    offset: i64,
    event_time: Micros,
}

pub fn run(context: &Context, project: &Project, args: &TraceArgs) -> Result<(), Error> {
    let table = find(context, project, &args.table)?;
    let topic = topic_of(project, &table)?;
    let (rows, traced) = block_on(async {
        let text = query(&table, topic, &args.that);
        let answer = batch::ask_project(project, &context.clock, &text, args.rows_max).await?;
        let lake = open(context, project).await?;
        let store = Store::open_existing(&project.settings.state).await?;
        let traced = trace(&lake, store.as_ref(), &table, &rows(&answer)?).await?;
        Ok((answer.count(), traced))
    })?;
    context.show(&traced, |traced| screen(traced, rows))
}

fn topic_of<'a>(project: &'a Project, table: &TableName) -> Result<&'a Topic, Error> {
    let topic = project.tables.get(table).and_then(|table| match &table.content {
        TableContent::Topic(topic) => project.topics.get(topic),
        TableContent::Query => None,
    });
    topic.ok_or_else(|| {
        Error::new(ErrorKind::Input, format!("the rows of {table} come from no topic"))
            .remedy("a batch writes it: trace the rows of the table that the batch reads")
    })
}

fn query(table: &TableName, topic: &Topic, that: &str) -> String {
    let time = &topic.event_time.column;
    format!(
        "SELECT {PARTITION_COLUMN}, {OFFSET_COLUMN}, \"{time}\" FROM {table} WHERE ({that}) \
         ORDER BY {PARTITION_COLUMN}, {OFFSET_COLUMN}"
    )
}

fn rows(answer: &Answer) -> Result<Vec<Row>, Error> {
    let bug = |err: arrow::error::ArrowError| Error::new(ErrorKind::Bug, err);
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut rows = Vec::new();
    for batch in answer.batches() {
        let column = |at: usize| cast(batch.column(at), &DataType::Int64).map_err(bug);
        let times = cast(batch.column(2), &micros).and_then(|times| cast(&times, &DataType::Int64));
        let (partitions, offsets, times) = (column(0)?, column(1)?, times.map_err(bug)?);
        let values = |at: usize| {
            let number =
                |column: &arrow::array::ArrayRef| column.as_primitive::<Int64Type>().value(at);
            (number(&partitions), number(&offsets), number(&times))
        };
        for (partition, offset, time) in (0..batch.num_rows()).map(values) {
            let topic_partition =
                u32::try_from(partition).map_err(|err| Error::new(ErrorKind::Data, err))?;
            rows.push(Row { topic_partition, offset, event_time: Micros(time) });
        }
    }
    Ok(rows)
}

async fn trace(
    lake: &Lake,
    store: Option<&Store>,
    table: &TableName,
    rows: &[Row],
) -> Result<Vec<Traced>, Error> {
    let logs = lake.logs(table).await?;
    let mut known: BTreeMap<PartitionKey, Uses> = BTreeMap::new();
    let mut traced = Vec::with_capacity(rows.len());
    for row in rows {
        let mut found = None;
        for log in logs.iter().filter(|log| log.topic_partition() == row.topic_partition) {
            found = log.holding(row.offset).await?.or(found);
        }
        let record = found.ok_or_else(|| {
            let Row { topic_partition, offset, .. } = row;
            let problem = format!(
                "no record of {table} holds offset {offset} of topic partition {topic_partition}"
            );
            Error::new(ErrorKind::Data, problem)
                .remedy(format!("`tidemill lake verify {table}` tells what else is missing"))
        })?;
        let key = record.partition_by.key_of(row.event_time);
        let uses = match known.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(empty) => empty.insert(uses(lake, store, table, &key).await?),
        };
        traced.push(told(row, record, key, uses));
    }
    Ok(traced)
}

/// Who has used a hive partition: its closings and its readers.
struct Uses {
    closings: Vec<Closing>,
    runs: Vec<Used>,
}

async fn uses(
    lake: &Lake,
    store: Option<&Store>,
    table: &TableName,
    key: &PartitionKey,
) -> Result<Uses, Error> {
    let closings = lake.closings_of(table, key).await?;
    let mut runs = Vec::new();
    if let Some(store) = store {
        for (run, closing) in store.readers_of(table, key).await? {
            let (dag, state) = (run.dag.to_string(), run.state.to_string());
            let loads = store.loads_of(&run.id).await?.into_iter().map(|load| {
                let RunLoad { job, table, key, ended } = load;
                LoadedBy { job, table, hive_partition: key, ended }
            });
            runs.push(Used { dag, run: run.id, closing, state, loads: loads.collect() });
        }
    }
    Ok(Uses { closings, runs })
}

fn told(row: &Row, record: Record, key: PartitionKey, uses: &Uses) -> Traced {
    let id = record.id();
    let holds = |closing: &&Closing| closing.has_compacted(&id);
    let (files, closings) = match record.publish {
        Publish::OnCommit => {
            let files = record.files.iter().filter(|file| file.key == Some(key));
            let files: Vec<String> = files.map(|file| file.published.clone()).collect();
            let lists = |closing: &&Closing| {
                closing.files.iter().any(|closed| files.contains(&closed.published))
            };
            (files.clone(), uses.closings.iter().filter(lists).map(|its| its.n).collect())
        }
        Publish::OnClose => {
            let first = uses.closings.iter().find(holds);
            let files = first.map_or_else(Vec::new, |closing| sorted(closing, row.event_time));
            (files, uses.closings.iter().filter(holds).map(|its| its.n).collect::<Vec<u32>>())
        }
    };
    let runs = uses.runs.iter().filter(|run| closings.contains(&run.closing)).cloned().collect();
    Traced {
        topic: record.topic.to_string(),
        topic_id: record.topic_id,
        topic_partition: row.topic_partition,
        offset: row.offset,
        event_time: row.event_time.to_string(),
        hive_partition: key,
        record: record.seq,
        files,
        closings,
        runs,
    }
}

/// The sorted files, of those that the closing adds, that hold rows of this time.
fn sorted(closing: &Closing, event_time: Micros) -> Vec<String> {
    let added = closing.compaction.iter().flat_map(|compaction| &compaction.added);
    let spans = |file: &&File| {
        file.event_time_min.is_none_or(|low| low <= event_time)
            && file.event_time_max.is_none_or(|high| event_time <= high)
    };
    added.filter(spans).map(|file| file.published.clone()).collect()
}

fn screen(traced: &[Traced], rows: u64) -> String {
    let mut text = String::new();
    for one in traced {
        let Traced { topic, topic_partition, offset, event_time, .. } = one;
        let _ = writeln!(text, "{topic}, topic partition {topic_partition}, offset {offset}");
        let _ = writeln!(text, "  event time  {event_time}, in {}", one.hive_partition);
        let _ = writeln!(text, "  record      {}: {}", one.record, one.files.join(", "));
        let closings: Vec<_> = one.closings.iter().map(ToString::to_string).collect();
        let closings =
            if closings.is_empty() { "none yet".to_owned() } else { closings.join(", ") };
        let _ = writeln!(text, "  closings    {closings}");
        for Used { dag, run, closing, state, loads } in &one.runs {
            let _ = writeln!(text, "  run         {dag} {run}: {state}, of closing {closing}");
            for LoadedBy { job, table, hive_partition, ended } in loads {
                let end = if *ended { "" } else { ", its end is not known yet" };
                let _ = writeln!(text, "  load job    {job}: {table} {hive_partition}{end}");
            }
        }
    }
    let _ = writeln!(text, "{}", counted(rows, "row"));
    if rows > traced.len() as u64 {
        let _ = writeln!(text, "the first {} are traced; -n asks for more", traced.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_told_with_its_origin_and_what_has_used_it() {
        let used = |dag: &str, run: &str, closing| Used {
            dag: dag.into(),
            run: run.into(),
            closing,
            state: "succeeded".into(),
            loads: vec![LoadedBy {
                job: format!("tidemill-wiki-{run}-by_hour-t1"),
                table: "agg.recentchange_by_hour".parse().unwrap(),
                hive_partition: "2026-11-20T05".parse().unwrap(),
                ended: closing == 1,
            }],
        };
        let traced = [Traced {
            topic: "wikimedia.recentchange".into(),
            topic_id: "0123456789abcdef".into(),
            topic_partition: 3,
            offset: 1_204,
            event_time: "2026-11-20T05:12:00Z".into(),
            hive_partition: "2026-11-20T05".parse().unwrap(),
            record: 7,
            files: vec!["raw/recentchange/dt=2026-11-20/hour=05/01234567-3-7-0.parquet".into()],
            closings: vec![1, 2],
            runs: vec![
                used("wikimedia", "close-2026-11-20T05-r1-k3f9", 1),
                used("wikimedia", "close-2026-11-20T05-r2-a7c2", 2),
            ],
        }];
        insta::assert_snapshot!(screen(&traced, 3));
    }
}
