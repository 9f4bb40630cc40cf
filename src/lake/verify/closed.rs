//! Reads the closings of a table, and tells which are lost.

use super::super::{Lake, decode, paths};
use super::found::Closings;
use super::look::{Look, look};
use super::numbers::Heard;
use super::{Report, judge, numbers};
use crate::error::{Error, ErrorKind};
use crate::model::commit::Closing;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use object_store::path::Path;

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
