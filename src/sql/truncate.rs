//! `date_trunc` in microseconds, without a look at the calendar where none is needed.
//!
//! `DataFusion` cuts by way of nanoseconds, which end in 2262, and where there is a timezone by way of
//! a formatted text for each row. In UTC a second, minute, hour, day and week are as long as any other,
//! so the same is a division.

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};
use jiff::Span;
use jiff::civil::{Date, date};
use std::sync::Arc;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// From the first of 1970, a Thursday, to a Monday.
const MONDAY: i64 = 4 * DAY;

/// `date_trunc` of a moment in UTC, or of a civil time; `None` for what it leaves to `DataFusion`.
pub(super) fn truncated(call: &ScalarFunction, schema: &DFSchema) -> Option<Expr> {
    let [part, moment] = call.args.as_slice() else { return None };
    let Expr::Literal(part, _) = part else { return None };
    if call.name() != "date_trunc" {
        return None;
    }
    let part = Part::of(part)?;
    let kind = moment.get_type(schema).ok()?;
    let zone = match &kind {
        DataType::Timestamp(_, zone) => zone.clone(),
        DataType::Date32 | DataType::Date64 => None,
        text if text.is_string() => None,
        _ => return None,
    };
    if zone.as_deref().is_some_and(|zone| !matches!(zone, "UTC" | "+00:00")) {
        return None;
    }
    let wanted = DataType::Timestamp(TimeUnit::Microsecond, zone);
    let moment = if kind == wanted { moment.clone() } else { cast(moment.clone(), wanted) };
    let signature = Signature::user_defined(Volatility::Immutable);
    Some(ScalarUDF::from(Truncate { part, signature }).call(vec![moment]))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// So many microseconds, counted from a multiple of them and an offset.
    Even(i64, i64),
    /// So many months, counted from January.
    Months(i8),
}

impl Part {
    fn of(name: &ScalarValue) -> Option<Self> {
        Some(match name.try_as_str()??.to_lowercase().as_str() {
            "microsecond" => Self::Even(1, 0),
            "millisecond" => Self::Even(1_000, 0),
            "second" => Self::Even(SECOND, 0),
            "minute" => Self::Even(60 * SECOND, 0),
            "hour" => Self::Even(3_600 * SECOND, 0),
            "day" => Self::Even(DAY, 0),
            "week" => Self::Even(7 * DAY, MONDAY),
            "month" => Self::Months(1),
            "quarter" => Self::Months(3),
            "year" => Self::Months(12),
            _ => return None,
        })
    }

    /// `None` outside of what a calendar knows.
    fn cut(self, moment: i64) -> Option<i64> {
        match self {
            Self::Even(width, origin) => {
                moment.checked_sub(moment.checked_sub(origin)?.rem_euclid(width))
            }
            Self::Months(months) => {
                let epoch = date(1970, 1, 1);
                let days = Span::new().try_days(moment.div_euclid(DAY)).ok()?;
                let day = epoch.checked_add(days).ok()?;
                let month = (day.month() - 1) / months * months + 1;
                let first = Date::new(day.year(), month, 1).ok()?;
                Some(i64::from((first - epoch).get_days()) * DAY)
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Truncate {
    part: Part,
    signature: Signature,
}

impl ScalarUDFImpl for Truncate {
    fn name(&self) -> &'static str {
        "date_trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        Ok(input[0].sort_properties)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let moments = args.args[0].to_array(1)?;
        let cut = self.cut(&moments)?;
        Ok(match args.args[0] {
            ColumnarValue::Array(_) => ColumnarValue::Array(cut),
            ColumnarValue::Scalar(_) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&cut, 0)?)
            }
        })
    }
}

impl Truncate {
    fn cut(&self, moments: &ArrayRef) -> Result<ArrayRef> {
        let cut = moments.as_primitive::<TimestampMicrosecondType>();
        let cut: TimestampMicrosecondArray = cut.try_unary(|moment| {
            self.part.cut(moment).ok_or_else(|| {
                DataFusionError::Execution(format!(
                    "date_trunc knows the years -9999 to 9999, and no moment {moment}"
                ))
            })
        })?;
        Ok(Arc::new(cut.with_data_type(moments.data_type().clone())))
    }
}
