//! Makes the files of a record visible, each under one name, whoever does it and however often.
//!
//! [`next`] decides for one file. A staged object is deleted only after its copy is known to be
//! complete, so as long as one of the two exists nothing is lost; and when both are gone, only a
//! closing that lists the file can tell that it had been published.

use super::super::{CALLS_MAX, Lake, at_once};
use crate::crash;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::commit::{Closing, File, Publish, Record};
use object_store::ObjectStoreExt;
use object_store::path::Path;

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(crate) enum Heard {
    Nothing,
    Copied,
    /// There is an object under the final name already.
    Taken,
    /// The object under the final name has the record's size and checksum, or not.
    Compared {
        same: bool,
    },
    SourceGone,
    /// With the source gone: whether there is an object under the final name.
    Final {
        there: bool,
    },
    /// With both gone: whether the newest closing of the hive partition lists the file.
    Closing {
        lists: bool,
    },
    StagedDeleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Copy,
    Compare,
    LookForFinal,
    AskClosing,
    DeleteStaged,
    Done,
    /// Another object has the name.
    Clash,
    Lost,
}

pub(crate) fn next(heard: Heard) -> Step {
    match heard {
        Heard::Nothing => Step::Copy,
        Heard::Taken => Step::Compare,
        Heard::Copied | Heard::Compared { same: true } => Step::DeleteStaged,
        Heard::Compared { same: false } => Step::Clash,
        Heard::SourceGone => Step::LookForFinal,
        Heard::Final { there: false } => Step::AskClosing,
        Heard::Closing { lists: false } => Step::Lost,
        Heard::StagedDeleted | Heard::Final { there: true } | Heard::Closing { lists: true } => {
            Step::Done
        }
    }
}

/// What says that a file counts.
#[derive(Clone, Copy)]
enum Named<'a> {
    Record(&'a Record),
    Closing(&'a Closing),
}

/// The files of a record that are visible as soon as it is published: those that wait for the closing
/// of their hive partition are not among them.
pub(crate) fn shown_on_commit(record: &Record) -> impl Iterator<Item = &File> {
    let files = match record.publish {
        Publish::OnCommit => record.files.as_slice(),
        Publish::OnClose => &[],
    };
    files.iter().chain(&record.quarantine)
}

impl Lake {
    /// Makes the files of a committed record visible, but for those that wait for a closing. Anyone
    /// may, at any time, again and again.
    pub async fn publish(&self, record: &Record) -> Result<(), Error> {
        let files = shown_on_commit(record);
        let publish = files.map(|file| self.publish_file(Named::Record(record), file)).collect();
        at_once(CALLS_MAX, publish).await.map(drop)
    }

    /// Makes the sorted files that a closing adds visible, likewise.
    pub(in super::super) async fn publish_added(&self, closing: &Closing) -> Result<(), Error> {
        let added = closing.compaction.iter().flat_map(|compaction| &compaction.added);
        let publish = added.map(|file| self.publish_file(Named::Closing(closing), file)).collect();
        at_once(CALLS_MAX, publish).await.map(drop)
    }

    async fn publish_file(&self, named: Named<'_>, file: &File) -> Result<(), Error> {
        let doing = || match named {
            Named::Record(record) => format!("publish {} of record {}", file.published, record.seq),
            Named::Closing(its) => format!("publish {} of closing {}", file.published, its.n),
        };
        let mut heard = Heard::Nothing;
        loop {
            heard = match next(heard) {
                Step::Copy => self.copy(file).await.doing(doing)?,
                Step::Compare => {
                    let path = file.published.as_str().into();
                    let same = self.holds(&path, file.bytes, &file.checksum).await.doing(doing)?;
                    Heard::Compared { same }
                }
                Step::LookForFinal => {
                    let there = self.size(&file.published.as_str().into()).await.doing(doing)?;
                    Heard::Final { there: there.is_some() }
                }
                Step::AskClosing => {
                    Heard::Closing { lists: self.is_closed_with(named, file).await.doing(doing)? }
                }
                Step::DeleteStaged => {
                    crash::point("publish");
                    self.delete(&file.staged.as_str().into()).await.doing(doing)?;
                    Heard::StagedDeleted
                }
                Step::Done => return Ok(()),
                Step::Clash => return Err(clash(file)).doing(doing),
                Step::Lost => return Err(lost(file)).doing(doing),
            }
        }
    }

    async fn copy(&self, file: &File) -> Result<Heard, Error> {
        let (from, to) = (Path::from(file.staged.as_str()), Path::from(file.published.as_str()));
        let call = || async {
            match self.objects().copy_if_not_exists(&from, &to).await {
                Ok(()) => Ok(Heard::Copied),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(Heard::Taken),
                Err(object_store::Error::NotFound { .. }) => Ok(Heard::SourceGone),
                Err(error) => Err(Error::from(error)),
            }
        };
        self.retry().run(call).await
    }

    /// Whether a closing tells that the file was visible once. Of the files that a closing adds only a
    /// later one does.
    async fn is_closed_with(&self, named: Named<'_>, file: &File) -> Result<bool, Error> {
        let Some(key) = &file.key else { return Ok(false) };
        let (output, after) = match named {
            Named::Record(record) => (&record.output, 0),
            Named::Closing(closing) => (&closing.table, closing.n),
        };
        let newest = self.newest_closing(output, key).await?;
        let lists = |closing: Closing| {
            closing.n > after
                && closing.files.iter().any(|closed| closed.published == file.published)
        };
        Ok(newest.is_some_and(lists))
    }
}

fn clash(file: &File) -> Error {
    let problem = format!(
        "another object has that name; the record's has {} bytes and SHA-256 {}",
        file.bytes, file.checksum
    );
    Error::new(ErrorKind::Data, problem).remedy(format!(
        "move {} out of the table, find out who wrote it, and start the stream again",
        file.published
    ))
}

fn lost(file: &File) -> Error {
    let problem = format!(
        "neither it nor {} exists, and no closing lists it: {} rows are lost",
        file.staged, file.rows
    );
    Error::new(ErrorKind::Data, problem).remedy(
        "put either object back from a copy, and see that no lifecycle rule deletes in the lake",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done for one file, when the store answers so.
    #[track_caller]
    fn check(answers: &[Heard], steps: &[Step]) {
        let heard = [Heard::Nothing].iter().chain(answers).copied();
        assert_eq!(heard.map(next).collect::<Vec<_>>(), steps);
    }

    #[test]
    fn a_copy_is_made_before_the_staged_object_goes() {
        check(
            &[Heard::Copied, Heard::StagedDeleted],
            &[Step::Copy, Step::DeleteStaged, Step::Done],
        );
    }

    #[test]
    fn a_copy_whose_answer_was_lost_is_compared() {
        check(
            &[Heard::Taken, Heard::Compared { same: true }, Heard::StagedDeleted],
            &[Step::Copy, Step::Compare, Step::DeleteStaged, Step::Done],
        );
    }

    #[test]
    fn another_object_under_the_name_is_loud_and_the_staged_one_stays() {
        check(
            &[Heard::Taken, Heard::Compared { same: false }],
            &[Step::Copy, Step::Compare, Step::Clash],
        );
    }

    #[test]
    fn a_file_that_another_has_published_is_done() {
        check(
            &[Heard::SourceGone, Heard::Final { there: true }],
            &[Step::Copy, Step::LookForFinal, Step::Done],
        );
    }

    #[test]
    fn with_both_gone_only_a_closing_can_tell() {
        let gone = [Heard::SourceGone, Heard::Final { there: false }];
        let asked = [Step::Copy, Step::LookForFinal, Step::AskClosing];
        check(
            &[gone[0], gone[1], Heard::Closing { lists: true }],
            &[asked[0], asked[1], asked[2], Step::Done],
        );
        check(
            &[gone[0], gone[1], Heard::Closing { lists: false }],
            &[asked[0], asked[1], asked[2], Step::Lost],
        );
    }
}
