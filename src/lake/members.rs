//! Members: the topic partitions that the watermark of an output waits for.
//!
//! A numbered log, appended by the first process that sees a change. Kafka only ever adds topic partitions,
//! so fewer than the newest entry has is old news, from a broker or a zombie that is behind.

use super::{Created, Lake, decode, encode, paths};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::commit::Members;
use crate::model::name::TableName;

/// Whether another topic may take the place of the one that an output was fed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherTopic {
    /// An error; a topic that was deleted and created again is another topic.
    Refuse,
    /// The job allows the gap.
    Allow,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Keep,
    Append,
    Refuse,
}

fn next(newest: Option<&Members>, seen: &Members, other: OtherTopic) -> Step {
    let Some(newest) = newest else { return Step::Append };
    match other {
        OtherTopic::Refuse if newest.topic_id != seen.topic_id => Step::Refuse,
        OtherTopic::Allow if newest.topic_id != seen.topic_id => Step::Append,
        OtherTopic::Refuse | OtherTopic::Allow => {
            if newest.topic_partitions < seen.topic_partitions { Step::Append } else { Step::Keep }
        }
    }
}

impl Lake {
    /// The newest members of an output; `None` while no writer has declared any.
    pub async fn members(&self, output: &TableName) -> Result<Option<Members>, Error> {
        Ok(self.newest_members(output).await?.1)
    }

    /// How many topic partitions the output began with; `None` while no writer has declared any.
    pub async fn first_members(&self, output: &TableName) -> Result<Option<u32>, Error> {
        let path = paths::members(output, 1);
        let Some(bytes) = self.read(&path).await? else { return Ok(None) };
        let first: Members = decode(&bytes).doing(|| format!("read members {path}"))?;
        Ok(Some(first.topic_partitions))
    }

    /// Declares the topic partitions that a writer sees, and returns the newest members.
    pub async fn declare_members(
        &self,
        output: &TableName,
        seen: &Members,
        other: OtherTopic,
    ) -> Result<Members, Error> {
        loop {
            let (k, newest) = self.newest_members(output).await?;
            match (next(newest.as_ref(), seen, other), newest) {
                (Step::Keep, Some(newest)) => return Ok(newest),
                (Step::Refuse, Some(newest)) => return Err(another_topic(output, &newest, seen)),
                (Step::Append | Step::Keep | Step::Refuse, _) => {
                    let path = paths::members(output, k + 1);
                    if self.create(&path, encode(seen)).await? == Created::Ours {
                        return Ok(seen.clone());
                    }
                }
            }
        }
    }

    async fn newest_members(&self, output: &TableName) -> Result<(u64, Option<Members>), Error> {
        let k = self.newest(|k| paths::members(output, k)).await?;
        let path = paths::members(output, k);
        let newest = match self.read(&path).await? {
            Some(bytes) => Some(decode(&bytes).doing(|| format!("read members {path}"))?),
            None => None,
        };
        Ok((k, newest))
    }
}

fn another_topic(output: &TableName, newest: &Members, seen: &Members) -> Error {
    let problem = format!(
        "{output} holds topic `{}` with id {}, and topic `{}` now has id {}",
        newest.topic, newest.topic_id, seen.topic, seen.topic_id
    );
    Error::new(ErrorKind::Input, problem).remedy(
        "a topic that was deleted and created again is another topic, whose offsets begin anew: \
         land it in another table",
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{memory, output};
    use super::*;
    use crate::model::commit::FORMAT;

    fn members(topic_id: &str, topic_partitions: u32) -> Members {
        let topic = "wikimedia.recentchange".parse().unwrap();
        Members { format: FORMAT, topic, topic_id: topic_id.into(), topic_partitions }
    }

    #[track_caller]
    fn check(newest: Option<&Members>, seen: &Members, step: &Step) {
        assert_eq!(next(newest, seen, OtherTopic::Refuse), *step);
    }

    #[test]
    fn fewer_topic_partitions_are_old_news() {
        check(None, &members("a", 4), &Step::Append);
        check(Some(&members("a", 4)), &members("a", 4), &Step::Keep);
        check(Some(&members("a", 4)), &members("a", 3), &Step::Keep);
        check(Some(&members("a", 4)), &members("a", 5), &Step::Append);
    }

    #[test]
    fn another_topic_needs_a_word() {
        check(Some(&members("a", 4)), &members("b", 4), &Step::Refuse);
        let allowed = next(Some(&members("a", 4)), &members("b", 1), OtherTopic::Allow);
        assert_eq!(allowed, Step::Append);
    }

    #[tokio::test]
    async fn the_newest_members_count() {
        let lake = memory().await;
        assert_eq!(lake.members(&output()).await.unwrap(), None);
        for (seen, newest) in [(4, 4), (6, 6), (4, 6)] {
            let declared = lake
                .declare_members(&output(), &members("a", seen), OtherTopic::Refuse)
                .await
                .unwrap();
            assert_eq!(declared, members("a", newest));
        }
        assert_eq!(lake.members(&output()).await.unwrap(), Some(members("a", 6)));
        assert_eq!(lake.first_members(&output()).await.unwrap(), Some(4));
    }

    #[tokio::test]
    async fn a_topic_created_again_is_refused_with_a_remedy() {
        let lake = memory().await;
        let declare =
            async |id| lake.declare_members(&output(), &members(id, 4), OtherTopic::Refuse).await;
        declare("a").await.unwrap();
        let error = declare("b").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Input);
        assert!(error.remedy.is_some());
    }
}
