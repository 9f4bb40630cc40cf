//! What an examination of one of our systems has found.

use crate::error::Error;
use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Good,
    /// Works, and will not for ever or not as declared.
    Warning,
    /// Something that we rely on does not hold.
    Bad,
}

/// One thing that we rely on, tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub health: Health,
    /// What should hold: `a create refuses a name that is taken`.
    pub what: String,
    /// What was seen, where that says more.
    pub seen: Option<String>,
    pub remedy: Option<String>,
}

impl Finding {
    pub fn good(what: impl Into<String>) -> Self {
        Self { health: Health::Good, what: what.into(), seen: None, remedy: None }
    }

    pub fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { health: Health::Warning, remedy: Some(remedy.into()), ..Self::good(what) }
    }

    pub fn bad(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { health: Health::Bad, remedy: Some(remedy.into()), ..Self::good(what) }
    }

    /// What should hold could not even be tried.
    pub fn failed(what: impl Into<String>, error: &Error) -> Self {
        let remedy = error.remedy.clone();
        Self { health: Health::Bad, remedy, ..Self::good(what) }.seen(error.to_string())
    }

    #[must_use]
    pub fn seen(mut self, seen: impl Into<String>) -> Self {
        self.seen = Some(seen.into());
        self
    }
}
