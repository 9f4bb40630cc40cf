//! Faults on demand: which requests fail, how, and how often.
//!
//! A rule says how a request fails *around* its effect, since that is what a client can't see: an
//! error may come before the effect or instead of its answer, and a stalled request may still take
//! effect when its sender has given up. With a seed the same requests fail again.

use crate::request::Request;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It has no effect, and is answered with `status`.
    Before,
    /// It takes effect, and is answered with `status`.
    After,
    /// It takes effect after `stall_ms`, whether anyone still waits for the answer or not.
    StallBefore,
    /// It takes effect at once, and is answered after `stall_ms`.
    StallAfter,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub fault: Kind,
    #[serde(default = "unavailable")]
    pub status: u16,
    #[serde(default)]
    pub stall_ms: u64,
    /// `PUT`; left out: any.
    #[serde(default)]
    pub method: Option<String>,
    /// How `bucket/name` of the object begins; left out: any.
    #[serde(default)]
    pub prefix: String,
    /// What the object's name holds; left out: anything.
    #[serde(default)]
    pub contains: String,
    /// How many requests that match pass unharmed first.
    #[serde(default)]
    pub skip: u64,
    /// How many more requests it hits; left out: it never ends.
    #[serde(default)]
    pub next: Option<u64>,
    /// How many of those that match are hit, 0 to 1; left out: all.
    #[serde(default)]
    pub probability: Option<f64>,
    #[serde(default)]
    pub seed: u64,
    /// How many were hit.
    #[serde(default)]
    pub hits: u64,
}

fn unavailable() -> u16 {
    503
}

/// One request's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub status: u16,
    pub stall: Duration,
}

#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
    /// Shared by the requests that are yet to take effect.
    late: Arc<RwLock<()>>,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn replace(&self, rules: Vec<Rule>) {
        *self.lock() = rules;
    }

    pub fn rules(&self) -> Vec<Rule> {
        self.lock().clone()
    }

    /// Held by a request until it has taken effect.
    pub async fn late(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.late).read_owned().await
    }

    /// Ends the rules, and waits until what they hold up has taken effect.
    pub async fn end(&self) {
        self.replace(Vec::new());
        drop(self.late.write().await);
    }

    /// The first rule that hits the request decides.
    pub fn of(&self, request: &Request) -> Option<Fault> {
        let target = request.target();
        let mut rules = self.lock();
        let mut rules = rules.iter_mut();
        let rule = loop {
            let rule = rules.next()?;
            if rule.matches(request.method.as_str(), &target) && rule.is_hit() {
                break rule;
            }
        };
        rule.hits += 1;
        rule.next = rule.next.map(|next| next.saturating_sub(1));
        let stall = Duration::from_millis(rule.stall_ms);
        Some(Fault { kind: rule.fault, status: rule.status, stall })
    }
}

impl Rule {
    fn matches(&self, method: &str, target: &str) -> bool {
        self.next != Some(0)
            && self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && target.starts_with(&self.prefix)
            && target.contains(&self.contains)
    }

    fn is_hit(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let Some(probability) = self.probability else { return true };
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let thrown = mixed(self.seed) >> 32;
        // 32 bits fit a float exactly.
        f64::from(u32::try_from(thrown).unwrap_or(u32::MAX)) < probability * f64::from(u32::MAX)
    }
}

/// splitmix64: small, and good enough to choose requests by.
fn mixed(seed: u64) -> u64 {
    let mut bits = seed;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderMap, Method};

    fn faults(rule: &str) -> Faults {
        let faults = Faults::default();
        faults.replace(vec![serde_json::from_str(rule).unwrap()]);
        faults
    }

    /// Which of some writes to `lake/log/…` are hit.
    fn hit(faults: &Faults, requests: usize) -> Vec<usize> {
        let request = |number: usize| {
            let path = format!("/lake/log%2F{number}");
            Request::new(Method::PUT, &path, "", HeaderMap::new(), "".into())
        };
        (0..requests).filter(|number| faults.of(&request(*number)).is_some()).collect()
    }

    #[test]
    fn a_rule_hits_the_next_requests_that_match() {
        assert_eq!(hit(&faults(r#"{ "fault": "before", "next": 2 }"#), 5), [0, 1]);
        let other = r#"{ "fault": "before", "method": "GET" }"#;
        assert_eq!(hit(&faults(other), 5), Vec::<usize>::new());
        let later = r#"{ "fault": "before", "skip": 2, "next": 2 }"#;
        assert_eq!(hit(&faults(later), 5), [2, 3]);
        let there = r#"{ "fault": "after", "prefix": "lake/log/", "contains": "/3" }"#;
        assert_eq!(hit(&faults(there), 5), [3]);
    }

    #[test]
    fn chance_is_the_same_again_with_the_same_seed() {
        let rule = r#"{ "fault": "before", "probability": 0.25, "seed": 7 }"#;
        let first = hit(&faults(rule), 1_000);
        assert_eq!(hit(&faults(rule), 1_000), first);
        assert!((200..300).contains(&first.len()), "{}", first.len());
    }
}
