//! Golden files: input rows beside a batch job, and the rows that its query returns for them.
//!
//! `jobs/<job>/golden/` is one case, or has a folder for each of several. A case runs as the job does in
//! a DAG: the same engine, the same expectations. It needs no lake, no broker and no daemon.

use super::engine::datafusion::DataFusion;
use super::engine::{Engine, Query, Stage, read_back};
use super::judge::judge;
use super::parameters;
use super::tables::{Declared, in_memory};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::hive::PartitionKey;
use crate::model::job::{BatchJob, JobKind};
use crate::model::name::{Name, TableName};
use crate::model::project::Project;
use crate::model::run::Subject;
use crate::sql::session::Budget;
use crate::sql::table::{Catalog, Table};
use arrow::array::Array;
use arrow::datatypes::SchemaRef;
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::civil::date;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EXPECTED: &str = "expected.csv";
/// The run's id, for queries that ask for it.
const RUN_ID: &str = "golden";

/// One folder of golden files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub job: Name,
    /// The folder's name where a job has several.
    pub name: Option<String>,
    pub folder: PathBuf,
}

/// `run.toml` of a case; it may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunFile {
    /// What the run works on; without it, the first hive partition of 2026.
    partition_key: Option<String>,
}

/// Rows as the lines of a CSV file: text with a comma, a quote or a line end stands in quotes, an
/// empty cell is null, `""` is empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    pub header: String,
    /// In the order of the query's result, which is the same every time.
    pub lines: Vec<String>,
}

/// What expected and returned rows do not share; the order of rows is no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The expected header and the returned one, where they are not the same.
    pub headers: Option<(String, String)>,
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
}

impl Case {
    /// The cases of a job, by name; none where it has no golden files.
    pub fn of(project: &Project, job: &Name) -> Result<Vec<Self>, Error> {
        let golden = project.root.join("jobs").join(job.as_str()).join("golden");
        let case = |name: Option<String>, folder| Self { job: job.clone(), name, folder };
        let entries = match fs::read_dir(&golden) {
            Err(err) if err.kind() == NotFound => return Ok(Vec::new()),
            entries => entries.map_err(input).doing(|| reading(&golden))?,
        };
        let (mut cases, mut has_files) = (Vec::new(), false);
        for entry in entries {
            let entry = entry.map_err(input).doing(|| reading(&golden))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                cases.push(case(Some(name), entry.path()));
            } else {
                has_files |= name == EXPECTED || name.starts_with("input.");
            }
        }
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        if has_files {
            cases.insert(0, case(None, golden));
        }
        Ok(cases)
    }

    /// The file of the expected rows, which exists or is to be written.
    pub fn expected_file(&self) -> PathBuf {
        self.folder.join(EXPECTED)
    }

    /// `None`: there is no such file yet.
    pub fn expected(&self) -> Result<Option<Rows>, Error> {
        let path = self.expected_file();
        match fs::read_to_string(&path) {
            Err(err) if err.kind() == NotFound => Ok(None),
            text => Ok(Some(Rows::parse(&text.map_err(input).doing(|| reading(&path))?))),
        }
    }

    /// Runs the job's query on the case's input.
    ///
    /// Fails with kind `Input` where a file or the query is wrong, and `Data` where an expectation is
    /// not met.
    pub async fn run(&self, project: &Project, budget: &Budget) -> Result<Rows, Error> {
        let Some(JobKind::Batch(batch)) = project.jobs.get(&self.job).map(|job| &job.kind) else {
            let problem = format!("`{}` is no batch job: only a query has golden files", self.job);
            return Err(Error::new(ErrorKind::Input, problem));
        };
        let range = self.range(batch)?;
        let declared = Declared::from(project);
        self.refuse_other_inputs(batch)?;
        let mut tables = Vec::new();
        for read in &batch.reads {
            tables.push(self.table(read, declared.schema(read)?).await?);
        }
        let query = Query {
            sql: &batch.sql,
            tables: &tables,
            parameters: &parameters(RUN_ID, &range),
            range: &range,
            run: RUN_ID,
        };
        let stage = Stage::clear(&budget.spill.join("result"))?;
        let made = DataFusion { budget }.run(&query, &stage).await?;
        judge(&batch.expects, &made.file).await?;
        Rows::of_result(&made.file.path)
    }

    fn range(&self, batch: &BatchJob) -> Result<Subject, Error> {
        let path = self.folder.join("run.toml");
        let run: RunFile = match fs::read_to_string(&path) {
            Err(err) if err.kind() == NotFound => RunFile::default(),
            text => {
                let text = text.map_err(input).doing(|| reading(&path))?;
                toml::from_str(&text).map_err(input).doing(|| reading(&path))?
            }
        };
        let cut = &batch.partition_by;
        let key = match run.partition_key {
            None => PartitionKey { grain: cut.grain, start: date(2026, 1, 1).at(0, 0, 0, 0) },
            Some(text) => text.parse().map_err(input).doing(|| reading(&path))?,
        };
        if key.grain != cut.grain {
            let problem = format!("`{key}` is no {}, and the job runs by {}", cut.grain, cut.grain);
            return Err(Error::new(ErrorKind::Input, problem)).doing(|| reading(&path));
        }
        let (start, end) = cut.range(&key);
        let table = batch.reads.first().ok_or_else(|| {
            Error::new(ErrorKind::Input, format!("job `{}` reads no table", self.job))
        })?;
        let (table, grain) = (table.clone(), key.grain);
        Ok(Subject { table, grain, key, n: 1, start, end, partial: false })
    }

    /// A file for a table that the job does not read is a slip in its name.
    fn refuse_other_inputs(&self, batch: &BatchJob) -> Result<(), Error> {
        let entries = fs::read_dir(&self.folder).map_err(input);
        for entry in entries.doing(|| reading(&self.folder))? {
            let entry = entry.map_err(input).doing(|| reading(&self.folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(table) = name.strip_prefix("input.") else { continue };
            let table = table.strip_suffix(".jsonl").unwrap_or(table);
            if !batch.reads.iter().any(|read| read.as_str() == table) {
                let reads: Vec<&str> = batch.reads.iter().map(TableName::as_str).collect();
                let path = entry.path();
                let problem =
                    format!("{} is for a table that the job does not read", path.display());
                let named = reads.iter().map(|read| format!("input.{read}.jsonl"));
                let named = named.collect::<Vec<_>>().join(", ");
                return Err(Error::new(ErrorKind::Input, problem)
                    .remedy(format!("the input files of `{}` are {named}", self.job)));
            }
        }
        Ok(())
    }

    /// A table of the rows in `input.<table>.jsonl`.
    async fn table(&self, name: &TableName, schema: SchemaRef) -> Result<Table, Error> {
        let path = self.folder.join(format!("input.{name}.jsonl"));
        let text = fs::read_to_string(&path).map_err(|err| {
            let missing = err.kind() == NotFound;
            let err = input(err);
            if !missing {
                return err;
            }
            err.remedy(format!(
                "write the rows of {name} into it, one JSON object a line; an empty file is a table without rows"
            ))
        });
        let rows = rows_of(&text.doing(|| reading(&path))?, &schema).doing(|| reading(&path))?;
        in_memory(Catalog::Lake, name, schema, &rows).await
    }
}

/// A batch for each line, so that an error names its line.
fn rows_of(text: &str, schema: &SchemaRef) -> Result<Vec<RecordBatch>, Error> {
    let builder = ReaderBuilder::new(Arc::clone(schema)).with_strict_mode(true);
    let mut decoder = builder.build_decoder().map_err(|err| Error::new(ErrorKind::Bug, err))?;
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row = row_of(&mut decoder, line).doing(|| format!("line {}", at + 1))?;
        rows.push(row);
    }
    Ok(rows)
}

fn row_of(decoder: &mut Decoder, line: &str) -> Result<RecordBatch, Error> {
    let one = || Error::new(ErrorKind::Input, "a line is one JSON object, whole");
    decoder.decode(line.as_bytes()).map_err(input)?;
    let row = decoder.flush().map_err(input)?.ok_or_else(one)?;
    if row.num_rows() == 1 { Ok(row) } else { Err(one()) }
}

impl Rows {
    /// The rows of a result, without the start column that Tidemill has added.
    fn of_result(path: &Path) -> Result<Self, Error> {
        let (schema, batches) = read_back(path)?;
        let names = schema.fields().iter().skip(1).map(|field| quoted(field.name()));
        let mut rows = Self { header: names.collect::<Vec<_>>().join(","), lines: Vec::new() };
        for batch in batches {
            rows.add(&batch?)?;
        }
        Ok(rows)
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let options = FormatOptions::default();
        let columns = batch.columns().iter().skip(1);
        let cells = columns.map(|column| ArrayFormatter::try_new(column, &options));
        let cells = cells.collect::<Result<Vec<_>, _>>();
        let cells = cells.map_err(|err| Error::new(ErrorKind::Bug, err))?;
        for row in 0..batch.num_rows() {
            let texts = batch.columns().iter().skip(1).zip(&cells).map(|(column, cells)| {
                if column.is_null(row) {
                    String::new()
                } else {
                    quoted(&cells.value(row).to_string())
                }
            });
            self.lines.push(texts.collect::<Vec<_>>().join(","));
        }
        Ok(())
    }

    fn parse(text: &str) -> Self {
        let mut lines = records(text).into_iter();
        Self { header: lines.next().unwrap_or_default(), lines: lines.collect() }
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let mut text = self.header.clone() + "\n";
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// How `returned` differs from these rows; `None`: in nothing.
    pub fn differ(&self, returned: &Self) -> Option<Difference> {
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        self.lines.iter().for_each(|line| *counts.entry(line).or_default() += 1);
        returned.lines.iter().for_each(|line| *counts.entry(line).or_default() -= 1);
        let repeat = |more_than: fn(i64) -> i64| {
            let lines = counts.iter().flat_map(|(line, count)| {
                let times = usize::try_from(more_than(*count)).unwrap_or(0);
                std::iter::repeat_n((*line).to_owned(), times)
            });
            lines.collect::<Vec<_>>()
        };
        let (missing, unexpected) = (repeat(|count| count), repeat(|count| -count));
        let headers = (self.header != returned.header)
            .then(|| (self.header.clone(), returned.header.clone()));
        let same = headers.is_none() && missing.is_empty() && unexpected.is_empty();
        (!same).then_some(Difference { headers, missing, unexpected })
    }
}

/// The lines of a CSV file; a line end in quotes does not end one.
fn records(text: &str) -> Vec<String> {
    let (mut records, mut record, mut in_quotes) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        in_quotes ^= c == '"';
        if c == '\n' && !in_quotes {
            if record.ends_with('\r') {
                record.pop();
            }
            records.push(std::mem::take(&mut record));
        } else {
            record.push(c);
        }
    }
    if !record.is_empty() {
        records.push(record);
    }
    records
}

/// A cell by RFC 4180; empty text is quoted, for an empty cell is null.
fn quoted(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn input(err: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Input, err)
}

fn reading(path: &Path) -> String {
    format!("read {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Rows {
        Rows::parse(text)
    }

    #[test]
    fn the_order_of_rows_is_no_difference() {
        assert_eq!(rows("a,b\n1,2\n3,4\n").differ(&rows("a,b\r\n3,4\r\n1,2\r\n")), None);
    }

    #[test]
    fn each_repeat_of_a_row_counts() {
        let found = rows("a\n1\n1\n2\n").differ(&rows("a\n1\n2\n3\n")).unwrap();
        assert_eq!((found.missing, found.unexpected), (vec!["1".into()], vec!["3".into()]));
    }

    #[test]
    fn other_columns_are_a_difference() {
        let found = rows("a,b\n").differ(&rows("a,c\n")).unwrap();
        assert_eq!(found.headers, Some(("a,b".into(), "a,c".into())));
    }

    #[test]
    fn a_line_end_in_quotes_ends_no_row() {
        assert_eq!(rows("a\n\"x\ny\"\nz").lines, ["\"x\ny\"", "z"]);
    }

    #[test]
    fn text_is_quoted_where_it_would_be_taken_for_something_else() {
        assert_eq!(
            ["", "a,b", "say \"x\"", "plain"].map(quoted),
            ["\"\"", "\"a,b\"", "\"say \"\"x\"\"\"", "plain"]
        );
    }
}
