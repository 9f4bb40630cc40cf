//! What does not go on is told, and by the thing that it concerns.

use super::bed::{Bed, at, hours, key, raw, times};
use crate::cli::{partitions, status};
use crate::error::{Error, ErrorKind};
use crate::model::commit::Counts;
use crate::model::problem::{About, Problem};
use crate::model::run::RunState;
use crate::model::stream::StreamProgress;
use crate::terminal::context::block_on;
use crate::view;
use crate::view::needs::Need;
use crate::view::partitions::PartitionState;

fn with(look: impl AsyncFnOnce(&mut Bed)) {
    with_files(&[], look);
}

fn with_files(files: &[(&str, &str)], look: impl AsyncFnOnce(&mut Bed)) {
    block_on(async {
        look(&mut Bed::with(files).await).await;
        Ok(())
    })
    .unwrap();
}

/// What `status` says needs a person, without the run that failed from the beginning.
async fn needs(bed: &Bed) -> Vec<String> {
    let status = view::status::status(&bed.store, &bed.project.settings, None).await.unwrap();
    let screen = status::screen(&status, &bed.context, &times());
    let told = screen.split_once("you:\n").unwrap().1.lines().map(|line| line.trim().to_owned());
    told.filter(|line| !line.contains("2026-11-20T18-r1 failed")).collect()
}

async fn heartbeat(bed: &Bed, stream: &str, progress: &StreamProgress) {
    let epoch = bed.store.stream(stream).await.unwrap().unwrap().epoch;
    let now = at("2026-11-21T09:14:00Z");
    assert!(bed.store.heartbeat(stream, epoch, progress, now).await.unwrap());
}

async fn state_of(bed: &Bed, hour: &str) -> PartitionState {
    let table = partitions::find(&bed.context, &bed.store, "raw.changes").await.unwrap();
    view::partitions::list(&bed.store, &table).await.unwrap().partitions[&key(hour)].state
}

#[test]
fn an_hour_is_not_shown_as_done_while_its_run_is_queued() {
    with(async |bed| {
        bed.close(key("2026-11-21T08"), 1).await;
        assert_eq!(state_of(bed, "2026-11-21T08").await, PartitionState::Closed);
        bed.add(key("2026-11-21T08"), 1, RunState::Queued).await;
        assert_eq!(state_of(bed, "2026-11-21T08").await, PartitionState::Unfinished);
    });
}

#[test]
fn a_hundred_held_runs_of_a_dag_are_one_line() {
    with(async |bed| {
        for day in ["2026-10-01", "2026-10-02", "2026-10-03", "2026-10-04"] {
            for hour in hours(day, 0..24) {
                bed.add(hour, 1, RunState::Held).await;
            }
        }
        let line = |runs| {
            format!("wikimedia: {runs} runs are held    tidemill runs list wikimedia --state held")
        };
        assert_eq!(needs(bed).await, [line("96")]);
        for hour in hours("2026-10-05", 0..24) {
            bed.add(hour, 1, RunState::Held).await;
        }
        assert_eq!(needs(bed).await, [line("100 or more")]);
    });
}

#[test]
fn an_edit_that_is_refused_needs_a_person() {
    with(async |bed| {
        let problem = |line, text: &str| Problem {
            about: About::Files { file: Some("dags/a.toml".into()), line, column: Some(1) },
            text: text.into(),
            remedy: None,
            since: times().now,
        };
        let found = [problem(Some(3), "no job is named `x`"), problem(Some(9), "no key `y`")];
        bed.store.refuse_files(&found).await.unwrap();
        let line = "the edited files are refused, 2 problems: dags/a.toml:3:1: no job is named `x`    \
                    tidemill check";
        assert_eq!(needs(bed).await, [line]);
    });
}

#[test]
fn a_table_that_does_not_close_needs_a_person_and_its_partition_tells_why() {
    with(async |bed| {
        for hour in ["2026-11-21T08", "2026-11-21T09"] {
            let problem = Problem {
                about: About::Closing { table: raw(), key: key(hour) },
                text: "a stray object\nhas its name".into(),
                remedy: Some("remove it".into()),
                since: at("2026-11-21T09:00:00Z"),
            };
            bed.store.note_problem(&problem).await.unwrap();
        }
        let line = "raw.changes 2026-11-21T08 and 1 more cannot close: a stray object    \
                    tidemill partitions show raw.changes 2026-11-21T08";
        assert_eq!(needs(bed).await, [line]);
        let table = partitions::find(&bed.context, &bed.store, "raw.changes").await.unwrap();
        let shown = view::partitions::show(&bed.store, &table, key("2026-11-21T08")).await.unwrap();
        let screen = partitions::show_screen(&shown, &bed.context, &times());
        assert!(screen.contains("stuck     since 09:00:00Z: a stray object\n"), "{screen}");
        assert!(screen.contains("help: remove it\n"), "{screen}");
    });
}

#[test]
fn a_stream_that_quarantines_everything_needs_a_person() {
    with(async |bed| {
        let counts = Counts { read: 500, quarantined: 500, ..Counts::default() };
        heartbeat(bed, "wikimedia.land", &StreamProgress { counts, ..<_>::default() }).await;
        let line = "wikimedia.land lands nothing: all 500 messages quarantined    \
                    tidemill streams show wikimedia.land";
        assert_eq!(needs(bed).await, [line]);
    });
}

#[test]
fn a_feed_of_another_topic_holds_nothing_up() {
    let files = [
        (
            "topics/other.toml",
            "columns = [{ name = \"at\", type = \"timestamp\", required = true }]\n\
             [event_time]\ncolumn = \"at\"\n",
        ),
        (
            "jobs/poll/job.toml",
            "kind = \"feed\"\n[from.exec]\ncommand = [\"true\"]\nevery = \"1m\"\n[to.kafka]\ntopic = \"other\"\n",
        ),
        ("dags/other.toml", "[streams]\npoll = \"poll\"\n"),
    ];
    with_files(&files, async |bed| {
        let note = || StreamProgress { note: Some("HTTP 429".into()), ..<_>::default() };
        bed.store.launch_stream("other.poll", times().now).await.unwrap().unwrap();
        heartbeat(bed, "other.poll", &note()).await;
        heartbeat(bed, "wikimedia.collect", &note()).await;
        let table = partitions::find(&bed.context, &bed.store, "raw.changes").await.unwrap();
        let shown = view::partitions::show(&bed.store, &table, key("2026-11-21T08")).await.unwrap();
        let streams: Vec<_> = shown.held_by.iter().map(|its| its.stream.as_str()).collect();
        assert_eq!(streams, ["wikimedia.collect"]);
    });
}

#[test]
fn a_remedy_from_deeper_down_is_a_line_that_works_here() {
    with(async |bed| {
        let mut context = bed.context.clone();
        (context.dir, context.env) = ("shop".into(), Some("gcp".into()));
        let error = Error::new(ErrorKind::Input, "x")
            .remedy("`tidemill check` tells; or end it: tidemill runs mark a b failed");
        let told = super::super::with_our_commands(&context, error).remedy.unwrap();
        let expected = "`tidemill -C shop --env gcp check` tells; \
                        or end it: tidemill -C shop --env gcp runs mark a b failed";
        assert_eq!(told, expected);
    });
}

#[test]
fn needs_are_facts_without_words() {
    with(async |bed| {
        let status = view::status::status(&bed.store, &bed.project.settings, None).await.unwrap();
        let [Need::Runs { dag, state: RunState::Failed, runs: 1, run: Some(run), .. }] =
            &status.needs_you[..]
        else {
            panic!("{:?}", status.needs_you)
        };
        assert_eq!((dag.as_str(), run.as_str()), ("wikimedia", "close-2026-11-20T18-r1-k3f9"));
    });
}
