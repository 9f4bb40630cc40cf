use super::*;
use crate::model::schema::Schema;
use std::fs;
use std::time::Duration;

/// The shipped project in a folder of its own, with one text in one file replaced.
fn shipped(changes: &[(&str, &str, &str)]) -> (tempfile::TempDir, Report) {
    let folder = tempfile::tempdir().unwrap();
    for part in ["tidemill.toml", "topics", "jobs", "dags"] {
        copy(Path::new(part), &folder.path().join(part));
    }
    for (file, from, to) in changes {
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }
    let report = run(folder.path(), None, &Environment::default());
    (folder, report)
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

#[test]
fn the_shipped_project_has_no_problem() {
    let (_folder, report) = shipped(&[]);
    assert_eq!(report.problems.to_string(), "");
    let summary = report.summary(Duration::from_millis(38));
    assert_eq!(summary, "2 DAGs, 4 jobs, 1 topic in 38 ms: no problems");
}

#[test]
fn problems_of_names_and_of_sql_are_told_together() {
    let (_folder, report) = shipped(&[
        ("dags/wikimedia.toml", "\"by_hour\"", "\"by_huor\""),
        ("dags/wikimedia.toml", "changes <= 0", "chnages <= 0"),
        ("jobs/recentchange_by_hour/query.sql", "greatest(length_new", "greatest(lenght_new"),
        ("topics/wikimedia.recentchange.toml", "abs(length_new", "abs(length_nwe"),
        ("topics/wikimedia.recentchange.toml", "meta_domain <>", "meta_domian <>"),
    ]);
    insta::assert_snapshot!(format!("{}\n{}", report.problems, report.summary(Duration::ZERO)));
}

#[test]
fn a_timezone_that_is_wrong_hides_no_column_that_is_wrong_and_neither_do_settings() {
    let slips = [
        ("jobs/recentchange_land/job.toml", "table        =", "timezone = \"Madrid\"\ntable ="),
        ("jobs/recentchange_by_hour/query.sql", "greatest(length_new", "greatest(lenght_new"),
        ("tidemill.toml", "project =", "limits = { parallelism = 0 }\nproject ="),
    ];
    let (_folder, report) = shipped(&slips);
    let told = report.problems.to_string();
    for slip in ["UTC", "lenght_new", "parallelism"] {
        assert!(told.contains(slip), "{slip}: {told}");
    }
    assert_eq!(report.problems.errors(), 3, "{told}");
}

#[test]
fn what_depends_on_a_broken_query_is_not_a_problem_of_its_own() {
    let by_hour = "jobs/recentchange_by_hour/query.sql";
    let (_folder, report) = shipped(&[(by_hour, "group by", "grup by")]);
    insta::assert_snapshot!(report.problems);
}

#[test]
fn a_table_that_is_missing_for_a_broken_file_is_not_a_problem_of_its_own() {
    let land = "jobs/recentchange_land/job.toml";
    let (_folder, report) = shipped(&[(land, "kind = \"stream\"", "kind = \"strem\"")]);
    let problems = report.problems.to_string();
    assert!(problems.contains(land) && !problems.contains("no table is named"), "{problems}");
}

#[test]
fn a_query_that_returns_the_start_column_is_refused() {
    let by_day = "jobs/recentchange_by_day/query.sql";
    let (_folder, report) =
        shipped(&[(by_day, "select hours.wiki", "select 1 as day_start, hours.wiki")]);
    insta::assert_snapshot!(report.problems);
}

#[test]
fn a_cluster_is_by_columns_that_the_query_returns() {
    let job = "jobs/recentchange_by_day/job.toml";
    let (_folder, report) = shipped(&[(
        job,
        "[\"wiki\"]",
        "[\"wikis\"]\n[[expect]]\nname = \"some\"\nthat = \"change > 0\"",
    )]);
    insta::assert_snapshot!(report.problems);
}

#[test]
fn the_facts_are_those_of_the_text() {
    let (_folder, report) = shipped(&[("dags/wikimedia.toml", "owner =", "ower =")]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&report.facts()).unwrap());
}

#[test]
fn columns_of_files_that_exist_can_not_move() {
    let topic = "topics/wikimedia.recentchange.toml";
    assert!(beside_what_was_shipped(&[]).is_sound());
    let gone = ("{ name = \"namespace\",       type = \"int64\" },", "");
    let moved = ("columns = [", "columns = [{ name = \"first\", type = \"string\" },");
    let other = ("\"minor\",           type = \"bool\"", "\"minor\", type = \"string\"");
    for (from, to) in [gone, moved, other] {
        let report = beside_what_was_shipped(&[(topic, from, to)]);
        insta::assert_snapshot!(report.problems);
    }
}

#[test]
fn a_table_that_has_files_can_not_be_cut_otherwise() {
    let job = "jobs/recentchange_land/job.toml";
    let by_day = (job, "partition_by = \"hour\"", "partition_by = \"day\"");
    insta::assert_snapshot!(beside_what_was_shipped(&[by_day]).problems);
}

/// The shipped project with changes, beside files of `raw.recentchange` that it wrote before.
fn beside_what_was_shipped(changes: &[(&str, &str, &str)]) -> Report {
    let table = "raw.recentchange".parse().unwrap();
    let schema = |report: &Report| {
        let project = report.project.as_ref().unwrap();
        let topic = &project.topics[&"wikimedia.recentchange".parse().unwrap()];
        Schema::of(&project.tables[&table].partition_by, topic)
    };
    let (_before, shipped_report) = shipped(&[]);
    let (_after, mut report) = shipped(changes);
    let wanted = schema(&report);
    report.compare(&table, &schema(&shipped_report), &wanted);
    report
}

#[test]
fn a_problem_of_sql_without_a_place_points_at_what_it_names_or_at_the_statement() {
    let by_hour = "jobs/recentchange_by_hour/query.sql";
    let (_folder, report) =
        shipped(&[(by_hour, "select ", "-- Counts.\n\nselect 1 as Hour_Start, ")]);
    insta::assert_snapshot!(report.problems);
    let (_folder, report) = shipped(&[(by_hour, "select ", "-- Counts.\n\nselect 1 + 'x', ")]);
    insta::assert_snapshot!(report.problems);
}

#[test]
fn a_replay_of_a_file_that_is_not_there_is_told_where_it_is_named() {
    let job = "jobs/recentchange_collect/job.toml";
    let (folder, _) = shipped(&[]);
    let replay = r#"kind = "feed"
from.replay.file = "events.jsonl"
to.kafka.topic = "wikimedia.recentchange"
"#;
    fs::write(folder.path().join(job), replay).unwrap();
    let report = || run(folder.path(), None, &Environment::default());
    insta::assert_snapshot!(report().problems);
    fs::write(folder.path().join("events.jsonl"), "").unwrap();
    assert_eq!(report().problems.to_string(), "");
}
