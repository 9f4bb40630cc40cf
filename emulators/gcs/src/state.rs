//! What there is, as a fold over the journal's entries.
//!
//! [`State::apply`] is the only way in which it changes, while the emulator runs and when it starts.

use crate::list::Versions;
use crate::object::{Bucket, Object, Place};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The highest number given so far.
    Last(u64),
    Bucket(Bucket),
    BucketGone(String),
    /// A new generation; `keeps`: the one before it stays readable.
    Object {
        object: Object,
        keeps: bool,
    },
    /// The same generation with other metadata.
    Changed(Object),
    Gone {
        bucket: String,
        name: String,
        keeps: bool,
    },
    /// One generation, for good.
    Erased {
        bucket: String,
        name: String,
        generation: u64,
    },
}

#[derive(Debug, Default)]
pub struct State {
    pub buckets: BTreeMap<String, Holding>,
    /// Generations and blobs are numbered by one clock that never stands still.
    last: u64,
}

#[derive(Debug, Default)]
pub struct Holding {
    pub bucket: Bucket,
    pub objects: BTreeMap<String, Versions>,
}

impl State {
    /// A number that nobody has had: the time in microseconds, as the service gives them too.
    pub fn number(&mut self, now: u64) -> u64 {
        self.last = now.max(self.last + 1);
        self.last
    }

    /// Takes the entry in; returns the blobs that nobody can read any more.
    pub fn apply(&mut self, entry: &Entry) -> Vec<u64> {
        match entry {
            Entry::Last(number) => self.last = self.last.max(*number),
            Entry::Bucket(bucket) => {
                self.buckets.entry(bucket.name.clone()).or_default().bucket = bucket.clone();
            }
            Entry::BucketGone(name) => {
                self.buckets.remove(name);
            }
            Entry::Object { object, keeps } => {
                self.last = self.last.max(object.generation).max(object.blob);
                let versions = self.versions(&object.bucket, &object.name);
                let before = versions.live.replace(object.clone());
                return let_go(versions, before, *keeps);
            }
            Entry::Changed(object) => {
                self.versions(&object.bucket, &object.name).live = Some(object.clone());
            }
            Entry::Gone { bucket, name, keeps } => {
                let versions = self.versions(bucket, name);
                let before = versions.live.take();
                let freed = let_go(versions, before, *keeps);
                self.prune(bucket, name);
                return freed;
            }
            Entry::Erased { bucket, name, generation } => {
                let versions = self.versions(bucket, name);
                let erased = |object: &Object| object.generation == *generation;
                let mut freed: Vec<u64> =
                    versions.older.iter().filter(|old| erased(old)).map(|old| old.blob).collect();
                versions.older.retain(|old| !erased(old));
                freed.extend(versions.live.take_if(|live| erased(live)).map(|live| live.blob));
                self.prune(bucket, name);
                return freed;
            }
        }
        Vec::new()
    }

    /// The entries that make this state of an empty one.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::Last(self.last)];
        for Holding { bucket, objects } in self.buckets.values() {
            entries.push(Entry::Bucket(bucket.clone()));
            for (name, versions) in objects {
                for object in versions.older.iter().chain(&versions.live) {
                    entries.push(Entry::Object { object: object.clone(), keeps: true });
                }
                if versions.live.is_none() {
                    let (bucket, name) = (bucket.name.clone(), name.clone());
                    entries.push(Entry::Gone { bucket, name, keeps: true });
                }
            }
        }
        entries
    }

    pub fn live(&self, place: &Place) -> Option<&Object> {
        self.buckets.get(&place.bucket)?.objects.get(&place.name)?.live.as_ref()
    }

    pub fn generation(&self, place: &Place, generation: u64) -> Option<&Object> {
        let versions = self.buckets.get(&place.bucket)?.objects.get(&place.name)?;
        versions.older.iter().chain(&versions.live).find(|object| object.generation == generation)
    }

    /// Every object whose bytes are kept.
    pub fn kept(&self) -> impl Iterator<Item = &Object> {
        let versions = self.buckets.values().flat_map(|holding| holding.objects.values());
        versions.flat_map(|versions| versions.older.iter().chain(&versions.live))
    }

    pub fn all_live(&self) -> impl Iterator<Item = &Object> {
        let versions = self.buckets.values().flat_map(|holding| holding.objects.values());
        versions.filter_map(|versions| versions.live.as_ref())
    }

    fn versions(&mut self, bucket: &str, name: &str) -> &mut Versions {
        let holding = self.buckets.entry(bucket.to_owned()).or_default();
        holding.objects.entry(name.to_owned()).or_default()
    }

    fn prune(&mut self, bucket: &str, name: &str) {
        let Some(holding) = self.buckets.get_mut(bucket) else { return };
        let nothing = |versions: &Versions| versions.live.is_none() && versions.older.is_empty();
        if holding.objects.get(name).is_some_and(nothing) {
            holding.objects.remove(name);
        }
    }
}

fn let_go(versions: &mut Versions, before: Option<Object>, keeps: bool) -> Vec<u64> {
    match before {
        Some(before) if keeps => {
            versions.older.push(before);
            Vec::new()
        }
        Some(before) => vec![before.blob],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [u64; 0] = [];

    fn object(name: &str, generation: u64) -> Object {
        let (bucket, name) = ("lake".to_owned(), name.to_owned());
        Object { bucket, name, generation, blob: generation, ..Object::default() }
    }

    fn written(name: &str, generation: u64, keeps: bool) -> Entry {
        Entry::Object { object: object(name, generation), keeps }
    }

    fn gone(name: &str, keeps: bool) -> Entry {
        Entry::Gone { bucket: "lake".to_owned(), name: name.to_owned(), keeps }
    }

    #[test]
    fn a_replaced_object_is_let_go_unless_versions_are_kept() {
        let mut state = State::default();
        assert_eq!(state.apply(&written("a", 1, false)), NOTHING);
        assert_eq!(state.apply(&written("a", 2, false)), [1]);
        assert_eq!(state.apply(&written("a", 3, true)), NOTHING);
        assert!(state.generation(&object("a", 0).place(), 2).is_some());
        assert_eq!(state.apply(&gone("a", false)), [3]);
    }

    #[test]
    fn its_own_entries_make_the_same_state() {
        let mut state = State::default();
        let lake = Bucket { name: "lake".to_owned(), ..Bucket::default() };
        state.apply(&Entry::Bucket(lake));
        let entries =
            [written("a", 1, true), written("a", 2, true), written("b", 3, true), gone("b", true)];
        for entry in &entries {
            state.apply(entry);
        }
        let mut again = State::default();
        for entry in state.entries() {
            again.apply(&entry);
        }
        assert_eq!(format!("{:?}", again.buckets), format!("{:?}", state.buckets));
        assert_eq!(again.number(0), state.number(0));
    }
}
