//! `date_trunc` of moments in UTC, without a look at the calendar.
//!
//! `DataFusion` cuts a moment that has a timezone by way of the calendar, a formatted text for each
//! row: a quarter of the time of a query that counts by the hour. In UTC a second, minute, hour,
//! day and week are as long as any other, so the same is a division.

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable, lit};

const SECOND_NS: i64 = 1_000_000_000;

/// A Monday, where weeks begin.
const WEEK_ORIGIN_NS: i64 = 4 * 86_400 * SECOND_NS;

#[derive(Debug)]
pub(super) struct TruncateByDivision;

impl FunctionRewrite for TruncateByDivision {
    fn name(&self) -> &'static str {
        "truncate_by_division"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
        match divided(call, schema) {
            Some(divided) => Ok(Transformed::yes(divided)),
            None => Ok(Transformed::no(expr)),
        }
    }
}

fn divided(call: &ScalarFunction, schema: &DFSchema) -> Option<Expr> {
    let [part, moment] = call.args.as_slice() else { return None };
    let Expr::Literal(part, _) = part else { return None };
    if call.name() != "date_trunc" {
        return None;
    }
    let DataType::Timestamp(_, Some(zone)) = moment.get_type(schema).ok()? else { return None };
    if zone.as_ref() != "UTC" {
        return None;
    }
    let (days, seconds, origin) = match part.try_as_str()??.to_lowercase().as_str() {
        "second" => (0, 1, 0),
        "minute" => (0, 60, 0),
        "hour" => (0, 3600, 0),
        "day" => (1, 0, 0),
        "week" => (7, 0, WEEK_ORIGIN_NS),
        _ => return None,
    };
    let width = IntervalMonthDayNano::new(0, days, seconds * SECOND_NS);
    let width = lit(ScalarValue::IntervalMonthDayNano(Some(width)));
    let origin = lit(ScalarValue::TimestampNanosecond(Some(origin), Some("UTC".into())));
    Some(date_bin().call(vec![width, moment.clone(), origin]))
}
