//! What differs from server to server: where one goes on, and which of what it sends is an event.

use super::parse::Frame;
use crate::checksum::Checksum;
use crate::error::{Doing, Error, ErrorKind};
use crate::feed::resume::token;
use serde::{Deserialize, Serialize};

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// An event for the topic, and what it is known by if it comes again.
    Event { digest: Option<String> },
    /// It has come before.
    Repeat,
    /// A sign of life, or of a kind that nobody asked for.
    NotForTopic,
    /// The server tells of a failure of its own.
    Failure(String),
}

/// The rules of a kind of server, and where its stream is.
pub trait Rules: Send {
    /// Takes a frame into account; it is behind us then.
    fn take(&mut self, frame: &Frame) -> Taken;

    /// The last id that was dispatched, with an event or without.
    fn goes_on_behind(&mut self, last_id: &str) {
        let _ = last_id;
    }

    /// What the next request says of the place to go on.
    fn last_event_id(&self) -> Option<String>;

    /// The place to go on, for a mark.
    fn token(&self) -> Option<String>;
}

/// A server of the standard: its last id says where it goes on.
#[derive(Clone, Debug)]
pub struct Standard {
    /// The kinds that are taken; empty: all.
    kinds: Vec<String>,
    last_id: Option<String>,
}

impl Standard {
    /// Goes on behind `token`.
    pub fn resume(kinds: Vec<String>, token: Option<&str>) -> Self {
        Self { kinds, last_id: token.map(str::to_owned) }
    }
}

impl Rules for Standard {
    fn take(&mut self, frame: &Frame) -> Taken {
        if let Some(id) = &frame.id {
            self.goes_on_behind(id);
        }
        if !self.kinds.is_empty() && !self.kinds.iter().any(|kind| kind == kind_of(frame)) {
            return Taken::NotForTopic;
        }
        // Two events may share an id, so what tells a repeat is the id with the data.
        let known_by = |id: &String| digest(&[id.as_bytes(), b"\n", &frame.data]);
        Taken::Event { digest: frame.id.as_ref().filter(|id| !id.is_empty()).map(known_by) }
    }

    fn goes_on_behind(&mut self, last_id: &str) {
        if self.last_id.as_deref() != Some(last_id) {
            self.last_id = Some(last_id.to_owned()).filter(|id| !id.is_empty());
        }
    }

    fn last_event_id(&self) -> Option<String> {
        self.last_id.clone()
    }

    fn token(&self) -> Option<String> {
        self.last_id.clone()
    }
}

/// The kind of an event; without one it is a message.
pub fn kind_of(frame: &Frame) -> &str {
    if frame.kind.is_empty() { "message" } else { &frame.kind }
}

/// As [`token::digest`], of bytes.
pub fn digest(parts: &[&[u8]]) -> String {
    let mut checksum = Checksum::default();
    for part in parts {
        checksum.add(part);
    }
    token::shortened(checksum.finish())
}

/// A token of ours that holds more than the server's id.
pub fn read_token<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::Data, error))
        .doing(|| "understand the last mark in the topic".to_owned())
}

/// Its text.
pub fn write_token(token: &impl Serialize) -> String {
    serde_json::to_string(token).expect("our own types have string keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: &str, id: Option<&str>, data: &str) -> Frame {
        let data = data.as_bytes().to_vec();
        Frame { kind: kind.into(), id: id.map(str::to_owned), data, is_too_large: false }
    }

    #[test]
    fn the_last_id_is_where_a_server_goes_on() {
        let mut rules = Standard::resume(vec![], Some("5"));
        rules.take(&frame("", None, "a"));
        assert_eq!(rules.last_event_id().as_deref(), Some("5"));
        rules.take(&frame("", Some("6"), "b"));
        assert_eq!(rules.token().as_deref(), Some("6"));
        rules.goes_on_behind("7");
        assert_eq!(rules.token().as_deref(), Some("7"));
        rules.take(&frame("", Some(""), "c"));
        assert_eq!(rules.last_event_id(), None, "an empty id takes it back");
    }

    #[test]
    fn only_the_kinds_that_were_asked_for_are_taken() {
        let mut rules = Standard::resume(vec!["message".into(), "add".into()], None);
        let taken = ["", "message", "add", "ping"]
            .map(|kind| rules.take(&frame(kind, None, "x")) != Taken::NotForTopic);
        assert_eq!(taken, [true, true, true, false]);
    }

    #[test]
    fn events_with_one_id_are_told_apart_by_their_data_and_without_one_not_at_all() {
        let mut rules = Standard::resume(vec![], None);
        let mut digest = |id, data| match rules.take(&frame("", id, data)) {
            Taken::Event { digest } => digest,
            other => panic!("{other:?}"),
        };
        assert_eq!(digest(Some("1"), "a"), digest(Some("1"), "a"));
        assert_ne!(digest(Some("1"), "a"), digest(Some("1"), "b"));
        assert_eq!(digest(None, "a"), None);
    }
}
