//! Decides what an answer that is no stream, or the end of one, means for the next try.

use crate::error::{Error, ErrorKind};
use std::time::{Duration, SystemTime};

/// No wait that a server asks for is longer: it is asked again then, and may say the same.
const WAIT_MAX: Duration = Duration::from_hours(1);
/// As much of a server's own words is told.
const WORDS_MAX: usize = 200;

/// Why a connection is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The server has ended it.
    Closed,
    /// Nothing has come for too long.
    Silent,
    /// There was none, or it broke.
    Failed(String),
    /// An answer came that is no stream.
    Answered(Answer),
    /// A part of the request that HTTP has no form for, by its name.
    Unsendable(String),
}

/// An answer without events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub retry_after: Option<String>,
    /// The server's clock.
    pub date: Option<String>,
    /// The beginning of its body.
    pub reason: String,
}

/// What is done next.
#[derive(Debug)]
pub enum Verdict {
    /// The server has no more events, ever.
    End,
    /// It is asked again: not before `after`.
    Again { why: String, after: Option<Duration> },
    /// To ask again is useless, unless it went well before.
    Refused(Error),
}

/// `now` is the wall clock, which counts where the server does not say what its own says.
pub fn judge(broken: Broken, silence: Duration, now: SystemTime) -> Verdict {
    let again = |why: String| Verdict::Again { why, after: None };
    match broken {
        Broken::Closed => again("the server has ended the connection".to_owned()),
        Broken::Silent => again(format!("nothing has come for {} s", silence.as_secs())),
        Broken::Failed(why) => again(words(&why)),
        Broken::Answered(answer) => judge_answer(&answer, now),
        Broken::Unsendable(what) => {
            let problem = format!("{what} can't be sent: HTTP has no form for it");
            Verdict::Refused(
                Error::new(ErrorKind::Input, problem)
                    .remedy("leave out line breaks and other characters that can't be printed"),
            )
        }
    }
}

fn judge_answer(answer: &Answer, now: SystemTime) -> Verdict {
    let said = words(&answer.reason);
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let what = format!("HTTP {}{said}", answer.status);
    let refused =
        |remedy: &str| Verdict::Refused(Error::new(ErrorKind::Input, what.clone()).remedy(remedy));
    match answer.status {
        // What the standard has for it: the client shall not come back.
        204 => Verdict::End,
        200 => {
            let kind = answer.content_type.as_deref().unwrap_or("nothing");
            let problem = format!("its content type is {}, not text/event-stream", words(kind));
            Verdict::Refused(Error::new(ErrorKind::Input, problem).remedy(
                "name the address of a stream of server-sent events; a login page or a proxy may also \
                 answer in its place: try `curl -N -H 'Accept: text/event-stream' URL`",
            ))
        }
        408 | 425 | 429 | 500..=599 => Verdict::Again {
            why: what,
            after: answer
                .retry_after
                .as_deref()
                .and_then(|text| wait(text, answer.date.as_deref(), now)),
        },
        400 => refused("see that the address names a stream that this server has"),
        401 | 403 | 407 => refused(
            "see that `headers` hold what the server asks for, and that `user_agent` says who you are",
        ),
        404 | 410 => refused("see that `url` is right: the server has nothing there"),
        _ => refused("see that `url` is the address of a stream of server-sent events"),
    }
}

/// What `Retry-After` asks for: seconds, or a date by the server's own clock.
fn wait(text: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(text.parse().ok()?)
    } else {
        let until = httpdate::parse_http_date(text).ok()?;
        let now = date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
        until.duration_since(now).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(WAIT_MAX))
}

/// The beginning of a text from outside, in one line without control characters.
fn words(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = text.chars().map(plain).collect();
    let mut words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(WORDS_MAX) {
        words.truncate(end);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    fn judged(answer: Answer) -> Verdict {
        judge(Broken::Answered(answer), Duration::from_secs(60), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_busy_or_broken_server_is_asked_again() {
        for status in [408, 425, 429, 500, 502, 503, 599] {
            assert!(
                matches!(judged(answer(status)), Verdict::Again { after: None, .. }),
                "{status}"
            );
        }
    }

    #[test]
    fn what_a_person_must_change_is_refused_with_a_remedy() {
        for status in [201, 206, 301, 304, 400, 401, 403, 404, 406, 410] {
            let Verdict::Refused(error) = judged(answer(status)) else { panic!("{status}") };
            assert!(error.kind == ErrorKind::Input && error.remedy.is_some(), "{status}");
        }
    }

    #[test]
    fn no_content_ends_the_stream() {
        assert!(matches!(judged(answer(204)), Verdict::End));
    }

    #[test]
    fn another_content_type_is_named() {
        let html = Answer { content_type: Some("text/html".into()), ..answer(200) };
        let Verdict::Refused(error) = judged(html) else { panic!() };
        assert_eq!(error.to_string(), "its content type is text/html, not text/event-stream");
    }

    #[test]
    fn the_servers_words_are_told_in_one_line_without_controls() {
        let reason = format!("Stream\n\u{1b}[31mNot Found{}", " x".repeat(500));
        let Verdict::Refused(error) = judged(Answer { reason, ..answer(400) }) else { panic!() };
        let text = error.to_string();
        assert!(text.starts_with("HTTP 400: Stream [31mNot Found x x"), "{text}");
        assert!(text.chars().count() < 220 && text.ends_with('…'), "{text}");
    }

    #[track_caller]
    fn check_wait(retry_after: &str, date: Option<&str>, secs: Option<u64>) {
        let answer = Answer {
            retry_after: Some(retry_after.to_owned()),
            date: date.map(str::to_owned),
            ..answer(429)
        };
        let Verdict::Again { after, .. } = judged(answer) else { panic!() };
        assert_eq!(after.map(|after| after.as_secs()), secs, "{retry_after}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_clock_and_an_hour_at_most() {
        let now = Some("Sun, 06 Nov 1994 08:49:00 GMT");
        check_wait("17", None, Some(17));
        check_wait("Sun, 06 Nov 1994 08:49:37 GMT", now, Some(37));
        check_wait("Sunday, 06-Nov-94 08:49:37 GMT", now, Some(37));
        check_wait("Sun Nov  6 08:49:37 1994", now, Some(37));
        check_wait("Sun, 06 Nov 1994 08:48:00 GMT", now, Some(0));
        check_wait("Thu, 01 Jan 1970 00:00:09 GMT", None, Some(9));
        check_wait("999999", None, Some(3600));
        check_wait("99999999999999999999999999", None, None);
        check_wait("soon", None, None);
    }
}
