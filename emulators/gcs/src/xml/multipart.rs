//! Uploads in parts. They take no condition: the service refuses one, and so do we.

use super::{metadata, with_headers, written, xml};
use crate::condition::Condition;
use crate::object::{Metadata, Place};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::table::{Table, Target};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use md5::{Digest, Md5};
use quick_xml::escape::escape;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Uploads at work; a restart forgets them.
#[derive(Debug, Default)]
pub struct Uploads {
    open: Mutex<HashMap<String, Upload>>,
}

#[derive(Debug)]
struct Upload {
    place: Place,
    metadata: Metadata,
    parts: BTreeMap<u32, Part>,
}

#[derive(Debug)]
struct Part {
    e_tag: String,
    bytes: Bytes,
}

#[derive(Debug, Deserialize)]
struct Complete {
    #[serde(rename = "Part", default)]
    parts: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(rename = "PartNumber")]
    number: u32,
    #[serde(rename = "ETag")]
    e_tag: String,
}

impl Uploads {
    /// `None`: the request is about no upload.
    pub fn answer(
        &self,
        table: &Table,
        place: &Place,
        request: &Request,
    ) -> Option<Result<Response, Refusal>> {
        let id = request.query("uploadId");
        let begins = request.query("uploads").is_some() && request.method == Method::POST;
        if !begins && id.is_none() {
            return None;
        }
        let conditional = Condition::in_headers(request, "").is_ok_and(|found| found.is_any());
        if conditional {
            return Some(Err(Refusal::not_implemented("a precondition of an upload in parts")));
        }
        let Some(id) = id else { return Some(self.begin(table, place, request)) };
        Some(match request.method {
            Method::PUT => self.put(id, request),
            Method::POST => self.complete(table, id, request),
            Method::DELETE => {
                let gone = self.lock().remove(id).ok_or_else(|| Refusal::no_upload(id));
                gone.map(|_| super::empty(StatusCode::NO_CONTENT))
            }
            _ => Err(Refusal::no_method()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Upload>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, table: &Table, place: &Place, request: &Request) -> Result<Response, Refusal> {
        table.bucket(&place.bucket)?;
        let id = format!("upload-{}", table.number());
        let upload =
            Upload { place: place.clone(), metadata: metadata(request), parts: BTreeMap::new() };
        self.lock().insert(id.clone(), upload);
        Ok(xml(format!(
            "<?xml version='1.0' encoding='UTF-8'?><InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
            escape(place.bucket.as_str()),
            escape(place.name.as_str()),
        )))
    }

    fn put(&self, id: &str, request: &Request) -> Result<Response, Refusal> {
        super::check_digests(request)?;
        let number = request.number("partNumber")?.and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (1..=10_000).contains(number));
        let number = number.ok_or_else(|| Refusal::invalid("partNumber is 1 to 10000"))?;
        let mut e_tag = String::from("\"");
        for byte in Md5::digest(&request.body) {
            let _ = write!(e_tag, "{byte:02x}");
        }
        e_tag.push('"');
        let part = Part { e_tag: e_tag.clone(), bytes: request.body.clone() };
        let mut open = self.lock();
        let upload = open.get_mut(id).ok_or_else(|| Refusal::no_upload(id))?;
        upload.parts.insert(number, part);
        Ok(with_headers(super::empty(StatusCode::OK), &vec![("etag".to_owned(), e_tag)]))
    }

    fn complete(&self, table: &Table, id: &str, request: &Request) -> Result<Response, Refusal> {
        let named: Complete = quick_xml::de::from_reader(request.body.as_ref())
            .map_err(|error| Refusal::invalid(format!("the list of parts: {error}")))?;
        let (target, bytes) = {
            let open = self.lock();
            let upload = open.get(id).ok_or_else(|| Refusal::no_upload(id))?;
            let metadata = Some(upload.metadata.clone());
            let (place, condition) = (upload.place.clone(), Condition::default());
            (Target { place, condition, metadata }, upload.assemble(&named)?)
        };
        let object = table.put(&target, &bytes)?;
        self.lock().remove(id);
        let text = format!(
            "<?xml version='1.0' encoding='UTF-8'?><CompleteMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag></CompleteMultipartUploadResult>",
            escape(object.bucket.as_str()),
            escape(object.name.as_str()),
            escape(object.e_tag().as_str()),
        );
        Ok(with_headers(xml(text), &written(&object)))
    }
}

impl Upload {
    fn assemble(&self, named: &Complete) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        for Named { number, e_tag } in &named.parts {
            let part = self.parts.get(number).filter(|part| part.e_tag == *e_tag);
            let part =
                part.ok_or_else(|| Refusal::invalid(format!("there is no part {number}")))?;
            bytes.extend_from_slice(&part.bytes);
        }
        Ok(bytes)
    }
}
