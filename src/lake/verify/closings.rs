//! Reads the closings of a table, and tells which are lost.

use super::super::Lake;
use super::super::decode;
use super::super::paths;
use super::Report;
use super::judge;
use super::look::Look;
use super::look::look;
use super::numbers;
use super::numbers::Heard;
use super::numbers::Lost;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::commit::Closing;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use object_store::path::Path;
use std::collections::BTreeMap;

/// The closings of a table.
#[derive(Debug, Default)]
pub(super) struct Closings {
    /// Those of each hive partition that can be read, in the order of their numbers.
    pub whole: BTreeMap<PartitionKey, Vec<Closing>>,
    pub lost: Lost<PartitionKey>,
}

impl Closings {
    /// Whether readers may see this object because a closing says so.
    pub fn show(&self, name: &str, table: &TableName) -> bool {
        let path = Path::from(name);
        let its = paths::key_of(table, &path).and_then(|key| self.whole.get(&key));
        let mut compactions =
            its.into_iter().flatten().filter_map(|closing| closing.compaction.as_ref());
        if paths::is_success(&path) {
            return compactions.any(|compaction| compaction.complete);
        }
        compactions.flat_map(|compaction| &compaction.added).any(|file| file.published == name)
    }
}

impl Lake {
    pub(super) async fn verify_closings(
        &self,
        table: &TableName,
        heard: &mut Heard,
        report: &mut Report,
    ) -> Result<Closings, Error> {
        let of = |object: &Path| paths::closing_of(table, object);
        self.hear(&paths::closings(table), of, &mut heard.closings, report).await?;
        let mut closings = Closings::default();
        for (key, heard) in &heard.closings {
            let mut there = Vec::new();
            for n in numbers::to_look_at(heard) {
                match look(&paths::closing(table, key, n), self.own_closing(table, key, n).await)? {
                    Look::Missing => continue,
                    Look::Whole(closing) => closings.whole.entry(*key).or_default().push(closing),
                    Look::Broken(finding) => {
                        report.found([finding]);
                        closings.lost.add(*key, n..=n);
                    }
                }
                there.push(n);
            }
            for gap in numbers::gaps(&there, heard.last().copied().unwrap_or(0)) {
                report.found([judge::missing("closing", &key.to_string(), &gap)]);
                closings.lost.add(*key, gap);
            }
        }
        Ok(closings)
    }

    /// Reads a closing and sees that it is the one of that name.
    async fn own_closing(
        &self,
        table: &TableName,
        key: &PartitionKey,
        n: u64,
    ) -> Result<Option<Closing>, Error> {
        let Some(bytes) = self.read(&paths::closing(table, key, n)).await? else {
            return Ok(None);
        };
        let closing: Closing = decode(&bytes)?;
        if (&closing.table, closing.key, u64::from(closing.n)) != (table, *key, n) {
            let Closing { table, key, n, .. } = closing;
            let problem = format!("it holds closing {n} of {key} of {table}");
            return Err(Error::new(ErrorKind::Data, problem));
        }
        Ok(Some(closing))
    }
}
