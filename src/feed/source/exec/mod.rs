//! Events from a program of the user's: JSON lines on its standard output, a cursor in each.
//!
//! The program is called with the last cursor in `TIDEMILL_CURSOR` and writes what came after it; when it
//! has ended it is called again, after a pause. So a poll of any API is a script of a few lines.

use super::fields::Fields;
use super::{Event, Next, Source};
use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::feed::resume::Resume;
use crate::feed::resume::token::{self, Position};
use crate::model::job::Exec;
use crate::model::moment;
use crate::model::time::{EventTime, Micros};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

/// Lines that wait for the feed; a program that is faster waits with its write.
const LINES_MAX: usize = 256;
/// No broker takes a message as large by default.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Where the program finds the cursor; absent at its first call.
const CURSOR_VARIABLE: &str = "TIDEMILL_CURSOR";

/// How the program is called.
#[derive(Clone, Debug)]
pub struct Call {
    pub exec: Exec,
    /// Where it starts.
    pub folder: PathBuf,
    /// Its whole environment, the cursor apart.
    pub environment: BTreeMap<String, String>,
}

/// A program that is called again and again.
pub struct Program {
    call: Call,
    clock: Clock,
    running: Option<Running>,
    /// When it is called again, by the steady clock.
    due: Micros,
    fields: Fields,
    position: Position,
    promised: Option<EventTime>,
}

struct Running {
    child: Child,
    lines: Receiver<Result<Line, std::io::Error>>,
    /// The last line, if it has no line end.
    half: Option<Vec<u8>>,
    count: u64,
}

struct Line {
    bytes: Vec<u8>,
    is_whole: bool,
}

/// What a line may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    /// Where the program goes on behind this line.
    cursor: Option<&'a RawValue>,
    /// What the event is known by, should it come again.
    id: Option<&'a RawValue>,
    /// No event before this will follow.
    mark: Option<String>,
}

impl Program {
    /// Goes on as `resume` says.
    pub fn new(call: Call, resume: Resume, fields: Fields, clock: &Clock) -> Self {
        Self {
            call,
            clock: clock.clone(),
            running: None,
            due: Micros::MIN,
            fields,
            position: Position::new(resume),
            promised: None,
        }
    }

    fn doing(&self) -> String {
        format!("run {}", self.call.exec.command.join(" "))
    }

    fn start(&self) -> Result<Running, Error> {
        let Some((program, arguments)) = self.call.exec.command.split_first() else {
            return Err(Error::new(ErrorKind::Bug, "the command is empty"));
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.call.folder)
            .env_clear()
            .envs(&self.call.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(token) = self.position.token() {
            command.env(CURSOR_VARIABLE, token);
        }
        let mut child = command.spawn().map_err(|error| {
            Error::new(ErrorKind::Input, error).remedy(
                "name a program that may be run; a path with a slash starts at the project's folder",
            )
        })?;
        let output = child.stdout.take().expect("its output is a pipe");
        let (sender, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || read_lines(output, &sender));
        Ok(Running { child, lines, half: None, count: 0 })
    }

    /// Takes a line in; true if it is an event for the topic.
    fn take(&mut self, line: &[u8], number: u64, event: &mut Event) -> Result<bool, Error> {
        if line.trim_ascii().is_empty() {
            return Ok(false);
        }
        let said: Said<'_> = serde_json::from_slice(line)
            .map_err(|error| {
                Error::new(ErrorKind::Input, error).remedy(
                    "write one JSON object a line: {\"id\": …, \"cursor\": …, \"event\": {…}}, or \
                     {\"mark\": \"2026-11-20T05:00:00Z\"}",
                )
            })
            .doing(|| format!("understand line {number} of its output"))?;
        if let Some(mark) = &said.mark {
            let at = moment::read(mark)
                .map_err(|error| Error::new(ErrorKind::Input, error))
                .doing(|| format!("understand the mark {mark:?} of line {number} of its output"))?;
            self.promised = self.promised.max(Some(at));
        }
        let before = match said.cursor {
            Some(cursor) => self.position.move_to(Some(text_of(cursor))),
            None => self.position.token().map(str::to_owned),
        };
        let Some(payload) = said.event else { return Ok(false) };
        let id = said.id.map(text_of);
        let digest = id.as_deref().map(token::digest);
        if self.position.has(digest.as_deref()) {
            self.fields.leave_out();
            return Ok(false);
        }
        event.payload.clear();
        event.payload.extend_from_slice(payload.get().as_bytes());
        if !self.fields.admits(event) {
            return Ok(false);
        }
        event.number = self.position.number(before);
        event.id_digest = digest;
        Ok(true)
    }

    /// Reads lines of `running` until one is an event, there is none now, or the program has ended: then
    /// `running` is gone.
    fn advance(&mut self, event: &mut Event) -> Result<Next, Error> {
        loop {
            let Some(running) = &mut self.running else { return Ok(Next::NotYet) };
            let line = match running.lines.try_recv() {
                Ok(Ok(line)) if !line.is_whole => {
                    running.half = Some(line.bytes);
                    continue;
                }
                Ok(Ok(line)) => line.bytes,
                Ok(Err(error)) => return Err(Error::new(ErrorKind::Input, error)),
                Err(TryRecvError::Empty) => return Ok(Next::NotYet),
                // Its output has ended. Of a program that failed, a half line is written anew.
                Err(TryRecvError::Disconnected) => match running.half.take() {
                    Some(half) if ended(&mut running.child)? => half,
                    _ => {
                        ended(&mut running.child)?;
                        self.running = None;
                        self.due = Micros::from(self.clock.steady()).plus(self.call.exec.every);
                        return Ok(Next::NotYet);
                    }
                },
            };
            running.count += 1;
            let number = running.count;
            if self.take(&line, number, event)? {
                return Ok(Next::Event);
            }
        }
    }
}

impl Source for Program {
    fn read(&mut self, event: &mut Event) -> Result<Next, Error> {
        if self.running.is_none() {
            if Micros::from(self.clock.steady()) < self.due {
                return Ok(Next::NotYet);
            }
            self.running = Some(self.start().doing(|| self.doing())?);
        }
        self.advance(event).doing(|| self.doing())
    }

    fn promise_before(&self, _: u64) -> Option<EventTime> {
        self.promised
    }

    fn newest(&self) -> Option<EventTime> {
        self.fields.newest()
    }

    fn begins_at(&self) -> u64 {
        self.position.begins_at()
    }

    fn token_before(&self, number: u64) -> Option<&str> {
        self.position.token_before(number)
    }

    fn left_out(&self) -> u64 {
        self.fields.left_out()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a program whose output has ended; true, or its failure.
fn ended(child: &mut Child) -> Result<bool, Error> {
    let status = child.wait().map_err(|error| Error::new(ErrorKind::Unavailable, error))?;
    if status.success() {
        return Ok(true);
    }
    Err(Error::new(ErrorKind::Unavailable, format!("it ended with {status}"))
        .remedy("what it wrote to its standard error is in the log of this feed"))
}

/// A text without its quotes and escapes; anything else as it is written.
fn text_of(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

fn read_lines(output: ChildStdout, lines: &SyncSender<Result<Line, std::io::Error>>) {
    let mut output = BufReader::new(output);
    loop {
        let mut bytes = Vec::new();
        let read = output.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut bytes);
        let line = match read {
            Ok(0) => return,
            Ok(read) if read as u64 > LINE_BYTES_MAX => {
                Err(std::io::Error::other(format!("a line is longer than {LINE_BYTES_MAX} bytes")))
            }
            Ok(_) => Ok(Line { is_whole: bytes.ends_with(b"\n"), bytes }),
            Err(error) => Err(error),
        };
        let is_last = line.is_err();
        if lines.send(line).is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
