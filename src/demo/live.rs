//! `tidemill demo --live`: Wikimedia's own stream for a minute, with a kill in the middle.
//!
//! No hour closes while one looks on, so what is counted is the landing: every event of the topic is in the
//! lake, once.

use super::draw::Drawing;
use super::place::Place;
use super::project::{self, Input};
use super::script::Script;
use super::stage::Stage;
use super::watch::{self, Facts};
use super::{LOOK_EVERY, find_store, follow, shown, stopped, tail, verdict};
use crate::error::{Error, ErrorKind};
use crate::kafka::Cluster;
use crate::model::name::TableName;
use crate::model::project::Project;
use crate::model::time::Micros;
use crate::store::Store;
use crate::terminal::context::{Context, block_on};
use crate::terminal::print;
use crate::terminal::screen::count;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const LASTS: Duration = Duration::from_mins(1);
/// Wikimedia sends dozens of events a second.
const FIRST_EVENT_MAX: Duration = Duration::from_secs(30);

pub(super) fn run(
    context: &Context,
    dir: &Path,
    place: &Place,
    contact: String,
    url: Option<String>,
) -> Result<ExitCode, Error> {
    project::prepare(dir, &Input::Live { contact, url }, place)?;
    let project = place.load(dir, &context.environment)?;
    place.answers(&project)?;
    print::text(&format!(
        "Tidemill {}: Wikimedia's recent changes as they happen, in {}, for a minute. Ctrl-C ends it sooner.\n",
        env!("CARGO_PKG_VERSION"),
        shown(dir)
    ))?;
    block_on(async {
        let mut stage = Stage::open(context, dir, place, &project)?;
        let played = tokio::select! {
            played = play(context, &project, &mut stage) => played,
            () = stopped() => Ok(()),
        };
        if let Err(error) = played {
            let log = stage.log.clone();
            stage.clear(context).await?;
            print::note(&tail(&log));
            return Err(error);
        }
        stage.close(context).await?;
        conclude(context, dir, place, &project).await
    })
}

/// Looks on and draws until the time is over and the kill was shown.
async fn play(context: &Context, project: &Project, stage: &mut Stage) -> Result<(), Error> {
    let began = context.now();
    let mut drawing = Drawing::new(began);
    let mut script = Script::live();
    let mut store = None;
    loop {
        let now = context.now();
        find_store(project, stage, &mut store, &mut drawing).await?;
        if let Some(store) = &store {
            let facts = watch::look(project, store).await?;
            if let Some(error) = trouble(&facts, now.since(began)) {
                drawing.clear();
                return Err(error);
            }
            follow(project, &mut script, &facts, &mut drawing, now)?;
            if now.since(began) >= LASTS && script.has_shown_the_kill() {
                drawing.clear();
                drawing.say("done", now);
                return Ok(());
            }
        }
        context.clock.sleep(LOOK_EVERY).await;
    }
}

/// Why nothing comes.
fn trouble(facts: &Facts, passed: Duration) -> Option<Error> {
    if let Some(why) = &facts.waiting {
        return Some(Error::new(ErrorKind::Input, format!("a stream has stopped: {why}")));
    }
    if facts.produced > 0 || passed < FIRST_EVENT_MAX {
        return None;
    }
    let why = facts.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
    let problem = format!("no event has come in {} s{why}", passed.as_secs());
    Some(Error::new(ErrorKind::Unavailable, problem).remedy(
        "see that this machine reaches https://stream.wikimedia.org; HTTPS_PROXY names a proxy. Without a \
         network `tidemill demo` simulates a day",
    ))
}

/// What became of the events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    /// In the topic, up to the last commits.
    events: u64,
    /// In the topic behind them: the next `up` lands these.
    waiting: u64,
    landed: u64,
    quarantined: u64,
    dropped: u64,
    /// Rows of the table, and how many ids they have.
    rows: u64,
    ids: u64,
}

impl Tally {
    fn adds_up(&self) -> bool {
        self.landed + self.quarantined + self.dropped == self.events
    }

    /// A commit may be in the lake and not in the state store yet.
    fn is_good(&self) -> bool {
        self.adds_up() && self.ids == self.rows && self.rows >= self.landed && self.landed > 0
    }

    fn screen(&self) -> String {
        let yes = |good: bool| if good { "yes" } else { "NO" };
        let line = |what: &str, number, note: &str| {
            format!("{what:<12}{:>10}{note}\n", count(number)).replace(" \n", "\n")
        };
        let ids = if self.ids == self.rows {
            "   no meta_id twice".to_owned()
        } else {
            format!("   BUT {} rows AND ONLY {} meta_ids", count(self.rows), count(self.ids))
        };
        [
            line("produced", self.events, ""),
            line("landed", self.landed, &ids),
            line("quarantined", self.quarantined, "   each with its reason"),
            line("dropped", self.dropped, ""),
            line("waiting", self.waiting, "   in the topic, for the next `up`"),
            format!("landed + quarantined + dropped = produced: {}\n", yes(self.adds_up())),
        ]
        .concat()
    }
}

async fn counted(context: &Context, project: &Project, store: &Store) -> Result<Tally, Error> {
    let mut landed = Tally::default();
    let raw: TableName = "raw.recentchange".parse().expect("a table's name");
    let mut ends = BTreeMap::new();
    for cursor in store.cursors(&raw).await? {
        landed.landed += cursor.landed;
        landed.quarantined += cursor.quarantined;
        landed.dropped += cursor.dropped;
        ends.insert(cursor.topic_partition, cursor.end);
    }
    let no_secrets = |_: &_| Err(Error::new(ErrorKind::Bug, "the demo's topics need no secret"));
    let cluster = Cluster::of(&project.settings.kafka, &no_secrets)?;
    if let Some(topic) = project.topics.keys().next() {
        cluster.tail(topic, Micros(0), &mut |message| {
            if message.mark.is_some() {
                return;
            }
            let is_done =
                ends.get(&message.topic_partition).is_some_and(|end| message.offset < *end);
            *(if is_done { &mut landed.events } else { &mut landed.waiting }) += 1;
        })?;
    }
    let ids = "select count(*) as landed, count(distinct meta_id) as ids from raw.recentchange";
    if let Some(row) = verdict::rows(context, project, ids).await?.first() {
        landed.rows = verdict::number(row, "landed");
        landed.ids = verdict::number(row, "ids");
    }
    Ok(landed)
}

/// Counts, prints, and says what to try next; exit code 0 only if everything agrees.
async fn conclude(
    context: &Context,
    dir: &Path,
    place: &Place,
    project: &Project,
) -> Result<ExitCode, Error> {
    let Some(store) = Store::open_existing(&project.settings.state).await? else {
        return Ok(ExitCode::from(130)); // Stopped before anything began.
    };
    let counted = counted(context, project, &store).await?;
    let env = place.env().map_or(String::new(), |env| format!(" --env {env}"));
    let line = |verb: &str| format!("  {} -C {}{env} {verb}\n", context.program, dir.display());
    let next = [
        "Try next:\n".to_owned(),
        line(
            "sql \"select wiki, count(*) from raw.recentchange group by 1 order by 2 desc limit 5\"",
        ),
        line(
            "up          # goes on behind the last event; an hour closes ten minutes after its end",
        ),
    ];
    print::text(&format!("{}{}", counted.screen(), next.concat()))?;
    if counted.is_good() {
        return Ok(ExitCode::SUCCESS);
    }
    if counted.rows == 0 {
        return Ok(ExitCode::from(130)); // Stopped before anything was landed.
    }
    print::note("error: the counts do not agree; this is a mistake of ours, please report it");
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_events_away_is_told_in_time() {
        let note = Some("no events (HTTP 429), tries again in 7 s".to_owned());
        let facts = Facts { note, ..Facts::default() };
        assert!(trouble(&facts, Duration::from_secs(29)).is_none());
        let error = trouble(&facts, Duration::from_secs(30)).unwrap();
        assert!(error.to_string().ends_with("30 s: no events (HTTP 429), tries again in 7 s"));
        assert!(trouble(&Facts { produced: 1, ..facts }, Duration::from_secs(99)).is_none());
    }

    #[test]
    fn what_waits_in_the_topic_is_told_apart_from_what_is_lost() {
        let good = Tally {
            events: 2_100,
            waiting: 7,
            landed: 2_096,
            quarantined: 1,
            dropped: 3,
            rows: 2_096,
            ids: 2_096,
        };
        assert!(good.is_good());
        assert!(!Tally { landed: 2_095, ..good.clone() }.is_good());
        assert!(!Tally { ids: 2_095, ..good.clone() }.is_good());
        insta::assert_snapshot!(good.screen(), @r"
        produced         2,100
        landed           2,096   no meta_id twice
        quarantined          1   each with its reason
        dropped              3
        waiting              7   in the topic, for the next `up`
        landed + quarantined + dropped = produced: yes
        ");
    }
}
