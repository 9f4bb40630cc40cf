//! Buckets: made, told of, changed and deleted.

use super::{body, json, no_content};
use crate::object::{Bucket, rfc3339};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::table::Table;
use axum::http::Method;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Default, Deserialize)]
struct Written {
    name: Option<String>,
    location: Option<String>,
    versioning: Option<Versioning>,
    /// `null` removes a label.
    labels: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Deserialize)]
struct Versioning {
    #[serde(default)]
    enabled: bool,
}

impl Written {
    fn into(self, bucket: &mut Bucket) {
        if let Some(versioning) = self.versioning {
            bucket.versioning = versioning.enabled;
        }
        for (label, value) in self.labels.unwrap_or_default() {
            match value {
                Some(value) => bucket.labels.insert(label, value),
                None => bucket.labels.remove(&label),
            };
        }
    }
}

pub fn all(table: &Table, address: &str, request: &Request) -> Result<Response, Refusal> {
    match request.method {
        Method::GET => {
            let prefix = request.query("prefix").unwrap_or_default();
            let buckets = table.buckets().into_iter();
            let buckets = buckets.filter(|bucket| bucket.name.starts_with(prefix));
            let items: Vec<_> = buckets.map(|bucket| resource(&bucket, address)).collect();
            Ok(json(&json!({ "kind": "storage#buckets", "items": items })))
        }
        Method::POST => {
            let written: Written = body(request)?;
            let mut bucket = Bucket {
                name: written.name.clone().unwrap_or_default(),
                location: written.location.clone().unwrap_or_default().to_uppercase(),
                ..Bucket::default()
            };
            written.into(&mut bucket);
            Ok(json(&resource(&table.create_bucket(bucket)?, address)))
        }
        _ => Err(Refusal::no_method()),
    }
}

pub fn one(
    table: &Table,
    address: &str,
    name: &str,
    request: &Request,
) -> Result<Response, Refusal> {
    match request.method {
        Method::GET => Ok(json(&resource(&table.bucket(name)?, address))),
        Method::PATCH | Method::PUT => {
            let written: Written = body(request)?;
            let changed = table.change_bucket(name, |bucket| written.into(bucket))?;
            Ok(json(&resource(&changed, address)))
        }
        Method::DELETE => table.delete_bucket(name).map(|()| no_content()),
        _ => Err(Refusal::no_method()),
    }
}

fn resource(bucket: &Bucket, address: &str) -> Value {
    let Bucket { name, location, created_us, versioning, labels } = bucket;
    let location = if location.is_empty() { "US" } else { location.as_str() };
    json!({
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "selfLink": format!("{address}/storage/v1/b/{name}"),
        "projectNumber": "0",
        "metageneration": "1",
        "location": location,
        "locationType": if ["US", "EU", "ASIA"].contains(&location) { "multi-region" } else { "region" },
        "storageClass": "STANDARD",
        "etag": "CAE=",
        "timeCreated": rfc3339(*created_us),
        "updated": rfc3339(*created_us),
        "versioning": { "enabled": versioning },
        "labels": labels,
    })
}
