//! `tidemill lake`: is all there that should be, and where does a row come from?

mod trace;

use crate::error::{Error, ErrorKind};
use crate::lake::Lake;
use crate::lake::verify::{Finding, Known, Report, Severity};
use crate::model::commit::RecordId;
use crate::model::name::TableName;
use crate::model::project::Project;
use crate::model::table::Cursor;
use crate::model::time::Micros;
use crate::store::Store;
use crate::terminal::context::{Context, block_on, unknown};
use crate::terminal::screen::{count, counted, size};
use clap::Subcommand;
use std::fmt::Write as _;
use std::process::ExitCode;
use trace::TraceArgs;

/// Findings on a screen; `-o json` has them all.
const FINDINGS_SHOWN: usize = 20;

#[derive(Debug, Subcommand)]
pub enum LakeVerb {
    /// Checks a table's log, objects, checksums, counts and closings; changes nothing
    Verify { table: String },
    /// Shows where rows come from (topic, topic partition, offset) and what has used them
    Trace(TraceArgs),
}

pub fn run(context: &Context, verb: LakeVerb) -> Result<ExitCode, Error> {
    let project = context.project()?;
    match verb {
        LakeVerb::Verify { table } => {
            let table = find(context, &project, &table)?;
            let report = block_on(verify(context, &project, &table))?;
            context.show(&report, |report| screen(&table, report))?;
            Ok(exit_code(report.worst()))
        }
        LakeVerb::Trace(args) => {
            trace::run(context, &project, &args)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Makes no lake where there is none, and asks the state store first: the lake is always ahead of it.
pub(super) async fn verify(
    context: &Context,
    project: &Project,
    table: &TableName,
) -> Result<Report, Error> {
    let settings = &project.settings;
    let store = Store::open_existing(&settings.state).await?;
    let (known, mirrored) = match &store {
        Some(store) => (known(store, table).await?, store.lake_id().await?),
        None => (Known::default(), None),
    };
    let lake = Lake::find(&settings.lake, &settings.project, context.clock.clone()).await?;
    match (lake, mirrored) {
        (Some(lake), _) => {
            if let Some(store) = &store {
                store.admits_lake(lake.id()).await?;
            }
            lake.verify(table, &known).await
        }
        (None, Some(id)) => Ok(Report::without_lake(&settings.lake.to_string(), &id)),
        (None, None) => {
            let problem = format!("there is no lake at {} yet", settings.lake);
            let remedy = format!("`{}` makes it", context.command("up"));
            Err(Error::new(ErrorKind::Input, problem).remedy(remedy))
        }
    }
}

async fn known(store: &Store, table: &TableName) -> Result<Known, Error> {
    let record = |cursor: Cursor| {
        let Cursor { topic_id, topic_partition, seq, .. } = cursor;
        RecordId { topic_id, topic_partition, seq }
    };
    let newest = store.newest_closed(table, (Micros::MIN, Micros::MAX)).await?;
    Ok(Known {
        records: store.cursors(table).await?.into_iter().map(record).collect(),
        closings: newest.into_iter().map(|closed| (closed.key, closed.n)).collect(),
    })
}

async fn open(context: &Context, project: &Project) -> Result<Lake, Error> {
    let settings = &project.settings;
    Lake::open(&settings.lake, &settings.project, context.clock.clone()).await
}

fn find(context: &Context, project: &Project, named: &str) -> Result<TableName, Error> {
    let known: Vec<String> = project.tables.keys().map(ToString::to_string).collect();
    let found = project.tables.keys().find(|name| name.as_str() == named);
    found.cloned().ok_or_else(|| unknown("table", named, &known, &context.command("dags list")))
}

fn exit_code(worst: Option<Severity>) -> ExitCode {
    ExitCode::from(match worst {
        None => 0,
        Some(Severity::Damage) => 1,
        Some(Severity::Foreign) => 2,
        Some(Severity::Unfinished) => 3,
    })
}

fn screen(table: &TableName, report: &Report) -> String {
    let Report { logs, records, counts, files, bytes, closings, late_rows, staged, findings } =
        report;
    let mut text = format!("{table}\n");
    if *logs > 0 {
        let (logs, records) = (counted(*logs, "log"), counted(*records, "record"));
        let _ = writeln!(text, "records   {records} in {logs}");
        let _ = writeln!(
            text,
            "messages  {} read = {} landed + {} quarantined + {} dropped + {} tombstones + {} marks",
            count(counts.read),
            count(counts.landed),
            count(counts.quarantined),
            count(counts.dropped),
            count(counts.tombstones),
            count(counts.marks)
        );
    }
    let _ = writeln!(text, "files     {}, {}", count(*files), size(*bytes));
    let late = if *late_rows > 0 {
        format!("; {} wait for the next", counted(*late_rows, "late row"))
    } else {
        String::new()
    };
    let _ = writeln!(text, "closings  {}{late}", count(*closings));
    if *staged > 0 {
        let _ = writeln!(text, "staged    {} for records to come", counted(*staged, "file"));
    }
    if findings.is_empty() {
        text.push_str("all is as it should be\n");
    }
    for Finding { severity, what, mend } in findings.iter().take(FINDINGS_SHOWN) {
        let word = match severity {
            Severity::Damage => "damage",
            Severity::Foreign => "foreign",
            Severity::Unfinished => "unfinished",
        };
        let _ = writeln!(text, "{word}: {what}\n  help: {mend}");
    }
    let more = findings.len().saturating_sub(FINDINGS_SHOWN);
    if more > 0 {
        let _ = writeln!(text, "and {}; `-o json` lists all", counted(more as u64, "more finding"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::commit::Counts;

    fn report() -> Report {
        let counts =
            Counts { read: 1_210, landed: 1_200, quarantined: 4, marks: 6, ..Counts::default() };
        Report {
            logs: 4,
            records: 31,
            counts,
            files: 40,
            bytes: 98_000,
            closings: 3,
            ..Report::default()
        }
    }

    #[test]
    fn a_sound_table_says_so_after_its_sums() {
        let table = "raw.recentchange".parse().unwrap();
        insta::assert_snapshot!(screen(&table, &report()));
    }

    #[test]
    fn each_finding_is_told_with_what_mends_it() {
        let table = "raw.recentchange".parse().unwrap();
        let finding = |severity, what: &str, mend: &str| Finding {
            severity,
            what: what.into(),
            mend: mend.into(),
        };
        let findings = vec![
            finding(Severity::Damage, "raw/a.parquet is gone: 4 rows of record 1", "put it back"),
            finding(Severity::Unfinished, "x was staged", "the daemon sweeps it"),
        ];
        let report = Report { findings, late_rows: 5, staged: 1, ..report() };
        insta::assert_snapshot!(screen(&table, &report));
    }
}
