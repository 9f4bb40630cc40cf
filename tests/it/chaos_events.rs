//! The events of a day: late ones, canaries that are dropped and broken ones that are set aside.

use rand::RngExt;
use rand::rngs::StdRng;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

const COUNT: u64 = 6_000;
const DAY_SECS: u64 = 86_400;
/// What came so long ago has closed.
const LATE_SECS: u64 = 12 * 3_600;

/// What must become of the events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    pub landed: u64,
    pub quarantined: u64,
    pub dropped: u64,
}

pub fn write(path: &Path, random: &mut StdRng) -> Events {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut events = Events::default();
    for id in 0..COUNT {
        let mut at = id * DAY_SECS / COUNT;
        if at > LATE_SECS && random.random_ratio(1, 300) {
            at -= random.random_range(1..LATE_SECS);
        }
        let (hour, minute, second) = (at / 3600, at / 60 % 60, at % 60);
        let kind = random.random_range(0..100);
        // Broken ones count as canaries too, so that another engine leaves them out.
        let domain = if kind < 4 { "canary" } else { "a.example.org" };
        let wiki = match kind {
            0 | 1 => r#"{"name":"broken"}"#.to_owned(),
            _ => format!("\"wiki{}\"", random.random_range(0..5)),
        };
        match kind {
            0 | 1 => events.quarantined += 1,
            2 | 3 => events.dropped += 1,
            _ => events.landed += 1,
        }
        let (user, old, new) = (
            random.random_range(0..20),
            random.random_range(0..5_000),
            random.random_range(0..5_000),
        );
        let bot = random.random_ratio(1, 3);
        writeln!(
            file,
            r#"{{"meta":{{"id":"e{id}","dt":"2020-03-01T{hour:02}:{minute:02}:{second:02}Z","domain":"{domain}"}},"wiki":{wiki},"type":"edit","user":"u{user}","bot":{bot},"length":{{"old":{old},"new":{new}}}}}"#
        )
        .unwrap();
    }
    file.flush().unwrap();
    events
}
