//! A TOML document whose every value knows where it was written, also after an environment's file
//! was laid over another.

use super::problem::{Place, Problem, Sink, Source};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// Anything of TOML's dates and times, as it was written.
    Time(String),
    List(Vec<Node>),
    Table(Table),
    /// From an environment variable: becomes whatever its reader asks for.
    Loose(String),
}

/// Keys in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub struct Table(Vec<Entry>);

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_place: Place,
    pub node: Node,
}

impl Value {
    /// What it is called in a problem.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Loose(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a fraction",
            Self::Bool(_) => "true or false",
            Self::Time(_) => "a time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Table {
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    /// Lays `over` over this table, key by key; of the rest each value stays as it is.
    pub fn overlay(&mut self, over: Table) {
        for entry in over.0 {
            let Some(ours) = self.0.iter_mut().find(|ours| ours.key == entry.key) else {
                self.0.push(entry);
                continue;
            };
            match (&mut ours.node.value, entry.node.value) {
                (Value::Table(table), Value::Table(over)) if !one_of_several(&over) => {
                    table.overlay(over);
                }
                (_, value) => {
                    ours.key_place = entry.key_place;
                    ours.node = Node { place: entry.node.place, value };
                }
            }
        }
    }

    /// Puts a value at a path, making the tables on the way.
    pub fn set(&mut self, path: &[String], node: Node) {
        let Some((key, rest)) = path.split_first() else { return };
        let place = node.place.clone();
        let node = if rest.is_empty() {
            node
        } else {
            let mut table = Self::default();
            table.set(rest, node);
            Node { place: place.clone(), value: Value::Table(table) }
        };
        self.overlay(Self(vec![Entry { key: key.clone(), key_place: place, node }]));
    }
}

/// `{ env = … }` or `{ file = … }`, `{ replay = … }` or `{ simulate = … }`: laid over each other they
/// would be both.
fn one_of_several(over: &Table) -> bool {
    const CHOICES: [&str; 4] = ["env", "file", "replay", "simulate"];
    matches!(over.entries(), [only] if CHOICES.contains(&only.key.as_str()))
}

/// Reads a document; what does not parse becomes problems, and the rest is there to be checked.
pub fn parse(source: &Arc<Source>, sink: &Sink) -> Node {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    for error in &errors {
        let place = Place::of_parser(source, error.span().unwrap_or(0..0));
        sink.push(Problem::error(format!("this is not TOML: {}", error.message()), &place));
    }
    Node { place: Place::top(source), value: Value::Table(read_table(table.get_ref(), source)) }
}

/// Reads the value of an environment variable: `{…}` and `[…]` are TOML, all else is its text.
pub fn parse_variable(source: &Arc<Source>, sink: &Sink) -> Node {
    let text = source.text.trim();
    let place = Place { source: source.clone(), span: 0..source.text.len() };
    if !text.starts_with(['{', '[']) {
        return Node { place, value: Value::Loose(text.to_owned()) };
    }
    let (value, errors) = DeValue::parse_recoverable(&source.text);
    for error in &errors {
        sink.push(Problem::error(format!("this is not TOML: {}", error.message()), &place));
    }
    read_value(&value, source)
}

fn read_table(table: &DeTable<'_>, source: &Arc<Source>) -> Table {
    let entry = |(key, value): (&Spanned<_>, &Spanned<_>)| {
        let key: &Spanned<std::borrow::Cow<'_, str>> = key;
        Entry {
            key: key.get_ref().to_string(),
            key_place: Place { source: source.clone(), span: key.span() },
            node: read_value(value, source),
        }
    };
    let mut entries: Vec<_> = table.iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.key_place.span.start);
    Table(entries)
}

fn read_value(value: &Spanned<DeValue<'_>>, source: &Arc<Source>) -> Node {
    let place = Place { source: source.clone(), span: value.span() };
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Text(number.to_string()), Value::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| Value::Text(number.to_string()), Value::Float)
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::Time(time.to_string()),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| read_value(item, source)).collect())
        }
        DeValue::Table(table) => Value::Table(read_table(table, source)),
    };
    Node { place, value }
}
