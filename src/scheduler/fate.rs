//! Decides what a closing means for a DAG that waits for its table.

use crate::model::closing::Closed;
use crate::model::dag::{Empty, OnClose, OnLate};
use crate::model::hive::{PartitionBy, PartitionKey};
use crate::model::run::{Class, RunState};
use crate::model::time::Micros;

/// How a closing came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Frontier,
    /// By a person: runs whatever `on_late` says.
    Asked,
    /// Found in the lake by a new store.
    Found,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// Ignored as late, or before `start`: it only counts.
    Nothing,
    Run {
        state: RunState,
        class: Class,
    },
    /// The schedule is coarser: this range has something new.
    Due {
        key: PartitionKey,
        start: Micros,
        end: Micros,
    },
}

pub fn of_closing(closed: &Closed, schedule: &OnClose, cause: Cause) -> Fate {
    let (key, start, end) = range_of(&closed.key, schedule, (closed.start, closed.end));
    if schedule.start.is_some_and(|first| start < first) {
        return Fate::Nothing;
    }
    // A stream's closing without files lies in a gap: no row is known of it, as if there were none.
    let is_lost = closed.files == 0 && closed.made_from.is_none();
    if is_lost && schedule.empty == Empty::Skip {
        return Fate::Nothing;
    }
    if schedule.grain != closed.key.grain {
        return Fate::Due { key, start, end };
    }
    run(schedule, closed.late, closed.n > 1, cause)
}

/// What a range of a coarser schedule becomes when everything in it is done; `newest` is the number
/// of its newest run.
pub fn of_range(schedule: &OnClose, newest: Option<u32>, cause: Cause) -> Fate {
    let again = newest.is_some();
    run(schedule, again, again, cause)
}

fn run(schedule: &OnClose, late: bool, again: bool, cause: Cause) -> Fate {
    let class = match (cause, late || again) {
        (Cause::Found, _) => Class::Backfill,
        (Cause::Asked, _) | (Cause::Frontier, true) => Class::Reopened,
        (Cause::Frontier, false) => Class::Live,
    };
    let late = late && cause != Cause::Asked;
    match schedule.on_late {
        OnLate::Ignore if late => Fate::Nothing,
        OnLate::Hold if late => Fate::Run { state: RunState::Held, class },
        OnLate::Refresh | OnLate::Hold | OnLate::Ignore => {
            Fate::Run { state: RunState::Queued, class }
        }
    }
}

/// The range of the schedule's grain that a hive partition of its table lies in.
fn range_of(
    key: &PartitionKey,
    schedule: &OnClose,
    own: (Micros, Micros),
) -> (PartitionKey, Micros, Micros) {
    if schedule.grain == key.grain {
        return (*key, own.0, own.1);
    }
    let key = key.within(schedule.grain);
    let (start, end) = layout(schedule).range(&key);
    (key, start, end)
}

/// How the schedule cuts time.
pub fn layout(schedule: &OnClose) -> PartitionBy {
    PartitionBy { grain: schedule.grain, timezone: schedule.timezone.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hive::Grain;
    use crate::model::zone::Zone;

    #[test]
    fn the_first_closing_runs_whatever_is_said_of_late_rows() {
        for on_late in [OnLate::Refresh, OnLate::Hold, OnLate::Ignore] {
            check(on_late, 1, false, Cause::Frontier, "queued Live");
        }
    }

    #[test]
    fn late_rows_run_wait_or_count_as_the_schedule_says() {
        check(OnLate::Refresh, 2, true, Cause::Frontier, "queued Reopened");
        check(OnLate::Hold, 2, true, Cause::Frontier, "held Reopened");
        check(OnLate::Ignore, 2, true, Cause::Frontier, "nothing");
    }

    #[test]
    fn what_a_person_reopens_runs_whatever_is_said_of_late_rows() {
        for on_late in [OnLate::Refresh, OnLate::Hold, OnLate::Ignore] {
            check(on_late, 2, true, Cause::Asked, "queued Reopened");
        }
    }

    #[test]
    fn closings_found_by_a_new_store_go_last() {
        check(OnLate::Refresh, 3, false, Cause::Found, "queued Backfill");
    }

    #[test]
    fn a_partition_before_start_makes_no_run() {
        let mut schedule = schedule(OnLate::Refresh, Grain::Hour);
        schedule.start = Some(Micros(1));
        assert_eq!(of_closing(&closed(1, false), &schedule, Cause::Frontier), Fate::Nothing);
    }

    #[test]
    fn an_hour_makes_its_day_due() {
        let fate =
            of_closing(&closed(1, false), &schedule(OnLate::Refresh, Grain::Day), Cause::Frontier);
        let Fate::Due { key, start, end } = fate else { panic!("{fate:?}") };
        assert_eq!(key.to_string(), "1970-01-01");
        assert_eq!(end.since(start).as_secs(), 86_400);
    }

    #[track_caller]
    fn check(on_late: OnLate, n: u32, late: bool, cause: Cause, expected: &str) {
        let fate = match of_closing(&closed(n, late), &schedule(on_late, Grain::Hour), cause) {
            Fate::Nothing => "nothing".into(),
            Fate::Run { state, class } => format!("{state} {class:?}"),
            Fate::Due { key, .. } => format!("due {key}"),
        };
        assert_eq!(fate, expected);
    }

    fn schedule(on_late: OnLate, grain: Grain) -> OnClose {
        OnClose {
            table: "raw.changes".parse().unwrap(),
            grain,
            timezone: Zone::utc(),
            on_late,
            empty: Empty::Skip,
            start: None,
            max_active_runs: 4,
        }
    }

    fn closed(n: u32, late: bool) -> Closed {
        Closed {
            id: 1,
            table: "raw.changes".parse().unwrap(),
            key: "1970-01-01T00".parse().unwrap(),
            n,
            partial: false,
            late,
            rows: 1,
            bytes: 1,
            files: 1,
            frontier: Micros(0),
            start: Micros(0),
            end: Micros(3_600_000_000),
            made_from: None,
            created: Micros(0),
        }
    }
}
