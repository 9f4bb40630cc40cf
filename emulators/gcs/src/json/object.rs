//! Objects: read, listed, changed, copied, moved, composed and deleted.

use super::{body, json, no_content};
use crate::condition::Condition;
use crate::list::Query;
use crate::object::{Metadata, Object, Place, rfc3339};
use crate::range;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::table::{Source, Table, Target};
use crate::xml;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const RESULTS_MAX: u64 = 1_000;
/// What the service takes in one call.
const SOURCES_MAX: usize = 32;

fn place(bucket: &str, name: &str) -> Place {
    Place { bucket: bucket.to_owned(), name: name.to_owned() }
}

fn source(bucket: &str, name: &str, request: &Request) -> Result<Source, Refusal> {
    Ok(Source {
        place: place(bucket, name),
        generation: request.number("generation")?,
        condition: Condition::in_query(request, "")?,
    })
}

pub fn one(
    table: &Table,
    address: &str,
    bucket: &str,
    name: &str,
    request: &Request,
) -> Result<Response, Refusal> {
    match request.method {
        Method::GET if request.query("alt") == Some("media") => media(table, bucket, name, request),
        Method::GET => {
            let found = table.find(&source(bucket, name, request)?)?;
            Ok(json(&resource(&found, address)))
        }
        Method::PATCH => {
            let written: Map<String, Value> = body(request)?;
            let changed = table
                .change(&source(bucket, name, request)?, |metadata| patch(metadata, &written))?;
            Ok(json(&resource(&changed, address)))
        }
        Method::PUT => {
            let written: Metadata = body(request)?;
            let changed =
                table.change(&source(bucket, name, request)?, |metadata| *metadata = written)?;
            Ok(json(&resource(&changed, address)))
        }
        Method::DELETE => table.delete(&source(bucket, name, request)?).map(|()| no_content()),
        _ => Err(Refusal::no_method()),
    }
}

/// The bytes, or some of them.
pub fn media(
    table: &Table,
    bucket: &str,
    name: &str,
    request: &Request,
) -> Result<Response, Refusal> {
    let mut partial = false;
    let (object, range, bytes) = table.read(&source(bucket, name, request)?, |object| {
        let header = request.header("range").unwrap_or_default();
        let wanted = range::wanted(header, object.size)?;
        partial = wanted.is_some();
        Ok(wanted.unwrap_or(0..object.size))
    })?;
    let mut headers = xml::described(&object);
    headers.push(("content-length".into(), bytes.len().to_string()));
    let mut answer = Response::new(Body::from(bytes));
    if partial {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let (first, last, size) = (range.start, range.end - 1, object.size);
        headers.push(("content-range".into(), format!("bytes {first}-{last}/{size}")));
    }
    Ok(xml::with_headers(answer, &headers))
}

/// Changes the keys that are written, and no others; `null` removes one.
fn patch(metadata: &mut Metadata, written: &Map<String, Value>) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    for (key, value) in written {
        match key.as_str() {
            "contentType" => metadata.content_type = text(value),
            "cacheControl" => metadata.cache_control = text(value),
            "contentDisposition" => metadata.content_disposition = text(value),
            "contentEncoding" => metadata.content_encoding = text(value),
            "contentLanguage" => metadata.content_language = text(value),
            "metadata" => match value.as_object() {
                Some(pairs) => {
                    for (key, value) in pairs {
                        match text(value) {
                            Some(value) => metadata.custom.insert(key.clone(), value),
                            None => metadata.custom.remove(key),
                        };
                    }
                }
                None => metadata.custom.clear(),
            },
            _ => {}
        }
    }
}

pub fn list(
    table: &Table,
    address: &str,
    bucket: &str,
    request: &Request,
) -> Result<Response, Refusal> {
    let text = |name: &str| request.query(name).map(str::to_owned);
    let token = request.query("pageToken").filter(|token| !token.is_empty());
    let token = token.map(|token| {
        let bytes = BASE64_STANDARD.decode(token).ok();
        let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        name.ok_or_else(|| Refusal::invalid("pageToken is none of ours"))
    });
    let max = request.number("maxResults")?.unwrap_or(RESULTS_MAX).clamp(1, RESULTS_MAX);
    let query = Query {
        prefix: text("prefix").unwrap_or_default(),
        delimiter: text("delimiter"),
        after: token.transpose()?,
        from: text("startOffset"),
        until: text("endOffset").filter(|until| !until.is_empty()),
        max: usize::try_from(max).unwrap_or(usize::MAX),
        versions: request.query("versions").is_some_and(|is| is.eq_ignore_ascii_case("true")),
    };
    let page = table.list(bucket, &query)?;
    let items: Vec<_> = page.objects.iter().map(|object| resource(object, address)).collect();
    let mut listed = json!({ "kind": "storage#objects", "items": items });
    if !page.prefixes.is_empty() {
        listed["prefixes"] = json!(page.prefixes);
    }
    if let Some(next) = page.next {
        listed["nextPageToken"] = json!(BASE64_STANDARD.encode(next));
    }
    Ok(json(&listed))
}

pub fn copy(
    table: &Table,
    from: (&str, &str),
    to: (&str, &str),
    request: &Request,
) -> Result<Object, Refusal> {
    let source = Source {
        place: place(from.0, from.1),
        generation: request.number("sourceGeneration")?,
        condition: Condition::in_query(request, "Source")?,
    };
    let written: Option<Metadata> = body(request)?;
    let metadata = written.filter(|metadata| *metadata != Metadata::default());
    let condition = Condition::in_query(request, "")?;
    table.copy(&source, &Target { place: place(to.0, to.1), condition, metadata }, false)
}

pub fn rewritten(object: &Object, resource: &Value) -> Value {
    let size = object.size.to_string();
    json!({
        "kind": "storage#rewriteResponse",
        "totalBytesRewritten": size,
        "objectSize": size,
        "done": true,
        "resource": resource,
    })
}

pub fn move_to(
    table: &Table,
    address: &str,
    bucket: &str,
    name: &str,
    to: &str,
    request: &Request,
) -> Result<Response, Refusal> {
    let source = Source {
        place: place(bucket, name),
        generation: None,
        condition: Condition::in_query(request, "Source")?,
    };
    let condition = Condition::in_query(request, "")?;
    let target = Target { place: place(bucket, to), condition, metadata: None };
    Ok(json(&resource(&table.copy(&source, &target, true)?, address)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Compose {
    source_objects: Vec<Component>,
    destination: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    name: String,
    generation: Option<Text>,
    object_preconditions: Option<Preconditions>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Preconditions {
    if_generation_match: Option<Text>,
}

/// A number of 64 bits, which JSON holds as a text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    Number(u64),
    Text(String),
}

impl Text {
    fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

pub fn compose(
    table: &Table,
    address: &str,
    bucket: &str,
    name: &str,
    request: &Request,
) -> Result<Response, Refusal> {
    let Compose { source_objects, destination } = body(request)?;
    if source_objects.is_empty() || source_objects.len() > SOURCES_MAX {
        return Err(Refusal::invalid(format!("1 to {SOURCES_MAX} objects can be composed")));
    }
    let sources = source_objects.iter().map(|component| {
        let matches = component.object_preconditions.as_ref();
        let matches = matches.and_then(|matches| matches.if_generation_match.as_ref());
        Source {
            place: place(bucket, &component.name),
            generation: component.generation.as_ref().and_then(Text::number),
            condition: Condition {
                generation: matches.and_then(Text::number),
                ..Condition::default()
            },
        }
    });
    let sources: Vec<_> = sources.collect();
    let condition = Condition::in_query(request, "")?;
    let target = Target { place: place(bucket, name), condition, metadata: Some(destination) };
    Ok(json(&resource(&table.compose(&sources, &target)?, address)))
}

pub fn resource(object: &Object, address: &str) -> Value {
    let Object { bucket, name, generation, metageneration, size, components, metadata, .. } =
        object;
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
    let mut resource = json!(metadata);
    let told = json!({
        "kind": "storage#object",
        "id": format!("{bucket}/{name}/{generation}"),
        "selfLink": format!("{address}/storage/v1/b/{bucket}/o/{encoded}"),
        "mediaLink": format!("{address}/download/storage/v1/b/{bucket}/o/{encoded}?generation={generation}&alt=media"),
        "name": name,
        "bucket": bucket,
        "generation": generation.to_string(),
        "metageneration": metageneration.to_string(),
        "storageClass": object.storage_class(),
        "size": size.to_string(),
        "crc32c": object.crc32c_text(),
        "etag": BASE64_STANDARD.encode(format!("{generation}/{metageneration}")),
        "timeCreated": rfc3339(object.created_us),
        "updated": rfc3339(object.updated_us),
        "timeStorageClassUpdated": rfc3339(object.created_us),
    });
    if let (Some(resource), Value::Object(told)) = (resource.as_object_mut(), told) {
        resource.extend(told);
        resource.extend(object.md5_text().map(|md5| ("md5Hash".to_owned(), json!(md5))));
        resource.extend(components.map(|count| ("componentCount".to_owned(), json!(count))));
    }
    resource
}
