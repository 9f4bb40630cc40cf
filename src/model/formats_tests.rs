//! Bytes of every release keep their meaning, and this release's writer is known to the byte.

// Over 400 lines: one sample of each stored type.

use super::attempt::Failure;
use super::column::{Column, ColumnType, MessagePart, Origin};
use super::commit::{
    ClosedFile, Closing, Compacted, Compaction, Counts, FORMAT, File, LakeIdentity, MadeFrom,
    Members, Output, OutputFile, OutputInput, Publish, Record,
};
use super::dag::{
    Dag, DagVersion, Empty, OnClose, OnLate, Schedule, Table, TableContent, Task, Work,
};
use super::hive::{Grain, PartitionBy};
use super::job::{
    BatchJob, EventServer, Exec, FeedFrom, FeedJob, Job, JobKind, LateRows, OnGap, Replay, Roll,
    Simulate, SimulateModel, Sse, Start, StreamJob, WarehouseTable, Wikimedia,
};
use super::request::{Answer, Outcome, Refusal, Verb};
use super::schema::{Schema, SchemaColumn};
use super::secret::{EnvValue, Secret};
use super::stored::testing::{check_written, formats};
use super::stored::{Stored, decode, encode};
use super::stream::{StreamProgress, TopicPartitionProgress};
use super::time::Micros;
use super::topic::{EventTimeRule, Expect, Idle, Otherwise, Topic};
use super::zone::Zone;
use crate::error::ErrorKind;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::str::FromStr;
use std::time::Duration;

/// Types that are not the model's; their own modules check them.
const ELSEWHERE: [&str; 3] = ["feed_note", "topic", "warehouse_schema"];

fn of<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// What a stored line means.
fn meaning(kind: &str, line: &str) -> String {
    fn shown<T: Stored + Debug>(line: &str) -> String {
        format!("{:#?}", decode::<T>(line.as_bytes()).unwrap())
    }
    match kind {
        "record" => shown::<Record>(line),
        "closing" => shown::<Closing>(line),
        "members" => shown::<Members>(line),
        "schema" => shown::<Schema>(line),
        "output" => shown::<Output>(line),
        "lake" => shown::<LakeIdentity>(line),
        "dag_version" => shown::<DagVersion>(line),
        "table" => shown::<Table>(line),
        "progress" => shown::<StreamProgress>(line),
        "request" => shown::<Verb>(line),
        "answer" => shown::<Answer>(line),
        unknown => panic!("no type is stored as {unknown}"),
    }
}

#[test]
fn bytes_of_every_release_keep_their_meaning() {
    let mut releases: Vec<_> =
        fs::read_dir(formats()).unwrap().map(|entry| entry.unwrap().path()).collect();
    releases.retain(|path| path.is_dir());
    releases.sort();
    assert!(releases.len() >= 2, "{releases:?}");
    for release in releases {
        let mut files: Vec<_> =
            fs::read_dir(&release).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let kind = file.file_stem().unwrap().to_str().unwrap();
            if ELSEWHERE.contains(&kind) {
                continue;
            }
            let lines = fs::read_to_string(&file).unwrap();
            let told: Vec<_> = lines.lines().map(|line| meaning(kind, line)).collect();
            let name = format!("{}_{kind}", release.file_name().unwrap().to_str().unwrap());
            insta::assert_snapshot!(name, told.join("\n"));
        }
    }
}

#[test]
fn todays_writer_writes_what_this_release_is_known_to_write() {
    /// Objects of the lake carry their format as a field.
    fn in_lake(value: &impl serde::Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }
    check_written("record", &[in_lake(&record())]);
    check_written("closing", &[in_lake(&sorted_closing()), in_lake(&batch_closing())]);
    check_written("members", &[in_lake(&members())]);
    check_written("schema", &[in_lake(&schema())]);
    check_written("output", &[in_lake(&output())]);
    check_written("lake", &[in_lake(&lake())]);
    check_written("dag_version", &[encode(&version())]);
    check_written("table", &version().tables.values().map(encode).collect::<Vec<_>>());
    check_written("progress", &[encode(&progress())]);
    check_written("request", &requests().iter().map(encode).collect::<Vec<_>>());
    check_written("answer", &answers().iter().map(encode).collect::<Vec<_>>());
}

fn file(published: &str) -> File {
    File {
        key: Some(of("2026-11-20T05")),
        staged: format!("raw/changes/_tidemill/stage/{published}"),
        published: format!("raw/changes/{published}"),
        bytes: 4_321,
        checksum: "c0ffee".into(),
        rows: 12,
        event_time_min: Some(Micros(1_000_000)),
        event_time_max: Some(Micros(2_000_000)),
    }
}

fn record() -> Record {
    Record {
        format: FORMAT,
        seq: 7,
        output: of("raw.changes"),
        topic: of("wiki.changes"),
        topic_id: "t1".into(),
        topic_partition: 3,
        start: 10,
        end: 30,
        schema: 2,
        partition_by: PartitionBy::utc(Grain::Hour),
        publish: Publish::OnClose,
        files: vec![file("a.parquet")],
        quarantine: Some(File { key: None, ..file("q.parquet") }),
        watermark: Some(Micros(1_500_000)),
        marked: true,
        behind: true,
        cut: true,
        counts: Counts {
            read: 20,
            landed: 12,
            quarantined: 3,
            dropped: 2,
            tombstones: 1,
            marks: 2,
        },
        reasons: BTreeMap::from([("no_title".into(), 3)]),
        job: "7c1f".into(),
        writer: "w1".into(),
    }
}

fn closed(published: &str, topic_id: &str) -> ClosedFile {
    ClosedFile {
        published: format!("raw/changes/{published}"),
        topic_id: topic_id.into(),
        topic_partition: 3,
        seq: 7,
        rows: 12,
        bytes: 4_321,
        checksum: "c0ffee".into(),
        event_time_min: Some(Micros(1_000_000)),
        event_time_max: Some(Micros(2_000_000)),
    }
}

fn sorted_closing() -> Closing {
    Closing {
        format: FORMAT,
        table: of("raw.changes"),
        key: of("2026-11-20T05"),
        n: 2,
        partial: true,
        files: vec![closed("a.parquet", "t1"), closed("s.parquet", "")],
        rows: 24,
        frontier: Micros(3_000_000),
        made_from: None,
        compaction: Some(Compaction {
            complete: true,
            added: vec![file("s.parquet")],
            records: vec![Compacted {
                topic_id: "t1".into(),
                topic_partition: 3,
                seqs: vec![7, 9],
                rows: 12,
            }],
        }),
    }
}

fn batch_closing() -> Closing {
    let made_from =
        MadeFrom { table: of("raw.changes"), key: of("2026-11-20"), n: 1, run: "r1".into() };
    Closing {
        table: of("agg.days"),
        key: of("2026-11-20"),
        n: 1,
        files: vec![closed("d.parquet", "")],
        rows: 12,
        made_from: Some(made_from),
        compaction: None,
        ..sorted_closing()
    }
}

fn members() -> Members {
    Members {
        format: FORMAT,
        topic: of("wiki.changes"),
        topic_id: "t1".into(),
        topic_partitions: 4,
    }
}

fn schema() -> Schema {
    Schema {
        format: FORMAT,
        partition_by: Some(PartitionBy {
            grain: Grain::Day,
            timezone: "Europe/Madrid".parse().unwrap(),
        }),
        columns: vec![SchemaColumn { name: "at".into(), kind: "timestamp".into() }],
        event_time: Some("at".into()),
    }
}

fn output() -> Output {
    Output {
        format: FORMAT,
        table: of("agg.days"),
        key: of("2026-11-20"),
        n: 2,
        run: "close-2026-11-20-r2-k3f9".into(),
        input: Some(OutputInput { table: of("raw.changes"), n: 2 }),
        file: Some(OutputFile {
            staged: "agg/days/_tidemill/stage/o.parquet".into(),
            published: "agg/days/dt=2026-11-20/o.parquet".into(),
            bytes: 900,
            checksum: "beef".into(),
            rows: 3,
        }),
    }
}

fn lake() -> LakeIdentity {
    LakeIdentity { format: FORMAT, lake_id: "7f3a".into(), project: "wiki".into() }
}

fn topic() -> Topic {
    let column = |name: &str, origin: Origin, kind: ColumnType| Column {
        name: name.into(),
        origin,
        kind,
        required: name == "at",
    };
    Topic {
        name: of("wiki.changes"),
        partitions: 4,
        retention: Duration::from_hours(168),
        columns: vec![
            column("at", Origin::Path(vec!["meta".into(), "dt".into()]), ColumnType::Timestamp),
            column("size", Origin::Sql("a - b".into()), ColumnType::Decimal(18, 2)),
            column("rest", Origin::Rest, ColumnType::Json),
            column("id", Origin::Message(MessagePart::Header("id".into())), ColumnType::Bytes),
            column("key", Origin::Message(MessagePart::Key), ColumnType::String),
        ],
        event_time: EventTimeRule {
            column: "at".into(),
            out_of_order: Duration::from_mins(1),
            max_ahead: Duration::from_mins(5),
            max_age: Some(Duration::from_hours(24)),
            idle: Idle::Advance,
            marks: true,
        },
        expects: vec![Expect {
            name: "known".into(),
            that: "at is not null".into(),
            otherwise: Otherwise::Drop,
        }],
    }
}

fn jobs() -> Vec<(&'static str, JobKind)> {
    let feed = |from| JobKind::Feed(FeedJob { from, topic: of("wiki.changes"), unique: None });
    let environment = BTreeMap::from([("TOKEN".into(), EnvValue::Secret(Secret::Env("T".into())))]);
    vec![
        (
            "again",
            JobKind::Feed(FeedJob {
                from: FeedFrom::Replay(Replay { file: "day.jsonl".into(), speed: Some(60.5) }),
                topic: of("wiki.changes"),
                unique: Some(vec!["meta".into(), "id".into()]),
            }),
        ),
        (
            "made_up",
            feed(FeedFrom::Simulate(Simulate {
                model: SimulateModel::Recentchange,
                seed: 7,
                rate: 20.0,
                from: Micros(1_000_000),
                span: Some(Duration::from_hours(24)),
                speed: None,
                late: Some(LateRows {
                    rows: 5,
                    from: Micros(1_000_000),
                    span: Duration::from_hours(1),
                    at: Micros(9_000_000),
                }),
            })),
        ),
        (
            "called",
            feed(FeedFrom::Exec(Exec {
                command: vec!["bin/poll".into(), "--all".into()],
                every: Duration::from_mins(5),
                environment,
            })),
        ),
        ("live", feed(FeedFrom::Sse(Sse { server: server(), kinds: vec!["change".into()] }))),
        (
            "wiki",
            feed(FeedFrom::Wikimedia(Wikimedia {
                server: server(),
                streams: vec!["recentchange".into()],
            })),
        ),
        ("land", JobKind::Stream(stream())),
        ("by_day", JobKind::Batch(batch())),
    ]
}

fn server() -> EventServer {
    EventServer {
        url: "https://example.org/stream".into(),
        user_agent: "changes/1.0 (data@example.org)".into(),
        headers: BTreeMap::from([("x-key".into(), EnvValue::Secret(Secret::Env("K".into())))]),
        silence: Duration::from_secs(60),
        event_bytes_max: 1 << 20,
    }
}

fn stream() -> StreamJob {
    StreamJob {
        topic: of("wiki.changes"),
        start: Start::At(Micros(1_000_000)),
        on_gap: OnGap::Skip,
        table: of("raw.changes"),
        partition_by: PartitionBy::utc(Grain::Hour),
        close_after: Duration::from_mins(10),
        late_quiet: Duration::from_mins(1),
        roll: Roll { every: Duration::from_secs(30), size_bytes: 1 << 27 },
        instances: 2,
        publish: Publish::OnClose,
    }
}

fn batch() -> BatchJob {
    BatchJob {
        reads: vec![of("raw.changes")],
        sql: "select count(*) as n from raw.changes".into(),
        expects: topic().expects,
        to_lake: Some(of("agg.days")),
        to_warehouse: Some(WarehouseTable {
            table: of("agg.days"),
            cluster_by: vec!["n".into()],
            expire: Some(Duration::from_hours(24 * 365)),
            description: "changes by day".into(),
            labels: BTreeMap::from([("team".into(), "data".into())]),
        }),
        partition_by: PartitionBy::utc(Grain::Day),
    }
}

fn version() -> DagVersion {
    let task = |name: &str, after: &[&str], work| Task {
        name: of(name),
        after: after.iter().map(|name| of(name)).collect(),
        work,
        retries: 2,
        retry_delay: Duration::from_secs(10),
        timeout: Some(Duration::from_mins(30)),
    };
    let env = BTreeMap::from([
        ("MODE".into(), EnvValue::Text("all".into())),
        ("KEY".into(), EnvValue::Secret(Secret::File("key.txt".into()))),
    ]);
    let tables = [
        ("raw.changes", "land", TableContent::Topic(of("wiki.changes"))),
        ("agg.days", "by_day", TableContent::Query),
    ];
    let table = |(name, writer, content): (&str, &str, TableContent)| Table {
        name: of(name),
        writer: of(writer),
        partition_by: PartitionBy::utc(Grain::Hour),
        content,
    };
    DagVersion {
        dag: Dag {
            name: of("wiki"),
            doc: "changes".into(),
            owner: "data".into(),
            streams: BTreeMap::from([(of("land"), of("land"))]),
            schedule: Schedule::OnClose(OnClose {
                table: of("raw.changes"),
                grain: Grain::Day,
                timezone: Zone::utc(),
                on_late: OnLate::Hold,
                empty: Empty::Run,
                start: Some(Micros(1_000_000)),
                max_active_runs: 4,
            }),
            tasks: vec![
                task("by_day", &[], Work::Batch(of("by_day"))),
                task("tell", &["by_day"], Work::Exec { argv: vec!["bin/tell".into()], env }),
                task("none", &["tell"], Work::Test("select 1 where false".into())),
            ],
        },
        jobs: jobs()
            .into_iter()
            .map(|(name, kind)| (of(name), Job { name: of(name), kind }))
            .collect(),
        topics: BTreeMap::from([(of("wiki.changes"), topic())]),
        tables: tables.map(|its| (of(its.0), table(its))).into(),
    }
}

fn progress() -> StreamProgress {
    StreamProgress {
        rate: 12.5,
        lag: Some(3),
        watermark: Some(Micros(1)),
        last_commit: Some(Micros(2)),
        last_mark: Some(Micros(3)),
        memory_bytes: 4,
        memory_max_bytes: 5,
        hive_partitions_open: 6,
        counts: record().counts,
        produced: 7,
        left_out: 8,
        passed_over: 9,
        topic_partitions: vec![TopicPartitionProgress {
            topic_partition: 1,
            committed: 2,
            end: 3,
            watermark: Some(Micros(4)),
            seq: 5,
        }],
        note: Some("tries again in 38 s".into()),
    }
}

fn requests() -> Vec<Verb> {
    let (dag, run) = (of("wiki"), "close-2026-11-20-r1-k3f9".to_owned());
    vec![
        Verb::PauseDag { dag: of("wiki") },
        Verb::TriggerDag { dag: of("wiki"), key: Some(of("2026-11-20")) },
        Verb::ClearRun { dag, run, only_failed: true },
        Verb::StopStream { stream: "wiki.land".into() },
        Verb::ClosePartition { table: of("raw.changes"), key: of("2026-11-20T05") },
    ]
}

fn answers() -> Vec<Answer> {
    let failure =
        Failure { kind: ErrorKind::Data, error: "no".into(), remedy: Some("look".into()) };
    vec![
        Answer::Done(Outcome::RunTriggered { dag: of("wiki"), run: "manual-1".into() }),
        Answer::Refused(Refusal::NoDag { dag: of("wiki") }),
        Answer::Refused(Refusal::Failed(failure)),
    ]
}
