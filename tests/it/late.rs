//! Rows that come after their hour has closed, and what holds an hour open.

use crate::project::{Project, is, wait_until};
use crate::tables;
use crate::wikimedia::{RAW, watch};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use jiff::Timestamp;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::kafka::{Cluster, Outgoing, Producer};
use tidemill::model::name::TopicName;
use tidemill::model::run::RunState;
use tidemill::model::time::Micros;

const DAY: &str = "2020-03-01";
const TOPIC_PARTITIONS: u32 = 4;

/// Longer than the clock needs to close the hour, if the clock were allowed to.
const SILENCE: Duration = Duration::from_secs(5);

/// The only producer of a project's topic, in place of its feed.
struct World {
    producer: Box<dyn Producer>,
    sent: u32,
}

impl World {
    fn of(project: &Project) -> Self {
        let dir = project.path(".tidemill/topics");
        let cluster = Cluster::Embedded { dir, keep_bytes: 1 << 30 };
        let topic: TopicName = project.topic().parse().unwrap();
        cluster.ensure_topic(&topic, TOPIC_PARTITIONS, Duration::from_hours(1)).unwrap();
        Self { producer: cluster.producer(&topic, &Clock::system()).unwrap(), sent: 0 }
    }

    /// Sends an event that happened at a time of the day.
    fn event(&mut self, topic_partition: u32, time: &str) {
        let payload = format!(
            r#"{{"meta":{{"id":"{}","dt":"{DAY}T{time}Z"}},"wiki":"a","type":"edit","length":{{"new":1}}}}"#,
            self.sent
        );
        let payload = Some(payload.as_bytes());
        self.producer.send(Outgoing { topic_partition, payload, ..Outgoing::default() }).unwrap();
        self.producer.flush().unwrap();
        self.sent += 1;
    }

    /// Says in every topic partition that no event before `at` follows.
    fn mark(&mut self, at: &str) {
        let mark = Some(Micros::from(at.parse::<Timestamp>().unwrap()).into());
        for topic_partition in 0..TOPIC_PARTITIONS {
            self.producer.send(Outgoing { topic_partition, mark, ..Outgoing::default() }).unwrap();
        }
        self.producer.flush().unwrap();
    }
}

/// The shipped project without its feed, and with less patience.
fn project() -> Project {
    let project = Project::shipped();
    project.edit("dags/wikimedia.toml", "collect = \"recentchange_collect\"\n", "");
    fs::remove_dir_all(project.path("jobs/recentchange_collect")).unwrap();
    let land = "jobs/recentchange_land/job.toml";
    project.edit(land, "every = \"5m\"", "every = \"200ms\"");
    project.edit(land, "late_quiet   = \"1m\"", "late_quiet   = \"1s\"");
    project
}

/// A DAG that only notes that an hour has closed.
fn note(project: &Project, dag: &str, on_late: &str) {
    let dag = format!("dags/{dag}.toml");
    let text = format!(
        "[schedule]\non_close = \"{RAW}\"\non_late = \"{on_late}\"\n[tasks.note]\nexec = [\"true\"]\n"
    );
    project.write(&dag, &text);
}

/// `00 1 succeeded`: hour (or day), number of the closing, state of the run; one for each run.
fn runs(project: &Project, dag: &str) -> Vec<String> {
    let short = |key: &str| key.strip_prefix(&format!("{DAY}T")).unwrap_or("day").to_owned();
    let runs = project.runs(dag).into_iter();
    runs.map(|(key, n, state, _)| format!("{} {n} {state}", short(&key))).collect()
}

#[track_caller]
fn await_runs(project: &Project, dag: &str, expected: &[&str]) {
    let expected = expected.iter().map(|&run| run.to_owned()).collect();
    wait_until(&format!("the runs of {dag} are there"), || is(&runs(project, dag), &expected));
}

/// How many changes the warehouse counts for an hour or a day, by the folder of its hive partition.
fn changes(project: &Project, table: &str, folder: &str) -> i64 {
    let folder = project.warehouse().join("agg").join(table).join(folder);
    let files = tables::files(&folder);
    let batches = files.iter().flat_map(|file| tables::read(file, &["changes"]).unwrap());
    batches.flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).sum()
}

fn changes_of_hour(project: &Project, hour: u32) -> i64 {
    changes(project, "recentchange_by_hour", &format!("dt={DAY}/hour={hour:02}"))
}

fn changes_of_day(project: &Project) -> i64 {
    changes(project, "recentchange_by_day", &format!("dt={DAY}"))
}

/// Where an hour stands, as the command line tells.
fn tide(project: &Project, hour: &str) -> serde_json::Value {
    let answer = project.tidemill(&["partitions", "list", RAW, "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    told["partitions"][format!("{DAY}T{hour}")]["state"].clone()
}

/// What tells whether an hour's results were written again.
fn stamps(project: &Project, hour: u32) -> Vec<(u64, i64, i64)> {
    let folder = format!("agg/recentchange_by_hour/dt={DAY}/hour={hour:02}");
    let of = [project.lake(), project.warehouse()].map(|root| tables::files(&root.join(&folder)));
    let files = of.iter().flatten().map(|file| fs::metadata(file).unwrap());
    files.map(|file| (file.ino(), file.mtime(), file.mtime_nsec())).collect()
}

#[test]
fn late_rows_re_run_their_hours_and_the_day_and_nothing_else() {
    let project = project();
    note(&project, "held", "hold");
    note(&project, "ignored", "ignore");
    let mut world = World::of(&project);
    let daemon = project.up();

    for hour in ["00", "01", "02", "04"] {
        (0..3).for_each(|at| world.event(at, &format!("{hour}:30:00")));
    }
    world.mark(&format!("{DAY}T05:10:00Z"));
    let in_time = ["00 1 succeeded", "01 1 succeeded", "02 1 succeeded", "04 1 succeeded"];
    for dag in ["wikimedia", "held", "ignored"] {
        await_runs(&project, dag, &in_time);
    }
    let tides = [("02", "closed"), ("03", "empty"), ("04", "closed")];
    assert_eq!(tides.map(|(hour, _)| tide(&project, hour)), tides.map(|(_, tide)| tide));
    assert_eq!(runs(&project, "wikimedia_daily"), Vec::<String>::new(), "the day is not over");

    world.mark("2020-03-02T00:10:00Z");
    await_runs(&project, "wikimedia_daily", &["day 1 succeeded"]);
    assert_eq!(changes_of_day(&project), 12);
    let untouched = || [0, 2, 4].map(|hour| stamps(&project, hour));
    let before = untouched();

    (0..3).for_each(|at| world.event(at, "01:45:00"));
    (0..2).for_each(|at| world.event(at, "03:10:00"));
    let late = ["01 2 succeeded", "03 1 succeeded"];
    let mut with_late = [in_time.as_slice(), &late].concat();
    with_late.sort_unstable();
    await_runs(&project, "wikimedia", &with_late);
    wait_until("the day is counted again", || is(&changes_of_day(&project), &17));
    wait_until("the day's runs have ended", || {
        let open = |run: &&String| run.ends_with("queued") || run.ends_with("running");
        is(&runs(&project, "wikimedia_daily").iter().find(open), &None)
    });
    assert_eq!([1, 3].map(|hour| changes_of_hour(&project, hour)), [6, 2]);
    assert_eq!(untouched(), before, "hours without late rows were written again");
    let day = project.runs("wikimedia_daily");
    assert_eq!(tables::repeated(day.iter().map(|(key, n, ..)| (key, n))), [], "the day, each once");

    let mut held = [in_time.as_slice(), &["01 2 held", "03 1 held"]].concat();
    held.sort_unstable();
    await_runs(&project, "held", &held);
    assert_eq!(runs(&project, "ignored"), in_time);
    assert_eq!(runs(&project, "wikimedia"), with_late, "each once");

    let held = project.runs("held").into_iter().find(|(_, _, state, _)| *state == RunState::Held);
    let (.., id) = held.unwrap();
    for verb in ["clear", "wait"] {
        let answer = project.tidemill(&["runs", verb, "held", &id]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
    }
    daemon.stop();
}

#[test]
fn late_rows_of_an_hour_that_is_published_on_close_are_added_to_what_is_there() {
    let project = project();
    let land = "jobs/recentchange_land/job.toml";
    project.edit(land, "partition_by = ", "publish      = \"on_close\"\npartition_by = ");
    let lister = watch(&project);
    let mut world = World::of(&project);
    let daemon = project.up();
    (0..3).for_each(|at| world.event(at, "00:30:00"));
    world.mark(&format!("{DAY}T01:10:00Z"));
    await_runs(&project, "wikimedia", &["00 1 succeeded"]);
    (0..2).for_each(|at| world.event(at, "00:45:00"));
    await_runs(&project, "wikimedia", &["00 1 succeeded", "00 2 succeeded"]);
    assert_eq!(changes_of_hour(&project, 0), 5);
    let shown = project.tidemill(&["partitions", "show", RAW, &format!("{DAY}T00")]);
    assert!(shown.out.contains("5 rows, 2 files") && shown.out.contains("late 2"), "{shown:?}");
    daemon.stop();
    let seen = lister.finish();
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert_eq!((seen.rows, seen.successes.len()), (5, 1));
    let [first, second] = &tables::closings(&project.lake(), RAW)[&format!("{DAY}T00")][..] else {
        panic!("the hour has two closings")
    };
    assert!(first.files.iter().all(|file| second.files.contains(file)));
}

#[test]
fn a_topic_partition_without_a_message_holds_no_hour() {
    let project = project();
    let mut world = World::of(&project);
    let _daemon = project.up();
    for time in ["00:30:00", "01:30:00"] {
        (0..3).for_each(|at| world.event(at, time));
    }
    await_runs(&project, "wikimedia", &["00 1 succeeded"]);
}

/// Everything is closed up to the hour that the silence then holds.
fn impatient() -> Project {
    let project = project();
    let land = "jobs/recentchange_land/job.toml";
    project.edit(land, "close_after  = \"10m\"", "close_after  = \"0s\"");
    let topic = format!("topics/{}.toml", project.topic());
    project.edit(&topic, "out_of_order = \"5s\"", "out_of_order = \"1s\"");
    project
}

/// Waits until the stream has lived through a silence.
fn await_silence(project: &Project) {
    let beat = || project.heartbeat("wikimedia.land");
    let first = wait_until("the stream shows a heartbeat", || beat().ok_or_else(String::new));
    wait_until("the silence has lasted", || match beat() {
        Some(at) if at.since(first) > SILENCE => Ok(()),
        at => Err(format!("{at:?}")),
    });
}

#[test]
fn a_silent_topic_holds_its_hour_until_somebody_speaks() {
    let project = impatient();
    let mut world = World::of(&project);
    let _daemon = project.up();
    for time in ["00:30:00", "01:59:58"] {
        (0..3).for_each(|at| world.event(at, time));
    }
    await_runs(&project, "wikimedia", &["00 1 succeeded"]);
    await_silence(&project);
    assert_eq!(runs(&project, "wikimedia"), ["00 1 succeeded"]);
    world.event(0, "02:00:02");
    await_runs(&project, "wikimedia", &["00 1 succeeded", "01 1 succeeded"]);
}

#[test]
fn a_source_that_is_down_holds_its_hour_until_its_next_mark() {
    let project = impatient();
    let mut world = World::of(&project);
    let _daemon = project.up();
    (0..4).for_each(|at| world.event(at, "00:59:58"));
    world.mark(&format!("{DAY}T00:59:59Z"));
    await_silence(&project);
    world.event(0, "01:00:30"); // One of them speaks, but a mark is what counts here.
    await_silence(&project);
    assert_eq!(runs(&project, "wikimedia"), Vec::<String>::new());
    world.mark(&format!("{DAY}T01:00:00Z"));
    await_runs(&project, "wikimedia", &["00 1 succeeded"]);
}
