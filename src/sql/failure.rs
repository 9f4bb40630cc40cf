//! What stops a query that was planned well: the machine, the files or the values in them.

use crate::error::Error;
use crate::error::ErrorKind;
use datafusion::error::DataFusionError;

/// Says whose fault it is: who can mend it decides whether it is tried again.
pub(super) fn of_execution(err: &DataFusionError) -> Error {
    let root = err.find_root();
    let kind = match root {
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => ErrorKind::Unavailable,
        DataFusionError::ParquetError(_) => ErrorKind::Data,
        DataFusionError::Internal(_) => ErrorKind::Bug,
        DataFusionError::ResourcesExhausted(_) => {
            return Error::new(ErrorKind::Input, root.message().into_owned())
                .remedy("raise limits.batch_memory in tidemill.toml, or let the query hold less");
        }
        _ => ErrorKind::Input,
    };
    Error::new(kind, root.message().into_owned())
}
