//! The object table: both APIs are words for what it does.
//!
//! One lock: a condition is judged, a number given, the journal written and the link made before the
//! next request is looked at. That is what a test relies on when two writers race.

use crate::condition::{Condition, Doing};
use crate::disk;
use crate::disk::{Disk, Journal};
use crate::list;
use crate::list::{Page, Query};
use crate::object::{Bucket, Metadata, Object, Place};
use crate::refusal::Refusal;
use crate::state::{Entry, State};
use bytes::Bytes;
use md5::{Digest, Md5};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The service takes one change of an object a second.
const CHANGE_EVERY_US: u64 = 1_000_000;

#[derive(Debug)]
pub struct Table {
    disk: Disk,
    inner: Mutex<Inner>,
    now: fn() -> u64,
    /// Whether a second change of one object within a second is refused.
    strict: bool,
}

#[derive(Debug)]
struct Inner {
    state: State,
    journal: Journal,
}

/// An object to read from, and what it must be.
#[derive(Clone, Debug)]
pub struct Source {
    pub place: Place,
    pub generation: Option<u64>,
    pub condition: Condition,
}

/// What is written, and where.
#[derive(Clone, Debug)]
pub struct Target {
    pub place: Place,
    pub condition: Condition,
    /// `None`: as it is at the source.
    pub metadata: Option<Metadata>,
}

impl Table {
    pub fn open(root: &Path, strict: bool, now: fn() -> u64) -> io::Result<Self> {
        let disk = Disk::open(root)?;
        let mut state = State::default();
        for entry in disk.entries()? {
            state.apply(&entry);
        }
        let kept: Vec<Object> = state.kept().cloned().collect();
        let live: Vec<Object> = state.all_live().cloned().collect();
        let journal = disk.begin(&state.entries(), &kept, &live)?;
        Ok(Self { disk, inner: Mutex::new(Inner { state, journal }), now, strict })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that nobody has had.
    pub fn number(&self) -> u64 {
        self.lock().state.number((self.now)())
    }

    /// Writes the entry down, then lets it take effect.
    fn commit(&self, inner: &mut Inner, entry: &Entry) -> Result<(), Refusal> {
        inner.journal.append(entry).map_err(|error| Refusal::disk(&error))?;
        let freed = inner.state.apply(entry);
        match entry {
            Entry::Object { object, .. } => self.disk.show(object),
            Entry::Gone { bucket, name, .. } | Entry::Erased { bucket, name, .. } => {
                let place = Place { bucket: bucket.clone(), name: name.clone() };
                if inner.state.live(&place).is_none() {
                    self.disk.hide(&place);
                }
            }
            Entry::Last(_) | Entry::Bucket(_) | Entry::BucketGone(_) | Entry::Changed(_) => {}
        }
        self.disk.forget(&freed);
        Ok(())
    }

    pub fn buckets(&self) -> Vec<Bucket> {
        self.lock().state.buckets.values().map(|holding| holding.bucket.clone()).collect()
    }

    pub fn bucket(&self, name: &str) -> Result<Bucket, Refusal> {
        self.lock().bucket(name)
    }

    pub fn create_bucket(&self, mut bucket: Bucket) -> Result<Bucket, Refusal> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        let name = &bucket.name;
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !(3..=222).contains(&name.len()) || !begins || !name.chars().all(allowed) {
            return Err(Refusal::invalid(format!("Invalid bucket name: '{name}'")));
        }
        let mut inner = self.lock();
        if inner.state.buckets.contains_key(name) {
            return Err(Refusal::conflict(
                "Your previous request to create the named bucket succeeded and you already own it.",
            ));
        }
        self.disk.make_bucket(name).map_err(|error| Refusal::disk(&error))?;
        bucket.created_us = (self.now)();
        self.commit(&mut inner, &Entry::Bucket(bucket.clone()))?;
        Ok(bucket)
    }

    pub fn change_bucket(
        &self,
        name: &str,
        change: impl FnOnce(&mut Bucket),
    ) -> Result<Bucket, Refusal> {
        let mut inner = self.lock();
        let mut bucket = inner.bucket(name)?;
        change(&mut bucket);
        self.commit(&mut inner, &Entry::Bucket(bucket.clone()))?;
        Ok(bucket)
    }

    pub fn delete_bucket(&self, name: &str) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let empty = inner.state.buckets.get(name).map(|holding| holding.objects.is_empty());
        match empty {
            None => Err(Refusal::no_bucket(name)),
            Some(false) => Err(Refusal::conflict("The bucket you tried to delete is not empty.")),
            Some(true) => {
                self.commit(&mut inner, &Entry::BucketGone(name.to_owned()))?;
                self.disk.remove_bucket(name);
                Ok(())
            }
        }
    }

    /// Writes a new generation, if the condition holds.
    pub fn put(&self, target: &Target, bytes: &[u8]) -> Result<Object, Refusal> {
        let digest = Some(Md5::digest(bytes).into());
        self.write(target, bytes, digest, None)
    }

    fn write(
        &self,
        target: &Target,
        bytes: &[u8],
        md5: Option<[u8; 16]>,
        components: Option<u32>,
    ) -> Result<Object, Refusal> {
        let blob = self.number();
        self.disk.write(blob, bytes).map_err(|error| Refusal::disk(&error))?;
        let object = Object {
            blob,
            size: bytes.len() as u64,
            crc32c: crc32c::crc32c(bytes),
            md5,
            components,
            metadata: target.metadata.clone().unwrap_or_default(),
            ..Object::default()
        };
        let written = self.publish(&mut self.lock(), target, object);
        if written.is_err() {
            self.disk.forget(&[blob]);
        }
        written
    }

    /// Gives `object` its name and its generation, if the condition holds.
    fn publish(
        &self,
        inner: &mut Inner,
        target: &Target,
        object: Object,
    ) -> Result<Object, Refusal> {
        let Target { place, condition, .. } = target;
        let keeps = inner.bucket(&place.bucket)?.versioning;
        condition.judge(inner.state.live(place), Doing::Writing)?;
        self.often_enough(inner, place)?;
        let now = (self.now)();
        let object = Object {
            bucket: place.bucket.clone(),
            name: place.name.clone(),
            generation: inner.state.number(now),
            metageneration: 1,
            created_us: now,
            updated_us: now,
            ..object
        };
        self.commit(inner, &Entry::Object { object: object.clone(), keeps })?;
        Ok(object)
    }

    fn often_enough(&self, inner: &Inner, place: &Place) -> Result<(), Refusal> {
        let updated = inner.state.live(place).map(|object| object.updated_us);
        match updated {
            Some(updated) if self.strict && (self.now)() < updated + CHANGE_EVERY_US => {
                Err(Refusal::too_often(&place.bucket, &place.name))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub fn find(&self, source: &Source) -> Result<Object, Refusal> {
        self.lock().find(source)
    }

    /// The object and some of its bytes; what `range` answers.
    pub fn read(
        &self,
        source: &Source,
        range: impl FnOnce(&Object) -> Result<Range<u64>, Refusal>,
    ) -> Result<(Object, Range<u64>, Bytes), Refusal> {
        let inner = self.lock();
        let object = inner.find(source)?;
        let range = range(&object)?;
        let blob = self.disk.open_blob(object.blob);
        drop(inner); // An open file stays readable.
        let bytes = blob.and_then(|blob| disk::read(blob, &range));
        Ok((object, range, bytes.map_err(|error| Refusal::disk(&error))?))
    }

    /// Copies an object, and `moves`: deletes the source in the same step.
    pub fn copy(&self, source: &Source, target: &Target, moves: bool) -> Result<Object, Refusal> {
        let mut inner = self.lock();
        let found = inner.find_for_writing(source)?;
        inner.bucket(&target.place.bucket)?;
        let blob = inner.state.number((self.now)());
        self.disk.copy(found.blob, blob).map_err(|error| Refusal::disk(&error))?;
        let metadata = target.metadata.clone().unwrap_or_else(|| found.metadata.clone());
        let copy = Object { blob, metadata, ..found.clone() };
        let copied = self.publish(&mut inner, target, copy);
        match &copied {
            Err(_) => self.disk.forget(&[blob]),
            Ok(_) if moves => self.remove(&mut inner, &found)?,
            Ok(_) => {}
        }
        copied
    }

    pub fn compose(&self, sources: &[Source], target: &Target) -> Result<Object, Refusal> {
        let mut bytes = Vec::new();
        let mut components = 0;
        for source in sources {
            let (object, _, part) = self.read(source, |object| Ok(0..object.size))?;
            components += object.components.unwrap_or(1);
            bytes.extend_from_slice(&part);
        }
        self.write(target, &bytes, None, Some(components))
    }

    /// Changes what is said of the live generation.
    pub fn change(
        &self,
        source: &Source,
        change: impl FnOnce(&mut Metadata),
    ) -> Result<Object, Refusal> {
        let mut inner = self.lock();
        let mut object = inner.find_for_writing(source)?;
        self.often_enough(&inner, &source.place)?;
        change(&mut object.metadata);
        object.metageneration += 1;
        object.updated_us = (self.now)();
        self.commit(&mut inner, &Entry::Changed(object.clone()))?;
        Ok(object)
    }

    pub fn delete(&self, source: &Source) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let found = inner.find_for_writing(source)?;
        if source.generation.is_some() {
            let Object { bucket, name, generation, .. } = found;
            return self.commit(&mut inner, &Entry::Erased { bucket, name, generation });
        }
        self.remove(&mut inner, &found)
    }

    fn remove(&self, inner: &mut Inner, object: &Object) -> Result<(), Refusal> {
        let keeps = inner.bucket(&object.bucket)?.versioning;
        let Object { bucket, name, .. } = object.clone();
        self.commit(inner, &Entry::Gone { bucket, name, keeps })
    }

    pub fn list(&self, bucket: &str, query: &Query) -> Result<Page, Refusal> {
        let inner = self.lock();
        let holding = inner.state.buckets.get(bucket);
        let holding = holding.ok_or_else(|| Refusal::no_bucket(bucket))?;
        Ok(list::page(&holding.objects, query))
    }
}

impl Inner {
    fn bucket(&self, name: &str) -> Result<Bucket, Refusal> {
        let holding = self.state.buckets.get(name);
        holding.map(|holding| holding.bucket.clone()).ok_or_else(|| Refusal::no_bucket(name))
    }

    fn find(&self, source: &Source) -> Result<Object, Refusal> {
        self.judged(source, Doing::Reading)
    }

    fn find_for_writing(&self, source: &Source) -> Result<Object, Refusal> {
        self.judged(source, Doing::Writing)
    }

    fn judged(&self, source: &Source, doing: Doing) -> Result<Object, Refusal> {
        let Source { place, generation, condition } = source;
        self.bucket(&place.bucket)?;
        let found = match generation {
            Some(generation) => self.state.generation(place, *generation),
            None => self.state.live(place),
        };
        let found = found.ok_or_else(|| Refusal::no_object(&place.bucket, &place.name))?;
        condition.judge(Some(found), doing)?;
        Ok(found.clone())
    }
}

#[cfg(test)]
mod tests;
