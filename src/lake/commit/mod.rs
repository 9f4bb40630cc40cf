//! The commit protocol: how rows of a topic partition become files of a table, each offset once.
//!
//! Stage, append, publish. Files are uploaded where nobody looks; one record, created if absent,
//! says which of them count and which offsets they hold; then each is copied to its final name and
//! its staged copy deleted. The record is the commit. What follows it anyone may repeat, and a
//! record is published before its successor may be made, which [`Tip`] sees to.

pub(super) mod check;
mod log;
mod publish;
mod stage;

pub use log::{Append, Log, Tip, Unpublished};
pub(super) use publish::shown_on_commit;
pub use stage::NewFile;

/// What decides here, for the model check to drive.
#[cfg(test)]
pub(crate) mod decisions {
    pub(crate) use super::check::follows;
    pub(crate) use super::publish::{
        Heard as PublishHeard, Step as PublishStep, next as publish_next,
    };
    pub(crate) use super::stage::garbage;
}

#[cfg(test)]
mod bucket_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod test_writer;
