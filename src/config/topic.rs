//! Reads `topics/<topic>.toml`: what a topic holds, for every job that reads it.

use super::meant::{did_you_mean, nearest};
use super::node::{Node, Value};
use super::problem::{At, Place, Problem, Sink};
use super::section::{Section, text, wrong_kind};
use crate::model::column::{Column, ColumnType, MessagePart, Origin};
use crate::model::name::{Name, TopicName};
use crate::model::topic::{EventTimeRule, Expect, Idle, Otherwise, Topic};
use std::time::Duration;

/// Names that hive partitions and warehouse tables add beside the user's columns.
pub const TAKEN: [&str; 6] = ["dt", "hour", "month", "hour_start", "day_start", "month_start"];

const OUT_OF_ORDER: Duration = Duration::from_secs(5);
const MAX_AHEAD: Duration = Duration::from_mins(10);
const RETENTION: Duration = Duration::from_hours(7 * 24);
const PARTITIONS: u32 = 4;

/// A topic as it is written: what it means, and where what may be wrong only later stands.
#[derive(Clone, Debug)]
pub struct TopicFile {
    /// Missing where the file has problems of its own.
    pub topic: Option<Topic>,
    /// The names of its columns, in order.
    pub columns: Vec<At<String>>,
    /// `sql` of computed columns, by column.
    pub computed: Vec<(String, At<String>)>,
    /// `that` of expectations, in order.
    pub expects: Vec<At<String>>,
}

pub fn read(name: &TopicName, root: &Node, sink: &Sink) -> TopicFile {
    let mut file =
        TopicFile { topic: None, columns: Vec::new(), computed: Vec::new(), expects: Vec::new() };
    let Some(mut section) = Section::open("topic", root, sink) else { return file };
    let partitions = section.integer("partitions", 1..=1024);
    let retention = section.span("retention");
    section.word("format", &[("json", ())]);
    let columns = columns(&mut section, &mut file.computed);
    let event_time = event_time(&mut section, columns.as_deref());
    let expects = expects(&mut section, &ROW_ANSWERS);
    section.finish();
    file.expects = expects.iter().map(|(_, that)| that.clone()).collect();
    let place =
        |column: &At<Column>| At { value: column.value.name.clone(), place: column.place.clone() };
    file.columns = columns.iter().flatten().map(place).collect();
    file.topic = columns.zip(event_time).map(|(columns, event_time)| Topic {
        name: name.clone(),
        partitions: partitions.unwrap_or(PARTITIONS),
        retention: retention.unwrap_or(RETENTION),
        columns: columns.into_iter().map(|column| column.value).collect(),
        event_time,
        expects: expects.into_iter().map(|(expect, _)| expect).collect(),
    });
    file
}

fn columns(
    section: &mut Section<'_>,
    computed: &mut Vec<(String, At<String>)>,
) -> Option<Vec<At<Column>>> {
    if !section.has("columns") {
        section.missing(
            "columns",
            "columns = [{ name = \"id\", from = \"meta.id\", type = \"string\" }]",
        );
        return None;
    }
    let sink = section.sink();
    let items = section.list("columns")?;
    let mut columns: Vec<At<Column>> = Vec::new();
    let mut sound = true;
    for item in items {
        match column(item, sink, computed) {
            Some(read) => {
                sound &= fits(&read, &columns, sink);
                columns.push(read);
            }
            None => sound = false,
        }
    }
    sound.then_some(columns)
}

fn column(
    item: &Node,
    sink: &Sink,
    computed: &mut Vec<(String, At<String>)>,
) -> Option<At<Column>> {
    let mut section = Section::open("topic.column", item, sink)?;
    let name = section.parsed::<Name>("name");
    let kind = section.text("type");
    let sql = section.text("sql");
    let from = section.take("from").map(|entry| &entry.node);
    let required = section.flag("required").unwrap_or(false);
    if !section.has("name") {
        section.missing("name", "name = \"user\"");
    }
    if !section.has("type") {
        section.missing("type", &format!("type = \"string\"; {TYPES}"));
    }
    let kind = kind.and_then(|kind| column_type(&kind, sink));
    let place = section.place.clone();
    section.finish();
    let (name, kind) = (name?, kind?);
    if TAKEN.contains(&name.value.as_str()) {
        let title = format!("no column can be named `{}`", name.value);
        let help = "hive partitions and warehouse tables have columns of this name: choose another";
        sink.push(Problem::error(title, &name.place).help(help));
        return None;
    }
    let origin = origin(&name.value, from, sql.as_ref(), sink)?;
    if origin == Origin::Rest && kind != ColumnType::Json {
        sink.push(Problem::error("what is left of an event is of type json", &place));
        return None;
    }
    if let Origin::Message(part) = &origin
        && !part.fits(kind)
    {
        let title = format!("`{part}` is not of type {kind}");
        let help = "$key and $header.NAME are string or bytes, $offset and $topic_partition int64, \
                    $timestamp timestamp";
        sink.push(Problem::error(title, &place).help(help));
        return None;
    }
    if required && !matches!(origin, Origin::Path(_) | Origin::Message(_)) {
        let title = "only a column that comes from a field or from the message can be required";
        sink.push(Problem::error(title, &place).help("write an [[expect]] instead"));
        return None;
    }
    if let Some(sql) = sql {
        computed.push((name.value.to_string(), sql));
    }
    let column = Column { name: name.value.to_string(), origin, kind, required };
    Some(At { value: column, place: name.place })
}

const TYPES: &str =
    "types: string, int64, float64, decimal(p,s), bool, timestamp, date, bytes, json";

fn column_type(text: &At<String>, sink: &Sink) -> Option<ColumnType> {
    let read = text.value.parse();
    if let Err(wrong) = &read {
        let names = ["string", "int64", "float64", "bool", "timestamp", "date", "bytes", "json"];
        let near = nearest(&text.value, &names);
        let help =
            near.map_or_else(|| TYPES.into(), |near| format!("did you mean `{near}`? {TYPES}"));
        sink.push(Problem::error(wrong, &text.place).help(help));
    }
    read.ok()
}

fn origin(
    name: &Name,
    from: Option<&Node>,
    sql: Option<&At<String>>,
    sink: &Sink,
) -> Option<Origin> {
    let path = match (from, sql) {
        (Some(from), Some(_)) => {
            let title = "a column comes from a field or from SQL, not from both";
            sink.push(Problem::error(title, &from.place).help("leave out `from` or `sql`"));
            return None;
        }
        (None, Some(sql)) => return Some(Origin::Sql(sql.value.clone())),
        (None, None) => vec![name.to_string()],
        (Some(Node { value: Value::List(items), .. }), None) => {
            items.iter().filter_map(|item| Some(text(item, sink)?.value)).collect()
        }
        (Some(from), None) => {
            let At { value: from, place } = text(from, sink)?;
            if from == "*" {
                return Some(Origin::Rest);
            }
            if from.starts_with('$') {
                return part(&from, &place, sink).map(Origin::Message);
            }
            from.split('.').map(str::to_owned).collect()
        }
    };
    if path.is_empty() || path.iter().any(String::is_empty) {
        let place = from.map_or_else(|| sql.map(|sql| &sql.place), |from| Some(&from.place))?;
        let title = "a part of this path is empty";
        let help = "write \"meta.id\"; a field with a dot in its name: [\"a.b\", \"id\"]";
        sink.push(Problem::error(title, place).help(help));
        return None;
    }
    Some(Origin::Path(path))
}

/// Reads what a message has beside its payload.
fn part(from: &str, place: &Place, sink: &Sink) -> Option<MessagePart> {
    let read = from.parse();
    if let Err(wrong) = &read {
        let near = did_you_mean(from, "there are", PARTS);
        let help = format!("{near}; a field of this name: from = [\"{from}\"]");
        sink.push(Problem::error(wrong, place).help(help));
    }
    read.ok()
}

const PARTS: [&str; 5] = ["$key", "$header.NAME", "$timestamp", "$topic_partition", "$offset"];

/// Whether a column may stand beside those before it.
fn fits(column: &At<Column>, before: &[At<Column>], sink: &Sink) -> bool {
    let Column { name, origin, .. } = &column.value;
    for other in before {
        let title = match (origin, &other.value.origin) {
            _ if *name == other.value.name => format!("column `{name}` stands here twice"),
            (Origin::Rest, Origin::Rest) => "what is left of an event goes to one column".into(),
            // Which of them takes the field, and which is left with the rest of it?
            (Origin::Path(a), Origin::Path(b)) if a.starts_with(b) || b.starts_with(a) => {
                format!("`{name}` and `{}` take the same field", other.value.name)
            }
            _ => continue,
        };
        let (line, _) = other.place.line_column();
        let note = format!("the other one is in line {line}");
        sink.push(Problem::error(title, &column.place).note(note));
        return false;
    }
    true
}

fn event_time(section: &mut Section<'_>, columns: Option<&[At<Column>]>) -> Option<EventTimeRule> {
    if !section.has("event_time") {
        let help = "say which column tells when an event happened: event_time = { column = \"…\" }";
        section.missing("event_time", help);
        return None;
    }
    let mut rule = section.section("event_time", "topic.event_time")?;
    let column = rule.text("column");
    let read = EventTimeRule {
        column: column.as_ref().map(|column| column.value.clone()).unwrap_or_default(),
        out_of_order: rule.duration("out_of_order").unwrap_or(OUT_OF_ORDER),
        max_ahead: rule.duration("max_ahead").unwrap_or(MAX_AHEAD),
        max_age: rule.duration("max_age"),
        idle: rule
            .word("idle", &[("others", Idle::Others), ("advance", Idle::Advance)])
            .unwrap_or(Idle::Others),
        marks: rule.flag("marks").unwrap_or(true),
    };
    if !rule.has("column") {
        rule.missing("column", "column = \"…\", a required timestamp");
    }
    let sink = rule.sink();
    rule.finish();
    let columns = columns?;
    let column = column?;
    let names = columns.iter().map(|column| column.value.name.as_str());
    let Some(found) = columns.iter().find(|found| found.value.name == column.value) else {
        let title = format!("no column is named `{}`", column.value);
        let help = did_you_mean(&column.value, "the columns of this topic", names);
        sink.push(Problem::error(title, &column.place).help(help));
        return None;
    };
    let fits = found.value.kind == ColumnType::Timestamp && found.value.required;
    if !fits {
        let title =
            format!("event time needs a required timestamp, and `{}` is none", column.value);
        let (line, _) = found.place.line_column();
        let help = format!("in line {line}: type = \"timestamp\", required = true");
        sink.push(Problem::error(title, &column.place).help(help));
    }
    fits.then_some(read)
}

/// What may become of a row that an expectation refuses.
pub const ROW_ANSWERS: [(&str, Otherwise); 3] =
    [("drop", Otherwise::Drop), ("quarantine", Otherwise::Quarantine), ("stop", Otherwise::Stop)];
/// A result is loaded whole or not at all.
pub const RESULT_ANSWERS: [(&str, Otherwise); 1] = [("stop", Otherwise::Stop)];

/// Reads `[[expect]]`: each rule, and the place of its SQL.
pub fn expects(
    section: &mut Section<'_>,
    answers: &[(&str, Otherwise)],
) -> Vec<(Expect, At<String>)> {
    if !section.has("expect") {
        return Vec::new();
    }
    let sink = section.sink();
    let Some(items) = section.list("expect") else { return Vec::new() };
    let mut expects: Vec<(Expect, At<String>)> = Vec::new();
    for item in items {
        let Some((expect, name, that)) = expect(item, answers, sink) else { continue };
        if expects.iter().any(|(before, _)| before.name == expect.name) {
            let title = format!("two expectations are named `{}`", expect.name);
            let help = "counts are kept by this name: give each its own";
            sink.push(Problem::error(title, &name).help(help));
        }
        expects.push((expect, that));
    }
    expects
}

fn expect(
    item: &Node,
    answers: &[(&str, Otherwise)],
    sink: &Sink,
) -> Option<(Expect, Place, At<String>)> {
    if !matches!(item.value, Value::Table(_)) {
        wrong_kind(sink, item, "a table", &item.value);
        return None;
    }
    let mut section = Section::open("expect", item, sink)?;
    let (name, that) = (section.text("name"), section.text("that"));
    let otherwise = section.word("else", answers);
    for (key, help) in
        [("name", "name = \"a price is positive\""), ("that", "that = \"price > 0\"")]
    {
        if !section.has(key) {
            section.missing(key, help);
        }
    }
    let may_be_left_out = answers.len() == 1;
    if !section.has("else") && !may_be_left_out {
        let words: Vec<_> = answers.iter().map(|(word, _)| *word).collect();
        section.missing("else", &format!("what becomes of the row: {}", words.join(", ")));
    }
    section.finish();
    let otherwise = otherwise.or(may_be_left_out.then(|| answers[0].1))?;
    let (name, that) = (name?, that?);
    let expect = Expect { name: name.value, that: that.value.clone(), otherwise };
    Some((expect, name.place, that))
}
