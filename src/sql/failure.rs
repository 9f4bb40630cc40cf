//! What stops a query that was planned well: the machine, the files or the values in them.

use super::problem::SqlProblem;
use crate::error::{Error, ErrorKind};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use std::error::Error as StdError;

/// Says whose fault it is: who can mend it decides whether it is tried again.
pub(super) fn of_execution(err: &DataFusionError) -> Error {
    let root = err.find_root();
    let kind = match root {
        DataFusionError::IoError(_) => ErrorKind::Unavailable,
        DataFusionError::ObjectStore(_) | DataFusionError::ParquetError(_) => of_reading(root),
        DataFusionError::Internal(_) => ErrorKind::Bug,
        DataFusionError::ResourcesExhausted(_) => {
            return Error::new(ErrorKind::Input, root.message().into_owned())
                .remedy("raise limits.batch_memory in tidemill.toml, or let the query hold less");
        }
        _ => ErrorKind::Input,
    };
    told(kind, err)
}

/// What went wrong with a value, in the words of whoever wrote the query, and what helps.
pub(super) fn told(kind: ErrorKind, err: &DataFusionError) -> Error {
    match err.find_root() {
        DataFusionError::External(problem) if problem.is::<SqlProblem>() => {
            let problem = problem.downcast_ref::<SqlProblem>().cloned();
            problem.map_or_else(
                || Error::new(kind, err.to_string()),
                |problem| problem.into_error(kind),
            )
        }
        DataFusionError::ArrowError(arrow, _) => of_arrow(kind, arrow),
        root => Error::new(kind, root.message().into_owned()),
    }
}

/// What a kernel says of a value: without its prefix, and with a way round it.
pub(super) fn of_arrow(kind: ErrorKind, err: &ArrowError) -> Error {
    match err {
        ArrowError::CastError(text) | ArrowError::ParseError(text) => {
            Error::new(kind, text.clone())
                .remedy("`try_cast` gives null where a value does not fit")
        }
        ArrowError::DivideByZero => Error::new(kind, "a division by zero")
            .remedy("divide by `nullif(…, 0)`: the result is null there"),
        ArrowError::ArithmeticOverflow(text) | ArrowError::ComputeError(text) => {
            Error::new(kind, text.clone())
        }
        other => Error::new(kind, other.to_string()),
    }
}

/// A file that did not come is an outage; one that is gone or broken is damage.
fn of_reading(err: &DataFusionError) -> ErrorKind {
    if let Some(err) = of_store(err) {
        return match err {
            object_store::Error::NotFound { .. } => ErrorKind::Data,
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => ErrorKind::Input,
            _ => ErrorKind::Unavailable,
        };
    }
    // Whoever reads a footer passes on what the store has said as text alone.
    let told = err.to_string();
    let lost = told.contains("Object Store error: ") && !told.contains(" not found: ");
    if lost { ErrorKind::Unavailable } else { ErrorKind::Data }
}

/// What the store has said, however deep it lies.
fn of_store<'a>(err: &'a (dyn StdError + 'static)) -> Option<&'a object_store::Error> {
    let mut cause = Some(err);
    while let Some(err) = cause {
        if let Some(found) = err.downcast_ref::<object_store::Error>() {
            return Some(found);
        }
        cause = err.source();
    }
    None
}
