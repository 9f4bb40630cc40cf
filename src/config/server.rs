//! Reads sources that are servers: `[from.sse]` and `[from.wikimedia]`.

use super::node::Entry;
use super::problem::{At, Problem, Sink, names_a_secret};
use super::section::Section;
use super::value::env_value;
use crate::model::job::{EventServer, Sse, Wikimedia};
use crate::model::secret::EnvValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// A connection without a byte for so long is dead.
const SILENCE: Duration = Duration::from_mins(1);
const EVENT_BYTES_MAX: u32 = 16 << 20;
const EVENT_BYTES_MOST: u64 = 256 << 20;
const WIKIMEDIA: &str = "https://stream.wikimedia.org";
const AGENT_HELP: &str =
    "write who asks and where to write to: user_agent = \"acme-wiki/1.0 (data@example.org)\"";
/// Headers that the feed sets itself, or that HTTP does.
const OWN_HEADERS: [&str; 12] = [
    "accept",
    "accept-encoding",
    "cache-control",
    "connection",
    "content-length",
    "host",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// Headers whose values are secrets, whatever else their names say.
const SECRET_HEADERS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];

pub fn sse(mut section: Section<'_>) -> Option<Sse> {
    let url = section.text("url");
    if !section.has("url") {
        section.missing("url", "url = \"https://example.org/events\"");
    }
    let url = url.and_then(|url| address(&url, section.sink()));
    let kinds = section.texts("events");
    if let Some(kinds) = &kinds {
        named(kinds, "events", &section);
    }
    let server = server(&mut section);
    section.finish();
    let kinds = kinds.unwrap_or_default().into_iter().map(|kind| kind.value).collect();
    Some(Sse { server: server.at(url?)?, kinds })
}

pub fn wikimedia(mut section: Section<'_>) -> Option<Wikimedia> {
    let streams = section.texts("streams");
    if !section.has("streams") {
        section.missing("streams", "streams = [\"recentchange\"]");
    }
    let streams = streams.filter(|streams| named(streams, "streams", &section));
    let base = match section.text("url") {
        Some(url) if url.value.contains('?') => {
            let title = "`url` is the server alone, without a query";
            let help = "write \"https://HOST\": the feed adds /v2/stream and the streams";
            section.sink().push(Problem::error(title, &url.place.start()).help(help));
            None
        }
        Some(url) => address(&url, section.sink()),
        None if section.has("url") => None,
        None => Some(WIKIMEDIA.to_owned()),
    };
    let server = server(&mut section);
    section.finish();
    let streams: Vec<_> = streams?.into_iter().map(|stream| stream.value).collect();
    let url = format!("{}/v2/stream/{}", base?.trim_end_matches('/'), streams.join(","));
    Some(Wikimedia { server: server.at(url)?, streams })
}

/// What every server is asked with; `None` where that is written wrongly, and told.
struct Asked {
    user_agent: Option<String>,
    headers: BTreeMap<String, EnvValue>,
    silence: Duration,
    event_bytes_max: Option<u32>,
}

impl Asked {
    fn at(self, url: String) -> Option<EventServer> {
        Some(EventServer {
            url,
            user_agent: self.user_agent?,
            headers: self.headers,
            silence: self.silence,
            event_bytes_max: self.event_bytes_max?,
        })
    }
}

fn server(section: &mut Section<'_>) -> Asked {
    let agent = section.text("user_agent");
    if !section.has("user_agent") {
        section.missing("user_agent", AGENT_HELP);
    }
    let headers = section.named("headers").iter();
    let headers = headers.filter_map(|entry| header(entry, section.sink())).collect();
    let silence = section.span("silence").unwrap_or(SILENCE);
    let event_bytes_max = match section.take("max_event").map(|entry| entry.node.place.clone()) {
        None => Some(EVENT_BYTES_MAX),
        Some(place) => section.size("max_event").and_then(|bytes| {
            let fitting = u32::try_from(bytes).ok().filter(|_| bytes <= EVENT_BYTES_MOST);
            if fitting.is_none() {
                let help = "it is held in memory: write \"256MiB\" at most";
                section.sink().push(Problem::error("`max_event` is too large", &place).help(help));
            }
            fitting
        }),
    };
    let user_agent = agent.and_then(|agent| who(&agent, section.sink()));
    Asked { user_agent, headers, silence, event_bytes_max }
}

/// A user agent that says whom to write to.
fn who(agent: &At<String>, sink: &Sink) -> Option<String> {
    let text = agent.value.trim();
    let is_mail = |word: &str| {
        let address = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        address.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
    };
    let is_page = text.contains("https://") || text.contains("http://");
    let title = if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        "`user_agent` has characters that HTTP can't send"
    } else if !is_page && !text.split_whitespace().any(is_mail) {
        "`user_agent` names nobody to write to"
    } else {
        return Some(text.to_owned());
    };
    sink.push(Problem::error(title, &agent.place).help(AGENT_HELP));
    None
}

/// The address of a server, where no secret stands.
fn address(url: &At<String>, sink: &Sink) -> Option<String> {
    let text = url.value.as_str();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest).trim_start_matches('/');
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, _) = rest
        .map_or(("", ""), |rest| rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())));
    let is_plain = text.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    // Its own place may hold a secret.
    let secret = |title: &str, help: &str| {
        sink.push(Problem::error(title, &url.place.start()).help(help));
        None
    };
    if authority.contains('@') {
        return secret(
            "a login stands in the address",
            "send it as a header: headers = { Authorization = { env = \"EVENTS_LOGIN\" } }",
        );
    }
    let query = text.split_once('?').map_or("", |(_, query)| query);
    let is_secret = |pair: &str| is_secret_name(pair.split('=').next().unwrap_or_default());
    if query.split('&').any(is_secret) {
        return secret(
            "a secret stands in the address",
            "send it as a header, if the server takes one: headers = { Authorization = { env = \"EVENTS_TOKEN\" } }",
        );
    }
    if host.is_empty() || host.starts_with(':') || !is_plain || text.contains('#') {
        let title = format!("`{text}` is no address of a server");
        let help =
            "write \"https://HOST/PATH\"; other characters than letters, digits and signs as %XX";
        sink.push(Problem::error(title, &url.place).help(help));
        return None;
    }
    Some(text.to_owned())
}

/// Whether a part of a query or a header of this name holds a secret.
fn is_secret_name(name: &str) -> bool {
    const PARTS: [&str; 4] = ["apikey", "accesskey", "authkey", "signature"];
    let plain = name.to_lowercase().replace(['-', '_'], "");
    names_a_secret(name) || plain == "auth" || PARTS.iter().any(|part| plain.contains(part))
}

/// A header of the user's.
fn header(entry: &Entry, sink: &Sink) -> Option<(String, EnvValue)> {
    let name = entry.key.to_lowercase();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let title = format!("`{}` is no name of a header", entry.key);
        sink.push(Problem::error(title, &entry.key_place).help("write it like X-Api-Key"));
        return None;
    }
    if OWN_HEADERS.contains(&name.as_str()) {
        let title = format!("header `{}` is set by the feed", entry.key);
        let help = if name == "user-agent" { "write `user_agent` instead" } else { "leave it out" };
        sink.push(Problem::error(title, &entry.key_place).help(help));
        return None;
    }
    let value = env_value(&entry.node, sink)?;
    let is_secret = SECRET_HEADERS.contains(&name.as_str()) || is_secret_name(&name);
    if is_secret && matches!(value, EnvValue::Text(_)) {
        let title = format!("header `{}` is a secret, and stands here as text", entry.key);
        let help = format!("write {} = {{ env = \"NAME\" }}, and change the secret", entry.key);
        sink.push(Problem::error(title, &entry.key_place.start()).help(help));
        return None;
    }
    Some((name, value))
}

/// Whether a list has names that an address and a mark can hold; else the problem is told.
fn named(names: &[At<String>], key: &str, section: &Section<'_>) -> bool {
    let sink = section.sink();
    if names.is_empty() {
        let title = format!("`{key}` is an empty list");
        sink.push(Problem::error(title, &section.place).help("name one at least"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let wrong = names.iter().filter(|name| name.value.is_empty() || !name.value.chars().all(plain));
    let mut is_right = !names.is_empty();
    for name in wrong {
        let title = format!("`{}` can't be one of `{key}`", name.value);
        let help = "a name has letters, digits, `-`, `_` and `.`";
        sink.push(Problem::error(title, &name.place).help(help));
        is_right = false;
    }
    is_right
}

#[cfg(test)]
mod tests {
    use super::super::Environment;
    use super::super::tests::Folder;
    use crate::model::job::{FeedFrom, JobKind};

    const TOPIC: (&str, &str) = (
        "topics/clicks.toml",
        "columns = [{ name = \"at\", type = \"timestamp\", required = true }]\nevent_time = { column = \"at\" }\n",
    );

    #[test]
    fn every_slip_in_a_source_that_is_a_server_is_told_at_once() {
        let topic = |name: &str| format!("[to.kafka]\ntopic = \"{name}\"\n");
        let sse = format!(
            r#"kind = "feed"
    [from.sse]
    url        = "https://me:hunter2@example.org/events"
    user_agent = "a script"
    events     = ["a b"]
    silence    = "0s"
    max_event  = "1GiB"
    [from.sse.headers]
    Authorization = "Bearer hunter2"
    User-Agent    = "x"
    "X Y"         = "z"
    X-Trace       = "plain"
    {}"#,
            topic("clicks")
        );
        let wikimedia = format!(
            "kind = \"feed\"\n[from.wikimedia]\nstreams = []\nurl = \"example.org\"\nuser_agent = \"bot/1 (\u{e9}@x.org)\"\n{}",
            topic("clicks")
        );
        let bare = format!(
            "kind = \"feed\"\n[from.sse]\nurl = \"https://x.org/?api_token=7\"\n{}",
            topic("clicks")
        );
        let folder = Folder::new(&[
            TOPIC,
            ("jobs/bare/job.toml", &bare),
            ("jobs/sse/job.toml", &sse),
            ("jobs/wikimedia/job.toml", &wikimedia),
        ]);
        let problems = folder.problems();
        assert!(!problems.contains("hunter2"), "{problems}");
        insta::assert_snapshot!(problems);
    }

    #[test]
    fn a_wikimedia_stream_lies_at_its_server() {
        let url = |more: &str| {
            let job = format!(
                "kind = \"feed\"\n[from.wikimedia]\nstreams = [\"recentchange\", \"page-create\"]\n\
                 user_agent = \"acme-wiki/1.0 (data@example.org)\"\n{more}[to.kafka]\ntopic = \"clicks\"\n"
            );
            let folder = Folder::new(&[
                TOPIC,
                ("jobs/collect/job.toml", &job),
                ("dags/one.toml", "streams = { collect = \"collect\" }\n"),
            ]);
            let project = folder.load(None, &Environment::default()).unwrap().project;
            let JobKind::Feed(feed) = &project.jobs[&"collect".parse().unwrap()].kind else {
                panic!()
            };
            let FeedFrom::Wikimedia(from) = &feed.from else { panic!() };
            from.server.url.clone()
        };
        assert_eq!(url(""), "https://stream.wikimedia.org/v2/stream/recentchange,page-create");
        let mirror = url("url = \"http://127.0.0.1:8080/\"\n");
        assert_eq!(mirror, "http://127.0.0.1:8080/v2/stream/recentchange,page-create");
    }
}
