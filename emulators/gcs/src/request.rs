//! A request as far as it can be understood without knowing which API it belongs to.

use crate::object::Place;
use crate::refusal::Refusal;
use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use percent_encoding::percent_decode_str;

#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// As it came: a `%2F` in it is part of a name.
    pub path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    pub fn new(method: Method, path: &str, query: &str, headers: HeaderMap, body: Bytes) -> Self {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        };
        let query = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
        Self { method, path: path.to_owned(), query, headers, body }
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let wrong = |text: &str| Refusal::invalid(format!("{name} is no number: {text}"));
        self.query(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }

    /// The parts of the path after `root`, decoded; `None` if it lies elsewhere.
    pub fn parts_after(&self, root: &str) -> Option<Vec<String>> {
        let rest = self.path.strip_prefix(root)?;
        Some(rest.split('/').filter(|part| !part.is_empty()).map(decoded).collect())
    }

    /// The bucket, and the object's name if there is one, of a path of the XML API.
    pub fn xml_place(&self) -> (String, Option<String>) {
        let path = self.path.trim_start_matches('/');
        match path.split_once('/') {
            Some((bucket, name)) if !name.is_empty() => (decoded(bucket), Some(decoded(name))),
            Some((bucket, _)) => (decoded(bucket), None),
            None => (decoded(path), None),
        }
    }

    /// What the request is about, for faults: `bucket/name`, or `bucket/prefix` of a list.
    pub fn target(&self) -> String {
        let prefix = || self.query("prefix").or_else(|| self.query("name")).unwrap_or_default();
        let json = ["/storage/v1/b/", "/upload/storage/v1/b/", "/download/storage/v1/b/"];
        let parts = json.iter().find_map(|root| self.parts_after(root));
        match parts.as_deref() {
            Some([bucket, _, _, _, _, to_bucket, _, to]) => {
                let _ = bucket; // A copy or a move is about where it goes.
                format!("{to_bucket}/{to}")
            }
            Some([bucket, _, _, verb, _, to]) if verb == "moveTo" => format!("{bucket}/{to}"),
            Some([bucket, _, name, ..]) => format!("{bucket}/{name}"),
            Some([bucket, ..]) => format!("{bucket}/{}", prefix()),
            Some([]) => String::new(),
            None => match self.xml_place() {
                (bucket, Some(name)) => format!("{bucket}/{name}"),
                (bucket, None) => format!("{bucket}/{}", prefix()),
            },
        }
    }
}

/// `bucket/name`, each percent-encoded, as in `x-goog-copy-source`.
pub fn copy_source(text: &str) -> Option<Place> {
    let (bucket, name) = text.trim_start_matches('/').split_once('/')?;
    Some(Place { bucket: decoded(bucket), name: decoded(name) })
}

pub fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, query: &str) -> Request {
        Request::new(Method::GET, path, query, HeaderMap::new(), Bytes::new())
    }

    #[test]
    fn a_slash_that_is_part_of_a_name_stays_in_it() {
        let parts = request("/storage/v1/b/lake/o/a%2Fb%20c", "").parts_after("/storage/v1/b/");
        assert_eq!(parts.unwrap(), ["lake", "o", "a/b c"]);
    }

    #[track_caller]
    fn check(path: &str, query: &str, target: &str) {
        assert_eq!(request(path, query).target(), target);
    }

    #[test]
    fn a_request_is_about_the_object_that_it_changes() {
        check("/lake/a%2Fb", "", "lake/a/b");
        check("/lake", "list-type=2&prefix=a%2F", "lake/a/");
        check("/storage/v1/b/lake/o/x/rewriteTo/b/other/o/y", "", "other/y");
        check("/storage/v1/b/lake/o/x/moveTo/o/y", "", "lake/y");
        check("/upload/storage/v1/b/lake/o", "uploadType=media&name=x", "lake/x");
    }
}
