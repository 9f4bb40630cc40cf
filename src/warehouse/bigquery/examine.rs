//! Asks BigQuery whether it lets us do what a load does, before a load has to.

use super::{BigQuery, query};
use crate::error::{Error, ErrorKind};
use crate::model::finding::Finding;
use crate::model::time::Micros;
use gcp_bigquery_client::model::field_type::FieldType;
use gcp_bigquery_client::model::table::Table;
use gcp_bigquery_client::model::table_field_schema::TableFieldSchema;
use gcp_bigquery_client::model::table_schema::TableSchema;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// Jobs are begun and looked for by time, a day back; minutes would not matter, but show a clock
/// that nobody keeps.
const SKEW_MAX: Duration = Duration::from_secs(10);
/// A table of a trial that was killed goes by itself.
const TRIAL_LIFE: Duration = Duration::from_hours(1);

impl BigQuery {
    /// Tries all that loads into `data_sets` ask of the service. `bucket` is the location of the
    /// lake's bucket, or why it is not known.
    pub async fn examine(
        &self,
        data_sets: &BTreeSet<String>,
        bucket: Result<Option<String>, Error>,
    ) -> Vec<Finding> {
        let takes = "it accepts a job and returns its result";
        let before = Micros::from(self.clock.now());
        let created = match self.does_a_job().await {
            Ok(created) => created,
            // All the others would only fail in the same way.
            Err(error) => return vec![Finding::failed(takes, &error)],
        };
        let now = Micros::from(self.clock.now());
        let mut found = vec![Finding::good(takes), skew(before, created, now)];
        found.push(self.bucket(bucket));
        for data_set in data_sets {
            found.extend(self.examine_data_set(data_set).await);
        }
        found
    }

    /// When the service says that the job was made.
    async fn does_a_job(&self) -> Result<Option<Micros>, Error> {
        let id = format!("tidemill-{}-doctor-{}", self.project, Uuid::new_v4().simple());
        self.rest.begin("any", &id, query("SELECT 1".to_owned())).await?;
        let mut pauses = super::LOOKS.pauses();
        loop {
            let gone = || Error::new(ErrorKind::Unavailable, format!("job {id} is not there"));
            let job = self.rest.job("any", &id).await?.ok_or_else(gone)?;
            match job.failure {
                Some((reason, message)) if job.done => {
                    let problem = format!("job {id} failed: {message} ({reason})");
                    return Err(Error::new(ErrorKind::Input, problem));
                }
                Some(_) | None if job.done => return Ok(job.created),
                Some(_) | None => self.clock.sleep(pauses.longer()).await,
            }
        }
    }

    fn bucket(&self, bucket: Result<Option<String>, Error>) -> Finding {
        let what = "the lake's bucket is in the location of the jobs";
        let jobs = &self.rest.location;
        match bucket {
            Ok(Some(bucket)) if is_within(&bucket, jobs) => {
                Finding::good(what).seen(format!("bucket {bucket}, jobs {jobs}"))
            }
            Ok(Some(bucket)) => {
                let remedy = format!(
                    "set warehouse.location = \"{bucket}\" and load into data sets there, or move the lake to a bucket in {jobs}"
                );
                Finding::bad(what, remedy).seen(format!("bucket {bucket}, jobs {jobs}"))
            }
            Ok(None) => Finding::bad(what, "set lake.url = \"gs://BUCKET\"").seen("no bucket"),
            Err(error) => {
                let remedy = format!(
                    "grant roles/storage.bucketViewer on it, or see with `gcloud storage buckets describe` that its location is {jobs}"
                );
                Finding::warning(what, remedy).seen(error.to_string())
            }
        }
    }

    async fn examine_data_set(&self, name: &str) -> Vec<Finding> {
        let lies = format!("data set {name} is in the location of the jobs");
        let jobs = &self.rest.location;
        match self.rest.data_set(name).await {
            Err(error) => vec![Finding::failed(lies, &error)],
            Ok(None) => {
                let remedy = format!(
                    "nothing to do if tidemill's account may make it (roles/bigquery.user on project {}); else: bq mk --location={jobs} {name}",
                    self.rest.project
                );
                vec![Finding::warning(lies, remedy).seen("the first load creates it")]
            }
            Ok(Some(location)) if location.eq_ignore_ascii_case(jobs) => {
                let writes = format!("tables of {name} can be created and deleted");
                let tried = self.makes_a_table(name).await;
                vec![
                    Finding::good(lies).seen(location),
                    tried.map_or_else(
                        |error| Finding::failed(&writes, &error),
                        |()| Finding::good(&writes),
                    ),
                ]
            }
            Ok(Some(location)) => {
                let remedy = format!(
                    "set warehouse.location = \"{location}\", or load into a data set that is in {jobs}"
                );
                let seen = format!("it is in {location}, jobs run in {jobs}");
                vec![Finding::bad(lies, remedy).seen(seen)]
            }
        }
    }

    async fn makes_a_table(&self, data_set: &str) -> Result<(), Error> {
        let name = format!("tidemill_doctor_{}", Uuid::new_v4().simple());
        let schema = TableSchema::new(vec![TableFieldSchema::new("n", FieldType::Integer)]);
        let table = Table::new(&self.rest.project, data_set, &name, schema);
        let table = table.expiration_time(self.clock.now() + TRIAL_LIFE);
        self.rest.create_table(table).await?;
        self.rest.delete_table(data_set, &name).await
    }
}

/// Whether a bucket in `bucket` can be loaded from by jobs in `jobs`: the same place, or a region,
/// or a pair of them, inside the multi-region.
fn is_within(bucket: &str, jobs: &str) -> bool {
    let (bucket, jobs) = (bucket.to_ascii_uppercase(), jobs.to_ascii_uppercase());
    let begins = |parts: [&str; 2]| parts.iter().any(|part| bucket.starts_with(part));
    bucket == jobs
        || match jobs.as_str() {
            "EU" => begins(["EUROPE-", "EUR"]),
            "US" => begins(["US-", "NAM"]),
            _ => false,
        }
}

fn skew(before: Micros, theirs: Option<Micros>, after: Micros) -> Finding {
    let what = "the service's clock and this machine's agree";
    let Some(theirs) = theirs else { return Finding::good(what).seen("it did not say") };
    let off = before.since(theirs).max(theirs.since(after));
    if off <= SKEW_MAX {
        return Finding::good(what);
    }
    Finding::bad(what, "keep this machine's clock by NTP: event times are compared with it")
        .seen(format!("they differ by {} s", off.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::finding::Health;

    #[test]
    fn a_bucket_is_loaded_from_where_it_lies_within_the_jobs_location() {
        for (bucket, jobs, fits) in [
            ("EU", "EU", true),
            ("europe-west1", "EUROPE-WEST1", true),
            ("EUROPE-WEST1", "EU", true),
            ("EUR4", "eu", true),
            ("US-CENTRAL1", "US", true),
            ("EU", "EUROPE-WEST1", false),
            ("US", "EU", false),
            ("EUROPE-WEST1", "US", false),
        ] {
            assert_eq!(is_within(bucket, jobs), fits, "{bucket} for {jobs}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_found_on_either_side() {
        let at = |secs: i64| Micros(secs * 1_000_000);
        for (theirs, health) in [(99, Health::Good), (80, Health::Bad), (130, Health::Bad)] {
            assert_eq!(skew(at(100), Some(at(theirs)), at(101)).health, health, "{theirs}");
        }
    }
}
