//! Makes an object that must not exist yet: the one way in which writers of a lake agree.
//!
//! [`next`] decides. The store may retry a create by itself and refuse its own success, and an
//! answer may be lost; so who is refused reads back, and the same bytes are ours. After an
//! unanswered create only the same bytes are tried again, for it may still take effect.

use super::Lake;
use crate::error::{Doing, Error, ErrorKind};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};

/// What became of an attempt to create an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created<T> {
    /// It holds what we wanted, now or since an earlier try whose answer was lost.
    Ours,
    /// Somebody else was first; this is theirs.
    Theirs(T),
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(crate) enum Heard {
    Nothing,
    Created,
    Refused,
    Holds(Bytes),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    ReadBack,
    Done(Created<Bytes>),
}

pub(crate) fn next(ours: &Bytes, heard: Heard) -> Step {
    match heard {
        Heard::Nothing => Step::Create,
        Heard::Created => Step::Done(Created::Ours),
        Heard::Refused => Step::ReadBack,
        Heard::Holds(theirs) if theirs == *ours => Step::Done(Created::Ours),
        Heard::Holds(theirs) => Step::Done(Created::Theirs(theirs)),
    }
}

impl Lake {
    /// Creates `path` unless it exists. Safe to repeat with the same bytes.
    pub(super) async fn create(&self, path: &Path, ours: Bytes) -> Result<Created<Bytes>, Error> {
        let mut heard = Heard::Nothing;
        loop {
            heard = match next(&ours, heard) {
                Step::Create => self.try_create(path, &ours).await?,
                Step::ReadBack => Heard::Holds(self.read_back(path).await?),
                Step::Done(created) => return Ok(created),
            }
        }
    }

    async fn try_create(&self, path: &Path, ours: &Bytes) -> Result<Heard, Error> {
        let call = || async {
            let mode = PutMode::Create.into();
            match self.objects().put_opts(path, ours.clone().into(), mode).await {
                Ok(_) => Ok(Heard::Created),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(Heard::Refused),
                Err(error) => Err(Error::from(error)),
            }
        };
        self.retry().run(call).await.doing(|| format!("create {path}"))
    }

    async fn read_back(&self, path: &Path) -> Result<Bytes, Error> {
        self.read(path).await?.ok_or_else(|| {
            Error::new(ErrorKind::Data, format!("{path} existed and is missing now"))
                .remedy("nothing under `_tidemill/` may be deleted by hand or by a lifecycle rule")
        })
    }

    /// The object's bytes; `None` if there is no such object.
    pub(super) async fn read(&self, path: &Path) -> Result<Option<Bytes>, Error> {
        let call = || async {
            let got = match self.objects().get(path).await {
                Ok(got) => got,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(Error::from(error)),
            };
            Ok(Some(got.bytes().await?))
        };
        self.retry().run(call).await.doing(|| format!("read {path}"))
    }

    /// The object's size in bytes; `None` if there is no such object.
    pub(super) async fn size(&self, path: &Path) -> Result<Option<u64>, Error> {
        let call = || async {
            match self.objects().head(path).await {
                Ok(meta) => Ok(Some(meta.size)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(Error::from(error)),
            }
        };
        self.retry().run(call).await.doing(|| format!("look for {path}"))
    }

    /// Deletes the object; one that is gone already is fine.
    pub(super) async fn delete(&self, path: &Path) -> Result<(), Error> {
        let call = || async {
            match self.objects().delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(Error::from(error)),
            }
        };
        self.retry().run(call).await.doing(|| format!("delete {path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(heard: Heard, step: &Step) {
        assert_eq!(next(&Bytes::from_static(b"ours"), heard), *step);
    }

    #[test]
    fn who_is_refused_reads_back() {
        check(Heard::Refused, &Step::ReadBack);
    }

    #[test]
    fn the_same_bytes_are_ours_after_a_lost_answer() {
        check(Heard::Holds("ours".into()), &Step::Done(Created::Ours));
    }

    #[test]
    fn other_bytes_are_theirs() {
        check(Heard::Holds("other".into()), &Step::Done(Created::Theirs("other".into())));
    }
}
