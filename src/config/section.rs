//! Takes keys from a table of a file, and says what is wrong with each and which are left over.

use super::later;
use super::meant::did_you_mean;
use super::node::{Entry, Node, Table, Value};
use super::problem::{At, Place, Problem, Sink};
use crate::model::duration::{parse_duration, parse_size};
use crate::model::time::Micros;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// A table being read. Ask for every key it may have, then [`Section::finish`].
pub struct Section<'a> {
    /// The name in the table of what comes later, and nowhere else: `dag.schedule`.
    path: &'static str,
    table: &'a Table,
    pub place: Place,
    sink: &'a Sink,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// `None`, with a problem, for what is no table.
    pub fn open(path: &'static str, node: &'a Node, sink: &'a Sink) -> Option<Self> {
        match &node.value {
            Value::Table(table) => {
                Some(Self { path, table, place: node.place.clone(), sink, asked: Vec::new() })
            }
            other => {
                wrong_kind(sink, node, "a table", other);
                None
            }
        }
    }

    /// The same table, of which we now know more.
    #[must_use]
    pub fn within(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// Whether anything is written in it.
    pub fn has_any(&self) -> bool {
        !self.table.entries().is_empty()
    }

    pub fn sink(&self) -> &'a Sink {
        self.sink
    }

    /// Whether the key is there; also makes it known.
    pub fn has(&mut self, key: &'static str) -> bool {
        self.take(key).is_some()
    }

    /// Whether a key is there, without making it known.
    pub fn has_unasked(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// A text as it stands there, without making the key known.
    pub fn unasked_text(&self, key: &str) -> Option<&'a str> {
        text_of(&self.table.get(key)?.node)
    }

    pub fn take(&mut self, key: &'static str) -> Option<&'a Entry> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table.get(key)
    }

    pub fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let node = &self.take(key)?.node;
        match text_of(node) {
            Some(text) if later::refused_value(self.sink, self.path, key, text, &node.place) => {
                None
            }
            Some(text) => Some(At { value: text.to_owned(), place: node.place.clone() }),
            None => {
                wrong_kind(self.sink, node, "a text", &node.value);
                None
            }
        }
    }

    /// A text that must become a `T`, whose own words say what is wrong.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Option<At<T>> {
        let text = self.text(key)?;
        self.parse(&text)
    }

    pub fn parse<T: FromStr<Err: Display>>(&self, text: &At<String>) -> Option<At<T>> {
        match text.value.parse() {
            Ok(value) => Some(At { value, place: text.place.clone() }),
            Err(wrong) => {
                self.sink.push(Problem::error(wrong.to_string(), &text.place));
                None
            }
        }
    }

    /// One of a few words, each with what it means.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text.value).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let choices = words.iter().map(|(word, _)| *word);
            let title = format!("`{key}` can't be `{}`", text.value);
            let help = did_you_mean(&text.value, "it may be", choices);
            self.sink.push(Problem::error(title, &text.place).help(help));
        }
        found
    }

    /// A duration that is not zero, where zero would mean "all the time".
    pub fn span(&mut self, key: &'static str) -> Option<Duration> {
        let parse = |text: &str| parse_duration(text).filter(|span| !span.is_zero());
        self.measured(key, "a duration above zero", "90s, 10m, 1h 30m or 7d", parse)
    }

    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.measured(key, "a duration", "90s, 10m, 1h 30m or 7d", parse_duration)
    }

    pub fn size(&mut self, key: &'static str) -> Option<u64> {
        let parse = |text: &str| parse_size(text).filter(|bytes| *bytes > 0);
        self.measured(key, "a size", "128MiB or 2GiB", parse)
    }

    fn measured<T>(
        &mut self,
        key: &'static str,
        what: &str,
        like: &str,
        parse: fn(&str) -> Option<T>,
    ) -> Option<T> {
        let node = &self.take(key)?.node;
        let read = text_of(node).and_then(parse);
        if read.is_none() {
            let written = node.place.source.text.get(node.place.span.clone()).unwrap_or_default();
            let title = format!("`{key}` is {what}, and {written} is none");
            let help = format!(
                "write it as a text with its unit: \"{}\"",
                like.replace(", ", "\", \"").replace(" or ", "\" or \"")
            );
            self.sink.push(Problem::error(title, &node.place).help(help));
        }
        read
    }

    /// A whole number within `range`.
    pub fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let node = &self.take(key)?.node;
        let number = match &node.value {
            Value::Integer(number) => Some(*number),
            Value::Loose(text) => text.parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            wrong_kind(self.sink, node, "a number", &node.value);
            return None;
        };
        let fitting = u32::try_from(number).ok().filter(|number| range.contains(number));
        if fitting.is_none() {
            let (least, most) = (range.start(), range.end());
            let title = format!("`{key}` can't be {number}");
            let help = format!("it is {least} to {most}");
            self.sink.push(Problem::error(title, &node.place).help(help));
        }
        fitting
    }

    /// A number above zero, with or without a fraction.
    pub fn positive(&mut self, key: &'static str) -> Option<f64> {
        let node = &self.take(key)?.node;
        let number = match &node.value {
            Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
            Value::Float(number) => Some(*number),
            Value::Loose(text) => text.parse().ok(),
            Value::Text(_) | Value::Bool(_) | Value::Time(_) | Value::List(_) | Value::Table(_) => {
                wrong_kind(self.sink, node, "a number", &node.value);
                return None;
            }
        };
        let fitting = number.filter(|number| number.is_finite() && *number > 0.0);
        if fitting.is_none() {
            let title = format!("`{key}` must be above zero, and not beyond a billion");
            self.sink.push(Problem::error(title, &node.place));
        }
        fitting
    }

    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let node = &self.take(key)?.node;
        match &node.value {
            Value::Bool(flag) => Some(*flag),
            Value::Loose(text) if text == "true" => Some(true),
            Value::Loose(text) if text == "false" => Some(false),
            other => {
                wrong_kind(self.sink, node, "true or false", other);
                None
            }
        }
    }

    /// A date or a moment: `2026-11-20`, `2026-11-20T05:00:00Z`; midnight and UTC where left out.
    pub fn moment(&mut self, key: &'static str) -> Option<Micros> {
        let node = &self.take(key)?.node;
        let text = match &node.value {
            Value::Time(text) => Some(text.as_str()),
            _ => text_of(node),
        };
        let moment = text.and_then(parse_moment);
        if moment.is_none() {
            let written = node.place.source.text.get(node.place.span.clone()).unwrap_or_default();
            let title = format!("`{key}` is a time, and {written} is none");
            let help = "write \"2026-11-20\" or \"2026-11-20T05:00:00Z\"";
            self.sink.push(Problem::error(title, &node.place).help(help));
        }
        moment
    }

    pub fn list(&mut self, key: &'static str) -> Option<&'a [Node]> {
        let node = &self.take(key)?.node;
        match &node.value {
            Value::List(items) => Some(items),
            other => {
                wrong_kind(self.sink, node, "a list", other);
                None
            }
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<At<String>>> {
        let items = self.list(key)?;
        Some(items.iter().filter_map(|item| text(item, self.sink)).collect())
    }

    pub fn section(&mut self, key: &'static str, path: &'static str) -> Option<Section<'a>> {
        Section::open(path, &self.take(key)?.node, self.sink)
    }

    /// The entries of a table whose keys the user chooses.
    pub fn named(&mut self, key: &'static str) -> &'a [Entry] {
        let Some(entry) = self.take(key) else { return &[] };
        match &entry.node.value {
            Value::Table(table) => table.entries(),
            other => {
                wrong_kind(self.sink, &entry.node, "a table", other);
                &[]
            }
        }
    }

    /// Says that a key is missing.
    pub fn missing(&self, key: &str, help: &str) {
        let title = format!("`{key}` is missing");
        self.sink.push(Problem::error(title, &self.place).help(help));
    }

    /// Every key must have been asked for by now: what is left over is unknown.
    pub fn finish(self) {
        for entry in self.table.entries() {
            if self.asked.contains(&entry.key.as_str()) {
                continue;
            }
            if later::refused_key(self.sink, self.path, &entry.key, &entry.key_place) {
                continue;
            }
            let title = format!("nothing is named `{}` here", entry.key);
            let help = did_you_mean(&entry.key, "the keys here", self.asked.iter().copied());
            self.sink.push(Problem::error(title, &entry.key_place).help(help));
        }
    }
}

/// The text of an item of a list.
pub fn text(node: &Node, sink: &Sink) -> Option<At<String>> {
    let text = text_of(node);
    if text.is_none() {
        wrong_kind(sink, node, "a text", &node.value);
    }
    Some(At { value: text?.to_owned(), place: node.place.clone() })
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) | Value::Loose(text) => Some(text),
        _ => None,
    }
}

pub fn wrong_kind(sink: &Sink, node: &Node, wanted: &str, found: &Value) {
    let title = format!("{wanted} belongs here, not {}", found.kind());
    sink.push(Problem::error(title, &node.place));
}

fn parse_moment(text: &str) -> Option<Micros> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.into());
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().into())
}
