//! The JSON API: what Google's own clients speak.

mod bucket;
mod object;
mod upload;

use crate::refusal::Refusal;
use crate::request::Request;
use crate::table::Table;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::Value;
pub use upload::Uploads;

const ROOT: &str = "/storage/v1/b";
const UPLOAD: &str = "/upload/storage/v1/b";
const DOWNLOAD: &str = "/download/storage/v1/b";

/// `None`: the path belongs to the XML API. `address`: our own, for links.
pub fn answer(
    table: &Table,
    uploads: &Uploads,
    address: &str,
    request: &Request,
) -> Option<Response> {
    let answered = if let Some(parts) = request.parts_after(UPLOAD) {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [bucket, "o"] => uploads.answer(table, address, bucket, request),
            _ => Err(Refusal::no_method()),
        }
    } else if let Some(parts) = request.parts_after(DOWNLOAD) {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [bucket, "o", name] => object::media(table, bucket, name, request),
            _ => Err(Refusal::no_method()),
        }
    } else {
        let parts = request.parts_after(ROOT)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        route(table, address, &parts, request)
    };
    Some(answered.unwrap_or_else(|refusal| refusal.as_json()))
}

fn route(
    table: &Table,
    address: &str,
    parts: &[&str],
    request: &Request,
) -> Result<Response, Refusal> {
    match parts {
        [] => bucket::all(table, address, request),
        [bucket] => bucket::one(table, address, bucket, request),
        [bucket, "o"] if request.method == Method::GET => {
            object::list(table, address, bucket, request)
        }
        [bucket, "o", name] => object::one(table, address, bucket, name, request),
        [bucket, "o", name, "compose"] if request.method == Method::POST => {
            object::compose(table, address, bucket, name, request)
        }
        [bucket, "o", name, "moveTo", "o", to] if request.method == Method::POST => {
            object::move_to(table, address, bucket, name, to, request)
        }
        [bucket, "o", name, verb @ ("copyTo" | "rewriteTo"), "b", to_bucket, "o", to]
            if request.method == Method::POST =>
        {
            let copied = object::copy(table, (bucket, name), (to_bucket, to), request)?;
            let resource = object::resource(&copied, address);
            Ok(json(&if *verb == "copyTo" {
                resource
            } else {
                object::rewritten(&copied, &resource)
            }))
        }
        _ => Err(Refusal::no_method()),
    }
}

fn json(value: &Value) -> Response {
    let mut answer = Response::new(Body::from(value.to_string()));
    let kind = "application/json; charset=UTF-8".parse().expect("it is ASCII");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn no_content() -> Response {
    crate::xml::empty(StatusCode::NO_CONTENT)
}

/// The request's body; an empty one says nothing.
fn body<T: DeserializeOwned + Default>(request: &Request) -> Result<T, Refusal> {
    if request.body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&request.body).map_err(|error| Refusal::invalid(error.to_string()))
}
