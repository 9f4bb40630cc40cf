//! Where a feed's events come from: one folder or file for each kind of source.

pub mod exec;
pub mod fields;
pub mod pick;
pub mod replay;
pub mod simulate;
pub mod sse;
pub mod unique;

use crate::error::Error;
use crate::model::time::EventTime;

/// An event on its way; its buffers are used again.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Its place in the source, for ever; where the source goes by tokens, in the topic.
    pub number: u64,
    /// What its key tells of its id; where the source goes by tokens, and by ids.
    pub id_digest: Option<String>,
    pub payload: Vec<u8>,
    pub at: Option<EventTime>,
}

/// What a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The event that was asked for.
    Event,
    /// Nothing now; ask again in a moment.
    NotYet,
    /// Nothing ever again.
    End,
}

/// A source at work.
///
/// It goes on after a kill in one of two ways. Either it gives out the same events under the same numbers
/// whenever it is read, and the feed sends those that are missing. Or it says by [`Source::token_before`]
/// where to go on, gives its events numbers of this life, from [`Resume::behind_all`] on, and leaves out
/// those whose ids are in the topic already.
///
/// [`Resume::behind_all`]: super::resume::Resume::behind_all
pub trait Source: Send {
    /// Fills `event` with the next one. Numbers rise; they may leave gaps.
    fn read(&mut self, event: &mut Event) -> Result<Next, Error>;

    /// No event from `number` on is dated before this; `None` where the source can't say.
    fn promise_before(&self, number: u64) -> Option<EventTime>;

    /// The newest date so far, of those that can be believed.
    fn newest(&self) -> Option<EventTime>;

    /// How many events were passed over unread, because they are in the topic.
    fn begins_at(&self) -> u64 {
        0
    }

    /// Where the source goes on behind all events before `number`, which is the one in hand or the next;
    /// `None` where it goes by numbers, or has no token yet.
    fn token_before(&self, number: u64) -> Option<&str> {
        let _ = number;
        None
    }

    /// How many events this life has left out as repeats.
    fn left_out(&self) -> u64 {
        0
    }

    /// How many events this life has passed over because they are not for the topic, or too large for it.
    fn passed_over(&self) -> u64 {
        0
    }

    /// What is the matter outside, while nothing comes.
    fn note(&self) -> Option<String> {
        None
    }
}
