use super::conformance::{NOW, accept_feed, name};
use super::*;
use crate::model::attempt::{Failure, StopReason};
use crate::model::request::{Answer, NewRequest, Outcome, Refusal, Verb};

/// What every database must do.
mod conformance {
    crate::store::conformance::suite!(super::fresh);
}

#[tokio::test]
async fn a_file_that_a_newer_version_wrote_is_refused_with_a_remedy() {
    let (folder, store) = fresh().await;
    let mut tx = store.begin().await.unwrap();
    tx.conn().run("PRAGMA user_version = 99").await.unwrap();
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
async fn what_an_older_version_wrote_of_stops_gets_its_reason() {
    const TO_REASONS: &str = include_str!("migrations/sqlite/0009_stop_reason.sql");
    let written = [
        ("timed out after 10 min", StopReason::TimedOut),
        ("ada marked the run failed", StopReason::Marked),
        ("tidemill is stopping", StopReason::Shutdown),
        ("its job or topic has been edited", StopReason::Edited),
        ("asked for by a person", StopReason::Asked),
    ];
    let (folder, store) = with_feed().await;
    let attempt = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap();
    for (words, reason) in written {
        let mut tx = store.begin().await.unwrap();
        tx.conn().run("ALTER TABLE attempts DROP COLUMN stop_reason").await.unwrap();
        let write = query("UPDATE attempts SET stop = $1, stop_us = 1").bind(words);
        write.execute(tx.conn()).await.unwrap();
        tx.conn().run(TO_REASONS).await.unwrap();
        tx.commit().await.unwrap();
        // A connection knows the columns that there were.
        let again = Store::open(&folder.path().join("state.db")).await.unwrap();
        let stop = again.attempt(&attempt.id).await.unwrap().unwrap().stop.unwrap();
        assert_eq!((stop.why.as_str(), stop.reason), (words, reason));
    }
}

#[tokio::test]
async fn a_transaction_that_finds_no_room_is_the_only_one_to_fail() {
    let (_folder, store) = fresh().await;
    let mut tx = store.begin().await.unwrap();
    query("PRAGMA max_page_count = 1").execute(tx.conn()).await.unwrap();
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
    let asked = NewRequest::at_command_line(Verb::UnpauseDag { dag: name("wiki") }, "ada");
    let (asked, committed) = tokio::join!(other.ask(&asked, NOW), tx.commit());
    committed.unwrap();
    asked.unwrap();
    assert!(other.dag(&name("wiki")).await.unwrap().unwrap().paused);
}

#[tokio::test]
async fn the_answers_of_older_versions_are_still_told() {
    let (_folder, store) = fresh().await;
    let mut tx = store.begin().await.unwrap();
    let rows = r#"INSERT INTO requests (verb, args, who, created_us, applied_us, outcome, error_kind, error)
        VALUES ('pause_dag', '{"verb":"pause_dag","dag":"wiki"}', 'ada', 1, 2, 'wiki is paused', NULL, NULL),
               ('pause_dag', '{"verb":"pause_dag","dag":"x"}', 'ada', 1, 2, NULL, 'input', 'no DAG')"#;
    tx.conn().run(rows).await.unwrap();
    tx.commit().await.unwrap();
    let [refused, done] = &store.requests(9).await.unwrap()[..] else { panic!("two") };
    let told = Outcome::Told { words: "wiki is paused".into() };
    assert_eq!(done.answer, Some(Answer::Done(told)));
    let failure = Failure { kind: ErrorKind::Input, error: "no DAG".into(), remedy: None };
    assert_eq!(refused.answer, Some(Answer::Refused(Refusal::Failed(failure))));
}

#[tokio::test]
async fn the_files_of_the_store_are_for_its_account_alone_also_where_they_were_not() {
    let (folder, store) = fresh().await;
    let mode = |name: &str| {
        let path = folder.path().join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!([mode("state.db"), mode("state.db-wal"), mode("state.db-shm")], [0o600; 3]);
    drop(store);
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let path = folder.path().join(file);
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }
    let _again = Store::open(&folder.path().join("state.db")).await.unwrap();
    assert_eq!([mode("state.db"), mode("state.db-wal"), mode("state.db-shm")], [0o600; 3]);
}

#[tokio::test]
async fn a_store_that_was_removed_is_missed_and_never_made_anew_by_an_attempt() {
    let (folder, store) = fresh().await;
    let path = folder.path().join("state.db");
    store.check_place().unwrap();
    fs::remove_file(&path).unwrap();
    let error = Store::open_made(&path).await.map(drop).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Input);
    assert!(error.remedy.unwrap().contains("start it again"));
    assert!(!path.exists());
    assert_eq!(store.check_place().unwrap_err().kind, ErrorKind::Input);
    fs::write(&path, "").unwrap();
    assert_eq!(store.check_place().unwrap_err().kind, ErrorKind::Input, "another file");
}

/// A pass must stay cheap with years of runs behind it.
#[tokio::test]
async fn what_every_pass_asks_is_found_by_an_index() {
    let (_folder, store) = fresh().await;
    let queries = [
        "SELECT * FROM runs WHERE state = 'running'",
        "SELECT * FROM runs WHERE dag = '' AND state = 'queued' ORDER BY class, created_us",
        "SELECT * FROM runs {index runs_not_closed} WHERE state = 'succeeded' AND NOT closed",
        "SELECT * FROM attempts WHERE state IN ('queued', 'running')",
        "SELECT * FROM files {index files_open} WHERE table_name = '' AND closed IS NULL",
        "UPDATE files {index files_by_key} SET closed = 1 WHERE table_name = '' AND key = '' AND closed IS NULL
           AND published IN {list '[]'}",
    ];
    for query in queries {
        let mut tx = store.begin().await.unwrap();
        let explain = super::query(format!("EXPLAIN QUERY PLAN {query}"));
        let plan = explain.fetch_one(tx.conn()).await.unwrap().text("detail").unwrap();
        let is_found = plan.contains("USING INDEX") || plan.contains("USING COVERING INDEX");
        assert!(is_found, "{query}: {plan}");
    }
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
        tx.conn().run(sql).await.unwrap();
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
    accept_feed(&store).await;
    (folder, store)
}
