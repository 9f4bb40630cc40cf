//! Schema numbers: which columns the files of a record have, and by which one they were routed.
//!
//! A table's columns keep their order for ever, so a new schema is the newest one with columns
//! added at its end, and every older file can be read as if it had them, empty.

use super::Created;
use super::Lake;
use super::decode;
use super::encode;
use super::paths;
use crate::error::Doing;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::commit::Schema;
use crate::model::name::TableName;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// It is the newest one.
    Keep,
    Append,
    Refuse(String),
}

fn next(newest: Option<&Schema>, wanted: &Schema) -> Step {
    let Some(newest) = newest else { return Step::Append };
    if let Some(refusal) = newest.refuses(wanted) {
        return Step::Refuse(refusal.why);
    }
    let is_same =
        newest.columns.len() == wanted.columns.len() && newest.event_time == wanted.event_time;
    if is_same { Step::Keep } else { Step::Append }
}

impl Lake {
    /// The number of `wanted` among the schemas of an output, appended if it adds columns.
    pub async fn schema_number(&self, output: &TableName, wanted: &Schema) -> Result<u32, Error> {
        loop {
            let k = self.newest(|k| paths::schema(output, k)).await?;
            let newest = self.read_schema(output, k).await?;
            match next(newest.as_ref(), wanted) {
                Step::Keep => return number(k),
                Step::Refuse(problem) => return Err(refusal(output, k, &problem)),
                Step::Append => {
                    let path = paths::schema(output, k + 1);
                    if self.create(&path, encode(wanted)).await? == Created::Ours {
                        return number(k + 1);
                    }
                }
            }
        }
    }

    /// Schema `k` of an output; `None` if it does not exist.
    pub async fn schema(&self, output: &TableName, k: u32) -> Result<Option<Schema>, Error> {
        self.read_schema(output, u64::from(k)).await
    }

    /// The newest schema of an output; `None` while nothing was ever written.
    pub async fn newest_schema(&self, output: &TableName) -> Result<Option<Schema>, Error> {
        let k = self.newest(|k| paths::schema(output, k)).await?;
        self.read_schema(output, k).await
    }

    /// Whether every file of an output was routed to its hive partition by this column. Another may
    /// have been event time before, and then says nothing of where the older rows lie.
    pub async fn is_routed_by(&self, output: &TableName, column: &str) -> Result<bool, Error> {
        for k in 1.. {
            let Some(schema) = self.read_schema(output, k).await? else { break };
            if schema.event_time.as_deref() != Some(column) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn read_schema(&self, output: &TableName, k: u64) -> Result<Option<Schema>, Error> {
        let path = paths::schema(output, k);
        let Some(bytes) = self.read(&path).await? else { return Ok(None) };
        decode(&bytes).doing(|| format!("read schema {path}")).map(Some)
    }
}

fn number(k: u64) -> Result<u32, Error> {
    u32::try_from(k).map_err(|error| Error::new(ErrorKind::Bug, error))
}

fn refusal(output: &TableName, k: u64, problem: &str) -> Error {
    Error::new(
        ErrorKind::Input,
        format!("{problem}; {output} has files in the order of schema {k}"),
    )
    .remedy("put it back; new columns go at the end, and nothing else may change")
}

#[cfg(test)]
mod tests {
    use super::super::testing::memory;
    use super::super::testing::output;
    use super::*;
    use crate::model::commit::FORMAT;
    use crate::model::commit::SchemaColumn;

    /// `a:int64 b:string`.
    fn schema(columns: &str) -> Schema {
        let column = |text: &str| {
            let (name, kind) = text.split_once(':').unwrap();
            SchemaColumn { name: name.into(), kind: kind.parse().unwrap() }
        };
        let columns = columns.split_whitespace().map(column).collect();
        Schema { format: FORMAT, columns, event_time: Some("a".into()) }
    }

    #[track_caller]
    fn check(wanted: &str, step: &Step) {
        assert_eq!(next(Some(&schema("a:int64 b:string")), &schema(wanted)), *step);
    }

    #[test]
    fn columns_are_only_added_at_the_end() {
        check("a:int64 b:string", &Step::Keep);
        check("a:int64 b:string c:bool", &Step::Append);
        check("a:int64", &Step::Refuse("column `b`, at place 2, is gone".into()));
        check("b:string a:int64", &Step::Refuse("column `a` has moved from place 1 to 2".into()));
        check("a:string b:string", &Step::Refuse("column `a` was int64 and is string now".into()));
        check(
            "a:int64 c:bool b:string",
            &Step::Refuse("column `b` has moved from place 2 to 3".into()),
        );
    }

    #[tokio::test]
    async fn a_schema_keeps_its_number() {
        let lake = memory().await;
        for (columns, number) in [("a:int64", 1), ("a:int64", 1), ("a:int64 b:bool", 2)] {
            let found = lake.schema_number(&output(), &schema(columns)).await.unwrap();
            assert_eq!(found, number);
        }
        assert_eq!(lake.schema(&output(), 1).await.unwrap(), Some(schema("a:int64")));
    }

    #[tokio::test]
    async fn another_event_time_is_another_schema_and_no_file_is_left_out_by_it() {
        let lake = memory().await;
        let of = |column: &str| Schema {
            event_time: Some(column.into()),
            ..schema("a:timestamp b:timestamp")
        };
        assert_eq!(lake.schema_number(&output(), &of("a")).await.unwrap(), 1);
        assert!(lake.is_routed_by(&output(), "a").await.unwrap());
        assert_eq!(lake.schema_number(&output(), &of("b")).await.unwrap(), 2);
        assert!(!lake.is_routed_by(&output(), "b").await.unwrap());
    }

    #[tokio::test]
    async fn another_schema_is_refused_with_a_remedy() {
        let lake = memory().await;
        lake.schema_number(&output(), &schema("a:int64 b:bool")).await.unwrap();
        let error = lake.schema_number(&output(), &schema("a:int64")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Input);
        assert_eq!(
            error.to_string(),
            "column `b`, at place 2, is gone; raw.recentchange has files in the order of schema 1"
        );
        assert!(error.remedy.is_some());
    }
}
