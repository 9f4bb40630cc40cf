//! Golden files: `tidemill jobs test` runs a job's query on rows of a file, as a user would.

use crate::project::{Answer, Project};
use serde_json::Value;
use std::fs;

const JOB: &str = "recentchange_by_hour";

fn file(name: &str) -> String {
    format!("jobs/{JOB}/golden/{name}")
}

fn test(project: &Project, more: &[&str]) -> Answer {
    project.tidemill(&[&["jobs", "test"], more].concat())
}

#[test]
fn every_sql_job_that_is_shipped_returns_its_golden_rows() {
    let answer = test(&Project::shipped(), &["-o", "json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let tested: Vec<Value> = serde_json::from_str(&answer.out).unwrap();
    let passed: Vec<&str> = tested
        .iter()
        .filter(|one| one["status"] == "passed" && one["rows"].as_u64() > Some(0))
        .filter_map(|one| one["job"].as_str())
        .collect();
    assert_eq!(passed, ["recentchange_by_day", "recentchange_by_hour"]);
}

#[test]
fn a_row_that_changed_is_shown_on_both_sides() {
    let project = Project::shipped();
    let expected = fs::read_to_string(project.path(&file("expected.csv"))).unwrap();
    let row = expected.lines().nth(1).unwrap();
    let wrong = format!("x{row}");
    project.write(&file("expected.csv"), &expected.replace(row, &wrong));
    let answer = test(&project, &[JOB]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.out.contains("1 row missing (-), 1 row not expected (+)"), "{}", answer.out);
    assert!(answer.out.contains(&format!("  - {wrong}\n  + {row}\n")), "{}", answer.out);
}

#[test]
fn update_writes_what_the_query_returns_and_then_it_passes() {
    let project = Project::shipped();
    let expected = fs::read_to_string(project.path(&file("expected.csv"))).unwrap();
    fs::remove_file(project.path(&file("expected.csv"))).unwrap();
    let before = test(&project, &[JOB]);
    assert!(before.out.contains("there is no") && before.code == Some(1), "{before:?}");
    assert_eq!(test(&project, &[JOB, "--update"]).code, Some(0));
    assert_eq!(fs::read_to_string(project.path(&file("expected.csv"))).unwrap(), expected);
    assert_eq!(test(&project, &[JOB]).code, Some(0));
}

#[test]
fn an_input_row_that_does_not_fit_is_named_by_its_line() {
    let project = Project::shipped();
    let input = file("input.raw.recentchange.jsonl");
    let rows = fs::read_to_string(project.path(&input)).unwrap();
    let line = rows.lines().count() + 1;
    project.write(&input, &format!("{rows}{{\"length_new\": \"many\"}}\n"));
    let answer = test(&project, &[JOB]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.out.contains(&format!("line {line}")), "{}", answer.out);
}

#[test]
fn a_column_that_the_table_does_not_have_is_refused() {
    let project = Project::shipped();
    project.write(&file("input.raw.recentchange.jsonl"), "{\"wikki\": \"enwiki\"}\n");
    let answer = test(&project, &[JOB]);
    assert!(answer.code == Some(1) && answer.out.contains("wikki"), "{answer:?}");
}

#[test]
fn each_folder_is_a_case_with_a_hive_partition_of_its_own() {
    let project = Project::shipped();
    let sql = "select count(*) as x, $partition_key as key, '' as empty, cast(null as varchar) as nothing,
      'a,b' as text from raw.recentchange";
    project.write(&format!("jobs/{JOB}/query.sql"), sql);
    fs::remove_dir_all(project.path(&format!("jobs/{JOB}/golden"))).unwrap();
    for (case, key) in [("noon", "2026-11-20T12"), ("night", "2026-11-21T00")] {
        project.write(&file(&format!("{case}/input.raw.recentchange.jsonl")), "");
        project.write(
            &file(&format!("{case}/expected.csv")),
            &format!("x,key,empty,nothing,text\n0,{key},\"\",,\"a,b\"\n"),
        );
        let run = format!("partition_key = \"{key}\"\n");
        project.write(&file(&format!("{case}/run.toml")), &run);
    }
    let answer = test(&project, &[JOB]);
    let passed = format!("passed   {JOB}/night: 1 row\npassed   {JOB}/noon: 1 row\n");
    assert_eq!((answer.code, answer.out.as_str()), (Some(0), passed.as_str()), "{}", answer.err);
}

#[test]
fn a_broken_expectation_fails_the_case() {
    let project = Project::shipped();
    let job = fs::read_to_string(project.path(&format!("jobs/{JOB}/job.toml"))).unwrap();
    let expect = "\n[[expect]]\nname = \"few\"\nthat = \"changes < 0\"\n";
    project.write(&format!("jobs/{JOB}/job.toml"), &(job + expect));
    let answer = test(&project, &[JOB]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.out.contains("expectation \"few\" broken by"), "{}", answer.out);
}

#[test]
fn a_job_without_golden_files_is_told_what_to_write() {
    let project = Project::shipped();
    fs::remove_dir_all(project.path(&format!("jobs/{JOB}/golden"))).unwrap();
    let answer = test(&project, &[JOB]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains(&file("input.<table>.jsonl")), "{}", answer.err);
}
