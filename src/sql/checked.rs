//! Arithmetic that fails where its result does not fit, instead of going on with a wrong number.
//!
//! `DataFusion`'s `+ - *` on whole numbers wrap, and its decimals may come out with more digits than
//! their type has. Here each such operator becomes a function that checks, and that knows how the user
//! wrote it, so that its error can name it.

use super::problem::SqlProblem;
use super::sum::CheckedSum;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Scalar, make_array};
use arrow::compute::kernels::cmp::lt;
use arrow::compute::kernels::numeric;
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, not, nullif};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;
use std::sync::Arc;

/// Longer expressions are cut where an error names them.
const WRITTEN_CHARS_MAX: usize = 120;

/// Puts [`Checked`] in the place of every operator of a plan; runs once types are settled.
#[derive(Debug)]
pub(super) struct CheckArithmetic;

impl AnalyzerRule for CheckArithmetic {
    fn name(&self) -> &'static str {
        "check_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(rewrite_all(plan, &checked)?.data)
    }
}

/// Rewrites each expression of a plan, whatever node it hangs on, and keeps the columns' names.
pub(super) fn rewrite_all(
    plan: LogicalPlan,
    rewrite: &dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    plan.transform_up_with_subqueries(|plan| {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        let plan = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = rewrite_expr(expr, &schema, rewrite)?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })?;
        plan.map_data(LogicalPlan::recompute_schema)
    })
}

fn rewrite_expr(
    expr: Expr,
    schema: &DFSchema,
    rewrite: &dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| rewrite(expr, schema))
}

/// The same of one expression whose types are settled.
pub(super) fn check_arithmetic(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(rewrite_expr(expr, schema, &checked)?.data)
}

fn checked(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (what, args, returns) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let returns =
                if is_arithmetic(op) { exact_result(&left, op, &right, schema)? } else { None };
            let Some(returns) = returns else {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            };
            (What::Binary(op), vec![*left, *right], returns)
        }
        Expr::Negative(of) if is_signed(&kind_of(&of, schema)?) => {
            let returns = kind_of(&of, schema)?;
            (What::Negative, vec![*of], returns)
        }
        Expr::ScalarFunction(ScalarFunction { func, args })
            if func.name() == "abs" && args.len() == 1 && is_exact(&kind_of(&args[0], schema)?) =>
        {
            let returns = kind_of(&args[0], schema)?;
            (What::Absolute, args, returns)
        }
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            return Ok(match named_sum(&func, &params.args) {
                Some(func) => {
                    Transformed::yes(Expr::AggregateFunction(AggregateFunction { func, params }))
                }
                None => {
                    Transformed::no(Expr::AggregateFunction(AggregateFunction { func, params }))
                }
            });
        }
        Expr::WindowFunction(window) => return Ok(checked_window(window)),
        other => return Ok(Transformed::no(other)),
    };
    let function = Checked::new(what, &args, returns);
    function.try_literals(&args)?;
    let call = ScalarFunction::new_udf(Arc::new(ScalarUDF::from(function)), args);
    Ok(Transformed::yes(Expr::ScalarFunction(call)))
}

fn checked_window(mut window: Box<WindowFunction>) -> Transformed<Expr> {
    let named = match &window.fun {
        WindowFunctionDefinition::AggregateUDF(func) => named_sum(func, &window.params.args),
        WindowFunctionDefinition::WindowUDF(_) => None,
    };
    match named {
        Some(func) => {
            window.fun = WindowFunctionDefinition::AggregateUDF(func);
            Transformed::yes(Expr::WindowFunction(window))
        }
        None => Transformed::no(Expr::WindowFunction(window)),
    }
}

/// `sum` that knows what it adds; `None` for what is no sum, or knows it already.
fn named_sum(func: &AggregateUDF, args: &[Expr]) -> Option<Arc<AggregateUDF>> {
    let [of] = args else { return None };
    if func.name() != "sum" || func.inner().downcast_ref::<CheckedSum>()?.is_named() {
        return None;
    }
    Some(Arc::new(AggregateUDF::from(CheckedSum::of(&written(of)))))
}

/// The type of what two exact operands make; `None` where one is not exact.
fn exact_result(
    left: &Expr,
    op: Operator,
    right: &Expr,
    schema: &DFSchema,
) -> Result<Option<DataType>> {
    let (left, right) = (kind_of(left, schema)?, kind_of(right, schema)?);
    if !is_exact(&left) || !is_exact(&right) {
        return Ok(None);
    }
    BinaryTypeCoercer::new(&left, &op, &right).get_result_type().map(Some)
}

/// The type of an operand, without a look at what it is made of where that is known.
fn kind_of(expr: &Expr, schema: &DFSchema) -> Result<DataType> {
    match expr {
        Expr::ScalarFunction(call) => match call.func.inner().downcast_ref::<Checked>() {
            Some(checked) => Ok(checked.returns.clone()),
            None => expr.get_type(schema),
        },
        _ => expr.get_type(schema),
    }
}

fn is_arithmetic(op: Operator) -> bool {
    use Operator as O;
    matches!(op, O::Plus | O::Minus | O::Multiply | O::Divide | O::Modulo)
}

fn is_exact(kind: &DataType) -> bool {
    kind.is_integer() || kind.is_decimal()
}

fn is_signed(kind: &DataType) -> bool {
    is_exact(kind) && !kind.is_unsigned_integer()
}

/// An expression as its user may have written it, without what planning has added.
pub(super) fn written(expr: &Expr) -> String {
    let text = match expr {
        Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => column.name.clone(),
        Expr::Literal(value, _) => match value.try_as_str() {
            Some(Some(text)) => format!("'{text}'"),
            Some(None) => "null".to_owned(),
            None => value.to_string(),
        },
        Expr::Cast(cast) => written(&cast.expr),
        Expr::Alias(alias) => written(&alias.expr),
        Expr::Negative(of) => format!("-{}", written(of)),
        Expr::ScalarFunction(call) => {
            let checked = call.func.inner().downcast_ref::<Checked>();
            let args = || call.args.iter().map(written).collect::<Vec<_>>().join(", ");
            checked.map_or_else(
                || format!("{}({})", call.func.name(), args()),
                |checked| checked.written.clone(),
            )
        }
        other => other.human_display().to_string(),
    };
    cut(text)
}

fn cut(text: String) -> String {
    if text.chars().count() <= WRITTEN_CHARS_MAX {
        return text;
    }
    let kept: String = text.chars().take(WRITTEN_CHARS_MAX - 1).collect();
    kept + "…"
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Binary(Operator),
    Negative,
    Absolute,
}

/// One operator, at one place of a query.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    what: What,
    /// How it was written.
    written: String,
    returns: DataType,
    signature: Signature,
}

impl Checked {
    fn new(what: What, args: &[Expr], returns: DataType) -> Self {
        let written = match (what, args) {
            (What::Binary(op), [left, right]) => {
                let (left, right) = (part(left, op, false), part(right, op, true));
                format!("{left} {op} {right}")
            }
            (What::Absolute, [of, ..]) => format!("abs({})", written(of)),
            (What::Negative | What::Binary(_), [of, ..]) => format!("-{}", written(of)),
            (_, []) => String::new(),
        };
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { what, written: cut(written), returns, signature }
    }

    /// Fails where literals alone say that it will.
    fn try_literals(&self, args: &[Expr]) -> Result<()> {
        let literal = |expr: &Expr| match expr {
            Expr::Literal(value, _) => Some(ColumnarValue::Scalar(value.clone())),
            Expr::Cast(cast) => match cast.expr.as_ref() {
                Expr::Literal(value, _) => {
                    value.cast_to(cast.field.data_type()).ok().map(ColumnarValue::Scalar)
                }
                _ => None,
            },
            _ => None,
        };
        match args.iter().map(literal).collect::<Option<Vec<_>>>() {
            Some(values) => self.evaluate(&values).map(drop),
            None => Ok(()),
        }
    }

    fn evaluate(&self, args: &[ColumnarValue]) -> Result<ColumnarValue> {
        let value = match (self.what, args) {
            (What::Binary(op), [left, right]) => apply(left, right, |left, right| {
                let values = match op {
                    Operator::Plus => numeric::add(left, right),
                    Operator::Minus => numeric::sub(left, right),
                    Operator::Multiply => numeric::mul(left, right),
                    Operator::Divide => numeric::div(left, right),
                    _ => numeric::rem(left, right),
                };
                values.and_then(within_precision)
            }),
            (What::Negative, [of]) => each(of, numeric::neg),
            (What::Absolute, [of]) => each(of, absolute),
            _ => return Err(DataFusionError::Internal(format!("`{}` lacks a part", self.written))),
        };
        value.map_err(|err| self.told(&err))
    }

    /// An error of the kernel in the words of the query.
    fn told(&self, err: &DataFusionError) -> DataFusionError {
        let DataFusionError::ArrowError(arrow, _) = err.find_root() else {
            return DataFusionError::Execution(err.find_root().message().into_owned());
        };
        let written = &self.written;
        let problem = match arrow.as_ref() {
            ArrowError::DivideByZero => SqlProblem::new(format!("`{written}` divides by zero"))
                .help("divide by `nullif(…, 0)`: the result is null there"),
            _ => SqlProblem::overflow(written, &self.returns),
        };
        DataFusionError::External(Box::new(problem))
    }
}

/// An operand, in parentheses where it needs them.
fn part(expr: &Expr, op: Operator, on_the_right: bool) -> String {
    let text = written(expr);
    let inner = match expr {
        Expr::ScalarFunction(call) => match call.func.inner().downcast_ref::<Checked>() {
            Some(Checked { what: What::Binary(inner), .. }) => Some(inner.precedence()),
            _ => None,
        },
        Expr::BinaryExpr(binary) => Some(binary.op.precedence()),
        _ => None,
    };
    let own = op.precedence();
    match inner {
        Some(inner) if inner < own || (inner == own && on_the_right) => format!("({text})"),
        _ => text,
    }
}

fn each(
    of: &ColumnarValue,
    work: impl Fn(&dyn Array) -> Result<ArrayRef, ArrowError>,
) -> Result<ColumnarValue> {
    let values = work(&of.to_array(1)?)?;
    match of {
        ColumnarValue::Array(_) => Ok(ColumnarValue::Array(values)),
        ColumnarValue::Scalar(_) => {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?))
        }
    }
}

/// The greater of a number and what is left when it is taken from nothing.
fn absolute(values: &dyn Array) -> Result<ArrayRef, ArrowError> {
    if values.data_type().is_unsigned_integer() {
        return Ok(make_array(values.to_data()));
    }
    let zero = cast(&Int32Array::from(vec![0]), values.data_type())?;
    let below = lt(&values, &Scalar::new(zero))?;
    // Only what is below zero is turned, so that nothing else can fail.
    let turned = numeric::neg(&nullif(values, &not(&below)?)?)?;
    zip(&below, &turned, &values)
}

/// Kernels check that a decimal fits its bits, not that it fits its digits.
fn within_precision(values: ArrayRef) -> Result<ArrayRef, ArrowError> {
    match values.data_type() {
        DataType::Decimal128(precision, _) => {
            values.as_primitive::<Decimal128Type>().validate_decimal_precision(*precision)?;
        }
        DataType::Decimal256(precision, _) => {
            values.as_primitive::<Decimal256Type>().validate_decimal_precision(*precision)?;
        }
        _ => {}
    }
    Ok(values)
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        "checked"
    }

    /// As `DataFusion` names the operator, so that columns keep their names.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let name = |expr: &Expr| expr.schema_name().to_string();
        Ok(match (self.what, args) {
            (What::Binary(op), [left, right]) => format!("{} {op} {}", name(left), name(right)),
            (What::Absolute, [of, ..]) => format!("abs({})", name(of)),
            (_, [of, ..]) => format!("(- {})", name(of)),
            (_, []) => self.written.clone(),
        })
    }

    fn display_name(&self, _: &[Expr]) -> Result<String> {
        Ok(self.written.clone())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.evaluate(&args.args)
    }
}
