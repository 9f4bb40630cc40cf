//! Days in every timezone, compared with what Python's `zoneinfo` says of its clocks.

use super::hive::{Grain, PartitionBy};
use super::time::Micros;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Prints each change of each zone's clocks from 1970 to 2037, `Z name second before after`, and below it
/// seconds around it with the day that they belong to: the earliest date that clocks show then or later.
const ORACLE: &str = r#"
import datetime as d, zoneinfo
UTC, EPOCH = d.timezone.utc, d.date(1970, 1, 1).toordinal()
BEGIN, END, STEP = 0, 2145916800, 10 * 86400
AROUND = [-93600, -86401, -86400, -7200, -3661, -3600, -3599, -1800, -61, -60, -1, 0, 1, 59, 60, 61, 1799,
          1800, 1860, 3599, 3600, 3601, 3659, 3660, 7200, 86399, 86400, 93600]
for name in sorted(zoneinfo.available_timezones()):
    zone = zoneinfo.ZoneInfo(name)
    at = lambda t: d.datetime.fromtimestamp(t, UTC).astimezone(zone)
    offset = lambda t: int(at(t).utcoffset().total_seconds())
    changes, t, was = [], BEGIN, offset(BEGIN)
    while t < END:
        if offset(t + STEP) != was:
            low, high = t, t + STEP
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == was else (low, middle)
            changes.append((high, was, offset(high)))
            t, was = high, offset(high)
        else:
            t += STEP
    firsts = [(t, at(t).date()) for t, _, _ in changes]
    for t, before, after in changes:
        print("Z", name, t, before, after)
        for around in AROUND:
            s = t + around
            day = min([at(s).date()] + [date for first, date in firsts if s <= first <= s + 2 * 86400])
            print(s, day)
"#;

/// What a run has compared.
#[derive(Default)]
struct Told {
    zones: usize,
    changes: usize,
    instants: usize,
    /// Changes that the two databases date otherwise, and zones that only one of them has.
    apart: usize,
}

/// Past the capture of a test that passes.
fn skipped(why: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {why}").unwrap();
}

#[test]
#[expect(clippy::print_stdout, reason = "it says how much it has compared")]
fn every_instant_belongs_to_the_day_that_its_zones_clocks_say() {
    let started = Command::new("python3").args(["-c", ORACLE]).stdout(Stdio::piped()).spawn();
    let Ok(mut python) = started else {
        return skipped("there is no python3 to compare the days of all timezones with");
    };
    let mut told = Told::default();
    let mut zone: Option<PartitionBy> = None;
    let mut last = String::new();
    for line in BufReader::new(python.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["Z", name, change, before, after] => {
                told.zones += usize::from(last != name);
                name.clone_into(&mut last);
                zone = agreed(name, change.parse().unwrap(), [before, after]);
                if zone.is_none() {
                    told.apart += 1;
                } else {
                    told.changes += 1;
                }
            }
            [second, day] => {
                let Some(by) = &zone else { continue };
                check(by, Micros(second.parse::<i64>().unwrap() * 1_000_000), day);
                told.instants += 1;
            }
            _ => panic!("not understood: {line}"),
        }
    }
    assert!(python.wait().unwrap().success());
    let Told { zones, changes, instants, apart } = told;
    if zones < 100 {
        return skipped("python3 knows hardly any timezone: install its package tzdata");
    }
    println!(
        "{instants} instants around {changes} changes of {zones} zones; {apart} are dated otherwise"
    );
    assert!(apart * 20 < changes, "{apart} of {changes} changes are dated otherwise");
}

/// The zone, if its clocks change at this second as Python's do.
fn agreed(name: &str, change: i64, offsets: [&str; 2]) -> Option<PartitionBy> {
    let timezone = name.parse::<super::zone::Zone>().ok()?;
    let offset = |second: i64| {
        let at = jiff::Timestamp::from_second(second).unwrap();
        timezone.rules().to_offset(at).seconds().to_string()
    };
    let agrees = [offset(change - 1), offset(change)] == offsets;
    agrees.then_some(PartitionBy { grain: Grain::Day, timezone })
}

#[track_caller]
fn check(by: &PartitionBy, at: Micros, day: &str) {
    let key = by.key_of(at);
    assert_eq!(key.to_string(), day, "{at} in {}", by.timezone);
    let (start, end) = by.range(&key);
    assert!(start <= at && at < end, "{at} in {}: {key} is {start} to {end}", by.timezone);
    assert_eq!(by.key_of(start), key, "the start of {key} in {}", by.timezone);
    assert_eq!(by.key_of(Micros(end.0 - 1)), key, "the end of {key} in {}", by.timezone);
    let month = PartitionBy { grain: Grain::Month, ..by.clone() };
    assert_eq!(month.key_of(at), key.within(Grain::Month), "{at} in {}", by.timezone);
}

#[test]
fn clocks_that_are_set_back_across_midnight_end_the_day_at_the_second_one() {
    for timezone in ["America/St_Johns", "America/Goose_Bay", "America/Moncton"] {
        let by = PartitionBy { grain: Grain::Day, timezone: timezone.parse().unwrap() };
        let key =
            |text: &str| by.key_of(text.parse::<jiff::Timestamp>().unwrap().into()).to_string();
        let (before, midnight) = match timezone {
            "America/St_Johns" => ("2006-10-29T02:45:00Z", "2006-10-29T03:30:00Z"),
            _ => ("2006-10-29T03:15:00Z", "2006-10-29T04:00:00Z"),
        };
        assert_eq!((key(before), key(midnight)), ("2006-10-28".into(), "2006-10-29".into()));
    }
}

#[test]
fn a_day_that_was_skipped_is_empty() {
    let by = PartitionBy { grain: Grain::Day, timezone: "Pacific/Apia".parse().unwrap() };
    let (start, end) = by.range(&"2011-12-30".parse().unwrap());
    assert_eq!((start, end.to_string().as_str()), (end, "2011-12-30T10:00:00Z"));
    assert_eq!(by.key_of(start).to_string(), "2011-12-31");
    assert_eq!(by.key_of(Micros(start.0 - 1)).to_string(), "2011-12-29");
}
