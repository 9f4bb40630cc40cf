//! Moments as tables hold them: microseconds, so that a year 9999 is a value as any other.
//!
//! `DataFusion` plans `timestamp`, `now()` and every meeting of a date with a moment in nanoseconds,
//! which end in 2262. These rules put microseconds there, and refuse a meeting that hides a timezone.

use super::checked::{rewrite_all, written};
use super::problem::SqlProblem;
use super::truncate::truncated;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::datetime::expr_fn::to_timestamp_micros;
use datafusion::logical_expr::expr::{Between, InList, ScalarFunction};
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, TryCast, cast, try_cast,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

/// Before types are settled: what the text itself asks for.
#[derive(Debug)]
pub(super) struct WrittenMoments;

impl AnalyzerRule for WrittenMoments {
    fn name(&self) -> &'static str {
        "written_moments"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(rewrite_all(plan, &as_written)?.data)
    }
}

/// Settles types, and takes back the nanoseconds that it adds. Where there were any, types are settled
/// once more: what was put into microseconds has to meet what was not.
#[derive(Debug)]
pub(super) struct SettledMoments(TypeCoercion);

impl SettledMoments {
    pub(super) fn new() -> Self {
        Self(TypeCoercion::new())
    }
}

impl AnalyzerRule for SettledMoments {
    fn name(&self) -> &'static str {
        "settled_moments"
    }

    fn analyze(&self, plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
        let settled = self.0.analyze(plan, options)?;
        let settled = rewrite_all(settled, &|expr, _| Ok(in_microseconds(expr)))?;
        if settled.transformed { self.0.analyze(settled.data, options) } else { Ok(settled.data) }
    }
}

/// The first rule, of one expression.
pub(super) fn written_moments(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|expr| moment_as_written(expr, schema))?.data)
}

/// The second rule, of one expression.
pub(super) fn settled_moments(expr: Expr) -> Result<Expr> {
    Ok(expr.transform_up(|expr| Ok(in_microseconds(expr)))?.data)
}

fn as_written(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    refuse_hidden_zone(&expr, schema, is_order)?;
    moment_as_written(expr, schema)
}

/// In an expression over one row no timezone is hidden in an order: both are meant in UTC.
fn moment_as_written(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    refuse_hidden_zone(&expr, schema, |_| false)?;
    if let Some(seconds) = of_number(&expr, schema)? {
        return Ok(Transformed::yes(seconds));
    }
    let Expr::ScalarFunction(call) = &expr else { return Ok(in_microseconds(expr)) };
    let replaced = match call.name() {
        "now" => Some(cast(expr.clone(), in_micros(&expr.get_type(schema)?))),
        "to_timestamp" => to_timestamp(call, schema)?,
        "date_trunc" => truncated(call, schema),
        _ => None,
    };
    Ok(replaced.map_or_else(|| Transformed::no(expr), Transformed::yes))
}

/// The unit of a moment, and nothing else of it.
fn in_micros(kind: &DataType) -> DataType {
    match kind {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        other => other.clone(),
    }
}

fn is_in_nanos(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(TimeUnit::Nanosecond, _))
}

/// A cast of a number: whole ones are seconds, whichever type they have.
fn of_number(expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let (number, kind) = match expr {
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            (expr.as_ref(), field.data_type())
        }
        _ => return Ok(None),
    };
    let from = number.get_type(schema)?;
    if !is_in_nanos(kind) || !from.is_numeric() {
        return Ok(None);
    }
    if !from.is_integer() {
        return Err(DataFusionError::External(Box::new(no_unit(number))));
    }
    let seconds = DataType::Timestamp(TimeUnit::Second, None);
    let steps = [DataType::Int64, seconds, in_micros(kind)];
    let step: fn(Expr, DataType) -> Expr = match expr {
        Expr::TryCast(_) => try_cast,
        _ => cast,
    };
    Ok(Some(steps.into_iter().fold(number.clone(), step)))
}

fn in_microseconds(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::Cast(Cast { expr, field }) if is_in_nanos(field.data_type()) => {
            Transformed::yes(Expr::Cast(Cast::new(expr, in_micros(field.data_type()))))
        }
        Expr::TryCast(TryCast { expr, field }) if is_in_nanos(field.data_type()) => {
            Transformed::yes(Expr::TryCast(TryCast::new(expr, in_micros(field.data_type()))))
        }
        Expr::Literal(ScalarValue::TimestampNanosecond(Some(nanos), zone), metadata)
            if nanos % 1_000 == 0 =>
        {
            let micros = ScalarValue::TimestampMicrosecond(Some(nanos / 1_000), zone);
            Transformed::yes(Expr::Literal(micros, metadata))
        }
        other => Transformed::no(other),
    }
}

/// Whole numbers are seconds, as with `cast`; text is read as it is by a cast.
fn to_timestamp(call: &ScalarFunction, schema: &DFSchema) -> Result<Option<Expr>> {
    let Some(first) = call.args.first() else { return Ok(None) };
    let kind = first.get_type(schema)?;
    let micros = || DataType::Timestamp(TimeUnit::Microsecond, None);
    Ok(match kind {
        _ if kind.is_string() && call.args.len() == 1 => Some(cast(first.clone(), micros())),
        _ if kind.is_string() => Some(to_timestamp_micros(call.args.clone())),
        _ if kind.is_integer() => {
            let seconds = DataType::Timestamp(TimeUnit::Second, None);
            Some(cast(cast(cast(first.clone(), DataType::Int64), seconds), micros()))
        }
        DataType::Timestamp(..) | DataType::Date32 => Some(cast(first.clone(), micros())),
        _ => None,
    })
}

/// A date that meets a moment is taken for midnight UTC: under a timezone that never matches, or a
/// day too many does.
fn refuse_hidden_zone(
    expr: &Expr,
    schema: &DFSchema,
    also: impl Fn(Operator) -> bool,
) -> Result<()> {
    let pairs: Vec<(&Expr, &Expr)> = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_equality(*op) || also(*op) => {
            vec![(left, right)]
        }
        Expr::Between(Between { expr, low, high, .. }) if also(Operator::GtEq) => {
            vec![(expr, low), (expr, high)]
        }
        Expr::InList(InList { expr, list, .. }) => {
            list.iter().map(|one| (expr.as_ref(), one)).collect()
        }
        _ => return Ok(()),
    };
    for (left, right) in pairs {
        for (date, moment) in [(left, right), (right, left)] {
            if is_date_of_rows(date, schema) && is_instant(moment, schema) {
                return Err(DataFusionError::External(Box::new(hidden_zone(date))));
            }
        }
    }
    Ok(())
}

fn is_equality(op: Operator) -> bool {
    use Operator as O;
    matches!(op, O::Eq | O::NotEq | O::IsDistinctFrom | O::IsNotDistinctFrom)
}

fn is_order(op: Operator) -> bool {
    matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

/// A literal date is meant as it is written.
fn is_date_of_rows(expr: &Expr, schema: &DFSchema) -> bool {
    let kind = expr.get_type(schema);
    matches!(kind, Ok(DataType::Date32 | DataType::Date64)) && !expr.column_refs().is_empty()
}

fn is_instant(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Timestamp(_, Some(_))))
}

fn no_unit(number: &Expr) -> SqlProblem {
    let number = written(number);
    SqlProblem::new(format!("`{number}` may have a fraction, and a number with one is no moment"))
        .help(format!(
            "write to_timestamp_micros(cast({number} * 1000000 as bigint)) if it counts seconds"
        ))
}

fn hidden_zone(date: &Expr) -> SqlProblem {
    let date = written(date);
    SqlProblem::new(format!(
        "`{date}` is a date and is compared with a moment, which it equals at midnight UTC alone"
    ))
    .help(format!(
        "compare it with a date: `{date} = cast($partition_key as date)`, or cast one side to the type of the other"
    ))
}
