//! The journal of load jobs, kept in the state store under the attempt at work.

use super::Work;
use crate::error::Error;
use crate::model::name::Name;
use crate::store::loads::LoadEnd;
use crate::store::loads::NewLoad;
use crate::warehouse::Begun;
use crate::warehouse::End;
use crate::warehouse::Intent;
use crate::warehouse::Journal;
use crate::warehouse::Open;
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
    async fn begin(&self, intent: &Intent) -> Result<Begun, Error> {
        let load = NewLoad {
            attempt: &self.work.attempt.id,
            run: self.run,
            base: &self.base,
            tries: self.work.attempt.tries,
            table: &intent.table,
            key: &intent.key,
            closing: intent.closing,
            content: &intent.content,
        };
        let begun = self.work.store.begin_load(&load, self.work.clock.now().into()).await?;
        let open = begun.open.into_iter().map(|(job, closing)| Open { job, closing });
        Ok(Begun {
            job: begun.job,
            open: open.collect(),
            known: begun.known,
            jobs_today: begun.jobs_today,
            partitions: begun.partitions,
        })
    }

    async fn end(&self, job: &str, end: End) -> Result<(), Error> {
        let end = match end {
            End::Loaded { rows, bytes } => LoadEnd::Loaded { rows, bytes },
            End::Failed => LoadEnd::Failed,
            End::Burnt => LoadEnd::Burnt,
        };
        self.work.store.load_ended(job, end, self.work.clock.now().into()).await
    }
}
