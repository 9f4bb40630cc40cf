//! `{…}` in the argv and environment of an exec task: filled as one item, never split into two.
//!
//! `{run_id}`, `{partition_key}`, `{data_interval_start:%Y-%m-%d}`, `{tasks.fetch.output.file}`;
//! `{{` and `}}` are the braces themselves.

use super::time::Micros;
use super::zone::Zone;
use std::collections::BTreeMap;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    RunId,
    PartitionKey,
    /// A bound of the data interval, and how it is printed.
    Interval {
        end: bool,
        format: Option<String>,
    },
    /// A value of the JSON that a task before this one wrote.
    Output {
        task: String,
        path: Vec<String>,
    },
}

/// What a run fills in.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    pub run_id: &'a str,
    pub partition_key: Option<&'a str>,
    /// Half-open.
    pub data_interval: Option<(Micros, Micros)>,
    /// The timezone in which the interval is printed.
    pub timezone: &'a Zone,
    /// What each exec task before this one wrote to its `TIDEMILL_OUTPUT`.
    pub outputs: &'a BTreeMap<String, serde_json::Value>,
}

const NAMES: &str = "{run_id}, {partition_key}, {data_interval_start}, {data_interval_end}, \
                     {tasks.NAME.output.FIELD}; a brace itself is {{";

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..];
            if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
                plain.push_str(&brace[..1]);
                rest = after;
                continue;
            }
            let inner = brace.strip_prefix('{').ok_or("a `}` without its `{`: write }} for one")?;
            let (name, after) =
                inner.split_once('}').ok_or("a `{` without its `}`: write {{ for one")?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(part(name)?);
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }
}

fn part(name: &str) -> Result<Part, String> {
    if let Some(output) = name.strip_prefix("tasks.") {
        return match output.split_once(".output.") {
            Some((task, path)) if !path.split('.').any(str::is_empty) => Ok(Part::Output {
                task: task.to_owned(),
                path: path.split('.').map(str::to_owned).collect(),
            }),
            _ => Err(format!("`{{{name}}}` names no output: write {{tasks.NAME.output.FIELD}}")),
        };
    }
    let (bound, format) =
        name.split_once(':').map_or((name, None), |(bound, format)| (bound, Some(format)));
    match (bound, format) {
        ("run_id", None) => Ok(Part::RunId),
        ("partition_key", None) => Ok(Part::PartitionKey),
        ("data_interval_start" | "data_interval_end", _) => {
            if let Some(format) = format {
                print(Micros(0), &Zone::utc(), format)?;
            }
            let end = bound == "data_interval_end";
            Ok(Part::Interval { end, format: format.map(str::to_owned) })
        }
        _ => Err(format!("nothing is named `{{{name}}}`; there are {NAMES}")),
    }
}

fn print(at: Micros, timezone: &Zone, format: &str) -> Result<String, String> {
    jiff::fmt::strtime::format(format, &at.timestamp().to_zoned(timezone.rules().clone()))
        .map_err(|err| format!("`{format}` prints no time: {err}"))
}

impl Template {
    /// The tasks whose outputs it names.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Output { task, .. } => Some(task.as_str()),
            Part::Text(_) | Part::RunId | Part::PartitionKey | Part::Interval { .. } => None,
        })
    }

    /// The first value of it that only a run of a hive partition has.
    pub fn of_partition(&self) -> Option<&'static str> {
        self.0.iter().find_map(|part| match part {
            Part::PartitionKey => Some("partition_key"),
            Part::Interval { end: false, .. } => Some("data_interval_start"),
            Part::Interval { end: true, .. } => Some("data_interval_end"),
            Part::Text(_) | Part::RunId | Part::Output { .. } => None,
        })
    }

    /// The text, or which value there is none of.
    pub fn fill(&self, filling: &Filling<'_>) -> Result<String, String> {
        self.0.iter().map(|part| part.fill(filling)).collect()
    }
}

impl Part {
    fn fill(&self, filling: &Filling<'_>) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::RunId => Ok(filling.run_id.to_owned()),
            Self::PartitionKey => {
                let key = filling.partition_key.ok_or("this run has no partition key")?;
                Ok(key.to_owned())
            }
            Self::Interval { end, format } => {
                let (first, last) = filling.data_interval.ok_or("this run has no data interval")?;
                let at = if *end { last } else { first };
                match format {
                    Some(format) => print(at, filling.timezone, format),
                    None => Ok(at.to_string()),
                }
            }
            Self::Output { task, path } => output(filling, task, path),
        }
    }
}

fn output(filling: &Filling<'_>, task: &str, path: &[String]) -> Result<String, String> {
    let mut value = filling.outputs.get(task).ok_or_else(|| format!("{task} wrote no output"))?;
    for key in path {
        let found = value.get(key);
        value = found.ok_or_else(|| format!("the output of {task} has no `{}`", path.join(".")))?;
    }
    Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let outputs =
            BTreeMap::from([("fetch".into(), serde_json::json!({"file": "a b", "n": 3}))]);
        let start: jiff::Timestamp = "2026-11-20T05:00:00Z".parse().unwrap();
        let filling = Filling {
            run_id: "close-2026-11-20T05-r1-k3f9",
            partition_key: Some("2026-11-20T05"),
            data_interval: Some((
                start.into(),
                (start + jiff::SignedDuration::from_hours(1)).into(),
            )),
            timezone: &"Europe/Madrid".parse().unwrap(),
            outputs: &outputs,
        };
        let filled = template.parse::<Template>().and_then(|template| template.fill(&filling));
        assert_eq!(filled.unwrap_or_else(|wrong| format!("error: {wrong}")), expected);
    }

    #[test]
    fn a_template_is_filled_from_its_run() {
        check("--run={run_id}", "--run=close-2026-11-20T05-r1-k3f9");
        check("{partition_key}", "2026-11-20T05");
        check("{data_interval_start}", "2026-11-20T05:00:00Z");
        check("{data_interval_end:%Y/%m/%d %H}", "2026/11/20 07");
        check("", "");
    }

    #[test]
    fn an_output_is_text_or_json() {
        check("{tasks.fetch.output.file}", "a b");
        check("{tasks.fetch.output.n}", "3");
        check("{tasks.fetch.output.m}", "error: the output of fetch has no `m`");
        check("{tasks.load.output.m}", "error: load wrote no output");
    }

    #[test]
    fn doubled_braces_are_braces() {
        check("{{run_id}} {{", "{run_id} {");
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for text in
            ["{", "}", "{}", "{run}", "{run_id:%Y}", "{tasks.fetch}", "{tasks.fetch.output.}"]
        {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
        assert!("{data_interval_start:%!}".parse::<Template>().is_err());
    }
}
