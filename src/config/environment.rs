//! The environment of the process: single settings set from outside the files.

use super::node::{Table, parse_variable};
use super::problem::{Sink, Source};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `TIDEMILL_CONFIG__KAFKA__BROKERS` sets `brokers` of `[kafka]`.
pub const PREFIX: &str = "TIDEMILL_CONFIG__";

/// The process's own environment, or a made-up one in tests.
///
/// Configuration enters here and nowhere else.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Sets what the environment sets; returns nothing, for a wrong name is an unknown key like any.
pub fn set_from(environment: &Environment, settings: &mut Table, sink: &Sink) {
    for (name, value) in environment.iter() {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let source = Arc::new(Source { name: name.to_owned(), text: value.to_owned() });
        settings.set(&keys(path), parse_variable(&source, sink));
    }
}

/// `KAFKA__PROPERTIES__SASL_USERNAME` is `kafka`, `properties`, `sasl.username`: librdkafka's names
/// have dots, which no shell takes in a variable's name.
fn keys(path: &str) -> Vec<String> {
    let mut keys: Vec<_> = path.split("__").map(str::to_lowercase).collect();
    if let [section, table, property] = keys.as_mut_slice()
        && (section.as_str(), table.as_str()) == ("kafka", "properties")
    {
        *property = property.replace('_', ".");
    }
    keys
}
