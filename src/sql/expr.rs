//! One-row SQL: the expressions of computed columns and of expectations.
//!
//! A text is compiled once and evaluated a batch at a time. It may use what depends on its row
//! alone: a value that hung on the clock or on chance would differ when a row is read again.

use super::checked::check_arithmetic;
use super::failure::told;
use super::moments::{settled_moments, written_moments};
use super::problem::SqlProblem;
use super::stack::{make_shallow, of_panic, with_room_for};
use crate::error::{Error, ErrorKind};
use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionConfig;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

static SESSION: LazyLock<SessionState> = LazyLock::new(|| {
    let config = SessionConfig::new().set_bool("datafusion.sql_parser.collect_spans", true);
    SessionStateBuilder::new().with_config(config).with_default_features().build()
});

/// An expression, ready to be evaluated over batches of the schema that it was compiled for.
#[derive(Clone, Debug)]
pub struct Compiled(Arc<dyn PhysicalExpr>);

/// Compiles the expression of a computed column: `text` over `columns`, cast to `kind`.
pub fn compile(text: &str, columns: &Schema, kind: &DataType) -> Result<Compiled, SqlProblem> {
    let schema = scope(columns)?;
    with_room_for(text, || {
        let expr = parse(text, &schema)?;
        let cast = expr.cast_to(kind, &schema).map_err(|err| SqlProblem::of(text, &err))?;
        physical(text, cast, &schema)
    })
}

/// Compiles the `that` of an expectation: `text` over `columns`, true or false.
pub fn compile_rule(text: &str, columns: &Schema) -> Result<Compiled, SqlProblem> {
    let schema = scope(columns)?;
    with_room_for(text, || {
        let expr = parse(text, &schema)?;
        match expr.get_type(&schema).map_err(|err| SqlProblem::of(text, &err))? {
            DataType::Boolean => physical(text, expr, &schema),
            other => Err(SqlProblem::new(format!("a rule is true or false, this is {other}"))
                .at(Some(0..text.len()))
                .help("compare it with something: `amount > 0`")),
        }
    })
}

impl Compiled {
    /// The values, one a row. An error is a row's fault: `1 / 0`, a text that is no number.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, Error> {
        let work = || self.0.evaluate(batch)?.into_array(batch.num_rows());
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(values) => values.map_err(|err| told(ErrorKind::Data, &err)),
            Err(panic) => Err(of_panic(&*panic).into_error(ErrorKind::Data)),
        }
    }

    /// As [`Self::evaluate`], for a rule.
    pub fn evaluate_rule(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        let values = self.evaluate(batch)?;
        let values = values.as_any().downcast_ref::<BooleanArray>();
        values.cloned().ok_or_else(|| Error::new(ErrorKind::Bug, "a rule that is not boolean"))
    }
}

fn scope(columns: &Schema) -> Result<DFSchema, SqlProblem> {
    DFSchema::try_from(columns.clone()).map_err(|err| SqlProblem::of("", &err))
}

fn parse(text: &str, schema: &DFSchema) -> Result<Expr, SqlProblem> {
    if text.trim().is_empty() {
        return Err(SqlProblem::new("the expression is empty").at(Some(0..text.len())));
    }
    let of_text = |err: DataFusionError| SqlProblem::of(text, &err);
    let dialect = &SESSION.config_options().sql_parser.dialect;
    let mut parsed = SESSION.sql_to_expr_with_alias(text, dialect).map_err(of_text)?;
    make_shallow(&mut parsed.expr)?;
    let expr = SESSION.create_logical_expr_from_sql_expr(parsed, schema).map_err(of_text)?;
    match unfit(&expr) {
        Some(problem) => Err(problem.at(Some(0..text.len()))),
        None => Ok(expr),
    }
}

/// What in `expr` a single row can't answer.
fn unfit(expr: &Expr) -> Option<SqlProblem> {
    let mut found = None;
    let walked = expr.apply(|part| {
        found = match part {
            Expr::AggregateFunction(call) => Some(needs_rows(call.func.name())),
            Expr::WindowFunction(call) => Some(needs_rows(call.fun.name())),
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => {
                Some(SqlProblem::new("a query inside an expression: it sees one row, no tables"))
            }
            Expr::Placeholder(parameter) => {
                Some(SqlProblem::new(format!("`{}` is bound in batch SQL only", parameter.id)))
            }
            Expr::ScalarFunction(call)
                if call.func.signature().volatility != Volatility::Immutable =>
            {
                let name = call.func.name();
                Some(
                    SqlProblem::new(format!("`{name}` gives another value each time"))
                        .help("a row that is read again must come out the same"),
                )
            }
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    });
    walked.err().map(|err| SqlProblem::new(plain(&err))).or(found)
}

fn needs_rows(name: &str) -> SqlProblem {
    SqlProblem::new(format!("`{name}` needs many rows, and this expression sees one"))
        .help("aggregate in a batch job")
}

fn physical(text: &str, expr: Expr, schema: &DFSchema) -> Result<Compiled, SqlProblem> {
    // `coalesce` and its like exist only as what the simplifier makes of them.
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    let simplifier = ExprSimplifier::new(context);
    let expr = written_moments(expr, schema)
        .and_then(|expr| simplifier.coerce(expr, schema))
        .and_then(settled_moments)
        .and_then(|expr| simplifier.coerce(expr, schema))
        .and_then(|expr| check_arithmetic(expr, schema))
        .and_then(|expr| simplifier.simplify(expr))
        .and_then(|expr| SESSION.create_physical_expr(expr, schema));
    expr.map(Compiled).map_err(|err| SqlProblem::of(text, &err))
}

/// `DataFusion`'s message without its prefix and backtrace.
fn plain(err: &DataFusionError) -> String {
    err.find_root().message().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::cast::AsArray;
    use arrow::array::{Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, Int64Type};

    fn columns() -> Schema {
        Schema::new(vec![
            Field::new("wiki", DataType::Utf8, true),
            Field::new("length_old", DataType::Int64, true),
            Field::new("length_new", DataType::Int64, true),
        ])
    }

    fn batch() -> RecordBatch {
        let wiki = StringArray::from(vec![Some("enwiki"), None, Some("canary")]);
        let old = Int64Array::from(vec![Some(10), None, Some(3)]);
        let new = Int64Array::from(vec![Some(4), Some(7), None]);
        let arrays: Vec<ArrayRef> = vec![Arc::new(wiki), Arc::new(old), Arc::new(new)];
        RecordBatch::try_new(Arc::new(columns()), arrays).unwrap()
    }

    #[track_caller]
    fn check(text: &str, message: &str, at: &str, help: Option<&str>) {
        let problem = compile_rule(text, &columns()).unwrap_err();
        assert_eq!(problem.message, message);
        assert_eq!(problem.at.map(|at| &text[at]), Some(at));
        assert_eq!(problem.help.as_deref(), help);
    }

    #[test]
    fn a_computed_column_is_cast_to_its_type() {
        let text = "abs(length_new - coalesce(length_old, 0))";
        let values = compile(text, &columns(), &DataType::Int64).unwrap();
        let values = values.evaluate(&batch()).unwrap();
        let values = values.as_primitive::<Int64Type>();
        assert_eq!(values, &Int64Array::from(vec![Some(6), Some(7), None]));
        let text = compile(text, &columns(), &DataType::Utf8).unwrap();
        assert_eq!(text.evaluate(&batch()).unwrap().data_type(), &DataType::Utf8);
    }

    #[test]
    fn a_rule_leaves_null_where_it_cannot_tell() {
        let rule = compile_rule("wiki <> 'canary'", &columns()).unwrap();
        let told = rule.evaluate_rule(&batch()).unwrap();
        assert_eq!(told, BooleanArray::from(vec![Some(true), None, Some(false)]));
    }

    #[test]
    fn a_literal_rule_answers_for_every_row() {
        let rule = compile_rule("true", &columns()).unwrap();
        assert_eq!(rule.evaluate_rule(&batch()).unwrap().true_count(), 3);
    }

    #[test]
    fn a_mistyped_column_is_underlined_and_the_right_one_offered() {
        check(
            "length_old > 0\n  and lenght_new > 0",
            "no column is named `lenght_new`",
            "lenght_new",
            Some("did you mean `length_new`?"),
        );
    }

    #[test]
    fn a_mistyped_function_is_underlined() {
        check(
            "coalesc(length_old, 0) > 0",
            "Invalid function `coalesc`",
            "coalesc",
            Some("did you mean `coalesce`?"),
        );
    }

    #[test]
    fn a_broken_text_is_underlined_where_it_breaks() {
        let problem = compile_rule("length_old >> > 3", &columns()).unwrap_err();
        assert_eq!(problem.at, Some(14..15), "{problem:?}");
        let problem = compile_rule("length_old >", &columns()).unwrap_err();
        assert_eq!(problem.at, Some(11..12), "{problem:?}"); // What is missing there can be seen.
    }

    #[test]
    fn what_one_row_cannot_answer_is_refused() {
        for text in ["sum(length_old) > 1", "now() > now()", "random() < 0.5", "exists (select 1)"]
        {
            assert!(compile_rule(text, &columns()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_must_be_true_or_false() {
        check(
            "length_old + 1",
            "a rule is true or false, this is Int64",
            "length_old + 1",
            Some("compare it with something: `amount > 0`"),
        );
    }

    #[test]
    fn a_failing_row_is_an_error_not_a_panic() {
        let text = compile("1 / (length_old - 10)", &columns(), &DataType::Int64).unwrap();
        assert_eq!(text.evaluate(&batch()).unwrap_err().kind, ErrorKind::Data);
    }
}
