//! Values as JSON that reads back equal.
//!
//! Most readers of JSON hold a number in 64 bits of floating point, so a decimal is text here. So is
//! what JSON has no number for: NaN and the infinities.

use crate::error::{Error, ErrorKind};
use arrow::array::cast::downcast_array;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Number, Value};

/// `{"wiki": "dewiki", "sum": "12.50"}`; what is null is there as null.
pub(super) fn row_as_json(batch: &RecordBatch, row: usize) -> Result<Value, Error> {
    let names = batch.schema_ref().fields().iter().map(|field| field.name().as_str());
    object(batch.columns().iter().zip(names), row)
}

fn object<'a>(
    cells: impl Iterator<Item = (&'a ArrayRef, &'a str)>,
    row: usize,
) -> Result<Value, Error> {
    let cells = cells.map(|(column, name)| Ok((name.to_owned(), value(column, row)?)));
    Ok(Value::Object(cells.collect::<Result<Map<_, _>, Error>>()?))
}

fn value(column: &dyn Array, row: usize) -> Result<Value, Error> {
    use DataType as T;
    if column.is_null(row) || *column.data_type() == T::Null {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        T::Boolean => column.as_boolean().value(row).into(),
        T::Int8 | T::Int16 | T::Int32 | T::Int64 => {
            let whole = cast(&column.slice(row, 1), &T::Int64).map_err(bug)?;
            downcast_array::<Int64Array>(&whole).value(0).into()
        }
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => {
            let whole = cast(&column.slice(row, 1), &T::UInt64).map_err(bug)?;
            downcast_array::<UInt64Array>(&whole).value(0).into()
        }
        T::Float32 => float(f64::from(column.as_primitive::<Float32Type>().value(row))),
        T::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        T::List(_) => list(&*column.as_list::<i32>().value(row))?,
        T::LargeList(_) => list(&*column.as_list::<i64>().value(row))?,
        T::FixedSizeList(..) => list(&*column.as_fixed_size_list().value(row))?,
        T::Struct(_) => {
            let fields = column.as_struct();
            let cells = fields.columns().iter().zip(fields.column_names());
            object(cells, row)?
        }
        _ => {
            let options = FormatOptions::default();
            let format = ArrayFormatter::try_new(column, &options).map_err(bug)?;
            told(&format, row).into()
        }
    })
}

/// A value as text. What has none, such as a moment in the year 292277, is told as such: the other rows
/// are an answer all the same.
pub(super) fn told(format: &ArrayFormatter<'_>, row: usize) -> String {
    format.value(row).try_to_string().unwrap_or_else(|err| format!("({err})"))
}

fn list(values: &dyn Array) -> Result<Value, Error> {
    Ok(Value::Array((0..values.len()).map(|row| value(values, row)).collect::<Result<_, _>>()?))
}

fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

fn bug(err: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Bug, err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::TimestampMicrosecondArray;
    use arrow::array::{Decimal128Array, Float64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    fn shown(column: impl Array + 'static) -> String {
        let column: ArrayRef = Arc::new(column);
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let rows = (0..batch.num_rows()).map(|row| row_as_json(&batch, row).unwrap()["x"].clone());
        Value::Array(rows.collect()).to_string()
    }

    #[test]
    fn a_decimal_keeps_all_its_digits() {
        let values = Decimal128Array::from(vec![999_999_999_999_999_999, -5]);
        let values = values.with_precision_and_scale(18, 2).unwrap();
        assert_eq!(shown(values), r#"["9999999999999999.99","-0.05"]"#);
    }

    #[test]
    fn a_float_reads_back_equal_and_what_is_no_number_is_text() {
        let values =
            [1.199_999_999_999_999_7, 1e300, -0.1, f64::NAN, f64::INFINITY, -f64::INFINITY];
        let text = shown(Float64Array::from(values.to_vec()));
        assert_eq!(text, r#"[1.1999999999999997,1e+300,-0.1,"NaN","Infinity","-Infinity"]"#);
    }

    #[test]
    fn a_moment_that_no_calendar_has_does_not_hide_the_others() {
        let text = shown(TimestampMicrosecondArray::from(vec![0, i64::MAX]));
        assert!(text.starts_with(r#"["1970-01-01T00:00:00","(Cast error: "#), "{text}");
    }

    #[test]
    fn whole_numbers_lists_and_nulls_are_as_they_are() {
        let values = Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]);
        assert_eq!(shown(values), "[-9223372036854775808,9223372036854775807,null]");
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])]);
        assert_eq!(shown(lists), "[[1,null]]");
        assert_eq!(shown(StringArray::from(vec!["\u{1b}[31m"])), r#"["\u001b[31m"]"#);
    }
}
