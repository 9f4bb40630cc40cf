//! Rows on a screen, or as JSON.

use super::value::{row_as_json, told};
use crate::error::{Error, ErrorKind};
use crate::warehouse::type_name;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json as object};
use std::fmt::Write;

/// Wider cells are cut.
const CELL_WIDTH_MAX: usize = 60;

/// The first rows of a result, and how many there are.
#[derive(Clone, Debug)]
pub struct Shown {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    kept: usize,
    rows_max: usize,
    count: u64,
    cell_width_max: usize,
}

impl Shown {
    pub fn new(schema: SchemaRef, rows_max: usize) -> Self {
        let cell_width_max = CELL_WIDTH_MAX;
        Self { schema, batches: Vec::new(), kept: 0, rows_max, count: 0, cell_width_max }
    }

    /// For cells that are of use only whole.
    #[must_use]
    pub(super) fn uncut(self) -> Self {
        Self { cell_width_max: usize::MAX - 1, ..self }
    }

    pub fn add(&mut self, batch: &RecordBatch) {
        self.count += batch.num_rows() as u64;
        let kept = batch.num_rows().min(self.rows_max - self.kept);
        if kept > 0 {
            self.batches.push(batch.slice(0, kept));
            self.kept += kept;
        }
    }

    /// All rows, those that are not kept too.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The rows that are kept, in batches.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }
}

/// Columns side by side, numbers to the right; the last line says how many rows there are.
pub fn table(shown: &Shown) -> Result<String, Error> {
    table_in(&TimeZone::UTC, shown)
}

/// The same with moments as clocks in this zone show them.
pub fn table_in(zone: &TimeZone, shown: &Shown) -> Result<String, Error> {
    let (fields, width_max) = (shown.schema.fields(), shown.cell_width_max);
    let mut columns: Vec<Vec<String>> =
        fields.iter().map(|field| vec![cell(field.name(), width_max)]).collect();
    let options = FormatOptions::default().with_null("-").with_types_info(false);
    for batch in &shown.batches {
        for (column, cells) in batch.columns().iter().zip(&mut columns) {
            let format = ArrayFormatter::try_new(column, &options);
            let format = format.map_err(|err| Error::new(ErrorKind::Bug, err))?;
            for row in 0..batch.num_rows() {
                if let Some(moment) = moment(column, row, zone) {
                    cells.push(moment);
                    continue;
                }
                cells.push(cell(&told(&format, row), width_max));
            }
        }
    }
    let width = |cells: &Vec<String>| cells.iter().map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = columns.iter().map(|cells| width(cells).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in 0..=shown.kept {
        let mut line = String::new();
        for ((cells, width), field) in columns.iter().zip(&widths).zip(fields) {
            let cell = &cells[row];
            let _ = if is_number(field.data_type()) {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str(&footer(shown));
    Ok(text)
}

/// `{"columns": [{"name", "type"}], "rows": [{…}], "row_count": 3, "rows_left_out": 0}`.
pub fn json(shown: &Shown) -> Result<Value, Error> {
    let mut rows = Vec::with_capacity(shown.kept);
    for batch in &shown.batches {
        for row in 0..batch.num_rows() {
            rows.push(row_as_json(batch, row)?);
        }
    }
    let kind = |kind: &DataType| type_name(kind).unwrap_or_else(|| kind.to_string());
    let columns = shown.schema.fields().iter();
    let columns: Vec<Value> = columns
        .map(|field| object!({ "name": field.name(), "type": kind(field.data_type()) }))
        .collect();
    let left_out = shown.count - shown.kept as u64;
    Ok(object!({
        "columns": columns,
        "rows": rows,
        "row_count": shown.count,
        "rows_left_out": left_out,
    }))
}

/// `2026-11-20T06:14:03+01:00`; `None` for what is no moment, and in UTC, where nothing changes.
fn moment(column: &dyn Array, row: usize, zone: &TimeZone) -> Option<String> {
    let DataType::Timestamp(TimeUnit::Microsecond, Some(_)) = column.data_type() else {
        return None;
    };
    if *zone == TimeZone::UTC || column.is_null(row) {
        return None;
    }
    let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
    let at = Timestamp::from_microsecond(micros).ok()?.to_zoned(zone.clone());
    Some(at.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string())
}

fn footer(shown: &Shown) -> String {
    match shown.count - shown.kept as u64 {
        0 => rows(shown.count),
        left_out => format!("{}, {left_out} of them left out", rows(shown.count)),
    }
}

/// `1 row`, `12 rows`.
pub fn rows(count: u64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

/// Text from data as it may stand on a screen: control characters never reach a terminal.
pub fn one_line(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if c.is_control() { ' ' } else { c })
}

/// One line, cut where it is too wide.
fn cell(text: &str, width_max: usize) -> String {
    let mut line: String = one_line(text).take(width_max + 1).collect();
    if line.chars().count() > width_max {
        line = line.chars().take(width_max - 1).collect();
        line.push('…');
    }
    line
}

fn is_number(kind: &DataType) -> bool {
    kind.is_numeric()
}
