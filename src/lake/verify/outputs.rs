//! The same for a table that batches write: one object a hive partition, and its number beside it.

use super::super::Lake;
use super::super::paths;
use super::Report;
use super::judge::Files;
use super::judge::Finding;
use super::judge::Listed;
use super::judge::Seen;
use super::judge::Severity;
use crate::error::Error;
use crate::model::commit::Output;
use crate::model::commit::OutputFile;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use object_store::path::Path;

impl Lake {
    /// Says whether the table has outputs at all.
    pub(super) async fn verify_outputs(
        &self,
        table: &TableName,
        files: &mut Files,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let folder = paths::outputs(table);
        let found = self.list_right_under(&folder).await?.objects;
        let keys: Vec<PartitionKey> =
            found.iter().filter_map(|meta| paths::output_key(&meta.location)).collect();
        for key in &keys {
            let Some(output) = self.read_output(table, key).await? else { continue };
            let Some(file) = &output.file else { continue };
            let seen = self.seen(&file.published, file.bytes, &file.checksum).await?;
            let waits = self.size(&Path::from(file.staged.as_str())).await?.is_some();
            report.found(judge(&output, file, seen, waits));
            report.files += 1;
            report.bytes += file.bytes;
            report.counts.landed += file.rows;
            let listed = Listed {
                key: Some(*key),
                staged: file.staged.clone(),
                bytes: file.bytes,
                checksum: file.checksum.clone(),
                rows: file.rows,
                waits: None,
            };
            files.insert(file.published.clone(), listed);
        }
        Ok(!keys.is_empty())
    }
}

fn judge(output: &Output, file: &OutputFile, seen: Seen, waits: bool) -> Option<Finding> {
    let Output { n, run, .. } = output;
    let OutputFile { published, .. } = file;
    let (severity, what, mend) = match (seen, waits) {
        (Seen::Same, _) => return None,
        (Seen::Missing | Seen::Other, true) => (
            Severity::Unfinished,
            format!("{published} of closing {n} is staged and not in its place yet"),
            "whoever reads or writes this output next puts it there",
        ),
        (Seen::Missing | Seen::Other, false) => (
            Severity::Damage,
            format!("{published} is not what {run} made from closing {n}"),
            "clear that run: it makes the object again",
        ),
    };
    Some(Finding { severity, what, mend: mend.to_owned() })
}
