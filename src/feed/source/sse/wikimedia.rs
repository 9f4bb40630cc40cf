//! The rules of Wikimedia's event service.
//!
//! An id there is a JSON array with a place for each topic partition of Kafka behind the stream. It names times
//! and no offsets, because each data centre has a Kafka of its own, where the same event has another offset. The
//! time is one millisecond past that of the last event. To go on there would lose what else happened in its
//! millisecond, and, because times are a little out of order, what is older and came later. So we ask again from
//! the newest time on: Kafka goes on at the first event that is not before it. What we have of those that come
//! again stands in the token, by digests of their ids.
//!
//! An event is sent by the data centre that is active. After a switch the other topic speaks, and may do so in
//! a moment without a connection, so a topic that was silent is asked for from our first event on.

use super::parse::Frame;
use super::rules::{Rules, Taken, digest, kind_of, read_token, write_token};
use crate::error::Error;
use crate::model::time::Micros;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tracing::warn;

/// Events of a topic partition whose ids are at hand: a minute of the busiest stream. Kafka's times are out of
/// order by a second at most.
const SEEN_MAX: usize = 2048;
/// Every stream has the events of so long.
const KEPT: Duration = Duration::from_hours(7 * 24);
/// More topic partitions than any of its streams has.
const PLACES_MAX: usize = 256;
/// The domain of the events that are made to see whether the stream works.
const CANARY: &str = "canary";

/// Where the streams are.
#[derive(Clone, Debug, Default)]
pub struct Wikimedia {
    /// The time of our first event, in milliseconds.
    since: Option<i64>,
    places: BTreeMap<(String, i64), Place>,
}

/// Where a topic partition is.
#[derive(Clone, Debug, Default)]
struct Place {
    /// The newest time of its events, in milliseconds. It never goes back, and so neither do we.
    at: Option<i64>,
    /// What a server says that goes by offsets.
    offset: Option<i64>,
    /// The times and digests of its last events.
    seen: VecDeque<(i64, String)>,
}

/// A place in an id of the server's.
#[derive(Debug, Serialize, Deserialize)]
struct IdPlace {
    topic: String,
    partition: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
}

/// Our place as a mark carries it.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    since: Option<i64>,
    places: Vec<TokenPlace>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TokenPlace {
    topic: String,
    partition: i64,
    at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    /// Digests of the events that come again if we go on here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seen: Vec<String>,
}

/// What an event says of itself.
#[derive(Debug, Default, Deserialize)]
struct Event {
    #[serde(default)]
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    id: Option<String>,
    domain: Option<String>,
    topic: Option<String>,
    partition: Option<i64>,
}

impl Wikimedia {
    /// Goes on behind `token`.
    pub fn resume(token: Option<&str>) -> Result<Self, Error> {
        let Some(token) = token else { return Ok(Self::default()) };
        let token: Token = read_token(token)?;
        let place = |place: TokenPlace| {
            let at = place.at.unwrap_or(i64::MAX);
            let seen = place.seen.into_iter().map(|digest| (at, digest)).collect();
            let known = Place { at: place.at, offset: place.offset, seen };
            ((place.topic, place.partition), known)
        };
        Ok(Self { since: token.since, places: token.places.into_iter().map(place).collect() })
    }

    /// Says so where the stream may no longer have all that came since: then it goes on with the oldest
    /// that it has.
    pub fn warn_of_a_gap(&self, now: Micros) {
        let newest = self.places.values().filter_map(|place| place.at).max();
        let Some(newest) = newest.map(|at| Micros(at.saturating_mul(1000))) else { return };
        if now.since(newest) > KEPT {
            warn!(event.time = %newest,
                "the last event is of {newest}, and Wikimedia keeps events for 7 to 31 days: those between \
                 it and the oldest that is left are missing");
        }
    }

    /// Takes an id in; returns the topic partition and the time of the event that it came with.
    fn move_to(&mut self, id: &str, meta: &Meta) -> Option<((String, i64), Option<i64>)> {
        let places: Vec<IdPlace> = serde_json::from_str(id).ok()?;
        let mut moved = None;
        for place in places {
            let key = (place.topic, place.partition);
            if self.places.len() >= PLACES_MAX && !self.places.contains_key(&key) {
                continue;
            }
            let known = self.places.entry(key.clone()).or_default();
            let at = place.timestamp.map(|at| at.saturating_sub(1));
            let named = meta.topic.as_ref() == Some(&key.0)
                && meta.partition.is_none_or(|partition| partition == key.1);
            if named || (moved.is_none() && at > known.at) {
                moved = Some((key, at));
            }
            known.at = at.max(known.at);
            known.offset = place.offset;
        }
        moved
    }

    fn has(&self, digest: &str) -> bool {
        self.places.values().any(|place| place.seen.iter().any(|(_, seen)| seen == digest))
    }

    /// Notes an event of that time.
    fn note(&mut self, key: &(String, i64), at: i64, digest: &str) {
        self.since.get_or_insert(at);
        let Some(place) = self.places.get_mut(key) else { return };
        place.seen.push_back((at, digest.to_owned()));
        if place.seen.len() > SEEN_MAX {
            place.seen.pop_front();
        }
    }
}

impl Place {
    /// The events that come again if we go on here: Kafka goes on at the first that is not before our time.
    fn again(&self) -> Vec<String> {
        let at = self.at.unwrap_or(i64::MIN);
        let first = self.seen.iter().position(|(seen, _)| *seen >= at).unwrap_or(self.seen.len());
        self.seen.iter().skip(first).map(|(_, digest)| digest.clone()).collect()
    }
}

impl Rules for Wikimedia {
    fn take(&mut self, frame: &Frame) -> Taken {
        match kind_of(frame) {
            "message" => {}
            "error" => return Taken::Failure(String::from_utf8_lossy(&frame.data).into_owned()),
            _ => return Taken::NotForTopic,
        }
        let meta = serde_json::from_slice::<Event>(&frame.data).unwrap_or_default().meta;
        let moved = frame.id.as_deref().and_then(|id| self.move_to(id, &meta));
        let digest = match &meta.id {
            Some(id) => digest(&[id.as_bytes()]),
            None => digest(&[&frame.data]),
        };
        let is_repeat = self.has(&digest);
        // A canary, too: its time may be the one from which on we ask again.
        if let Some((key, Some(at))) = moved.filter(|_| !is_repeat) {
            self.note(&key, at, &digest);
        }
        if meta.domain.as_deref() == Some(CANARY) {
            return Taken::NotForTopic;
        }
        if is_repeat {
            return Taken::Repeat;
        }
        Taken::Event { digest: Some(digest) }
    }

    fn last_event_id(&self) -> Option<String> {
        if self.places.is_empty() {
            return None;
        }
        let place = |((topic, partition), place): (&(String, i64), &Place)| {
            let timestamp = place.at.or(self.since);
            let offset = place.offset.filter(|_| timestamp.is_none());
            IdPlace { topic: topic.clone(), partition: *partition, timestamp, offset }
        };
        Some(write_token(&self.places.iter().map(place).collect::<Vec<_>>()))
    }

    fn token(&self) -> Option<String> {
        if self.places.is_empty() {
            return None;
        }
        let place = |((topic, partition), place): (&(String, i64), &Place)| TokenPlace {
            topic: topic.clone(),
            partition: *partition,
            at: place.at,
            offset: place.offset.filter(|_| place.at.is_none()),
            seen: place.again(),
        };
        let places = self.places.iter().map(place).collect();
        Some(write_token(&Token { since: self.since, places }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EQIAD: &str = "eqiad.mediawiki.recentchange";
    const CODFW: &str = "codfw.mediawiki.recentchange";

    /// A frame of `topic` at `at` ms; the other data centre is where `other` says.
    fn frame(topic: &str, at: i64, id: &str, other: &str) -> Frame {
        let silent = if topic == EQIAD { CODFW } else { EQIAD };
        let next = at + 1;
        Frame {
            kind: "message".into(),
            id: Some(format!(
                r#"[{{"topic":"{topic}","partition":0,"timestamp":{next}}},{{"topic":"{silent}","partition":0,{other}}}]"#
            )),
            data: format!(
                r#"{{"meta":{{"id":"{id}","topic":"{topic}","partition":0,"domain":"x"}}}}"#
            )
            .into_bytes(),
            is_too_large: false,
        }
    }

    const SILENT: &str = r#""offset":-1"#;

    fn is_new(wikimedia: &mut Wikimedia, frame: &Frame) -> bool {
        matches!(wikimedia.take(frame), Taken::Event { .. })
    }

    /// As another process has it that reads the last mark.
    fn restarted(wikimedia: &Wikimedia) -> Wikimedia {
        Wikimedia::resume(wikimedia.token().as_deref()).unwrap()
    }

    #[test]
    fn it_asks_again_for_the_millisecond_of_the_last_event_and_leaves_out_what_it_has() {
        let mut wikimedia = Wikimedia::default();
        assert_eq!(wikimedia.last_event_id(), None, "it begins at the live end");
        assert!(is_new(&mut wikimedia, &frame(EQIAD, 1000, "a", SILENT)));
        assert!(is_new(&mut wikimedia, &frame(EQIAD, 1007, "b", SILENT)));
        for mut wikimedia in [wikimedia.clone(), restarted(&wikimedia)] {
            let id = wikimedia.last_event_id().unwrap();
            assert!(
                id.contains(r#""eqiad.mediawiki.recentchange","partition":0,"timestamp":1007"#),
                "{id}"
            );
            assert!(!is_new(&mut wikimedia, &frame(EQIAD, 1007, "b", SILENT)));
            assert!(is_new(&mut wikimedia, &frame(EQIAD, 1007, "c", SILENT)));
        }
    }

    #[test]
    fn what_comes_again_because_times_are_out_of_order_is_left_out() {
        let mut wikimedia = Wikimedia::default();
        for (at, id) in [(1000, "a"), (1007, "b"), (1005, "c"), (1006, "d")] {
            assert!(is_new(&mut wikimedia, &frame(EQIAD, at, id, SILENT)));
        }
        let mut wikimedia = restarted(&wikimedia);
        for (at, id, new) in
            [(1007, "b", false), (1005, "c", false), (1006, "d", false), (1008, "e", true)]
        {
            assert_eq!(is_new(&mut wikimedia, &frame(EQIAD, at, id, SILENT)), new, "{id}");
        }
    }

    #[test]
    fn a_data_centre_that_was_silent_is_asked_from_the_first_event_on() {
        let mut wikimedia = Wikimedia::default();
        is_new(&mut wikimedia, &frame(EQIAD, 1000, "a", SILENT));
        is_new(&mut wikimedia, &frame(EQIAD, 2000, "b", SILENT));
        let id = restarted(&wikimedia).last_event_id().unwrap();
        assert!(
            id.contains(r#""codfw.mediawiki.recentchange","partition":0,"timestamp":1000"#),
            "{id}"
        );
    }

    #[test]
    fn after_a_switch_both_data_centres_keep_their_places() {
        let mut wikimedia = Wikimedia::default();
        is_new(&mut wikimedia, &frame(EQIAD, 1000, "a", SILENT));
        is_new(&mut wikimedia, &frame(CODFW, 5000, "b", r#""timestamp":1001"#));
        // A server that has just begun names offsets of its own, which mean nothing elsewhere.
        is_new(&mut wikimedia, &frame(CODFW, 6000, "c", r#""offset":77"#));
        let mut wikimedia = restarted(&wikimedia);
        let id = wikimedia.last_event_id().unwrap();
        assert!(id.contains(r#""timestamp":1000"#) && id.contains(r#""timestamp":6000"#), "{id}");
        assert!(!id.contains("offset"), "{id}");
        assert!(!is_new(&mut wikimedia, &frame(EQIAD, 1000, "a", r#""timestamp":6001"#)));
        assert!(!is_new(&mut wikimedia, &frame(CODFW, 6000, "c", r#""timestamp":1001"#)));
    }

    #[test]
    fn a_server_that_goes_by_offsets_is_asked_by_them() {
        let mut wikimedia = Wikimedia::default();
        let id = Some(r#"[{"topic":"t","partition":0,"offset":8}]"#.to_owned());
        let data = br#"{"meta":{"id":"a","topic":"t","partition":0}}"#.to_vec();
        let frame = Frame { data, id, ..Frame::default() };
        assert!(is_new(&mut wikimedia, &frame));
        let id = restarted(&wikimedia).last_event_id().unwrap();
        assert_eq!(id, r#"[{"topic":"t","partition":0,"offset":8}]"#);
    }

    #[test]
    fn a_canary_moves_the_place_and_is_no_event() {
        let mut wikimedia = Wikimedia::default();
        let mut canary = frame(CODFW, 3000, "c", SILENT);
        canary.data = br#"{"meta":{"id":"c","domain":"canary"}}"#.to_vec();
        assert_eq!(wikimedia.take(&canary), Taken::NotForTopic);
        assert!(wikimedia.last_event_id().unwrap().contains(r#""timestamp":3000"#));
    }

    #[test]
    fn an_error_of_the_servers_is_a_failure_and_other_kinds_are_nothing() {
        let mut wikimedia = Wikimedia::default();
        let frame =
            |kind: &str| Frame { kind: kind.into(), data: b"x".to_vec(), ..Frame::default() };
        assert_eq!(wikimedia.take(&frame("error")), Taken::Failure("x".into()));
        assert_eq!(wikimedia.take(&frame("ping")), Taken::NotForTopic);
    }

    #[test]
    fn odd_events_and_ids_are_events_all_the_same() {
        let mut wikimedia = Wikimedia::default();
        for (id, data) in [
            (None, "not json"),
            (Some("7"), r#"{"meta":7}"#),
            (Some("[]"), r#"{"meta":{"id":9}}"#),
            (Some(r#"[{"topic":"t"}]"#), "[]"),
            (Some(r#"[{"topic":"t","partition":0,"timestamp":-9223372036854775808}]"#), "1"),
        ] {
            let frame = Frame { id: id.map(str::to_owned), data: data.into(), ..Frame::default() };
            assert!(is_new(&mut wikimedia, &frame), "{data}");
        }
        assert!(Wikimedia::resume(Some("{")).is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut wikimedia = Wikimedia::default();
        for number in 0..5000 {
            is_new(&mut wikimedia, &frame(EQIAD, 1000, &number.to_string(), SILENT));
        }
        assert_eq!(wikimedia.places[&(EQIAD.to_owned(), 0)].seen.len(), SEEN_MAX);
    }
}
