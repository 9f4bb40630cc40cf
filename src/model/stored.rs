//! What outlives a process: JSON that carries the number of its format.
//!
//! A format is kept for ever: bytes that any release has written decode to the same meaning, and bytes of
//! a later release are refused with what to do, never taken for something else. `tests/formats/` holds
//! what every release has written, and the README there says how a format changes.

use crate::error::{Error, ErrorKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The first format. Some types carried no number then.
const FIRST: u32 = 1;

/// A type that is stored for longer than a process.
pub trait Stored: Serialize + DeserializeOwned {
    /// What people call it: `DAG version`.
    const NAME: &'static str;

    /// The number of the format that is written today. It rises with a change that an older version would
    /// misread; a field that may be absent, with a meaning for its absence, is no such change.
    const FORMAT: u32 = FIRST;

    /// Reads today's format and every older one. One that the type itself would misread gets a type of its
    /// own here, from which this one is made.
    fn read(_format: u32, json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

#[derive(Deserialize)]
struct Numbered {
    #[serde(default = "first")]
    format: u32,
}

fn first() -> u32 {
    FIRST
}

/// Reads every format up to today's. `Data` if the bytes are damaged, `Input` if they are a newer
/// version's.
pub fn decode<T: Stored>(json: &[u8]) -> Result<T, Error> {
    let damaged = |error: serde_json::Error| {
        Error::new(ErrorKind::Data, format!("this {} is damaged: {error}", T::NAME))
    };
    let Numbered { format } = serde_json::from_slice(json).map_err(damaged)?;
    if format > T::FORMAT {
        return Err(newer::<T>(format));
    }
    T::read(format, json).map_err(damaged)
}

fn newer<T: Stored>(format: u32) -> Error {
    let (name, ours) = (T::NAME, T::FORMAT);
    let problem = format!(
        "this {name} was written by a newer Tidemill, in format {format}; this one reads up to {ours}"
    );
    Error::new(ErrorKind::Input, problem).remedy("use the newer tidemill that wrote it")
}

/// The value as it is stored, its format first. For types without a field `format` of their own.
pub fn encode<T: Stored>(value: &T) -> String {
    #[derive(Serialize)]
    struct Written<'a, T> {
        format: u32,
        #[serde(flatten)]
        value: &'a T,
    }
    let written = Written { format: T::FORMAT, value };
    serde_json::to_string(&written).expect("stored types have string keys and finite numbers")
}

#[cfg(test)]
pub(crate) mod testing {
    use std::path::PathBuf;

    /// Where the bytes are that every release has written: a folder for each, a file for each type.
    pub fn formats() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/formats")
    }

    /// What a release has written of a type.
    pub fn written_by(release: &str, kind: &str) -> Vec<String> {
        let file = formats().join(release).join(format!("{kind}.jsonl"));
        std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
    }

    /// One stored value a line, as this release writes them.
    #[track_caller]
    pub fn check_written(kind: &str, lines: &[String]) {
        let release = env!("CARGO_PKG_VERSION");
        let file = formats().join(release).join(format!("{kind}.jsonl"));
        let written = lines.join("\n") + "\n";
        if std::env::var_os("TIDEMILL_WRITE_FORMATS").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &written).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(written, expected, "{}: see tests/formats/README.md", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted days once, and counts hours since format 2.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Span {
        hours: u32,
    }

    #[derive(Deserialize)]
    struct SpanV1 {
        days: u32,
    }

    impl Stored for Span {
        const NAME: &'static str = "span";
        const FORMAT: u32 = 2;

        fn read(format: u32, json: &[u8]) -> Result<Self, serde_json::Error> {
            if format > 1 {
                return serde_json::from_slice(json);
            }
            let SpanV1 { days } = serde_json::from_slice(json)?;
            Ok(Self { hours: days * 24 })
        }
    }

    #[test]
    fn what_is_written_carries_its_format_and_reads_back() {
        let span = Span { hours: 5 };
        assert_eq!(encode(&span), r#"{"format":2,"hours":5}"#);
        assert_eq!(decode::<Span>(encode(&span).as_bytes()).unwrap(), span);
    }

    #[test]
    fn an_older_format_keeps_its_meaning_with_or_without_its_number() {
        for json in [r#"{"format":1,"days":2}"#, r#"{"days":2}"#] {
            assert_eq!(decode::<Span>(json.as_bytes()).unwrap(), Span { hours: 48 });
        }
    }

    #[test]
    fn a_newer_format_is_refused_with_what_to_do() {
        let error = decode::<Span>(br#"{"format":3,"minutes":9}"#).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Input);
        assert_eq!(
            error.to_string(),
            "this span was written by a newer Tidemill, in format 3; this one reads up to 2"
        );
        assert_eq!(error.remedy.as_deref(), Some("use the newer tidemill that wrote it"));
    }

    #[test]
    fn bytes_that_are_damaged_are_named() {
        for json in ["{", "", "7", r#"{"format":2}"#, r#"{"format":-1}"#] {
            let error = decode::<Span>(json.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Data, "{json}");
            assert!(error.to_string().starts_with("this span is damaged: "), "{error}");
        }
    }
}
