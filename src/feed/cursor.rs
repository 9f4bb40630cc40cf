//! Finds out from the topic itself where a feed goes on.
//!
//! Every message of a feed carries a key: which feed, over how many topic partitions, and the number
//! of the event. An event goes to topic partition *number mod count* and a producer keeps the order
//! within a topic partition, so the last key of each says exactly which events are in, wherever the
//! feed was killed. A mark carries the number of the first event that is not in yet.

use crate::error::{Error, ErrorKind};
use crate::kafka::Message;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fmt::Write as _;

/// Names the events of one feed: what they are made from, not how fast they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Eight hexadecimal digits of the SHA-256 of `parts`.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        let mut text = String::new();
        for byte in &digest.finalize()[..4] {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of a message: `1f0c2a9e.4.e.1234` for event 1,234, `1f0c2a9e.4.m.1235` for a mark after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Event(u64),
    /// Every event before this one is in.
    Mark(u64),
}

/// Which events of a feed are in the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    fingerprint: Fingerprint,
    /// For each topic partition: the first event that may be missing there.
    missing_from: Vec<u64>,
    /// The lowest of the topic partitions' last marks; `None` while one has none.
    marks: Vec<Option<i64>>,
    /// To which topic partitions this life has sent.
    sent: Vec<bool>,
}

impl Cursor {
    /// The cursor of a feed whose topic of `topic_partitions` is empty.
    pub fn new(fingerprint: Fingerprint, topic_partitions: u32) -> Self {
        let count = topic_partitions as usize;
        Self {
            fingerprint,
            missing_from: vec![0; count],
            marks: vec![None; count],
            sent: vec![false; count],
        }
    }

    /// Takes a message of the topic into account; within a topic partition in order.
    pub fn see(&mut self, message: &Message<'_>) -> Result<(), Error> {
        let Some(key) = message.key.and_then(|key| std::str::from_utf8(key).ok()) else {
            return Ok(());
        };
        let Some(rest) = key.strip_prefix(self.fingerprint.0.as_str()) else { return Ok(()) };
        let Some((count, key)) = parse(rest) else { return Ok(()) };
        if count != self.missing_from.len() {
            return Err(self.grown(count));
        }
        let place = message.topic_partition as usize;
        let next = match key {
            Key::Event(number) => number + 1,
            Key::Mark(next) => {
                self.marks[place] = message.mark.map(|mark| mark.0);
                next
            }
        };
        self.missing_from[place] = self.missing_from[place].max(next);
        Ok(())
    }

    /// Event `number` is on its way.
    pub fn sends(&mut self, number: u64) {
        let place = self.topic_partition(number) as usize;
        self.sent[place] = true;
    }

    /// For each topic partition the first event that may be missing, all before `next` being in; 0
    /// where there was none.
    pub fn missing_from(&self, next: u64) -> Vec<u64> {
        let of = |(known, sent): (&u64, &bool)| {
            if *known > 0 || *sent { next.max(*known) } else { 0 }
        };
        self.missing_from.iter().zip(&self.sent).map(of).collect()
    }

    /// Takes a note of an earlier life into account where the topic tells nothing; `exact` if nothing
    /// was sent after it was made.
    pub fn recall(&mut self, noted: &[u64], exact: bool) -> Result<(), Error> {
        if noted.len() != self.missing_from.len() {
            return Err(self.grown(noted.len()));
        }
        for (place, noted) in noted.iter().enumerate() {
            if self.missing_from[place] > 0 || *noted == 0 {
                continue;
            }
            if !exact {
                return Err(Error::new(
                    ErrorKind::Input,
                    format!(
                        "topic partition {place} has lost this feed's messages to retention, and \
                         which were sent after event {noted} is not known"
                    ),
                ));
            }
            self.missing_from[place] = *noted;
        }
        Ok(())
    }

    fn grown(&self, before: usize) -> Error {
        Error::new(
            ErrorKind::Input,
            format!(
                "this feed began with {before} topic partitions, the topic has {} now",
                self.missing_from.len()
            ),
        )
        .remedy("let it fill a new topic: events go to topic partitions by their number")
    }

    /// Whether every topic partition has told something, so that no older message can matter.
    pub fn is_known(&self) -> bool {
        self.missing_from.iter().all(|next| *next > 0)
    }

    /// Whether this feed has sent `message`, in this life or an earlier one.
    pub fn is_ours(&self, message: &Message<'_>) -> bool {
        message.key.is_some_and(|key| key.starts_with(self.fingerprint.0.as_bytes()))
    }

    /// Where event `number` belongs.
    pub fn topic_partition(&self, number: u64) -> u32 {
        let count = self.missing_from.len() as u64;
        u32::try_from(number % count).expect("a remainder is below a count that is a u32")
    }

    pub fn has(&self, number: u64) -> bool {
        number < self.missing_from[self.topic_partition(number) as usize]
    }

    /// No event before this one is missing.
    pub fn first_missing(&self) -> u64 {
        self.missing_from.iter().copied().min().unwrap_or(0)
    }

    /// The event time that every topic partition has been marked with, at least.
    pub fn marked(&self) -> Option<i64> {
        self.marks.iter().copied().min().flatten()
    }

    pub fn event_key(&self, number: u64) -> String {
        format!("{}.{}.e.{number}", self.fingerprint.0, self.missing_from.len())
    }

    pub fn mark_key(&self, next: u64) -> String {
        format!("{}.{}.m.{next}", self.fingerprint.0, self.missing_from.len())
    }
}

fn parse(rest: &str) -> Option<(usize, Key)> {
    let mut parts = rest.strip_prefix('.')?.split('.');
    let count = parts.next()?.parse().ok()?;
    let make = match parts.next()? {
        "e" => Key::Event,
        "m" => Key::Mark,
        _ => return None,
    };
    let number = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((count, make(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Micros;

    fn cursor(partitions: u32) -> Cursor {
        Cursor::new(Fingerprint::of(&[b"a feed"]), partitions)
    }

    fn see(cursor: &mut Cursor, topic_partition: u32, key: &str, mark: Option<i64>) {
        let message = Message {
            topic_partition,
            offset: 0,
            arrived: None,
            key: Some(key.as_bytes()),
            payload: None,
            mark: mark.map(Micros),
            headers: &(),
        };
        cursor.see(&message).unwrap();
    }

    #[test]
    fn the_last_key_of_each_topic_partition_says_what_is_in() {
        let mut cursor = cursor(2);
        let keys = [cursor.event_key(4), cursor.event_key(1)];
        see(&mut cursor, 0, &keys[0], None);
        see(&mut cursor, 1, &keys[1], None);
        let has: Vec<_> = (0..7).filter(|number| cursor.has(*number)).collect();
        assert_eq!(has, [0, 1, 2, 4]);
        assert_eq!(cursor.first_missing(), 2);
    }

    #[test]
    fn a_mark_vouches_for_all_events_before_it() {
        let mut cursor = cursor(3);
        let key = cursor.mark_key(10);
        for place in 0..3 {
            see(&mut cursor, place, &key, Some(77));
        }
        assert!(cursor.has(9) && !cursor.has(10));
        assert_eq!(cursor.marked(), Some(77));
    }

    #[test]
    fn a_topic_partition_without_the_last_mark_was_not_marked() {
        let mut cursor = cursor(2);
        let key = cursor.mark_key(10);
        see(&mut cursor, 0, &key, Some(77));
        assert_eq!(cursor.marked(), None);
    }

    #[test]
    fn keys_of_others_say_nothing() {
        let mut cursor = cursor(1);
        let other = Cursor::new(Fingerprint::of(&[b"another feed"]), 1);
        for key in ["", "customer-7", "….1.e.5", &other.event_key(5)] {
            see(&mut cursor, 0, key, None);
        }
        assert_eq!(cursor.first_missing(), 0);
    }

    #[test]
    fn a_topic_that_grew_stops_the_feed() {
        let mut grown = cursor(5);
        let key = cursor(4).event_key(9);
        let message = Message {
            topic_partition: 1,
            offset: 0,
            arrived: None,
            key: Some(key.as_bytes()),
            payload: None,
            mark: None,
            headers: &(),
        };
        assert_eq!(grown.see(&message).unwrap_err().kind, ErrorKind::Input);
    }
}
