//! Decides whether a stream should run, and what becomes of it when an attempt has ended.

use crate::backoff::Backoff;
use crate::error::ErrorKind;
use crate::model::attempt::{Attempt, AttemptState, COMPLETE, StopReason};
use crate::model::stream::{Desired, Standing, Stream, StreamState};
use crate::model::time::Micros;
use std::time::Duration;

/// An attempt that ran this long was well: what ends it is a new trouble, and a restart each time this
/// has passed costs little. Kills that come seconds apart must not add up to an outage.
const HEALTHY: Duration = Duration::from_secs(5);
/// The first restart comes at once, for most ends are somebody's `kill`; the second after this.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);
/// The longest delay after a kill: nothing says that the next life would end the same way.
const KILLED_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Wait,
    /// Start a new attempt under the next epoch.
    Launch,
    /// Its attempt has ended: write down where the stream stands now.
    Stand(Standing),
    /// Drain the running attempt.
    Stop(StopReason),
}

/// `newest` is the stream's newest attempt, open or not.
pub fn decide(stream: &Stream, newest: Option<&Attempt>, now: Micros) -> Step {
    let open = newest.filter(|attempt| !attempt.state.ended());
    if let Some(attempt) = open {
        return stop_reason(stream, attempt)
            .filter(|_| attempt.stop.is_none())
            .map_or(Step::Wait, Step::Stop);
    }
    let wanted = stream.present && stream.desired == Desired::Running;
    let edited = newest.is_some_and(|attempt| attempt.content.as_ref() != Some(&stream.content));
    match stream.state {
        StreamState::Running | StreamState::Draining => {
            Step::Stand(newest.map_or_else(stopped, |attempt| standing(stream, attempt, now)))
        }
        StreamState::Stopped if wanted => Step::Launch,
        // An edit is a person's answer to whatever it waits for, and a new beginning for a feed.
        StreamState::Waiting | StreamState::Ended | StreamState::Retrying if wanted && edited => {
            Step::Launch
        }
        StreamState::Retrying
            if wanted && stream.next_start.is_none_or(|at| at.is_due(RETRY_MAX, now)) =>
        {
            Step::Launch
        }
        StreamState::Retrying if !wanted => Step::Stand(stopped()),
        StreamState::Stopped
        | StreamState::Retrying
        | StreamState::Waiting
        | StreamState::Ended => Step::Wait,
    }
}

fn stop_reason(stream: &Stream, attempt: &Attempt) -> Option<StopReason> {
    if !stream.present {
        Some(StopReason::Gone)
    } else if stream.desired == Desired::Stopped {
        Some(StopReason::Asked)
    } else if attempt.epoch < stream.epoch {
        Some(StopReason::Superseded)
    } else if attempt.content.as_ref() != Some(&stream.content) {
        Some(StopReason::Edited)
    } else {
        None
    }
}

fn standing(stream: &Stream, attempt: &Attempt, now: Micros) -> Standing {
    match attempt.state {
        AttemptState::Succeeded if is_complete(attempt) => {
            Standing { state: StreamState::Ended, ..stopped() }
        }
        // Somebody else has asked it to drain: it is wanted, so it comes back.
        AttemptState::Succeeded | AttemptState::Stopped => stopped(),
        AttemptState::Queued
        | AttemptState::Running
        | AttemptState::Failed
        | AttemptState::Unknown => after_failure(stream, attempt, now),
    }
}

fn is_complete(attempt: &Attempt) -> bool {
    let complete = attempt.result.as_ref().and_then(|result| result.get(COMPLETE)?.as_bool());
    complete.unwrap_or(false)
}

fn after_failure(stream: &Stream, attempt: &Attempt, now: Micros) -> Standing {
    let failure = attempt.failure.as_ref();
    match failure.map(|failure| failure.kind) {
        // Loud: a repeat would fail the same way, or lose what a person must decide on.
        Some(ErrorKind::Input | ErrorKind::Data) => Standing {
            state: StreamState::Waiting,
            waiting_for: failure.map(|failure| failure.error.clone()),
            ..stopped()
        },
        Some(ErrorKind::Unavailable | ErrorKind::Fenced | ErrorKind::Bug) | None => {
            let ran = attempt
                .started
                .map_or(Duration::ZERO, |started| attempt.ended.unwrap_or(now).since(started));
            let restarts = if ran >= HEALTHY { 1 } else { stream.restarts + 1 };
            // Unknown: its shim was killed with it, or before it.
            let killed = attempt.signal.is_some() || attempt.state == AttemptState::Unknown;
            let most = if killed { KILLED_MAX } else { RETRY_MAX };
            Standing {
                state: StreamState::Retrying,
                restarts,
                next_start: Some(
                    attempt.ended.unwrap_or(now).plus(retry_delay(restarts).min(most)),
                ),
                waiting_for: None,
            }
        }
    }
}

/// The delay before the n-th restart in a row, counted from 1.
fn retry_delay(restarts: u32) -> Duration {
    match restarts {
        0 | 1 => Duration::ZERO,
        more => Backoff::new(RETRY_FIRST, RETRY_MAX).after(more - 1),
    }
}

fn stopped() -> Standing {
    Standing { state: StreamState::Stopped, restarts: 0, next_start: None, waiting_for: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attempt::{AttemptKind, Failure, Owner, Stop};
    use crate::model::stream::StreamKind;

    fn at(secs: i64) -> Micros {
        Micros(secs * 1_000_000)
    }

    fn stream(state: StreamState) -> Stream {
        Stream {
            id: "wikimedia.land".into(),
            dag: "wikimedia".parse().unwrap(),
            name: "land".parse().unwrap(),
            job: "recentchange_land".parse().unwrap(),
            kind: StreamKind::Stream,
            version: String::new(),
            content: "old".into(),
            present: true,
            desired: Desired::Running,
            state,
            epoch: 1,
            restarts: 0,
            next_start: None,
            waiting_for: None,
            progress: None,
            heartbeat: None,
        }
    }

    /// Started at second 100.
    fn attempt(state: AttemptState, ended: i64, kind: Option<ErrorKind>) -> Attempt {
        Attempt {
            id: "wikimedia.land-1".into(),
            owner: Owner::Stream("wikimedia.land".into()),
            kind: AttemptKind::Stream,
            version: String::new(),
            content: Some("old".into()),
            tries: 1,
            epoch: 1,
            state,
            stop: None,
            process: None,
            created: at(100),
            started: Some(at(100)),
            ended: state.ended().then(|| at(ended)),
            exit_code: None,
            signal: None,
            failure: kind.map(|kind| Failure { kind, error: "trouble".into(), remedy: None }),
            result: None,
        }
    }

    #[track_caller]
    fn check(stream: &Stream, newest: Option<&Attempt>, now: i64, expected: &str) {
        let told = match decide(stream, newest, at(now)) {
            Step::Wait => "wait".into(),
            Step::Launch => "launch".into(),
            Step::Stop(reason) => format!("stop: {reason}"),
            Step::Stand(standing) => {
                let next = standing.next_start.map(|at| format!(" at {}", at.0 / 1_000_000));
                let why = standing.waiting_for.map(|why| format!(" for {why}"));
                let (next, why) = (next.unwrap_or_default(), why.unwrap_or_default());
                format!("{} {}{next}{why}", standing.state, standing.restarts)
            }
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn a_new_stream_that_is_wanted_is_launched() {
        check(&stream(StreamState::Stopped), None, 1, "launch");
        let unwanted = Stream { desired: Desired::Stopped, ..stream(StreamState::Stopped) };
        check(&unwanted, None, 1, "wait");
    }

    #[test]
    fn what_may_pass_is_tried_again_at_once_then_later_and_later() {
        let failed = attempt(AttemptState::Failed, 101, Some(ErrorKind::Unavailable));
        let mut stream = stream(StreamState::Running);
        for (restarts, expected) in [
            (0, "retrying 1 at 101"),
            (1, "retrying 2 at 102"),
            (2, "retrying 3 at 103"),
            (9, "retrying 10 at 161"),
        ] {
            stream.restarts = restarts;
            check(&stream, Some(&failed), 101, expected);
        }
    }

    #[test]
    fn after_a_healthy_life_counting_starts_anew() {
        let failed = attempt(AttemptState::Unknown, 105, None);
        let stream = Stream { restarts: 9, ..stream(StreamState::Running) };
        check(&stream, Some(&failed), 105, "retrying 1 at 105");
    }

    #[test]
    fn kills_never_add_up_to_an_outage() {
        let mut killed = attempt(AttemptState::Failed, 101, None);
        killed.signal = Some(9);
        let stream = Stream { restarts: 9, ..stream(StreamState::Running) };
        check(&stream, Some(&killed), 101, "retrying 10 at 106");
        let shim_killed = attempt(AttemptState::Unknown, 101, None);
        check(&stream, Some(&shim_killed), 101, "retrying 10 at 106");
    }

    #[test]
    fn a_restart_comes_when_its_time_has() {
        let failed = attempt(AttemptState::Failed, 101, None);
        let stream = Stream { next_start: Some(at(103)), ..stream(StreamState::Retrying) };
        check(&stream, Some(&failed), 102, "wait");
        check(&stream, Some(&failed), 103, "launch");
    }

    #[test]
    fn a_clock_that_is_set_back_delays_no_restart() {
        let failed = attempt(AttemptState::Failed, 11_101, None);
        let stream = Stream { next_start: Some(at(11_103)), ..stream(StreamState::Retrying) };
        check(&stream, Some(&failed), 301, "launch");
    }

    #[test]
    fn bad_data_waits_for_a_person_or_an_edit() {
        let failed = attempt(AttemptState::Failed, 101, Some(ErrorKind::Data));
        check(&stream(StreamState::Running), Some(&failed), 101, "waiting 0 for trouble");
        check(&stream(StreamState::Waiting), Some(&failed), 9999, "wait");
        let edited = Stream { content: "new".into(), ..stream(StreamState::Waiting) };
        check(&edited, Some(&failed), 102, "launch");
    }

    #[test]
    fn a_feed_that_ended_stays_ended_and_a_stream_that_drained_comes_back() {
        let mut done = attempt(AttemptState::Succeeded, 101, None);
        check(&stream(StreamState::Running), Some(&done), 101, "stopped 0");
        done.result = Some(serde_json::json!({ COMPLETE: true }));
        check(&stream(StreamState::Running), Some(&done), 101, "ended 0");
        check(&stream(StreamState::Ended), Some(&done), 9999, "wait");
    }

    #[test]
    fn an_edit_drains_the_running_attempt_once() {
        let mut running = attempt(AttemptState::Running, 0, None);
        check(&stream(StreamState::Running), Some(&running), 101, "wait");
        let edited = Stream { content: "new".into(), ..stream(StreamState::Running) };
        check(&edited, Some(&running), 101, "stop: edited");
        running.stop = Some(Stop::new(StopReason::Edited, at(101)));
        check(&edited, Some(&running), 101, "wait");
    }

    #[test]
    fn what_a_person_stopped_or_removed_is_drained() {
        let running = attempt(AttemptState::Running, 0, None);
        let stopped = Stream { desired: Desired::Stopped, ..stream(StreamState::Running) };
        check(&stopped, Some(&running), 101, "stop: asked");
        let gone = Stream { present: false, ..stream(StreamState::Running) };
        check(&gone, Some(&running), 101, "stop: gone");
    }
}
