//! Why a request is not answered with what it asked for, in the words of both APIs.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use quick_xml::escape::escape;
use serde_json::json;

/// A status, and what the XML and the JSON API call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    code: &'static str,
    reason: &'static str,
    message: String,
}

impl Refusal {
    pub fn no_bucket(bucket: &str) -> Self {
        let message = format!("The specified bucket does not exist: {bucket}");
        Self { status: 404, code: "NoSuchBucket", reason: "notFound", message }
    }

    pub fn no_object(bucket: &str, name: &str) -> Self {
        let message = format!("No such object: {bucket}/{name}");
        Self { status: 404, code: "NoSuchKey", reason: "notFound", message }
    }

    pub fn no_upload(id: &str) -> Self {
        let message = format!("No such upload: {id}");
        Self { status: 404, code: "NoSuchUpload", reason: "notFound", message }
    }

    pub fn precondition(which: &str) -> Self {
        let message =
            format!("At least one of the pre-conditions you specified did not hold: {which}");
        Self { status: 412, code: "PreconditionFailed", reason: "conditionNotMet", message }
    }

    pub fn not_modified() -> Self {
        let message = "Not modified".to_owned();
        Self { status: 304, code: "NotModified", reason: "notModified", message }
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self { status: 409, code: "Conflict", reason: "conflict", message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self { status: 400, code: "InvalidArgument", reason: "invalid", message: message.into() }
    }

    pub fn bad_digest(message: impl Into<String>) -> Self {
        Self { status: 400, code: "BadDigest", reason: "invalid", message: message.into() }
    }

    pub fn not_implemented(what: &str) -> Self {
        let message = format!("{what} is not implemented");
        Self { status: 400, code: "NotImplemented", reason: "notImplemented", message }
    }

    pub fn no_method() -> Self {
        let message = "The specified method is not allowed against this resource".to_owned();
        Self { status: 405, code: "MethodNotAllowed", reason: "methodNotAllowed", message }
    }

    pub fn range() -> Self {
        let message = "The requested range cannot be satisfied".to_owned();
        Self { status: 416, code: "InvalidRange", reason: "requestedRangeNotSatisfiable", message }
    }

    pub fn too_often(bucket: &str, name: &str) -> Self {
        let message = format!(
            "The object {bucket}/{name} exceeded the rate limit for object mutation operations"
        );
        Self { status: 429, code: "SlowDown", reason: "rateLimitExceeded", message }
    }

    /// The emulator's own disk failed it.
    pub fn disk(error: &std::io::Error) -> Self {
        let message = format!("the emulator's folder: {error}");
        Self { status: 500, code: "InternalError", reason: "backendError", message }
    }

    /// A fault that a test has asked for.
    pub fn fault(status: u16) -> Self {
        let (code, reason) = match status {
            408 => ("RequestTimeout", "requestTimeout"),
            429 => ("SlowDown", "rateLimitExceeded"),
            503 => ("ServiceUnavailable", "backendError"),
            _ => ("InternalError", "backendError"),
        };
        Self { status, code, reason, message: "a fault, as asked for".to_owned() }
    }

    pub fn as_xml(&self) -> Response {
        let text = format!(
            "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{}</Code><Message>{}</Message></Error>",
            self.code,
            escape(self.message.as_str())
        );
        self.answer("application/xml; charset=UTF-8", text)
    }

    pub fn as_json(&self) -> Response {
        let Self { status, reason, message, .. } = self;
        let error = json!({ "message": message, "domain": "global", "reason": reason });
        let text = json!({ "error": { "code": status, "message": message, "errors": [error] } });
        self.answer("application/json; charset=UTF-8", text.to_string())
    }

    fn answer(&self, content_type: &'static str, text: String) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = if self.status == 304 { String::new() } else { text };
        let mut answer = Response::new(Body::from(text));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, content_type.parse().expect("it is ASCII"));
        answer
    }
}
