//! The journal of load jobs, kept in the state store under the attempt at work.

use super::Work;
use crate::error::Error;
use crate::model::load::{BegunLoad, LoadEnd, LoadIntent};
use crate::model::name::Name;
use crate::store::loads::NewLoad;
use crate::warehouse::Journal;
use async_trait::async_trait;

pub(super) struct Loads<'a> {
    work: &'a Work,
    run: &'a str,
    /// `tidemill-<project>-<dag>-<run>-<task>`; a job's id ends in the number of its try.
    base: String,
}

impl<'a> Loads<'a> {
    pub fn new(work: &'a Work, run: &'a str, task: &Name) -> Self {
        let (project, dag) = (&work.project.settings.project, &work.version.dag.name);
        Self { work, run, base: format!("tidemill-{project}-{dag}-{run}-{task}") }
    }
}

#[async_trait]
impl Journal for Loads<'_> {
    async fn begin(&self, intent: &LoadIntent) -> Result<BegunLoad, Error> {
        let load = NewLoad {
            attempt: &self.work.attempt.id,
            run: self.run,
            base: &self.base,
            tries: self.work.attempt.tries,
            intent,
        };
        self.work.store.begin_load(&load, self.work.clock.now().into()).await
    }

    async fn end(&self, job: &str, end: LoadEnd) -> Result<(), Error> {
        self.work.store.load_ended(job, end, self.work.clock.now().into()).await
    }
}
