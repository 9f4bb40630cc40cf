//! Knows which events of a feed are in its topic, and where the next ones go.
//!
//! A feed **spreads** its events over the topic partitions: event *n* goes to topic partition *n mod
//! spread*. A topic may grow while it is filled; from some event on the spread is wider. That event is
//! told to all topic partitions, old and new, before it or any later one is sent, and after all earlier
//! ones are durable: so wherever a feed is killed, what belongs to one spread is never mixed with what
//! belongs to the next, and whoever reads the topic hears of a new topic partition before anything
//! that the feed could have sent there instead.

use crate::checksum::Checksum;
use std::fmt;

/// Names the events of one feed: what they are made from, not how fast they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Eight hexadecimal digits of the SHA-256 of `parts`.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut checksum = Checksum::default();
        for part in parts {
            checksum.add(&part.len().to_le_bytes());
            checksum.add(part);
        }
        Self(checksum.finish().chars().take(8).collect())
    }

    /// Whether a message with this key is of this feed, of this life or an earlier one.
    pub fn is_of(&self, key: Option<&[u8]>) -> bool {
        key.is_some_and(|key| key.starts_with(self.0.as_bytes()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the key of a message says: `1f0c2a9e.4.e.1234` is event 1,234 of a feed that spreads over 4
/// topic partitions. Where the source goes on by tokens, something follows: the digest of an event's id
/// (`1f0c2a9e.4.e.1234.5feceb66ffc86f38`), or, after a mark, the token itself in base 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `e`: this event.
    Event(u64),
    /// `m`: a mark; every event before this one is in.
    Mark(u64),
    /// `b`: a mark that tells of the spread; every event before this one is in, and none of the others.
    Begin(u64),
}

impl Key {
    /// The key as text, with what follows it.
    pub fn show(self, feed: &Fingerprint, spread: u32, more: Option<&str>) -> String {
        let (kind, number) = match self {
            Self::Event(number) => ('e', number),
            Self::Mark(number) => ('m', number),
            Self::Begin(number) => ('b', number),
        };
        match more {
            None => format!("{feed}.{spread}.{kind}.{number}"),
            Some(more) => format!("{feed}.{spread}.{kind}.{number}.{more}"),
        }
    }

    /// The spread, the key and what follows it; `None` if it is not one of `feed`.
    pub fn read<'a>(text: &'a [u8], feed: &Fingerprint) -> Option<(u32, Self, Option<&'a str>)> {
        let rest = std::str::from_utf8(text).ok()?.strip_prefix(feed.0.as_str())?;
        let mut parts = rest.strip_prefix('.')?.split('.');
        let spread = parts.next()?.parse().ok().filter(|spread| *spread > 0)?;
        let make = match parts.next()? {
            "e" => Self::Event,
            "m" => Self::Mark,
            "b" => Self::Begin,
            _ => return None,
        };
        let number = parts.next()?.parse().ok()?;
        let more = parts.next();
        parts.next().is_none().then_some((spread, make(number), more))
    }

    /// The first event that may be missing in the topic partition whose last key this is.
    pub fn next(self) -> u64 {
        match self {
            Self::Event(number) => number + 1,
            Self::Mark(next) | Self::Begin(next) => next,
        }
    }
}

/// Which events of a feed are in the topic, under its newest spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    feed: Fingerprint,
    /// For each topic partition of the spread: the first event that may be missing there.
    missing_from: Vec<u64>,
    /// The event time that each topic partition was marked with last.
    marks: Vec<Option<i64>>,
    /// To which topic partitions this life has sent.
    sent: Vec<bool>,
    /// Every topic partition of the spread has been told of it.
    begun: bool,
}

impl Cursor {
    /// As the topic and the note have told, for each topic partition of the spread.
    pub fn new(
        feed: Fingerprint,
        missing_from: Vec<u64>,
        marks: Vec<Option<i64>>,
        begun: bool,
    ) -> Self {
        let sent = vec![false; missing_from.len()];
        Self { feed, missing_from, marks, sent, begun }
    }

    /// Over how many topic partitions events go.
    pub fn spread(&self) -> u32 {
        u32::try_from(self.missing_from.len()).expect("topic partitions are counted in u32")
    }

    /// Whether all of `partitions` topic partitions take part, and know it.
    pub fn has_begun(&self, partitions: u32) -> bool {
        self.begun && self.spread() == partitions
    }

    /// From event `next` on they go over `partitions` topic partitions, all of which have been told.
    pub fn begin(&mut self, partitions: u32, next: u64) {
        debug_assert!(next >= self.behind_all(), "event {next} may be in already");
        let count = partitions as usize;
        self.missing_from = vec![next; count];
        self.marks = vec![None; count];
        self.sent = vec![false; count];
        self.begun = true;
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

    /// Neither this event nor a later one was in when this life began.
    pub fn behind_all(&self) -> u64 {
        self.missing_from.iter().copied().max().unwrap_or(0)
    }

    /// The event time that every topic partition has been marked with, at least.
    pub fn marked(&self) -> Option<i64> {
        self.marks.iter().copied().min().flatten()
    }

    pub fn key(&self, key: Key, more: Option<&str>) -> String {
        key.show(&self.feed, self.spread(), more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> Fingerprint {
        Fingerprint::of(&[b"a feed"])
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_only_by_its_feed() {
        for key in [Key::Event(7), Key::Mark(8), Key::Begin(0)] {
            for more in [None, Some("x-_1")] {
                let text = key.show(&feed(), 4, more);
                assert_eq!(Key::read(text.as_bytes(), &feed()), Some((4, key, more)));
            }
            let text = key.show(&feed(), 4, None);
            assert_eq!(Key::read(text.as_bytes(), &Fingerprint::of(&[b"another"])), None);
        }
        for text in ["", "customer-7", "….1.e.5"] {
            assert_eq!(Key::read(text.as_bytes(), &feed()), None);
        }
        for rest in [".0.e.5", ".4.x.5", ".4.e.5.6.7", ".4.e.", "4.e.5"] {
            assert_eq!(Key::read(format!("{}{rest}", feed()).as_bytes(), &feed()), None, "{rest}");
        }
    }

    #[test]
    fn what_is_in_is_told_event_by_event() {
        let cursor = Cursor::new(feed(), vec![5, 2], vec![Some(9), None], true);
        let has: Vec<_> = (0..7).filter(|number| cursor.has(*number)).collect();
        assert_eq!(has, [0, 1, 2, 4]);
        assert_eq!((cursor.first_missing(), cursor.behind_all()), (2, 5));
        assert_eq!(cursor.marked(), None, "one was not marked");
    }

    #[test]
    fn a_wider_spread_has_all_that_came_before_it() {
        let mut cursor = Cursor::new(feed(), vec![5, 6], vec![Some(9); 2], true);
        assert!(cursor.has_begun(2) && !cursor.has_begun(3));
        cursor.begin(3, 6);
        assert!(cursor.has_begun(3) && cursor.has(5) && !cursor.has(6));
        assert_eq!((cursor.marked(), cursor.topic_partition(8)), (None, 2));
        assert_eq!(cursor.missing_from(7), [7; 3], "the note tells that each has been told");
    }
}
