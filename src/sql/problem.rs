//! What is wrong with a SQL text, with its place, so that `check` can underline it.

use crate::error::{Error, ErrorKind};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Diagnostic, Location, SchemaError, Span};
use datafusion::sql::sqlparser;
use std::fmt;
use std::ops::Range;

/// A text that does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlProblem {
    /// ``no column is named `lenght_new` ``
    pub message: String,
    /// The bytes of the text that are meant, where they are known.
    pub at: Option<Range<usize>>,
    /// ``did you mean `length_new`?``
    pub help: Option<String>,
}

impl SqlProblem {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: None, help: None }
    }

    #[must_use]
    pub fn at(mut self, at: Option<Range<usize>>) -> Self {
        self.at = at;
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Reads what `DataFusion` says of `text`.
    pub fn of(text: &str, err: &DataFusionError) -> Self {
        let span = err.diagnostic().and_then(|diagnostic| span(text, diagnostic));
        match err.find_root() {
            DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
                SchemaError::FieldNotFound { field, valid_fields } => {
                    let names: Vec<&str> =
                        valid_fields.iter().map(|field| field.name.as_str()).collect();
                    Self::unknown_column(&field.name, &names).at(span)
                }
                other => Self::new(other.to_string()).at(span),
            },
            DataFusionError::SQL(parser, _) => {
                let told = parser.to_string();
                let told = told.trim_start_matches("sql parser error: ");
                let (message, place) = split_place(text, told);
                Self::new(message).at(place)
            }
            DataFusionError::External(problem) if problem.is::<Self>() => {
                let problem = problem.downcast_ref::<Self>().cloned();
                problem.unwrap_or_else(|| Self::new(err.to_string()))
            }
            other => {
                let told = other.message().into_owned();
                let (message, help) = match told.split_once(".\nDid you mean ") {
                    Some((message, name)) => {
                        let name = name.trim_matches(['\'', '?']);
                        (message.to_owned(), Some(format!("did you mean `{name}`?")))
                    }
                    None => (told, None),
                };
                Self { message: message.replace('\'', "`"), at: span, help }
            }
        }
    }

    /// The same as an error of this kind.
    pub(super) fn into_error(self, kind: ErrorKind) -> Error {
        let help = self.help.clone();
        let err = Error::new(kind, self);
        match help {
            Some(help) => err.remedy(help),
            None => err,
        }
    }

    /// What an expression makes does not fit the type that it has.
    pub(super) fn overflow(written: &str, kind: &DataType) -> Self {
        let (range, help) = match kind {
            DataType::Int64 | DataType::UInt64 => (
                "the range of 64-bit whole numbers".to_owned(),
                "cast what it is made of to decimal(38, 0), which is wider",
            ),
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => (
                format!("what decimal({precision},{scale}) holds"),
                "cast what it is made of to a decimal with fewer digits behind the point, or to double",
            ),
            other => (format!("the range of {other}"), "cast what it is made of to bigint"),
        };
        Self::new(format!("`{written}` leaves {range}")).help(help)
    }

    fn unknown_column(name: &str, columns: &[&str]) -> Self {
        Self::new(format!("no column is named `{name}`")).meant(name, "columns", columns)
    }

    /// Helps with the one of `names` that looks most like `wrong`, or with all of them.
    pub(crate) fn meant(self, wrong: &str, what: &str, names: &[&str]) -> Self {
        let close = names
            .iter()
            .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
            .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
            .min_by_key(|(distance, _)| *distance);
        match close {
            Some((_, name)) => self.help(format!("did you mean `{name}`?")),
            None if names.is_empty() => self,
            None => self.help(format!("the {what} are: {}", names.join(", "))),
        }
    }
}

impl fmt::Display for SqlProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SqlProblem {}

impl From<SqlProblem> for Error {
    fn from(problem: SqlProblem) -> Self {
        problem.into_error(ErrorKind::Input)
    }
}

fn span(text: &str, diagnostic: &Diagnostic) -> Option<Range<usize>> {
    bytes_of(text, diagnostic.span?)
}

/// The bytes that a parser's span covers; `None` for what it made up itself.
pub(super) fn bytes_of_tokens(
    text: &str,
    span: sqlparser::tokenizer::Span,
) -> Option<Range<usize>> {
    bytes_of(text, Span::try_from_sqlparser_span(span)?)
}

fn bytes_of(text: &str, span: Span) -> Option<Range<usize>> {
    Some(byte_at(text, span.start)?..byte_at(text, span.end)?)
}

/// The byte where a line and a column lie, both counted from 1, columns in characters.
fn byte_at(text: &str, place: Location) -> Option<usize> {
    let line = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(before..)?;
    Some(before + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at))
}

/// Cuts ` at Line: 1, Column: 5` off a parser's message.
fn split_place(text: &str, told: &str) -> (String, Option<Range<usize>>) {
    let Some((message, place)) = told.rsplit_once(" at Line: ") else {
        // Something is missing at the end: its last letter can be underlined.
        let end = text.trim_end();
        let last = end.chars().next_back().map_or(0, char::len_utf8);
        return (told.to_owned(), Some(end.len() - last..end.len()));
    };
    let at = place.split_once(", Column: ").and_then(|(line, column)| {
        let column = column.split(|c: char| !c.is_ascii_digit()).next()?;
        let place = Location { line: line.parse().ok()?, column: column.parse().ok()? };
        byte_at(text, place)
    });
    let word = |start: usize| {
        let rest = &text[start..];
        let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        start..start + len.max(rest.chars().next().map_or(0, char::len_utf8))
    };
    (message.to_owned(), at.map(word))
}
