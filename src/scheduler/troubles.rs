//! A table or a DAG's version that cannot be read is stored as a problem until it is over.
//!
//! Only changes are written: a step that finds what the one before has found writes nothing.

use crate::error::{Error, ErrorKind};
use crate::model::problem::{About, Problem};
use crate::model::time::Micros;
use crate::store::Store;
use std::collections::BTreeMap;
use tokio::sync::Mutex;
use tracing::warn;

/// What is stored, by subject; `None` until it is asked for.
#[derive(Debug, Default)]
pub struct Troubles {
    known: Mutex<Option<BTreeMap<About, String>>>,
}

impl Troubles {
    /// Notes why the subject cannot go on, unless the cause may pass by itself.
    pub async fn note(
        &self,
        store: &Store,
        about: About,
        error: &Error,
        now: Micros,
    ) -> Result<(), Error> {
        if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Fenced) {
            return Ok(());
        }
        let mut known = self.known.lock().await;
        let (known, text) = (load(&mut known, store).await?, error.to_string());
        if known.get(&about) == Some(&text) {
            return Ok(());
        }
        warn!(remedy = error.remedy, "{text}");
        store.note_problem(&Problem::of(about.clone(), error, now)).await?;
        known.insert(about, text);
        Ok(())
    }

    /// The subject goes on.
    pub async fn settle(&self, store: &Store, about: &About) -> Result<(), Error> {
        let mut known = self.known.lock().await;
        let known = load(&mut known, store).await?;
        if known.contains_key(about) {
            store.settle_problem(about).await?;
            known.remove(about);
        }
        Ok(())
    }

    /// Settles all of a kind but for those that `stand`.
    pub async fn settle_but(
        &self,
        store: &Store,
        stand: impl Fn(&About) -> bool,
    ) -> Result<(), Error> {
        let over: Vec<About> = {
            let mut known = self.known.lock().await;
            let known = load(&mut known, store).await?;
            known.keys().filter(|about| !stand(about)).cloned().collect()
        };
        for about in over {
            self.settle(store, &about).await?;
        }
        Ok(())
    }
}

async fn load<'a>(
    known: &'a mut Option<BTreeMap<About, String>>,
    store: &Store,
) -> Result<&'a mut BTreeMap<About, String>, Error> {
    if known.is_none() {
        let ours = |about: &About| match about {
            About::Table { .. } | About::Version { .. } => true,
            About::Files { .. } | About::Closing { .. } => false,
        };
        let stored = store.problems().await?.into_iter();
        let stored = stored.filter(|problem| ours(&problem.about));
        *known = Some(stored.map(|problem| (problem.about, problem.text)).collect());
    }
    Ok(known.get_or_insert_default())
}
