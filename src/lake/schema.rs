//! Schema numbers: how a table is cut, which columns the files of a record or of a batch have, and by
//! which one a stream's rows were routed.
//!
//! A table's columns keep their order for ever, so a new schema is the newest one with columns
//! added at its end, and every older file can be read as if it had them, empty.

use super::{Created, Lake, decode, encode, paths};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::name::TableName;
use crate::model::schema::{Refusal, Schema};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// It is the newest one.
    Keep,
    Append,
    Refuse(Refusal),
}

fn next(newest: Option<&Schema>, wanted: &Schema) -> Step {
    let Some(newest) = newest else { return Step::Append };
    if let Some(refusal) = newest.refuses(wanted) {
        return Step::Refuse(refusal);
    }
    let is_same = newest.columns.len() == wanted.columns.len()
        && newest.event_time == wanted.event_time
        && newest.partition_by == wanted.partition_by;
    if is_same { Step::Keep } else { Step::Append }
}

impl Lake {
    /// The number of `wanted` among the schemas of an output, appended if it adds columns; `Input`
    /// where it can't follow the newest.
    pub async fn schema_number(&self, output: &TableName, wanted: &Schema) -> Result<u32, Error> {
        loop {
            let k = self.newest(|k| paths::schema(output, k)).await?;
            let newest = self.read_schema(output, k).await?;
            match next(newest.as_ref(), wanted) {
                Step::Keep => return number(k),
                Step::Refuse(refusal) => return Err(refused(output, k, &refusal)),
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
    /// have been event time before, and then says nothing about the hive partitions of older rows.
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

fn refused(output: &TableName, k: u64, refusal: &Refusal) -> Error {
    let problem = format!("{}; {output} has files of schema {k}", refusal.why);
    Error::new(ErrorKind::Input, problem).remedy(refusal.remedy())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{memory, output};
    use super::*;
    use crate::model::commit::FORMAT;
    use crate::model::hive::{Grain, PartitionBy};
    use crate::model::schema::SchemaColumn;

    /// `a:int64 b:string`.
    fn schema(columns: &str) -> Schema {
        let column = |text: &str| {
            let (name, kind) = text.split_once(':').unwrap();
            SchemaColumn { name: name.into(), kind: kind.into() }
        };
        let columns = columns.split_whitespace().map(column).collect();
        let partition_by = Some(PartitionBy::utc(Grain::Day));
        Schema { format: FORMAT, partition_by, columns, event_time: Some("a".into()) }
    }

    #[track_caller]
    fn check(wanted: &Schema, expected: &str) {
        let told = match next(Some(&schema("a:int64 b:string")), wanted) {
            Step::Keep => "keep".into(),
            Step::Append => "append".into(),
            Step::Refuse(refusal) => refusal.why,
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn columns_are_only_added_at_the_end() {
        check(&schema("a:int64 b:string"), "keep");
        check(&schema("a:int64 b:string c:bool"), "append");
        check(&schema("a:int64"), "column `b`, at place 2, is gone");
        check(&schema("b:string a:int64"), "column `a` has moved from place 1 to 2");
        check(&schema("a:string b:string"), "column `a` was int64 and is string now");
        check(&schema("a:int64 c:bool b:string"), "column `b` has moved from place 2 to 3");
    }

    #[test]
    fn a_table_stays_cut_as_it_is() {
        let cut = |grain, timezone: &str| Schema {
            partition_by: Some(PartitionBy { grain, timezone: timezone.parse().unwrap() }),
            ..schema("a:int64 b:string c:bool")
        };
        check(&cut(Grain::Hour, "UTC"), "the table was partitioned by day and is by hour now");
        check(
            &cut(Grain::Day, "Europe/Madrid"),
            "the table was partitioned by day and is by day in Europe/Madrid now",
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
            "column `b`, at place 2, is gone; raw.recentchange has files of schema 1"
        );
        assert!(error.remedy.is_some());
    }
}
