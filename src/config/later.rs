//! What the files may say one day: refused by name, so that nobody takes it for a slip of the pen.

use super::problem::{Place, Problem, Sink};

/// A section, a key of it, and what to do instead.
const KEYS: [(&str, &str, &str); 11] = [
    ("settings.state", "password", "the state lives in a file: leave the key out"),
    ("stream.to", "search", "write to [to.lake]"),
    ("batch.to", "search", "write to [to.lake] or [to.warehouse]"),
    ("batch", "engine", "SQL runs in Tidemill itself: leave the key out"),
    ("dag", "params", "write the value where it is used"),
    (
        "dag.schedule",
        "cron",
        "use on_close, or leave [schedule] out and call `tidemill dags trigger`",
    ),
    ("dag.schedule", "timezone", "days and months are those of the table's own partition_by"),
    ("dag.schedule", "catchup", "it belongs to cron schedules"),
    ("dag.schedule", "overlap", "it belongs to cron schedules: use max_active_runs"),
    ("dag.task", "pool", "use limits.parallelism in tidemill.toml"),
    ("dag.task", "sql", "put the SQL into a batch job, or write `test`"),
];

/// A section, a key of it, how the refused value begins, and what to write instead.
const VALUES: [(&str, &str, &str, &str); 10] = [
    ("settings.state", "url", "postgres", "use \"sqlite:PATH\""),
    ("settings.lake", "url", "s3://", "use \"file:FOLDER\" or \"gs://BUCKET\""),
    ("topic", "format", "avro", "use \"json\""),
    ("dag.task", "trigger_rule", "one_", ALL_SUCCESS),
    ("dag.task", "trigger_rule", "none_", ALL_SUCCESS),
    ("dag.task", "trigger_rule", "all_done", ALL_SUCCESS),
    ("dag.task", "trigger_rule", "all_failed", ALL_SUCCESS),
    ("dag.task", "trigger_rule", "always", ALL_SUCCESS),
    (
        "dag.schedule",
        "grain",
        "minute",
        "use the grain of the table, \"hour\", \"day\" or \"month\"",
    ),
    ("dag.schedule", "grain", "1m", "use the grain of the table, \"hour\", \"day\" or \"month\""),
];

const ALL_SUCCESS: &str = "leave it out: a task starts when every one in `after` has succeeded";

/// Whether `key` is one of them; then the problem is told.
pub fn refused_key(sink: &Sink, section: &str, key: &str, place: &Place) -> bool {
    let found = KEYS.iter().find(|(at, name, _)| *at == section && *name == key);
    if let Some((_, _, instead)) = found {
        sink.push(Problem::error(format!("`{key}` is not in this version"), place).help(*instead));
    }
    found.is_some()
}

/// Whether `value` is one of them; then the problem is told.
pub fn refused_value(sink: &Sink, section: &str, key: &str, value: &str, place: &Place) -> bool {
    let found = VALUES
        .iter()
        .find(|(at, name, begin, _)| *at == section && *name == key && value.starts_with(begin));
    if let Some((_, _, begin, instead)) = found {
        // Of a URL its scheme is refused; what follows may hold a password.
        let what = if value.contains("://") { begin } else { value };
        sink.push(Problem::error(format!("`{what}` is not in this version"), place).help(*instead));
    }
    found.is_some()
}
