//! A reader that knows nothing of our log: it lists a table's folder all the while and believes what
//! it sees.

use crate::tables::{self, Origin};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tidemill::model::commit::Closing;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Lists streamed tables, whose files never change, and batches' tables, whose files are replaced.
pub struct Lister {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What was seen in all looks together.
#[derive(Debug, Default)]
pub struct Seen {
    pub looks: usize,
    pub files: usize,
    pub rows: usize,
    pub wrong: Vec<String>,
    /// Each `_SUCCESS`, and the files that lay beside it when it was first seen.
    pub successes: BTreeMap<PathBuf, Vec<PathBuf>>,
}

/// Length, time of the last change, inode.
type Stamp = (u64, i64, i64, u64);

#[derive(Default)]
struct Streamed {
    stamps: HashMap<PathBuf, Stamp>,
    origins: HashSet<Origin>,
    /// Closings whose rows were there.
    closings: HashSet<PathBuf>,
}

impl Lister {
    /// `streamed` is a table of the lake, `replaced` are the folders of others; they need not exist
    /// yet.
    pub fn watch(lake: PathBuf, streamed: &'static str, replaced: Vec<PathBuf>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut known, mut seen) = (Streamed::default(), Seen::default());
            let mut stamps = HashMap::new();
            loop {
                let last = stopped.load(Ordering::Relaxed);
                known.look_at_closings(&lake, streamed, &mut seen);
                known.look(&lake.join(streamed.replace('.', "/")), &mut seen);
                for table in &replaced {
                    look_at_replaced(table, &mut stamps, &mut seen);
                }
                seen.looks += 1;
                if last {
                    return seen;
                }
                std::thread::sleep(LOOK_EVERY);
            }
        });
        Self { stop, thread }
    }

    /// Looks once more, then returns what was seen.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Streamed {
    fn look(&mut self, table: &Path, seen: &mut Seen) {
        for success in tables::successes(table) {
            // What a reader finds who looks because of it.
            let beside = || tables::files(success.parent().unwrap());
            seen.successes.entry(success.clone()).or_insert_with(beside);
        }
        let listed = tables::files(table);
        for file in &listed {
            let shown = file.display();
            let Ok(stamp) = stamp(file) else {
                seen.wrong.push(format!("{shown} was listed and is gone"));
                continue;
            };
            match self.stamps.insert(file.clone(), stamp) {
                Some(before) if before == stamp => {}
                Some(before) => {
                    seen.wrong.push(format!("{shown} has changed: {before:?}, {stamp:?}"));
                }
                None => self.read(file, seen),
            }
        }
        if self.stamps.len() > listed.len() {
            self.stamps.retain(|file, _| {
                let there = listed.binary_search(file).is_ok();
                if !there {
                    seen.wrong.push(format!("{} has vanished", file.display()));
                }
                there
            });
        }
    }

    /// What a closing lists is visible when it is, or waits to be published: what it adds itself.
    fn look_at_closings(&mut self, lake: &Path, table: &str, seen: &mut Seen) {
        for file in tables::files(&lake.join("_tidemill").join(table).join("closed")) {
            if self.closings.contains(&file) {
                continue;
            }
            // On a local disk its name is there a moment before its text.
            let Ok(closing) =
                serde_json::from_slice::<Closing>(&fs::read(&file).unwrap_or_default())
            else {
                continue;
            };
            let added = closing.compaction.iter().flat_map(|compaction| &compaction.added);
            let staged: HashMap<_, _> =
                added.map(|file| (&file.published, lake.join(&file.staged))).collect();
            for rows in &closing.files {
                let waits = staged.get(&rows.published).is_some_and(|staged| staged.exists());
                // In this order: its staged copy goes after it has been published.
                if !waits && !lake.join(&rows.published).exists() {
                    seen.wrong.push(format!("{} lists {}", file.display(), rows.published));
                }
            }
            self.closings.insert(file);
        }
    }

    fn read(&mut self, file: &Path, seen: &mut Seen) {
        seen.files += 1;
        if file.extension().is_none_or(|extension| extension != "parquet") {
            seen.wrong.push(format!("{} is no Parquet file", file.display()));
        }
        match tables::origins(file) {
            Ok(origins) => {
                seen.rows += origins.len();
                let again = origins.iter().filter(|origin| !self.origins.insert(**origin)).count();
                if again > 0 {
                    seen.wrong.push(format!("{} shows {again} rows again", file.display()));
                }
            }
            Err(err) => seen.wrong.push(err),
        }
    }
}

/// A file that is replaced may differ at each look, but is whole, and the only one of its folder.
fn look_at_replaced(table: &Path, stamps: &mut HashMap<PathBuf, Stamp>, seen: &mut Seen) {
    let listed = tables::files(table);
    for pair in listed.windows(2) {
        if pair[0].parent() == pair[1].parent() {
            seen.wrong.push(format!("{} is not alone", pair[1].display()));
        }
    }
    for file in listed {
        let Ok(stamp) = stamp(&file) else { continue };
        if stamps.insert(file.clone(), stamp) != Some(stamp)
            && let Err(err) = tables::read(&file, &["wiki"])
        {
            // A result without rows takes the file away.
            seen.wrong.extend(file.exists().then_some(err));
        }
    }
}

fn stamp(file: &Path) -> std::io::Result<Stamp> {
    let facts = fs::metadata(file)?;
    Ok((facts.len(), facts.mtime(), facts.mtime_nsec(), facts.ino()))
}
