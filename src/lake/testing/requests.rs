//! Each request that a piece of work sends to a bucket goes wrong once, in every way.
//!
//! Below the crashing store: what `object_store` makes of a call, our own conditional copies and
//! deletes, and the time limit of the client are in it too.

use super::super::place::gcs::Patience;
use super::{Emulator, Lake};
use crate::error::{Error, ErrorKind};
use std::time::Duration;
use uuid::Uuid;

/// What the sender waits for an answer that will not come in time, and when it comes.
const ANSWER_MAX: Duration = Duration::from_millis(700);
const STALL_MS: u64 = 900;
const SOUND: Patience = Patience { answer_max: Duration::from_secs(20), retries_max: 0 };
/// More than any work of a test sends.
const REQUESTS_MAX: u64 = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Neither the request nor a later one arrives.
    KilledBefore,
    /// It takes effect, and nothing later arrives.
    KilledAfter,
    /// The account may not, from here on.
    Denied,
    /// It is refused for now.
    Refused,
    /// It takes effect, and its answer is an error.
    Lost,
    /// It takes effect when its sender has given up and asked again.
    Late,
    /// It takes effect, and is answered when nobody waits any more.
    Stalled,
}

const ALL: [Trouble; 7] = [
    Trouble::KilledBefore,
    Trouble::KilledAfter,
    Trouble::Denied,
    Trouble::Refused,
    Trouble::Lost,
    Trouble::Late,
    Trouble::Stalled,
];

impl Trouble {
    /// What it ends in: `None` where asking again must be enough.
    fn ends_in(self) -> Option<ErrorKind> {
        match self {
            Self::KilledBefore | Self::KilledAfter => Some(ErrorKind::Unavailable),
            Self::Denied => Some(ErrorKind::Input),
            Self::Refused | Self::Lost | Self::Late | Self::Stalled => None,
        }
    }

    /// Only where a time limit is tried: on a busy machine any answer may be late.
    fn patience(self) -> (Patience, u32) {
        match self {
            Self::KilledBefore | Self::KilledAfter | Self::Denied => (SOUND, 1),
            Self::Refused | Self::Lost => (SOUND, 3),
            Self::Late | Self::Stalled => (Patience { answer_max: ANSWER_MAX, ..SOUND }, 12),
        }
    }

    /// The emulator's rules for the lake below `prefix`, after `skip` sound requests.
    fn rules(self, prefix: &str, skip: u64) -> String {
        let rule = |fault: &str, status: u16, next: &str| {
            format!(
                r#"{{ "fault": "{fault}", "status": {status}, "stall_ms": {STALL_MS}, "prefix": "lake/{prefix}/", "skip": {skip}{next} }}"#
            )
        };
        let once = r#", "next": 1"#;
        let rules = match self {
            Self::KilledBefore => vec![rule("before", 503, "")],
            Self::KilledAfter => vec![rule("after", 503, once), rule("before", 503, "")],
            Self::Denied => vec![rule("before", 403, "")],
            Self::Refused => vec![rule("before", 429, once)],
            Self::Lost => vec![rule("after", 503, once)],
            Self::Late => vec![rule("stall_before", 0, once)],
            Self::Stalled => vec![rule("stall_after", 0, once)],
        };
        format!("[{}]", rules.join(","))
    }
}

/// Runs `work` with trouble at its first request, then at its second, until there is no request
/// left; each time `after` tells on a sound handle what must be true.
pub async fn trouble_at_every_request<S: Clone>(
    make: impl AsyncFn(Lake) -> S,
    work: impl AsyncFn(Lake, S) -> Result<(), Error>,
    after: impl AsyncFn(Lake, S),
) {
    let Some(emulator) = Emulator::start() else { return };
    for trouble in ALL {
        for skip in 0..REQUESTS_MAX {
            let prefix = format!("t/{}", Uuid::new_v4().simple());
            let sound = emulator.lake_at(&prefix, SOUND, 1).await;
            let state = make(sound.clone()).await;
            let (patience, tries) = trouble.patience();
            let lake = emulator.lake_at(&prefix, patience, tries).await;
            emulator.faults(&trouble.rules(&prefix, skip));
            let outcome = work(lake, state.clone()).await;
            let hit = emulator.hits()[0] > 0;
            emulator.end_faults();
            match (outcome, trouble.ends_in().filter(|_| hit)) {
                (Ok(()), None) => {}
                (Ok(()), Some(_)) => panic!("{trouble:?} at request {skip} is swallowed"),
                (Err(error), wanted) => {
                    assert_eq!(Some(error.kind), wanted, "{trouble:?} at request {skip}: {error}");
                    let told = error.remedy.is_some() || error.kind != ErrorKind::Input;
                    assert!(told, "{error}");
                }
            }
            after(sound, state).await;
            if !hit {
                assert_ne!(skip, 0, "{trouble:?}: no request was hit");
                break;
            }
            assert_ne!(skip + 1, REQUESTS_MAX, "it never ends");
        }
    }
}
