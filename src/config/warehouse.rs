//! Reads `[warehouse]`: a folder of this environment, or the data sets of a Google Cloud project.

use super::files::{Files, Resolved};
use super::job::JobFileKind;
use super::problem::{At, Problem, Sink};
use super::section::Section;
use super::value::{address, key_file};
use crate::model::hive::Grain;
use crate::model::job::JobKind;
use crate::model::settings::{BigQuery, LakeUrl, Warehouse};
use std::path::Path;
use std::time::Duration;

#[derive(Clone, Copy)]
enum Kind {
    Local,
    BigQuery,
}

const KINDS: [(&str, Kind); 2] = [("local", Kind::Local), ("bigquery", Kind::BigQuery)];

/// As many hours as BigQuery keeps partitions of a table, 10,000, in whole days.
const HOURS_KEPT_MAX: Duration = Duration::from_hours(416 * 24);

const KEY_HELP: &str = "write { file = \"/run/secrets/bigquery.json\" }, or leave it out";

/// The keys that only a warehouse in the cloud has.
const CLOUD: [&str; 4] = ["project", "location", "endpoint", "credentials"];

/// `None` with at least one problem in the section's sink.
pub fn read(
    section: Option<Section<'_>>,
    lake: Option<&LakeUrl>,
    root: &Path,
    home: &Path,
) -> Option<Warehouse> {
    let local = Warehouse::Local(home.join("warehouse"));
    let Some(mut section) = section else { return Some(local) };
    let written = section.has("kind");
    let kind = section.word("kind", &KINDS);
    let read = match kind {
        Some(Kind::BigQuery) => {
            lake_is_in_a_bucket(&mut section, lake);
            bigquery(&mut section, root).map(Warehouse::BigQuery)
        }
        Some(Kind::Local) | None if !written || kind.is_some() => {
            local_takes_no_more(&mut section);
            Some(local)
        }
        Some(Kind::Local) | None => None,
    };
    section.finish();
    read
}

fn local_takes_no_more(section: &mut Section<'_>) {
    for key in CLOUD {
        if let Some(entry) = section.take(key) {
            let title = format!("the local warehouse has no setting `{key}`");
            let help = "leave it out, or write kind = \"bigquery\"";
            section.sink().push(Problem::error(title, &entry.key_place).help(help));
        }
    }
}

/// BigQuery reads what it loads from Cloud Storage and from nowhere else.
fn lake_is_in_a_bucket(section: &mut Section<'_>, lake: Option<&LakeUrl>) {
    let Some(LakeUrl::Folder(_)) = lake else { return };
    let Some(entry) = section.take("kind") else { return };
    let title = "BigQuery loads from gs:// only, and the lake is a folder";
    let help = "set lake.url = \"gs://BUCKET\", or kind = \"local\"";
    section.sink().push(Problem::error(title, &entry.node.place).help(help));
}

fn bigquery(section: &mut Section<'_>, root: &Path) -> Option<BigQuery> {
    for (key, like) in [("project", "project = \"acme-prod\""), ("location", "location = \"EU\"")] {
        if !section.has(key) {
            section.missing(key, like);
        }
    }
    let project = section.text("project");
    let location = section.text("location");
    let endpoint = section.text("endpoint");
    let credentials = section.take("credentials").map(|entry| &entry.node);
    let sink = section.sink();
    let endpoint = endpoint.map(|written| address(&written, "http://127.0.0.1:9050", sink));
    let credentials = credentials.map(|node| key_file(node, root, KEY_HELP, sink));
    Some(BigQuery {
        project: named(&project?, "a project", sink)?,
        location: named(&location?, "a location", sink)?,
        // Outer `None`: not written; inner: written wrongly, and told.
        endpoint: match endpoint {
            Some(endpoint) => Some(endpoint?),
            None => None,
        },
        credentials: match credentials {
            Some(credentials) => Some(credentials?),
            None => None,
        },
    })
}

/// What jobs ask of BigQuery that it can't do, or not for long.
pub fn check(settings: Option<&Warehouse>, files: &Files, resolved: &Resolved, sink: &Sink) {
    let Some(Warehouse::BigQuery(_)) = settings else { return };
    for file in files.jobs.values() {
        let Some(JobFileKind::Batch(batch)) = &file.kind else { continue };
        let Some(to) = &batch.to_warehouse else { continue };
        if batch.to_lake.is_none() {
            let title = "BigQuery loads files of the lake, and this job writes none";
            let help = format!("add [to.lake] with table = \"{}\"", to.value.table);
            sink.push(Problem::error(title, &to.place).help(help));
        }
        let job = resolved.jobs.get(&file.name).map(|job| &job.kind);
        let Some(JobKind::Batch(job)) = job else { continue };
        let kept = to.value.expire.is_some_and(|expire| expire <= HOURS_KEPT_MAX);
        if job.partition_by.grain == Grain::Hour && !kept {
            let title = format!(
                "{} reaches BigQuery's 10,000 partitions after {} days",
                to.value.table,
                HOURS_KEPT_MAX.as_secs() / 86_400
            );
            sink.push(Problem::warning(title, &to.place).help("expire = \"400d\""));
        }
    }
}

/// A word that may stand in SQL and in a URL.
fn named(text: &At<String>, what: &str, sink: &Sink) -> Option<String> {
    let letter = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
    if !text.value.is_empty() && text.value.chars().all(letter) {
        return Some(text.value.clone());
    }
    let title = format!("`{}` is not the name of {what}", text.value);
    sink.push(Problem::error(title, &text.place).help("write it as the Cloud console shows it"));
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;

    #[test]
    fn bigquery_needs_a_lake_in_a_bucket() {
        let settings =
            "[warehouse]\nkind = \"bigquery\"\nproject = \"acme-prod\"\nlocation = \"EU\"\n";
        let folder = Folder::new(&[("tidemill.toml", settings)]);
        insta::assert_snapshot!(folder.problems(), @r#"
        error: BigQuery loads from gs:// only, and the lake is a folder
         --> tidemill.toml:2:8
          |
        2 | kind = "bigquery"
          |        ^^^^^^^^^^
          |
          = help: set lake.url = "gs://BUCKET", or kind = "local"
        "#);
    }

    #[test]
    fn the_local_warehouse_takes_no_settings_of_bigquery() {
        let settings = "[warehouse]\nproject = \"acme-prod\"\n";
        let folder = Folder::new(&[("tidemill.toml", settings)]);
        insta::assert_snapshot!(folder.problems(), @r#"
        error: the local warehouse has no setting `project`
         --> tidemill.toml:2:1
          |
        2 | project = "acme-prod"
          | ^^^^^^^
          |
          = help: leave it out, or write kind = "bigquery"
        "#);
    }
}
