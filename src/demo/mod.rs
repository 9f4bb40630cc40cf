//! `tidemill demo`: the whole chain on one machine, broken on purpose, in about a minute.
//!
//! It starts an ordinary `up` on a project of its own and looks on from outside. What it shows at the
//! end is counted from the files that are left.

mod draw;
mod live;
mod place;
mod project;
mod script;
mod stage;
mod verdict;
mod watch;

use crate::error::{Doing, Error, ErrorKind};
use crate::feed;
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::project::Project;
use crate::model::time::Micros;
use crate::store::Store;
use crate::terminal::context::{Context, block_on};
use crate::terminal::print;
use crate::terminal::print::Output;
use clap::Args;
use draw::Drawing;
use place::Place;
use project::{Input, LATE_ROWS};
use script::{Act, Script};
use stage::Stage;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use watch::Facts;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Nothing in the demo takes so long; after this it is stuck.
const STILL_MAX: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The demo's folder; new, empty or an earlier demo's [default: tidemill-demo]
    #[arg(long = "dir", id = "demo_dir", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Replays a file of recentchange events (JSON lines, plain or gzip) instead of a simulated day
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Takes Wikimedia's recent changes as they happen, for a minute
    #[arg(long, requires = "contact", conflicts_with = "input")]
    live: bool,
    /// Whom Wikimedia may write to about the requests: its policy asks for an address
    #[arg(long, value_name = "ADDRESS", requires = "live")]
    contact: Option<String>,
    /// Another server than Wikimedia's
    #[arg(long, value_name = "URL", requires = "live", hide = true)]
    url: Option<String>,
}

pub fn run(context: &Context, args: DemoArgs) -> Result<ExitCode, Error> {
    let here = context.dir.as_os_str() == ".";
    let default = PathBuf::from("tidemill-demo");
    let dir = args.dir.unwrap_or(if here { default } else { context.dir.join(default) });
    let place = Place::of(context.env.as_deref())?;
    if let (true, Some(contact)) = (args.live, args.contact) {
        return live::run(context, &dir, &place, contact, args.url);
    }
    let (project, script) = set_up(context, &dir, &place, args.input.as_deref())?;
    place.answers(&project)?;
    let what = if args.input.is_some() { "a file of" } else { "a day of simulated" };
    let on = place.env().map_or(String::new(), |env| format!(" on the {env}"));
    let intro = draw::wrapped(
        &format!(
            "Tidemill {}: {what} Wikimedia changes, in {}{on}. Nothing leaves this machine; Ctrl-C stops it all.",
            env!("CARGO_PKG_VERSION"),
            shown(&dir)
        ),
        "",
    );
    match context.output {
        Output::Table => print::text(&format!("{intro}\n"))?,
        Output::Json => print::note(&intro),
    }
    block_on(async {
        let mut stage = Stage::open(context, &dir, &place, &project)?;
        let played = tokio::select! {
            played = play(context, &project, script, &mut stage) => played.map(Some),
            () = stopped() => Ok(None),
        };
        match played {
            Ok(Some(store)) => {
                stage.close(context).await?;
                conclude(context, &dir, &place, &project, &store).await
            }
            Ok(None) => {
                stage.clear(context).await?;
                print::note("stopped; nothing of it runs any more");
                Ok(ExitCode::from(130)) // What a shell expects after Ctrl-C.
            }
            Err(error) => {
                let log = stage.log.clone();
                stage.clear(context).await?;
                print::note(&tail(&log));
                Err(error)
            }
        }
    })
}

/// Writes the project, and says which hours will close.
fn set_up(
    context: &Context,
    dir: &Path,
    place: &Place,
    input: Option<&Path>,
) -> Result<(Project, Script), Error> {
    let write = |input: &Input| {
        project::prepare(dir, input, place)?;
        place.load(dir, &context.environment)
    };
    let Some(file) = input else {
        let yesterday = context.now().minus(Duration::from_hours(24));
        let day = PartitionBy::utc(Grain::Day);
        let midnight = day.range(&day.key_of(yesterday)).0;
        let hours = hours(midnight, midnight.plus(Duration::from_secs(86_399)));
        let late = Some((LATE_ROWS, hours[9..=10].to_vec()));
        let project = write(&Input::Simulated(midnight))?;
        return Ok((project, Script::new(hours, late)));
    };
    let file = std::fs::canonicalize(file)
        .map_err(|err| Error::new(ErrorKind::Input, err))
        .doing(|| format!("open {}", file.display()))?;
    // The topic's file says where in an event its date is.
    let project = write(&Input::File(file.clone(), None))?;
    let topic = project.topics.values().next();
    let Some(span) = topic.map_or(Ok(None), |topic| feed::span(&file, topic, &context.clock))?
    else {
        let nothing = format!("no line of {} is an event with a date", file.display());
        return Err(Error::new(ErrorKind::Input, nothing)
            .remedy("name a file of recentchange events, a JSON object a line, with meta.dt"));
    };
    let project = write(&Input::File(file, Some(span)))?;
    Ok((project, Script::new(hours(span.0, span.1), None)))
}

/// Every hour from that of `first` to that of `last`.
fn hours(first: Micros, last: Micros) -> Vec<PartitionKey> {
    let by = PartitionBy::utc(Grain::Hour);
    let last = by.key_of(last);
    std::iter::successors(Some(by.key_of(first)), |key| Some(key.next()))
        .take_while(|key| *key <= last)
        .collect()
}

/// Looks on, draws, and does what the script says, until all has happened.
async fn play(
    context: &Context,
    project: &Project,
    mut script: Script,
    stage: &mut Stage,
) -> Result<Store, Error> {
    let began = context.now();
    let mut drawing = Drawing::new(began);
    let mut store = None;
    let mut before = (began, Facts::default());
    loop {
        let now = context.now();
        find_store(project, stage, &mut store, &mut drawing).await?;
        if let Some(store) = &store {
            let facts = watch::look(project, store).await?;
            follow(project, &mut script, &facts, &mut drawing, now)?;
            if script.is_over(&facts) {
                drawing.clear();
                drawing.say("done", now);
                return Ok(store.clone());
            }
            if facts != before.1 {
                before = (now, facts);
            }
        }
        if let Some(error) = stuck(context, &before, now) {
            drawing.clear();
            return Err(error);
        }
        context.clock.sleep(LOOK_EVERY).await;
    }
}

/// Opens the store once its `up` has made it; an error if that has ended.
async fn find_store(
    project: &Project,
    stage: &mut Stage,
    store: &mut Option<Store>,
    drawing: &mut Drawing,
) -> Result<(), Error> {
    if stage.has_ended() {
        drawing.clear();
        return Err(Error::new(ErrorKind::Bug, "its `up` has ended by itself"));
    }
    if store.is_none() {
        *store = Store::open_existing(&project.settings.state).await?;
    }
    Ok(())
}

/// Does what the script says to these facts, and draws them.
fn follow(
    project: &Project,
    script: &mut Script,
    facts: &Facts,
    drawing: &mut Drawing,
    now: Micros,
) -> Result<(), Error> {
    for act in script.next(facts, now) {
        match act {
            Act::Say(what) => drawing.say(&what, now),
            Act::Kill { pid, topic_partition } => {
                let killed = kill(project, facts, pid, topic_partition, now)?;
                drawing.say(&killed, now);
            }
        }
    }
    drawing.progress(facts, script.hours(), now);
    Ok(())
}

fn stuck(context: &Context, (since, facts): &(Micros, Facts), now: Micros) -> Option<Error> {
    if let Some(why) = &facts.waiting {
        return Some(Error::new(ErrorKind::Bug, format!("a stream has stopped: {why}")));
    }
    if let Some(run) = facts.batches_failed.first() {
        let why = context.command(&format!("tasks why {run}"));
        return Some(
            Error::new(ErrorKind::Bug, format!("run {run} failed"))
                .remedy(format!("in the demo's folder: `{why}`")),
        );
    }
    (now.since(*since) > STILL_MAX)
        .then(|| Error::new(ErrorKind::Bug, format!("nothing has moved for a minute: {facts:?}")))
}

/// Counts, prints, and says what to try next; exit code 0 only if everything agrees.
async fn conclude(
    context: &Context,
    dir: &Path,
    place: &Place,
    project: &Project,
    store: &Store,
) -> Result<ExitCode, Error> {
    let verdict = verdict::reach(context, project, store).await?;
    context.show(&verdict, |verdict| {
        let env = place.env().map_or(String::new(), |env| format!(" --env {env}"));
        let program = format!("{} -C {}{env}", context.program, dir.display());
        verdict::screen(verdict, &place.warehouse(dir)) + &try_next(&program)
    })?;
    if verdict.is_good() {
        return Ok(ExitCode::SUCCESS);
    }
    print::note("error: the counts do not agree; this is a mistake of ours, please report it");
    Ok(ExitCode::FAILURE)
}

/// Lines to type, none longer than a terminal is wide where the folder's name allows it.
fn try_next(program: &str) -> String {
    format!(
        "Try next:\n  {program} partitions list raw.recentchange\n  \
         {program} sql \\\n    \"select wiki, count(*) from raw.recentchange\n     \
         group by 1 order by 2 desc limit 5\"\n  \
         # It goes on as a real project: dags/, jobs/ and topics/ are yours to edit.\n  \
         {program} up\n"
    )
}

/// Returns when somebody wants the demo to end.
async fn stopped() {
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let mut heard = Vec::new();
    for kind in signals {
        if let Ok(mut signal) = signal(kind) {
            heard.push(Box::pin(async move { signal.recv().await }));
        }
    }
    futures::future::select_all(heard).await;
}

/// The last lines of the daemon's log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(15).collect();
    let lines: Vec<_> = lines.into_iter().rev().collect();
    format!("the end of {}:\n{}", log.display(), lines.join("\n"))
}

/// `./tidemill-demo`, for a reader who looks for it.
fn shown(dir: &Path) -> String {
    if dir.is_absolute() || dir.starts_with(".") {
        return dir.display().to_string();
    }
    format!("./{}", dir.display())
}

/// Kills the landing process; where its topic partition ended then, in words.
fn kill(
    project: &Project,
    facts: &Facts,
    pid: i32,
    topic_partition: u32,
    now: Micros,
) -> Result<String, Error> {
    stage::kill(pid);
    let end = watch::end(project, topic_partition, now)?;
    let committed = facts.committed.get(&topic_partition).copied();
    Ok(script::killed(pid, topic_partition, end.max(committed).unwrap_or(0)))
}
