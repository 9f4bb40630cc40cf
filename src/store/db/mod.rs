//! The database behind the store, so that the rest of the store knows no dialect.
//!
//! A statement is one text that `SQLite` and `PostgreSQL` both read: `$1`, `$2`, … for values, `TRUE` and
//! `FALSE`, conflicts with their target, `RETURNING`. Three words differ and stand in braces; the dialect
//! replaces them:
//!
//! - `{list $1}`: a subquery with the texts of a JSON array, for `IN`.
//! - `{index files_open}`: behind a table's name, the index that the planner must use.
//! - `{lock leases}`: behind a `SELECT`, keeps the rows of that table as they are until the end of the
//!   transaction.
//!
//! A second dialect is a file beside `sqlite`, a folder of migrations with the same numbers, and the
//! suite of `conformance` over it.

mod row;
mod sqlite;

pub use row::Row;
pub use sqlite::{Database, Transaction};

use crate::error::Error;
use std::borrow::Cow;

/// A value of a statement. A null has a type too, which `PostgreSQL` asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Flag(Option<bool>),
}

/// A type that columns hold.
pub trait Scalar: Sized {
    fn value(this: Option<Self>) -> Value;
}

/// What [`Query::bind`] takes: a scalar, or an option of one.
pub trait Argument {
    fn into_value(self) -> Value;
}

impl<T: Scalar> Argument for T {
    fn into_value(self) -> Value {
        T::value(Some(self))
    }
}

impl<T: Scalar> Argument for Option<T> {
    fn into_value(self) -> Value {
        T::value(self)
    }
}

impl Scalar for i64 {
    fn value(this: Option<Self>) -> Value {
        Value::Int(this)
    }
}

impl Scalar for i32 {
    fn value(this: Option<Self>) -> Value {
        Value::Int(this.map(i64::from))
    }
}

impl Scalar for u32 {
    fn value(this: Option<Self>) -> Value {
        Value::Int(this.map(i64::from))
    }
}

/// Rows, offsets, epochs and sizes never come near 2^63.
impl Scalar for u64 {
    fn value(this: Option<Self>) -> Value {
        Value::Int(this.map(|number| i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl Scalar for bool {
    fn value(this: Option<Self>) -> Value {
        Value::Flag(this)
    }
}

impl Scalar for String {
    fn value(this: Option<Self>) -> Value {
        Value::Text(this)
    }
}

impl Scalar for &String {
    fn value(this: Option<Self>) -> Value {
        Value::Text(this.cloned())
    }
}

impl Scalar for &str {
    fn value(this: Option<Self>) -> Value {
        Value::Text(this.map(str::to_owned))
    }
}

/// A statement with its values.
#[derive(Debug)]
pub struct Query {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

/// A statement without values; [`Query::bind`] adds `$1`, then `$2`, and so on.
pub fn query(sql: impl Into<Cow<'static, str>>) -> Query {
    Query { sql: sql.into(), values: Vec::new() }
}

/// Where a statement runs.
pub enum On<'a> {
    /// Alone, and it only reads.
    Reader(&'a Database),
    Within(&'a mut Transaction),
}

impl<'a> From<&'a Database> for On<'a> {
    fn from(database: &'a Database) -> Self {
        Self::Reader(database)
    }
}

impl<'a> From<&'a mut Transaction> for On<'a> {
    fn from(transaction: &'a mut Transaction) -> Self {
        Self::Within(transaction)
    }
}

impl Query {
    #[must_use]
    pub fn bind(mut self, value: impl Argument) -> Self {
        self.values.push(value.into_value());
        self
    }

    /// Returns how many rows it has inserted, changed or deleted.
    pub async fn execute(self, transaction: &mut Transaction) -> Result<u64, Error> {
        transaction.execute(self).await
    }

    pub async fn fetch_all(self, on: impl Into<On<'_>>) -> Result<Vec<Row>, Error> {
        match on.into() {
            On::Reader(database) => database.fetch_all(self).await,
            On::Within(transaction) => transaction.fetch_all(self).await,
        }
    }

    /// The first row.
    pub async fn fetch_optional(self, on: impl Into<On<'_>>) -> Result<Option<Row>, Error> {
        match on.into() {
            On::Reader(database) => database.fetch_optional(self).await,
            On::Within(transaction) => transaction.fetch_optional(self).await,
        }
    }

    /// The first row of a statement that always has one, such as `SELECT count(*)`.
    pub async fn fetch_one(self, on: impl Into<On<'_>>) -> Result<Row, Error> {
        let row = self.fetch_optional(on).await?;
        row.ok_or_else(|| Error::new(crate::error::ErrorKind::Bug, "a statement returned no row"))
    }
}

/// A value as JSON text.
pub fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("our types have string keys and finite numbers")
}

/// Replaces each word in braces by what `of` makes of it.
fn replace_words(sql: Cow<'static, str>, of: impl Fn(&str, &str) -> String) -> Cow<'static, str> {
    if !sql.contains('{') {
        return sql;
    }
    let mut replaced = String::with_capacity(sql.len() + 64);
    let mut rest: &str = &sql;
    while let Some((before, behind)) = rest.split_once('{') {
        let (word, after) = behind.split_once('}').expect("a word in braces ends");
        let (name, argument) = word.split_once(' ').expect("a word in braces has an argument");
        replaced.push_str(before);
        replaced.push_str(&of(name, argument));
        rest = after;
    }
    replaced.push_str(rest);
    Cow::Owned(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_in_braces_are_the_dialects_own() {
        let shout = |name: &str, argument: &str| format!("<{name}:{argument}>");
        let replaced = |sql: &'static str| replace_words(Cow::Borrowed(sql), shout).into_owned();
        assert_eq!(replaced("SELECT $1"), "SELECT $1");
        let text = "SELECT a FROM t {index t_a} WHERE a IN {list $1} LIMIT 1";
        assert_eq!(replaced(text), "SELECT a FROM t <index:t_a> WHERE a IN <list:$1> LIMIT 1");
    }

    #[test]
    fn a_null_has_the_type_of_what_could_stand_there() {
        assert_eq!(None::<u32>.into_value(), Value::Int(None));
        assert_eq!(None::<&str>.into_value(), Value::Text(None));
        assert_eq!(Some(true).into_value(), Value::Flag(Some(true)));
        assert_eq!(u64::MAX.into_value(), Value::Int(Some(i64::MAX)));
    }
}
