//! Picks one field out of a JSON event without building the rest of it.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A field's value, as far as feeds care.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
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
        json.deserialize_any(self)
    }
}

impl Follow<'_> {
    fn scalar(&self, value: impl FnOnce() -> Scalar) -> Option<Scalar> {
        self.0.is_empty().then(value)
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

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.scalar(|| Scalar::Integer(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).ok().and_then(|number| self.scalar(|| Scalar::Integer(number))))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(self.scalar(|| Scalar::Float(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.scalar(|| Scalar::Text(text.to_owned())))
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
        let found = pick(line.as_bytes(), &path).map(|scalar| scalar.to_string());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn a_nested_field_is_found_behind_others() {
        check(
            r#"{"a":[1,{"id":2}],"meta":{"dt":null,"id":"x\"y"},"z":3}"#,
            "meta.id",
            Some("x\"y"),
        );
        check(r#"{"meta":{"id":7}}"#, "meta.id", Some("7"));
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
