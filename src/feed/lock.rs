//! Sees to it that a topic has one feed at a time.

use crate::error::{Doing, Error, ErrorKind};
use crate::model::name::TopicName;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::path::Path;

/// Held as long as it lives; the system lets go of it when the process dies, however that happens.
#[derive(Debug)]
pub struct TopicLock {
    _file: File,
}

impl TopicLock {
    /// Takes the lock of `topic` in `home`, the state folder of the environment.
    pub fn take(home: &Path, topic: &TopicName) -> Result<Self, Error> {
        let folder = home.join("feeds");
        let path = folder.join(format!("{topic}.lock"));
        let open = || {
            std::fs::create_dir_all(&folder)?;
            OpenOptions::new().create(true).truncate(false).write(true).open(&path)
        };
        let file = open()
            .map_err(|err| Error::new(ErrorKind::Input, err))
            .doing(|| format!("open {}", path.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(Error::new(ErrorKind::Unavailable, format!("another feed is filling {topic}"))
                    .remedy("a topic with marks has one producer: stop the other feed first"))
            }
            Err(errno) => Err(Error::new(ErrorKind::Input, errno))
                .doing(|| format!("lock {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_feed_of_a_topic_is_refused_until_the_first_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let topic: TopicName = "wikimedia.recentchange".parse().unwrap();
        let first = TopicLock::take(home.path(), &topic).unwrap();
        let refused = TopicLock::take(home.path(), &topic).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unavailable);
        TopicLock::take(home.path(), &"another.topic".parse().unwrap()).unwrap();
        drop(first);
        TopicLock::take(home.path(), &topic).unwrap();
    }
}
