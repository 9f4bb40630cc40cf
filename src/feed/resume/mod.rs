//! Where a feed goes on after its last life, however that ended.
//!
//! The topic knows best: every message of a feed carries a key that says which event it is
//! ([`cursor`]), so the tail of the topic says what is in ([`told`]). A source that has no numbers goes on
//! by a token that a mark carries ([`token`]). Where retention has removed that
//! tail, a note in the state folder says it ([`kept`]).

pub mod cursor;
pub mod kept;
pub mod token;
pub mod told;

use std::collections::HashSet;
use std::time::Duration;
use token::Token;

/// Between events the watermark moves with marks; more of them would only fill the topic.
pub const MARK_EVERY: Duration = Duration::from_secs(2);

/// What a source must know to go on.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// No event before this one is missing.
    pub first_missing: u64,
    /// Neither this event nor a later one is in.
    pub behind_all: u64,
    /// The newest token that everything before it is in.
    pub token: Option<Token>,
    /// The digests of the ids that came behind the token and are in.
    pub in_topic: HashSet<String>,
}
