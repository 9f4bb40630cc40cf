//! What is known of objects and buckets, as it is in the journal.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub bucket: String,
    pub name: String,
    pub generation: u64,
    pub metageneration: u64,
    pub created_us: u64,
    pub updated_us: u64,
    /// The file that holds its bytes.
    pub blob: u64,
    pub size: u64,
    pub crc32c: u32,
    /// Composed objects have none.
    pub md5: Option<[u8; 16]>,
    /// How many objects it was composed of.
    pub components: Option<u32>,
    pub metadata: Metadata,
}

/// What a writer says of an object, beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    #[serde(rename = "metadata", skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub name: String,
    pub location: String,
    pub created_us: u64,
    /// Whether replaced and deleted objects can still be read by their generation.
    pub versioning: bool,
    pub labels: BTreeMap<String, String>,
}

/// The name of an object in its bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub bucket: String,
    pub name: String,
}

impl Object {
    pub fn place(&self) -> Place {
        Place { bucket: self.bucket.clone(), name: self.name.clone() }
    }

    /// As in the XML API, with its quotation marks: the MD5, as far as there is one.
    pub fn e_tag(&self) -> String {
        match &self.md5 {
            Some(md5) => format!("\"{}\"", hex(md5)),
            None => format!("\"-{:x}\"", self.generation),
        }
    }

    pub fn crc32c_text(&self) -> String {
        crc32c_text(self.crc32c)
    }

    pub fn md5_text(&self) -> Option<String> {
        self.md5.map(|md5| BASE64_STANDARD.encode(md5))
    }

    pub fn storage_class(&self) -> &str {
        self.metadata.storage_class.as_deref().unwrap_or("STANDARD")
    }
}

pub fn crc32c_text(crc32c: u32) -> String {
    BASE64_STANDARD.encode(crc32c.to_be_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub fn timestamp(micros: u64) -> Timestamp {
    let micros = i64::try_from(micros).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

/// `2026-11-20T05:00:00.000Z`, as in listings and resources.
pub fn rfc3339(micros: u64) -> String {
    timestamp(micros).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// `Fri, 20 Nov 2026 05:00:00 GMT`, as in headers.
pub fn http_date(micros: u64) -> String {
    timestamp(micros).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
