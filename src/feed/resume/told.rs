//! Finds out from the topic itself where a feed goes on.
//!
//! Every message of a feed carries a key ([`Key`]), and a producer keeps the order within a topic
//! partition: so the last key of each says exactly which events are in, wherever the feed was killed.
//! The tails of all topic partitions are read, whatever spread they tell of: an event that was sent
//! before the topic grew lies where the former spread has put it.

use super::cursor::{Cursor, Fingerprint, Key};
use super::token::{self, Seam};
use crate::error::{Error, ErrorKind};
use crate::kafka::Message;
use std::collections::{BTreeMap, BTreeSet};

/// What the topic has told so far.
#[derive(Clone, Debug)]
pub struct Told {
    feed: Fingerprint,
    last: BTreeMap<u32, Last>,
    /// The spreads that a topic partition was told of by a message of its own.
    begun: BTreeSet<u32>,
    seam: Seam,
}

/// The last key of ours in a topic partition.
#[derive(Clone, Copy, Debug)]
struct Last {
    spread: u32,
    next: u64,
    /// Nothing of its spread came after the message that told of it.
    begins: bool,
    /// The last mark with an event time.
    mark: Option<i64>,
}

/// What a note of an earlier life says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// For each topic partition of the spread: the first event that may be missing there; 0 where none
    /// was sent.
    pub missing_from: Vec<u64>,
    /// Nothing was sent since.
    pub exact: bool,
    /// Where the source went on, if it goes by tokens.
    pub token: Option<token::Token>,
}

impl Told {
    pub fn nothing(feed: Fingerprint) -> Self {
        Self { feed, last: BTreeMap::new(), begun: BTreeSet::new(), seam: Seam::default() }
    }

    /// Takes a message of the topic into account; within a topic partition in order.
    pub fn see(&mut self, message: &Message<'_>) {
        let Some((spread, key, more)) = message.key.and_then(|key| Key::read(key, &self.feed))
        else {
            return;
        };
        self.seam.see(message.topic_partition, key, more);
        let at = message.mark.and_then(|mark| mark.at).map(|at| at.0);
        let begins = matches!(key, Key::Begin(_));
        if begins {
            self.begun.insert(spread);
        }
        let last = self.last.entry(message.topic_partition).or_insert(Last {
            spread,
            next: 0,
            begins,
            mark: None,
        });
        if last.spread < spread {
            *last = Last { spread, next: 0, begins, ..*last };
        }
        if last.spread == spread {
            last.next = last.next.max(key.next());
            last.begins &= begins;
        }
        last.mark = at.or(last.mark);
    }

    /// Whether no older message can matter: all of the topic's `partitions` have told of the spread
    /// that is now.
    pub fn is_all(&self, partitions: u32) -> bool {
        let now = self.newest().unwrap_or(0).max(partitions);
        (0..now).all(|at| self.last.get(&at).is_some_and(|last| last.spread == now))
    }

    /// Whether this feed has sent `message`, in this life or an earlier one.
    pub fn is_ours(&self, message: &Message<'_>) -> bool {
        self.feed.is_of(message.key)
    }

    /// Whether the newest token is known, and every event behind it.
    pub fn has_seam(&self, partitions: u32) -> bool {
        self.seam.is_whole(partitions)
    }

    /// What is known of the newest token.
    pub fn seam(&self) -> &Seam {
        &self.seam
    }

    fn newest(&self) -> Option<u32> {
        self.last.values().map(|last| last.spread).max()
    }

    /// Which events are in, for a topic that has `partitions` now. `Input` where topic and note together
    /// leave that open.
    pub fn cursor(self, noted: Option<&Noted>, partitions: u32) -> Result<Cursor, Error> {
        let of_note = noted.and_then(|noted| u32::try_from(noted.missing_from.len()).ok());
        let spread = self.newest().max(of_note).unwrap_or(partitions);
        let noted = noted.filter(|_| of_note == Some(spread));
        let mut missing_from = Vec::new();
        let mut marks = Vec::new();
        let mut begun = true;
        for at in 0..spread {
            let last = self.last.get(&at);
            marks.push(last.and_then(|last| last.mark));
            let of_spread = last.filter(|last| last.spread == spread);
            begun &= of_spread.is_some();
            missing_from.push(match of_spread {
                Some(last) => last.next,
                None => self.untold(at, spread, noted)?,
            });
        }
        Ok(Cursor::new(self.feed, missing_from, marks, begun))
    }

    /// The first event that may be missing in a topic partition that tells nothing of the spread.
    fn untold(&self, at: u32, spread: u32, noted: Option<&Noted>) -> Result<u64, Error> {
        // The note is written when all have been told: this one has lost what it was told, and more.
        if let Some(noted) = noted {
            let next = noted.missing_from[at as usize];
            let is_certain = noted.exact || next == 0;
            return if is_certain {
                Ok(next)
            } else {
                Err(lost(at, &format!("after event {next}")))
            };
        }
        // The last life was killed while it told of the spread, before any event of it.
        let of_spread: Vec<_> =
            self.last.values().filter(|last| last.spread == spread).copied().collect();
        if let Some(begin) = of_spread.first()
            && of_spread.iter().all(|last| last.begins)
        {
            return Ok(begin.next);
        }
        // All are told before any event: this one was, too. Feeds of earlier versions told nothing.
        if self.begun.contains(&spread) || self.last.values().any(|last| last.spread < spread) {
            return Err(lost(at, "there"));
        }
        Ok(0)
    }
}

fn lost(at: u32, since: &str) -> Error {
    let problem = format!(
        "topic partition {at} has lost this feed's messages to retention, and which were sent {since} \
         is not known"
    );
    Error::new(ErrorKind::Input, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Mark;
    use crate::model::time::Micros;

    fn feed() -> Fingerprint {
        Fingerprint::of(&[b"a feed"])
    }

    /// Messages as `topic partition:spread.kind.number`; a mark is at its number.
    fn told(messages: &str) -> Told {
        let mut told = Told::nothing(feed());
        for message in messages.split_whitespace() {
            let (at, key) = message.split_once(':').unwrap();
            let key = format!("{}.{key}", feed());
            let number = key.rsplit('.').next().unwrap().parse().unwrap();
            let mark = key.contains(".m.").then_some(Mark::from(Micros(number)));
            told.see(&Message {
                topic_partition: at.parse().unwrap(),
                offset: 0,
                arrived: None,
                key: Some(key.as_bytes()),
                payload: None,
                mark,
                headers: &(),
            });
        }
        told
    }

    /// What is missing from where, for a topic of `partitions`; `+` where all know of the spread.
    #[track_caller]
    fn check(messages: &str, noted: Option<&Noted>, partitions: u32, expected: &str) {
        let shown = match told(messages).cursor(noted, partitions) {
            Ok(cursor) => {
                let begun = if cursor.has_begun(cursor.spread()) { "+" } else { "" };
                let all: Vec<_> = cursor.missing_from(0).iter().map(ToString::to_string).collect();
                format!("{}{begun}", all.join(" "))
            }
            Err(error) => error.to_string(),
        };
        assert!(shown.ends_with(expected), "{shown}, not {expected}");
    }

    fn noted(missing_from: &[u64], exact: bool) -> Noted {
        Noted { missing_from: missing_from.to_vec(), exact, token: None }
    }

    #[test]
    fn the_last_key_of_each_topic_partition_says_what_is_in() {
        check("0:2.e.0 0:2.e.4 1:2.e.1", None, 2, "5 2+");
        check("0:2.m.10 1:2.m.10 1:2.e.11", None, 2, "10 12+");
        check("", None, 2, "0 0");
        check("1:2.e.3", None, 2, "0 4");
    }

    #[test]
    fn a_topic_that_has_grown_is_gone_on_with_under_the_old_spread_first() {
        check("0:2.e.4 1:2.e.1", None, 5, "5 2+");
    }

    #[test]
    fn events_of_the_former_spread_are_in_once_one_topic_partition_tells_of_the_next() {
        check("0:2.e.4 1:2.e.5 1:3.b.6", None, 3, "6 6 6");
        check("0:2.e.4 1:2.e.5 2:3.b.6", None, 3, "6 6 6");
        check("0:2.e.4 0:3.b.6 1:2.e.5 1:3.b.6 2:3.b.6", None, 3, "6 6 6+");
        check("0:2.e.4 0:3.b.6 0:3.e.6 1:3.b.6 2:3.b.6 2:3.e.8", None, 3, "7 6 9+");
    }

    #[test]
    fn a_topic_that_grows_again_before_all_have_been_told_loses_nothing() {
        check("0:2.e.4 1:2.e.5 2:3.b.6", None, 7, "6 6 6");
    }

    #[test]
    fn the_first_spread_that_was_told_of_to_some_begins_at_the_beginning() {
        check("1:2.b.0", None, 2, "0 0");
    }

    #[test]
    fn a_topic_that_has_forgotten_the_feed_is_completed_by_an_exact_note_only() {
        check("", Some(&noted(&[10, 10], true)), 2, "10 10");
        check("0:2.e.12", Some(&noted(&[10, 10], true)), 2, "13 10");
        check("0:2.e.12", Some(&noted(&[10, 10], false)), 2, "after event 10 is not known");
        check("0:2.e.12", Some(&noted(&[10, 0], false)), 2, "13 0");
        check("", Some(&noted(&[10, 10, 10], true)), 4, "10 10 10");
    }

    #[test]
    fn a_note_of_the_former_spread_says_nothing_of_the_next() {
        check("0:2.e.4 1:2.e.5 1:3.b.6", Some(&noted(&[4, 4], false)), 3, "6 6 6");
    }

    #[test]
    fn what_was_lost_since_the_topic_grew_is_not_guessed() {
        check("0:3.e.6 1:3.b.6", None, 3, "which were sent there is not known");
        check("0:3.e.6 1:2.e.5", None, 3, "which were sent there is not known");
    }

    #[test]
    fn older_messages_matter_until_all_tell_of_the_spread_that_is_now() {
        assert!(told("0:2.e.4 1:2.e.1").is_all(2));
        assert!(!told("0:2.e.4 1:2.e.1").is_all(3), "a third one may know of the next spread");
        assert!(!told("0:2.e.4").is_all(2));
        assert!(!told("0:2.e.4 1:3.b.6 2:3.b.6").is_all(3));
        assert!(!told("0:3.b.6 1:3.b.6").is_all(2), "the broker may be behind");
    }

    #[test]
    fn marks_of_all_topic_partitions_count() {
        let marked = |messages: &str| told(messages).cursor(None, 2).unwrap().marked();
        assert_eq!(marked("0:2.m.10 1:2.m.10"), Some(10));
        assert_eq!(marked("0:2.m.10 1:2.e.5"), None);
        assert_eq!(marked("0:2.m.10 0:2.e.12 1:2.m.10 1:2.b.12"), Some(10));
    }
}
