//! Runs, tasks and attempts: what they are called and which states they know.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$case_doc])* $case,)+ }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$case => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$case),)+
                    _ => Err(format!("`{text}` is not one of: {}", [$($text),+].join(", "))),
                }
            }
        }
    };
}

states! {
    /// Why a run exists.
    RunKind {
        Close = "close",
        Manual = "manual",
    }
}

states! {
    /// Where a run stands.
    RunState {
        /// Made by `on_late = "hold"`: waits for a person.
        Held = "held",
        Queued = "queued",
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        /// A newer closing of the same partition took its place before it started.
        Superseded = "superseded",
    }
}

states! {
    /// Where a task of a run stands.
    TaskState {
        /// Waits for its tasks before it, for a slot or for its retry's time.
        Waiting = "waiting",
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        /// A task before it failed for good.
        UpstreamFailed = "upstream_failed",
    }
}

states! {
    /// Where one try of a task, or one life of a stream, stands.
    AttemptState {
        /// Decided, not yet started.
        Queued = "queued",
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        /// Stopped because we asked for it.
        Stopped = "stopped",
        /// Its shim is gone and left no status.
        Unknown = "unknown",
    }
}

states! {
    /// What a person wants of a stream.
    Desired {
        Running = "running",
        Stopped = "stopped",
    }
}

states! {
    /// Where a stream stands.
    StreamState {
        /// As asked for.
        Stopped = "stopped",
        /// An attempt is queued or at work.
        Running = "running",
        /// Told to stop; commits what it holds.
        Draining = "draining",
        /// Its last attempt failed; the next one has a time.
        Retrying = "retrying",
        /// A person must look before it runs again.
        Waiting = "waiting",
        /// A feed with an end has reached it.
        Ended = "ended",
    }
}

states! {
    /// What an attempt runs.
    AttemptKind {
        Feed = "feed",
        Stream = "stream",
        Batch = "batch",
        Exec = "exec",
        Test = "test",
        Compact = "compact",
    }
}

impl RunState {
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Superseded)
    }
}

impl AttemptState {
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped | Self::Unknown)
    }
}
