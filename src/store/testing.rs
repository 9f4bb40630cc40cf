//! Transactions that go wrong where a test wants it.
//!
//! One that has no effect fails at its commit, with everything else of it done; a dead process
//! begins no further one.

use super::Store;
pub(crate) use super::tests::with_feed;
use crate::crash::{Crash, Fate};
use crate::error::{Error, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone, Debug, Default)]
pub struct Faults {
    crash: Option<Crash>,
    begun: Arc<AtomicUsize>,
}

impl Faults {
    pub fn begin(&self) -> Result<Fate, Error> {
        let Some(crash) = self.crash else { return Ok(Fate::Answered) };
        let call = self.begun.fetch_add(1, Ordering::SeqCst);
        match crash.fate(call) {
            Fate::Refused if call > crash.at() => Err(gone()),
            fate => Ok(fate),
        }
    }
}

pub fn before_commit(fate: Fate) -> Result<(), Error> {
    if fate == Fate::Refused { Err(gone()) } else { Ok(()) }
}

pub fn after_commit(fate: Fate) -> Result<(), Error> {
    if fate == Fate::Unanswered { Err(gone()) } else { Ok(()) }
}

fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "as if the process were gone")
}

impl Store {
    /// Another handle, as another process has, of which one transaction goes wrong.
    pub(crate) fn crashing(&self, crash: Crash) -> Self {
        Self { faults: Faults { crash: Some(crash), ..Faults::default() }, ..self.clone() }
    }

    /// Writes what a newer version, or damage, may have left: `sql` has one value, `$1`.
    pub(crate) async fn plant(&self, sql: &'static str, value: &str) {
        let mut tx = self.begin().await.unwrap();
        super::query(sql).bind(value).execute(tx.conn()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Whether the transaction that is to go wrong was reached.
    pub(crate) fn crashed(&self) -> bool {
        let at = self.faults.crash.map(Crash::at);
        at.is_some_and(|at| self.faults.begun.load(Ordering::SeqCst) > at)
    }
}
