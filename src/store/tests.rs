use super::attempts::Ended;
use super::attempts::Failure;
use super::attempts::Process;
use super::dags::Accepted;
use super::requests::Verb;
use super::retention::Forgotten;
use super::streams::Progress;
use super::*;
use crate::model::dag::Dag;
use crate::model::dag::DagVersion;
use crate::model::dag::Schedule;
use crate::model::job::FeedFrom;
use crate::model::job::FeedJob;
use crate::model::job::Job;
use crate::model::job::JobKind;
use crate::model::job::Replay;
use crate::model::name::Name;
use crate::model::run::AttemptState;
use crate::model::run::Desired;
use crate::model::time::Micros;
use std::collections::BTreeMap;

pub const NOW: Micros = Micros(1_000);

#[tokio::test]
async fn a_file_that_a_newer_version_wrote_is_refused_with_a_remedy() {
    let (folder, store) = fresh().await;
    let mut tx = store.begin().await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 99").execute(tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    let error = Store::open(&folder.path().join("state.db")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Input);
    assert!(error.remedy.unwrap().contains("newer tidemill"));
}

#[tokio::test]
async fn a_store_that_mirrors_another_lake_is_refused_with_a_remedy() {
    let (folder, store) = fresh().await;
    store.bind_lake("7f3a").await.unwrap();
    let again = Store::open(&folder.path().join("state.db")).await.unwrap();
    again.bind_lake("7f3a").await.unwrap();
    let error = again.bind_lake("0000").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Input);
    assert!(error.remedy.unwrap().contains("lake.url"));
}

#[tokio::test]
async fn all_who_make_a_store_at_once_have_it() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let opened = futures::future::join_all((0..8).map(|_| Store::open(&path))).await;
        let failed: Vec<Error> = opened.into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    let (_folder, store) = fresh().await;
    let mut tx = store.begin().await.unwrap();
    tx.set_meta("a", "b").await.unwrap();
    drop(tx);
    assert_eq!(store.begin().await.unwrap().meta("a").await.unwrap(), None);
}

#[tokio::test]
async fn a_transaction_that_finds_no_room_is_the_only_one_to_fail() {
    let (_folder, store) = fresh().await;
    let mut tx = store.begin().await.unwrap();
    sqlx::query("PRAGMA max_page_count = 1").execute(tx.conn()).await.unwrap();
    let full = tx.set_meta("a", &"b".repeat(1_000_000)).await.unwrap_err();
    assert_eq!(full.kind, ErrorKind::Unavailable, "{full}");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    tx.set_meta("a", "b").await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn others_read_and_ask_while_the_daemon_holds_a_transaction() {
    let (folder, store) = with_feed().await;
    let other = Store::open(&folder.path().join("state.db")).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.set_paused(&name("wiki"), true).await.unwrap();
    assert!(!other.dag(&name("wiki")).await.unwrap().unwrap().paused);
    let verb = Verb::UnpauseDag { dag: name("wiki") };
    let (asked, committed) = tokio::join!(other.ask(&verb, "ada", NOW), tx.commit());
    committed.unwrap();
    asked.unwrap();
    assert!(other.dag(&name("wiki")).await.unwrap().unwrap().paused);
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_but_never_an_open_attempt() {
    let (_folder, store) = with_feed().await;
    let first = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    store.attempt_ended(&first.id, &ended(), NOW).await.unwrap();
    let second = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    let forgotten = store.forget_before(Micros(NOW.0 + 1), 100).await.unwrap();
    assert_eq!(forgotten.attempts, std::slice::from_ref(&first.id));
    assert_eq!(store.attempt(&first.id).await.unwrap(), None);
    assert!(store.attempt(&second.id).await.unwrap().is_some());
}

#[tokio::test]
async fn the_last_attempt_of_a_stream_is_never_forgotten() {
    let (_folder, store) = with_feed().await;
    let only = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    store.attempt_ended(&only.id, &ended(), NOW).await.unwrap();
    let forgotten = store.forget_before(Micros(NOW.0 + 1), 100).await.unwrap();
    assert_eq!(forgotten, Forgotten::default());
    assert!(store.attempt(&only.id).await.unwrap().is_some());
}

#[tokio::test]
async fn requests_are_forgotten_once_they_have_an_outcome() {
    let (_folder, store) = with_feed().await;
    let verb = Verb::StopStream { stream: "wiki.collect".into() };
    let (applied, open) =
        (store.ask(&verb, "ada", NOW).await.unwrap(), store.ask(&verb, "ada", NOW).await.unwrap());
    let mut tx = store.begin().await.unwrap();
    tx.finish_request(applied, Ok("done"), NOW).await.unwrap();
    tx.commit().await.unwrap();
    store.forget_before(NOW, 100).await.unwrap();
    assert_eq!(store.requests(9).await.unwrap().len(), 2, "not old enough");
    store.forget_before(Micros(NOW.0 + 1), 100).await.unwrap();
    let left: Vec<i64> = store.requests(9).await.unwrap().iter().map(|left| left.id).collect();
    assert_eq!(left, [open]);
}

#[tokio::test]
async fn a_stream_has_one_open_attempt_and_each_gets_a_higher_epoch() {
    let (_folder, store) = with_feed().await;
    let first = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    assert_eq!(store.launch_stream("wiki.collect", NOW).await.unwrap(), None);
    assert!(store.attempt_ended(&first.id, &ended(), NOW).await.unwrap());
    let second = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    assert_eq!((first.epoch, second.epoch), (1, 2));
}

#[tokio::test]
async fn a_heartbeat_of_an_older_epoch_is_refused() {
    let (_folder, store) = with_feed().await;
    let first = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    let progress = Progress { produced: 7, ..Progress::default() };
    assert!(store.heartbeat("wiki.collect", first.epoch, &progress, NOW).await.unwrap());
    store.attempt_ended(&first.id, &ended(), NOW).await.unwrap();
    store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    assert!(!store.heartbeat("wiki.collect", first.epoch, &progress, NOW).await.unwrap());
    let stream = store.stream("wiki.collect").await.unwrap().unwrap();
    assert_eq!(stream.progress.unwrap().produced, 7);
}

#[tokio::test]
async fn a_stopped_stream_is_not_launched() {
    let (_folder, store) = with_feed().await;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.set_desired("wiki.collect", Desired::Stopped).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.launch_stream("wiki.collect", NOW).await.unwrap(), None);
}

#[tokio::test]
async fn an_attempt_ends_once_and_keeps_what_its_process_reported() {
    let (_folder, store) = with_feed().await;
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

#[tokio::test]
async fn a_request_is_open_until_it_has_an_outcome() {
    let (_folder, store) = fresh().await;
    let verb = Verb::PauseDag { dag: name("wiki") };
    let id = store.ask(&verb, "ada", NOW).await.unwrap();
    assert_eq!(store.open_requests().await.unwrap()[0].verb, verb);
    let mut tx = store.begin().await.unwrap();
    assert!(tx.finish_request(id, Ok("wiki is paused"), NOW).await.unwrap());
    assert!(!tx.finish_request(id, Ok("again"), NOW).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.open_requests().await.unwrap(), []);
    let outcome = store.request(id).await.unwrap().unwrap().outcome;
    assert_eq!(outcome.as_deref(), Some("wiki is paused"));
}

/// A pass must stay cheap with years of runs behind it.
#[tokio::test]
async fn what_every_pass_asks_is_found_by_an_index() {
    let (_folder, store) = fresh().await;
    let queries = [
        "SELECT * FROM runs WHERE state = 'running'",
        "SELECT * FROM runs WHERE dag = '' AND state = 'queued' ORDER BY class, created_us",
        "SELECT * FROM runs INDEXED BY runs_unclosed WHERE state = 'succeeded' AND closed = 0",
        "SELECT * FROM attempts WHERE state IN ('queued', 'running')",
        "SELECT * FROM files INDEXED BY files_open WHERE table_name = '' AND closed IS NULL",
        "UPDATE files INDEXED BY files_by_key SET closed = 1 WHERE table_name = '' AND key = '' AND closed IS NULL
           AND published IN (SELECT value FROM json_each('[]'))",
    ];
    for query in queries {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
        let mut tx = store.begin().await.unwrap();
        let rows = sqlx::query(explain).fetch_all(tx.conn()).await.unwrap();
        let plan = sqlx::Row::get::<String, _>(&rows[0], "detail");
        let is_found = plan.contains("USING INDEX") || plan.contains("USING COVERING INDEX");
        assert!(is_found, "{query}: {plan}");
    }
}

#[tokio::test]
async fn a_dag_that_left_the_files_stays_but_is_not_present() {
    let (_folder, store) = with_feed().await;
    store.accept(&Accepted { versions: vec![], tables: vec![] }, NOW).await.unwrap();
    assert!(!store.dag(&name("wiki")).await.unwrap().unwrap().present);
    assert_eq!(store.launch_stream("wiki.collect", NOW).await.unwrap(), None);
}

#[tokio::test]
async fn a_version_reads_back_as_it_was_accepted() {
    let (_folder, store) = with_feed().await;
    let hash = store.dag(&name("wiki")).await.unwrap().unwrap().version;
    assert_eq!(store.version(&hash).await.unwrap(), feed_dag());
}

impl Store {
    /// Lets every insert into a table fail, as a crash before the commit does, or work again.
    pub(crate) async fn break_inserts(&self, table: &str, broken: bool) {
        let sql = if broken {
            format!(
                "CREATE TRIGGER broken BEFORE INSERT ON {table}
                 BEGIN SELECT RAISE(ABORT, 'as if killed'); END"
            )
        } else {
            "DROP TRIGGER broken".to_owned()
        };
        let mut tx = self.begin().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(tx.conn()).await.unwrap();
        tx.commit().await.unwrap();
    }
}

pub async fn fresh() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.db")).await.unwrap();
    (folder, store)
}

pub async fn with_feed() -> (tempfile::TempDir, Store) {
    let (folder, store) = fresh().await;
    store.accept(&Accepted { versions: vec![feed_dag()], tables: vec![] }, NOW).await.unwrap();
    (folder, store)
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

fn ended() -> Ended {
    Ended {
        state: AttemptState::Failed,
        exit_code: Some(1),
        signal: None,
        failure: None,
        result: None,
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}
