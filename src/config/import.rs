//! Makes an environment's file of what Terraform says it has made.

use crate::error::{Error, ErrorKind};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// An environment's file, and what it leaves to a person.
#[derive(Debug)]
pub struct Imported {
    pub text: String,
    pub left: Vec<String>,
}

/// The outputs that concern us, as `terraform output -json` prints them. Others are somebody else's.
#[derive(Deserialize)]
struct Outputs {
    tidemill: Output,
}

#[derive(Deserialize)]
struct Output {
    value: Made,
}

/// The output `tidemill` of `terraform/`.
#[derive(Deserialize)]
struct Made {
    format: u32,
    kafka: Kafka,
    lake: Lake,
    warehouse: Warehouse,
    store: Option<Store>,
}

#[derive(Deserialize)]
struct Kafka {
    brokers: String,
    properties: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Lake {
    url: String,
}

#[derive(Deserialize)]
struct Warehouse {
    kind: String,
    project: String,
    location: String,
    datasets: Vec<String>,
}

#[derive(Deserialize)]
struct Store {
    connection: String,
}

/// The format of the output that we read.
const FORMAT: u32 = 1;

/// `Input` if `json` is not what `terraform output -json` prints.
pub fn import(json: &str, env: &str) -> Result<Imported, Error> {
    let outputs: Outputs = serde_json::from_str(json).map_err(|error| {
        Error::new(ErrorKind::Input, format!("read Terraform's outputs: {error}")).remedy(
            "pipe in what `terraform output -json` prints where terraform/ has been applied",
        )
    })?;
    let made = outputs.tidemill.value;
    if made.format != FORMAT {
        let title = format!("the output is of format {}, and we read {FORMAT}", made.format);
        return Err(Error::new(ErrorKind::Input, title)
            .remedy("take the terraform/ of this version of Tidemill"));
    }
    Ok(Imported { text: file(&made), left: left(&made, env) })
}

fn file(made: &Made) -> String {
    let mut text = String::from(
        "# Written by `tidemill config import` from Terraform's outputs. What is yours goes into\n\
         # tidemill.toml: the next import replaces this file.\n",
    );
    let _ = writeln!(text, "[kafka]\nbrokers = {}", quoted(&made.kafka.brokers));
    if !made.kafka.properties.is_empty() {
        text.push_str("[kafka.properties]\n");
    }
    for (name, value) in &made.kafka.properties {
        let _ = writeln!(text, "{} = {}", quoted(name), quoted(value));
    }
    let _ = writeln!(text, "[lake]\nurl = {}", quoted(&made.lake.url));
    let Warehouse { kind, project, location, .. } = &made.warehouse;
    let keys = [("kind    ", kind), ("project ", project), ("location", location)];
    text.push_str("[warehouse]\n");
    for (key, value) in keys {
        let _ = writeln!(text, "{key} = {}", quoted(value));
    }
    text
}

fn left(made: &Made, env: &str) -> Vec<String> {
    let mut left = vec![format!(
        "[state] is left out: runs are kept in .tidemill/{env}/state.db, on the daemon's own disk"
    )];
    if let Some(store) = &made.store {
        left.push(format!(
            "Cloud SQL {} is not used: this version keeps no state in PostgreSQL",
            store.connection
        ));
    }
    match made.kafka.properties.get("security.protocol").map(String::as_str) {
        Some("SASL_SSL") => left.push(
            "Kafka wants an OAuth token, which this version cannot get: use brokers on VMs, or \
             client certificates (ca_pool)"
                .into(),
        ),
        Some("SSL") => left.push(
            "Kafka needs a client certificate: set kafka.properties \"ssl.certificate.location\" \
             and \"ssl.key.location\" to files of the image"
                .into(),
        ),
        Some(_) | None => {}
    }
    left.push(format!(
        "tables of to.warehouse belong into the datasets that exist: {}",
        made.warehouse.datasets.join(", ")
    ));
    left
}

/// As TOML writes a text, whatever is in it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = include_str!("../../terraform/tests/outputs/dev.json");
    const PROD: &str = include_str!("../../terraform/tests/outputs/prod.json");

    fn shown(json: &str) -> String {
        let Imported { text, left } = import(json, "gcp").unwrap();
        format!("{text}--- left to you\n{}", left.join("\n"))
    }

    #[test]
    fn what_dev_made_becomes_its_file() {
        insta::assert_snapshot!(shown(DEV));
    }

    #[test]
    fn what_prod_made_becomes_its_file() {
        insta::assert_snapshot!(shown(PROD));
    }

    #[test]
    fn a_managed_cluster_leaves_its_login_to_a_person() {
        let json = r#"{ "tidemill": { "value": {
            "format": 1,
            "kafka": { "brokers": "b:9092", "properties": { "security.protocol": "SASL_SSL" } },
            "lake": { "url": "gs://l" },
            "warehouse": { "kind": "bigquery", "project": "p", "location": "EU", "datasets": ["agg"] },
            "store": { "kind": "postgres", "connection": "p:r:i" }
        } } }"#;
        insta::assert_snapshot!(shown(json));
    }

    #[test]
    fn what_is_no_output_is_refused_with_the_command_that_prints_it() {
        let error = import("{}", "gcp").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Input);
        assert!(error.remedy.unwrap().contains("terraform output -json"));
    }

    #[test]
    fn an_output_of_another_version_is_refused() {
        let newer = DEV.replace(r#""format": 1"#, r#""format": 2"#);
        let error = import(&newer, "gcp").unwrap_err();
        assert_eq!(error.to_string(), "the output is of format 2, and we read 1");
    }
}
