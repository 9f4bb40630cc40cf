//! What cannot be read fails what rests on it, is stored as a problem, and holds nothing else up.

use super::bed::{Bed, HOUR, MINUTE, key, name, table};
use crate::model::attempt::StopReason;
use crate::model::dag::{Empty, OnLate};
use crate::model::hive::Grain;
use crate::model::problem::{About, Problem};
use crate::model::request::{Answer, NewRequest, Outcome, Refusal, Verb};
use crate::model::run::Run;
use crate::model::time::Micros;
use crate::store::runs::Wanted;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

const NEWER: &str = r#"{"format":99,"everything":"new"}"#;
const BROKEN: &str = "{";

impl Bed {
    async fn plant(&self, sql: &'static str, body: &str) {
        self.store.plant(sql, body).await;
    }

    async fn problems(&self) -> Vec<Problem> {
        self.store.problems().await.unwrap()
    }

    async fn run_of(&self, dag: &str) -> Run {
        let wanted = Wanted { dag: Some(name(dag)), most: 1, ..Wanted::default() };
        self.store.runs(&wanted).await.unwrap().remove(0)
    }

    /// Damages an object of the lake, and returns what it held.
    async fn damage(&self, path: &Path) -> Bytes {
        let held = self.lake.objects().get(path).await.unwrap().bytes().await.unwrap();
        self.lake.objects().put(path, BROKEN.into()).await.unwrap();
        held
    }

    async fn first_record(&self) -> Path {
        let log = Path::from("_tidemill/raw.changes/log");
        let all: Vec<_> = self.lake.objects().list(Some(&log)).try_collect().await.unwrap();
        all.into_iter().map(|found| found.location).min().unwrap()
    }
}

/// `hourly` and `daily` both wait for hours of `raw.changes`; the first one's version is planted.
async fn bed_with(body: &str) -> Bed {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.waits_for("daily", "raw.changes", Grain::Hour).await;
    bed.commit_both(&[0, 1], 70).await;
    bed.step().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 running"]);
    bed.plant("UPDATE versions SET body = $1 WHERE dag = 'hourly'", body).await;
    bed.restart();
    bed
}

#[tokio::test]
async fn runs_of_a_version_that_cannot_be_read_fail_and_those_of_other_dags_go_on() {
    for (body, why, remedy) in [
        (NEWER, "was written by a newer Tidemill, in format 99", "use the newer tidemill"),
        (BROKEN, "this DAG version is damaged", "restore the state store"),
    ] {
        let mut bed = bed_with(body).await;
        bed.settle().await;
        Bed::same(&bed.runs("hourly").await, &["01T00 r1 failed"]);
        Bed::same(&bed.runs("daily").await, &["01T00 r1 succeeded"]);
        let run = bed.run_of("hourly").await;
        let failure = run.failure.unwrap();
        let version = format!("version {} of its DAG cannot be read: ", &run.version[..7]);
        assert!(failure.error.starts_with(&version) && failure.error.contains(why), "{failure:?}");
        let help = failure.remedy.unwrap();
        let clear = format!("`tidemill runs clear hourly {}`", run.id);
        assert!(help.starts_with(remedy) && help.contains(&clear), "{help}");
        let attempt = bed.store.attempts_of_run(&run.id).await.unwrap().remove(0);
        assert_eq!(attempt.stop.map(|stop| stop.reason), Some(StopReason::RunFailed));
    }
}

#[tokio::test]
async fn a_closing_makes_a_run_that_fails_for_a_dag_that_cannot_be_read_so_that_none_is_forgotten()
{
    let mut bed = bed_with(BROKEN).await;
    bed.commit_both(&[2], 130).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 failed", "01T01 r1 failed"]);
    Bed::same(&bed.runs("daily").await, &["01T00 r1 succeeded", "01T01 r1 succeeded"]);
}

#[tokio::test]
async fn a_version_that_cannot_be_read_is_a_problem_until_the_same_files_are_accepted_again() {
    let mut bed = bed_with(BROKEN).await;
    bed.settle().await;
    let version = bed.store.dag(&name("hourly")).await.unwrap().unwrap().version;
    let about = About::Version { dag: name("hourly"), hash: version };
    let found = bed.problems().await;
    assert_eq!(found.iter().map(|problem| &problem.about).collect::<Vec<_>>(), [&about]);
    let run = bed.run_of("hourly").await.id;
    let clear = Verb::ClearRun { dag: name("hourly"), run, only_failed: false };
    let Refusal::Failed(failure) = bed.refused(clear.clone()).await else { panic!() };
    assert!(failure.error.contains("this DAG version is damaged"), "{failure:?}");
    bed.on_late("hourly", OnLate::Refresh).await;
    bed.step().await;
    assert_eq!(bed.problems().await, []);
    bed.done(clear).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded"]);
    assert_eq!(bed.run_of("hourly").await.failure, None);
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_refused_and_the_next_is_carried_out() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    let pause = NewRequest::at_command_line(Verb::PauseDag { dag: name("daily") }, "ada");
    let id = bed.store.ask(&pause, bed.now).await.unwrap();
    bed.plant("UPDATE requests SET args = $1", NEWER).await;
    let outcome = bed.done(Verb::PauseDag { dag: name("hourly") }).await;
    assert_eq!(outcome, Outcome::DagPaused { dag: name("hourly") });
    bed.plant("UPDATE requests SET args = $1", r#"{"verb":"pause_dag","dag":"daily"}"#).await;
    let answer = bed.store.request(id).await.unwrap().unwrap().answer;
    let Some(Answer::Refused(Refusal::Failed(failure))) = answer else { panic!("{answer:?}") };
    assert!(failure.error.contains("written by a newer Tidemill"), "{failure:?}");
}

#[tokio::test]
async fn a_table_that_cannot_be_read_holds_no_other_table() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.plant("UPDATE tables SET body = $1 WHERE name = 'agg.by_day'", NEWER).await;
    bed.commit_both(&[0, 1], 70).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded"]);
    let about = About::Table { table: table("agg.by_day") };
    assert!(bed.problems().await.iter().any(|problem| problem.about == about));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_holds_its_own_table_and_is_a_problem_until_it_can() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_both(&[0, 1], 70).await;
    let record = bed.first_record().await;
    let held = bed.damage(&record).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &[]);
    let problem = bed.problems().await.remove(0);
    assert_eq!(problem.about, About::Table { table: table("raw.changes") });
    assert!(problem.text.contains(record.as_ref()), "{problem:?}");
    bed.lake.objects().put(&record, held.into()).await.unwrap();
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded"]);
    assert_eq!(bed.problems().await, []);
}

#[tokio::test]
async fn a_closing_that_cannot_be_read_holds_its_own_hour_and_is_a_problem_until_it_can() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_both(&[0], 70).await;
    bed.settle().await;
    let closing = Path::from(format!("_tidemill/raw.changes/closed/{}/1.json", key(0)));
    let held = bed.damage(&closing).await;
    bed.commit_both(&[0, 2], 190).await;
    bed.step().await;
    bed.now = Micros(bed.now.0 + MINUTE);
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded", "01T02 r1 succeeded"]);
    let problem = bed.problems().await.remove(0);
    assert_eq!(problem.about, About::Closing { table: table("raw.changes"), key: key(0) });
    assert!(problem.text.contains(closing.as_ref()), "{problem:?}");
    bed.lake.objects().put(&closing, held.into()).await.unwrap();
    bed.now = Micros(bed.now.0 + HOUR);
    bed.settle().await;
    assert!(bed.runs("hourly").await.contains(&"01T00 r2 succeeded".to_owned()));
    assert_eq!(bed.problems().await, []);
}

#[tokio::test]
async fn a_closing_says_between_which_event_times_each_file_lies() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_both(&[0, 1], 130).await;
    bed.settle().await;
    for hour in [0, 1] {
        let closing = bed.lake.closing(&table("raw.changes"), &key(hour), 1).await.unwrap();
        let at = Some(Micros(hour * HOUR));
        let files = closing.unwrap().files;
        assert_eq!(files.len(), 2);
        for file in files {
            assert_eq!((file.event_time_min, file.event_time_max), (at, at));
        }
    }
}

#[tokio::test]
async fn the_closing_after_one_of_an_earlier_version_lists_each_file_once() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_both(&[0], 70).await;
    bed.settle().await;
    let (raw, first) = (table("raw.changes"), key(0));
    let mut closing = bed.lake.closing(&raw, &first, 1).await.unwrap().unwrap();
    for file in &mut closing.files {
        (file.event_time_min, file.event_time_max) = (None, None);
    }
    let path = Path::from(format!("_tidemill/raw.changes/closed/{first}/1.json"));
    let bytes = serde_json::to_vec(&closing).unwrap();
    bed.lake.objects().put(&path, bytes.into()).await.unwrap();
    bed.commit(0, &[0], 80).await;
    bed.step().await;
    bed.now = Micros(bed.now.0 + MINUTE);
    bed.settle().await;
    let second = bed.lake.closing(&raw, &first, 2).await.unwrap().unwrap();
    assert_eq!((second.files.len(), second.rows), (3, 30));
    assert!(second.files.iter().all(|file| file.event_time_min.is_some()));
}
