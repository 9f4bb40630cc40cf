//! BigQuery as the warehouse: one load job replaces one partition.
//!
//! A job outlives the process that submitted it, so each has an id that is written down before it
//! is submitted. Whoever comes back after a crash submits under the same id, which the service
//! takes once only, and waits for whatever has it. Before a newer closing loads, the id of every
//! older job without a known end is taken by a job that does nothing: an old process that wakes up
//! later finds it in use.

mod decide;
mod examine;
mod read;
mod rest;
mod table;

pub use rest::Patience;

use super::content::Content;
use super::journal::Journal;
use super::{Load, Loaded, Schema};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::crash;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::hive::Grain;
use crate::model::job::WarehouseTable;
use crate::model::load::{BegunLoad, LoadEnd, LoadIntent, OpenLoad};
use crate::model::name::ProjectName;
use crate::model::settings::BigQuery as Settings;
use arrow::datatypes::Schema as ArrowSchema;
use decide::{CONTENT_DIGITS, Labels, Verdict};
use gcp_bigquery_client::model::job_configuration::JobConfiguration;
use gcp_bigquery_client::model::job_configuration_load::JobConfigurationLoad;
use gcp_bigquery_client::model::job_configuration_query::JobConfigurationQuery;
use gcp_bigquery_client::model::table_reference::TableReference;
use rest::Rest;
use std::time::Duration;
use table::{Fitting, Wanted};
use tracing::{info, warn};

/// Failed load jobs count too, and nobody can have the limit raised.
const JOBS_A_DAY_MAX: u32 = 1500;
/// Hours of 416 days. (A job may write to 4,000; ours write to one.)
pub const PARTITIONS_MAX: u32 = 10_000;
/// Who is warned at this share of a limit has days to act.
const WARN_AT: u32 = 80;
/// A load job is ended by the service after six hours; an older one can't write any more.
const JOB_LIFE: Duration = Duration::from_hours(24);
/// How often it is asked whether a job is over.
const LOOKS: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));

/// The data sets of one Google Cloud project.
#[derive(Clone)]
pub struct BigQuery {
    rest: Rest,
    /// Of ours, for labels.
    project: ProjectName,
    clock: Clock,
}

impl BigQuery {
    /// Asks nothing yet.
    pub async fn open(
        settings: &Settings,
        project: &ProjectName,
        clock: Clock,
    ) -> Result<Self, Error> {
        let rest = Rest::open(settings, clock.clone()).await.doing(|| "open BigQuery".into())?;
        Ok(Self { rest, project: project.clone(), clock })
    }

    /// The same with another patience.
    #[must_use]
    pub fn patient(mut self, patience: Patience) -> Self {
        self.rest.patience = patience;
        self
    }

    /// See [`super::Warehouse::admit`].
    pub async fn admit(
        &self,
        to: &WarehouseTable,
        grain: Grain,
        columns: &ArrowSchema,
    ) -> Result<(), Error> {
        let admitted = async { self.wanted(to, grain, columns)?.admit(&self.rest).await };
        admitted.await.doing(|| format!("load into {}", to.table))
    }

    /// See [`super::Warehouse::replace`].
    pub async fn replace(&self, load: &Load, journal: &dyn Journal) -> Result<Loaded, Error> {
        let at = format!("{}${}", load.to.table, decide::decorator(&load.key));
        let content = Content::read(&load.file).doing(|| format!("load into {at}"))?;
        let doing = || match content.footer.rows {
            0 => format!("empty {at}"),
            _ => format!("load 1 file into {at}"),
        };
        content.check(&load.key, load.closing).doing(doing)?;
        self.replace_by_job(load, &content, journal).await.doing(doing)
    }

    async fn replace_by_job(
        &self,
        load: &Load,
        content: &Content,
        journal: &dyn Journal,
    ) -> Result<Loaded, Error> {
        let wanted = self.wanted(&load.to, load.key.grain, &content.footer.columns)?;
        let Fitting { grows, made } = wanted.ensure(&self.rest).await?;
        let intent = LoadIntent {
            table: load.to.table.clone(),
            key: load.key,
            closing: load.closing,
            content: load.file.checksum.chars().take(CONTENT_DIGITS).collect(),
        };
        let labels = decide::labels(&self.project, &intent);
        let job = if content.footer.rows == 0 {
            deletes(&self.rest.project, &intent)
        } else {
            loads(&self.rest.project, load, &wanted.schema, grows)?
        };
        let mut begun = journal.begin(&intent).await?;
        crash::point("load-stored");
        warn_of(&intent, &begun, made);
        if !begun.known {
            begun.open.extend(self.unknown_jobs(&begun.job, &intent, &labels).await?);
        }
        for open in &begun.open {
            self.burn(&intent, open, journal).await?;
        }
        let configuration = JobConfiguration { labels: Some(labels.clone()), ..job };
        let written = self.run(&intent, &begun.job, configuration, &labels, journal).await?;
        let rows = content.footer.rows;
        if written.is_some_and(|written| written != rows) {
            let problem = format!("job {} wrote {written:?} rows of {rows}", begun.job);
            return Err(Error::new(ErrorKind::Data, problem));
        }
        let bytes = load.file.bytes;
        crash::point("load-done");
        journal.end(&begun.job, LoadEnd::Loaded { rows, bytes }).await?;
        info!(table = %intent.table, key = %intent.key, job = begun.job, rows, bytes,
            "loaded {} of {} by job {}", intent.key, intent.table, begun.job);
        Ok(Loaded { rows, bytes, job: Some(begun.job) })
    }

    fn wanted<'a>(
        &'a self,
        to: &'a WarehouseTable,
        grain: Grain,
        columns: &ArrowSchema,
    ) -> Result<Wanted<'a>, Error> {
        let schema = table::schema_of(grain, &Schema::new(grain, columns)?)?;
        Ok(Wanted { project: &self.project, to, grain, schema })
    }

    /// What a journal that was lost would know: jobs of the hive partition that may still write.
    async fn unknown_jobs(
        &self,
        ours: &str,
        intent: &LoadIntent,
        labels: &Labels,
    ) -> Result<Vec<OpenLoad>, Error> {
        let mut open = Vec::new();
        for (job, found) in self.rest.newest_jobs(JOB_LIFE).await? {
            let Some(closing) = decide::closing_of(&found.labels, labels) else { continue };
            if closing > intent.closing && found.failure.is_none() {
                let problem = format!("job {job} loads it from closing {closing}");
                return Err(Error::new(ErrorKind::Fenced, problem));
            }
            if !found.done && job != ours {
                open.push(OpenLoad { job, closing });
            }
        }
        Ok(open)
    }

    /// Sees to it that a job of an older load can't write any more, whether it was ever submitted.
    async fn burn(
        &self,
        intent: &LoadIntent,
        open: &OpenLoad,
        journal: &dyn Journal,
    ) -> Result<(), Error> {
        let OpenLoad { job, closing } = open;
        let doing = || format!("end job {job} of closing {closing}");
        let set = intent.table.data_set();
        let nothing = JobConfiguration {
            labels: Some(decide::burning(&self.project)),
            ..query("SELECT 1".to_owned())
        };
        if self.rest.begin(set, job, nothing).await.doing(doing)? {
            info!(job, closing, "job {job} of closing {closing} can't be submitted any more");
            return journal.end(job, LoadEnd::Burnt).await;
        }
        let (mut cancelled, mut pauses) = (false, LOOKS.pauses());
        loop {
            let found = self.rest.job(set, job).await.doing(doing)?;
            let gone =
                || Error::new(ErrorKind::Unavailable, "its id is in use, and it is not there");
            let found = found.ok_or_else(gone).doing(doing)?;
            if found.done {
                return journal.end(job, LoadEnd::Burnt).await;
            }
            if !cancelled {
                self.rest.cancel(set, job).await.doing(doing)?;
                cancelled = true;
            }
            self.clock.sleep(pauses.longer()).await;
        }
    }

    /// Submits a job, or finds it submitted, and waits for its end; returns the rows it wrote.
    async fn run(
        &self,
        intent: &LoadIntent,
        id: &str,
        configuration: JobConfiguration,
        labels: &Labels,
        journal: &dyn Journal,
    ) -> Result<Option<u64>, Error> {
        let set = intent.table.data_set();
        let submitted = self.rest.begin(set, id, configuration).await;
        if !submitted.doing(|| format!("submit job {id}"))? {
            info!(job = id, "job {id} has been submitted before");
        }
        crash::point("load-submitted");
        let mut pauses = LOOKS.pauses();
        loop {
            let found = self.rest.job(set, id).await.doing(|| format!("ask for job {id}"))?;
            let gone = || Error::new(ErrorKind::Unavailable, format!("job {id} is not there"));
            match decide::judge(&found.ok_or_else(gone)?, labels) {
                Verdict::Loaded(rows) => return Ok(rows),
                Verdict::Failed { reason, message } => {
                    journal.end(id, LoadEnd::Failed).await?;
                    return Err(self.failed(intent, id, &reason, &message));
                }
                Verdict::Taken => {
                    let problem = format!(
                        "job {id} does not belong to this load: the load has been given up"
                    );
                    return Err(Error::new(ErrorKind::Fenced, problem));
                }
                Verdict::Wait => self.clock.sleep(pauses.longer()).await,
            }
        }
    }

    fn failed(&self, intent: &LoadIntent, id: &str, reason: &str, message: &str) -> Error {
        let problem = format!("job {id} failed: {message} ({reason})");
        let error = |kind| Error::new(kind, problem.clone());
        match reason {
            "accessDenied" => error(ErrorKind::Input).remedy(format!(
                "{}; it must also read the lake's bucket (roles/storage.objectViewer)",
                self.rest.grants(intent.table.data_set())
            )),
            "quotaExceeded" => error(ErrorKind::Unavailable)
                .remedy("a table takes 1,500 load jobs a day: see that nothing else loads into it"),
            "invalid" | "invalidQuery" | "notFound" | "duplicate" => error(ErrorKind::Input),
            _ => error(ErrorKind::Unavailable),
        }
    }
}

fn query(text: String) -> JobConfiguration {
    let query = JobConfigurationQuery {
        query: text,
        use_legacy_sql: Some(false),
        use_query_cache: Some(false),
        ..JobConfigurationQuery::default()
    };
    JobConfiguration { query: Some(query), ..JobConfiguration::default() }
}

/// A Parquet load without rows need not empty a partition, so that is a query's work.
fn deletes(project: &str, intent: &LoadIntent) -> JobConfiguration {
    query(decide::delete(project, intent))
}

fn loads(
    project: &str,
    load: &Load,
    schema: &Schema,
    grows: bool,
) -> Result<JobConfiguration, Error> {
    let source = load.source.clone().ok_or_else(|| {
        Error::new(ErrorKind::Input, "BigQuery loads from gs:// only, and the rows lie elsewhere")
            .remedy("set lake.url = \"gs://BUCKET\", and give the job a [to.lake]")
    })?;
    let (set, name) = (load.to.table.data_set(), load.to.table.table());
    let partition = format!("{name}${}", decide::decorator(&load.key));
    let load = JobConfigurationLoad {
        create_disposition: Some("CREATE_NEVER".to_owned()),
        destination_table: Some(TableReference::new(project, set, &partition)),
        schema: Some(table::api_schema(schema)?),
        schema_update_options: grows.then(|| vec!["ALLOW_FIELD_ADDITION".to_owned()]),
        source_format: Some("PARQUET".to_owned()),
        source_uris: Some(vec![source]),
        write_disposition: Some("WRITE_TRUNCATE".to_owned()),
        ..JobConfigurationLoad::default()
    };
    Ok(JobConfiguration { load: Some(load), ..JobConfiguration::default() })
}

fn warn_of(intent: &LoadIntent, begun: &BegunLoad, made: bool) {
    for warning in warnings(intent, begun, made) {
        warn!(table = %intent.table, "{warning}");
    }
}

fn warnings(intent: &LoadIntent, begun: &BegunLoad, made: bool) -> Vec<String> {
    let near = |count: u32, max: u32| count >= max / 100 * WARN_AT;
    let LoadIntent { table, .. } = intent;
    let BegunLoad { jobs_today, partitions, .. } = *begun;
    let jobs = near(jobs_today, JOBS_A_DAY_MAX).then(|| {
        format!("{table} has had {jobs_today} load jobs in 24 hours, and BigQuery accepts {JOBS_A_DAY_MAX}: use a coarser grain")
    });
    let kept = near(partitions, PARTITIONS_MAX).then(|| {
        format!("{partitions} partitions of {table} have been loaded, and BigQuery keeps {PARTITIONS_MAX}: set `expire` in its job, or use a coarser grain")
    });
    let gone = (made && partitions > 0).then(|| {
        format!("{table} was missing and is created again, without the {partitions} partitions that had been loaded: clear their runs to load them again")
    });
    jobs.into_iter().chain(kept).chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_warned_of_at_four_fifths_and_a_table_that_was_deleted_when_it_is_made_again() {
        let (table, key) = ("agg.x".parse().unwrap(), "2026-11-20T05".parse().unwrap());
        let intent = LoadIntent { table, key, closing: 1, content: String::new() };
        for (jobs_today, partitions, made, warned) in [
            (1_199, 7_999, false, ""),
            (1_200, 1, false, "load jobs"),
            (1, 8_000, false, "partitions of"),
            (1, 0, true, ""),
            (1, 3, true, "without the 3 partitions"),
        ] {
            let begun =
                BegunLoad { job: String::new(), open: vec![], known: true, jobs_today, partitions };
            let told = warnings(&intent, &begun, made);
            assert_eq!(told.len(), usize::from(!warned.is_empty()), "{told:?}");
            assert!(told.iter().all(|told| told.contains(warned)), "{told:?}");
        }
    }
}
