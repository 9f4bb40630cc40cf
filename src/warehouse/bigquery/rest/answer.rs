//! What the service's answers mean: pure.

use super::super::decide::{Job, Labels};
use crate::error::{Error, ErrorKind};
use crate::model::time::Micros;
use gcp_bigquery_client::error::BQError;
use gcp_bigquery_client::model::get_query_results_response::GetQueryResultsResponse;
use gcp_bigquery_client::model::job::Job as ApiJob;
use gcp_bigquery_client::model::job_configuration::JobConfiguration;
use gcp_bigquery_client::model::job_list_jobs::JobListJobs;
use gcp_bigquery_client::model::query_response::QueryResponse;
use gcp_bigquery_client::model::table_row::TableRow;
use serde_json::Value;

/// A part of a query's answer.
pub struct Page {
    pub job: Option<String>,
    pub complete: bool,
    pub rows: Vec<TableRow>,
    pub next: Option<String>,
}

impl From<QueryResponse> for Page {
    fn from(answer: QueryResponse) -> Self {
        Self {
            job: answer.job_reference.and_then(|job| job.job_id),
            complete: answer.job_complete != Some(false),
            rows: answer.rows.unwrap_or_default(),
            next: answer.page_token,
        }
    }
}

impl From<GetQueryResultsResponse> for Page {
    fn from(answer: GetQueryResultsResponse) -> Self {
        Self {
            job: answer.job_reference.and_then(|job| job.job_id),
            complete: answer.job_complete != Some(false),
            rows: answer.rows.unwrap_or_default(),
            next: answer.page_token,
        }
    }
}

/// Each cell as the text that the service makes of it.
pub fn cells(row: TableRow) -> Vec<Option<String>> {
    let cells = row.columns.unwrap_or_default().into_iter();
    let text = |value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    cells.map(|cell| cell.value.and_then(text)).collect()
}

/// What a call found.
pub enum Answer<T> {
    Found(T),
    /// There is no such thing, as the service says it.
    Missing(String),
    /// The name is in use.
    Exists,
}

impl<T> Answer<T> {
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Missing(_) | Self::Exists => None,
        }
    }
}

/// The error of a call that got no answer, with what fixes it.
pub fn unanswered(err: BQError) -> Error {
    match err {
        BQError::AuthError(_)
        | BQError::YupAuthError(_)
        | BQError::NoToken
        | BQError::InvalidServiceAccountKey(_)
        | BQError::InvalidServiceAccountAuthenticator(_)
        | BQError::InvalidAuthorizedUserAuthenticator(_)
        | BQError::InvalidApplicationDefaultCredentialsAuthenticator(_) => {
            Error::new(ErrorKind::Input, err.to_string()).remedy(
                "run `gcloud auth application-default login`, run on a machine with a service account, or set warehouse.credentials",
            )
        }
        err => Error::new(ErrorKind::Unavailable, err.to_string()),
    }
}

fn labels_of(configuration: Option<&JobConfiguration>) -> Labels {
    configuration.and_then(|configuration| configuration.labels.clone()).unwrap_or_default()
}

pub fn read_job(job: ApiJob) -> Job {
    let labels = labels_of(job.configuration.as_ref());
    let status = job.status.unwrap_or_default();
    let text = |text: Option<String>| text.unwrap_or_default();
    let failure = status.error_result.map(|error| (text(error.reason), text(error.message)));
    let statistics = job.statistics.unwrap_or_default();
    let rows = statistics.load.and_then(|load| load.output_rows?.parse().ok());
    let created = statistics.creation_time.and_then(|ms| ms.parse().ok());
    let created = created.map(|ms: i64| Micros(ms * 1000));
    Job { labels, done: status.state.as_deref() == Some("DONE"), failure, rows, created }
}

pub fn read_listed(listed: JobListJobs) -> Option<(String, Job)> {
    let id = listed.job_reference.as_ref()?.job_id.clone()?;
    let job = ApiJob {
        configuration: listed.configuration,
        status: listed.status,
        statistics: listed.statistics,
        ..ApiJob::default()
    };
    Some((id, read_job(job)))
}
