//! The only places that write to stdout and stderr.

use crate::error::{Error, ErrorKind};
use clap::ValueEnum;
use serde::Serialize;
use std::borrow::Cow;
use std::io;
use std::io::Write;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Table,
    /// The same facts, for programs
    Json,
}

/// Writes a result to stdout, as it may stand on a screen.
pub fn text(text: &str) -> Result<(), Error> {
    out(&harmless(text))
}

/// Text that may hold data, so that none of it steers a terminal: what controls one is shown as a sign.
fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let sign = |c: char| match u32::from(c) {
        low @ 0..0x20 if steers(c) => char::from_u32(0x2400 + low).unwrap_or('�'),
        _ if steers(c) => '�',
        _ => c,
    };
    Cow::Owned(text.replace("\r\n", "\n").chars().map(sign).collect())
}

/// A reader that has gone (`| head`) has what it wanted.
fn out(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Unavailable, format!("write to stdout: {err}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

pub fn json(facts: &impl Serialize) -> Result<(), Error> {
    let mut json = serde_json::to_string_pretty(facts)
        .map_err(|err| Error::new(ErrorKind::Bug, format!("print as JSON: {err}")))?;
    json.push('\n');
    out(&json)
}

/// Writes a line to stderr: what is going on, but not the result.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", harmless(line)); // Nobody reads it then.
}

/// `error: …` with its remedy below.
pub fn error(error: &Error) {
    note(&error_text(error));
}

pub fn error_text(error: &Error) -> String {
    let mut text = format!("error: {error}");
    if let Some(remedy) = &error.remedy {
        text = format!("{text}\n  help: {remedy}");
    }
    if error.kind == ErrorKind::Bug {
        text.push_str("\n  note: this is a mistake of ours; please report it with these lines");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_comes_from_data_steers_a_terminal() {
        let told = harmless("a\tb\r\n\u{1b}[31mred\u{9b}2J\u{7f}\rover\n");
        assert_eq!(told, "a\tb\n␛[31mred�2J�␍over\n");
        assert!(matches!(harmless("plain é\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn an_error_is_told_with_its_remedy() {
        let error = Error::new(ErrorKind::Input, "no DAG is named `x`").remedy("look again");
        assert_eq!(error_text(&error), "error: no DAG is named `x`\n  help: look again");
    }
}
