//! Reads typed values out of rows; what does not parse was not written by us.

use crate::error::{Doing, Error, ErrorKind};
use crate::model::stored;
use crate::model::stored::Stored;
use crate::model::time::Micros;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use std::fmt::Display;
use std::str::FromStr;

/// A row of a result; columns are read by their names.
#[derive(Debug)]
pub struct Row(pub(super) SqliteRow);

impl Row {
    pub fn text(&self, column: &str) -> Result<String, Error> {
        self.get(column)
    }

    pub fn text_opt(&self, column: &str) -> Result<Option<String>, Error> {
        self.get(column)
    }

    pub fn int(&self, column: &str) -> Result<i64, Error> {
        self.get(column)
    }

    pub fn int_opt(&self, column: &str) -> Result<Option<i64>, Error> {
        self.get(column)
    }

    pub fn flag(&self, column: &str) -> Result<bool, Error> {
        self.int(column).map(|flag| flag != 0)
    }

    pub fn number<T: TryFrom<i64>>(&self, column: &str) -> Result<T, Error> {
        let number = self.int(column)?;
        T::try_from(number).map_err(|_| strange(column, number))
    }

    pub fn number_opt<T: TryFrom<i64>>(&self, column: &str) -> Result<Option<T>, Error> {
        let convert = |number| T::try_from(number).map_err(|_| strange(column, number));
        self.int_opt(column)?.map(convert).transpose()
    }

    pub fn time(&self, column: &str) -> Result<Micros, Error> {
        self.int(column).map(Micros)
    }

    pub fn time_opt(&self, column: &str) -> Result<Option<Micros>, Error> {
        Ok(self.int_opt(column)?.map(Micros))
    }

    pub fn parse<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, Error> {
        let text = self.text(column)?;
        text.parse().map_err(|err| strange(column, err))
    }

    pub fn parse_opt<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>, Error> {
        let parse = |text: String| text.parse().map_err(|err| strange(column, err));
        self.text_opt(column)?.map(parse).transpose()
    }

    /// What [`stored::encode`] has written.
    pub fn stored<T: Stored>(&self, column: &str) -> Result<T, Error> {
        stored::decode(self.text(column)?.as_bytes())
    }

    pub fn stored_opt<T: Stored>(&self, column: &str) -> Result<Option<T>, Error> {
        self.text_opt(column)?.map(|text| stored::decode(text.as_bytes())).transpose()
    }

    /// JSON that a program has returned, or a process has told of itself. It decides nothing that the
    /// columns beside it don't, so one that cannot be read is as good as none and holds nothing up.
    pub fn told<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, Error> {
        Ok(self.text_opt(column)?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    fn get<'r, T>(&'r self, column: &str) -> Result<T, Error>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        sqlx::Row::try_get(&self.0, column).doing(|| format!("read column {column}"))
    }
}

fn strange(column: &str, problem: impl Display) -> Error {
    Error::new(ErrorKind::Data, format!("column {column} of the state store: {problem}"))
        .remedy("if another program has written to the file, restore it; else report this")
}
