//! Completes decoded rows with their computed columns and lets the expectations judge them.
//!
//! Whatever a row does wrong costs that row alone: where an expression fails over a chunk, halves
//! of it are tried, down to the row at fault.

use super::chunk::{Chunk, Rejected, credible};
use super::decode::{Reject, decoded};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::column::{OFFSET_COLUMN, Origin, PARTITION_COLUMN};
use crate::model::moment;
use crate::model::moment::OUTSIDE_YEARS;
use crate::model::time::Micros;
use crate::model::topic::{EventTimeRule, Otherwise, Topic};
use crate::sql::expr::Compiled;
use crate::sql::{expr, types};
use arrow::array::cast::AsArray;
use arrow::array::{
    Array, ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, TimestampMicrosecondType};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rules of a topic, compiled.
#[derive(Debug)]
pub struct Judge {
    sources: Vec<Source>,
    decoded: SchemaRef,
    /// The user's columns, over which expectations speak.
    columns: SchemaRef,
    table: SchemaRef,
    rules: Vec<Rule>,
    event_time: usize,
    event_time_rule: EventTimeRule,
    event_time_is_computed: bool,
}

/// Where a column of the table comes from.
#[derive(Debug)]
enum Source {
    Decoded(usize),
    Computed { name: String, expr: Compiled, kind: DataType, required: bool },
}

#[derive(Debug)]
struct Rule {
    name: String,
    that: Compiled,
    otherwise: Otherwise,
}

/// The rows of a chunk that land, and what became of the others.
#[derive(Debug)]
pub struct Judged {
    /// All columns of the table, of all rows.
    pub rows: RecordBatch,
    /// Which of them land; `None`: all.
    pub lands: Option<Vec<bool>>,
    pub rejected: Vec<Rejected>,
    /// Rows dropped, by rule.
    pub dropped: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Fate {
    Lands,
    Dropped,
    Rejected(Reject),
}

impl Judge {
    pub fn new(topic: &Topic) -> Result<Self, Error> {
        let inputs = Arc::new(types::schema(decoded(&topic.columns)));
        let columns = Arc::new(types::schema(&topic.columns));
        let mut place = 0;
        let mut sources = Vec::new();
        for column in &topic.columns {
            sources.push(match &column.origin {
                Origin::Path(_) | Origin::Rest | Origin::Message(_) => {
                    place += 1;
                    Source::Decoded(place - 1)
                }
                Origin::Sql(sql) => {
                    let kind = types::arrow_type(column.kind);
                    let expr = expr::compile(sql, &inputs, &kind)
                        .doing(|| format!("compile column `{}`", column.name))?;
                    let (name, required) = (column.name.clone(), column.required);
                    Source::Computed { name, expr, kind, required }
                }
            });
        }
        let rule = |expect: &crate::model::topic::Expect| {
            let that = expr::compile_rule(&expect.that, &columns)
                .doing(|| format!("compile expectation `{}`", expect.name))?;
            Ok(Rule { name: expect.name.clone(), that, otherwise: expect.otherwise })
        };
        let rules = topic.expects.iter().map(rule).collect::<Result<_, Error>>()?;
        let event_time = columns.index_of(&topic.event_time.column).map_err(|_| {
            let column = &topic.event_time.column;
            Error::new(ErrorKind::Input, format!("topic {} has no column `{column}`", topic.name))
                .remedy("name one of its timestamp columns in [event_time]")
        })?;
        Ok(Self {
            event_time_is_computed: matches!(sources[event_time], Source::Computed { .. }),
            sources,
            decoded: inputs,
            table: Arc::new(table_schema(&columns)),
            columns,
            rules,
            event_time,
            event_time_rule: topic.event_time.clone(),
        })
    }

    /// What the files hold.
    pub fn table(&self) -> &SchemaRef {
        &self.table
    }

    /// The event times of rows of the table.
    pub fn event_times<'a>(&self, rows: &'a RecordBatch) -> &'a TimestampMicrosecondArray {
        rows.column(self.event_time).as_primitive::<TimestampMicrosecondType>()
    }

    /// Judges the rows of `chunk`. An error is an expectation that says stop, or a bug.
    pub fn judge(&self, chunk: &mut Chunk, now: Micros) -> Result<Judged, Error> {
        let rows = chunk.offsets.len();
        let mut fates = vec![Fate::Lands; rows];
        let mut columns = self.complete(chunk, &mut fates)?;
        let user = record_batch(&self.columns, columns.clone(), rows)?;
        if self.event_time_is_computed {
            let times = columns[self.event_time].as_primitive::<TimestampMicrosecondType>();
            for (row, fate) in fates.iter_mut().enumerate() {
                let at = times.is_valid(row).then(|| Micros(times.value(row)));
                let told = credible(&self.event_time_rule, at, chunk.arrived[row], now);
                if let (Fate::Lands, Err(reject)) = (&fate, told) {
                    *fate = Fate::Rejected(reject);
                }
            }
        }
        let dropped = self.expect(&user, chunk, &mut fates)?;
        let topic_partition = chunk.topic_partition.cast_signed();
        columns.push(Arc::new(Int32Array::from_value(topic_partition, rows)));
        columns.push(Arc::new(Int64Array::from(std::mem::take(&mut chunk.offsets))));
        let rows = record_batch(&self.table, columns, rows)?;
        let mut rejected = std::mem::take(&mut chunk.rejected);
        let lands = fates.iter().any(|fate| *fate != Fate::Lands);
        let lands = lands.then(|| fates.iter().map(|fate| *fate == Fate::Lands).collect());
        let offsets = rows.column(rows.num_columns() - 1);
        let offsets = offsets.as_primitive::<arrow::datatypes::Int64Type>();
        for (row, fate) in fates.into_iter().enumerate() {
            let Fate::Rejected(reject) = fate else { continue };
            let payload = chunk.payloads.as_ref().map(|payloads| payloads.value(row).to_vec());
            rejected.push(Rejected {
                offset: offsets.value(row),
                arrived: chunk.arrived[row],
                reject,
                payload: payload.unwrap_or_default(),
            });
        }
        rejected.sort_by_key(|one| one.offset);
        Ok(Judged { rows, lands, rejected, dropped })
    }

    /// The user's columns, the computed ones among them.
    fn complete(&self, chunk: &mut Chunk, fates: &mut [Fate]) -> Result<Vec<ArrayRef>, Error> {
        let arrays = std::mem::take(&mut chunk.columns);
        let inputs = record_batch(&self.decoded, arrays, fates.len())?;
        let mut columns = Vec::with_capacity(self.table.fields().len());
        for source in &self.sources {
            columns.push(match source {
                Source::Decoded(place) => Arc::clone(inputs.column(*place)),
                Source::Computed { name, expr, kind, required } => {
                    let values = evaluate(expr, &inputs, kind, 0, &mut |row, err| {
                        fates[row] = Fate::Rejected(Reject::new(format!("{name}: {err}"), ""));
                    })?;
                    for row in outside_years(&values) {
                        let reason = format!("{name}: {OUTSIDE_YEARS}");
                        fates[row] = Fate::Rejected(Reject::new(reason, ""));
                    }
                    for (row, fate) in fates.iter_mut().enumerate() {
                        if *required && values.is_null(row) && *fate == Fate::Lands {
                            let reason = format!("{name}: required, and it is null");
                            *fate = Fate::Rejected(Reject::new(reason, ""));
                        }
                    }
                    values
                }
            });
        }
        Ok(columns)
    }

    /// Lets each rule speak in turn; the first that is false decides, and null passes.
    fn expect(
        &self,
        user: &RecordBatch,
        chunk: &Chunk,
        fates: &mut [Fate],
    ) -> Result<BTreeMap<String, u64>, Error> {
        let mut dropped = BTreeMap::new();
        for rule in &self.rules {
            let mut failed = Vec::new();
            let told = evaluate(&rule.that, user, &DataType::Boolean, 0, &mut |row, err| {
                failed.push((row, err.to_string()));
            })?;
            let told = told.as_boolean();
            for (row, err) in failed {
                if fates[row] == Fate::Lands {
                    let reason = format!("expectation `{}`: {err}", rule.name);
                    fates[row] = Fate::Rejected(Reject::new(reason, ""));
                }
            }
            if told.true_count() + told.null_count() == told.len() {
                continue;
            }
            for (row, fate) in fates.iter_mut().enumerate() {
                if *fate != Fate::Lands || told.is_null(row) || told.value(row) {
                    continue;
                }
                *fate = match rule.otherwise {
                    Otherwise::Drop => {
                        *dropped.entry(rule.name.clone()).or_insert(0) += 1;
                        Fate::Dropped
                    }
                    Otherwise::Quarantine => Fate::Rejected(Reject::new(&rule.name, "")),
                    Otherwise::Stop => return Err(stop(rule, chunk, row)),
                };
            }
        }
        Ok(dropped)
    }
}

/// The rows whose computed moment or date other readers of the lake don't know.
fn outside_years(values: &ArrayRef) -> Vec<usize> {
    let rows = 0..values.len();
    let rows = rows.filter(|row| values.is_valid(*row));
    if let Some(times) = values.as_primitive_opt::<TimestampMicrosecondType>() {
        return rows.filter(|row| !Micros(times.value(*row)).is_in_calendar()).collect();
    }
    match values.as_primitive_opt::<Date32Type>() {
        Some(dates) => rows.filter(|row| !moment::is_in_calendar(dates.value(*row))).collect(),
        None => Vec::new(),
    }
}

/// The user's columns, then where each row came from.
fn table_schema(columns: &Schema) -> Schema {
    let ours = [
        Field::new(PARTITION_COLUMN, DataType::Int32, false),
        Field::new(OFFSET_COLUMN, DataType::Int64, false),
    ];
    Schema::new(columns.fields().iter().cloned().chain(ours.map(Arc::new)).collect::<Vec<_>>())
}

fn record_batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, Error> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|err| Error::new(ErrorKind::Bug, err))
}

/// Evaluates over `rows`; a row that fails is told to `failed` and is null.
fn evaluate(
    expr: &Compiled,
    rows: &RecordBatch,
    kind: &DataType,
    first: usize,
    failed: &mut dyn FnMut(usize, &Error),
) -> Result<ArrayRef, Error> {
    let count = rows.num_rows();
    match expr.evaluate(rows) {
        Ok(values) => Ok(values),
        Err(err) if count <= 1 => {
            failed(first, &err);
            Ok(new_null_array(kind, count))
        }
        Err(_) => {
            let half = count / 2;
            let left = evaluate(expr, &rows.slice(0, half), kind, first, failed)?;
            let right = rows.slice(half, count - half);
            let right = evaluate(expr, &right, kind, first + half, failed)?;
            concat(&[&left, &right]).map_err(|err| Error::new(ErrorKind::Bug, err))
        }
    }
}

fn stop(rule: &Rule, chunk: &Chunk, row: usize) -> Error {
    let (name, offset, at) = (&rule.name, chunk.offsets[row], chunk.topic_partition);
    let problem =
        format!("expectation `{name}` is false at offset {offset} of topic partition {at}");
    Error::new(ErrorKind::Input, problem).remedy(
        "mend what is sent, or change the expectation to drop or quarantine; then start the stream",
    )
}
