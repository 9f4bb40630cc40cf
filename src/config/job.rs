//! Reads `jobs/<job>/job.toml`: a feed, a stream or a batch.

use super::feed::FeedSource;
use super::node::{Node, Value};
use super::problem::{At, Place, Problem, Sink, Source};
use super::section::Section;
use super::{feed, topic};
use crate::model::commit::Publish;
use crate::model::hive::{Grain, PartitionBy};
use crate::model::job::{OnGap, Roll, Start, WarehouseTable};
use crate::model::name::{Name, TableName, TopicName};
use crate::model::topic::Expect;
use crate::model::zone::Zone;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const CLOSE_AFTER: Duration = Duration::from_mins(10);
const LATE_QUIET: Duration = Duration::from_mins(1);
const ROLL: Roll = Roll { every: Duration::from_mins(5), size_bytes: 128 << 20 };
/// Each is a process with a memory of its own; a topic that needs more needs more machines.
const INSTANCES_MAX: u32 = 64;
/// The limit of `BigQuery`, kept locally too, so that a project can move there.
const CLUSTER_BY_MAX: usize = 4;
/// Of a label's key and of its value, in BigQuery.
const LABEL_MAX: usize = 63;

/// A job as it is written; the names in it may still lead nowhere.
#[derive(Clone, Debug)]
pub struct JobFile {
    pub name: Name,
    pub place: Place,
    /// Missing where the file has problems of its own.
    pub kind: Option<JobFileKind>,
}

#[derive(Clone, Debug)]
pub enum JobFileKind {
    Feed(FeedFile),
    Stream(StreamFile),
    Batch(Box<BatchFile>),
}

#[derive(Clone, Debug)]
pub struct FeedFile {
    pub from: FeedSource,
    pub topic: At<TopicName>,
    pub unique: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
pub struct StreamFile {
    pub topic: At<TopicName>,
    pub start: Start,
    pub on_gap: OnGap,
    pub instances: At<u32>,
    pub to: StreamToLake,
}

#[derive(Clone, Debug)]
pub struct StreamToLake {
    pub table: At<TableName>,
    pub partition_by: PartitionBy,
    /// Where that is written; `None` where what is written is wrong.
    pub cut: Option<Place>,
    pub close_after: Duration,
    pub late_quiet: Duration,
    pub roll: Roll,
    pub publish: Publish,
}

#[derive(Clone, Debug)]
pub struct BatchFile {
    pub reads: Vec<At<TableName>>,
    /// `query.sql`, whole.
    pub sql: Arc<Source>,
    pub expects: Vec<(Expect, At<String>)>,
    pub to_lake: Option<At<TableName>>,
    pub to_warehouse: Option<At<WarehouseTable>>,
    pub cluster_by: Vec<At<String>>,
}

impl JobFile {
    /// The lake table that it writes.
    pub fn table(&self) -> Option<&At<TableName>> {
        match self.kind.as_ref()? {
            JobFileKind::Feed(_) => None,
            JobFileKind::Stream(stream) => Some(&stream.to.table),
            JobFileKind::Batch(batch) => batch.to_lake.as_ref(),
        }
    }

    /// Where it says how its lake table is cut; a batch says it by the table that it reads.
    pub fn cut(&self) -> Option<&Place> {
        match self.kind.as_ref()? {
            JobFileKind::Feed(_) => None,
            JobFileKind::Stream(stream) => stream.to.cut.as_ref(),
            JobFileKind::Batch(batch) => Some(&batch.to_lake.as_ref()?.place),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Feed,
    Stream,
    Batch,
}

const KINDS: [(&str, Kind); 3] =
    [("feed", Kind::Feed), ("stream", Kind::Stream), ("batch", Kind::Batch)];

/// `query` is the text of `query.sql` beside it, if there is one.
pub fn read(name: &Name, root: &Node, query: Option<Arc<Source>>, sink: &Sink) -> JobFile {
    let mut file = JobFile { name: name.clone(), place: root.place.clone(), kind: None };
    let Some(mut section) = Section::open("job", root, sink) else { return file };
    if !section.has("kind") {
        section.missing("kind", "kind = \"feed\", \"stream\" or \"batch\"");
        return file;
    }
    let Some(kind) = section.word("kind", &KINDS) else { return file };
    file.kind = match kind {
        Kind::Feed => feed(section.within("feed")).map(JobFileKind::Feed),
        Kind::Stream => stream(section.within("stream")).map(JobFileKind::Stream),
        Kind::Batch => {
            batch(section.within("batch"), query).map(|batch| JobFileKind::Batch(Box::new(batch)))
        }
    };
    file
}

fn feed(mut section: Section<'_>) -> Option<FeedFile> {
    let from = required_section(
        &mut section,
        "from",
        "feed.from",
        "[from.wikimedia], [from.sse], [from.exec], [from.replay] or [from.simulate]",
    )
    .and_then(feed::read);
    let to = inner_section(&mut section, ["to", "kafka"], ["feed.to", "feed.to.kafka"])
        .and_then(to_kafka);
    section.finish();
    let (topic, unique) = to?;
    Some(FeedFile { from: from?, topic, unique })
}

/// `[to.kafka]` of a feed: its topic, and the field whose value is written once.
fn to_kafka(mut kafka: Section<'_>) -> Option<(At<TopicName>, Option<Vec<String>>)> {
    let topic = topic_name(&mut kafka);
    let unique = kafka.text("unique");
    kafka.finish();
    let path = unique.map(|path| path.value.split('.').map(str::to_owned).collect());
    Some((topic?, path))
}

fn topic_name(kafka: &mut Section<'_>) -> Option<At<TopicName>> {
    if !kafka.has("topic") {
        kafka.missing("topic", "topic = \"…\", one of topics/");
    }
    kafka.parsed("topic")
}

/// A table within a table, as `[to.kafka]` is; says so where it is missing.
fn inner_section<'a>(
    section: &mut Section<'a>,
    [outer, inner]: [&'static str; 2],
    [outer_path, inner_path]: [&'static str; 2],
) -> Option<Section<'a>> {
    let help = format!("[{outer}.{inner}]");
    let mut outer = required_section(section, outer, outer_path, &help)?;
    let found = outer.section(inner, inner_path);
    if !outer.has_any() {
        outer.missing(inner, &help);
    }
    outer.finish();
    found
}

fn required_section<'a>(
    section: &mut Section<'a>,
    key: &'static str,
    path: &'static str,
    help: &str,
) -> Option<Section<'a>> {
    if !section.has(key) {
        section.missing(key, help);
    }
    section.section(key, path)
}

fn stream(mut section: Section<'_>) -> Option<StreamFile> {
    let place = section.take("instances").map_or(section.place.clone(), |it| it.node.place.clone());
    let value = section.integer("instances", 1..=INSTANCES_MAX).unwrap_or(1);
    let instances = At { value, place };
    let from = inner_section(&mut section, ["from", "kafka"], ["stream.from", "stream.from.kafka"])
        .and_then(from_kafka);
    let to = inner_section(&mut section, ["to", "lake"], ["stream.to", "stream.to.lake"])
        .and_then(to_lake);
    section.finish();
    let (topic, start, on_gap) = from?;
    Some(StreamFile { topic, start, on_gap, instances, to: to? })
}

fn from_kafka(mut kafka: Section<'_>) -> Option<(At<TopicName>, Start, OnGap)> {
    let topic = topic_name(&mut kafka);
    let start = match kafka.take("start").map(|entry| &entry.node.value) {
        None => Some(Start::Earliest),
        Some(Value::Text(word) | Value::Loose(word)) if word == "earliest" => Some(Start::Earliest),
        Some(Value::Text(word) | Value::Loose(word)) if word == "latest" => Some(Start::Latest),
        Some(_) => kafka.moment("start").map(Start::At),
    };
    let on_gap = kafka.word("on_gap", &[("stop", OnGap::Stop), ("skip", OnGap::Skip)]);
    kafka.finish();
    Some((topic?, start.unwrap_or(Start::Earliest), on_gap.unwrap_or(OnGap::Stop)))
}

fn to_lake(mut lake: Section<'_>) -> Option<StreamToLake> {
    let table = table_name(&mut lake, "table = \"raw.events\"");
    let (partition_by, cut) = partition_by(&mut lake).unzip();
    let partition_by = partition_by.unwrap_or_else(|| PartitionBy::utc(Grain::Hour));
    let close_after = lake.duration("close_after").unwrap_or(CLOSE_AFTER);
    let late_quiet = lake.duration("late_quiet").unwrap_or(LATE_QUIET);
    let roll = lake.section("roll", "stream.to.lake.roll").map_or(ROLL, roll);
    let words = [("on_commit", Publish::OnCommit), ("on_close", Publish::OnClose)];
    let publish = lake.word("publish", &words).unwrap_or_default();
    lake.finish();
    Some(StreamToLake { table: table?, partition_by, cut, close_after, late_quiet, roll, publish })
}

fn table_name(section: &mut Section<'_>, like: &str) -> Option<At<TableName>> {
    if !section.has("table") {
        section.missing("table", like);
    }
    section.parsed("table")
}

fn roll(mut section: Section<'_>) -> Roll {
    let every = section.span("every").unwrap_or(ROLL.every);
    let size_bytes = section.size("size").unwrap_or(ROLL.size_bytes);
    section.finish();
    Roll { every, size_bytes }
}

pub const GRAINS: [(&str, Grain); 3] =
    [("hour", Grain::Hour), ("day", Grain::Day), ("month", Grain::Month)];

/// How the table is cut, and where that is written. Where it is wrong, nothing runs; the columns of the
/// table are known all the same, and so what reads them is checked.
fn partition_by(lake: &mut Section<'_>) -> Option<(PartitionBy, Place)> {
    let place = lake.take("partition_by").map(|entry| entry.node.place.clone());
    let grain = lake.word("partition_by", &GRAINS);
    if !lake.has("partition_by") {
        lake.missing(
            "partition_by",
            "partition_by = \"hour\", \"day\" or \"month\", of event time",
        );
    }
    let timezone = lake.text("timezone");
    let (grain, Some(timezone)) = (grain?, timezone) else {
        return Some((PartitionBy::utc(grain?), place?));
    };
    if grain == Grain::Hour && timezone.value != "UTC" {
        let title = "hours are those of UTC";
        let help = "leave out timezone: \"day\" and \"month\" may have one";
        lake.sink().push(Problem::error(title, &timezone.place).help(help));
        return None;
    }
    let zone: Result<Zone, _> = timezone.value.parse();
    if let Err(unknown) = &zone {
        let help = "write a name of the IANA database, like \"Europe/Madrid\"";
        lake.sink().push(Problem::error(unknown.to_string(), &timezone.place).help(help));
    }
    Some((PartitionBy { grain, timezone: zone.ok()? }, place?))
}

fn batch(mut section: Section<'_>, query: Option<Arc<Source>>) -> Option<BatchFile> {
    let reads = reads(&mut section);
    let expects = topic::expects(&mut section, &topic::RESULT_ANSWERS);
    let to = required_section(&mut section, "to", "batch.to", "[to.lake] or [to.warehouse]");
    let (to_lake, to_warehouse) = to.map(outputs)?;
    if query.is_none() {
        section.missing("query.sql", "write the SQL into a file query.sql beside this one");
    }
    section.finish();
    let (to_warehouse, cluster_by) = to_warehouse.unzip();
    let cluster_by = cluster_by.unwrap_or_default();
    Some(BatchFile { reads: reads?, sql: query?, expects, to_lake, to_warehouse, cluster_by })
}

fn reads(section: &mut Section<'_>) -> Option<Vec<At<TableName>>> {
    if !section.has("reads") {
        section.missing(
            "reads",
            "reads = [\"raw.events\"]: the table whose closings it works on, then others",
        );
    }
    let texts = section.texts("reads")?;
    if texts.is_empty() {
        let place = &section.take("reads")?.node.place;
        let help = "name the table whose closings it works on";
        section.sink().push(Problem::error("a batch reads a table", place).help(help));
    }
    let mut reads: Vec<At<TableName>> = Vec::new();
    for text in &texts {
        let table = section.parse::<TableName>(text)?;
        if reads.iter().any(|before| before.value == table.value) {
            let title = format!("{} stands here twice", table.value);
            section.sink().push(Problem::error(title, &table.place));
        }
        reads.push(table);
    }
    (!reads.is_empty()).then_some(reads)
}

type ToWarehouse = (At<WarehouseTable>, Vec<At<String>>);

fn outputs(mut to: Section<'_>) -> (Option<At<TableName>>, Option<ToWarehouse>) {
    let lake = to.section("lake", "batch.to.lake").and_then(|mut lake| {
        let table = table_name(&mut lake, "table = \"agg.events\"");
        lake.finish();
        table
    });
    let warehouse = to.section("warehouse", "batch.to.warehouse").and_then(to_warehouse);
    if !to.has_any() {
        to.missing("lake or warehouse", "[to.lake] or [to.warehouse], each with its table");
    }
    to.finish();
    (lake, warehouse)
}

fn to_warehouse(mut section: Section<'_>) -> Option<ToWarehouse> {
    let table = table_name(&mut section, "table = \"agg.events\"");
    let cluster_by = section.texts("cluster_by").unwrap_or_default();
    let expire = section.span("expire");
    let description = section.text("description").map(|text| text.value).unwrap_or_default();
    let labels = labels(&mut section);
    if cluster_by.len() > CLUSTER_BY_MAX {
        let title = format!("a table is clustered by {CLUSTER_BY_MAX} columns at most");
        section.sink().push(Problem::error(title, &cluster_by[CLUSTER_BY_MAX].place));
    }
    section.finish();
    let At { value: table, place } = table?;
    let columns = cluster_by.iter().map(|column| column.value.clone()).collect();
    let to = WarehouseTable { table, cluster_by: columns, expire, description, labels };
    Some((At { value: to, place }, cluster_by))
}

/// `labels = { team = "data" }`, as BigQuery takes them.
fn labels(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let sink = section.sink();
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let fits = |text: &str| text.len() <= LABEL_MAX && text.chars().all(letter);
    let entries = section.named("labels").iter().filter_map(|entry| {
        let value = match &entry.node.value {
            Value::Text(text) | Value::Loose(text) => text.clone(),
            _ => String::from(" "),
        };
        let key = &entry.key;
        if fits(&value) && fits(key) && key.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Some((key.clone(), value));
        }
        let title = format!("`{key}` is no label");
        let help = "key and value: lower-case letters, digits, `_` and `-`, 63 at most, a letter first in the key";
        sink.push(Problem::error(title, &entry.key_place).help(help));
        None
    });
    entries.collect()
}
