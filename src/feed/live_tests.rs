//! Feeds of servers, killed at every kind of moment.

use super::resume::{MARK_EVERY, Resume};
use super::source::Source;
use super::source::fields::Fields;
use super::source::pick::pick;
use super::source::sse::rules::Rules;
use super::source::sse::testing::{wikimedia, wikimedia_ids};
use super::source::sse::wikimedia::Wikimedia;
use super::source::sse::{Dates, EventStream, Server};
use super::tests::killed_while_growing;
use crate::clock::Clock;
use crate::model::time::Micros;
use std::time::Duration;

const EVENTS: u64 = 300;

#[test]
fn wikimedias_stream_cut_and_killed_anywhere_gives_every_id_once() {
    for seed in 1..3_u64 {
        let server = wikimedia(seed, EVENTS);
        let open = |resume: Resume| -> Box<dyn Source> {
            let token = resume.token.as_ref().map(|token| token.text.as_str());
            let rules: Box<dyn Rules> = Box::new(Wikimedia::resume(token).unwrap());
            let asked = Server {
                url: server.url.clone(),
                user_agent: "test/1.0 (me@example.org)".to_owned(),
                headers: vec![],
                silence: Duration::from_secs(20),
                event_bytes_max: 10_000,
                retry: Duration::from_millis(10),
            };
            let fields = Fields::new(None, Micros::MAX, None);
            let dates = Dates { max_ahead: Duration::ZERO, out_of_order: None };
            Box::new(EventStream::new(asked, rules, resume, fields, dates, &Clock::system()))
        };
        let marks = [MARK_EVERY, Duration::ZERO][usize::try_from(seed % 2).unwrap()];
        let topic = killed_while_growing(seed, 0, marks, &open);
        let path = ["meta", "id"].map(str::to_owned);
        let id = |payload: &Vec<u8>| pick(payload, &path).unwrap().written();
        let mut ids: Vec<_> = topic.payloads().into_iter().map(id).collect();
        ids.sort();
        let mut expected: Vec<_> =
            wikimedia_ids(seed, EVENTS).iter().map(|id| format!("\"{id}")).collect();
        expected.sort();
        let twice: Vec<_> = ids.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "seed {seed}: twice in the topic: {twice:?}");
        assert_eq!(ids, expected, "seed {seed}");
    }
}
