//! What is wrong for longer than a moment, until it is over.

use super::db::{Row, query, to_json};
use super::{Store, Tx};
use crate::error::{Error, ErrorKind};
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use crate::model::problem::{About, Problem};
use crate::model::time::Micros;

/// The scope of problems with the project's files.
const FILES: &str = "files";
const CLOSING: &str = "closing";
const TABLE: &str = "table";
const VERSION: &str = "version";

impl Store {
    /// All that is wrong now, by subject.
    pub async fn problems(&self) -> Result<Vec<Problem>, Error> {
        let rows = query("SELECT * FROM problems ORDER BY scope, subject, position")
            .fetch_all(&self.db)
            .await?;
        rows.iter().map(problem).collect()
    }

    /// What is wrong with one subject, which is none of the project's files.
    pub async fn problem_about(&self, about: &About) -> Result<Option<Problem>, Error> {
        let (scope, named) = stored(about);
        let row = query("SELECT * FROM problems WHERE scope = $1 AND subject = $2")
            .bind(scope)
            .bind(named)
            .fetch_optional(&self.db)
            .await?;
        row.as_ref().map(problem).transpose()
    }

    /// Replaces the problems of the project's files by these, whose subjects are `Files`. One that was
    /// known keeps the time since when it is. Without any, an edit has been accepted.
    pub async fn refuse_files(&self, found: &[Problem]) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let known = query("SELECT * FROM problems WHERE scope = $1")
            .bind(FILES)
            .fetch_all(tx.conn())
            .await?;
        let known = known.iter().map(problem).collect::<Result<Vec<_>, _>>()?;
        tx.settle_files().await?;
        for (position, new) in (0..).zip(found) {
            let same =
                |old: &&Problem| file_of(&old.about) == file_of(&new.about) && old.text == new.text;
            let since = known.iter().find(same).map_or(new.since, |old| old.since);
            tx.put_problem(&Problem { since, ..new.clone() }, position).await?;
        }
        tx.commit().await
    }

    /// Every hive partition of the table can close again, but for these.
    pub async fn settle_closings_but(
        &self,
        table: &TableName,
        keys: impl Iterator<Item = PartitionKey>,
    ) -> Result<(), Error> {
        let kept: Vec<_> = keys.map(|key| format!("{table}/{key}")).collect();
        let mut tx = self.begin().await?;
        query(
            "DELETE FROM problems WHERE scope = $1 AND substr(subject, 1, length($2)) = $2
               AND subject NOT IN {list $3}",
        )
        .bind(CLOSING)
        .bind(format!("{table}/"))
        .bind(to_json(&kept))
        .execute(tx.conn())
        .await?;
        tx.commit().await
    }

    /// See [`Tx::note_problem`].
    pub async fn note_problem(&self, problem: &Problem) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        tx.note_problem(problem).await?;
        tx.commit().await
    }

    /// See [`Tx::settle_problem`].
    pub async fn settle_problem(&self, about: &About) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let settled = tx.settle_problem(about).await?;
        tx.commit().await?;
        Ok(settled)
    }
}

impl Tx {
    /// Writes down what is wrong with a subject, of which there is one problem at a time. Text and remedy
    /// become what is found now; since when it is wrong stays.
    pub async fn note_problem(&mut self, problem: &Problem) -> Result<(), Error> {
        self.put_problem(problem, 0).await
    }

    /// The subject is as it should be; says whether it was not.
    pub async fn settle_problem(&mut self, about: &About) -> Result<bool, Error> {
        let (scope, named) = stored(about);
        let done = query("DELETE FROM problems WHERE scope = $1 AND subject = $2")
            .bind(scope)
            .bind(named)
            .execute(self.conn())
            .await?;
        Ok(done > 0)
    }

    /// The project's files are accepted as they are now.
    pub(super) async fn settle_files(&mut self) -> Result<(), Error> {
        query("DELETE FROM problems WHERE scope = $1").bind(FILES).execute(self.conn()).await?;
        Ok(())
    }

    async fn put_problem(&mut self, problem: &Problem, position: i64) -> Result<(), Error> {
        let (scope, named) = stored(&problem.about);
        let (line, column) = match &problem.about {
            About::Files { line, column, .. } => (*line, *column),
            About::Closing { .. } | About::Table { .. } | About::Version { .. } => (None, None),
        };
        query(
            "INSERT INTO problems
               (scope, subject, position, place_line, place_column, text, remedy, since_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (scope, subject, position)
               DO UPDATE SET text = excluded.text, remedy = excluded.remedy",
        )
        .bind(scope)
        .bind(named)
        .bind(position)
        .bind(line)
        .bind(column)
        .bind(&problem.text)
        .bind(problem.remedy.as_ref())
        .bind(problem.since.0)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}

fn file_of(about: &About) -> Option<&str> {
    match about {
        About::Files { file, .. } => file.as_deref(),
        About::Closing { .. } | About::Table { .. } | About::Version { .. } => None,
    }
}

/// Scope and subject as the store names them. A table's name and a DAG's have no `/`.
fn stored(about: &About) -> (&'static str, String) {
    match about {
        About::Files { file, .. } => (FILES, file.clone().unwrap_or_default()),
        About::Closing { table, key } => (CLOSING, format!("{table}/{key}")),
        About::Table { table } => (TABLE, table.to_string()),
        About::Version { dag, hash } => (VERSION, format!("{dag}/{hash}")),
    }
}

fn problem(row: &Row) -> Result<Problem, Error> {
    let (scope, named) = (row.text("scope")?, row.text("subject")?);
    let strange = || {
        let text = format!("the state store has a problem of `{scope}` with `{named}`");
        Error::new(ErrorKind::Data, text).remedy("run the tidemill that wrote it, or report this")
    };
    let about = match (scope.as_str(), named.split_once('/')) {
        (FILES, _) => About::Files {
            file: Some(named.clone()).filter(|file| !file.is_empty()),
            line: row.number_opt("place_line")?,
            column: row.number_opt("place_column")?,
        },
        (CLOSING, Some((table, key))) => About::Closing {
            table: table.parse().map_err(|_| strange())?,
            key: key.parse().map_err(|_| strange())?,
        },
        (TABLE, None) => About::Table { table: named.parse().map_err(|_| strange())? },
        (VERSION, Some((dag, hash))) => {
            About::Version { dag: dag.parse().map_err(|_| strange())?, hash: hash.to_owned() }
        }
        _ => return Err(strange()),
    };
    Ok(Problem {
        about,
        text: row.text("text")?,
        remedy: row.text_opt("remedy")?,
        since: Micros(row.int("since_us")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::with_feed;

    fn in_file(file: &str, line: u32, text: &str, since: i64) -> Problem {
        let about = About::Files { file: Some(file.into()), line: Some(line), column: Some(1) };
        Problem { about, text: text.into(), remedy: None, since: Micros(since) }
    }

    fn closing(text: &str, since: i64) -> Problem {
        let about = About::Closing {
            table: "raw.changes".parse().unwrap(),
            key: "2026-11-20T05".parse().unwrap(),
        };
        Problem { about, text: text.into(), remedy: Some("look".into()), since: Micros(since) }
    }

    #[tokio::test]
    async fn a_problem_that_is_found_again_keeps_since_when_it_is_and_tells_what_is_found_now() {
        let (_folder, store) = with_feed().await;
        store.note_problem(&closing("the disk is full", 1)).await.unwrap();
        store.note_problem(&closing("a stray object", 2)).await.unwrap();
        assert_eq!(store.problems().await.unwrap(), [closing("a stray object", 1)]);
    }

    #[tokio::test]
    async fn a_problem_is_gone_when_its_subject_is_settled() {
        let (_folder, store) = with_feed().await;
        let (problem, version) =
            (closing("x", 1), About::Version { dag: "wiki".parse().unwrap(), hash: "7c1f".into() });
        store.note_problem(&problem).await.unwrap();
        let other = Problem { about: version, ..problem.clone() };
        store.note_problem(&other).await.unwrap();
        assert!(store.settle_problem(&problem.about).await.unwrap());
        assert!(!store.settle_problem(&problem.about).await.unwrap());
        assert_eq!(store.problems().await.unwrap(), [other]);
    }

    #[tokio::test]
    async fn closings_that_can_be_made_again_are_problems_no_more_and_others_stay() {
        let (_folder, store) = with_feed().await;
        let of = |table: &str, key: &str| {
            let about = About::Closing { table: table.parse().unwrap(), key: key.parse().unwrap() };
            Problem { about, ..closing("x", 1) }
        };
        let all = [
            of("raw.changes", "2026-11-20T05"),
            of("raw.changes", "2026-11-20T06"),
            of("raw.changes_too", "2026-11-20T05"),
        ];
        for problem in &all {
            store.note_problem(problem).await.unwrap();
        }
        let kept = ["2026-11-20T06".parse().unwrap()].into_iter();
        store.settle_closings_but(&"raw.changes".parse().unwrap(), kept).await.unwrap();
        assert_eq!(store.problems().await.unwrap(), all[1..]);
    }

    #[tokio::test]
    async fn problems_of_files_are_those_of_the_last_check_each_since_it_was_first_there() {
        let (_folder, store) = with_feed().await;
        store.note_problem(&closing("x", 1)).await.unwrap();
        let first =
            [in_file("dags/a.toml", 3, "no job", 1), in_file("dags/a.toml", 9, "no key", 1)];
        store.refuse_files(&first).await.unwrap();
        let second = [in_file("dags/a.toml", 4, "no job", 2), in_file("dags/b.toml", 1, "cut", 2)];
        store.refuse_files(&second).await.unwrap();
        let expected = [
            closing("x", 1),
            in_file("dags/a.toml", 4, "no job", 1),
            in_file("dags/b.toml", 1, "cut", 2),
        ];
        assert_eq!(store.problems().await.unwrap(), expected);
    }
}
