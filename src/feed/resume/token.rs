//! Where a source goes on that has no numbers but tokens: a cursor of an API, the last event id of a
//! server-sent stream.
//!
//! A token is opaque, and stands in the key of a mark: everything before it is in. Of what was sent after
//! that mark, the keys of the events in the topic say which ids are in. So a new life asks the source from
//! the token on, and leaves out what is in. An event without an id may come twice there: after a kill, what
//! was sent since the last mark.

use super::Resume;
use super::cursor::Key;
use crate::checksum::Checksum;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// Where a source goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Every event of the feed before this number came before the token.
    pub before: u64,
    pub text: String,
}

impl Token {
    /// As it stands in the key of a mark.
    pub fn encoded(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }
}

/// What stands in an event's key for its id: 64 bits of its SHA-256, in hexadecimal. Only the ids since
/// the last mark are compared by it, a few thousand.
pub fn digest(id: &str) -> String {
    shortened(Checksum::of(id))
}

/// The first 64 bits of a checksum.
pub fn shortened(mut checksum: String) -> String {
    checksum.truncate(16);
    checksum
}

/// What the tail of a topic says of the newest token, and of the events behind it.
#[derive(Clone, Debug, Default)]
pub struct Seam {
    newest: Option<Token>,
    /// Digests of ids, with the numbers of their events.
    sent: Vec<(u64, String)>,
    /// For each topic partition the lowest event that its messages here tell of.
    lowest: BTreeMap<u32, u64>,
}

impl Seam {
    /// Takes a message of the feed into account.
    pub fn see(&mut self, topic_partition: u32, key: Key, more: Option<&str>) {
        let lowest = self.lowest.entry(topic_partition).or_insert(u64::MAX);
        *lowest = (*lowest).min(key.next());
        match (key, more) {
            (Key::Event(number), Some(digest)) => self.sent.push((number, digest.to_owned())),
            (Key::Mark(before), Some(token)) => {
                let known = self.newest.as_ref().is_some_and(|newest| newest.before >= before);
                let text = URL_SAFE_NO_PAD
                    .decode(token)
                    .ok()
                    .and_then(|text| String::from_utf8(text).ok());
                if let Some(text) = text.filter(|_| !known) {
                    self.sent.retain(|(number, _)| *number >= before);
                    self.newest = Some(Token { before, text });
                }
            }
            _ => {}
        }
    }

    /// Whether there is a token, and every topic partition has told of something before it: so no event
    /// behind it is out of sight.
    pub fn is_whole(&self, partitions: u32) -> bool {
        let Some(newest) = &self.newest else { return false };
        (0..partitions)
            .all(|at| self.lowest.get(&at).is_some_and(|lowest| *lowest <= newest.before))
    }

    /// The newest token, of the topic's and the one that was noted, and the digests of the ids behind it.
    pub fn resume(&self, noted: Option<&Token>) -> (Option<Token>, HashSet<String>) {
        let newest = self.newest.as_ref().into_iter().chain(noted).max_by_key(|token| token.before);
        let before = newest.map_or(0, |token| token.before);
        let behind = self.sent.iter().filter(|(number, _)| *number >= before);
        (newest.cloned(), behind.map(|(_, digest)| digest.clone()).collect())
    }
}

/// So many events of a source may come before those that are in the topic already: then these don't come.
const BEHIND_MAX: u32 = 10_000;

/// The events that are in the topic behind the last token.
///
/// They come again, mixed with those that the last life did not get through. A mark in between must not carry
/// a newer token: the next life would read on from there and no longer look for what is in behind it.
#[derive(Clone, Debug)]
struct Behind {
    digests: HashSet<String>,
    awaited: HashSet<String>,
    passed: u32,
}

impl Behind {
    /// By the digests of their ids.
    fn new(digests: HashSet<String>) -> Self {
        Self { awaited: digests.clone(), digests, passed: 0 }
    }

    /// An event has come; whether the topic has it.
    fn has(&mut self, digest: Option<&str>) -> bool {
        if !self.awaited.is_empty() {
            self.passed += 1;
            if self.passed > BEHIND_MAX {
                self.awaited.clear();
            }
        }
        let Some(digest) = digest else { return false };
        self.awaited.remove(digest);
        self.digests.contains(digest)
    }

    /// Whether a mark may carry a newer token.
    fn has_passed(&self) -> bool {
        self.awaited.is_empty()
    }
}

/// How far a source that goes by tokens has come in this life.
#[derive(Clone, Debug)]
pub struct Position {
    /// What is in the topic behind the token of the last life, and that token.
    behind: Behind,
    resumed: Option<String>,
    begins_at: u64,
    /// The number of the next event.
    next: u64,
    /// Behind all that was read.
    token: Option<String>,
    /// Before the last event that was given out.
    token_before_last: Option<String>,
}

impl Position {
    /// Goes on as `resume` says.
    pub fn new(resume: Resume) -> Self {
        let token = resume.token.map(|token| token.text);
        Self {
            behind: Behind::new(resume.in_topic),
            resumed: token.clone(),
            begins_at: resume.behind_all,
            next: resume.behind_all,
            token_before_last: token.clone(),
            token,
        }
    }

    /// Behind all that was read.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// What was read ends at `token`; where it ended until now.
    pub fn move_to(&mut self, token: Option<String>) -> Option<String> {
        std::mem::replace(&mut self.token, token)
    }

    /// An event has come; whether the topic has it.
    pub fn has(&mut self, digest: Option<&str>) -> bool {
        self.behind.has(digest)
    }

    /// The number of an event that is given out, which was read at the token `before`.
    pub fn number(&mut self, before: Option<String>) -> u64 {
        self.token_before_last = before;
        self.next += 1;
        self.next - 1
    }

    /// The number of the event that is given out next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many events were in the topic already.
    pub fn begins_at(&self) -> u64 {
        self.begins_at
    }

    /// Where the source goes on behind all events before `number`, which is the last one or the next.
    pub fn token_before(&self, number: u64) -> Option<&str> {
        if !self.behind.has_passed() {
            return self.resumed.as_deref();
        }
        if number < self.next { self.token_before_last.as_deref() } else { self.token() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seam(messages: &[(u32, Key, Option<&str>)]) -> Seam {
        let mut seam = Seam::default();
        for (topic_partition, key, more) in messages {
            seam.see(*topic_partition, *key, *more);
        }
        seam
    }

    #[test]
    fn the_newest_token_counts_with_the_ids_behind_it() {
        let (old, new) = (Token::encoded("old"), Token::encoded("{\"new\": 1}"));
        let seam = seam(&[
            (0, Key::Mark(2), Some(&old)),
            (0, Key::Event(2), Some("a")),
            (0, Key::Mark(4), Some(&new)),
            (0, Key::Event(4), Some("c")),
            (1, Key::Mark(2), Some(&old)),
            (1, Key::Event(3), Some("b")),
            (1, Key::Event(5), Some("d")),
        ]);
        let (token, ids) = seam.resume(None);
        assert_eq!(token, Some(Token { before: 4, text: "{\"new\": 1}".to_owned() }));
        assert_eq!(ids, HashSet::from(["c".to_owned(), "d".to_owned()]));
        assert!(seam.is_whole(2) && !seam.is_whole(3));
    }

    #[test]
    fn a_topic_partition_whose_messages_all_come_behind_the_token_hides_older_ones() {
        let token = Token::encoded("t");
        let seam = seam(&[(0, Key::Mark(4), Some(&token)), (1, Key::Event(7), Some("d"))]);
        assert!(!seam.is_whole(2));
    }

    #[test]
    fn a_noted_token_that_is_newer_than_the_topics_counts() {
        let token = Token::encoded("t");
        let seam = seam(&[(0, Key::Mark(4), Some(&token)), (0, Key::Event(4), Some("d"))]);
        let noted = Token { before: 5, text: "noted".to_owned() };
        assert_eq!(seam.resume(Some(&noted)), (Some(noted.clone()), HashSet::new()));
    }

    #[test]
    fn a_token_waits_for_what_is_in_the_topic_behind_the_last_one() {
        let mut behind = Behind::new(HashSet::from(["a".to_owned(), "b".to_owned()]));
        assert!(behind.has(Some("a")) && !behind.has(Some("new")) && !behind.has(None));
        assert!(!behind.has_passed());
        assert!(behind.has(Some("b")) && behind.has_passed());
        assert!(behind.has(Some("a")), "it may come a third time");
    }

    #[test]
    fn what_does_not_come_again_is_waited_for_no_longer_than_it_can_come() {
        let mut behind = Behind::new(HashSet::from(["gone".to_owned()]));
        for _ in 0..BEHIND_MAX {
            behind.has(None);
            assert!(!behind.has_passed());
        }
        behind.has(None);
        assert!(behind.has_passed() && behind.has(Some("gone")));
    }
}
