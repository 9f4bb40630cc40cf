//! The results of one hive partition: attempts of closing 1 and of closing 2 replace its object in
//! the lake, then its partition of a warehouse that takes load jobs. An attempt that has lost touch
//! goes on at any time, and so does a load job that was submitted.

use crate::lake::testing::decisions::fence;
use crate::lake::testing::output;
use crate::model::commit::{FORMAT, Output};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::{BTreeMap, BTreeSet};

/// Tries of one closing's task.
const TRIES_MAX: u8 = 2;
/// Kills, lost answers and failing jobs, all told.
const FAULTS: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// An output takes the place of a newer one.
    OlderOutput,
    /// An output is put without the condition that nothing has changed since it was looked at.
    BlindPut,
    /// A job that has failed counts as one that has loaded.
    AdoptFailed,
    /// The jobs of older closings are left as they are.
    NoBurn,
    /// Who burns the older jobs does not keep new ones from being stored.
    NoEpoch,
    /// A job's id is stored after the job was submitted.
    LateId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Job {
    Pending,
    Loaded,
    Failed,
    /// A query without effect, which keeps the id from being used.
    Burnt,
}

/// Closing and try: a job's id, and an attempt's name.
type Id = (u8, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Look,
    /// The object as it was looked at: how often it had been put.
    Put(u8),
    Burn,
    Store,
    Submit(Id),
    Await(Id),
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Warehouse {
    /// The closing that the lake's object was made from, and how often it was put.
    object: (u8, u8),
    /// The closing that the partition was loaded from.
    partition: u8,
    jobs: BTreeMap<Id, Job>,
    /// Sent without an answer.
    flying: BTreeSet<Id>,
    /// The state store: ids of jobs, the newest closing that has begun to load, who has succeeded.
    ids: BTreeSet<Id>,
    epoch: u8,
    succeeded: BTreeSet<u8>,
    attempts: BTreeMap<Id, At>,
    /// The highest that each has ever been.
    object_highest: u8,
    partition_highest: u8,
    faults: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Start(Id),
    Step(Id),
    /// The submission's answer is lost; it may take effect later.
    Lose(Id),
    Kill(Id),
    Land(Id),
    Load(Id),
    Fail(Id),
}

struct Search(Planted);

impl Warehouse {
    fn submit(&mut self, id: Id) {
        // A used id is refused, whatever it was used for.
        self.jobs.entry(id).or_insert(Job::Pending);
    }

    fn step(&self, id: Id, planted: Planted) -> Self {
        let mut next = self.clone();
        let n = id.0;
        let at = match self.attempts[&id] {
            At::Look => match fence(self.output().as_ref(), n.into()) {
                Err(_) if planted != Planted::OlderOutput => At::Ended,
                Ok(()) | Err(_) => At::Put(self.object.1),
            },
            At::Put(seen) if seen == self.object.1 || planted == Planted::BlindPut => {
                next.object = (n, self.object.1 + 1);
                next.object_highest = n.max(self.object_highest);
                At::Burn
            }
            At::Put(_) => At::Look,
            At::Burn => next.burn(n, planted),
            At::Store => next.store(id, planted),
            At::Submit(job) => {
                next.submit(job);
                At::Await(job)
            }
            At::Await(job) => next.hear(job, planted),
            At::Ended => At::Ended,
        };
        next.attempts.insert(id, at);
        next
    }

    fn output(&self) -> Option<Output> {
        let (n, _) = self.object;
        let key = "2026-11-20T05".parse().unwrap();
        let run = "run".into();
        let made = Output {
            format: FORMAT,
            table: output(),
            key,
            n: n.into(),
            run,
            input: None,
            file: None,
        };
        (n > 0).then_some(made)
    }

    /// Fences older attempts in the store, then burns each job of theirs whose end is not known;
    /// waits for those that exist.
    fn burn(&mut self, n: u8, planted: Planted) -> At {
        if planted != Planted::NoEpoch {
            self.epoch = self.epoch.max(n);
        }
        let older: Vec<Id> = self.ids.iter().filter(|id| id.0 < n).copied().collect();
        if planted == Planted::NoBurn {
            return At::Store;
        }
        for job in &older {
            self.jobs.entry(*job).or_insert(Job::Burnt);
        }
        let pending = older.iter().any(|job| self.jobs[job] == Job::Pending);
        if pending { At::Burn } else { At::Store }
    }

    /// Takes its own closing's last job on, unless that has failed; else stores a new id.
    fn store(&mut self, id: Id, planted: Planted) -> At {
        if id.0 < self.epoch {
            return At::Ended;
        }
        let own = self.ids.iter().rfind(|job| job.0 == id.0).copied();
        match own.map(|job| (job, self.jobs.get(&job).copied())) {
            Some((job, Some(Job::Pending | Job::Loaded))) => return At::Await(job),
            Some((job, Some(Job::Failed))) if planted == Planted::AdoptFailed => {
                return At::Await(job);
            }
            Some((_, Some(Job::Failed | Job::Burnt) | None)) | None => {}
        }
        if planted != Planted::LateId {
            self.ids.insert(id);
        }
        At::Submit(id)
    }

    fn hear(&mut self, job: Id, planted: Planted) -> At {
        self.ids.insert(job);
        match self.jobs.get(&job) {
            Some(Job::Pending) => return At::Await(job),
            Some(Job::Loaded) => {
                self.succeeded.insert(job.0);
            }
            Some(Job::Failed) if planted == Planted::AdoptFailed => {
                self.succeeded.insert(job.0);
            }
            Some(Job::Failed | Job::Burnt) => {}
            None => return At::Submit(job),
        }
        At::Ended
    }
}

impl Model for Search {
    type State = Warehouse;
    type Action = Action;

    fn init_states(&self) -> Vec<Warehouse> {
        vec![Warehouse {
            object: (0, 0),
            partition: 0,
            jobs: BTreeMap::new(),
            flying: BTreeSet::new(),
            ids: BTreeSet::new(),
            epoch: 0,
            succeeded: BTreeSet::new(),
            attempts: BTreeMap::new(),
            object_highest: 0,
            partition_highest: 0,
            faults: FAULTS,
        }]
    }

    fn actions(&self, now: &Warehouse, actions: &mut Vec<Action>) {
        // Nobody waits for the end of an attempt here: fences alone must do.
        for n in 1..=2 {
            let tried = now.attempts.keys().filter(|id| id.0 == n).max();
            let next = tried.map_or(1, |id| id.1 + 1);
            let ended = tried.is_none_or(|id| now.attempts[id] == At::Ended);
            if ended && next <= TRIES_MAX && !now.succeeded.contains(&n) {
                actions.push(Action::Start((n, next)));
            }
        }
        let at_work = now.attempts.iter().filter(|(_, at)| **at != At::Ended);
        for (id, at) in at_work {
            actions.push(Action::Step(*id));
            if now.faults > 0 {
                actions.push(Action::Kill(*id));
                if matches!(at, At::Submit(_)) {
                    actions.push(Action::Lose(*id));
                }
            }
        }
        actions.extend(now.flying.iter().map(|id| Action::Land(*id)));
        for (id, _) in now.jobs.iter().filter(|(_, job)| **job == Job::Pending) {
            actions.push(Action::Load(*id));
            if now.faults > 0 {
                actions.push(Action::Fail(*id));
            }
        }
    }

    fn next_state(&self, now: &Warehouse, action: Action) -> Option<Warehouse> {
        let mut next = now.clone();
        match action {
            Action::Start(id) => {
                next.attempts.insert(id, At::Look);
            }
            Action::Step(id) => next = now.step(id, self.0),
            Action::Lose(id) => {
                let At::Submit(job) = now.attempts[&id] else { return None };
                next.faults -= 1;
                next.flying.insert(job);
                next.attempts.insert(id, At::Await(job));
            }
            Action::Kill(id) => {
                next.faults -= 1;
                next.attempts.insert(id, At::Ended);
            }
            Action::Land(id) => {
                next.flying.remove(&id);
                next.submit(id);
            }
            Action::Load(id) => {
                next.jobs.insert(id, Job::Loaded);
                next.partition = id.0;
                next.partition_highest = id.0.max(now.partition_highest);
            }
            Action::Fail(id) => {
                next.faults -= 1;
                next.jobs.insert(id, Job::Failed);
            }
        }
        (next != *now).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(OBJECT, |_, now: &Warehouse| now.object.0 == now.object_highest),
            Property::always(PARTITION, |_, now: &Warehouse| {
                now.partition == now.partition_highest
            }),
            Property::always(LOADED, |_, now: &Warehouse| {
                now.succeeded.iter().all(|n| now.partition >= *n)
            }),
        ]
    }
}

const OBJECT: &str = "no older output over a newer one";
const PARTITION: &str = "no older load over a newer one";
const LOADED: &str = "what has succeeded is loaded";

#[test]
fn no_older_result_takes_the_place_of_a_newer_one_whatever_attempts_do() {
    let checker = Search(Planted::Nothing).checker().spawn_bfs().join();
    let found = checker.discoveries();
    let found: Vec<_> = found.iter().map(|(name, path)| format!("{name}: {path}")).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(checker.unique_state_count() > 10_000, "the bounds are too small to prove anything");
}

#[track_caller]
fn check_found(planted: Planted, property: &'static str) {
    let checker = Search(planted).checker();
    let checker = checker.finish_when(HasDiscoveries::AnyOf([property].into())).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "{planted:?} was not found");
}

#[test]
fn an_older_output_over_a_newer_one_is_found() {
    check_found(Planted::OlderOutput, OBJECT);
    check_found(Planted::BlindPut, OBJECT);
}

#[test]
fn adopting_a_failed_load_is_found() {
    check_found(Planted::AdoptFailed, LOADED);
}

#[test]
fn an_older_load_that_nobody_has_burnt_is_found() {
    check_found(Planted::NoBurn, PARTITION);
    check_found(Planted::NoEpoch, PARTITION);
    check_found(Planted::LateId, PARTITION);
}
