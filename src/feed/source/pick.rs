//! Picks one field out of a JSON event without building the rest of it.

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::fmt;

/// A field's value, as far as feeds care.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Text(String),
    /// As it is written: a number may have more digits than any type of ours.
    Number(String),
}

impl Scalar {
    /// The value as it is written, so that two ids are the same id exactly when their texts are: `7`,
    /// `7.0` and `"7"` are three. How a text escapes its characters makes no difference.
    pub fn written(self) -> String {
        match self {
            Self::Text(text) => format!("\"{text}"),
            Self::Number(number) => number,
        }
    }
}

/// Returns the value at `path`; `None` if there is none, or if `line` is not JSON.
pub fn pick(line: &[u8], path: &[String]) -> Option<Scalar> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let found = Follow(path).deserialize(&mut json).ok()?;
    json.end().ok()?;
    found
}

struct Follow<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Follow<'_> {
    type Value = Option<Scalar>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            let raw = <&RawValue>::deserialize(json)?.get();
            return match raw.as_bytes().first() {
                Some(b'"') => serde_json::from_str(raw)
                    .map(|text| Some(Scalar::Text(text)))
                    .map_err(D::Error::custom),
                Some(b'-' | b'0'..=b'9') => Ok(Some(Scalar::Number(raw.to_owned()))),
                _ => Ok(None),
            };
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Follow<'_> {
    type Value = Option<Scalar>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = fields.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.0.split_first() {
                Some((first, rest)) if *first == *name => {
                    found = fields.next_value_seed(Follow(rest))?;
                }
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, path: &str, expected: Option<&str>) {
        let path: Vec<_> = path.split('.').map(str::to_owned).collect();
        let found = pick(line.as_bytes(), &path).map(Scalar::written);
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn a_nested_field_is_found_behind_others() {
        check(
            r#"{"a":[1,{"id":2}],"meta":{"dt":null,"id":"x\"y"},"z":3}"#,
            "meta.id",
            Some("\"x\"y"),
        );
        check(r#"{"meta":{"id":7}}"#, "meta.id", Some("7"));
    }

    #[test]
    fn numbers_are_taken_as_they_are_written() {
        for number in [
            "327267367867168100001",
            "18446744073709551617",
            "0.10000000000000000001",
            "7.0",
            "-0",
            "1e2",
            "1e400",
        ] {
            check(&format!("{{\"id\":{number}}}"), "id", Some(number));
        }
        check(r#"{"id": 7 }"#, "id", Some("7"));
        check(r#"{"id":"7"}"#, "id", Some("\"7"));
    }

    #[test]
    fn a_text_is_the_same_however_its_characters_are_escaped() {
        check(r#"{"id":"\u0041\/é"}"#, "id", Some("\"A/é"));
    }

    #[test]
    fn truth_values_and_null_are_no_ids() {
        check(r#"{"id":true}"#, "id", None);
        check(r#"{"id":null}"#, "id", None);
        check(r#"{"id":[7]}"#, "id", None);
    }

    #[test]
    fn what_is_not_there_is_none() {
        check(r#"{"meta":{"id":{"deep":1}}}"#, "meta.id", None);
        check(r#"{"meta":"flat"}"#, "meta.id", None);
        check("[1,2]", "meta.id", None);
    }

    #[test]
    fn a_line_that_is_not_json_has_no_fields() {
        check(r#"{"meta":{"id":"x"}"#, "meta.id", None);
        check(r#"{"meta":{"id":"x"}} trailing"#, "meta.id", None);
        check("", "meta.id", None);
    }
}
