//! What came of the demo, counted from what lies on the disk.

use super::watch::{cluster, look};
use crate::batch;
use crate::error::Error;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use crate::model::project::Project;
use crate::model::time::Micros;
use crate::model::topic::Otherwise;
use crate::store::Store;
use crate::terminal::context::Context;
use crate::terminal::screen::{Grid, Lean, count, counted};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const TABLE: &str = "agg.recentchange_by_hour";
/// The hours that are shown; the others lie in the warehouse.
const SHOWN: usize = 3;

/// The aggregates of `jobs/recentchange_by_hour/query.sql`, for all hours at once.
const OVER_THE_LAKE: &str = r#"
select cast(date_trunc('hour', meta_dt) as timestamp) as hour_start, wiki, type, count(*) as changes,
       count(*) filter (where bot) as bot_changes, count(distinct "user") as users,
       sum(greatest(length_new - coalesce(length_old, 0), 0)) as bytes_added,
       sum(greatest(coalesce(length_old, 0) - length_new, 0)) as bytes_removed,
       percentile_cont(0.95) within group (order by size_change) as size_change_p95
from raw.recentchange group by 1, 2, 3"#;
/// Everything is closed by then, so what the lake shows are the files of the closings.
const USERS: &str = r#"
select cast(cast(date_trunc('hour', meta_dt) as timestamp) as varchar) as hour,
       count(distinct "user") as users
from raw.recentchange group by 1"#;
const IN_THE_WAREHOUSE: &str = "
select cast(hour_start as timestamp) as hour_start, wiki, type, changes, bot_changes, users,
       bytes_added, bytes_removed, size_change_p95 from warehouse.agg.recentchange_by_hour";

/// The counts that must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub produced: u64,
    pub landed: u64,
    pub ids: u64,
    pub hours: u64,
    pub quarantined: u64,
    pub dropped: u64,
    pub dropped_by: Vec<String>,
    /// Rows that only the warehouse or only the lake gives.
    pub differing: u64,
    pub lines: Vec<HourLine>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HourLine {
    pub hour: String,
    pub changes: u64,
    pub bots: u64,
    /// Of the whole hour: those of its wikis can't be added up.
    pub users: u64,
    pub bytes_added: u64,
    pub revision: u32,
}

impl Verdict {
    pub fn adds_up(&self) -> bool {
        self.landed + self.quarantined + self.dropped == self.produced
    }

    pub fn is_good(&self) -> bool {
        self.adds_up() && self.ids == self.landed && self.differing == 0 && self.landed > 0
    }
}

pub async fn reach(context: &Context, project: &Project, store: &Store) -> Result<Verdict, Error> {
    let mut verdict = Verdict { produced: produced(project)?, ..Verdict::default() };
    let raw: TableName = "raw.recentchange".parse().expect("a table's name");
    for cursor in store.cursors(&raw).await? {
        verdict.quarantined += cursor.quarantined;
        verdict.dropped += cursor.dropped;
    }
    for topic in project.topics.values() {
        let drops = topic.expects.iter().filter(|expect| expect.otherwise == Otherwise::Drop);
        verdict.dropped_by.extend(drops.map(|expect| expect.name.clone()));
    }
    let rows = rows(
        context,
        project,
        "select count(*) as landed, count(distinct meta_id) as ids, \
         count(distinct date_trunc('hour', meta_dt)) as hours from raw.recentchange",
    )
    .await?;
    if let Some(row) = rows.first() {
        verdict.landed = number(row, "landed");
        verdict.ids = number(row, "ids");
        verdict.hours = number(row, "hours");
    }
    for (one, other) in [(OVER_THE_LAKE, IN_THE_WAREHOUSE), (IN_THE_WAREHOUSE, OVER_THE_LAKE)] {
        let text = format!(
            "select count(*) as differing from (select * from ({one}) as one except select * from ({other}) as other) as difference"
        );
        let rows = self::rows(context, project, &text).await?;
        verdict.differing += rows.first().map_or(0, |row| number(row, "differing"));
    }
    let counted = look(project, store).await?.counted;
    verdict.lines = lines(context, project, &counted).await?;
    Ok(verdict)
}

/// The events in the topic, counted one by one; marks are none.
fn produced(project: &Project) -> Result<u64, Error> {
    let cluster = cluster(project)?;
    let Some(topic) = project.topics.keys().next() else { return Ok(0) };
    let mut events = 0;
    cluster.tail(topic, Micros(0), &mut |message| events += u64::from(message.mark.is_none()))?;
    Ok(events)
}

async fn lines(
    context: &Context,
    project: &Project,
    revisions: &BTreeMap<PartitionKey, u32>,
) -> Result<Vec<HourLine>, Error> {
    let users = rows(context, project, USERS).await?;
    let users: BTreeMap<&str, u64> = users
        .iter()
        .filter_map(|row| Some((row["hour"].as_str()?, number(row, "users"))))
        .collect();
    let text = format!(
        "select cast(hour_start as varchar) as hour, sum(changes) as changes, sum(bot_changes) as bots, \
         sum(bytes_added) as bytes_added from warehouse.{TABLE} group by 1 order by 1"
    );
    let rows = rows(context, project, &text).await?;
    let line = |row: &Value| {
        let hour = row["hour"].as_str().unwrap_or_default();
        let key = hour.get(..13).unwrap_or_default().parse::<PartitionKey>();
        HourLine {
            hour: hour.get(..16).unwrap_or(hour).replace('T', " "),
            changes: number(row, "changes"),
            bots: number(row, "bots"),
            users: users.get(hour).copied().unwrap_or(0),
            bytes_added: number(row, "bytes_added"),
            revision: key.ok().and_then(|key| revisions.get(&key).copied()).unwrap_or(0),
        }
    };
    Ok(rows.iter().map(line).collect())
}

pub async fn rows(context: &Context, project: &Project, text: &str) -> Result<Vec<Value>, Error> {
    let answer = batch::ask_project(project, &context.clock, text, 10_000).await?;
    Ok(batch::json(&answer)?["rows"].as_array().cloned().unwrap_or_default())
}

pub fn number(row: &Value, column: &str) -> u64 {
    row[column].as_u64().unwrap_or(0)
}

/// The table from the warehouse and the counts below it.
pub fn screen(verdict: &Verdict, warehouse: &str) -> String {
    let mut grid = Grid::new(&[
        ("HOUR (UTC)", Lean::Left),
        ("CHANGES", Lean::Right),
        ("BOTS", Lean::Right),
        ("USERS", Lean::Right),
        ("BYTES ADDED", Lean::Right),
        ("REVISION", Lean::Right),
    ]);
    // Those that closed twice first: they are what was shown.
    let first = verdict.lines.iter().position(|line| line.revision > 1).unwrap_or(0);
    let shown: Vec<_> = verdict.lines.iter().skip(first).take(SHOWN).collect();
    for line in &shown {
        grid.row([
            line.hour.clone(),
            count(line.changes),
            count(line.bots),
            count(line.users),
            count(line.bytes_added),
            line.revision.to_string(),
        ]);
    }
    let mut text = grid.show();
    match verdict.lines.len() - shown.len() {
        0 => {}
        more => {
            let many = if more == 1 { "" } else { "s" };
            let _ = writeln!(text, "… {more} more hour{many}: {warehouse}");
        }
    }
    let yes = |good: bool| if good { "yes" } else { "NO" };
    let ids = if verdict.ids == verdict.landed {
        "no meta_id twice".to_owned()
    } else {
        format!("BUT ONLY {} meta_ids", count(verdict.ids))
    };
    let _ = writeln!(text, "produced     {:>9}", count(verdict.produced));
    let hours = counted(verdict.hours, "hour");
    let _ = writeln!(text, "landed       {:>9}   in {hours}, {ids}", count(verdict.landed));
    let quarantined = count(verdict.quarantined);
    let _ = writeln!(text, "quarantined  {quarantined:>9}   each with its reason");
    let rules: Vec<_> = verdict.dropped_by.iter().map(|rule| format!("\"{rule}\"")).collect();
    let dropped = count(verdict.dropped);
    let _ = writeln!(text, "dropped      {dropped:>9}   rule {}", rules.join(", "));
    let _ = writeln!(
        text,
        "landed + quarantined + dropped = produced: {}\nwarehouse = SQL over the lake, hour by hour: {}",
        yes(verdict.adds_up()),
        yes(verdict.differing == 0)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict() -> Verdict {
        let line = |hour: u32, revision| HourLine {
            hour: format!("2026-11-20 {hour:02}:00"),
            changes: 9_418,
            bots: 3_870,
            users: 2_201,
            bytes_added: 4_118_902,
            revision,
        };
        Verdict {
            produced: 216_412,
            landed: 216_347,
            ids: 216_347,
            hours: 24,
            quarantined: 41,
            dropped: 24,
            dropped_by: vec!["not a canary".to_owned()],
            differing: 0,
            lines: (0..24)
                .map(|hour| line(hour, if hour == 9 || hour == 10 { 2 } else { 1 }))
                .collect(),
        }
    }

    #[test]
    fn the_hours_that_closed_twice_are_shown_first() {
        assert!(verdict().is_good());
        insta::assert_snapshot!(screen(&verdict(), "tidemill-demo/.tidemill/warehouse"), @r#"
        HOUR (UTC)        CHANGES   BOTS  USERS  BYTES ADDED  REVISION
        2026-11-20 09:00    9,418  3,870  2,201    4,118,902         2
        2026-11-20 10:00    9,418  3,870  2,201    4,118,902         2
        2026-11-20 11:00    9,418  3,870  2,201    4,118,902         1
        … 21 more hours: tidemill-demo/.tidemill/warehouse
        produced       216,412
        landed         216,347   in 24 hours, no meta_id twice
        quarantined         41   each with its reason
        dropped             24   rule "not a canary"
        landed + quarantined + dropped = produced: yes
        warehouse = SQL over the lake, hour by hour: yes
        "#);
    }

    #[test]
    fn a_lost_row_or_a_doubled_id_is_no_success() {
        assert!(!Verdict { landed: 216_346, ids: 216_346, ..verdict() }.is_good());
        assert!(!Verdict { ids: 216_346, ..verdict() }.is_good());
        assert!(!Verdict { differing: 1, ..verdict() }.is_good());
    }
}
