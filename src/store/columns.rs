//! Reads typed values out of rows; what does not parse was not written by us.

use crate::error::Doing;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::time::Micros;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::fmt::Display;
use std::str::FromStr;

pub(super) trait Columns {
    fn text(&self, column: &str) -> Result<String, Error>;
    fn text_opt(&self, column: &str) -> Result<Option<String>, Error>;
    fn int(&self, column: &str) -> Result<i64, Error>;
    fn int_opt(&self, column: &str) -> Result<Option<i64>, Error>;

    fn flag(&self, column: &str) -> Result<bool, Error> {
        Ok(self.int(column)? != 0)
    }

    fn number<T: TryFrom<i64>>(&self, column: &str) -> Result<T, Error> {
        let number = self.int(column)?;
        T::try_from(number).map_err(|_| strange(column, number))
    }

    fn number_opt<T: TryFrom<i64>>(&self, column: &str) -> Result<Option<T>, Error> {
        let convert = |number| T::try_from(number).map_err(|_| strange(column, number));
        self.int_opt(column)?.map(convert).transpose()
    }

    fn time(&self, column: &str) -> Result<Micros, Error> {
        self.int(column).map(Micros)
    }

    fn time_opt(&self, column: &str) -> Result<Option<Micros>, Error> {
        Ok(self.int_opt(column)?.map(Micros))
    }

    fn parse<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, Error> {
        let text = self.text(column)?;
        text.parse().map_err(|err| strange(column, err))
    }

    fn parse_opt<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>, Error> {
        let parse = |text: String| text.parse().map_err(|err| strange(column, err));
        self.text_opt(column)?.map(parse).transpose()
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, Error> {
        serde_json::from_str(&self.text(column)?).map_err(|err| strange(column, err))
    }

    fn json_opt<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, Error> {
        let parse = |text: String| serde_json::from_str(&text).map_err(|err| strange(column, err));
        self.text_opt(column)?.map(parse).transpose()
    }
}

impl Columns for SqliteRow {
    fn text(&self, column: &str) -> Result<String, Error> {
        self.try_get(column).doing(|| format!("read column {column}"))
    }

    fn text_opt(&self, column: &str) -> Result<Option<String>, Error> {
        self.try_get(column).doing(|| format!("read column {column}"))
    }

    fn int(&self, column: &str) -> Result<i64, Error> {
        self.try_get(column).doing(|| format!("read column {column}"))
    }

    fn int_opt(&self, column: &str) -> Result<Option<i64>, Error> {
        self.try_get(column).doing(|| format!("read column {column}"))
    }
}

fn strange(column: &str, problem: impl Display) -> Error {
    Error::new(ErrorKind::Data, format!("column {column} of the state store: {problem}"))
        .remedy("if another program has written to the file, restore it; else report this")
}

/// Rows, offsets and sizes never come near 2^63.
pub(super) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A value as JSON text.
pub(super) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("our types have string keys and finite numbers")
}
