//! What the command line answers while the project is up, and when it is not.

use crate::project::{Answer, Project};

#[track_caller]
fn check(answer: &Answer, error: &str, help: &str) {
    assert_eq!((answer.code, answer.out.as_str()), (Some(2), ""), "{answer:?}");
    assert!(answer.err.contains(error) && answer.err.contains(help), "{}", answer.err);
}

#[test]
fn an_unknown_dag_is_told_with_the_one_that_was_meant() {
    let project = Project::shipped();
    let _daemon = project.up();
    let answer = project.tidemill(&["dags", "show", "wikimdia"]);
    check(&answer, "error: no DAG is named `wikimdia`", "did you mean `wikimedia`?");
}

#[test]
fn a_change_needs_a_daemon() {
    let project = Project::shipped();
    project.up().stop();
    let answer = project.tidemill(&["dags", "pause", "wikimedia"]);
    check(&answer, "error: the project is not up", " up`");
}

#[test]
fn an_id_that_is_a_path_is_refused() {
    let project = Project::shipped();
    project.up().stop();
    check(&project.tidemill(&["runs", "show", "wikimedia", "../../etc"]), "../../etc", "help: ");
}

#[test]
fn a_second_daemon_of_a_project_is_refused() {
    let project = Project::shipped();
    let _daemon = project.up();
    check(&project.tidemill(&["up"]), "error: ", "help: ");
}
