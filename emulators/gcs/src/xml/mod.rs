//! The XML API: what `object_store` speaks.

mod list;
mod multipart;

use crate::condition::Condition;
use crate::object::{Bucket, Metadata, Object, Place, http_date, timestamp};
use crate::range;
use crate::refusal::Refusal;
use crate::request::{Request, copy_source};
use crate::table::{Source, Table, Target};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::fmt::rfc2822;
use md5::{Digest, Md5};
pub use multipart::Uploads;

const METADATA: &str = "x-goog-meta-";

pub fn answer(table: &Table, uploads: &Uploads, request: &Request) -> Response {
    let answered = match request.xml_place() {
        (bucket, _) if bucket.is_empty() => Err(Refusal::no_method()),
        (bucket, None) => of_bucket(table, &bucket, request),
        (bucket, Some(name)) => of_object(table, uploads, Place { bucket, name }, request),
    };
    answered.unwrap_or_else(|refusal| refusal.as_xml())
}

fn of_bucket(table: &Table, bucket: &str, request: &Request) -> Result<Response, Refusal> {
    match request.method {
        Method::GET => list::answer(table, bucket, request),
        Method::HEAD => table.bucket(bucket).map(|_| empty(StatusCode::OK)),
        Method::PUT => {
            let bucket = Bucket { name: bucket.to_owned(), ..Bucket::default() };
            table.create_bucket(bucket).map(|_| empty(StatusCode::OK))
        }
        Method::DELETE => table.delete_bucket(bucket).map(|()| empty(StatusCode::NO_CONTENT)),
        _ => Err(Refusal::no_method()),
    }
}

fn of_object(
    table: &Table,
    uploads: &Uploads,
    place: Place,
    request: &Request,
) -> Result<Response, Refusal> {
    if let Some(answered) = uploads.answer(table, &place, request) {
        return answered;
    }
    match request.method {
        Method::GET | Method::HEAD => get(table, place, request),
        Method::PUT => match request.header("x-goog-copy-source") {
            Some(from) => copy(table, from, place, request),
            None => put(table, place, request),
        },
        Method::DELETE => {
            let source = source(place, request)?;
            table.delete(&source).map(|()| empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Refusal::no_method()),
    }
}

fn source(place: Place, request: &Request) -> Result<Source, Refusal> {
    let condition = Condition::in_headers(request, "")?;
    Ok(Source { place, generation: request.number("generation")?, condition })
}

fn put(table: &Table, place: Place, request: &Request) -> Result<Response, Refusal> {
    check_digests(request)?;
    let condition = Condition::in_headers(request, "")?;
    let target = Target { place, condition, metadata: Some(metadata(request)) };
    let object = table.put(&target, &request.body)?;
    Ok(with_headers(empty(StatusCode::OK), &written(&object)))
}

fn copy(table: &Table, from: &str, place: Place, request: &Request) -> Result<Response, Refusal> {
    let from = copy_source(from)
        .ok_or_else(|| Refusal::invalid(format!("x-goog-copy-source names no object: {from}")))?;
    let generation = request.header("x-goog-copy-source-generation");
    let source = Source {
        place: from,
        generation: generation.and_then(|text| text.parse().ok()),
        condition: Condition::in_headers(request, "copy-source-")?,
    };
    let replaces = request.header("x-goog-metadata-directive") == Some("REPLACE");
    let target = Target {
        place,
        condition: Condition::in_headers(request, "")?,
        metadata: replaces.then(|| metadata(request)),
    };
    let object = table.copy(&source, &target, false)?;
    let text = format!(
        "<?xml version='1.0' encoding='UTF-8'?><CopyObjectResult><LastModified>{}</LastModified><ETag>{}</ETag></CopyObjectResult>",
        crate::object::rfc3339(object.updated_us),
        quick_xml::escape::escape(object.e_tag().as_str()),
    );
    Ok(with_headers(xml(text), &written(&object)))
}

fn get(table: &Table, place: Place, request: &Request) -> Result<Response, Refusal> {
    let source = source(place, request)?;
    let mut partial = false;
    let (object, range, bytes) = table.read(&source, |object| {
        judge(object, request)?;
        let header = request.header("range").unwrap_or_default();
        let wanted = range::wanted(header, object.size)?;
        partial = wanted.is_some();
        Ok(wanted.unwrap_or(0..object.size))
    })?;
    let mut headers = described(&object);
    headers.push(("content-length".into(), bytes.len().to_string()));
    let mut answer = empty(StatusCode::OK);
    if partial {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let (first, last, size) = (range.start, range.end - 1, object.size);
        headers.push(("content-range".into(), format!("bytes {first}-{last}/{size}")));
    }
    if request.method == Method::GET {
        *answer.body_mut() = Body::from(bytes);
    }
    Ok(with_headers(answer, &headers))
}

/// HTTP's own conditions of a read, by entity tag and time.
fn judge(object: &Object, request: &Request) -> Result<(), Refusal> {
    let e_tag = object.e_tag();
    let names = |tags: &str| tags.split(',').any(|tag| tag.trim() == e_tag || tag.trim() == "*");
    // A header tells whole seconds.
    let updated = timestamp(object.updated_us).as_second();
    let moment = |header: &str| {
        let parsed = rfc2822::DateTimeParser::new().parse_timestamp(request.header(header)?);
        parsed.ok().map(jiff::Timestamp::as_second)
    };
    if request.header("if-match").is_some_and(|tags| !names(tags)) {
        return Err(Refusal::precondition("If-Match"));
    }
    if request.header("if-none-match").is_some_and(names) {
        return Err(Refusal::not_modified());
    }
    if moment("if-unmodified-since").is_some_and(|since| updated > since) {
        return Err(Refusal::precondition("If-Unmodified-Since"));
    }
    if moment("if-modified-since").is_some_and(|since| updated <= since) {
        return Err(Refusal::not_modified());
    }
    Ok(())
}

/// Compares the bytes with what the sender says of them.
pub fn check_digests(request: &Request) -> Result<(), Refusal> {
    let md5 = || BASE64_STANDARD.encode(Md5::digest(&request.body));
    if request.header("content-md5").is_some_and(|told| told != md5()) {
        return Err(Refusal::bad_digest("The Content-MD5 you specified did not match the object"));
    }
    let hashes = request.header("x-goog-hash").unwrap_or_default();
    for (kind, told) in hashes.split(',').filter_map(|hash| hash.trim().split_once('=')) {
        let same = match kind {
            "md5" => told == md5(),
            "crc32c" => told == crate::object::crc32c_text(crc32c::crc32c(&request.body)),
            _ => true,
        };
        if !same {
            return Err(Refusal::bad_digest(format!("The {kind} of x-goog-hash does not match")));
        }
    }
    Ok(())
}

pub fn metadata(request: &Request) -> Metadata {
    let header = |name: &str| request.header(name).map(str::to_owned);
    let custom = request.headers().filter_map(|(name, value)| {
        Some((name.strip_prefix(METADATA)?.to_owned(), value.to_owned()))
    });
    Metadata {
        content_type: header("content-type"),
        cache_control: header("cache-control"),
        content_disposition: header("content-disposition"),
        content_encoding: header("content-encoding"),
        content_language: header("content-language"),
        storage_class: header("x-goog-storage-class"),
        custom: custom.collect(),
    }
}

type Headers = Vec<(String, String)>;

/// What the answer to a write tells.
fn written(object: &Object) -> Headers {
    let mut hashes = format!("crc32c={}", object.crc32c_text());
    if let Some(md5) = object.md5_text() {
        hashes = format!("{hashes},md5={md5}");
    }
    vec![
        ("etag".into(), object.e_tag()),
        ("x-goog-generation".into(), object.generation.to_string()),
        ("x-goog-metageneration".into(), object.metageneration.to_string()),
        ("x-goog-hash".into(), hashes),
        ("x-goog-stored-content-length".into(), object.size.to_string()),
    ]
}

/// What the answer to a read tells.
pub fn described(object: &Object) -> Headers {
    let mut headers = written(object);
    let Metadata {
        content_type,
        cache_control,
        content_disposition,
        content_encoding,
        content_language,
        storage_class: _,
        custom,
    } = &object.metadata;
    let known = [
        ("content-type", content_type),
        ("cache-control", cache_control),
        ("content-disposition", content_disposition),
        ("content-encoding", content_encoding),
        ("content-language", content_language),
    ];
    let told = |(name, value): (&str, &Option<String>)| Some((name.to_owned(), value.clone()?));
    headers.extend(known.into_iter().filter_map(told));
    headers.extend(custom.iter().map(|(name, value)| (format!("{METADATA}{name}"), value.clone())));
    headers.push(("last-modified".into(), http_date(object.updated_us)));
    headers.push(("x-goog-storage-class".into(), object.storage_class().to_owned()));
    headers.push(("accept-ranges".into(), "bytes".into()));
    headers
}

pub fn with_headers(mut answer: Response, headers: &Headers) -> Response {
    for (name, value) in headers {
        // What no header can hold is left out, as of a custom key with a blank in it.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

pub fn empty(status: StatusCode) -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

fn xml(text: String) -> Response {
    let headers = vec![("content-type".to_owned(), "application/xml; charset=UTF-8".to_owned())];
    with_headers(Response::new(Body::from(text)), &headers)
}
