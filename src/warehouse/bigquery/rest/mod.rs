//! The calls of BigQuery's REST API that a load needs: one call, one answer, no decision.

mod answer;

use super::decide::{Job, spanned};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::model::settings::BigQuery as Settings;
use answer::{Answer, Page, cells, read_job, read_listed, unanswered};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use gcp_bigquery_client::Client;
use gcp_bigquery_client::auth::Authenticator;
use gcp_bigquery_client::client_builder::ClientBuilder;
use gcp_bigquery_client::error::{BQError, NestedResponseError};
use gcp_bigquery_client::model::dataset::Dataset;
use gcp_bigquery_client::model::get_query_results_parameters::GetQueryResultsParameters;
use gcp_bigquery_client::model::job::Job as ApiJob;
use gcp_bigquery_client::model::job_configuration::JobConfiguration;
use gcp_bigquery_client::model::job_list_parameters::{JobListParameters, Projection};
use gcp_bigquery_client::model::job_reference::JobReference;
use gcp_bigquery_client::model::query_request::QueryRequest;
use gcp_bigquery_client::model::table::Table;
use std::sync::Arc;
use std::time::Duration;
use tracing::debug;

/// Far above what the tries come to.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Jobs of a page of their list, each with its configuration: more than a day has of most projects.
const PAGE_JOBS: u32 = 100;
/// Rows of a page of an answer; the service ends a page at 10 MB itself.
const PAGE_ROWS: i32 = 10_000;
/// How long a call waits for the end of a query; then it asks again.
const ANSWER_WAIT_MS: i32 = 10_000;

/// How long an answer is waited for, and how often is asked again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A call that takes longer counts as lost; jobs are only begun and asked for, never waited
    /// for.
    pub call_max: Duration,
    /// What lasts longer than these is left to the retry of the task.
    pub tries: u32,
    /// The first; each later one is twice that.
    pub pause: Duration,
}

impl Default for Patience {
    /// Six tries within 13 s bridge a restart or a burst of 503.
    fn default() -> Self {
        let (call_max, pause) = (Duration::from_secs(60), Duration::from_millis(400));
        Self { call_max, tries: 6, pause }
    }
}

/// One project of the service.
#[derive(Clone)]
pub(super) struct Rest {
    client: Client,
    pub project: String,
    pub location: String,
    pub patience: Patience,
    clock: Clock,
}

/// An emulator takes anything for a token.
#[derive(Clone)]
struct NoCredentials;

#[async_trait]
impl Authenticator for NoCredentials {
    async fn access_token(&self) -> Result<String, BQError> {
        Ok("none".to_owned())
    }
}

impl Rest {
    pub async fn open(settings: &Settings, clock: Clock) -> Result<Self, Error> {
        let mut builder = ClientBuilder::new();
        let client = match (&settings.endpoint, &settings.credentials) {
            (Some(endpoint), _) => {
                let url = format!("{}/bigquery/v2", endpoint.trim_end_matches('/'));
                builder.with_v2_base_url(url);
                Box::pin(builder.build_from_authenticator(Arc::new(NoCredentials))).await
            }
            (None, Some(key)) => {
                let path = key.to_string_lossy();
                Box::pin(builder.build_from_service_account_key_file(&path)).await
            }
            (None, None) => Box::pin(builder.build_from_application_default_credentials()).await,
        };
        let client = client.map_err(unanswered)?;
        let (project, location) = (settings.project.clone(), settings.location.clone());
        Ok(Self { client, project, location, patience: Patience::default(), clock })
    }

    /// Calls until there is an answer, or the tries are over.
    async fn ask<T, F>(&self, data_set: &str, call: impl Fn() -> F) -> Result<Answer<T>, Error>
    where
        F: Future<Output = Result<T, BQError>>,
    {
        self.insist(|| self.call(data_set, Box::pin(call()))).await
    }

    /// Asks until the answer is anything but [`ErrorKind::Unavailable`], or the tries are over.
    async fn insist<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let Patience { pause, tries: most, .. } = self.patience;
        let (mut pauses, mut tries) = (Backoff::new(pause, PAUSE_MAX).pauses(), 1);
        loop {
            match ask().await {
                Err(error) if error.kind == ErrorKind::Unavailable && tries < most => {
                    debug!(%error, tries, "no answer; trying again");
                }
                answer => return answer,
            }
            self.clock.sleep(pauses.longer()).await;
            tries += 1;
        }
    }

    /// One call, which ends in time.
    async fn call<T>(
        &self,
        data_set: &str,
        call: impl Future<Output = Result<T, BQError>>,
    ) -> Result<Answer<T>, Error> {
        match tokio::time::timeout(self.patience.call_max, call).await {
            Ok(answer) => self.read(data_set, answer),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "BigQuery does not answer")),
        }
    }

    fn read<T>(&self, data_set: &str, answer: Result<T, BQError>) -> Result<Answer<T>, Error> {
        match answer {
            Ok(found) => Ok(Answer::Found(found)),
            Err(BQError::ResponseError { error }) => match error.error.code {
                404 => Ok(Answer::Missing(error.error.message)),
                409 => Ok(Answer::Exists),
                _ => Err(self.refused(data_set, &error.error)),
            },
            Err(err) => Err(unanswered(err)),
        }
    }

    /// The error that an answer means, with what fixes it.
    fn refused(&self, data_set: &str, answer: &NestedResponseError) -> Error {
        let NestedResponseError { code, message, .. } = answer;
        let reason = answer.errors.first().and_then(|error| error.get("reason"));
        let reason = reason.map_or("", String::as_str);
        let problem = format!("BigQuery answered {code}: {message}");
        match (*code, reason) {
            (403, "quotaExceeded" | "rateLimitExceeded") | (429 | 500..=599, _) => {
                Error::new(ErrorKind::Unavailable, problem)
            }
            (401, _) => Error::new(ErrorKind::Input, problem)
                .remedy("see that the account's key is valid: warehouse.credentials, or the application default credentials"),
            (403, _) => Error::new(ErrorKind::Input, problem).remedy(self.grants(data_set)),
            _ => Error::new(ErrorKind::Input, problem),
        }
    }

    pub fn grants(&self, data_set: &str) -> String {
        format!(
            "grant roles/bigquery.dataEditor on dataset {data_set} and roles/bigquery.user on project {} (of it bigquery.jobs.create and .list are used) to the account that tidemill runs as",
            self.project
        )
    }

    pub async fn table(&self, data_set: &str, table: &str) -> Result<Option<Table>, Error> {
        let call = || self.client.table().get(&self.project, data_set, table, None);
        Ok(self.ask(data_set, call).await?.found())
    }

    /// False if it existed.
    pub async fn create_table(&self, table: Table) -> Result<bool, Error> {
        let data_set = table.dataset_id().clone();
        match self.ask(&data_set, || self.client.table().create(table.clone())).await? {
            Answer::Found(_) => Ok(true),
            Answer::Exists => Ok(false),
            Answer::Missing(message) => Err(Error::new(ErrorKind::Unavailable, message)),
        }
    }

    pub async fn patch_table(&self, table: Table) -> Result<(), Error> {
        let (data_set, name) = (table.dataset_id().clone(), table.table_id().clone());
        let call = || self.client.table().patch(&self.project, &data_set, &name, table.clone());
        self.ask(&data_set, call).await.map(|_| ())
    }

    pub async fn delete_table(&self, data_set: &str, name: &str) -> Result<(), Error> {
        let call = || self.client.table().delete(&self.project, data_set, name);
        self.ask(data_set, call).await.map(|_| ())
    }

    /// Its location: `EU`; `None` if there is none.
    pub async fn data_set(&self, name: &str) -> Result<Option<String>, Error> {
        let call = || self.client.dataset().get(&self.project, name);
        let found = self.ask(name, call).await?.found();
        Ok(found.map(|data_set| data_set.location.unwrap_or_default()))
    }

    /// Makes sure that it exists.
    pub async fn create_data_set(&self, name: &str) -> Result<(), Error> {
        let data_set = Dataset::new(&self.project, name).location(&self.location);
        let call = || self.client.dataset().create(data_set.clone());
        self.ask(name, call).await.map(|_| ())
    }

    /// Begins a job under an id that must be free; false if it is not, or if an earlier try of this
    /// call has begun it and the answer was lost: the two look the same from here.
    pub async fn begin(
        &self,
        data_set: &str,
        id: &str,
        configuration: JobConfiguration,
    ) -> Result<bool, Error> {
        let job = ApiJob {
            configuration: Some(configuration),
            job_reference: Some(JobReference {
                job_id: Some(id.to_owned()),
                location: Some(self.location.clone()),
                project_id: Some(self.project.clone()),
            }),
            ..ApiJob::default()
        };
        let call = || self.client.job().insert(&self.project, job.clone());
        match self.ask(data_set, call).await? {
            Answer::Found(_) => Ok(true),
            Answer::Exists => Ok(false),
            Answer::Missing(message) => Err(Error::new(ErrorKind::Input, message)),
        }
    }

    pub async fn job(&self, data_set: &str, id: &str) -> Result<Option<Job>, Error> {
        let call = || self.client.job().get_job(&self.project, id, Some(&self.location));
        Ok(self.ask(data_set, call).await?.found().map(read_job))
    }

    /// Asks a job to stop; whether and how it does is seen by asking for it.
    pub async fn cancel(&self, data_set: &str, id: &str) -> Result<(), Error> {
        let call = || self.client.job().cancel_job(&self.project, id, Some(&self.location));
        self.ask(data_set, call).await.map(|_| ())
    }

    /// The jobs of this account that began in the time `long` before its newest, and some older ones,
    /// with their ids: by the service's clock, for ours may be wrong.
    pub async fn newest_jobs(&self, long: Duration) -> Result<Vec<(String, Job)>, Error> {
        let parameters = JobListParameters {
            max_results: Some(PAGE_JOBS),
            projection: Some(Projection::Full),
            ..JobListParameters::default()
        };
        // From its beginning where a page fails: the client can't continue behind one.
        self.insist(|| self.list_jobs(parameters.clone(), long)).await
    }

    async fn list_jobs(
        &self,
        parameters: JobListParameters,
        long: Duration,
    ) -> Result<Vec<(String, Job)>, Error> {
        let mut pages = Box::pin(self.client.job().get_job_list(&self.project, Some(parameters)));
        let mut found: Vec<(String, Job)> = Vec::new();
        // The service lists them from the newest to the oldest.
        while spanned(&found) <= long {
            let page = pages.next().map(Option::transpose);
            match self.call("", page).await? {
                Answer::Found(None) => break,
                Answer::Found(Some(page)) => {
                    found.extend(page.jobs.unwrap_or_default().into_iter().filter_map(read_listed));
                }
                Answer::Missing(message) => return Err(Error::new(ErrorKind::Input, message)),
                Answer::Exists => {
                    return Err(Error::new(ErrorKind::Unavailable, "BigQuery answered 409"));
                }
            }
        }
        Ok(found)
    }
}

impl Rest {
    /// The rows of a query's answer, as many as `rows_max` at least if there are so many; each cell
    /// as the text that the service makes of it.
    pub async fn query(
        &self,
        data_set: &str,
        text: &str,
        rows_max: usize,
    ) -> Result<Vec<Vec<Option<String>>>, Error> {
        let request = QueryRequest {
            location: Some(self.location.clone()),
            max_results: Some(PAGE_ROWS),
            timeout_ms: Some(ANSWER_WAIT_MS),
            ..QueryRequest::new(text)
        };
        let call = || self.client.job().query(&self.project, request.clone());
        let mut page = Page::from(self.answer(data_set, call).await?);
        let mut rows = Vec::new();
        loop {
            rows.extend(page.rows.into_iter().map(cells));
            if page.complete && (page.next.is_none() || rows.len() >= rows_max) {
                return Ok(rows);
            }
            let id = page.job.ok_or_else(|| {
                Error::new(ErrorKind::Unavailable, "it did not say where the rest of its answer is")
            })?;
            let parameters = || GetQueryResultsParameters {
                location: Some(self.location.clone()),
                max_results: Some(PAGE_ROWS),
                page_token: page.next.clone(),
                timeout_ms: Some(ANSWER_WAIT_MS),
                ..GetQueryResultsParameters::default()
            };
            let call = || self.client.job().get_query_results(&self.project, &id, parameters());
            page = Page { job: Some(id.clone()), ..Page::from(self.answer(data_set, call).await?) };
        }
    }

    /// Calls for something that must be there.
    async fn answer<T, F>(&self, data_set: &str, call: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, BQError>>,
    {
        match self.ask(data_set, call).await? {
            Answer::Found(found) => Ok(found),
            Answer::Missing(message) => Err(Error::new(ErrorKind::Input, message)),
            Answer::Exists => Err(Error::new(ErrorKind::Unavailable, "BigQuery answered 409")),
        }
    }
}
