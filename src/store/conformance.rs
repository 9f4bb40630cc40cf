//! What every database behind the store must do: each case gets a store that is open and empty. A second
//! dialect runs them all by one line, `conformance::suite!(open)`.

// Over 400 lines: one suite that every database must pass.

use super::Store;
use super::progress::TaskChange;
use super::retention::{Before, Forgotten};
use super::runs::Launch;
use crate::error::ErrorKind;
use crate::model::accepted::{Accepted, AcceptedTable};
use crate::model::attempt::{AttemptState, Ended, Failure, Process};
use crate::model::closing::Circumstances;
use crate::model::commit::{Closing, Record};
use crate::model::dag::{Dag, DagVersion, Schedule, Table, TableContent};
use crate::model::due::{DueRange, Hold};
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::job::{FeedFrom, FeedJob, Job, JobKind, Replay};
use crate::model::name::{Name, TableName};
use crate::model::request::{Answer, NewRequest, Outcome, Verb};
use crate::model::run::{Class, Input, Run, RunKind, RunState, Subject};
use crate::model::stream::{Desired, StreamProgress};
use crate::model::task::TaskState;
use crate::model::time::Micros;
use std::collections::BTreeMap;
use std::time::Duration;

pub const NOW: Micros = Micros(1_000);

/// Makes a test of each case. `$open` returns an empty store, and before it what must live as long.
macro_rules! suite {
    ($open:path) => {
        $crate::store::conformance::suite! { $open;
            a_dropped_transaction_leaves_nothing,
            what_ended_long_ago_is_forgotten_but_never_an_open_attempt,
            the_last_attempt_of_a_stream_is_never_forgotten,
            requests_are_forgotten_once_they_have_an_outcome,
            a_stream_has_one_open_attempt_and_each_gets_a_higher_epoch,
            a_heartbeat_of_an_older_epoch_is_refused,
            a_stopped_stream_is_not_launched,
            an_attempt_ends_once_and_keeps_what_its_process_reported,
            a_request_is_open_until_it_has_an_outcome,
            a_request_that_is_made_again_under_its_key_is_the_same_and_keeps_its_answer,
            a_daemon_that_another_has_followed_writes_nothing,
            the_processes_of_a_daemon_that_another_has_followed_accept_nothing,
            a_dag_that_left_the_files_stays_but_is_not_present,
            a_version_reads_back_as_it_was_accepted,
            what_a_table_has_is_mirrored_once_and_closed_once,
            a_run_goes_from_queued_to_ended_and_back_by_a_clear,
            a_range_is_due_until_it_is_settled_and_held_by_what_is_not_done,
        }
    };
    ($open:path; $($case:ident,)+) => {
        $(#[tokio::test]
        async fn $case() {
            let (_kept, store) = $open().await;
            $crate::store::conformance::$case(&store).await;
        })+
    };
}
pub(super) use suite;

pub async fn a_dropped_transaction_leaves_nothing(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    tx.set_meta("a", "b").await.unwrap();
    drop(tx);
    assert_eq!(store.begin().await.unwrap().meta("a").await.unwrap(), None);
}

pub async fn what_ended_long_ago_is_forgotten_but_never_an_open_attempt(store: &Store) {
    accept_feed(store).await;
    let first = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    store.attempt_ended(&first.id, &ended(), NOW).await.unwrap();
    let second = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    let forgotten = store.forget_before(all_before(NOW.0 + 1), 100).await.unwrap();
    assert_eq!(forgotten.attempts, std::slice::from_ref(&first.id));
    assert_eq!(store.attempt(&first.id).await.unwrap(), None);
    assert!(store.attempt(&second.id).await.unwrap().is_some());
}

pub async fn the_last_attempt_of_a_stream_is_never_forgotten(store: &Store) {
    accept_feed(store).await;
    let only = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    store.attempt_ended(&only.id, &ended(), NOW).await.unwrap();
    let forgotten = store.forget_before(all_before(NOW.0 + 1), 100).await.unwrap();
    assert_eq!(forgotten, Forgotten::default());
    assert!(store.attempt(&only.id).await.unwrap().is_some());
}

pub async fn requests_are_forgotten_once_they_have_an_outcome(store: &Store) {
    accept_feed(store).await;
    let verb = Verb::StopStream { stream: "wiki.collect".into() };
    let new = NewRequest::at_command_line(verb, "ada");
    let (applied, open) =
        (store.ask(&new, NOW).await.unwrap(), store.ask(&new, NOW).await.unwrap());
    let mut tx = store.begin().await.unwrap();
    tx.finish_request(applied, &paused("wiki"), NOW).await.unwrap();
    tx.commit().await.unwrap();
    store.forget_before(all_before(NOW.0), 100).await.unwrap();
    assert_eq!(store.requests(9).await.unwrap().len(), 2, "not old enough");
    store.forget_before(all_before(NOW.0 + 1), 100).await.unwrap();
    let left: Vec<i64> = store.requests(9).await.unwrap().iter().map(|left| left.id).collect();
    assert_eq!(left, [open]);
}

pub async fn a_stream_has_one_open_attempt_and_each_gets_a_higher_epoch(store: &Store) {
    accept_feed(store).await;
    let first = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    assert_eq!(store.launch_stream("wiki.collect", NOW).await.unwrap(), None);
    assert!(store.attempt_ended(&first.id, &ended(), NOW).await.unwrap());
    let second = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    assert_eq!((first.epoch, second.epoch), (1, 2));
}

pub async fn a_heartbeat_of_an_older_epoch_is_refused(store: &Store) {
    accept_feed(store).await;
    let first = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    let progress = StreamProgress { produced: 7, ..StreamProgress::default() };
    assert!(store.heartbeat("wiki.collect", first.epoch, &progress, NOW).await.unwrap());
    store.attempt_ended(&first.id, &ended(), NOW).await.unwrap();
    store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    assert!(!store.heartbeat("wiki.collect", first.epoch, &progress, NOW).await.unwrap());
    let stream = store.stream("wiki.collect").await.unwrap().unwrap();
    assert_eq!(stream.progress.unwrap().produced, 7);
}

pub async fn a_stopped_stream_is_not_launched(store: &Store) {
    accept_feed(store).await;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.set_desired("wiki.collect", Desired::Stopped).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.launch_stream("wiki.collect", NOW).await.unwrap(), None);
}

pub async fn an_attempt_ends_once_and_keeps_what_its_process_reported(store: &Store) {
    accept_feed(store).await;
    let attempt = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    let process = Process { host: "h".into(), pid: 7, pid_start: 8, boot_id: "b".into() };
    assert!(store.attempt_started(&attempt.id, &process, NOW).await.unwrap());
    assert!(!store.attempt_started(&attempt.id, &process, NOW).await.unwrap());
    let told = Failure { kind: ErrorKind::Input, error: "no file".into(), remedy: None };
    assert!(store.report(&attempt.id, None, Some(&told)).await.unwrap());
    assert!(store.attempt_ended(&attempt.id, &ended(), NOW).await.unwrap());
    assert!(!store.attempt_ended(&attempt.id, &ended(), NOW).await.unwrap());
    let attempt = store.attempt(&attempt.id).await.unwrap().unwrap();
    assert_eq!((attempt.failure, attempt.process), (Some(told), Some(process)));
    assert_eq!((attempt.state, attempt.exit_code), (AttemptState::Failed, Some(1)));
}

pub async fn a_request_is_open_until_it_has_an_outcome(store: &Store) {
    let verb = Verb::PauseDag { dag: name("wiki") };
    let new = NewRequest::at_command_line(verb, "ada");
    let id = store.ask(&new, NOW).await.unwrap();
    let asked = store.open_requests().await.unwrap().readable.pop().unwrap();
    assert_eq!((asked.verb, asked.actor, asked.answer), (new.verb, new.actor, None));
    let mut tx = store.begin().await.unwrap();
    assert!(tx.finish_request(id, &paused("wiki"), NOW).await.unwrap());
    assert!(!tx.finish_request(id, &paused("other"), NOW).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.open_requests().await.unwrap().readable, []);
    let answer = store.request(id).await.unwrap().unwrap().answer;
    assert_eq!(answer, Some(paused("wiki")));
}

pub async fn a_request_that_is_made_again_under_its_key_is_the_same_and_keeps_its_answer(
    store: &Store,
) {
    let with_key = |dag: &str, who: &str| NewRequest {
        key: Some("7f3a".parse().unwrap()),
        ..NewRequest::at_command_line(Verb::PauseDag { dag: name(dag) }, who)
    };
    let first = store.ask(&with_key("wiki", "ada"), NOW).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.finish_request(first, &paused("wiki"), NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.ask(&with_key("wiki", "ada"), NOW).await.unwrap(), first);
    assert_eq!(store.request(first).await.unwrap().unwrap().answer, Some(paused("wiki")));
    let other = store.ask(&with_key("other", "ada"), NOW).await.unwrap_err();
    assert_eq!(other.kind, ErrorKind::Input, "{other}");
    assert_ne!(store.ask(&with_key("other", "bob"), NOW).await.unwrap(), first);
}

pub async fn a_daemon_that_another_has_followed_writes_nothing(store: &Store) {
    accept_feed(store).await;
    let older = store.lead("1@here", NOW).await.unwrap();
    let mut tx = older.begin().await.unwrap();
    tx.set_paused(&name("wiki"), true).await.unwrap();
    tx.commit().await.unwrap();
    let newer = store.lead("2@there", NOW).await.unwrap();
    let error = older.begin().await.map(drop).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
    assert!(error.to_string().contains("2@there"), "{error}");
    let launched = older.launch_stream("wiki.collect", NOW).await.unwrap_err();
    assert_eq!(launched.kind, ErrorKind::Fenced);
    assert!(older.dag(&name("wiki")).await.unwrap().unwrap().paused, "it can still read");
    assert!(newer.launch_stream("wiki.collect", NOW).await.unwrap().is_some());
    let leader = newer.leader().await.unwrap().unwrap();
    assert_eq!((leader.holder.as_str(), leader.epoch), ("2@there", 2));
}

pub async fn the_processes_of_a_daemon_that_another_has_followed_accept_nothing(store: &Store) {
    accept_feed(store).await;
    let older = store.lead("1@here", NOW).await.unwrap();
    let checker = store.under(older.epoch().unwrap());
    store.lead("2@here", NOW).await.unwrap();
    let nothing = Accepted { versions: vec![], tables: vec![] };
    assert_eq!(checker.accept(&nothing, NOW).await.unwrap_err().kind, ErrorKind::Fenced);
    assert!(store.dag(&name("wiki")).await.unwrap().unwrap().present);
}

pub async fn a_dag_that_left_the_files_stays_but_is_not_present(store: &Store) {
    accept_feed(store).await;
    store.accept(&Accepted { versions: vec![], tables: vec![] }, NOW).await.unwrap();
    assert!(!store.dag(&name("wiki")).await.unwrap().unwrap().present);
    assert_eq!(store.launch_stream("wiki.collect", NOW).await.unwrap(), None);
}

pub async fn a_version_reads_back_as_it_was_accepted(store: &Store) {
    accept_feed(store).await;
    let hash = store.dag(&name("wiki")).await.unwrap().unwrap().version;
    assert_eq!(store.version(&hash).await.unwrap(), feed_dag());
}

pub async fn what_a_table_has_is_mirrored_once_and_closed_once(store: &Store) {
    accept_table(store).await;
    let (table, key) = (table(), key());
    for _ in 0..2 {
        let mut tx = store.begin().await.unwrap();
        tx.mirror_record(&record(), NOW).await.unwrap();
        tx.commit().await.unwrap();
    }
    let cursors = store.cursors(&table).await.unwrap();
    assert_eq!((cursors.len(), cursors[0].seq, cursors[0].landed), (1, 1, 2));
    let open = store.open_partitions(&table).await.unwrap();
    let [open] = &open[..] else { panic!("{open:?}") };
    assert_eq!(
        (open.key, open.files, open.rows, open.closings, open.passed),
        (key, 1, 2, 0, false)
    );

    for expected in [true, false] {
        let mut tx = store.begin().await.unwrap();
        let closed = tx.mirror_closing(&closing(store).await, about(), NOW).await.unwrap();
        tx.advance(&table, Micros(HOUR.0 + 1)).await.unwrap();
        tx.advance(&table, Micros(1)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(closed.is_some(), expected);
    }
    assert_eq!(store.open_partitions(&table).await.unwrap(), []);
    let newest = store.newest_closed(&table, (Micros(0), HOUR)).await.unwrap();
    assert_eq!((newest.len(), newest[0].n, newest[0].rows), (1, 1, 2));
    assert_eq!(store.newest_closed(&table, (HOUR, Micros::MAX)).await.unwrap(), []);
    let frontier = store.table(&table).await.unwrap().unwrap().frontier;
    assert_eq!(frontier, Some(Micros(HOUR.0 + 1)), "it never goes back");
}

pub async fn a_run_goes_from_queued_to_ended_and_back_by_a_clear(store: &Store) {
    accept_table(store).await;
    let mut tx = store.begin().await.unwrap();
    let input = Input { table: table(), key: key(), n: 1 };
    let run = run(store, "close-1970-01-01T00-r1", 1).await;
    assert!(tx.add_run(&run, std::slice::from_ref(&input)).await.unwrap());
    let twin = Run { id: "close-1970-01-01T00-r1-twin".into(), ..run.clone() };
    assert!(!tx.add_run(&twin, &[]).await.unwrap(), "by table, key and number");
    let tasks = [name("one"), name("two")];
    tx.start_run(&run.id, &tasks, NOW).await.unwrap();
    let task = &tasks[0];
    let launch = Launch { run: &run.id, task, kind: "exec", version: &run.version, tries: 1 };
    let attempt = tx.launch_task(&launch, NOW).await.unwrap().unwrap();
    assert_eq!(tx.launch_task(&launch, NOW).await.unwrap(), None, "it does not wait any more");
    tx.commit().await.unwrap();
    assert!(store.report(&attempt, Some(&serde_json::json!({"a": 1})), None).await.unwrap());
    assert!(store.attempt_ended(&attempt, &ended(), NOW).await.unwrap());

    let mut tx = store.begin().await.unwrap();
    let (from, to) = (TaskState::Running, TaskState::Succeeded);
    let run_id = run.id.as_str();
    let change = TaskChange { run: run_id, task, from, to, tries: 1, lost: 0, next_try: None };
    tx.change_task(&change, NOW).await.unwrap();
    tx.end_run(run_id, RunState::Succeeded, NOW).await.unwrap();
    tx.commit().await.unwrap();
    let kept = store.tasks(run_id).await.unwrap();
    let states: Vec<_> = kept.iter().map(|task| (task.name.as_str(), task.state)).collect();
    assert_eq!(states, [("one", TaskState::Succeeded), ("two", TaskState::Waiting)]);
    assert_eq!(kept[0].output, Some(serde_json::json!({"a": 1})));
    assert_eq!(store.inputs(run_id).await.unwrap(), [input]);
    let unclosed: Vec<_> = store.unclosed().await.unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(unclosed, [run_id]);

    let mut tx = store.begin().await.unwrap();
    tx.set_closed(run_id).await.unwrap();
    tx.clear_run(run_id, &run.version, true).await.unwrap();
    tx.commit().await.unwrap();
    let cleared = store.run(run_id).await.unwrap().unwrap();
    assert_eq!((cleared.state, cleared.subject), (RunState::Queued, run.subject));
    let states: Vec<_> = store.tasks(run_id).await.unwrap().iter().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Succeeded, TaskState::Waiting], "only what had not succeeded");
}

pub async fn a_range_is_due_until_it_is_settled_and_held_by_what_is_not_done(store: &Store) {
    accept_table(store).await;
    let due = |asked| DueRange {
        dag: name("wiki"),
        key: "1970-01-01".parse().unwrap(),
        start: Micros(0),
        end: Micros(24 * HOUR.0),
        asked,
        since: NOW,
    };
    for asked in [false, true, false] {
        let mut tx = store.begin().await.unwrap();
        tx.make_due(&due(asked)).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(store.due_ranges().await.unwrap(), [due(true)], "who asked once has asked");
    let range = (Micros(0), HOUR);
    assert!(store.any_due(&name("wiki"), (Micros(0), Micros::MAX)).await.unwrap());
    assert!(!store.any_due(&name("wiki"), range).await.unwrap(), "it lies across the end");
    let hold = store.hold(&table(), range).await.unwrap();
    assert_eq!(hold, Some(Hold::Frontier { table: table(), frontier: None }));
    let mut tx = store.begin().await.unwrap();
    tx.advance(&table(), HOUR).await.unwrap();
    tx.settle_range(&name("wiki"), &due(true).key).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.due_ranges().await.unwrap(), []);
    assert_eq!(store.hold(&table(), range).await.unwrap(), None);
}

/// The end of the first hour.
const HOUR: Micros = Micros(3_600_000_000);

pub fn table() -> TableName {
    "raw.changes".parse().unwrap()
}

pub fn key() -> PartitionKey {
    "1970-01-01T00".parse().unwrap()
}

pub async fn accept_table(store: &Store) {
    let table = Table {
        name: table(),
        writer: name("land"),
        partition_by: PartitionBy::utc(Grain::Hour),
        content: TableContent::Topic("changes".parse().unwrap()),
    };
    let (close_after, late_quiet) = (Duration::from_mins(10), Duration::from_mins(15));
    let tables = vec![AcceptedTable { table, dag: name("wiki"), close_after, late_quiet }];
    store.accept(&Accepted { versions: vec![feed_dag()], tables }, NOW).await.unwrap();
}

/// The first record of a topic partition: two rows in one file of the first hour.
pub fn record() -> Record {
    let file = serde_json::json!({
        "key": "1970-01-01T00", "staged": "stage/a", "published": "raw/changes/a.parquet",
        "bytes": 9, "checksum": "c0ffee", "rows": 2, "event_time_min": 1, "event_time_max": 2,
    });
    let record = serde_json::json!({
        "format": 1, "seq": 1, "output": "raw.changes", "topic": "changes", "topic_id": "7f3a",
        "topic_partition": 0, "start": 0, "end": 2, "schema": 1,
        "partition_by": {"grain": "hour", "timezone": "UTC"}, "files": [file], "quarantine": null,
        "watermark": 2, "marked": false, "cut": false,
        "counts": {"read": 2, "landed": 2, "quarantined": 0, "dropped": 0, "tombstones": 0, "marks": 0},
        "reasons": {}, "job": "", "writer": "",
    });
    serde_json::from_value(record).unwrap()
}

/// The first closing of the first hour, of the files that are mirrored.
pub async fn closing(store: &Store) -> Closing {
    Closing {
        format: 1,
        table: table(),
        key: key(),
        n: 1,
        partial: false,
        files: store.files_of(&table(), &key()).await.unwrap(),
        rows: 2,
        frontier: HOUR,
        made_from: None,
        compaction: None,
    }
}

pub fn about() -> Circumstances {
    Circumstances { late: false, start: Micros(0), end: HOUR }
}

/// A queued run of the first hour.
pub async fn run(store: &Store, id: &str, n: u32) -> Run {
    let subject = Subject {
        table: table(),
        grain: Grain::Hour,
        key: key(),
        n,
        start: Micros(0),
        end: HOUR,
        partial: false,
    };
    Run {
        id: id.into(),
        dag: name("wiki"),
        version: store.dag(&name("wiki")).await.unwrap().unwrap().version,
        kind: RunKind::Close,
        class: Class::Live,
        subject: Some(subject),
        state: RunState::Queued,
        created: NOW,
        started: None,
        ended: None,
        superseded_by: None,
        marked_by: None,
        failure: None,
    }
}

pub async fn accept_feed(store: &Store) {
    store.accept(&Accepted { versions: vec![feed_dag()], tables: vec![] }, NOW).await.unwrap();
}

pub fn feed_dag() -> DagVersion {
    let replay = Replay { file: "a.jsonl".into(), speed: None };
    let feed =
        FeedJob { from: FeedFrom::Replay(replay), topic: "changes".parse().unwrap(), unique: None };
    let job = Job { name: name("changes_collect"), kind: JobKind::Feed(feed) };
    let dag = Dag {
        name: name("wiki"),
        doc: String::new(),
        owner: String::new(),
        streams: BTreeMap::from([(name("collect"), job.name.clone())]),
        schedule: Schedule::Manual,
        tasks: vec![],
    };
    DagVersion {
        dag,
        jobs: BTreeMap::from([(job.name.clone(), job)]),
        topics: BTreeMap::new(),
        tables: BTreeMap::new(),
    }
}

pub fn ended() -> Ended {
    Ended {
        state: AttemptState::Failed,
        exit_code: Some(1),
        signal: None,
        failure: None,
        result: None,
    }
}

pub fn paused(dag: &str) -> Answer {
    Answer::Done(Outcome::DagPaused { dag: name(dag) })
}

pub fn all_before(micros: i64) -> Before {
    Before { runs: Micros(micros), requests: Micros(micros) }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}
