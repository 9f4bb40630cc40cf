//! Reads the taken fields of a JSON message by seeds, and skips what no column takes.

// Over 400 lines: one seed for each kind of column.

use super::super::Reject;
use super::super::row::{Slot, Slots};
use super::number::NoNumber;
use super::tree::{Node, Taker};
use super::{base64, number, surrogate};
use crate::model::column::ColumnType;
use crate::model::moment;
use crate::model::moment::{NoMoment, OUTSIDE_YEARS};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// How much of a wrong value its error shows.
const SHOWN_CHARS: usize = 60;

/// What is said of a string that no text can hold.
const LONE: &str = "half of a surrogate pair";

/// Reads `message` along the tree below `root` into `slots`.
pub fn read(root: &Node, message: &str, slots: &mut Slots) -> Result<(), Reject> {
    if slots.keeps_rest {
        slots.rest.push('{');
    }
    let mut reading = Reading { slots, message, reject: None, at: root };
    let mut parser = serde_json::Deserializer::from_str(message);
    let done = Object { node: root, reading: &mut reading }.deserialize(&mut parser);
    let done = done.and_then(|()| parser.end());
    let (reject, at) = (reading.reject, reading.at);
    match (done, reject) {
        (_, Some(reject)) => Err(reject),
        (Err(err), None) => Err(broken(at, &err)),
        (Ok(()), None) => {
            if slots.keeps_rest {
                slots.rest.push('}');
            }
            Ok(())
        }
    }
}

fn broken(at: &Node, err: &serde_json::Error) -> Reject {
    match at.path.as_str() {
        "" => Reject::new("invalid JSON", err.to_string()),
        path => Reject::new("invalid JSON", format!("in or after `{path}`: {err}")),
    }
}

/// What the seeds share while they read one message.
struct Reading<'s, 'n> {
    slots: &'s mut Slots,
    message: &'s str,
    /// Why the row is refused; kept here, for the parser's own error can't hold it.
    reject: Option<Reject>,
    /// The taken field that was met last.
    at: &'n Node,
}

impl Reading<'_, '_> {
    fn reject<T, E: de::Error>(&mut self, node: &Node, rule: &str, found: &str) -> Result<T, E> {
        let name = if node.path.is_empty() { "the message" } else { &node.path };
        self.refuse(name, rule, found)
    }

    fn refuse<T, E: de::Error>(&mut self, name: &str, rule: &str, found: &str) -> Result<T, E> {
        let reason = format!("{name}: {rule}");
        let detail = if found.is_empty() { String::new() } else { format!("found {found}") };
        self.reject = Some(Reject::new(reason, detail));
        Err(E::custom("rejected"))
    }

    /// The string that `raw` is, a part of the message; `None` if it is none.
    fn text(&mut self, raw: &str) -> Option<Slot> {
        let within = raw.strip_prefix('"')?.strip_suffix('"')?;
        if !within.contains('\\') {
            return Some(self.borrow(within));
        }
        let text: String = serde_json::from_str(raw).ok()?;
        Some(self.slots.own(&text))
    }

    /// Where `text`, a part of the message, lies in it.
    fn borrow(&self, text: &str) -> Slot {
        let start = text.as_ptr().addr() - self.message.as_ptr().addr();
        Slot::Borrowed(start..start + text.len())
    }
}

/// An object that holds taken fields.
struct Object<'r, 's, 'n> {
    node: &'n Node,
    reading: &'r mut Reading<'s, 'n>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self { node, reading } = self;
        while let Some(found) = map.next_key_seed(Key { node, rest: &mut *reading.slots })? {
            match found {
                Found::Skip => drop(map.next_value::<IgnoredAny>()?),
                Found::Keep(name) => {
                    let value: &RawValue = map.next_value()?;
                    if surrogate::is_lone(value.get()) {
                        let name = node.path_of(&reading.slots.rest[name]);
                        return reading.refuse(&name, LONE, "");
                    }
                    reading.slots.rest.push_str(value.get());
                }
                Found::Take(field) => {
                    reading.at = field;
                    if !reading.slots.first(field.id) {
                        return reading.reject(field, "the field comes twice", "");
                    }
                    map.next_value_seed(Field { node: field, reading })?;
                }
            }
        }
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        // The message itself can't be null; an object within may be, like all that it would hold.
        if self.node.path.is_empty() { self.wrong("null") } else { Ok(()) }
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.wrong(if value { "true" } else { "false" })
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.wrong(&format!("number {value}"))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.wrong(&format!("number {value}"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.wrong(&format!("number {value}"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.wrong(&shown(value))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, _: S) -> Result<(), S::Error> {
        self.wrong("an array")
    }
}

impl Object<'_, '_, '_> {
    fn wrong<E: de::Error>(self, found: &str) -> Result<(), E> {
        self.reading.reject(self.node, "expected an object", found)
    }
}

/// What is done with the value that follows a key.
enum Found<'n> {
    Take(&'n Node),
    /// No column takes it; its key is in the rest already, here without quotes, its value must follow.
    Keep(Range<usize>),
    Skip,
}

struct Key<'r, 'n> {
    node: &'n Node,
    rest: &'r mut Slots,
}

impl<'de, 'n> DeserializeSeed<'de> for Key<'_, 'n> {
    type Value = Found<'n>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Found<'n>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Key<'_, 'n> {
    type Value = Found<'n>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Found<'n>, E> {
        match self.node.fields.get(name) {
            Some(field) => Ok(Found::Take(field)),
            None if self.rest.keeps_rest => Ok(Found::Keep(open(&mut self.rest.rest, name))),
            None => Ok(Found::Skip),
        }
    }
}

/// Writes a key and its colon into an unfinished object; returns where the key stands, between its quotes.
fn open(rest: &mut String, name: &str) -> Range<usize> {
    if !rest.ends_with('{') {
        rest.push(',');
    }
    let quoted = serde_json::to_string(name).expect("a string is always JSON");
    let start = rest.len() + 1;
    rest.push_str(&quoted);
    rest.push(':');
    start..start + quoted.len() - 2
}

/// The value of a taken field, or one that holds taken fields.
struct Field<'r, 's, 'n> {
    node: &'n Node,
    reading: &'r mut Reading<'s, 'n>,
}

impl<'de> DeserializeSeed<'de> for Field<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        let Self { node, reading } = self;
        match (node.takers.as_slice(), node.fields.is_empty()) {
            ([taker], true) => Scalar { node, taker: *taker, reading }.deserialize(from),
            ([], _) => nested(node, reading, from),
            (takers, leaf) => {
                let raw = <&RawValue>::deserialize(from)?;
                let inner = |err: serde_json::Error| de::Error::custom(err);
                for &taker in takers {
                    let mut parser = serde_json::Deserializer::from_str(raw.get());
                    let scalar = Scalar { node, taker, reading: &mut *reading };
                    scalar.deserialize(&mut parser).map_err(inner)?;
                }
                if leaf {
                    return Ok(());
                }
                let mut parser = serde_json::Deserializer::from_str(raw.get());
                // A column takes the whole: nothing of it is left for the rest.
                let keeps_rest = std::mem::take(&mut reading.slots.keeps_rest);
                let done = Object { node, reading: &mut *reading }.deserialize(&mut parser);
                reading.slots.keeps_rest = keeps_rest;
                done.map_err(inner)
            }
        }
    }
}

/// Reads an object within; what it leaves over becomes an object of the rest.
fn nested<'de, 'n, D: Deserializer<'de>>(
    node: &'n Node,
    reading: &mut Reading<'_, 'n>,
    from: D,
) -> Result<(), D::Error> {
    if !reading.slots.keeps_rest {
        return Object { node, reading }.deserialize(from);
    }
    let before = reading.slots.rest.len();
    let name = node.path.rsplit_once('.').map_or(node.path.as_str(), |(_, name)| name);
    open(&mut reading.slots.rest, name);
    reading.slots.rest.push('{');
    let opened = reading.slots.rest.len();
    Object { node, reading: &mut *reading }.deserialize(from)?;
    if reading.slots.rest.len() == opened {
        reading.slots.rest.truncate(before);
    } else {
        reading.slots.rest.push('}');
    }
    Ok(())
}

/// The value of one column.
struct Scalar<'r, 's, 'n> {
    node: &'n Node,
    taker: Taker,
    reading: &'r mut Reading<'s, 'n>,
}

impl<'de> DeserializeSeed<'de> for Scalar<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        match self.taker.kind {
            ColumnType::Json
            | ColumnType::String
            | ColumnType::Int64
            | ColumnType::Float64
            | ColumnType::Decimal(..) => {
                let raw = <&RawValue>::deserialize(from)?;
                self.raw(raw.get())
            }
            ColumnType::Bool | ColumnType::Timestamp | ColumnType::Date | ColumnType::Bytes => {
                from.deserialize_any(self)
            }
        }
    }
}

impl Scalar<'_, '_, '_> {
    fn set(self, slot: Slot) {
        self.reading.slots.values[self.taker.slot] = slot;
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<(), E> {
        let rule = format!("expected {}", self.taker.kind);
        self.reading.reject(self.node, &rule, found)
    }

    /// Types that need the value as it was written, to the last digit.
    fn raw<E: de::Error>(self, raw: &str) -> Result<(), E> {
        if raw == "null" {
            return Ok(());
        }
        let kind = self.taker.kind;
        let is_text = matches!(kind, ColumnType::Json | ColumnType::String);
        if is_text && surrogate::is_lone(raw) {
            return self.reading.reject(self.node, LONE, "");
        }
        let slot = match kind {
            ColumnType::Json => Ok(self.reading.borrow(raw)),
            ColumnType::String => self.reading.text(raw).ok_or(NoNumber::Unreadable),
            kind => number::slot(kind, raw),
        };
        match slot {
            Ok(slot) => {
                self.set(slot);
                Ok(())
            }
            Err(why) => self.reading.reject(self.node, &why.rule(kind), &named(raw)),
        }
    }

    fn string<E: de::Error>(self, value: &str) -> Result<(), E> {
        let kind = self.taker.kind;
        let slot = match kind {
            ColumnType::Timestamp => moment::read(value).map(|at| Slot::Int(at.0)),
            ColumnType::Date => moment::date(value).map(|days| Slot::Int(days.into())),
            ColumnType::Bytes => {
                let bytes = &mut self.reading.slots.bytes;
                let start = bytes.len();
                let whole = base64::read(value, bytes);
                whole.then_some(Slot::Bytes(start..bytes.len())).ok_or(NoMoment::Unreadable)
            }
            _ => Err(NoMoment::Unreadable),
        };
        match slot {
            Ok(slot) => {
                self.set(slot);
                Ok(())
            }
            Err(NoMoment::Unreadable) => self.wrong(&shown(value)),
            Err(NoMoment::OutsideYears) => {
                self.reading.reject(self.node, OUTSIDE_YEARS, &shown(value))
            }
        }
    }
}

impl<'de> Visitor<'de> for Scalar<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.taker.kind)
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        match self.taker.kind {
            ColumnType::Bool => {
                self.set(Slot::Bool(value));
                Ok(())
            }
            _ => self.wrong(if value { "true" } else { "false" }),
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.wrong(&format!("number {value}"))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.wrong(&format!("number {value}"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.wrong(&format!("number {value}"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.string(value)
    }

    fn visit_map<M: MapAccess<'de>>(self, _: M) -> Result<(), M::Error> {
        self.wrong("an object")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, _: S) -> Result<(), S::Error> {
        self.wrong("an array")
    }
}

/// A value as an error calls it.
fn named(raw: &str) -> String {
    match raw.as_bytes().first() {
        Some(b'"') => format!("string {}", clip(raw)),
        Some(b'{') => "an object".into(),
        Some(b'[') => "an array".into(),
        Some(b't' | b'f') => raw.into(),
        _ => format!("number {}", clip(raw)),
    }
}

/// A text as an error shows it.
fn shown(text: &str) -> String {
    named(&format!("{text:?}"))
}

/// The text, or its beginning and how long it is.
fn clip(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_CHARS) {
        None => text.into(),
        Some((end, _)) => {
            let all = text.chars().count();
            format!("{}\u{2026} ({all} characters)", &text[..end]).into()
        }
    }
}
