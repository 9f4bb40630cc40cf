//! Does a cluster of real brokers do what we rely on? What is asked is elsewhere; here it is judged.

use super::census::{Broker, census};
use super::probe::{Copies, Probe};
use super::{Brokers, admin};
use crate::error::{Error, ErrorKind};
use crate::model::duration::show_duration;
use crate::model::finding::Finding;
use crate::model::name::TopicName;
use std::collections::BTreeMap;
use std::time::Duration;

/// A request that we rely on: the lowest version that does what we need, the highest that our client
/// speaks, what for.
const RELIED_ON: [(&str, i16, i16, &str); 6] = [
    ("Fetch", 4, 16, "reading no more than what is committed"),
    ("ListOffsets", 2, 7, "the end of what is committed"),
    ("Metadata", 10, 13, "topic ids"),
    ("JoinGroup", 2, 5, "members that go and come back within a rebalance"),
    ("CreateTopics", 4, 4, "topics with as many copies as the brokers give by default"),
    ("InitProducerId", 0, 4, "sending each event once"),
];

/// Since when brokers take which version of Fetch.
const RELEASES: [(i16, &str); 6] =
    [(18, "4.1"), (17, "3.9"), (16, "3.7"), (15, "3.5"), (13, "3.1"), (12, "2.7")];

impl Brokers<'_> {
    /// A finding for each broker.
    pub fn examine(&self) -> Result<Vec<Finding>, Error> {
        Ok(census(self)?.iter().map(judge_broker).collect())
    }

    /// How a topic that is there is kept.
    pub fn examine_topic(&self, topic: &TopicName, retention: Duration) -> Vec<Finding> {
        let (settings, told) = match admin::settings(self, topic) {
            Ok(settings) => (settings, None),
            Err(error) => (BTreeMap::new(), Some(error)),
        };
        let setting = |name: &str| settings.get(name).map(String::as_str);
        let acknowledge = setting("min.insync.replicas").and_then(|text| text.parse().ok());
        let copies = match Probe::open(self, topic).and_then(|probe| probe.copies()) {
            Ok(copies) => judge_copies(topic, &copies, acknowledge),
            Err(error) => Finding::failed(outlives(topic), &error),
        };
        let kept = match told {
            Some(error) => settings_refused(topic, &error),
            None => judge_retention(
                topic,
                setting("cleanup.policy"),
                setting("retention.ms"),
                retention,
            ),
        };
        vec![copies, kept]
    }

    /// Whether a topic that is not there could be created.
    pub fn examine_creation(
        &self,
        topic: &TopicName,
        partitions: u32,
        retention: Duration,
    ) -> Finding {
        let what = format!("topic {topic} exists, or can be created");
        match admin::create(self, topic, partitions, retention, true) {
            Ok(()) => {
                let remedy = "`tidemill up` creates it when its feed or stream starts";
                Finding::warning(what, remedy).seen("there is none yet")
            }
            Err(error) => {
                let remedy = "create it by hand, or grant this account Create on it";
                Finding::bad(what, remedy).seen(error.to_string())
            }
        }
    }
}

fn judge_broker(broker: &Broker) -> Finding {
    let Broker { id, address, takes } = broker;
    let what = format!("broker {id}, {address}, accepts the requests that we rely on");
    if takes.is_empty() {
        let remedy =
            "check that it runs, and that the address that it announces can be reached from here";
        return Finding::bad(what, remedy).seen("it does not answer");
    }
    for (request, lowest, highest, purpose) in RELIED_ON {
        let fits = takes.get(request).is_some_and(|(from, to)| *from <= highest && lowest <= *to);
        if !fits {
            let seen = match takes.get(request) {
                Some((from, to)) => format!(
                    "it accepts {request} {from} to {to}; for {purpose} we need {lowest} to {highest}"
                ),
                None => format!("it does not accept {request}, which we need for {purpose}"),
            };
            return Finding::bad(what, "Tidemill needs Kafka 2.8 or newer").seen(seen);
        }
    }
    let fetch = takes.get("Fetch").map_or(0, |(_, to)| *to);
    match RELEASES.iter().find(|(since, _)| *since <= fetch) {
        Some((_, release)) => Finding::good(what).seen(format!("Kafka {release} or newer")),
        None => Finding::good(what),
    }
}

fn outlives(topic: &TopicName) -> String {
    format!("topic {topic} outlives a broker")
}

/// `acknowledge`: how many copies must have an event before its feed gets the acknowledgement, if we may know.
fn judge_copies(topic: &TopicName, copies: &[Copies], acknowledge: Option<usize>) -> Finding {
    let what = outlives(topic);
    if let Some(part) = copies.iter().find(|part| !part.led) {
        let seen = format!("topic partition {} has no leader", part.topic_partition);
        return Finding::bad(what, "start the brokers that keep it; it holds every hour open")
            .seen(seen);
    }
    let all = copies.iter().map(|part| part.all).min().unwrap_or(0);
    let least = acknowledge.unwrap_or(1);
    if let Some(part) = copies.iter().find(|part| part.in_step < part.all) {
        let Copies { topic_partition, all, in_step, .. } = part;
        let seen =
            format!("topic partition {topic_partition} has {in_step} of {all} copies in sync");
        if *in_step < least {
            let remedy = "start the brokers that are away: no feed can write now";
            return Finding::bad(what, remedy).seen(format!("{seen}, and writes need {least}"));
        }
        return Finding::warning(what, "look at the brokers that are away or lag").seen(seen);
    }
    match (all, acknowledge) {
        (..2, _) => {
            let remedy = "give it three copies (`kafka-reassign-partitions.sh`), and new topics too \
                          (`default.replication.factor`)";
            Finding::warning(what, remedy).seen("it has one copy")
        }
        (all, Some(least)) if least >= all => {
            let remedy = format!("set min.insync.replicas = {} on the topic", all - 1);
            let seen =
                format!("writes need all {all} copies, so one missing broker stops every feed");
            Finding::warning(what, remedy).seen(seen)
        }
        (all, Some(1)) => {
            let remedy = "set min.insync.replicas = 2 on the topic";
            let seen =
                format!("it has {all} copies, and an event that only one has counts as written");
            Finding::warning(what, remedy).seen(seen)
        }
        (all, Some(least)) => {
            Finding::good(what).seen(format!("{all} copies in sync, writes need {least}"))
        }
        (all, None) => Finding::good(what).seen(format!("{all} copies in sync")),
    }
}

fn keeps(topic: &TopicName) -> String {
    format!("topic {topic} keeps its messages as long as its file says")
}

/// Nothing that we do needs the right; only doctor does.
fn settings_refused(topic: &TopicName, error: &Error) -> Finding {
    match error.kind {
        ErrorKind::Input => {
            let remedy = "grant this account DescribeConfigs on the topic, if doctor is to see it";
            Finding::warning(keeps(topic), remedy).seen(error.to_string())
        }
        ErrorKind::Unavailable | ErrorKind::Fenced | ErrorKind::Data | ErrorKind::Bug => {
            Finding::failed(keeps(topic), error)
        }
    }
}

fn judge_retention(
    topic: &TopicName,
    policy: Option<&str>,
    retention_ms: Option<&str>,
    wanted: Duration,
) -> Finding {
    let what = keeps(topic);
    if policy.is_some_and(|policy| !policy.contains("delete")) {
        return Finding::good(what).seen("it is compacted: of each key the newest stays");
    }
    // -1 is for ever.
    let Some(millis) = retention_ms.and_then(|text| text.parse::<u64>().ok()) else {
        return Finding::good(what).seen("for ever");
    };
    let kept = Duration::from_millis(millis);
    let seen = format!("retention.ms is {}", show_duration(kept));
    if kept >= wanted {
        return Finding::good(what).seen(seen);
    }
    let remedy = format!(
        "set retention.ms = {} on the topic, or `retention` in topics/{topic}.toml: a stream that is \
         down for longer loses rows",
        wanted.as_millis()
    );
    Finding::warning(what, remedy).seen(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::finding::Health;

    fn topic() -> TopicName {
        "orders".parse().unwrap()
    }

    fn broker(takes: &[(&str, i16, i16)]) -> Broker {
        let takes = takes.iter().map(|(name, from, to)| ((*name).to_owned(), (*from, *to)));
        Broker { id: 1, address: "kafka-1:9092".into(), takes: takes.collect() }
    }

    fn takes(metadata: i16) -> [(&'static str, i16, i16); 6] {
        let all = |(name, lowest, ..): (&'static str, i16, i16, &str)| (name, 0, lowest + 9);
        let mut takes = RELIED_ON.map(all);
        takes[2].2 = metadata;
        takes
    }

    #[track_caller]
    fn check(finding: &Finding, health: Health, seen: &str) {
        let told = finding.seen.clone().unwrap_or_default();
        assert_eq!((finding.health, told.as_str()), (health, seen));
        assert_eq!(finding.remedy.is_some(), health > Health::Good, "{finding:?}");
    }

    #[test]
    fn a_broker_that_is_too_old_or_silent_is_bad() {
        check(&judge_broker(&broker(&takes(12))), Health::Good, "Kafka 3.1 or newer");
        let old = "it accepts Metadata 0 to 9; for topic ids we need 10 to 13";
        check(&judge_broker(&broker(&takes(9))), Health::Bad, old);
        check(&judge_broker(&broker(&[])), Health::Bad, "it does not answer");
    }

    #[test]
    fn a_broker_that_has_forgotten_what_our_client_speaks_is_bad() {
        let mut takes = takes(12);
        takes[4].1 = 5;
        let seen = "it accepts CreateTopics 5 to 13; for topics with as many copies as the brokers give \
                    by default we need 4 to 4";
        check(&judge_broker(&broker(&takes)), Health::Bad, seen);
    }

    fn copies(all: usize, in_step: usize) -> Copies {
        Copies { topic_partition: 3, led: true, all, in_step }
    }

    #[test]
    fn copies_and_acknowledgements_are_judged_together() {
        let good = "3 copies in sync, writes need 2";
        let cases = [
            (copies(3, 3), Some(2), Health::Good, good),
            (copies(3, 3), None, Health::Good, "3 copies in sync"),
            (copies(1, 1), Some(1), Health::Warning, "it has one copy"),
            (copies(3, 2), Some(2), Health::Warning, "topic partition 3 has 2 of 3 copies in sync"),
            (
                copies(3, 1),
                Some(2),
                Health::Bad,
                "topic partition 3 has 1 of 3 copies in sync, and writes need 2",
            ),
            (
                copies(3, 3),
                Some(3),
                Health::Warning,
                "writes need all 3 copies, so one missing broker stops every feed",
            ),
            (
                copies(3, 3),
                Some(1),
                Health::Warning,
                "it has 3 copies, and an event that only one has counts as written",
            ),
            (
                Copies { led: false, ..copies(3, 3) },
                Some(2),
                Health::Bad,
                "topic partition 3 has no leader",
            ),
        ];
        for (copies, acknowledge, health, seen) in cases {
            check(&judge_copies(&topic(), &[copies], acknowledge), health, seen);
        }
    }

    #[test]
    fn a_topic_that_keeps_less_than_its_file_says_is_a_warning() {
        let judge = |policy, kept, hours| {
            judge_retention(&topic(), Some(policy), Some(kept), Duration::from_hours(hours))
        };
        check(&judge("delete", "3600000", 1), Health::Good, "retention.ms is 1 h");
        check(&judge("delete", "3600000", 2), Health::Warning, "retention.ms is 1 h");
        check(&judge("delete", "-1", 2), Health::Good, "for ever");
        let compacted = "it is compacted: of each key the newest stays";
        check(&judge("compact", "3600000", 2), Health::Good, compacted);
    }
}
