//! `GET /bucket`: version 2 of the list, and version 1 as far as it differs.

use super::xml;
use crate::list::{Page, Query};
use crate::object::{Object, rfc3339};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::table::Table;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use quick_xml::escape::escape;

const KEYS_MAX: u64 = 1_000;

pub fn answer(table: &Table, bucket: &str, request: &Request) -> Result<Response, Refusal> {
    let token = request.query("continuation-token").map(from_token).transpose()?;
    let begin = request.query("start-after").or_else(|| request.query("marker"));
    let max = request.number("max-keys")?.unwrap_or(KEYS_MAX).min(KEYS_MAX);
    let query = Query {
        prefix: request.query("prefix").unwrap_or_default().to_owned(),
        delimiter: request.query("delimiter").map(str::to_owned),
        after: token.or_else(|| begin.map(str::to_owned)),
        max: usize::try_from(max).unwrap_or(usize::MAX),
        ..Query::default()
    };
    let page = table.list(bucket, &query)?;
    Ok(xml(written(bucket, &query, &page)))
}

fn written(bucket: &str, query: &Query, page: &Page) -> String {
    let mut text = String::from(
        "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>",
    );
    let count = page.objects.len() + page.prefixes.len();
    let tags = [
        ("Name", bucket.to_owned()),
        ("Prefix", query.prefix.clone()),
        ("KeyCount", count.to_string()),
        ("IsTruncated", page.next.is_some().to_string()),
    ];
    for (name, value) in &tags {
        text.push_str(&tag(name, value));
    }
    if let Some(next) = &page.next {
        text.push_str(&tag("NextContinuationToken", &token(next)));
        text.push_str(&tag("NextMarker", next));
    }
    for object in &page.objects {
        text.push_str(&contents(object));
    }
    for prefix in &page.prefixes {
        text.push_str(&format!("<CommonPrefixes>{}</CommonPrefixes>", tag("Prefix", prefix)));
    }
    text + "</ListBucketResult>"
}

fn contents(object: &Object) -> String {
    let tags = [
        ("Key", object.name.clone()),
        ("Generation", object.generation.to_string()),
        ("MetaGeneration", object.metageneration.to_string()),
        ("LastModified", rfc3339(object.updated_us)),
        ("ETag", object.e_tag()),
        ("Size", object.size.to_string()),
        ("StorageClass", object.storage_class().to_owned()),
    ];
    let tags: String = tags.iter().map(|(name, value)| tag(name, value)).collect();
    format!("<Contents>{tags}</Contents>")
}

fn tag(name: &str, value: &str) -> String {
    format!("<{name}>{}</{name}>", escape(value))
}

pub fn token(after: &str) -> String {
    BASE64_URL_SAFE.encode(after)
}

pub fn from_token(token: &str) -> Result<String, Refusal> {
    let wrong = || Refusal::invalid("the continuation token is none of ours");
    let bytes = BASE64_URL_SAFE.decode(token).map_err(|_| wrong())?;
    String::from_utf8(bytes).map_err(|_| wrong())
}
