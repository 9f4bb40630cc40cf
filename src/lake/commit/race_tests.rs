//! Writers that race, pause, die and lose answers, in interleavings chosen by `proptest`: a plain
//! lister that looks after every step never sees an offset twice, and in the end each is there.
//!
//! The writers run the code of this module, step by step on one thread, so a failure comes with
//! the shortest list of moves that shows it and can be replayed. Bugs planted on purpose must be
//! found, or these tests would prove nothing.

use super::super::testing::{Fault, SteppedStore, memory, output, place, through};
use super::super::{Lake, paths};
use super::test_writer::{Planted, land_all, log_of};
use crate::error::Error;
use futures::{FutureExt, StreamExt};
use object_store::ObjectStoreExt;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Offsets to land.
const OFFSETS: i64 = 12;
const WRITERS: usize = 3;
/// More than any writer needs from start to end, alone and without faults.
const STEPS_MAX: usize = 5_000;

#[derive(Clone, Debug)]
enum Move {
    /// A writer runs for so many steps, and its first call to the store may fail.
    Run { writer: usize, steps: usize, fault: Option<Fault> },
    /// `kill -9`, and a start as another process.
    Kill { writer: usize },
}

/// A kill is rare beside runs, and most calls go well, so that some cases come far.
fn moves() -> impl Strategy<Value = Vec<Move>> {
    let fault = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Fault::Before)),
        1 => Just(Some(Fault::After)),
    ];
    let run = (0..WRITERS, 1..60_usize, fault).prop_map(|(writer, steps, fault)| Move::Run {
        writer,
        steps,
        fault,
    });
    let kill = (0..WRITERS).prop_map(|writer| Move::Kill { writer });
    proptest::collection::vec(prop_oneof![8 => run, 1 => kill], 0..60)
}

type Running = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

struct Writers {
    lake: Lake,
    planted: Planted,
    faults: Vec<Arc<Mutex<Option<Fault>>>>,
    running: Vec<Running>,
    /// Processes started so far; each one's bytes are its own.
    started: u64,
    seen: BTreeSet<i64>,
}

impl Writers {
    fn new(planted: Planted) -> Self {
        let lake = memory().now_or_never().expect("a store in memory answers at once");
        let faults = (0..WRITERS).map(|_| Arc::default()).collect();
        let mut writers =
            Self { lake, planted, faults, running: vec![], started: 0, seen: BTreeSet::new() };
        for writer in 0..WRITERS {
            let running = writers.start(writer);
            writers.running.push(running);
        }
        writers
    }

    fn start(&mut self, writer: usize) -> Running {
        self.started += 1;
        let store = SteppedStore {
            inner: self.lake.objects().clone(),
            fault: self.faults[writer].clone(),
            forgetful: self.planted == Planted::ForgetfulStore,
        };
        let lake = through(&self.lake, Arc::new(store));
        Box::pin(land_all(lake, self.started, OFFSETS, self.planted))
    }

    fn make(&mut self, step: &Move) -> Result<(), String> {
        match *step {
            Move::Kill { writer } => self.running[writer] = self.start(writer),
            Move::Run { writer, steps, fault } => {
                *self.faults[writer].lock().unwrap() = fault;
                for _ in 0..steps {
                    self.step(writer)?;
                }
                *self.faults[writer].lock().unwrap() = None;
            }
        }
        Ok(())
    }

    /// One step of one writer, then a look at the table; says whether the writer is done.
    fn step(&mut self, writer: usize) -> Result<bool, String> {
        let polled = self.running[writer].as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let visible = visible(&self.lake)?;
        if !self.seen.is_subset(&visible) {
            return Err(format!("offsets vanished: {:?}, then {visible:?}", self.seen));
        }
        self.seen = visible;
        match polled {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(format!("a person is called: {error}")),
            Poll::Ready(Ok(())) => {
                // A new process finds nothing to do and ends as well.
                self.running[writer] = self.start(writer);
                Ok(true)
            }
        }
    }

    /// Lets each writer come to its end, without faults.
    fn finish(&mut self) -> Result<(), String> {
        for writer in 0..WRITERS {
            let mut steps = 0;
            while !self.step(writer)? {
                steps += 1;
                if steps > STEPS_MAX {
                    return Err(format!("writer {writer} never ends"));
                }
            }
        }
        let all: BTreeSet<i64> = (0..OFFSETS).collect();
        if self.seen != all {
            return Err(format!("offsets are lost: only {:?} are visible", self.seen));
        }
        let staged = list(&self.lake, &place().stage());
        let last = log_of(&self.lake).last().now_or_never().unwrap().unwrap().unwrap().seq;
        match staged.iter().find(|path| place().staged_for(path).unwrap() <= last) {
            Some(path) => Err(format!("{path} is never swept")),
            None => Ok(()),
        }
    }
}

fn list(lake: &Lake, folder: &object_store::path::Path) -> Vec<object_store::path::Path> {
    let listed = lake.objects().list(Some(folder)).map(|meta| meta.unwrap().location);
    listed.collect().now_or_never().unwrap()
}

/// The offsets that a plain lister of the table finds.
fn visible(lake: &Lake) -> Result<BTreeSet<i64>, String> {
    let mut found = BTreeSet::new();
    for path in list(lake, &paths::table(&output())) {
        let object = async { lake.objects().get(&path).await.unwrap().bytes().await.unwrap() };
        let bytes = object.now_or_never().unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        for offset in text.split_whitespace().skip(1).map(|offset| offset.parse().unwrap()) {
            if !found.insert(offset) {
                return Err(format!("offset {offset} is visible twice"));
            }
        }
    }
    Ok(found)
}

fn run(moves: &[Move], planted: Planted) -> Result<(), String> {
    let mut writers = Writers::new(planted);
    moves.iter().try_for_each(|step| writers.make(step))?;
    writers.finish()
}

/// Checks that one case in a thousand shows the planted bug as `problem`.
#[track_caller]
fn check_found(planted: Planted, problem: &str) {
    let config = Config { cases: 1_000, failure_persistence: None, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let found = runner.run(&moves(), |moves| {
        let outcome = run(&moves, planted);
        prop_assert!(!outcome.is_err_and(|found| found.contains(problem)));
        Ok(())
    });
    assert!(found.is_err(), "{planted:?} was not found");
}

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_offset_is_seen_twice_or_lost_whatever_writers_do(moves in moves()) {
        prop_assert_eq!(run(&moves, Planted::Nothing), Ok(()));
    }
}

#[test]
fn a_store_that_forgets_to_refuse_is_found() {
    check_found(Planted::ForgetfulStore, "visible twice");
}

#[test]
fn publishing_before_the_record_is_found() {
    check_found(Planted::PublishFirst, "visible twice");
}

#[test]
fn taking_a_refusal_for_a_success_is_found() {
    check_found(Planted::TheirsIsOurs, "visible twice");
}

#[test]
fn going_on_without_recovery_is_found() {
    check_found(Planted::NoRecovery, "are lost");
}
