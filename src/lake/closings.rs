//! Closings: which files a hive partition consisted of when it was declared complete, each time.
//!
//! The object is the truth; the state store mirrors it and can be rebuilt from here.

use super::{CALLS_MAX, Created, Lake, at_once, decode, encode, paths};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::commit::{Closing, Compacted, FORMAT, File};
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;

impl Lake {
    /// Declares a hive partition complete for the `closing.n`-th time, unless that was done.
    ///
    /// Safe to repeat. The caller has published every record whose files the closing lists; sorted
    /// files that it adds are staged, and published after it.
    pub async fn create_closing(&self, closing: &Closing) -> Result<Created<Closing>, Error> {
        let Closing { table, key, n, .. } = closing;
        let path = paths::closing(table, key, u64::from(*n));
        let doing = || format!("create closing {path}");
        let before = u64::from(n.saturating_sub(1));
        let follows =
            before == 0 || self.size(&paths::closing(table, key, before)).await?.is_some();
        check(closing, follows).doing(doing)?;
        Ok(match self.create(&path, encode(closing)).await.doing(doing)? {
            Created::Ours => Created::Ours,
            Created::Theirs(theirs) => Created::Theirs(decode(&theirs).doing(doing)?),
        })
    }

    /// Reads closing `n` of a hive partition; `None` if it does not exist.
    pub async fn closing(
        &self,
        table: &TableName,
        key: &PartitionKey,
        n: u32,
    ) -> Result<Option<Closing>, Error> {
        let path = paths::closing(table, key, u64::from(n));
        let Some(bytes) = self.read(&path).await? else { return Ok(None) };
        decode(&bytes).doing(|| format!("read closing {path}")).map(Some)
    }

    /// The newest closing of a hive partition; `None` while it has never closed.
    pub async fn newest_closing(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Option<Closing>, Error> {
        let newest = self.newest(|n| paths::closing(table, key, n)).await?;
        match u32::try_from(newest) {
            Ok(n) if n > 0 => self.closing(table, key, n).await,
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// The newest closing of every hive partition that has one, in the order of the keys.
    ///
    /// Lists and reads them all: for a state store that is rebuilt, not for every day.
    pub async fn newest_closings(&self, table: &TableName) -> Result<Vec<Closing>, Error> {
        let folders = self.list_folders(&paths::closings(table)).await?;
        let mut keys: Vec<PartitionKey> = folders.iter().filter_map(paths::closed_key).collect();
        keys.sort_unstable();
        let reads = keys.iter().map(|key| self.newest_closing(table, key)).collect();
        let newest: Vec<Option<Closing>> = at_once(CALLS_MAX, reads).await?;
        Ok(newest.into_iter().flatten().collect())
    }
}

/// Whether a closing may be created; `follows`: it is the first, or the one before it exists.
pub(super) fn check(closing: &Closing, follows: bool) -> Result<(), Error> {
    let Closing { format, n, files, rows, .. } = closing;
    let total: u64 = files.iter().map(|file| file.rows).sum();
    let in_order = files.is_sorted_by(|a, b| a.published < b.published);
    let broken = if *format != FORMAT {
        Some(format!("format {format} is not the one written today, {FORMAT}"))
    } else if *n == 0 || !follows {
        Some(format!("there is no closing before number {n}"))
    } else if !in_order {
        Some("its files are not in the order of their names, each once".into())
    } else if total != *rows {
        Some(format!("its files hold {total} rows, and it says {rows}"))
    } else {
        compaction(closing)
    };
    broken.map_or(Ok(()), |rule| Err(Error::new(ErrorKind::Bug, rule)))
}

/// The rule that what was compacted breaks.
fn compaction(closing: &Closing) -> Option<String> {
    let sorted = || closing.files.iter().filter(|file| file.is_compacted());
    let Some(compaction) = &closing.compaction else {
        // A batch's own file belongs to no topic either.
        let made = closing.made_from.is_some();
        let stray = sorted().next().filter(|_| !made)?;
        return Some(format!("{} holds the rows of no record", stray.published));
    };
    let taken: u64 = compaction.records.iter().map(|records| records.rows).sum();
    let held: u64 = sorted().map(|file| file.rows).sum();
    let listed = |file: &File| {
        let File { published, bytes, checksum, rows, .. } = file;
        let mut its = sorted().filter(|its| its.published == *published);
        its.any(|its| (its.rows, its.bytes, &its.checksum) == (*rows, *bytes, checksum))
    };
    let place = |its: &Compacted| (its.topic_id.clone(), its.topic_partition);
    let in_order = compaction.records.is_sorted_by(|a, b| place(a) < place(b))
        && compaction.records.iter().all(|its| its.seqs.is_sorted_by(|a, b| a < b));
    if taken != held {
        Some(format!("its sorted files hold {held} rows, and its records {taken}"))
    } else if !in_order {
        Some("the records that it took are not in order, each once".into())
    } else {
        let lost = compaction.added.iter().find(|file| !listed(file))?;
        Some(format!("it adds {}, and does not list it", lost.published))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{closing, memory};
    use super::*;

    #[track_caller]
    fn refused(follows: bool, change: impl FnOnce(&mut Closing), rule: &str) {
        let mut closing = closing(2, &["a", "b"]);
        change(&mut closing);
        let problem = check(&closing, follows).unwrap_err().to_string();
        assert!(problem.contains(rule), "{problem}");
    }

    #[test]
    fn a_closing_lists_each_file_once_in_order_and_counts_its_rows() {
        check(&closing(2, &["a", "b"]), true).unwrap();
        refused(true, |closing| closing.files.reverse(), "order of their names");
        refused(true, |closing| closing.files[1] = closing.files[0].clone(), "each once");
        refused(true, |closing| closing.rows += 1, "hold 20 rows");
        refused(false, |_| {}, "no closing before");
        refused(true, |closing| closing.n = 0, "no closing before");
    }

    #[tokio::test]
    async fn a_closing_made_twice_is_ours_and_another_one_is_theirs() {
        let lake = memory().await;
        let first = closing(1, &["a"]);
        assert_eq!(lake.create_closing(&first).await.unwrap(), Created::Ours);
        assert_eq!(lake.create_closing(&first).await.unwrap(), Created::Ours);
        let other = closing(1, &["a", "b"]);
        assert_eq!(lake.create_closing(&other).await.unwrap(), Created::Theirs(first));
    }

    #[tokio::test]
    async fn the_newest_closing_counts() {
        let lake = memory().await;
        let newest = closing(2, &["a", "b"]);
        assert_eq!(lake.newest_closing(&newest.table, &newest.key).await.unwrap(), None);
        lake.create_closing(&closing(1, &["a"])).await.unwrap();
        lake.create_closing(&newest).await.unwrap();
        let found = lake.newest_closing(&newest.table, &newest.key).await.unwrap();
        assert_eq!(found.as_ref(), Some(&newest));
        assert_eq!(lake.newest_closings(&newest.table).await.unwrap(), [newest]);
    }
}
