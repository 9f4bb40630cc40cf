//! The pure decisions of this layer, for the model check to drive.

pub(crate) use super::super::commit::decisions::PublishHeard;
pub(crate) use super::super::commit::decisions::PublishStep;
pub(crate) use super::super::commit::decisions::follows;
pub(crate) use super::super::commit::decisions::garbage;
pub(crate) use super::super::commit::decisions::publish_next;
pub(crate) use super::super::compaction::unnamed;
pub(crate) use super::super::create::Heard as CreateHeard;
pub(crate) use super::super::create::Step as CreateStep;
pub(crate) use super::super::create::next as create_next;
pub(crate) use super::super::outputs::fence;
