//! Reads the taken fields of a JSON message by seeds, and skips what no column takes.

use super::row::{Slot, Slots};
use super::tree::{Node, Taker};
use super::{Reject, text};
use crate::model::column::ColumnType;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;
use std::fmt;

/// How much of a wrong value its error shows.
const SHOWN_CHARS: usize = 40;

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
        let reason = format!("{name}: {rule}");
        let detail = if found.is_empty() { String::new() } else { format!("found {found}") };
        self.reject = Some(Reject::new(reason, detail));
        Err(E::custom("rejected"))
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
                Found::Keep => {
                    let value: &RawValue = map.next_value()?;
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
    /// No column takes it; its key is in the rest already, its value must follow.
    Keep,
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
            None if self.rest.keeps_rest => {
                open(&mut self.rest.rest, name);
                Ok(Found::Keep)
            }
            None => Ok(Found::Skip),
        }
    }
}

/// Writes a key and its colon into an unfinished object.
fn open(rest: &mut String, name: &str) {
    if !rest.ends_with('{') {
        rest.push(',');
    }
    let quoted = serde_json::to_string(name).expect("a string is always JSON");
    rest.push_str(&quoted);
    rest.push(':');
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
            ColumnType::Json | ColumnType::Float64 | ColumnType::Decimal(..) => {
                let raw = <&RawValue>::deserialize(from)?;
                self.raw(raw.get())
            }
            ColumnType::String
            | ColumnType::Int64
            | ColumnType::Bool
            | ColumnType::Timestamp
            | ColumnType::Date
            | ColumnType::Bytes => from.deserialize_any(self),
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
        let slot = match self.taker.kind {
            ColumnType::Json => Some(self.reading.borrow(raw)),
            kind => number(kind, raw),
        };
        match slot {
            Some(slot) => {
                self.set(slot);
                Ok(())
            }
            None if raw.starts_with('"') => self.wrong(&format!("string {}", clip(raw))),
            None if raw.starts_with('{') => self.wrong("an object"),
            None if raw.starts_with('[') => self.wrong("an array"),
            None if raw.starts_with(['t', 'f']) => self.wrong(raw),
            None => self.wrong(&format!("number {}", clip(raw))),
        }
    }

    fn string<E: de::Error>(
        self,
        value: &str,
        slot: impl FnOnce(&mut Self) -> Slot,
    ) -> Result<(), E> {
        let mut this = self;
        let slot = match this.taker.kind {
            ColumnType::String => Some(slot(&mut this)),
            ColumnType::Timestamp => text::timestamp(value).map(Slot::Int),
            ColumnType::Date => text::date(value).map(|days| Slot::Int(days.into())),
            ColumnType::Bytes => {
                let bytes = &mut this.reading.slots.bytes;
                let start = bytes.len();
                let whole = text::base64(value, bytes);
                whole.then_some(Slot::Bytes(start..bytes.len()))
            }
            _ => None,
        };
        match slot {
            Some(slot) => {
                this.set(slot);
                Ok(())
            }
            None => this.wrong(&shown(value)),
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
        match self.taker.kind {
            ColumnType::Int64 => {
                self.set(Slot::Int(value));
                Ok(())
            }
            _ => self.wrong(&format!("number {value}")),
        }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.wrong(&format!("number {value}")),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.wrong(&format!("number {value}"))
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<(), E> {
        self.string(value, |this| this.reading.borrow(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.string(value, |this| this.reading.slots.own(value))
    }

    fn visit_map<M: MapAccess<'de>>(self, _: M) -> Result<(), M::Error> {
        self.wrong("an object")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, _: S) -> Result<(), S::Error> {
        self.wrong("an array")
    }
}

/// The value of a column that needs a number as it was written, to the last digit.
pub fn number(kind: ColumnType, raw: &str) -> Option<Slot> {
    match kind {
        ColumnType::Decimal(precision, scale) => {
            text::decimal(raw.trim_matches('"'), precision, scale).map(Slot::Decimal)
        }
        ColumnType::Float64 if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
            raw.parse().ok().filter(|value: &f64| value.is_finite()).map(Slot::Float)
        }
        _ => None,
    }
}

/// A text as an error shows it.
fn shown(text: &str) -> String {
    format!("string {:?}", clip(text))
}

fn clip(text: &str) -> &str {
    text.char_indices().nth(SHOWN_CHARS).map_or(text, |(end, _)| &text[..end])
}
