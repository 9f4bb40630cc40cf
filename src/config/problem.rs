//! What is wrong with a project's files, in a form that lets the author fix all of it at once.

use crate::error::{Error, ErrorKind};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A text that a user wrote: a file, or the value of an environment variable.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// As shown: the path from the project's folder, or the variable's name.
    pub name: String,
    pub text: String,
}

/// A stretch of a [`Source`], in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub source: Arc<Source>,
    pub span: Range<usize>,
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

impl Place {
    /// The start of a whole file.
    pub fn top(source: &Arc<Source>) -> Self {
        Self { source: source.clone(), span: 0..0 }
    }

    /// Where a parser has given up at `span`. One that is empty is made to be seen: what is missing at
    /// the end of a line is shown at its last letter.
    pub fn of_parser(source: &Arc<Source>, span: Range<usize>) -> Self {
        let text = &source.text;
        let letter = |at: usize| text.get(at..).and_then(|rest| rest.chars().next());
        let span = match letter(span.start) {
            _ if !span.is_empty() => span,
            Some(next) if !next.is_whitespace() => span.start..span.start + next.len_utf8(),
            Some(_) | None => {
                let before = text.get(..span.start).unwrap_or(text).trim_end();
                let last = before.chars().next_back().map_or(0, char::len_utf8);
                before.len() - last..before.len()
            }
        };
        Self { source: source.clone(), span }
    }

    /// Only where it begins: no excerpt is shown of it.
    #[must_use]
    pub fn start(&self) -> Self {
        Self { source: self.source.clone(), span: self.span.start..self.span.start }
    }

    /// Line and column of the start, both counted from 1; columns count characters.
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.span.start).unwrap_or(&self.source.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing runs before it is fixed.
    Error,
    /// Runs, but probably not as meant.
    Warning,
}

/// One thing wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub title: String,
    /// `None` only where there is no file to point into.
    pub place: Option<Place>,
    /// Written beside the mark under the excerpt.
    pub label: Option<String>,
    pub note: Option<String>,
    /// What to write instead.
    pub help: Option<String>,
}

impl Problem {
    pub fn error(title: impl Into<String>, place: &Place) -> Self {
        Self {
            severity: Severity::Error,
            title: title.into(),
            place: Some(place.clone()),
            label: None,
            note: None,
            help: None,
        }
    }

    pub fn warning(title: impl Into<String>, place: &Place) -> Self {
        Self { severity: Severity::Warning, ..Self::error(title, place) }
    }

    /// A problem of the project as a whole.
    pub fn nowhere(title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            title: title.into(),
            place: None,
            label: None,
            note: None,
            help: None,
        }
    }

    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn render(&self) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        if self.place.is_none() {
            return self.render_alone();
        }
        let mut group = Group::with_title(level.primary_title(self.title.as_str()));
        if let Some(place) = &self.place {
            group = if place.span.is_empty() || may_show_a_secret(place) {
                let (line, column) = place.line_column();
                let origin = Origin::path(place.source.name.as_str());
                group.element(origin.line(line).char_column(column))
            } else {
                let mark = AnnotationKind::Primary.span(first_line(place));
                group.element(
                    Snippet::source(place.source.text.as_str())
                        .path(place.source.name.as_str())
                        .annotation(mark.label(self.label.as_deref())),
                )
            };
        }
        if let Some(note) = &self.note {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().render(&[group])
    }

    /// Without a file there is no margin for the remedy to hang on.
    fn render_alone(&self) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut text = format!("{severity}: {}", self.title);
        for (what, told) in [("note", &self.note), ("help", &self.help)] {
            if let Some(told) = told {
                text = format!("{text}\n  {what}: {told}");
            }
        }
        text
    }

    /// What `-o json` prints of it.
    pub fn facts(&self) -> ProblemFacts<'_> {
        let (line, column) = self.place.as_ref().map_or((None, None), |place| {
            let (line, column) = place.line_column();
            (Some(line), Some(column))
        });
        ProblemFacts {
            severity: self.severity,
            title: &self.title,
            file: self.place.as_ref().map(|place| place.source.name.as_str()),
            line,
            column,
            label: self.label.as_deref(),
            note: self.note.as_deref(),
            help: self.help.as_deref(),
        }
    }
}

/// A span over several lines is marked on its first one only: an excerpt is a finger, not a copy.
fn first_line(place: &Place) -> Range<usize> {
    let marked = place.source.text.get(place.span.clone()).unwrap_or_default();
    let len = marked.find(['\r', '\n']).unwrap_or(marked.len());
    place.span.start..place.span.start + len
}

/// The SQL of a batch, beside its `job.toml`.
pub const QUERY_FILE: &str = "query.sql";

/// Whether the excerpt would print a line that holds a secret where none belongs.
fn may_show_a_secret(place: &Place) -> bool {
    let text = &place.source.text;
    let start = text[..place.span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let is_sql = place.source.name.ends_with(QUERY_FILE);
    let in_a_url = line.contains("://") && line.contains('@');
    !is_sql && (in_a_url || names_a_secret(line) || names_a_secret(&place.source.name))
}

/// Whether a key of this name holds a secret.
pub fn names_a_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["password", "secret", "token", "key.pem"].iter().any(|word| key.contains(word))
}

/// A problem as data.
#[derive(Debug, Serialize)]
pub struct ProblemFacts<'a> {
    pub severity: Severity,
    pub title: &'a str,
    pub file: Option<&'a str>,
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub label: Option<&'a str>,
    pub note: Option<&'a str>,
    pub help: Option<&'a str>,
}

/// Everything found wrong, by file and line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| key(a).cmp(&key(b)));
        problems.dedup();
        Self(problems)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn errors(&self) -> usize {
        self.0.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    pub fn warnings(&self) -> usize {
        self.0.len() - self.errors()
    }
}

fn key(problem: &Problem) -> (Option<(&str, usize)>, Severity) {
    let place = problem.place.as_ref();
    (place.map(|place| (place.source.name.as_str(), place.span.start)), problem.severity)
}

/// All of them in full, one below the other, as `tidemill check` prints them.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rendered: Vec<_> = self.0.iter().map(Problem::render).collect();
        f.write_str(&rendered.join("\n"))
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::new(ErrorKind::Input, format!("the project has problems\n{problems}"))
    }
}

/// Where readers put what they find; shared, so that one problem doesn't end the reading.
#[derive(Debug, Default)]
pub struct Sink(RefCell<Vec<Problem>>);

impl Sink {
    pub fn push(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// How many problems there are so far.
    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }

    pub fn into_problems(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problem at the first place of `marked` in a file with this text.
    fn at(text: &str, marked: &str) -> Problem {
        let source = Arc::new(Source { name: "dags/wiki.toml".into(), text: text.into() });
        let start = text.find(marked).unwrap();
        Problem::error("it is wrong", &Place { source, span: start..start + marked.len() })
    }

    /// What a parser says that gave up at the end of `read`.
    fn after(read: &str, unread: &str) -> Problem {
        let text = format!("{read}{unread}");
        let source = Arc::new(Source { name: "dags/wiki.toml".into(), text });
        Problem::error("it is cut off", &Place::of_parser(&source, read.len()..read.len()))
    }

    fn told(problems: &[Problem]) -> String {
        let told: Vec<_> = problems.iter().map(Problem::render).collect();
        told.join("\n\n")
    }

    #[test]
    fn an_excerpt_stands_under_its_text_behind_letters_of_any_width() {
        insta::assert_snapshot!(told(&[
            at("doc = \"caf\u{e9} \u{65e5}\u{672c}\", wrong = 1\n", "wrong"),
            at("\tafter\t= [\"x\"]\n", "[\"x\"]"),
            at("owner = 'me'\r\nretries = many\r\n", "many\r\n"),
        ]));
    }

    #[test]
    fn what_is_missing_at_the_end_of_a_line_is_shown_at_its_last_letter() {
        insta::assert_snapshot!(told(&[
            after("[schedule", ""),
            after("a = 1\n[sched\u{fc}", "\n\n[tasks]\n"),
            after("a = ", "\n"),
            after("a = 1\nb = [1, 2", "; 3]\n"),
        ]));
    }

    #[test]
    fn columns_are_counted_in_letters() {
        let problem = at("doc = \"\u{65e5}\u{672c}\", x = 1\n", "x =");
        assert_eq!((problem.facts().line, problem.facts().column), (Some(1), Some(13)));
    }

    #[test]
    fn a_problem_of_no_file_is_told_with_its_remedy() {
        let told = Problem::nowhere("there is no project").help("go to one").render();
        assert_eq!(told, "error: there is no project\n  help: go to one");
    }
}
