//! Asks a cluster whether a topic can be read as a stream of ours would read it.

use super::broker::Brokers;
use super::{Change, Cluster, Source};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::model::finding::Finding;
use crate::model::name::TopicName;
use std::time::Duration;

const POLL_WAIT: Duration = Duration::from_millis(250);
/// A group that is alone rebalances in about three seconds on a broker's default settings.
const POLLS: usize = 80;
/// Long enough for a broker to refuse.
const READS: usize = 6;

impl Cluster {
    /// Asks each broker for what it can do; the embedded log has none.
    pub fn examine_brokers(&self) -> Result<Vec<Finding>, Error> {
        match self {
            Self::Embedded { .. } => Ok(Vec::new()),
            Self::Brokers { servers, properties } => Brokers { servers, properties }.examine(),
        }
    }

    /// Tries a topic that was declared with so many topic partitions. Joins a group of its own,
    /// `group`, reads a message and commits nothing.
    pub fn examine(
        &self,
        topic: &TopicName,
        partitions: u32,
        retention: Duration,
        group: &str,
        clock: &Clock,
    ) -> Vec<Finding> {
        let what = format!("topic {topic} exists, with its id");
        let facts = match self.facts(topic) {
            Err(error) => return vec![Finding::failed(what, &error)],
            Ok(None) => {
                if let Self::Brokers { servers, properties } = self {
                    let brokers = Brokers { servers, properties };
                    return vec![brokers.examine_creation(topic, partitions, retention)];
                }
                let remedy = "`tidemill up` creates it when its feed or stream starts";
                return vec![Finding::warning(what, remedy).seen("there is none yet")];
            }
            Ok(Some(facts)) => facts,
        };
        let mut found = vec![Finding::good(what).seen(facts.id)];
        let what = format!("topic {topic} has as many topic partitions as its file says");
        if facts.partitions == partitions {
            found.push(Finding::good(what));
        } else {
            let set = format!("set `partitions = {}` in topics/{topic}.toml", facts.partitions);
            let remedy = if facts.partitions < partitions {
                format!(
                    "a feed of ours adds them when it starts, else the topic's owner does; or {set}"
                )
            } else {
                format!("{set}: topic partitions are never taken away")
            };
            let seen = format!("{} instead of {partitions}", facts.partitions);
            found.push(Finding::warning(what, remedy).seen(seen));
        }
        if let Self::Brokers { servers, properties } = self {
            found.extend(Brokers { servers, properties }.examine_topic(topic, retention));
        }
        let what = format!("topic {topic} can be read in a group of ours");
        found.push(match self.reads(topic, group, clock) {
            Ok(kept) => Finding::good(what).seen(format!("it keeps {kept} messages")),
            Err(error) => Finding::failed(what, &error),
        });
        found
    }

    /// Joins the group, counts what the topic keeps, and reads of it.
    fn reads(&self, topic: &TopicName, group: &str, clock: &Clock) -> Result<u64, Error> {
        let mut source = self.source(topic, group, clock)?;
        let members = assigned(source.as_mut())?;
        let mut kept = 0;
        for &member in &members {
            let (first, end) = source.offsets(member)?;
            kept += end.saturating_sub(first).unsigned_abs();
            source.start(member, first)?;
        }
        // The right to read is asked for by reading only, also where there is nothing.
        let mut read = 0;
        for _ in 0..READS {
            source.poll(POLL_WAIT, 1, &mut |_| read += 1)?;
            if read > 0 {
                break;
            }
        }
        source.release(&members)?;
        Ok(kept)
    }
}

fn assigned(source: &mut dyn Source) -> Result<Vec<u32>, Error> {
    for _ in 0..POLLS {
        for change in source.poll(POLL_WAIT, 1, &mut |_| {})? {
            if let Change::Assigned(members) = change {
                return Ok(members);
            }
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "the group gave it no topic partition")
        .remedy("look at the brokers' group coordinator, and at the rights on the group"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::finding::Health;
    use std::path::Path;

    const HOUR: Duration = Duration::from_hours(1);

    fn cluster(dir: &Path) -> Cluster {
        Cluster::Embedded { dir: dir.to_owned(), keep_bytes: 1 << 20 }
    }

    fn healths(cluster: &Cluster, partitions: u32) -> Vec<Health> {
        let topic = "orders".parse().unwrap();
        let found =
            cluster.examine(&topic, partitions, HOUR, "tidemill.wiki.doctor", &Clock::system());
        found.iter().map(|finding| finding.health).collect()
    }

    #[test]
    fn a_topic_as_declared_is_well() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = cluster(dir.path());
        cluster.ensure_topic(&"orders".parse().unwrap(), 4, HOUR).unwrap();
        assert_eq!(healths(&cluster, 4), [Health::Good; 3]);
    }

    #[test]
    fn another_number_of_topic_partitions_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = cluster(dir.path());
        cluster.ensure_topic(&"orders".parse().unwrap(), 4, HOUR).unwrap();
        assert_eq!(healths(&cluster, 8), [Health::Good, Health::Warning, Health::Good]);
    }

    #[test]
    fn a_topic_that_is_not_there_yet_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(healths(&cluster(dir.path()), 4), [Health::Warning]);
    }
}
