//! The messages between the reading and the writing thread.
//!
//! Messages flow one way, through a queue with a limit. What flows back is state, not a queue: the
//! newest start and the newest committed offset of each topic partition, for the reader to pick up
//! when it comes by. So neither thread ever waits for the other in a circle.

use super::chunk::Chunk;
use crate::kafka::TopicFacts;
use crate::model::time::Micros;
use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Chunks on their way; enough to keep the writer busy while the reader waits for the broker.
pub const QUEUE_CHUNKS: usize = 4;

/// A message of the reader.
pub enum Event {
    /// What the topic is; the first event, and again whenever that changes.
    Topic(TopicFacts),
    Assigned(Vec<u32>),
    Started {
        topic_partition: u32,
        life: u64,
        offset: i64,
        /// Older messages exist or existed that the table has not got.
        cut: bool,
        /// The offset was the topic's end: asked for again it would be another one.
        at_end: bool,
    },
    Chunk(Box<Chunk>),
    /// At `at`, and then only, the end offset was asked for.
    Looked {
        topic_partition: u32,
        /// Of a topic partition that is ours: where it starts, and the position of the reader.
        ours: Option<(u64, i64)>,
        at: Micros,
        end: i64,
    },
    /// Commit these and forget them, then answer.
    Revoked(Vec<u32>, SyncSender<()>),
    Lost(Vec<u32>),
    /// Commit everything, then answer; nothing follows.
    Drain(SyncSender<()>),
}

/// Where a topic partition is to be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub life: u64,
    /// The end of its log; `None`: there is none yet, the job says where to begin.
    pub offset: Option<i64>,
    /// The topic has grown by it since the table began: nothing in it is older than that.
    pub added: bool,
}

/// What the writer leaves for the reader.
#[derive(Debug, Default)]
pub struct Back {
    pub starts: BTreeMap<u32, Start>,
    /// Offsets for the consumer group.
    pub committed: BTreeMap<u32, i64>,
    /// The stream was dropped: end without a commit.
    pub abandoned: bool,
}

#[derive(Debug, Default)]
pub struct Link(Mutex<Back>);

impl Link {
    pub fn back(&self) -> MutexGuard<'_, Back> {
        // A panic elsewhere can't leave these maps half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn abandoned(&self) -> bool {
        self.back().abandoned
    }
}

/// Abandons the stream when the future that runs it is dropped.
pub struct Abandon(pub std::sync::Arc<Link>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.back().abandoned = true;
    }
}
