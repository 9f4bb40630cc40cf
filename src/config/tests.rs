// Over 400 lines: one claim a test, all on one folder of files.

use super::*;
use crate::model::hive::Grain;
use crate::model::job::{FeedFrom, JobKind};
use crate::model::settings::LakeUrl;
use std::fs;

/// A folder with these files, loaded: the problems as they are printed, or the warnings.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = folder.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    /// What is wrong, as it is printed.
    pub fn problems(&self) -> String {
        let problems = match self.load(None, &Environment::default()) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems,
        };
        let root = fs::canonicalize(self.0.path()).unwrap();
        problems.to_string().replace(root.to_str().unwrap(), "FOLDER")
    }

    pub fn load(&self, env: Option<&str>, environment: &Environment) -> Result<Loaded, Problems> {
        load(self.0.path(), env, environment)
    }
}

#[test]
fn the_shipped_project_loads_without_a_problem() {
    let loaded = load(Path::new("."), None, &Environment::default())
        .map_err(|problems| problems.to_string());
    let loaded = loaded.unwrap();
    assert_eq!(loaded.warnings.to_string(), "");
    let project = loaded.project;
    assert_eq!(project.dags.len(), 2);
    let table = |name: &str| project.tables[&name.parse().unwrap()].partition_by.grain;
    assert_eq!(table("agg.recentchange_by_hour"), Grain::Hour);
    assert_eq!(table("agg.recentchange_by_day"), Grain::Day);
}

#[test]
fn an_empty_file_is_a_project_with_everything_of_its_own() {
    let folder = Folder::new(&[("tidemill.toml", "")]);
    let settings = folder.load(None, &Environment::default()).unwrap().project.settings;
    let home = fs::canonicalize(folder.0.path()).unwrap().join(".tidemill");
    assert_eq!(settings.home, home);
    assert_eq!(settings.lake, LakeUrl::Folder(home.join("lake")));
    assert_eq!(settings.state, home.join("state.db"));
}

#[test]
fn a_run_of_the_day_is_pinned_to_the_job_that_counts_the_hours() {
    let project = load(Path::new("."), None, &Environment::default()).unwrap().project;
    let version = project.version(&project.dags[&"wikimedia_daily".parse().unwrap()]);
    let jobs: Vec<_> = version.jobs.keys().map(ToString::to_string).collect();
    assert_eq!(jobs, ["recentchange_by_day", "recentchange_by_hour", "recentchange_land"]);
    assert_eq!(version.topics.len(), 1);
    assert_eq!(version.tables.len(), 3);
}

pub const TOPIC: (&str, &str) = (
    "topics/clicks.toml",
    r#"columns = [
  { name = "id", type = "string", required = true },
  { name = "at", from = "meta.at", type = "timestamp", required = true },
]
event_time = { column = "at" }
"#,
);
pub const LAND: (&str, &str) = (
    "jobs/land/job.toml",
    r#"kind = "stream"
from.kafka.topic = "clicks"
[to.lake]
table = "raw.clicks"
partition_by = "hour"
"#,
);
pub const LANDING: (&str, &str) = ("dags/landing.toml", "streams = { land = \"land\" }\n");
pub const QUERY: (&str, &str) =
    ("jobs/count/query.sql", "select count(*) as clicks from raw.clicks\n");
pub const COUNT: (&str, &str) = (
    "jobs/count/job.toml",
    r#"kind = "batch"
reads = ["raw.clicks"]
to.lake.table = "agg.clicks"
"#,
);
const COUNTING: (&str, &str) = (
    "dags/counting.toml",
    r#"schedule.on_close = "raw.clicks"
tasks.count.job = "count"
"#,
);

#[test]
fn every_slip_in_a_topic_is_told_at_once() {
    let topic = r#"partitions = "four"
retention = "7 parsecs"
retnetion = "7d"
format = "avro"
columns = [
  { name = "id", type = "strnig" },
  { name = "Id", type = "string" },
  { name = "hour", type = "int64" },
  { name = "both", from = "a", sql = "1", type = "int64" },
  { name = "whole", from = "meta", type = "json" },
  { name = "part", from = "meta.at", type = "timestamp" },
  { name = "gap", from = "meta..at", type = "timestamp" },
  { name = "rest", from = "*", type = "string" },
  { name = "computed", sql = "1", type = "int64", required = true },
  { name = "header", from = "$headers.trace", type = "string" },
  { name = "came", from = "$timestamp", type = "int64" },
  { name = "price" },
  "at",
]
event_time = { column = "at", idle = "advnace", max_ahed = "1m" }
[[expect]]
name = "positive"
that = "price > 0"
[[expect]]
name = "cheap"
that = "price < 10"
else = "drp"
"#;
    let folder = Folder::new(&[("tidemill.toml", ""), ("topics/clicks.toml", topic)]);
    insta::assert_snapshot!(folder.problems());
}

#[test]
fn event_time_needs_a_required_timestamp() {
    let topic = r#"columns = [{ name = "at", type = "timestamp" }, { name = "at", from = "b", type = "string" }]
event_time = { column = "att" }
"#;
    let optional = r#"columns = [{ name = "at", type = "timestamp" }]
event_time = { column = "at" }
"#;
    let folder = Folder::new(&[
        ("tidemill.toml", ""),
        ("topics/clicks.toml", topic),
        ("topics/views.toml", optional),
        ("topics/empty.toml", ""),
    ]);
    insta::assert_snapshot!(folder.problems());
}

#[test]
fn every_slip_in_a_job_is_told_at_once() {
    let folder = Folder::new(&[
        TOPIC,
        (
            "jobs/feed/job.toml",
            "kind = \"feed\"\n[from.wikimedia]\nstreams = []\n[to.kafka]\ntopc = \"clicks\"\n",
        ),
        ("jobs/kindless/job.toml", "reads = []\n"),
        (
            "jobs/land/job.toml",
            r#"kind = "stream"
instances = 2
from.kafka = { topic = "click", start = "yesterday" }
[to.lake]
table = "clicks"
partition_by = "hour"
timezone = "Europe/Madrid"
publish = "on_clse"
roll = { every = 5, size = "many" }
[to.search]
index = "clicks"
"#,
        ),
        (
            "jobs/count/job.toml",
            r#"kind = "batch"
reads = ["raw.clicks", "raw.clicks"]
[to.warehouse]
cluster_by = ["a", "b", "c", "d", "e"]
[[expect]]
name = "some"
that = "clicks > 0"
else = "quarantine"
"#,
        ),
        ("jobs/empty/README", ""),
        ("jobs/Upper/job.toml", ""),
    ]);
    insta::assert_snapshot!(folder.problems());
}

#[test]
fn every_slip_in_a_dag_is_told_at_once() {
    let dag = r#"ower = "me"
streams = { land = "lnad", other = "count" }
params = { base = "EUR" }
[schedule]
on_close = "raw.click"
grain = "1m"
on_late = "maybe"
max_active_runs = 0
[defaults]
retries = -1
[tasks.by_hour]
job = "count"
after = ["by_huor"]
pool = "small"
[tasks.land]
job = "land"
trigger_rule = "one_failed"
[tasks.fetch]
exec = ["./fetch", "{data_interval_strat}", "{tasks.by_hour.output.file}"]
env = { TIDEMILL_X = "1", API_TOKEN = "s3cr3t", KEY = { env = "A", file = "b" } }
[tasks.nothing]
[tasks.two]
exec = []
test = "select 1"
[tasks.other]
job = "count"
"#;
    let folder = Folder::new(&[TOPIC, LAND, COUNT, QUERY, ("dags/all.toml", dag)]);
    insta::assert_snapshot!(folder.problems());
}

#[test]
fn tasks_that_wait_for_each_other_are_named() {
    let dag = r#"[tasks.a]
exec = ["true"]
after = ["c"]
[tasks.b]
exec = ["true", "{tasks.d.output.x}", "{tasks.e.output.x}"]
after = ["a"]
[tasks.c]
exec = ["true"]
after = ["b"]
"#;
    let other = r#"[tasks.a]
exec = ["true", "{tasks.b.output.x}", "{tasks.t.output.x}", "{tasks.f.output.x}", "{tasks.z.output.x}"]
after = ["t", "f"]
[tasks.b]
exec = ["true"]
[tasks.t]
test = "select 1"
[tasks.f]
exec = ["true"]
"#;
    let folder = Folder::new(&[("dags/circle.toml", dag), ("dags/outputs.toml", other)]);
    insta::assert_snapshot!(folder.problems());
}

#[test]
fn a_table_has_one_writer_and_a_topic_one_feed() {
    let feed = r#"kind = "feed"
from.simulate = { model = "recentchange", from = "2026-11-20" }
to.kafka.topic = "clicks"
"#;
    let load = "kind = \"batch\"\nreads = [\"raw.clicks\"]\nto.warehouse.table = \"agg.clicks\"\n";
    let folder = Folder::new(&[
        TOPIC,
        LAND,
        ("jobs/land_again/job.toml", LAND.1),
        ("jobs/feed_a/job.toml", feed),
        ("jobs/feed_b/job.toml", feed),
        ("dags/one.toml", "streams = { land = \"land\", a = \"feed_a\", b = \"feed_b\" }\n"),
        ("dags/two.toml", "streams = { land = \"land\", again = \"land_again\" }\n"),
        ("jobs/load_a/job.toml", load),
        ("jobs/load_a/query.sql", "select 1 as one"),
        ("jobs/load_b/job.toml", load),
        ("jobs/load_b/query.sql", "select 1 as one"),
        (
            "dags/loads.toml",
            "schedule.on_close = \"raw.clicks\"\n[tasks]\na.job = \"load_a\"\nb.job = \"load_b\"\n",
        ),
        ("dags/idle.toml", "schedule.on_close = \"raw.clicks\"\n"),
    ]);
    insta::assert_snapshot!(folder.problems());
}

#[test]
fn a_batch_has_one_schedule_and_its_grain() {
    let daily =
        "schedule = { on_close = \"raw.clicks\", grain = \"day\" }\ntasks.count.job = \"count\"\n";
    let finer =
        "schedule = { on_close = \"agg.days\", grain = \"hour\" }\ntasks.x.exec = [\"true\"]\n";
    let days = "kind = \"batch\"\nreads = [\"raw.clicks\"]\nto.lake.table = \"agg.days\"\n";
    let by_day =
        "schedule = { on_close = \"raw.clicks\", grain = \"day\" }\ntasks.days.job = \"days\"\n";
    let folder = Folder::new(&[
        TOPIC,
        LAND,
        LANDING,
        COUNT,
        QUERY,
        COUNTING,
        ("jobs/days/job.toml", days),
        ("jobs/days/query.sql", "select 1 as one"),
        ("dags/by_day.toml", by_day),
        ("dags/daily.toml", daily),
        ("dags/finer.toml", finer),
    ]);
    insta::assert_snapshot!(folder.problems());
}

#[test]
fn a_batch_reads_no_table_whose_partitions_reach_beyond_its_own() {
    let days = "kind = \"batch\"\nreads = [\"raw.clicks\"]\nto.lake.table = \"agg.days\"\n";
    let by_day =
        "schedule = { on_close = \"raw.clicks\", grain = \"day\" }\ntasks.days.job = \"days\"\n";
    let abroad = r#"kind = "stream"
from.kafka.topic = "clicks"
to.lake = { table = "raw.abroad", partition_by = "day", timezone = "Europe/Madrid" }
"#;
    let both = |reads: &str, to: &str| {
        format!("kind = \"batch\"\nreads = {reads}\nto.lake.table = \"{to}\"\n")
    };
    let hourly = both("[\"raw.clicks\", \"agg.days\"]", "agg.share");
    let daily = both("[\"agg.days\", \"raw.clicks\", \"raw.abroad\"]", "agg.most");
    let folder = Folder::new(&[
        TOPIC,
        LAND,
        LANDING,
        ("jobs/days/job.toml", days),
        ("jobs/days/query.sql", "select 1 as one"),
        ("dags/by_day.toml", by_day),
        ("jobs/abroad/job.toml", abroad),
        ("dags/abroad.toml", "streams.land = \"abroad\"\n"),
        ("jobs/hourly/job.toml", &hourly),
        ("jobs/hourly/query.sql", "select 1 as one"),
        ("dags/hourly.toml", "schedule.on_close = \"raw.clicks\"\ntasks.hourly.job = \"hourly\"\n"),
        ("jobs/daily/job.toml", &daily),
        ("jobs/daily/query.sql", "select 1 as one"),
        ("dags/daily.toml", "schedule.on_close = \"agg.days\"\ntasks.daily.job = \"daily\"\n"),
    ]);
    insta::assert_snapshot!(folder.problems());
}

#[test]
fn a_run_does_not_read_what_it_writes() {
    let sum =
        "kind = \"batch\"\nreads = [\"raw.clicks\", \"agg.clicks\"]\nto.lake.table = \"agg.sum\"\n";
    let folder = Folder::new(&[
        TOPIC,
        LAND,
        LANDING,
        COUNT,
        QUERY,
        ("jobs/sum/job.toml", sum),
        ("jobs/sum/query.sql", "select 1 as one"),
        (
            "dags/both.toml",
            "schedule.on_close = \"raw.clicks\"\ntasks.count.job = \"count\"\ntasks.sum = { job = \"sum\", after = [\"count\"] }\n",
        ),
    ]);
    insta::assert_snapshot!(folder.problems());
}

#[test]
fn tables_that_are_made_from_each_other_are_named() {
    let job = |read: &str, write: &str| {
        format!("kind = \"batch\"\nreads = [\"{read}\"]\nto.lake.table = \"{write}\"\n")
    };
    let folder = Folder::new(&[
        ("jobs/a/job.toml", &job("agg.b", "agg.a")),
        ("jobs/a/query.sql", "select 1 as one"),
        ("jobs/b/job.toml", &job("agg.a", "agg.b")),
        ("jobs/b/query.sql", "select 1 as one"),
        ("dags/a.toml", "schedule.on_close = \"agg.b\"\ntasks.a.job = \"a\"\n"),
        ("dags/b.toml", "schedule.on_close = \"agg.a\"\ntasks.b.job = \"b\"\n"),
    ]);
    insta::assert_snapshot!(folder.problems());
}

#[test]
fn every_slip_in_the_settings_is_told_at_once() {
    let settings = r#"format = 2
project = "My Wiki"
lakes = {}
[state]
url = "postgres://db/tidemill"
password = "hunter2"
[kafka]
brokers = "b1.internal,b2:x"
[kafka.properties]
"sasl.username" = "tidemill"
"sasl.password" = "hunter2"
"group.id" = "mine"
[lake]
url = "gs://Acme/"
endpoint = "127.0.0.1:9023"
credentials = "hunter2"
[warehouse]
kind = "bigquery"
location = "EU"
[limits]
parallelism = 0
batch_memory = 1024
[feeds]
land = { simulate = { model = "recentchange", from = "soon" } }
collcet = { replay = { file = "a.jsonl", speed = 0 } }
"#;
    let folder = Folder::new(&[TOPIC, LAND, LANDING, ("tidemill.toml", settings)]);
    let problems = folder.problems();
    assert!(!problems.contains("hunter2"), "a secret is printed:\n{problems}");
    insta::assert_snapshot!(problems);
}

#[test]
fn a_text_that_is_not_toml_is_told_with_the_rest() {
    let folder = Folder::new(&[
        ("tidemill.toml", "project = wiki\nlimits = { parallelism = 2 }\nporject = \"x\"\n"),
        ("dags/broken.toml", "[tasks.a\nexec = [\"true\"]\n"),
    ]);
    insta::assert_snapshot!(folder.problems());
}

#[test]
fn a_folder_without_a_project_is_told_apart_from_an_empty_one() {
    insta::assert_snapshot!(Folder::new(&[]).problems());
    assert_eq!(Folder::new(&[("dags/x.toml", "tasks.a.exec = [\"true\"]")]).problems(), "");
}

#[test]
fn an_environment_is_laid_over_key_by_key() {
    let folder = Folder::new(&[
        ("tidemill.toml", "project = \"wiki\"\nlimits = { parallelism = 3, keep_runs = \"1d\" }\n"),
        ("tidemill.gcp.toml", "[limits]\nparallelism = 7\n"),
    ]);
    let settings = folder.load(Some("gcp"), &Environment::default()).unwrap().project.settings;
    assert_eq!((settings.project.as_str(), settings.env.as_str()), ("wiki", "gcp"));
    assert_eq!((settings.limits.parallelism, settings.limits.keep_runs.as_secs()), (7, 86_400));
    assert!(settings.home.ends_with(".tidemill/gcp"));
    let chosen = Environment::from([("TIDEMILL_ENV", "gcp")]);
    assert_eq!(folder.load(None, &chosen).unwrap().project.settings, settings);
}

#[test]
fn a_problem_points_into_the_file_that_says_it() {
    let folder = Folder::new(&[
        ("tidemill.toml", "[kafka]\nbrokers = \"embedded\"\n"),
        ("tidemill.gcp.toml", "# other brokers\n[kafka]\nbrokers = \"b1\"\n"),
    ]);
    let problems = folder.load(Some("gcp"), &Environment::default()).unwrap_err();
    insta::assert_snapshot!(problems);
    let problems = folder.load(Some("gpc"), &Environment::default()).unwrap_err();
    insta::assert_snapshot!(problems);
}

#[test]
fn the_environment_sets_single_settings() {
    let folder = Folder::new(&[("tidemill.toml", "[kafka]\nbrokers = \"embedded\"\n")]);
    let environment = Environment::from([
        ("TIDEMILL_CONFIG__KAFKA__BROKERS", "b1:9092,b2:9092"),
        ("TIDEMILL_CONFIG__KAFKA__PROPERTIES__SASL_USERNAME", "me"),
        ("TIDEMILL_CONFIG__KAFKA__PROPERTIES__SASL_PASSWORD", "hunter2"),
        ("TIDEMILL_CONFIG__LIMITS__PARALLELISM", "5"),
        ("TIDEMILL_RUN_ID", "not a setting"),
    ]);
    let settings = folder.load(None, &environment).unwrap().project.settings;
    assert_eq!(settings.limits.parallelism, 5);
    let shown = format!("{:?}", settings.kafka);
    assert!(shown.contains("b1:9092,b2:9092") && shown.contains(r#""sasl.username": Text("me")"#));
    assert!(!shown.contains("hunter2"), "{shown}");
    let wrong = Environment::from([("TIDEMILL_CONFIG__LIMITS__PARALELISM", "5")]);
    insta::assert_snapshot!(folder.load(None, &wrong).unwrap_err());
}

#[test]
fn an_environment_gives_a_feed_another_source() {
    let folder = Folder::new(&[
        TOPIC,
        ("tidemill.toml", ""),
        (
            "tidemill.day.toml",
            "[feeds]\ncollect = { replay = { file = \"day.jsonl.gz\", speed = 60 } }\n",
        ),
        (
            "jobs/collect/job.toml",
            "kind = \"feed\"\nfrom.simulate = { model = \"recentchange\", from = \"2026-11-20\" }\nto.kafka.topic = \"clicks\"\n",
        ),
        ("dags/one.toml", "streams = { collect = \"collect\" }\n"),
    ]);
    let source = |env| {
        let project = folder.load(env, &Environment::default()).unwrap().project;
        let JobKind::Feed(feed) = &project.jobs[&"collect".parse().unwrap()].kind else { panic!() };
        matches!(feed.from, FeedFrom::Replay(_))
    };
    assert!(!source(None));
    assert!(source(Some("day")));
}
