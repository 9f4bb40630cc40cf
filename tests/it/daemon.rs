//! The daemon, its shims and their children, each killed at its work.

use crate::bed::{Bed, kill};
use crate::chaos::furnish;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustix::process::{Pid, Signal, kill_process};
use tidemill::model::attempt::AttemptState;
use tidemill::model::request::Verb;
use tidemill::model::run::RunState;

/// Works until a file named `go` is there.
const PATIENT: &str = r#"
[tasks.wait]
exec = ["sh", "-c", "until [ -e go ]; do sleep 0.02; done"]
retries = 2
retry_delay = "0s"
"#;

#[tokio::test]
async fn what_a_task_writes_reaches_the_tasks_after_it() {
    let mut bed = Bed::of(
        r#"
[tasks.fetch]
exec = ["sh", "-c", 'echo "{{\"file\": \"a b\"}}" > "$TIDEMILL_OUTPUT"']
[tasks.load]
after = ["fetch"]
exec = ["echo", "load", "{tasks.fetch.output.file}", "{run_id}"]
"#,
    );
    bed.up().await;
    let run = bed.trigger().await;
    assert_eq!(bed.ended(&run).await.state, RunState::Succeeded);
    assert_eq!(bed.log(&bed.attempts(&run).await[1]), format!("load a b {run}\n"));
}

#[tokio::test]
async fn a_task_sees_its_own_variables_and_not_the_daemons() {
    let mut bed = Bed::of(
        r#"
[tasks.look]
exec = ["env"]
env = { TOKEN = { env = "SECRET" }, PLAIN = "{run_id}" }
"#,
    );
    bed.up().await;
    let run = bed.trigger().await;
    assert_eq!(bed.ended(&run).await.state, RunState::Succeeded);
    let attempt = &bed.attempts(&run).await[0];
    let log = bed.log(attempt);
    assert!(log.contains("TOKEN=hidden\n") && log.contains(&format!("PLAIN={run}\n")), "{log}");
    assert!(!log.contains("SECRET=") && !log.contains("CARGO"), "{log}");
    let folder = bed.home().join("attempts").join(&attempt.id);
    let spec = std::fs::read_to_string(folder.join("spec.json")).unwrap();
    assert!(!spec.contains("hidden"), "{spec}");
}

#[tokio::test]
async fn a_killed_daemons_attempts_are_adopted_by_the_next() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    let run = bed.trigger().await;
    let (_, child) = bed.working(&run, 1).await;
    bed.end(Signal::KILL).await;
    bed.up().await;
    assert!(child.alive());
    bed.write("go", "");
    assert_eq!(bed.ended(&run).await.state, RunState::Succeeded);
    assert_eq!(bed.attempts(&run).await.len(), 1);
}

#[tokio::test]
async fn an_end_while_no_daemon_was_there_is_found() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    let run = bed.trigger().await;
    let (_, child) = bed.working(&run, 1).await;
    bed.end(Signal::KILL).await;
    bed.write("go", "");
    bed.until("the task ends by itself", || async { (!child.alive()).then_some(()) }).await;
    bed.up().await;
    assert_eq!(bed.ended(&run).await.state, RunState::Succeeded);
    assert_eq!(bed.attempts(&run).await.len(), 1);
}

#[tokio::test]
async fn what_a_lost_store_has_started_is_ended_by_the_next_daemon() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    let run = bed.trigger().await;
    let (_, child) = bed.working(&run, 1).await;
    bed.end(Signal::KILL).await;
    for end in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(bed.home().join(format!("state.db{end}"))));
    }
    bed.up().await;
    bed.until("the unknown attempt is ended", || async { (!child.alive()).then_some(()) }).await;
}

#[tokio::test]
async fn a_killed_shim_makes_the_attempt_unknown_and_the_next_follows_its_end() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    let run = bed.trigger().await;
    let (attempt, child) = bed.working(&run, 1).await;
    kill(attempt.process.unwrap().pid);
    let (next, _) = bed.working(&run, 2).await;
    assert!(!child.alive(), "two attempts at once");
    assert_eq!(next.epoch, 2);
    bed.write("go", "");
    assert_eq!(bed.ended(&run).await.state, RunState::Succeeded);
    let states: Vec<_> = bed.attempts(&run).await.iter().map(|attempt| attempt.state).collect();
    assert_eq!(states, [AttemptState::Unknown, AttemptState::Succeeded]);
}

#[tokio::test]
async fn a_killed_task_is_tried_again() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    let run = bed.trigger().await;
    let (_, child) = bed.working(&run, 1).await;
    kill(child.pid);
    bed.working(&run, 2).await;
    bed.write("go", "");
    assert_eq!(bed.ended(&run).await.state, RunState::Succeeded);
    let first = &bed.attempts(&run).await[0];
    assert_eq!((first.state, first.signal), (AttemptState::Failed, Some(9)));
}

#[tokio::test]
async fn a_task_over_its_timeout_is_ended_and_has_failed() {
    let mut bed = Bed::of("[tasks.slow]\nexec = [\"sleep\", \"1000\"]\ntimeout = \"500ms\"\n");
    bed.up().await;
    let run = bed.trigger().await;
    assert_eq!(bed.ended(&run).await.state, RunState::Failed);
    let failure = bed.attempts(&run).await[0].failure.clone().unwrap();
    assert_eq!(failure.error, "timed out after 0.5 s");
}

#[tokio::test]
async fn a_run_marked_by_hand_ends_its_task() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    let run = bed.trigger().await;
    let (_, child) = bed.working(&run, 1).await;
    let dag = "work".parse().unwrap();
    bed.ask(Verb::MarkRun { dag, run: run.clone(), to: RunState::Failed }).await;
    bed.until("the task is ended", || async { (!child.alive()).then_some(()) }).await;
    assert_eq!(bed.ended(&run).await.state, RunState::Failed);
}

#[tokio::test]
async fn sigterm_leaves_attempts_to_the_next_daemon() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    let run = bed.trigger().await;
    let (_, child) = bed.working(&run, 1).await;
    assert!(bed.end(Signal::TERM).await);
    assert!(child.alive());
    bed.write("go", "");
    bed.up().await;
    assert_eq!(bed.ended(&run).await.state, RunState::Succeeded);
}

#[tokio::test]
async fn ctrl_c_leaves_nothing_and_the_next_daemon_goes_on() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    let run = bed.trigger().await;
    let (attempt, child) = bed.working(&run, 1).await;
    assert!(bed.end(Signal::INT).await);
    assert!(!child.alive());
    let attempt = bed.store().await.attempt(&attempt.id).await.unwrap().unwrap();
    assert_eq!(attempt.state, AttemptState::Stopped);
    bed.write("go", "");
    bed.up().await;
    assert_eq!(bed.ended(&run).await.state, RunState::Succeeded);
}

#[tokio::test]
async fn a_terminal_that_is_gone_ends_everything_as_ctrl_c_does() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    let run = bed.trigger().await;
    let (attempt, child) = bed.working(&run, 1).await;
    assert!(bed.end(Signal::HUP).await);
    assert!(!child.alive());
    let attempt = bed.store().await.attempt(&attempt.id).await.unwrap().unwrap();
    assert_eq!(attempt.state, AttemptState::Stopped);
}

#[tokio::test]
async fn a_setting_that_waits_for_a_restart_is_told() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    bed.write("tidemill.toml", "[limits]\nparallelism = 77\n");
    let told = async || {
        let log = bed.daemon_log();
        log.contains("count from the next `tidemill up`: limits.parallelism").then_some(())
    };
    bed.until("the log tells", told).await;
    let status = bed.command("status").output().unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("limits.parallelism changed since this daemon began"), "{status}");
}

#[tokio::test]
async fn a_second_ctrl_c_kills_what_does_not_hear() {
    let mut bed = Bed::of(
        "[tasks.deaf]\nexec = [\"sh\", \"-c\", \"trap '' TERM; while :; do sleep 0.1; done\"]\n",
    );
    bed.up().await;
    let run = bed.trigger().await;
    let (_, child) = bed.working(&run, 1).await;
    bed.signal(Signal::INT);
    bed.until("it drains", || async { bed.daemon_log().contains("again kills").then_some(()) })
        .await;
    assert!(bed.end(Signal::INT).await);
    assert!(!child.alive());
}

#[tokio::test]
async fn a_second_ctrl_c_kills_what_can_not_tell_its_end() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    let run = bed.trigger().await;
    let (attempt, _) = bed.working(&run, 1).await;
    let shim = Pid::from_raw(attempt.process.unwrap().pid).unwrap();
    kill_process(shim, Signal::STOP).unwrap();
    bed.signal(Signal::INT);
    bed.until("it drains", || async { bed.daemon_log().contains("again kills").then_some(()) })
        .await;
    assert!(bed.end(Signal::INT).await);
    assert_eq!(bed.attempts(&run).await[0].state, AttemptState::Unknown);
}

#[tokio::test]
async fn a_second_daemon_is_refused() {
    let mut bed = Bed::of(PATIENT);
    bed.up().await;
    assert_eq!(bed.up_command().status().unwrap().code(), Some(2));
    assert!(bed.daemon_log().contains("this project is up already: pid"));
}

#[tokio::test]
async fn a_bad_edit_keeps_the_last_good_version_and_a_good_one_replaces_it() {
    let mut bed = Bed::of("[tasks.say]\nexec = [\"echo\", \"one\"]\n");
    bed.up().await;
    bed.write("dags/work.toml", "[tasks.say]\nexec = [\"echo\", \"two\"]\nafter = [\"nobody\"]\n");
    bed.until("the edit is refused", || async {
        bed.daemon_log().contains("going on with what was accepted before").then_some(())
    })
    .await;
    let run = bed.trigger().await;
    assert_eq!(bed.ended(&run).await.state, RunState::Succeeded);
    assert_eq!(bed.log(&bed.attempts(&run).await[0]), "one\n");
    bed.write("dags/work.toml", "[tasks.say]\nexec = [\"echo\", \"three\"]\n");
    bed.until("the edit is accepted", || async {
        bed.daemon_log().contains("have changed and are accepted").then_some(())
    })
    .await;
}

#[test]
fn nothing_runs_on_a_lake_that_is_refused() {
    let (project, _) = furnish(&mut StdRng::seed_from_u64(1));
    project.up().stop();
    std::fs::remove_dir_all(project.lake()).unwrap();
    let answer = project.tidemill(&["up"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains("there is no lake at"), "{answer:?}");
    assert!(project.processes().is_empty());
}
