//! What readers see of a table.

use super::{Lake, paths};
use crate::error::{Doing, Error};
use crate::model::commit::ClosedFile;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};

/// A file that any plain reader of the table finds, closed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibleFile {
    pub key: PartitionKey,
    /// From the lake's root.
    pub published: Path,
    pub bytes: u64,
}

impl Lake {
    /// The files of a hive partition's newest closing; `None` while it has never closed.
    pub async fn closed_files(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Option<Vec<ClosedFile>>, Error> {
        Ok(self.newest_closing(table, key).await?.map(|closing| closing.files))
    }

    /// The files that any plain reader of the table finds now, in the order of keys and names.
    pub async fn visible_files(&self, table: &TableName) -> Result<Vec<VisibleFile>, Error> {
        let file = |meta: ObjectMeta| {
            let key = paths::key_of(table, &meta.location)?;
            if paths::is_success(&meta.location) {
                return None;
            }
            Some(VisibleFile { key, published: meta.location, bytes: meta.size })
        };
        let listed = self.list(&paths::table(table)).await?;
        let mut files: Vec<VisibleFile> = listed.into_iter().filter_map(file).collect();
        files.sort_by(|a, b| (a.key, &a.published).cmp(&(b.key, &b.published)));
        Ok(files)
    }

    /// The quarantine files of an output: names from the lake's root.
    pub async fn quarantine_files(&self, output: &TableName) -> Result<Vec<Path>, Error> {
        let listed = self.list(&paths::quarantine(output)).await?;
        let mut files: Vec<Path> = listed.into_iter().map(|meta| meta.location).collect();
        files.sort();
        Ok(files)
    }

    /// Every object under `folder`, in no order.
    pub(super) async fn list(&self, folder: &Path) -> Result<Vec<ObjectMeta>, Error> {
        let call = || async { Ok(self.objects().list(Some(folder)).try_collect().await?) };
        self.retry().run(call).await.doing(|| format!("list {folder}"))
    }

    /// The folders right under `folder`.
    pub(super) async fn list_folders(&self, folder: &Path) -> Result<Vec<Path>, Error> {
        Ok(self.list_right_under(folder).await?.common_prefixes)
    }

    /// The folders and objects right under `folder`.
    pub(super) async fn list_right_under(&self, folder: &Path) -> Result<ListResult, Error> {
        let call = || async { Ok(self.objects().list_with_delimiter(Some(folder)).await?) };
        self.retry().run(call).await.doing(|| format!("list {folder}"))
    }
}
