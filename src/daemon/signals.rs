//! Says once a minute how the project is, for those who watch its log.
//!
//! There is no port to ask at. Alerts are made from these lines (`terraform/modules/observability`
//! matches their text), so a line that changes here changes there: the tests hold both together.

use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::model::name::TableName;
use crate::model::stream::{Stream, StreamKind, StreamState};
use crate::model::time::Micros;
use crate::store::Store;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Rows in quarantine, all that there ever were, by table.
type Quarantined = BTreeMap<TableName, u64>;

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
enum Signal {
    Stream { id: String, behind_s: u64, lag: u64 },
    Quarantine { table: TableName, rows: u64 },
    Disk { used_percent: u64 },
}

pub(super) struct Signals {
    pub store: Store,
    pub clock: Clock,
    pub home: PathBuf,
    pub wake: Arc<Notify>,
}

impl Signals {
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let mut before = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.wake.notified() => {}
            }
            match self.look(before.as_ref()).await {
                Ok((signals, quarantined)) => {
                    signals.iter().for_each(say);
                    before = Some(quarantined);
                }
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    warn!(%error, "could not look how the project is; trying again in a minute");
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What is to be said, and what has been quarantined by now.
    async fn look(
        &self,
        before: Option<&Quarantined>,
    ) -> Result<(Vec<Signal>, Quarantined), Error> {
        let now = Micros::from(self.clock.now());
        let mut signals = streams(&self.store.streams().await?, now);
        let mut quarantined = Quarantined::new();
        for table in self.store.tables().await? {
            let name = table.table.name;
            let cursors = self.store.cursors(&name).await?;
            quarantined.insert(name, cursors.iter().map(|cursor| cursor.quarantined).sum());
        }
        if let Some(before) = before {
            signals.extend(newly_quarantined(before, &quarantined));
        }
        signals.extend(used_percent(&self.home).map(|used_percent| Signal::Disk { used_percent }));
        Ok((signals, quarantined))
    }
}

/// Of each stream into the lake that is at work and has a watermark.
fn streams(streams: &[Stream], now: Micros) -> Vec<Signal> {
    let at_work =
        streams.iter().filter(|stream| stream.present && stream.kind == StreamKind::Stream);
    at_work
        .filter(|stream| stream.state != StreamState::Stopped)
        .filter_map(|stream| {
            let progress = stream.progress.as_ref()?;
            let behind_s = now.since(progress.watermark?).as_secs();
            Some(Signal::Stream { id: stream.id.clone(), behind_s, lag: progress.lag? })
        })
        .collect()
}

fn newly_quarantined(before: &Quarantined, now: &Quarantined) -> Vec<Signal> {
    now.iter()
        .filter_map(|(table, all)| {
            let rows = all.saturating_sub(before.get(table).copied().unwrap_or(0));
            (rows > 0).then(|| Signal::Quarantine { table: table.clone(), rows })
        })
        .collect()
}

/// Of the disk that holds state, logs and unfinished files; `None` where it cannot be asked.
fn used_percent(home: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(home).ok()?;
    // As `df` counts: what is kept for root is neither used nor free.
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    let all = used.saturating_add(disk.f_bavail);
    used.saturating_mul(100).checked_div(all)
}

fn say(signal: &Signal) {
    let text = text(signal);
    match signal {
        Signal::Stream { id, behind_s, lag } => info!(stream.id = id, behind_s, lag, "{text}"),
        Signal::Quarantine { table, rows } => warn!(%table, rows, "{text}"),
        Signal::Disk { used_percent } => info!(used_percent, "{text}"),
    }
}

fn text(signal: &Signal) -> String {
    match signal {
        Signal::Stream { id, behind_s, lag } => format!("{id} is {behind_s} s behind, lag {lag}"),
        Signal::Quarantine { table, rows } => {
            format!("{table}: {rows} quarantined in the last minute")
        }
        Signal::Disk { used_percent } => format!("daemon disk: {used_percent} % used"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the alerts of `terraform/` are tried on.
    const LINES: &str = include_str!("../../terraform/tests/lines.txt");

    #[track_caller]
    fn check(signal: &Signal, line: &str) {
        assert_eq!(text(signal), line);
        assert!(LINES.lines().any(|known| known == line), "`{line}` is not in lines.txt");
    }

    #[test]
    fn the_lines_are_those_that_alerts_look_for() {
        let (id, table) = ("wikimedia.land".to_owned(), "raw.recentchange".parse().unwrap());
        check(
            &Signal::Stream { id, behind_s: 312, lag: 212 },
            "wikimedia.land is 312 s behind, lag 212",
        );
        let quarantine = Signal::Quarantine { table, rows: 12 };
        check(&quarantine, "raw.recentchange: 12 quarantined in the last minute");
        check(&Signal::Disk { used_percent: 41 }, "daemon disk: 41 % used");
    }

    #[test]
    fn lines_of_other_services_are_still_written_as_alerts_look_for_them() {
        let ended = include_str!("../scheduler/apply.rs");
        assert!(ended.contains(r#""run {run} {state}""#));
        let waits = include_str!("../supervisor/mod.rs");
        assert!(waits.contains(r#""{id} waits for you: {why}."#));
    }

    #[test]
    fn only_what_was_quarantined_since_the_last_look_is_told() {
        let quarantined = |rows: [u64; 2]| -> Quarantined {
            ["raw.a", "raw.b"].map(|name| name.parse().unwrap()).into_iter().zip(rows).collect()
        };
        let told = newly_quarantined(&quarantined([3, 5]), &quarantined([3, 7]));
        assert_eq!(told, [Signal::Quarantine { table: "raw.b".parse().unwrap(), rows: 2 }]);
    }

    #[tokio::test]
    async fn a_new_project_tells_of_its_disk_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state.db")).await.unwrap();
        let (clock, home) = (Clock::system(), folder.path().to_path_buf());
        let signals = Signals { store, clock, home, wake: Arc::default() };
        let (told, quarantined) = signals.look(Some(&Quarantined::new())).await.unwrap();
        assert!(matches!(told[..], [Signal::Disk { used_percent: 0..=100 }]), "{told:?}");
        assert!(quarantined.is_empty());
        assert_eq!(used_percent(&folder.path().join("none")), None);
    }
}
