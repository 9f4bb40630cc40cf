//! Hours of a table whose topic gets more topic partitions.

use super::bed::{Bed, Layer, key, table};
use crate::crash::Crash;
use crate::model::dag::{Empty, OnLate};

#[tokio::test]
async fn an_added_topic_partition_holds_every_hour_until_it_is_heard() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_marked(0, 1).await;
    bed.commit_marked(1, 1).await;
    bed.settle().await;
    bed.declare(3).await;
    for old in [0, 1] {
        bed.append(old, &[0], Some(500), |record| record.marked = true).await;
    }
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &[]);
    bed.commit_empty(2).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &[]);
    bed.commit(2, &[0], 60).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &[]);
    bed.commit_marked(2, 70).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded"]);
    let closed = bed.store.newest_closed_of(&table("raw.changes"), &key(0)).await.unwrap().unwrap();
    assert_eq!((closed.rows, closed.late), (30, false));
}

#[tokio::test]
async fn no_crash_lets_a_record_be_known_without_the_members_that_came_before_it() {
    for crash in Crash::KILLS {
        for call in 0.. {
            let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
            bed.settle().await;
            bed.declare(3).await;
            bed.commit_both(&[0], 500).await;
            let crashed = bed.settle_through(Layer::Lake, crash(call)).await;
            Bed::same(&bed.runs("hourly").await, &[]);
            bed.commit(2, &[0], 500).await;
            bed.settle().await;
            Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded"]);
            if !crashed {
                assert!(call > 3, "{call} calls");
                break;
            }
        }
    }
}
