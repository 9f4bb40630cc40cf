//! Spreads a topic's partitions over the live members of a consumer group, without a coordinator.
//!
//! Every member holds a lock on a file of its own for as long as its process lives, and one on each
//! topic partition that it owns. All members see the same live ones and compute the same shares; a
//! topic partition changes hands only through its lock, so it never has two owners, whatever two
//! members believe for a moment. A stopped process keeps its locks: the lake's log fences it.

use super::disk;
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::Change;
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;

pub struct Member {
    folder: PathBuf,
    /// Grows with time, so that the shares of older members move least.
    id: String,
    _alive: File,
    partitions: u32,
    owned: BTreeMap<u32, Owned>,
}

struct Owned {
    lock: File,
    /// Its release has been asked for.
    revoked: bool,
}

impl Member {
    pub fn join(topic: &Path, group: &str, partitions: u32) -> Result<Self, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if group.is_empty() || group.starts_with('.') || !group.chars().all(plain) {
            return Err(Error::new(
                ErrorKind::Input,
                format!("`{group}` is not the name of a consumer group"),
            )
            .remedy("use letters, digits, '.', '_' and '-', not beginning with a dot"));
        }
        let folder = topic.join("groups").join(group);
        let id = Uuid::now_v7().simple().to_string();
        fs::create_dir_all(folder.join("members")).map_err(disk)?;
        let path = member_path(&folder, &id);
        let alive = live_file(&path).doing(|| format!("join group {group}"))?;
        Ok(Self { folder, id, _alive: alive, partitions, owned: BTreeMap::new() })
    }

    /// The topic has so many topic partitions now.
    pub fn grow(&mut self, partitions: u32) {
        self.partitions = self.partitions.max(partitions);
    }

    /// Looks who is alive, takes what is ours and free, and asks back what is another's.
    pub fn look(&mut self) -> Result<Vec<Change>, Error> {
        let members = self.live_members()?;
        let wanted = share(self.partitions, &members, &self.id);
        let mut revoked = Vec::new();
        for (topic_partition, owned) in &mut self.owned {
            if !wanted.contains(topic_partition) && !owned.revoked {
                owned.revoked = true;
                revoked.push(*topic_partition);
            }
        }
        let mut assigned = Vec::new();
        for topic_partition in wanted {
            if !self.owned.contains_key(&topic_partition)
                && let Some(lock) = self.take(topic_partition)?
            {
                self.owned.insert(topic_partition, Owned { lock, revoked: false });
                assigned.push(topic_partition);
            }
        }
        let mut changes = Vec::new();
        if !revoked.is_empty() {
            changes.push(Change::Revoked(revoked));
        }
        if !assigned.is_empty() {
            changes.push(Change::Assigned(assigned));
        }
        Ok(changes)
    }

    /// Whether it is ours and nobody has asked for it.
    pub fn keeps(&self, topic_partition: u32) -> bool {
        self.owned.get(&topic_partition).is_some_and(|owned| !owned.revoked)
    }

    pub fn release(&mut self, topic_partition: u32) {
        self.owned.remove(&topic_partition); // Closing the file frees the lock.
    }

    /// Leaves the offset in the file whose lock says that the topic partition is ours.
    pub fn commit_advisory(&self, topic_partition: u32, offset: i64) -> Result<(), Error> {
        match self.owned.get(&topic_partition) {
            // Always as long, so that no older digit stays behind.
            Some(owned) => {
                owned.lock.write_all_at(format!("{offset:020}\n").as_bytes(), 0).map_err(disk)
            }
            None => Ok(()),
        }
    }

    fn live_members(&self) -> Result<Vec<String>, Error> {
        let mut members = vec![self.id.clone()];
        for entry in fs::read_dir(self.folder.join("members")).map_err(disk)? {
            let name = entry.map_err(disk)?.file_name();
            let Some(id) = name.to_str().filter(|id| *id != self.id) else { continue };
            if is_alive(&member_path(&self.folder, id))? {
                members.push(id.to_owned());
            }
        }
        members.sort_unstable();
        Ok(members)
    }

    fn take(&self, topic_partition: u32) -> Result<Option<File>, Error> {
        let lock = open_lock(&self.folder.join(topic_partition.to_string())).map_err(disk)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(err)) => Err(disk(err)),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Still locked, so nobody else can be about to judge it. A file left behind is only litter.
        let _ = fs::remove_file(member_path(&self.folder, &self.id));
    }
}

/// Every n-th topic partition, n being the number of members.
fn share(partitions: u32, members: &[String], me: &str) -> Vec<u32> {
    let place = members.iter().position(|member| member == me);
    let owner = |topic_partition: &u32| Some(*topic_partition as usize % members.len()) == place;
    (0..partitions).filter(owner).collect()
}

fn member_path(folder: &Path, id: &str) -> PathBuf {
    folder.join("members").join(id)
}

/// A locked file under this very name: another member may take it for a dead one's and remove it
/// between its creation and our lock.
fn live_file(path: &Path) -> Result<File, Error> {
    loop {
        let file = open_lock(path).map_err(disk)?;
        file.lock().map_err(disk)?;
        let ours = file.metadata().map_err(disk)?.ino();
        match fs::metadata(path) {
            Ok(found) if found.ino() == ours => return Ok(file),
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(disk(err)),
        }
    }
}

/// A member whose lock can be had is dead; its file is cleared away.
fn is_alive(path: &Path) -> Result<bool, Error> {
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(err) => return Err(disk(err)),
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(err)) => Err(disk(err)),
        Ok(()) => match fs::remove_file(path) {
            Ok(()) => Ok(false),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(err) => Err(disk(err)),
        },
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_members_are_the_topic() {
        for count in 1..7 {
            let members: Vec<String> = (0..count).map(|member| format!("m{member}")).collect();
            let mut all: Vec<u32> =
                members.iter().flat_map(|member| share(4, &members, member)).collect();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn what_a_dead_member_owned_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Member::join(dir.path(), "g", 4).unwrap();
        assert_eq!(first.look().unwrap(), [Change::Assigned(vec![0, 1, 2, 3])]);
        let mut second = Member::join(dir.path(), "g", 4).unwrap();
        assert_eq!(second.look().unwrap(), []);
        assert_eq!(first.look().unwrap(), [Change::Revoked(vec![1, 3])]);
        assert_eq!(first.look().unwrap(), []);
        assert!(first.keeps(0) && !first.keeps(1));
        first.release(1);
        first.release(3);
        assert_eq!(second.look().unwrap(), [Change::Assigned(vec![1, 3])]);
        drop(second);
        assert_eq!(first.look().unwrap(), [Change::Assigned(vec![1, 3])]);
    }

    #[test]
    fn what_is_added_is_taken_by_one_member() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Member::join(dir.path(), "g", 1).unwrap();
        assert_eq!(first.look().unwrap(), [Change::Assigned(vec![0])]);
        let mut second = Member::join(dir.path(), "g", 1).unwrap();
        assert_eq!(second.look().unwrap(), []);
        second.grow(2);
        assert_eq!(second.look().unwrap(), [Change::Assigned(vec![1])]);
        first.grow(2);
        assert_eq!(first.look().unwrap(), []);
    }

    #[test]
    fn a_group_cannot_leave_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        for group in ["", "..", "a/b", ".x"] {
            assert!(Member::join(dir.path(), group, 1).is_err(), "{group:?}");
        }
    }
}
