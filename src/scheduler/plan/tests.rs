use super::*;
use crate::error::ErrorKind;
use crate::model::attempt::{AttemptKind, AttemptState, Failure, Owner};
use crate::model::dag::{Dag, Schedule, Work};
use crate::model::hive::Grain;
use crate::model::run::{RunKind, Subject};
use std::time::Duration;

const MINUTE: i64 = 60_000_000;

#[test]
fn a_queued_run_starts_and_launches_what_waits_for_nothing() {
    check(&facts(vec![], vec![run("a", 5)]), 0, "start a\nlaunch a.one try 1");
}

#[test]
fn a_task_that_succeeded_lets_the_next_one_go_in_the_same_plan() {
    let active = at_work("a", 5, [running(AttemptState::Succeeded), waiting()]);
    check(&facts(vec![active], vec![]), 0, "a.one succeeded\nlaunch a.two try 1");
}

#[test]
fn the_end_of_a_run_makes_room_for_the_next_one() {
    let active = at_work("a", 5, [succeeded(), running(AttemptState::Succeeded)]);
    let mut facts = facts(vec![active], vec![run("b", 6)]);
    facts.dags.get_mut(&name("wiki")).unwrap().max_active_runs = 1;
    check(&facts, 0, "a.two succeeded\nend a succeeded\nstart b\nlaunch b.one try 1");
}

#[test]
fn a_failed_try_waits_for_its_backoff_and_the_backoff_doubles() {
    let mut task = running(AttemptState::Failed);
    let active = |task: &TaskAndAttempt| at_work("a", 5, [task.clone(), waiting()]);
    check(&facts(vec![active(&task)], vec![]), 0, "a.one waiting until 1\nwake 1");
    task.0.tries = 1;
    check(&facts(vec![active(&task)], vec![]), 0, "a.one waiting until 2\nwake 2");
}

#[test]
fn a_retry_is_launched_when_its_time_has_come() {
    let mut task = waiting();
    (task.0.tries, task.0.next_try) = (1, Some(Micros(MINUTE)));
    let facts = facts(vec![at_work("a", 5, [task, waiting()])], vec![]);
    check(&facts, MINUTE - 1, "wake 1");
    check(&facts, MINUTE, "launch a.one try 2");
}

#[test]
fn a_clock_that_is_set_back_delays_no_retry() {
    let mut task = waiting();
    (task.0.tries, task.0.next_try) = (1, Some(Micros(180 * MINUTE)));
    check(&facts(vec![at_work("a", 5, [task, waiting()])], vec![]), 5, "launch a.one try 2");
}

#[test]
fn the_last_try_fails_the_task_what_is_behind_it_and_the_run() {
    let mut task = running(AttemptState::Failed);
    task.0.tries = 2;
    let facts = facts(vec![at_work("a", 5, [task, waiting()])], vec![]);
    check(&facts, 0, "a.one failed\na.two upstream_failed\nend a failed");
}

#[test]
fn a_try_lost_through_no_fault_of_the_task_does_not_count() {
    for state in [AttemptState::Unknown, AttemptState::Stopped] {
        let mut task = running(state);
        task.0.tries = 2;
        let facts = facts(vec![at_work("a", 5, [task, waiting()])], vec![]);
        check(&facts, 0, "a.one waiting\nlaunch a.one try 3");
    }
}

#[test]
fn a_try_killed_again_and_again_counts() {
    let mut task = running(AttemptState::Failed);
    task.1.as_mut().unwrap().signal = Some(9);
    (task.0.tries, task.0.lost) = (2, 3);
    let facts = facts(vec![at_work("a", 5, [task, waiting()])], vec![]);
    check(&facts, 0, "a.one failed\na.two upstream_failed\nend a failed");
}

#[test]
fn declared_retries_also_retry_what_the_user_must_mend() {
    let mut task = running(AttemptState::Failed);
    let error = "no permission".into();
    task.1.as_mut().unwrap().failure =
        Some(Failure { kind: ErrorKind::Input, error, remedy: None });
    let facts = facts(vec![at_work("a", 5, [task, waiting()])], vec![]);
    check(&facts, 0, "a.one waiting until 1\nwake 1");
}

#[test]
fn a_task_out_of_time_is_stopped_and_that_try_counts() {
    let mut task = running(AttemptState::Running);
    task.1.as_mut().unwrap().started = Some(Micros(0));
    let active = |task: &TaskAndAttempt| at_work("a", 5, [task.clone(), waiting()]);
    check(&facts(vec![active(&task)], vec![]), 0, "wake 10");
    let expected = "stop a-one: timed out after 10 min";
    check(&facts(vec![active(&task)], vec![]), 10 * MINUTE, expected);
    let attempt = task.1.as_mut().unwrap();
    let stop = Stop::timed_out(Duration::from_mins(10), Micros(0));
    (attempt.state, attempt.stop) = (AttemptState::Stopped, Some(stop));
    task.0.tries = 2;
    let expected = "a.one failed\na.two upstream_failed\nend a failed";
    check(&facts(vec![active(&task)], vec![]), 0, expected);
}

#[test]
fn what_is_behind_a_skipped_task_is_skipped_and_the_run_succeeds() {
    let mut task = waiting();
    task.0.state = TaskState::Skipped;
    let facts = facts(vec![at_work("a", 5, [task, waiting()])], vec![]);
    check(&facts, 0, "a.two skipped\nend a succeeded");
}

#[test]
fn a_paused_dag_starts_no_run_and_no_task_and_sees_its_attempts_end() {
    let active = at_work("a", 5, [running(AttemptState::Succeeded), waiting()]);
    let mut facts = facts(vec![active], vec![run("b", 6)]);
    facts.dags.get_mut(&name("wiki")).unwrap().paused = true;
    check(&facts, 0, "a.one succeeded");
    waits(&facts, &["a.two Paused"]);
}

#[test]
fn a_run_says_which_one_goes_first() {
    let active = at_work("a", 5, [running(AttemptState::Running), waiting()]);
    let facts = facts(vec![active], vec![run("b", 5)]);
    waits(&facts, &["b behind a", "a.two after one"]);
}

#[test]
fn no_more_runs_than_max_active_runs_are_at_work() {
    let mut facts = facts(vec![], vec![run("a", 5), run("b", 6), run("c", 7)]);
    facts.dags.get_mut(&name("wiki")).unwrap().max_active_runs = 2;
    check(&facts, 0, "start a\nstart b\nlaunch a.one try 1\nlaunch b.one try 1");
    waits(&facts, &["c 2 of 2 runs", "a.two after one", "b.two after one"]);
}

#[test]
fn no_more_attempts_than_slots_and_live_hours_go_first() {
    let backfill = Run { class: Class::Backfill, ..run("a", 5) };
    let reopened = Run { class: Class::Reopened, ..run("b", 6) };
    let mut facts = facts(vec![], vec![backfill, reopened, run("c", 7)]);
    facts.slots = Slots { of: 3, tasks: 1, ..Slots::default() };
    let expected = "start a\nstart b\nstart c\nlaunch c.one try 1\nlaunch b.one try 1";
    check(&facts, 0, expected);
    waits(&facts, &["a.one 3 of 3", "a.two after one", "b.two after one", "c.two after one"]);
}

#[test]
fn closings_hold_slots_as_tasks_do_and_a_task_that_waits_says_so() {
    let mut facts = facts(vec![], vec![run("a", 5), run("b", 6)]);
    facts.slots = Slots { of: 3, closings: 1, ..Slots::default() };
    facts.wanted = vec![compact(7), compact(8)];
    let expected = "start a\nstart b\nlaunch a.one try 1\ncompact 2026-11-20T07";
    check(&facts, 0, expected);
    waits(&facts, &["a.two after one", "b.one 3 of 3", "b.two after one"]);
}

#[test]
fn writers_of_one_hive_partition_are_serial() {
    let active = at_work("a", 5, [running(AttemptState::Running), waiting()]);
    check(&facts(vec![active], vec![run("b", 5)]), 0, "wake 10");
    check(&facts(vec![], vec![run("b", 5), run("c", 5)]), 0, "start b\nlaunch b.one try 1");
}

#[test]
fn a_run_waits_for_an_attempt_of_an_ended_run_that_has_not_been_seen_to_end() {
    let mut facts = facts(vec![], vec![run("b", 5)]);
    facts.busy = vec![(name("wiki"), Some(key(5)), "a".into())];
    check(&facts, 0, "");
}

#[test]
fn a_run_that_was_cleared_waits_for_its_own_attempt_to_end() {
    let mut facts = facts(vec![], vec![run("a", 5), Run { subject: None, ..run("b", 6) }]);
    facts.busy = vec![(name("wiki"), Some(key(5)), "a".into()), (name("wiki"), None, "b".into())];
    check(&facts, 0, "");
}

#[test]
fn a_run_without_tasks_ends_as_it_starts() {
    let mut facts = facts(vec![], vec![run("a", 5)]);
    let mut version = version();
    version.dag.tasks.clear();
    facts.versions = BTreeMap::from([("v".into(), Arc::new(version))]);
    check(&facts, 0, "start a\nend a succeeded");
}

type TaskAndAttempt = (TaskInstance, Option<Attempt>);

/// States the whole plan, one action a line; times in minutes.
#[track_caller]
fn check(facts: &Facts, now: i64, expected: &str) {
    let plan = plan(facts, Micros(now));
    let line = |action: &Action| match action {
        Action::Start { run } => format!("start {run}"),
        Action::Launch { run, task, tries } => format!("launch {run}.{task} try {tries}"),
        Action::Compact(compact) => format!("compact {}", compact.key),
        Action::Change { run, task, to, retry, .. } => {
            let until = retry.next_try.map(|at| format!(" until {}", at.0 / MINUTE));
            format!("{run}.{task} {to}{}", until.unwrap_or_default())
        }
        Action::Stop { attempt, stop } => format!("stop {attempt}: {}", stop.why),
        Action::End { run, state } => format!("end {run} {state}"),
    };
    let mut lines: Vec<_> = plan.actions.iter().map(line).collect();
    lines.extend(plan.wake.map(|at| format!("wake {}", at.0 / MINUTE)));
    assert_eq!(lines.join("\n"), expected);
}

/// States what waits, runs first, and for what.
#[track_caller]
fn waits(facts: &Facts, expected: &[&str]) {
    let Waits { runs, tasks } = plan(facts, Micros(0)).waits;
    let tasks = tasks.into_iter().map(|(id, wait)| (format!("{}.{}", id.run, id.task), wait));
    let line = |(name, wait): (String, Wait)| match wait {
        Wait::EarlierRun { run } => format!("{name} behind {run}"),
        Wait::ActiveRuns { working, most } => format!("{name} {working} of {most} runs"),
        Wait::Upstream { tasks } => format!("{name} after {}", tasks[0]),
        Wait::Slot(slots) => format!("{name} {} of {}", slots.held(), slots.of),
        wait => format!("{name} {wait:?}"),
    };
    let lines: Vec<_> = runs.into_iter().chain(tasks).map(line).collect();
    assert_eq!(lines, expected);
}

fn compact(hour: u32) -> Compact {
    let (table, frontier) = ("raw.changes".parse().unwrap(), Micros(0));
    Compact { table, key: key(hour), n: 1, partial: false, complete: true, frontier }
}

fn facts(active: Vec<ActiveRun>, queued: Vec<Run>) -> Facts {
    let dag = DagFacts { paused: false, present: true, max_active_runs: 4, queued };
    Facts {
        slots: Slots { of: 4, ..Slots::default() },
        wanted: vec![],
        dags: BTreeMap::from([(name("wiki"), dag)]),
        active,
        busy: vec![],
        versions: BTreeMap::from([("v".into(), Arc::new(version()))]),
    }
}

/// Two tasks, one after the other, with two retries after a minute and ten minutes of time.
fn version() -> DagVersion {
    let task = |task: &str, after: &[&str]| Spec {
        name: name(task),
        after: after.iter().map(|before| name(before)).collect(),
        work: Work::Exec { argv: vec!["true".into()], env: BTreeMap::new() },
        retries: 2,
        retry_delay: Duration::from_mins(1),
        timeout: Some(Duration::from_mins(10)),
    };
    let dag = Dag {
        name: name("wiki"),
        doc: String::new(),
        owner: String::new(),
        streams: BTreeMap::new(),
        schedule: Schedule::Manual,
        tasks: vec![task("one", &[]), task("two", &["one"])],
    };
    let (jobs, topics, tables) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    DagVersion { dag, jobs, topics, tables }
}

fn run(id: &str, hour: u32) -> Run {
    let of = Subject {
        table: "raw.changes".parse().unwrap(),
        grain: Grain::Hour,
        key: key(hour),
        n: 1,
        start: Micros(i64::from(hour)),
        end: Micros(i64::from(hour) + 1),
        partial: false,
    };
    Run {
        id: id.into(),
        dag: name("wiki"),
        version: "v".into(),
        kind: RunKind::Close,
        class: Class::Live,
        subject: Some(of),
        state: RunState::Queued,
        created: Micros(0),
        started: None,
        ended: None,
        superseded_by: None,
        marked_by: None,
        failure: None,
    }
}

fn at_work(id: &str, hour: u32, [mut one, mut two]: [TaskAndAttempt; 2]) -> ActiveRun {
    one.0.name = name("one");
    two.0.name = name("two");
    for (task, attempt) in [&mut one, &mut two] {
        if let Some(attempt) = attempt {
            attempt.id = format!("{id}-{}", task.name);
        }
    }
    ActiveRun { run: Run { state: RunState::Running, ..run(id, hour) }, tasks: vec![one, two] }
}

fn waiting() -> TaskAndAttempt {
    let task = TaskInstance {
        name: name("any"),
        state: TaskState::Waiting,
        tries: 0,
        lost: 0,
        epoch: 0,
        next_try: None,
        attempt: None,
        output: None,
        started: None,
        ended: None,
        marked_by: None,
    };
    (task, None)
}

fn succeeded() -> TaskAndAttempt {
    (TaskInstance { state: TaskState::Succeeded, ..waiting().0 }, None)
}

fn running(state: AttemptState) -> TaskAndAttempt {
    let attempt = Attempt {
        id: String::new(),
        owner: Owner::Task { run: String::new(), task: name("any") },
        kind: AttemptKind::Exec,
        version: "v".into(),
        content: None,
        tries: 1,
        epoch: 1,
        state,
        stop: None,
        process: None,
        created: Micros(0),
        started: Some(Micros(0)),
        ended: state.ended().then_some(Micros(0)),
        exit_code: None,
        signal: None,
        failure: None,
        result: None,
    };
    (TaskInstance { state: TaskState::Running, ..waiting().0 }, Some(attempt))
}

fn key(hour: u32) -> PartitionKey {
    format!("2026-11-20T{hour:02}").parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}
