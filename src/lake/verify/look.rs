//! What an object of ours turns out to be: a broken one ends no verification.

use super::found::Finding;
use super::judge;
use crate::error::{Error, ErrorKind};
use object_store::path::Path;

pub(super) enum Look<T> {
    Missing,
    Broken(Finding),
    Whole(T),
}

pub(super) fn look<T>(path: &Path, read: Result<Option<T>, Error>) -> Result<Look<T>, Error> {
    match read {
        Ok(Some(whole)) => Ok(Look::Whole(whole)),
        Ok(None) => Ok(Look::Missing),
        Err(error) if error.kind == ErrorKind::Data => {
            Ok(Look::Broken(judge::broken_object(path, &error)))
        }
        Err(error) => Err(error),
    }
}
