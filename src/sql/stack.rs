//! Room for texts that nest deeply, and a bound for them.
//!
//! A parser reads `a + b + c + …` in a loop, but what it makes of it is as deep as there are terms, and
//! every later step goes down to its end. So a text is planned on a thread whose stack grows with it,
//! chains of `and` and `or` are made shallow, and what is deeper than a plan can run is refused.

use super::problem::SqlProblem;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, Value, VisitMut, VisitorMut};
use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use tokio::runtime::Handle;

/// Longer texts are data, and belong into a table.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Deeper expressions would not fit the stacks on which queries run, and take long to plan.
pub(super) const DEPTH_MAX: usize = 500;

/// Longer chains of `and` and `or`, which an optimizer makes deep again, would not either.
const TERMS_MAX: usize = 5_000;

/// What planning needs at any rate.
const STACK_BYTES: usize = 64 << 20;

/// Nothing can nest once for less text than this many times smaller than a frame.
const STACK_BYTES_PER_BYTE: usize = 512;

/// Works on a text where there is room for it; a panic is a problem of the text.
pub(super) fn with_room_for<T: Send>(
    text: &str,
    work: impl FnOnce() -> Result<T, SqlProblem> + Send,
) -> Result<T, SqlProblem> {
    if text.len() > TEXT_BYTES_MAX {
        let problem =
            format!("the text has {} bytes, and {TEXT_BYTES_MAX} is the most", text.len());
        return Err(SqlProblem::new(problem).help("put long lists into a table and join it"));
    }
    let runtime = Handle::try_current().ok();
    let bytes = STACK_BYTES + text.len() * STACK_BYTES_PER_BYTE;
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("sql".into()).stack_size(bytes);
        let started = thread.spawn_scoped(scope, || {
            let _within = runtime.as_ref().map(Handle::enter);
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(of_panic(&*panic)))
        });
        match started {
            Ok(thread) => thread.join().unwrap_or_else(|panic| Err(of_panic(&*panic))),
            Err(err) => Err(SqlProblem::new(format!("no thread for planning it: {err}"))),
        }
    })
}

/// What has stopped an engine that should have told an error.
pub(super) fn of_panic(panic: &(dyn Any + Send)) -> SqlProblem {
    let told = panic.downcast_ref::<String>().map(String::as_str);
    let told = told.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason told");
    SqlProblem::new(format!("the query engine gave up: {told}")).help(
        "a value or a column of more than 2 GiB is the usual cause: let the query make less at once",
    )
}

/// Makes chains of `and` and `or` shallow, and refuses what is too deep all the same.
pub(super) fn make_shallow(part: &mut impl VisitMut) -> Result<(), SqlProblem> {
    let mut visit = Shallow { depth: 0 };
    let ControlFlow::Break(problem) = VisitMut::visit(part, &mut visit) else { return Ok(()) };
    let help = "name parts of it in a `with` or a subquery; `in (…)` replaces many comparisons";
    Err(SqlProblem::new(problem).help(help))
}

struct Shallow {
    depth: usize,
}

impl VisitorMut for Shallow {
    type Break = String;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<String> {
        self.deeper()
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<String> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        if let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr {
            let op = op.clone();
            let terms = balance(expr, &op);
            if terms > TERMS_MAX {
                return ControlFlow::Break(format!(
                    "a chain of {terms} terms, and {TERMS_MAX} is the most"
                ));
            }
        }
        self.deeper()
    }

    fn post_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<String> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl Shallow {
    fn deeper(&mut self) -> ControlFlow<String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return ControlFlow::Break(format!("an expression nests more than {DEPTH_MAX} deep"));
        }
        ControlFlow::Continue(())
    }
}

/// `((a and b) and c) and d` as `(a and b) and (c and d)`: the same in the same order. What is balanced
/// stays as it is. Returns how many terms there are.
fn balance(expr: &mut Expr, op: &BinaryOperator) -> usize {
    let mut terms = Vec::new();
    let mut rest = vec![std::mem::replace(expr, Expr::Value(Value::Null.into()))];
    while let Some(next) = rest.pop() {
        match next {
            Expr::BinaryOp { left, op: inner, right } if inner == *op => {
                rest.push(*right);
                rest.push(*left);
            }
            term => terms.push(term),
        }
    }
    let count = terms.len();
    *expr = halves(terms, op);
    count
}

fn halves(mut terms: Vec<Expr>, op: &BinaryOperator) -> Expr {
    if terms.len() == 1 {
        return terms.remove(0);
    }
    let right = terms.split_off(terms.len().div_ceil(2));
    Expr::BinaryOp {
        left: Box::new(halves(terms, op)),
        op: op.clone(),
        right: Box::new(halves(right, op)),
    }
}
