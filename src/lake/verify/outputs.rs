//! The same for a table that batches write: one object a hive partition, and its number beside it.

use super::super::{Lake, paths};
use super::found::{Files, Finding, Listed, Seen, Severity};
use super::logs::Before;
use super::look::{Look, look};
use super::{Report, judge};
use crate::error::{Error, ErrorKind};
use crate::model::commit::{Output, OutputFile};
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use object_store::path::Path;
use std::collections::BTreeSet;

const SETTLED: &str = "the next process that reads or writes this output finishes it";

impl Lake {
    /// Returns the visible objects that are told of here, beside the files that outputs list.
    pub(super) async fn verify_outputs(
        &self,
        table: &TableName,
        before: Before<'_>,
        files: &mut Files,
        report: &mut Report,
    ) -> Result<BTreeSet<String>, Error> {
        let mut keys = expected(table, before, report.logs == 0);
        for meta in self.list_right_under(&paths::outputs(table)).await?.objects {
            match paths::output_key(&meta.location) {
                Some(key) => {
                    keys.insert(key);
                }
                None => report.found([judge::stranger_among_ours(meta.location.as_ref())]),
            }
        }
        let mut told = BTreeSet::new();
        for key in &keys {
            let published = paths::output(table, key).to_string();
            let number = paths::output_number(table, key);
            match look(&number, self.own_output(table, key).await)? {
                Look::Whole(output) => self.verify_output(&output, files, report).await?,
                Look::Missing => report.found([missing(&number, &published, key)]),
                Look::Broken(finding) => report.found([finding]),
            }
            told.insert(published);
        }
        Ok(told)
    }

    async fn verify_output(
        &self,
        output: &Output,
        files: &mut Files,
        report: &mut Report,
    ) -> Result<(), Error> {
        let Some(file) = &output.file else {
            let published = paths::output(&output.table, &output.key);
            if self.size(&published).await?.is_some() {
                report.found([left(&published, output)]);
            }
            return Ok(());
        };
        let seen = self.seen(&file.published, file.bytes, &file.checksum).await?;
        let waits = self.size(&Path::from(file.staged.as_str())).await?.is_some();
        report.found(judge_file(output, file, seen, waits));
        report.files += 1;
        report.bytes += file.bytes;
        report.counts.landed += file.rows;
        let listed = Listed {
            key: Some(output.key),
            staged: file.staged.clone(),
            bytes: file.bytes,
            checksum: file.checksum.clone(),
            rows: file.rows,
            waits: None,
        };
        files.insert(file.published.clone(), listed);
        Ok(())
    }

    /// Reads the number of an output and sees that it is the one of that name.
    async fn own_output(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Option<Output>, Error> {
        let output = self.read_output(table, key).await?;
        if let Some(Output { table: its, key: of, .. }) = &output
            && (its, of) != (table, key)
        {
            return Err(Error::new(
                ErrorKind::Data,
                format!("it holds the number of {of} of {its}"),
            ));
        }
        Ok(output)
    }
}

/// The hive partitions that must have a number: one is written before the object, and both before the
/// closing. A table that has logs has no outputs, so that an object of that name is a stranger's.
fn expected(table: &TableName, before: Before<'_>, without_logs: bool) -> BTreeSet<PartitionKey> {
    let visible = before.visible.iter().filter(|_| without_logs).filter_map(|name| {
        let path = Path::from(name.as_str());
        paths::key_of(table, &path).filter(|key| paths::output(table, key) == path)
    });
    let closings = before.closings.whole.values().filter_map(|closings| closings.last());
    let of_batch =
        closings.filter(|closing| closing.made_from.is_some() && !closing.files.is_empty());
    visible.chain(of_batch.map(|closing| closing.key)).collect()
}

fn missing(number: &Path, published: &str, key: &PartitionKey) -> Finding {
    let what = format!("{number} is missing, which says what {published} was made from");
    let mend = format!(
        "leave {published} where it is; put the object back from a copy, or clear the run of {key}: it \
         makes both again"
    );
    Finding { severity: Severity::Damage, what, mend }
}

fn left(published: &Path, output: &Output) -> Finding {
    let what = format!(
        "{published} is still there, and {} made no rows of closing {}",
        output.run, output.n
    );
    Finding { severity: Severity::Unfinished, what, mend: SETTLED.to_owned() }
}

fn judge_file(output: &Output, file: &OutputFile, seen: Seen, waits: bool) -> Option<Finding> {
    let Output { n, run, .. } = output;
    let OutputFile { published, .. } = file;
    let (severity, what, mend) = match (seen, waits) {
        (Seen::Same, _) => return None,
        (Seen::Missing | Seen::Other, true) => (
            Severity::Unfinished,
            format!("{published} of closing {n} is staged and not in its place yet"),
            SETTLED,
        ),
        (Seen::Missing | Seen::Other, false) => (
            Severity::Damage,
            format!("{published} is not what {run} made from closing {n}"),
            "clear that run: it makes the object again",
        ),
    };
    Some(Finding { severity, what, mend: mend.to_owned() })
}
