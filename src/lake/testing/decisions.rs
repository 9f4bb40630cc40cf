//! The pure decisions of this layer, for the model check to drive.

pub(crate) use super::super::commit::decisions::{
    PublishHeard, PublishStep, follows, garbage, publish_next,
};
pub(crate) use super::super::compaction::unnamed;
pub(crate) use super::super::create::{
    Heard as CreateHeard, Step as CreateStep, next as create_next,
};
pub(crate) use super::super::outputs::fence;
