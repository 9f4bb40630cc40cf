//! Rows that retention took before they were landed: what they may have been of closes as partial.

use super::bed::{Bed, HOUR, MINUTE, key, table};
use crate::model::closing::Closed;
use crate::model::dag::{Empty, OnLate};
use crate::model::time::Micros;

/// Hour 0 has closed; then one topic partition has lost rows, and both go on in hour 5.
async fn bed_with_a_gap(empty: Empty) -> Bed {
    let mut bed = Bed::new(OnLate::Refresh, empty).await;
    bed.commit_both(&[0], 70).await;
    bed.settle().await;
    bed.commit(0, &[5], 301).await;
    bed.append(1, &[5], Some(301), |record| record.cut = true).await;
    bed.settle().await;
    bed
}

async fn closed(bed: &Bed, hour: i64) -> Option<Closed> {
    bed.store.newest_closed_of(&table("raw.changes"), &key(hour)).await.unwrap()
}

/// Whether each of the hours from 1 on has closed as partial; `-` where it has not closed.
async fn partial(bed: &Bed, hours: i64) -> String {
    let mut told = String::new();
    for hour in 1..=hours {
        told.push(
            closed(bed, hour).await.map_or('-', |closed| if closed.partial { 'p' } else { 'c' }),
        );
    }
    told
}

#[tokio::test]
async fn hours_wholly_in_a_gap_close_as_partial_and_make_no_run_where_empty_ones_make_none() {
    let mut bed = bed_with_a_gap(Empty::Skip).await;
    assert_eq!(partial(&bed, 5).await, "ppp--");
    assert_eq!(closed(&bed, 2).await.unwrap().files, 0);
    bed.commit_both(&[8], 520).await;
    bed.settle().await;
    assert_eq!(partial(&bed, 8).await, "ppppp---", "hours 6 and 7 were empty, and hour 8 is open");
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded", "01T05 r1 succeeded"]);
}

#[tokio::test]
async fn hours_wholly_in_a_gap_run_as_partial_where_empty_ones_run() {
    let bed = bed_with_a_gap(Empty::Run).await;
    let runs = bed.store.runs(&crate::store::runs::Wanted::default()).await.unwrap();
    let mut told: Vec<String> = Vec::new();
    for run in runs.iter().filter(|run| run.dag.as_str() == "hourly") {
        let of = run.subject.as_ref().unwrap();
        told.push(format!("{} n {} partial {}", of.key, of.n, of.partial));
    }
    told.sort();
    let expected = [
        "1970-01-01T00 n 1 partial false",
        "1970-01-01T01 n 1 partial true",
        "1970-01-01T02 n 1 partial true",
        "1970-01-01T03 n 1 partial true",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_day_of_lost_hours_runs_as_partial() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_both(&[0, 1], 130).await;
    bed.settle().await;
    bed.commit(0, &[30], 30 * 60 + 1).await;
    bed.append(1, &[30], Some(30 * 60 + 1), |record| record.cut = true).await;
    bed.settle().await;
    let wanted =
        crate::store::runs::Wanted { dag: Some(super::bed::name("daily")), ..Default::default() };
    let runs = bed.store.runs(&wanted).await.unwrap();
    let told: Vec<_> = runs.iter().map(|run| run.subject.as_ref().unwrap().partial).collect();
    assert_eq!(told, [true]);
}

#[tokio::test]
async fn a_late_row_after_a_gap_is_not_its_end() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_both(&[0, 1], 130).await;
    bed.settle().await;
    bed.commit(0, &[6], 361).await;
    bed.append(1, &[1], Some(130), |record| record.cut = true).await;
    bed.commit(1, &[6], 361).await;
    bed.settle().await;
    bed.now = Micros(bed.now.0 + MINUTE);
    bed.settle().await;
    assert_eq!(partial(&bed, 6).await, "cppp--", "hours 5 and 6 are open");
    assert_eq!(closed(&bed, 1).await.unwrap().n, 2);
}

#[tokio::test]
async fn a_gap_ends_at_a_mark_and_not_where_the_clock_moves_the_watermark() {
    for marked in [true, false] {
        let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
        bed.commit_both(&[0], 70).await;
        bed.settle().await;
        bed.append(1, &[], Some(200), |record| (record.cut, record.marked) = (true, marked)).await;
        bed.append(1, &[], Some(490), |record| record.marked = marked).await;
        bed.commit(0, &[], 490).await;
        bed.settle().await;
        // Nothing is known of hours after a mark but that they were empty; the clock knows nothing.
        let told = if marked { "ppp----" } else { "ppppppp" };
        assert_eq!(partial(&bed, 7).await, told, "marked: {marked}");
    }
}

#[tokio::test]
async fn rows_that_come_for_a_lost_hour_close_it_again() {
    let mut bed = bed_with_a_gap(Empty::Skip).await;
    bed.commit(0, &[2], 301).await;
    bed.settle().await;
    bed.now = Micros(bed.now.0 + HOUR);
    bed.settle().await;
    let again = closed(&bed, 2).await.unwrap();
    assert_eq!((again.n, again.rows, again.partial, again.late), (2, 10, true, true));
    let runs = bed.runs("hourly").await;
    assert!(runs.contains(&"01T02 r2 succeeded".to_owned()), "{runs:?}");
}

#[tokio::test]
async fn a_new_store_finds_the_lost_hours_in_the_lake() {
    let mut bed = bed_with_a_gap(Empty::Skip).await;
    bed.lose_store().await;
    bed.settle().await;
    assert_eq!(partial(&bed, 5).await, "ppp--");
}
