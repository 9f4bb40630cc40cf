//! `tidemill doctor`: does every configured system do what we rely on?
//!
//! It tries, on the systems themselves, and prints a remedy for each finding. It may run beside a
//! daemon, and before the first one: it makes neither lake nor state store, and what it writes lies in
//! places of its own and is removed again.

use crate::error::Error;
use crate::kafka::Cluster;
use crate::lake::Lake;
use crate::model::finding::{Finding, Health};
use crate::model::job::JobKind;
use crate::model::project::Project;
use crate::model::settings::{Settings, Warehouse};
use crate::store::Store;
use crate::terminal::context::{Context, block_on};
use crate::terminal::screen::{counted, size};
use crate::warehouse::BigQuery;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use uuid::Uuid;

/// SQLite and the embedded topics stop where a disk is full; a day of logs takes less.
const FREE_MIN: u64 = 1 << 30;
/// Below this, somebody should look soon.
const FREE_LOW: u64 = 5 << 30;

/// One system and what was found there.
#[derive(Debug, Serialize)]
struct System {
    name: &'static str,
    /// Which one: a folder, a bucket, the brokers.
    at: String,
    findings: Vec<Finding>,
}

/// Exit code 1 where something that we rely on does not hold.
pub fn run(context: &Context) -> Result<ExitCode, Error> {
    let project = context.project()?;
    let mut systems =
        vec![state(context, &project)?, kafka(context, &project), lake(context, &project)?];
    systems.extend(warehouse(context, &project)?);
    context.show(&systems, |systems| screen(systems))?;
    let found = systems.iter().flat_map(|system| &system.findings);
    let worst = found.map(|finding| finding.health).max();
    Ok(ExitCode::from(u8::from(worst == Some(Health::Bad))))
}

fn state(context: &Context, project: &Project) -> Result<System, Error> {
    let Settings { home, state, .. } = &project.settings;
    let what = "the state store opens and is whole";
    let never = || Finding::warning(what, format!("`{}` makes it", context.command("up")));
    let opened = block_on(async {
        Ok(match Store::open_existing(state).await {
            Err(error) => Finding::failed(what, &error),
            Ok(None) => match makeable(state) {
                Ok(()) => never().seen("the project has never been up"),
                Err((folder, error)) => {
                    let remedy = "let `state.url` name a file in a folder that this account may write, or make it";
                    let seen = format!("its folder can't be made in {}: {error}", folder.display());
                    Finding::bad(what, remedy).seen(seen)
                }
            },
            Ok(Some(store)) => match store.damage().await {
                Ok(None) => Finding::good(what),
                Ok(Some(damage)) => {
                    let remedy = "stop the daemon and move the file away: a new one is filled from the lake, \
                         no row and no closing is lost; runs and logs are";
                    Finding::bad(what, remedy).seen(damage)
                }
                Err(error) => Finding::failed(what, &error),
            },
        })
    })?;
    let mut findings = vec![opened, disk("the disk has room", home)];
    if !state.starts_with(home) {
        findings.push(disk("the state store's disk has room", state));
    }
    Ok(System { name: "state", at: state.display().to_string(), findings })
}

/// Whether the folder of `file` is there, or can be made; or else where not, and why.
fn makeable(file: &Path) -> Result<(), (&Path, rustix::io::Errno)> {
    let there = nearest(file.parent().unwrap_or(file));
    rustix::fs::access(there, rustix::fs::Access::WRITE_OK).map_err(|error| (there, error))
}

/// What is there of the way to `path`.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

/// Whether there is room where `path` is or will be.
fn disk(what: &str, path: &Path) -> Finding {
    let remedy = "free some, or lower `limits.keep_topics` and `limits.keep_runs`";
    let there = nearest(path);
    match rustix::fs::statvfs(there) {
        Err(error) => {
            Finding::bad(what, "look at the disk").seen(format!("{}: {error}", there.display()))
        }
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let seen = format!("{} free", size(free));
            match free {
                ..FREE_MIN => Finding::bad(what, remedy).seen(seen),
                FREE_MIN..FREE_LOW => Finding::warning(what, remedy).seen(seen),
                _ => Finding::good(what).seen(seen),
            }
        }
    }
}

fn kafka(context: &Context, project: &Project) -> System {
    let settings = &project.settings;
    let resolve = |secret: &_| context.environment.secret(&project.root, secret);
    let (at, findings) = match Cluster::of(&settings.kafka, &resolve) {
        Err(error) => (String::new(), vec![Finding::failed("its settings resolve", &error)]),
        Ok(cluster) => {
            // The rights of the streams' own groups go by this prefix.
            let doctor = Uuid::new_v4().simple().to_string();
            let group = format!("tidemill.{}.doctor.{doctor}", settings.project);
            let (mut findings, answer) = match cluster.examine_brokers() {
                Ok(findings) => (findings, true),
                Err(error) => (vec![Finding::failed("the brokers answer", &error)], false),
            };
            // Where nobody answers, each topic would only wait for the same.
            for (name, topic) in project.topics.iter().filter(|_| answer) {
                let (partitions, retention) = (topic.partitions, topic.retention);
                let found = cluster.examine(name, partitions, retention, &group, &context.clock);
                findings.extend(found);
            }
            (cluster.to_string(), findings)
        }
    };
    System { name: "kafka", at, findings }
}

fn lake(context: &Context, project: &Project) -> Result<System, Error> {
    let Settings { lake, project, .. } = &project.settings;
    let (what, clock) = ("the lake opens, and is this project's", &context.clock);
    let findings = block_on(async {
        Ok(match Lake::look(lake, project, clock.clone()).await {
            Err(error) => vec![Finding::failed(what, &error)],
            Ok(lake) => {
                let mut found = vec![match lake.short_id() {
                    "" => Finding::warning(what, format!("`{}` makes it", context.command("up")))
                        .seen("there is none yet"),
                    id => Finding::good(what).seen(format!("lake {id}")),
                }];
                found.extend(lake.examine(clock).await);
                found
            }
        })
    })?;
    Ok(System { name: "lake", at: lake.to_string(), findings })
}

/// The local warehouse is a folder on the disk that was looked at.
fn warehouse(context: &Context, project: &Project) -> Result<Option<System>, Error> {
    let Settings { lake, project: name, warehouse, .. } = &project.settings;
    let Warehouse::BigQuery(settings) = warehouse else { return Ok(None) };
    let (clock, what) = (&context.clock, "its settings resolve");
    let data_sets = project.jobs.values().filter_map(|job| match &job.kind {
        JobKind::Batch(batch) => {
            batch.to_warehouse.as_ref().map(|to| to.table.data_set().to_owned())
        }
        JobKind::Feed(_) | JobKind::Stream(_) => None,
    });
    let data_sets: BTreeSet<_> = data_sets.collect();
    let findings = block_on(async {
        Ok(match BigQuery::open(settings, name, clock.clone()).await {
            Err(error) => vec![Finding::failed(what, &error)],
            Ok(bigquery) => {
                let bucket = match Lake::look(lake, name, clock.clone()).await {
                    Ok(lake) => lake.location().await,
                    Err(error) => Err(error),
                };
                Box::pin(bigquery.examine(&data_sets, bucket)).await
            }
        })
    })?;
    let at = format!("BigQuery, project {} in {}", settings.project, settings.location);
    Ok(Some(System { name: "warehouse", at, findings }))
}

fn screen(systems: &[System]) -> String {
    let mut shown = String::new();
    let mut counts = [0, 0, 0];
    for System { name, at, findings } in systems {
        shown += &format!("{name}  {at}\n");
        for finding in findings {
            counts[finding.health as usize] += 1;
            shown += &line(finding);
        }
    }
    let [good, warnings, bad] = counts;
    let warnings = counted(warnings, "warning");
    shown
        + &format!(
            "{} tried: {good} good, {warnings}, {bad} bad\n",
            counted(good + counts[1] + bad, "thing")
        )
}

fn line(finding: &Finding) -> String {
    let mark = match finding.health {
        Health::Good => "ok  ",
        Health::Warning => "warn",
        Health::Bad => "BAD ",
    };
    let seen = finding.seen.as_ref().map_or(String::new(), |seen| format!(": {seen}"));
    let help = match &finding.remedy {
        Some(remedy) => format!("        help: {remedy}\n"),
        None => String::new(),
    };
    format!("  {mark}  {}{seen}\n{help}", finding.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_line_and_a_bad_one_has_its_remedy() {
        let findings = vec![
            Finding::good("a create refuses a name that is taken"),
            Finding::warning("the disk has room", "free some").seen("2.1 GB free"),
            Finding::bad("a copy refuses a name that is taken", "use another store")
                .seen("it overwrote the object that had the name"),
        ];
        let system = System { name: "lake", at: "gs://acme".into(), findings };
        insta::assert_snapshot!(screen(&[system]), @r"
        lake  gs://acme
          ok    a create refuses a name that is taken
          warn  the disk has room: 2.1 GB free
                help: free some
          BAD   a copy refuses a name that is taken: it overwrote the object that had the name
                help: use another store
        3 things tried: 1 good, 1 warning, 1 bad
        ");
    }
}
