//! Whatever the backlog, closings, tasks and requests take turns.

use super::bed::{Bed, HOUR, TOPIC_ID, key, name, table};
use crate::model::attempt::Owner;
use crate::model::dag::{Dag, DagVersion, Empty, OnLate, Schedule, Task, Work};
use crate::model::problem::About;
use crate::model::request::{NewRequest, Verb};
use crate::model::time::Micros;
use crate::scheduler::turn;
use object_store::ObjectStoreExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// `hourly` is paused, so that nothing but closings is to be done.
async fn bed() -> Bed {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Run).await;
    bed.ask(Verb::PauseDag { dag: name("hourly") }).await;
    bed
}

/// A DAG that has nothing to do with the tables: one task, by hand.
fn report() -> DagVersion {
    let task = Task {
        name: name("tell"),
        after: vec![],
        work: Work::Exec { argv: vec!["true".into()], env: BTreeMap::new() },
        retries: 0,
        retry_delay: Duration::ZERO,
        timeout: None,
    };
    let dag = Dag {
        name: name("report"),
        doc: String::new(),
        owner: String::new(),
        streams: BTreeMap::new(),
        schedule: Schedule::Manual,
        tasks: vec![task],
    };
    let (jobs, topics, tables) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    DagVersion { dag, jobs, topics, tables }
}

async fn closed(bed: &Bed, of: &str) -> usize {
    let all = (Micros(0), Micros(10_000 * HOUR));
    bed.store.newest_closed(&table(of), all).await.unwrap().len()
}

#[tokio::test]
async fn a_backlog_of_closings_keeps_no_request_from_its_answer_and_no_task_from_its_slot() {
    let mut bed = bed().await;
    bed.dags.push(report());
    bed.accept().await;
    let hours: Vec<i64> = (0..300).collect();
    bed.commit_both(&hours, 301 * 60).await;
    bed.try_step().await;
    assert_eq!(closed(&bed, "raw.changes").await, turn::CLOSINGS);

    let trigger = Verb::TriggerDag { dag: name("report"), key: None };
    let asked = NewRequest::at_command_line(trigger, "ada");
    let id = bed.store.ask(&asked, bed.now).await.unwrap();
    bed.try_step().await;
    assert!(bed.store.request(id).await.unwrap().unwrap().answer.is_some());
    let open = bed.store.open_attempts().await.unwrap();
    assert!(
        matches!(open.as_slice(), [one] if matches!(one.owner, Owner::Task { .. })),
        "{open:?}"
    );
    assert!(closed(&bed, "raw.changes").await < 100);

    bed.step().await;
    assert_eq!(closed(&bed, "raw.changes").await, 300, "the rest follows at once");
}

#[tokio::test]
async fn tables_with_a_backlog_take_turns() {
    let mut bed = bed().await;
    bed.streamed.push("raw.others");
    bed.declare(2).await;
    bed.accept().await;
    let hours: Vec<i64> = (0..60).collect();
    for topic_partition in 0..2 {
        for of in ["raw.changes", "raw.others"] {
            bed.append_to(of, topic_partition, &hours, Some(61 * 60), |_| {}).await;
        }
    }
    for _ in 0..4 {
        bed.try_step().await;
    }
    let both = (closed(&bed, "raw.changes").await, closed(&bed, "raw.others").await);
    assert_eq!(both, (2 * turn::CLOSINGS, 2 * turn::CLOSINGS));
    bed.step().await;
    assert_eq!((closed(&bed, "raw.changes").await, closed(&bed, "raw.others").await), (60, 60));
}

#[tokio::test]
async fn hours_that_cannot_close_are_problems_until_they_can_and_keep_no_other_from_its_turn() {
    let mut bed = bed().await;
    let hours: Vec<i64> = (0..40).collect();
    bed.commit_both(&hours, 41 * 60).await;
    for hour in 0..20 {
        bed.put_stray(hour).await;
    }
    bed.step().await;
    assert_eq!(closed(&bed, "raw.changes").await, 20);
    let problems = bed.store.problems().await.unwrap();
    assert_eq!(problems.len(), 20);
    let first = About::Closing { table: table("raw.changes"), key: key(0) };
    assert_eq!((&problems[0].about, problems[0].since), (&first, bed.now));
    assert!(problems[0].text.contains("closed/1970-01-01T00/1.json"), "{:?}", problems[0]);

    for hour in 0..20 {
        bed.remove_stray(hour).await;
    }
    bed.restart();
    bed.step_after(1).await;
    assert_eq!(closed(&bed, "raw.changes").await, 40);
    assert_eq!(bed.store.problems().await.unwrap(), []);
}

#[tokio::test]
async fn a_log_with_junk_in_it_is_a_problem_of_the_hour_that_would_close_next() {
    let mut bed = bed().await;
    bed.commit_both(&[0, 1], 70).await;
    bed.step().await;
    let junk = format!("_tidemill/raw.changes/log/{}-0/{:020}.json", &TOPIC_ID[..8], 2);
    bed.put(&junk, "junk").await;
    bed.step_after(1).await;
    let problems = bed.store.problems().await.unwrap();
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(problem.about, About::Closing { table: table("raw.changes"), key: key(1) });
    bed.remove(&junk).await;
    bed.step_after(1).await;
    assert_eq!(bed.store.problems().await.unwrap(), []);
}

impl Bed {
    async fn put(&self, path: &str, text: &'static str) {
        self.lake.objects().put(&path.into(), text.into()).await.unwrap();
    }

    async fn remove(&self, path: &str) {
        self.lake.objects().delete(&path.into()).await.unwrap();
    }

    /// Something else lies where the first closing of the hour belongs.
    async fn put_stray(&self, hour: i64) {
        self.put(&closing(hour), "junk").await;
    }

    async fn remove_stray(&self, hour: i64) {
        self.remove(&closing(hour)).await;
    }
}

fn closing(hour: i64) -> String {
    format!("_tidemill/raw.changes/closed/{}/1.json", key(hour))
}

#[tokio::test]
async fn a_row_of_another_age_makes_no_runs_of_all_the_hours_in_between() {
    let mut bed = bed().await;
    let now = 490_000;
    bed.commit_both(&[0, now, now + 2], (now + 3) * 60 + 10).await;
    bed.step().await;
    let runs = bed.runs("hourly").await;
    let revisions: Vec<_> = runs.iter().map(|run| &run[6..]).collect();
    assert_eq!(revisions, ["r1 queued", "r1 queued", "r0 queued", "r1 queued"]);
    let raw = bed.store.table(&table("raw.changes")).await.unwrap().unwrap();
    assert_eq!(raw.frontier, Some(Micros((now + 3) * HOUR)), "the frontier waits for nothing");
}
