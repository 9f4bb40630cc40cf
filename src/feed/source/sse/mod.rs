//! Events from a server that sends them as they happen: `text/event-stream`.
//!
//! The connection may break at any byte, and does so every few minutes at most servers. The next one says which
//! event was the last to be complete. So what is sent twice is told by its id, and what was half sent comes again.

mod answer;
mod parse;
pub mod rules;
pub mod wikimedia;
mod wire;

use super::fields::Fields;
use super::unique::{RECENT_MAX, Recent};
use super::{Event, Next, Source};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::error::{Doing, Error};
use crate::feed::resume::Resume;
use crate::feed::resume::token::Position;
use crate::model::job::without_query;
use crate::model::time::{EventTime, Micros};
use answer::{Broken, Verdict, judge};
use parse::{Frame, Parser};
use rules::{Rules, Taken};
use std::time::Duration;
use tracing::{info, warn};
use wire::{Connection, Piece, Request};

/// The pause before a new connection, where the server does not ask for another one.
pub const RETRY: Duration = Duration::from_secs(2);
const RETRY_LEAST: Duration = Duration::from_millis(10);
/// No pause is longer, unless the server asks for it, and for no more than an hour.
const PAUSE_MOST: Duration = Duration::from_mins(5);
const RETRY_MOST: Duration = Duration::from_hours(1);
/// So often in a row a server may refuse us that has served us before: a proxy or a deployment passes.
const REFUSALS_MAX: u32 = 12;
/// Frames that are read before the feed around has its turn, if none of them is an event for the topic.
const FRAMES_AT_ONCE: u32 = 1024;

/// Which server, and how it is asked.
#[derive(Clone, Debug)]
pub struct Server {
    pub url: String,
    pub user_agent: String,
    /// Their values may be secrets.
    pub headers: Vec<(String, String)>,
    /// A connection on which nothing has come for so long is dead.
    pub silence: Duration,
    /// A larger event is left out, and counted.
    pub event_bytes_max: usize,
    /// The pause before a new connection, unless the server asks for another one.
    pub retry: Duration,
}

/// What is promised of event time.
#[derive(Clone, Copy, Debug)]
pub struct Dates {
    /// A date so far after now is a mistake.
    pub max_ahead: Duration,
    /// Nothing that follows is older than the newest event by more; `None`: that is not known.
    pub out_of_order: Option<Duration>,
}

/// A server's stream, over as many connections as it takes.
pub struct EventStream {
    server: Server,
    rules: Box<dyn Rules>,
    dates: Dates,
    clock: Clock,
    fields: Fields,
    parser: Parser,
    connection: Option<Connection>,
    /// What has come, and how much of it was read.
    piece: Vec<u8>,
    read: usize,
    trouble: Trouble,
    has_ended: bool,
    /// The newest ids.
    seen: Recent,
    position: Position,
    /// The date of the last event that was given out.
    last_at: Option<EventTime>,
    passed_over: u64,
}

/// Why there is no connection, and since when it is tried.
#[derive(Debug)]
struct Trouble {
    why: String,
    /// Connections in a row that brought no event.
    tries: u32,
    /// This connection has brought one.
    heard_now: bool,
    /// An earlier one has.
    heard_ever: bool,
    /// When the next connection is due, by the steady clock.
    due: Micros,
}

impl EventStream {
    /// Goes on as `resume` says; `rules` know its token already.
    pub fn new(
        server: Server,
        rules: Box<dyn Rules>,
        resume: Resume,
        fields: Fields,
        dates: Dates,
        clock: &Clock,
    ) -> Self {
        let (heard_now, heard_ever) = (false, false);
        Self {
            parser: Parser::new(server.event_bytes_max),
            server,
            rules,
            dates,
            clock: clock.clone(),
            fields,
            connection: None,
            piece: Vec::new(),
            read: 0,
            trouble: Trouble {
                why: String::new(),
                tries: 0,
                heard_now,
                heard_ever,
                due: Micros::MIN,
            },
            has_ended: false,
            seen: Recent::new(RECENT_MAX),
            position: Position::new(resume),
            last_at: None,
            passed_over: 0,
        }
    }

    fn connect(&self) -> Connection {
        let request = Request {
            url: self.server.url.clone(),
            user_agent: self.server.user_agent.clone(),
            headers: self.server.headers.clone(),
            last_event_id: self.rules.last_event_id(),
            silence: self.server.silence,
        };
        Connection::open(request, &self.clock)
    }

    /// The next frame of what has come.
    fn frame(&mut self) -> Option<Frame> {
        if self.read == self.piece.len() {
            return None;
        }
        let mut rest = &self.piece[self.read..];
        let frame = self.parser.next(&mut rest);
        self.read = self.piece.len() - rest.len();
        if frame.is_none()
            && let Some(id) = self.parser.last_id()
        {
            // An id may come without an event.
            self.rules.goes_on_behind(id);
            self.position.move_to(self.rules.token());
        }
        frame
    }

    /// Takes a frame in; true if it is an event for the topic.
    fn take(&mut self, frame: Frame, event: &mut Event) -> Result<bool, Error> {
        let taken = self.rules.take(&frame);
        if let Taken::Failure(why) = taken {
            self.lost(Broken::Failed(why))?;
            return Ok(false);
        }
        (self.trouble.heard_now, self.trouble.heard_ever) = (true, true);
        let before = self.position.move_to(self.rules.token());
        if frame.is_too_large {
            self.passed_over += 1;
            let most = self.server.event_bytes_max;
            warn!(event.id = frame.id, "an event of more than {most} bytes is left out");
            return Ok(false);
        }
        let now = Micros::from(self.clock.now());
        self.fields.believe_until(now.plus(self.dates.max_ahead));
        let digest = match taken {
            Taken::Event { digest } if !frame.data.is_empty() => digest,
            Taken::Event { .. } => return Ok(false),
            Taken::NotForTopic => {
                self.fields.hear(&frame.data);
                self.passed_over += 1;
                return Ok(false);
            }
            Taken::Repeat | Taken::Failure(_) => {
                self.fields.leave_out();
                return Ok(false);
            }
        };
        let is_in = self.position.has(digest.as_deref());
        let is_repeat = digest.as_ref().is_some_and(|digest| !self.seen.is_new(digest.clone()));
        if is_in || is_repeat {
            self.fields.leave_out();
            return Ok(false);
        }
        event.payload = frame.data;
        if !self.fields.admits(event) {
            return Ok(false);
        }
        self.last_at = event.at;
        event.number = self.position.number(before);
        event.id_digest = digest;
        Ok(true)
    }

    /// The connection is gone: says when the next one is due.
    fn lost(&mut self, broken: Broken) -> Result<(), Error> {
        self.connection = None;
        self.parser.restart();
        (self.piece, self.read) = (Vec::new(), 0);
        let trouble = &mut self.trouble;
        trouble.tries = if std::mem::take(&mut trouble.heard_now) { 0 } else { trouble.tries + 1 };
        let (why, after) = match judge(broken, self.server.silence, self.clock.now()) {
            Verdict::End => {
                self.has_ended = true;
                return Ok(());
            }
            Verdict::Again { why, after } => (why, after),
            Verdict::Refused(error) if trouble.heard_ever && trouble.tries < REFUSALS_MAX => {
                (error.to_string(), None)
            }
            Verdict::Refused(error) => return Err(error),
        };
        let first = self.parser.retry().unwrap_or(self.server.retry).clamp(RETRY_LEAST, RETRY_MOST);
        let pause = Backoff::new(first, PAUSE_MOST.max(first)).jittered_after(trouble.tries);
        let pause = pause.max(after.unwrap_or_default());
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        if trouble.tries > 0 {
            warn!(tries = trouble.tries, pause_ms, "no events: {why}; it is tried again");
        } else {
            info!(
                pause_ms,
                "the connection is gone: {why}; the feed goes on behind the last event"
            );
        }
        trouble.why = why;
        trouble.due = Micros::from(self.clock.steady()).plus(pause);
        Ok(())
    }
}

impl Source for EventStream {
    fn read(&mut self, event: &mut Event) -> Result<Next, Error> {
        let doing = |url: &str| format!("read the events of {}", without_query(url));
        // The feed around this looks at the time, at marks and at a stop in between.
        for _ in 0..FRAMES_AT_ONCE {
            if self.has_ended {
                return Ok(Next::End);
            }
            if let Some(frame) = self.frame() {
                let is_event = self.take(frame, event);
                if is_event.doing(|| doing(&self.server.url))? {
                    return Ok(Next::Event);
                }
                continue;
            }
            let Some(connection) = &self.connection else {
                if Micros::from(self.clock.steady()) < self.trouble.due {
                    return Ok(Next::NotYet);
                }
                self.connection = Some(self.connect());
                continue;
            };
            match connection.take() {
                None => return Ok(Next::NotYet),
                Some(Ok(Piece::Open)) => info!("connected to {}", without_query(&self.server.url)),
                Some(Ok(Piece::Bytes(bytes))) => (self.piece, self.read) = (bytes, 0),
                Some(Err(broken)) => self.lost(broken).doing(|| doing(&self.server.url))?,
            }
        }
        Ok(Next::NotYet)
    }

    fn promise_before(&self, number: u64) -> Option<EventTime> {
        let promise = self.fields.newest()?.minus(self.dates.out_of_order?);
        let in_hand = self.last_at.filter(|_| number < self.position.next());
        Some(in_hand.map_or(promise, |at| promise.min(at)))
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

    fn passed_over(&self) -> u64 {
        self.passed_over
    }

    fn note(&self) -> Option<String> {
        if self.trouble.tries == 0 || self.trouble.heard_now {
            return None;
        }
        let why = &self.trouble.why;
        let wait = self.trouble.due.since(Micros::from(self.clock.steady())).as_secs();
        Some(match self.connection {
            Some(_) => format!("no events ({why}), trying again"),
            None => format!("no events ({why}), tries again in {wait} s"),
        })
    }
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
