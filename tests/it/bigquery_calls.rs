//! Every call that a load or a question makes of BigQuery goes wrong once, in every way; and so does
//! every word to the journal.

use crate::servers::ask;
use crate::warehouse::{FIVE, Memory, Place, SIX};
use async_trait::async_trait;
use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tidemill::error::{Error, ErrorKind};
use tidemill::model::load::{BegunLoad, LoadEnd, LoadIntent};
use tidemill::warehouse::bigquery::Patience;
use tidemill::warehouse::{Journal, Load, Warehouse};

/// More calls than a load of any kind makes.
const CALLS_MAX: u32 = 40;

/// Long enough for the emulator on a busy machine; what is given up here and answered later is one
/// more fault of the kind that is tried.
const PATIENCE: Patience =
    Patience { call_max: Duration::from_millis(1500), tries: 5, pause: Duration::from_millis(20) };
/// A page of an answer takes it longer.
const PAGE_MAX: Duration = Duration::from_secs(8);
/// When nobody waits for it any more.
const LATE_MS: u64 = 1800;

/// What a load finds, and what it must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// Neither data set nor table: both are made, and the service is asked for jobs that nobody knows.
    First,
    /// An older load still runs, a lost journal does not know it, and the job's file has been edited:
    /// the table is changed, the older load found and cancelled.
    Follows,
    /// A result without rows.
    Empties,
}

const SCENES: [Scene; 3] = [Scene::First, Scene::Follows, Scene::Empties];

impl Scene {
    async fn prepare(self) -> Option<Place> {
        let mut place = Place::bigquery_alone(PATIENCE).await?;
        if self == Self::First {
            return Some(place);
        }
        for load in [place.load(FIVE, 1, &[1]), place.load(SIX, 1, &[9])] {
            place.replace(&load).await.unwrap();
        }
        if self == Self::Follows {
            fault(&place, "jobs.insert", "hold", 0);
            fault(&place, "jobs.get", "hang before", 0);
            let older = place.load(FIVE, 2, &[7]);
            assert!(is_killed(&place, &older).await);
            place.journal = Memory::new(&format!("{}-anew", place.set));
        }
        Some(place)
    }

    fn load(self, place: &Place) -> Load {
        let values: &[i64] = if self == Self::Empties { &[] } else { &[2, 3] };
        let mut load = place.load(FIVE, 3, values);
        if self == Self::Follows {
            load.to.description = "Counts".into();
        }
        load
    }

    /// How many calls a load makes at least.
    fn calls_min(self) -> u32 {
        match self {
            Self::First => 8,
            Self::Follows => 9,
            Self::Empties => 3,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::First => "05: 2 3",
            Self::Follows => "05: 2 3, 06: 9",
            Self::Empties => "06: 9",
        }
    }
}

/// Asks for a fault of the call after `skip` others.
fn fault(place: &Place, call: &str, fault: &str, skip: u32) {
    let about = place.mark();
    let fault = json!([{
        "call": call, "fault": fault, "skip": skip, "about": about, "late_ms": LATE_MS
    }]);
    place.post("/faults", &fault.to_string());
}

/// Ends the faults; says whether there was a call to hit.
fn was_hit(place: &Place) -> bool {
    let told: Value = serde_json::from_str(&place.post("/clear", &place.mark())).unwrap();
    told["left"] == 0
}

/// Loads until the emulator does not answer; then it is as if the process had been killed. False if
/// the load came to its end before that.
async fn is_killed(place: &Place, load: &Load) -> bool {
    let (address, mark) = (place.address.unwrap(), place.mark());
    let hung = tokio::task::spawn_blocking(move || ask(address, "POST", "/hung", &mark));
    tokio::select! {
        done = place.replace(load) => {
            done.unwrap();
            was_hit(place); // It also ends the waiting.
            false
        }
        _ = hung => true,
    }
}

/// The rows are those of the load, by one job at most, and nobody older comes after it.
async fn check(scene: Scene, place: &Place, case: &str) {
    assert_eq!(place.rows(), scene.expected(), "{case}");
    let told = place.journal.told();
    let loaded = told.iter().filter(|job| job.ends_with(" loaded")).count();
    let before = if scene == Scene::Empties { 2 } else { 0 };
    assert_eq!(loaded, before + 1, "{case}: {told:?}");
    assert!(told.iter().all(|job| !job.ends_with(" open")), "{case}: {told:?}");
    place.post("/release", &place.set);
    let late = place.replace(&place.load(FIVE, 2, &[7])).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::Fenced, "{case}: {late}");
    assert_eq!(place.rows(), scene.expected(), "{case}");
}

/// Lets some scenes play side by side, as many as the emulator answers in time.
async fn play(scenes: impl IntoIterator<Item = impl Future<Output = ()>>) {
    futures::stream::iter(scenes).buffer_unordered(5).collect::<()>().await;
}

async fn is_killed_at_every_call(scene: Scene, when: &'static str) {
    for call in 0..CALLS_MAX {
        let Some(place) = scene.prepare().await else { return };
        let case = format!("{scene:?}, {when} call {call}");
        let load = scene.load(&place);
        fault(&place, "any", when, call);
        let killed = is_killed(&place, &load).await;
        was_hit(&place);
        place.replace(&load).await.unwrap();
        check(scene, &place, &case).await;
        if !killed {
            assert!(call >= scene.calls_min(), "{case}");
            return;
        }
    }
    panic!("{scene:?} makes more than {CALLS_MAX} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_at_any_call_is_followed_by_one_that_loads_once() {
    let whens = ["hang before", "hang after"];
    let all = SCENES.into_iter().flat_map(|scene| whens.map(|when| (scene, when)));
    play(all.map(|(scene, when)| is_killed_at_every_call(scene, when))).await;
}

async fn gets_over_trouble_at_every_call(scene: Scene, how: &'static str) {
    for call in 0..CALLS_MAX {
        let Some(place) = scene.prepare().await else { return };
        let case = format!("{scene:?}, {how} call {call}");
        fault(&place, "any", how, call);
        let loaded = place.replace(&scene.load(&place)).await;
        loaded.unwrap_or_else(|error| panic!("{case}: {error}"));
        let hit = was_hit(&place);
        check(scene, &place, &case).await;
        if !hit {
            assert!(call >= scene.calls_min(), "{case}");
            return;
        }
    }
    panic!("{scene:?} makes more than {CALLS_MAX} calls");
}

/// Refused for now, answer lost, no answer with and without effect, and an effect that comes when
/// the caller has given up and asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_or_is_never_answered_is_made_again_and_loads_once() {
    let hows = ["before", "after", "hang before", "hang after", "late"];
    let all = SCENES.into_iter().flat_map(|scene| hows.map(|how| (scene, how)));
    play(all.map(|(scene, how)| gets_over_trouble_at_every_call(scene, how))).await;
}

async fn is_refused_at_every_call(scene: Scene) {
    for call in 0..CALLS_MAX {
        let Some(place) = scene.prepare().await else { return };
        let case = format!("{scene:?}, denied call {call}");
        let load = scene.load(&place);
        fault(&place, "any", "denied", call);
        let outcome = place.replace(&load).await;
        let hit = was_hit(&place);
        if hit {
            let denied = outcome.unwrap_err();
            assert_eq!(denied.kind, ErrorKind::Input, "{case}: {denied}");
            assert!(denied.remedy.unwrap().contains("roles/bigquery"), "{case}");
            place.replace(&load).await.unwrap();
        }
        check(scene, &place, &case).await;
        if !hit {
            assert!(call >= scene.calls_min(), "{case}");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_refused_names_the_roles_and_what_was_begun_is_finished_later() {
    play(SCENES.map(is_refused_at_every_call)).await;
}

/// A journal whose store goes away at one word: before it is written, or after.
struct Troubled<'a> {
    own: &'a Memory,
    at: u32,
    written: bool,
    calls: AtomicU32,
}

impl Troubled<'_> {
    async fn word<T>(&self, run: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.calls.fetch_add(1, Ordering::SeqCst) != self.at {
            return run.await;
        }
        if self.written {
            run.await?;
        }
        Err(Error::new(ErrorKind::Unavailable, "the store is gone"))
    }
}

#[async_trait]
impl Journal for Troubled<'_> {
    async fn begin(&self, intent: &LoadIntent) -> Result<BegunLoad, Error> {
        self.word(self.own.begin(intent)).await
    }

    async fn end(&self, job: &str, end: LoadEnd) -> Result<(), Error> {
        self.word(self.own.end(job, end)).await
    }
}

async fn loses_its_journal_at_every_word(scene: Scene, written: bool) {
    for at in 0..CALLS_MAX {
        let Some(place) = scene.prepare().await else { return };
        let case = format!("{scene:?}, word {at}, written: {written}");
        let load = scene.load(&place);
        let journal = Troubled { own: &place.journal, at, written, calls: AtomicU32::new(0) };
        let outcome = place.warehouse.replace(&load, &journal).await;
        let hit = journal.calls.load(Ordering::SeqCst) > at;
        assert_eq!(outcome.is_err(), hit, "{case}");
        if let Err(error) = outcome {
            assert_eq!(error.kind, ErrorKind::Unavailable, "{case}: {error}");
            place.replace(&load).await.unwrap();
        }
        check(scene, &place, &case).await;
        if !hit {
            assert!(at > 1, "{case}");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_away_at_any_word_to_the_journal_leads_to_one_load() {
    let all = SCENES.into_iter().flat_map(|scene| [false, true].map(|written| (scene, written)));
    play(all.map(|(scene, written)| loses_its_journal_at_every_word(scene, written))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_gets_over_trouble_at_any_call() {
    let patience = Patience { call_max: PAGE_MAX, ..PATIENCE };
    let Some(place) = Place::bigquery_alone(patience).await else { return };
    // More than a page of an answer has.
    let many: Vec<i64> = (0..12_000).collect();
    place.replace(&place.load(FIVE, 1, &many)).await.unwrap();
    let Warehouse::BigQuery(bigquery) = &place.warehouse else { panic!("it is a folder") };
    let table = place.to().table;
    for how in ["before", "after", "hang before", "denied"] {
        for call in 0..CALLS_MAX {
            fault(&place, "any", how, call);
            let read = bigquery.read(&table, None).await;
            let hit = was_hit(&place);
            match read {
                Ok(rows) => assert_eq!(rows.num_rows(), 12_000, "{how} call {call}"),
                Err(error) => {
                    assert_eq!((how, error.kind), ("denied", ErrorKind::Input), "{error}");
                }
            }
            if !hit {
                assert!(call > 2, "{call} calls");
                break;
            }
        }
    }
}
