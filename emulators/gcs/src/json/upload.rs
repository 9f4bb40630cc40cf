//! `insert`: in one piece, with its metadata before it, or resumable.

use super::json;
use super::object::resource;
use crate::condition::Condition;
use crate::object::{Metadata, Object, Place, crc32c_text};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::table::{Table, Target};
use crate::xml;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest, Md5};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Resumable uploads at work; a restart forgets them.
#[derive(Debug, Default)]
pub struct Uploads {
    open: Mutex<HashMap<String, Session>>,
}

#[derive(Debug)]
enum Session {
    Open(Box<Open>),
    Done(Box<Object>),
}

#[derive(Debug)]
struct Open {
    target: Target,
    told: Told,
    bytes: Vec<u8>,
}

/// What the sender says of the object before or beside its bytes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    name: Option<String>,
    md5_hash: Option<String>,
    crc32c: Option<String>,
    #[serde(flatten)]
    metadata: Metadata,
}

impl Told {
    fn check(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let md5 = BASE64_STANDARD.encode(Md5::digest(bytes));
        if self.md5_hash.as_ref().is_some_and(|told| *told != md5) {
            return Err(Refusal::bad_digest("Provided MD5 hash doesn't match calculated MD5 hash"));
        }
        let crc32c = crc32c_text(crc32c::crc32c(bytes));
        if self.crc32c.as_ref().is_some_and(|told| *told != crc32c) {
            return Err(Refusal::bad_digest("Provided CRC32C doesn't match calculated CRC32C"));
        }
        Ok(())
    }
}

impl Uploads {
    pub fn answer(
        &self,
        table: &Table,
        address: &str,
        bucket: &str,
        request: &Request,
    ) -> Result<Response, Refusal> {
        if let Some(id) = request.query("upload_id") {
            return match request.method {
                Method::PUT | Method::POST => self.go_on(table, address, id, request),
                Method::DELETE => {
                    self.lock().remove(id);
                    Ok(xml::empty(StatusCode::from_u16(499).expect("three digits")))
                }
                _ => Err(Refusal::no_method()),
            };
        }
        match request.query("uploadType").unwrap_or("media") {
            "media" => {
                let told = Told { metadata: xml::metadata(request), ..Told::default() };
                let target = target(bucket, request, &told)?;
                xml::check_digests(request)?;
                Ok(json(&resource(&table.put(&target, &request.body)?, address)))
            }
            "multipart" => {
                let (told, bytes) = related(request)?;
                told.check(bytes)?;
                let target = target(bucket, request, &told)?;
                Ok(json(&resource(&table.put(&target, bytes)?, address)))
            }
            "resumable" => self.begin(table, address, bucket, request),
            other => Err(Refusal::invalid(format!("Invalid upload type: {other}"))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(
        &self,
        table: &Table,
        address: &str,
        bucket: &str,
        request: &Request,
    ) -> Result<Response, Refusal> {
        table.bucket(bucket)?;
        let mut told: Told = super::body(request)?;
        let kind = request.header("x-upload-content-type").map(str::to_owned);
        told.metadata.content_type = told.metadata.content_type.or(kind);
        let target = target(bucket, request, &told)?;
        let id = format!("resumable-{}", table.number());
        let open = Box::new(Open { target, told, bytes: Vec::new() });
        self.lock().insert(id.clone(), Session::Open(open));
        let location =
            format!("{address}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={id}");
        let headers =
            vec![("location".to_owned(), location), ("x-guploader-uploadid".to_owned(), id)];
        Ok(xml::with_headers(xml::empty(StatusCode::OK), &headers))
    }

    fn go_on(
        &self,
        table: &Table,
        address: &str,
        id: &str,
        request: &Request,
    ) -> Result<Response, Refusal> {
        let mut open = self.lock();
        let session = open.get_mut(id).ok_or_else(|| Refusal::no_upload(id))?;
        let Open { target, told, bytes } = match session {
            Session::Done(object) => return Ok(json(&resource(object, address))),
            Session::Open(open) => open.as_mut(),
        };
        let piece = Piece::of(request)?;
        let received = bytes.len() as u64;
        if let Some(first) = piece.first {
            if first > received {
                return Err(Refusal::invalid(format!("bytes {received} to {first} are missing")));
            }
            let known = usize::try_from(received - first).unwrap_or(usize::MAX);
            bytes.extend_from_slice(request.body.get(known..).unwrap_or_default());
        }
        if piece.total != Some(bytes.len() as u64) {
            let mut answer = xml::empty(StatusCode::PERMANENT_REDIRECT);
            if let Some(last) = bytes.len().checked_sub(1) {
                let headers = vec![("range".to_owned(), format!("bytes=0-{last}"))];
                answer = xml::with_headers(answer, &headers);
            }
            return Ok(answer);
        }
        told.check(bytes)?;
        let object = table.put(target, bytes)?;
        let answer = json(&resource(&object, address));
        *session = Session::Done(Box::new(object));
        Ok(answer)
    }
}

/// Which bytes of the whole a request brings.
struct Piece {
    /// `None`: none, it only asks.
    first: Option<u64>,
    /// `None`: the sender doesn't know yet.
    total: Option<u64>,
}

impl Piece {
    fn of(request: &Request) -> Result<Self, Refusal> {
        let Some(text) = request.header("content-range") else {
            return Ok(Self { first: Some(0), total: Some(request.body.len() as u64) });
        };
        let parsed = text.strip_prefix("bytes ").and_then(|rest| rest.split_once('/'));
        let (range, total) =
            parsed.ok_or_else(|| Refusal::invalid(format!("Content-Range {text}")))?;
        let first = range.split_once('-').and_then(|(first, _)| first.parse().ok());
        Ok(Self { first, total: total.parse().ok() })
    }
}

fn target(bucket: &str, request: &Request, told: &Told) -> Result<Target, Refusal> {
    let name = request.query("name").map(str::to_owned).or_else(|| told.name.clone());
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refusal::invalid("Required parameter: name"))?;
    let place = Place { bucket: bucket.to_owned(), name };
    let condition = Condition::in_query(request, "")?;
    Ok(Target { place, condition, metadata: Some(told.metadata.clone()) })
}

/// The metadata and the bytes of a body in two parts.
fn related(request: &Request) -> Result<(Told, &[u8]), Refusal> {
    let wrong = |what: &str| Refusal::invalid(format!("multipart/related: {what}"));
    let kind = request.header("content-type").unwrap_or_default();
    let boundary = kind.split(';').find_map(|part| part.trim().strip_prefix("boundary="));
    let boundary = boundary.ok_or_else(|| wrong("no boundary"))?.trim_matches(['"', '\'']);
    let line = format!("--{boundary}");
    let body: &[u8] = &request.body;
    let mut parts = Vec::new();
    let mut at = find(body, line.as_bytes(), 0).ok_or_else(|| wrong("no part"))? + line.len();
    let end = format!("\r\n{line}");
    while parts.len() < 2 {
        let Some(next) = find(body, end.as_bytes(), at) else { break };
        let part = body.get(at..next).unwrap_or_default();
        let head = find(part, b"\r\n\r\n", 0).ok_or_else(|| wrong("a part without a head"))?;
        let content = part.get(head + 4..).unwrap_or_default();
        let head = String::from_utf8_lossy(part.get(..head).unwrap_or_default()).into_owned();
        parts.push((head, content));
        at = next + end.len();
    }
    let [(_, told), (head, bytes)] = parts.as_slice() else {
        return Err(wrong("two parts belong in it"));
    };
    let mut told: Told = serde_json::from_slice(told).map_err(|error| wrong(&error.to_string()))?;
    let kind = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
    });
    told.metadata.content_type = told.metadata.content_type.or(kind);
    Ok((told, bytes))
}

fn find(within: &[u8], what: &[u8], from: usize) -> Option<usize> {
    let found = within.get(from..)?.windows(what.len()).position(|window| window == what);
    found.map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;

    #[test]
    fn the_bytes_of_a_body_in_two_parts_stay_as_they_are() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "multipart/related; boundary=\"==x==\"".parse().unwrap());
        let body = "--==x==\r\ncontent-type: application/json\r\n\r\n{\"name\": \"a\"}\r\n--==x==\r\nContent-Type: text/plain\r\n\r\none\r\n\r\n--two\r\n--==x==--";
        let request = Request::new(Method::POST, "/", "", headers, body.into());
        let (told, bytes) = related(&request).unwrap();
        assert_eq!(told.name.as_deref(), Some("a"));
        assert_eq!(told.metadata.content_type.as_deref(), Some("text/plain"));
        assert_eq!(bytes, b"one\r\n\r\n--two");
    }
}
