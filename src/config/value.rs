//! Values that more than one section writes: paths, addresses, secrets.

use super::node::{Entry, Node, Value};
use super::problem::{At, Problem, Sink, names_a_secret};
use super::section::Section;
use crate::model::secret::EnvValue;
use crate::model::secret::Secret;
use std::path::{Path, PathBuf};

/// The path behind a scheme, from the project's folder. Outer `None`: not written.
#[expect(clippy::option_option, reason = "not written, and written wrongly, are two cases")]
pub fn url(
    section: &mut Section<'_>,
    scheme: &str,
    like: &str,
    root: &Path,
) -> Option<Option<PathBuf>> {
    if !section.has("url") {
        return None;
    }
    let Some(url) = section.text("url") else { return Some(None) };
    let path = url.value.strip_prefix(scheme).filter(|path| !path.is_empty());
    if path.is_none() {
        let title = format!("`{}` is no place for it", url.value);
        section.sink().push(Problem::error(title, &url.place).help(format!("write \"{like}\"")));
    }
    Some(path.map(|path| root.join(path.trim_start_matches("//"))))
}

/// Reads a text, `{ env = "…" }` or `{ file = "…" }`.
pub fn env_value(node: &Node, sink: &Sink) -> Option<EnvValue> {
    match &node.value {
        Value::Text(text) | Value::Loose(text) => return Some(EnvValue::Text(text.clone())),
        Value::Integer(number) => return Some(EnvValue::Text(number.to_string())),
        Value::Bool(flag) => return Some(EnvValue::Text(flag.to_string())),
        Value::Float(_) | Value::Time(_) | Value::List(_) | Value::Table(_) => {}
    }
    let mut section = Section::open("secret", node, sink)?;
    let (env, file) = (section.text("env"), section.text("file"));
    let place = section.place.clone();
    section.finish();
    match (env, file) {
        (Some(env), None) => Some(EnvValue::Secret(Secret::Env(env.value))),
        (None, Some(file)) => Some(EnvValue::Secret(Secret::File(file.value.into()))),
        _ => {
            let help = "write { env = \"NAME\" } or { file = \"/run/secrets/name\" }";
            sink.push(Problem::error("a secret has one place", &place).help(help));
            None
        }
    }
}

/// The address of a server, without a slash at its end; `like` is one that would do.
pub fn address(written: &At<String>, like: &str, sink: &Sink) -> Option<String> {
    let address = written.value.trim_end_matches('/');
    let host = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    if host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', ' '])) {
        return Some(address.to_owned());
    }
    let title = format!("`{}` is no address of a server", written.value);
    let help = format!("write \"{like}\", or leave it out for Google's own");
    sink.push(Problem::error(title, &written.place).help(help));
    None
}

/// A key file, absolute; `help` says what to write instead of anything else.
pub fn key_file(node: &Node, root: &Path, help: &str, sink: &Sink) -> Option<PathBuf> {
    match env_value(node, sink)? {
        EnvValue::Secret(Secret::File(file)) => Some(root.join(file)),
        EnvValue::Text(_) | EnvValue::Secret(Secret::Env(_)) => {
            // Its own place may hold a secret.
            let place = node.place.start();
            sink.push(Problem::error("`credentials` are a key file", &place).help(help));
            None
        }
    }
}

/// A variable of a program of the user's.
pub fn variable(entry: &Entry, sink: &Sink) -> Option<EnvValue> {
    let name = &entry.key;
    if name.is_empty() || name.contains(['=', '\0']) || name.starts_with("TIDEMILL_") {
        let title = format!("`{name}` can't be set");
        let help = "names beginning with TIDEMILL_ are ours, and none may contain '='";
        sink.push(Problem::error(title, &entry.key_place).help(help));
        return None;
    }
    let value = env_value(&entry.node, sink)?;
    if names_a_secret(name) && matches!(value, EnvValue::Text(_)) {
        let title = format!("`{name}` looks like a secret, and stands here as text");
        let help = format!("write {name} = {{ env = \"{name}\" }}, and change the secret");
        sink.push(Problem::warning(title, &entry.key_place.start()).help(help));
    }
    Some(value)
}
