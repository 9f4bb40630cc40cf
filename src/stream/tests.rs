// Over 400 lines: one claim a test, all on one bed.

use super::Progress;
use super::testing::{
    FakeTopic, Sent, TOPIC_ID, job, landed, read, records, start, start_with, topic,
};
use crate::crash::Crash;
use crate::error::ErrorKind;
use crate::kafka::Change;
use crate::lake::Lake;
use crate::lake::testing::{CrashingStore, memory, patient_through, through};
use crate::model::job::{OnGap, Start};
use crate::model::time::Micros;
use crate::model::topic::Otherwise;
use arrow::array::cast::AsArray;
use std::time::Duration;

/// Events of three hours in two topic partitions, and one of everything that can go wrong.
fn mixed() -> FakeTopic {
    let fake = FakeTopic::new(2);
    for n in 1..=20 {
        let at = format!("{:02}:{:02}:00", 5 + n / 8, n % 8);
        fake.event(n % 2, n, &at);
    }
    let event = |event: &str| Sent::Event(event.into());
    fake.send(0, event(r#"{"id":"canary","dt":"2026-11-20T05:00:00Z"}"#));
    fake.send(0, event("{"));
    fake.send(0, event(r#"{"id":"x","dt":"2026-11-20T05:00:00Z","n":-1}"#));
    fake.send(0, event(r#"{"id":"x","dt":"2026-11-20T05:00:00Z","n":0}"#));
    fake.send(0, event(r#"{"id":"x","dt":"2027-11-20T05:00:00Z"}"#));
    fake.send(0, event(r#"{"id":7,"dt":"2026-11-20T05:00:00Z"}"#));
    fake.send(1, Sent::Tombstone);
    let end = "2026-11-20T08:00:00Z".parse::<jiff::Timestamp>().unwrap();
    fake.send(0, Sent::Mark(end.into()));
    fake.send(1, Sent::Mark(end.into()));
    fake
}

/// Whether the lake holds what [`mixed`] sent, each offset once.
async fn check_mixed(lake: &Lake) {
    let (even, odd) = (landed(lake, 0).await, landed(lake, 1).await);
    let hours = |rows: &[(i64, String)]| {
        let rows = rows.iter().filter(|(_, what)| what.starts_with("2026"));
        rows.map(|(offset, hour)| format!("{offset}:{}", &hour[11..])).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(hours(&even), "0:05 1:05 2:05 3:06 4:06 5:06 6:06 7:07 8:07 9:07");
    assert_eq!(hours(&odd), "0:05 1:05 2:05 3:05 4:06 5:06 6:06 7:06 8:07 9:07");
    let quarantined: Vec<_> =
        even.iter().filter(|(_, what)| !what.starts_with("2026")).map(|(at, _)| *at).collect();
    assert_eq!(quarantined, [11, 12, 13, 14, 15]);
    let reasons: Vec<&str> = even[10..].iter().map(|(_, reason)| reason.as_str()).collect();
    assert!(reasons[0].starts_with("invalid JSON"), "{reasons:?}");
    assert_eq!(reasons[1], "n counts");
    assert!(reasons[2].starts_with("share: "), "{reasons:?}");
    assert!(reasons[3].starts_with("dt: more than max_ahead after its arrival"), "{reasons:?}");
    assert_eq!(reasons[4], "id: expected string, found number 7");
    let mut read = 0;
    for at in [0, 1] {
        let records = records(lake, at).await;
        assert!(records.iter().all(|record| record.counts.add_up()));
        let last = records.last().unwrap();
        assert_eq!(last.watermark.unwrap().to_string(), "2026-11-20T08:00:00Z");
        assert!(last.marked);
        read += records.iter().map(|record| record.counts.read).sum::<u64>();
    }
    assert_eq!(read, 29);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_lands_or_is_counted() {
    let (fake, lake) = (mixed(), memory().await);
    start(topic(), job(), &fake, &lake).land_all(&fake).await;
    check_mixed(&lake).await;
    let dropped: u64 =
        records(&lake, 0).await.iter().filter_map(|record| record.reasons.get("no canary")).sum();
    assert_eq!(dropped, 1);
    assert_eq!(fake.with(|state| (state.advisory[&0], state.advisory[&1])), (17, 12));
    assert_eq!(fake.with(|state| state.sources), 0, "the group was left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_call_to_the_lake_loses_and_doubles_nothing() {
    for crash in Crash::KILLS {
        for call in 0.. {
            let (fake, lake) = (mixed(), memory().await);
            let store = CrashingStore::over(lake.objects().clone(), crash(call));
            let crashing = start(topic(), job(), &fake, &through(&lake, store.clone()));
            let stop = crashing.stop.clone();
            let mut progress = crashing.progress.clone();
            let done = progress.wait_for(|now| now.counts.read == 29);
            tokio::select! {
                ended = crashing.end => {
                    let error = ended.unwrap().unwrap_err();
                    assert_eq!(error.kind, ErrorKind::Unavailable, "{:?}: {error}", crash(call));
                }
                all = done => drop(all.map(|_| ())),
            }
            stop.cancel();
            start(topic(), job(), &fake, &lake).land_all(&fake).await;
            check_mixed(&lake).await;
            if !store.crashed() {
                assert!(call > 20, "{call} calls");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_or_loses_its_answer_is_made_again_and_the_stream_goes_on() {
    for crash in Crash::TROUBLES {
        for call in 0.. {
            let (fake, lake) = (mixed(), memory().await);
            let store = CrashingStore::over(lake.objects().clone(), crash(call));
            start(topic(), job(), &fake, &patient_through(&lake, store.clone()))
                .land_all(&fake)
                .await;
            check_mixed(&lake).await;
            if !store.crashed() {
                assert!(call > 20, "{call} calls");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_dropped_at_any_poll_loses_and_doubles_nothing() {
    let (fake, lake) = (mixed(), memory().await);
    for polls in (1..40).step_by(3) {
        fake.with(|state| state.polls_left = Some(polls));
        let running = start(topic(), job(), &fake, &lake);
        let failed = running.end.await.unwrap().unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Unavailable);
    }
    fake.with(|state| state.polls_left = None);
    start(topic(), job(), &fake, &lake).land_all(&fake).await;
    check_mixed(&lake).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_streams_that_both_believe_to_own_everything_land_each_offset_once() {
    let (fake, lake) = (mixed(), memory().await);
    let one = start(topic(), job(), &fake, &lake);
    let other = start(topic(), job(), &fake, &lake);
    let zombie = other.stop.clone();
    one.land_all(&fake).await;
    zombie.cancel();
    other.end.await.unwrap().unwrap();
    check_mixed(&lake).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_is_committed_first_and_read_on_by_the_next() {
    let (fake, lake) = (FakeTopic::new(2), memory().await);
    for n in 1..=10 {
        fake.event(n % 2, n, "05:00:00");
    }
    let mut slow = job();
    slow.roll.every = Duration::from_hours(1);
    let mut first = start(topic(), slow, &fake, &lake);
    first.progress.wait_for(|now| now.read == 10).await.unwrap();
    fake.with(|state| state.changes = vec![Change::Revoked(vec![0])]);
    first.progress.wait_for(|now| now.topic_partitions.len() == 1).await.unwrap();
    assert_eq!((landed(&lake, 0).await.len(), landed(&lake, 1).await.len()), (5, 0));
    fake.event(0, 11, "05:00:00");
    start(topic(), job(), &fake, &lake).land_all(&fake).await;
    first.stop.cancel();
    first.end.await.unwrap().unwrap();
    assert_eq!((landed(&lake, 0).await.len(), landed(&lake, 1).await.len()), (6, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_commits_what_was_read() {
    let (fake, lake) = (FakeTopic::new(1), memory().await);
    for n in 1..=5 {
        fake.event(0, n, "05:00:00");
    }
    let mut slow = job();
    slow.roll.every = Duration::from_hours(1);
    let mut running = start(topic(), slow, &fake, &lake);
    running.progress.wait_for(|now| now.open == 1).await.unwrap();
    running.stop.cancel();
    running.end.await.unwrap().unwrap();
    assert_eq!(records(&lake, 0).await.len(), 1);
    assert_eq!(landed(&lake, 0).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_partition_without_a_message_has_one_empty_record() {
    let (fake, lake) = (FakeTopic::new(2), memory().await);
    fake.event(1, 1, "05:00:00");
    for _ in 0..2 {
        start(topic(), job(), &fake, &lake).land_all(&fake).await;
    }
    let records = records(&lake, 0).await;
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].start, records[0].end, records[0].watermark), (0, 0, None));
    let members = lake.members(&"raw.events".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(members.topic_partitions, 2);
}

/// Without one it would hold every hour open, until it is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_partition_of_aborted_transactions_alone_has_one_empty_record() {
    let (fake, lake) = (FakeTopic::new(2), memory().await);
    fake.send(0, Sent::Marker);
    fake.event(1, 1, "05:00:00");
    start(topic(), job(), &fake, &lake).land_all(&fake).await;
    let records = records(&lake, 0).await;
    let told: Vec<_> = records.iter().map(|its| (its.start, its.end, its.counts.read)).collect();
    assert_eq!(told, [(0, 1, 0)]);
}

/// Others would close the hours of rows that lie behind what does not land.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_says_that_no_row_was_read_and_there_is_more() {
    let event = Sent::Event(r#"{"id":"1","dt":"2026-11-20T05:00:00Z","n":1}"#.into());
    for rest in [Sent::Marker, Sent::Tombstone, event] {
        let (fake, lake) = (FakeTopic::new(1), memory().await);
        (0..3).for_each(|_| fake.send(0, Sent::Tombstone));
        fake.send(0, Sent::Open);
        let mut running = start(topic(), job(), &fake, &lake);
        for seq in 1..=2 {
            let there =
                |now: &Progress| now.topic_partitions.get(&0).is_some_and(|its| its.seq == seq);
            running.progress.wait_for(there).await.unwrap();
            fake.with(|state| state.messages[0][3] = rest.clone());
        }
        running.land_all(&fake).await;
        let records = records(&lake, 0).await;
        let told: Vec<_> = records.iter().map(|its| (its.end, its.behind)).collect();
        assert_eq!(told, [(3, true), (4, false)], "{rest:?}");
    }
}

/// The group still knows of two: the feed's word comes first, wherever we crash, and the broker confirms it.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_read_of_new_topic_partitions_declares_them_before_its_record() {
    let table = "raw.events".parse().unwrap();
    for crash in [Crash::Before, Crash::After] {
        for call in 0.. {
            let (fake, lake) = (FakeTopic::new(2), memory().await);
            fake.with(|state| state.grows_to = 4);
            fake.event(0, 1, "05:00:00");
            fake.event(1, 2, "05:00:00");
            fake.send(0, Sent::Spread(4));
            fake.event(0, 3, "09:00:00");
            let store = CrashingStore::over(lake.objects().clone(), crash(call));
            let crashing = start(topic(), job(), &fake, &through(&lake, store.clone()));
            let stop = crashing.stop.clone();
            let mut progress = crashing.progress.clone();
            tokio::select! {
                ended = crashing.end => drop(ended.unwrap().unwrap_err()),
                all = progress.wait_for(|now| now.counts.read == 4) => drop(all.map(|_| ())),
            }
            stop.cancel();
            let has_read = records(&lake, 0).await.last().is_some_and(|record| record.end > 1);
            let members = lake.members(&table).await.unwrap();
            let members = members.map_or(0, |members| members.topic_partitions);
            assert!(!has_read || members == 4, "crash at {call}: {members} members");
            if !store.crashed() {
                assert!(has_read && records(&lake, 0).await.last().unwrap().marked);
                assert!(call > 10, "{call} calls");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_no_feed_would_write_changes_neither_members_nor_watermark() {
    let (fake, lake) = (FakeTopic::new(1), memory().await);
    fake.event(0, 1, "05:00:00");
    fake.send(0, Sent::Spread(20_000_000));
    fake.send(0, Sent::Mark(Micros(i64::MAX)));
    fake.send(0, Sent::Mark(Micros(253_370_764_800_000_000)));
    start(topic(), job(), &fake, &lake).land_all(&fake).await;
    let members = lake.members(&"raw.events".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(members.topic_partitions, 1);
    let last = records(&lake, 0).await.pop().unwrap();
    assert_eq!(last.watermark.unwrap().to_string(), "2026-11-20T04:59:55Z");
    let rows = landed(&lake, 0).await;
    assert_eq!(rows[0], (0, "2026-11-20T05".to_owned()));
    let rejected: Vec<_> =
        rows[1..].iter().map(|(at, why)| (*at, why.starts_with("tidemill-mark: "))).collect();
    assert_eq!(rejected, [(2, true), (3, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_marks_do_not_count_they_are_tombstones() {
    let (fake, lake) = (FakeTopic::new(1), memory().await);
    fake.event(0, 1, "05:00:00");
    let end = "2026-11-20T08:00:00Z".parse::<jiff::Timestamp>().unwrap();
    fake.send(0, Sent::Mark(end.into()));
    start(topic(), job(), &fake, &lake).land_all(&fake).await;
    fake.send(0, Sent::Mark("2026-11-20T10:00:00Z".parse::<jiff::Timestamp>().unwrap().into()));
    fake.event(0, 2, "09:00:00");
    let mut unmarked = topic();
    unmarked.event_time.marks = false;
    start(unmarked, job(), &fake, &lake).land_all(&fake).await;
    let last = records(&lake, 0).await.pop().unwrap();
    let tombstones: u64 = records(&lake, 0).await.iter().map(|its| its.counts.tombstones).sum();
    assert_eq!(
        (tombstones, last.watermark.unwrap().to_string().as_str()),
        (1, "2026-11-20T08:59:55Z")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_that_lets_an_hour_close_is_committed_at_once() {
    let (fake, lake) = (FakeTopic::new(1), memory().await);
    let mut slow = job();
    slow.roll.every = Duration::from_hours(1);
    fake.event(0, 1, "05:10:00");
    let mut running = start(topic(), slow, &fake, &lake);
    running.progress.wait_for(|now| now.open == 1).await.unwrap();
    assert_eq!(records(&lake, 0).await, []);
    fake.event(0, 2, "06:00:05");
    running.progress.wait_for(|now| now.counts.landed == 2).await.unwrap();
    let watermark = records(&lake, 0).await[0].watermark.unwrap();
    assert_eq!(watermark.to_string(), "2026-11-20T06:00:00Z");
    running.stop.cancel();
    running.end.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_starts_late_says_that_it_is_cut() {
    let (fake, lake) = (FakeTopic::new(1), memory().await);
    fake.event(0, 1, "05:10:00");
    let mut latest = job();
    latest.start = Start::Latest;
    let mut running = start(topic(), latest, &fake, &lake);
    running.progress.wait_for(|now| now.topic_partitions.len() == 1).await.unwrap();
    let mut progress = running.progress.clone();
    progress.wait_for(|now| now.topic_partitions[&0].seq == 1).await.unwrap();
    fake.event(0, 2, "05:11:00");
    progress.wait_for(|now| now.counts.landed == 1).await.unwrap();
    running.stop.cancel();
    running.end.await.unwrap().unwrap();
    let records = records(&lake, 0).await;
    assert!(records[0].cut && records[0].start == 1, "{records:?}");
    assert!(!records[1].cut);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_killed_before_its_first_rows_goes_on_where_it_began() {
    for first in [Start::Latest, Start::At(Micros(0))] {
        let (fake, lake) = (FakeTopic::new(1), memory().await);
        fake.event(0, 1, "05:10:00");
        let rushed = Sent::Event(r#"{"id":"2","dt":"2026-11-20T05:11:00Z"}"#.into());
        fake.with(|state| state.at_start = vec![(0, rushed)]);
        let mut patient = job();
        patient.start = first;
        patient.roll.every = Duration::from_hours(1);
        let mut killed = start(topic(), patient.clone(), &fake, &lake);
        killed.progress.wait_for(|now| now.read == 1).await.unwrap();
        killed.end.abort();
        assert!(killed.end.await.unwrap_err().is_cancelled());
        while fake.with(|state| state.sources > 0) {
            tokio::task::yield_now().await;
        }
        fake.event(0, 3, "05:12:00");
        patient.roll.every = Duration::ZERO;
        start(topic(), patient, &fake, &lake).land_all(&fake).await;
        let offsets: Vec<i64> = landed(&lake, 0).await.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [1, 2], "{first:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_starts_late_reads_all_of_what_the_topic_grows_by() {
    let (fake, lake) = (FakeTopic::new(1), memory().await);
    fake.event(0, 1, "05:10:00");
    let mut latest = job();
    latest.start = Start::Latest;
    start(topic(), latest.clone(), &fake, &lake).land_all(&fake).await;
    fake.with(|state| state.messages.push(Vec::new()));
    fake.event(1, 2, "05:11:00");
    start(topic(), latest, &fake, &lake).land_all(&fake).await;
    assert_eq!(landed(&lake, 0).await, []);
    assert_eq!(landed(&lake, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expectation_may_stop_the_stream_and_names_the_offset() {
    let (fake, lake) = (mixed(), memory().await);
    let mut strict = topic();
    strict.expects[1].otherwise = Otherwise::Stop;
    let err = start(strict, job(), &fake, &lake).end.await.unwrap().unwrap_err();
    assert_eq!(err.kind, ErrorKind::Input);
    assert!(
        err.to_string()
            .contains("expectation `n counts` is false at offset 12 of topic partition 0"),
        "{err}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_again_stops_the_stream() {
    let (fake, lake) = (mixed(), memory().await);
    start(topic(), job(), &fake, &lake).land_all(&fake).await;
    fake.with(|state| state.id = "00000000000000000000000000000000".into());
    let err = start(topic(), job(), &fake, &lake).end.await.unwrap().unwrap_err();
    assert_eq!(err.kind, ErrorKind::Input);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_cut_off_stops_the_stream() {
    let (fake, lake) = (mixed(), memory().await);
    start(topic(), job(), &fake, &lake).land_all(&fake).await;
    fake.with(|state| state.messages[0].truncate(3));
    let err = start(topic(), job(), &fake, &lake).end.await.unwrap().unwrap_err();
    assert!(err.to_string().contains("the topic ends at 3"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_go_before_they_are_read_stop_the_stream_or_leave_a_gap_that_is_told() {
    for (on_gap, kind) in [(OnGap::Stop, ErrorKind::Input), (OnGap::Skip, ErrorKind::Unavailable)] {
        let (fake, lake) = (FakeTopic::new(1), memory().await);
        let mut slow = job();
        (slow.on_gap, slow.roll.every) = (on_gap, Duration::from_hours(1));
        (0..4).for_each(|n| fake.event(0, n + 1, "05:00:00"));
        let mut running = start(topic(), slow.clone(), &fake, &lake);
        running.progress.wait_for(|now| now.read == 4).await.unwrap();
        fake.with(|state| {
            let event = state.messages[0][0].clone();
            state.messages[0].extend(vec![event; 4]);
            state.first = 6;
        });
        let error = running.end.await.unwrap().unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(
            error
                .to_string()
                .ends_with("offsets 4 to 6 are gone from the topic before they were landed")
        );
        let ended = records(&lake, 0).await.last().map(|record| record.end);
        assert_eq!(ended, Some(4), "what was read is committed");
        if on_gap == OnGap::Skip {
            slow.roll.every = Duration::ZERO;
            start(topic(), slow, &fake, &lake).land_all(&fake).await;
            let log = lake.log(&"raw.events".parse().unwrap(), TOPIC_ID, 0);
            let told = log.after(1, 1).await.unwrap().pop().unwrap();
            assert_eq!((told.start, told.cut), (6, true));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_open_hours_stay_within_the_memory() {
    const LIMIT: u64 = 16 << 20;
    let (fake, lake) = (FakeTopic::new(2), memory().await);
    let long = "x".repeat(600);
    for n in 0..40_000_u32 {
        let hour = n * 7919 % 500;
        let dt = format!("2026-10-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24);
        let event = format!(r#"{{"id":"{n}{long}","dt":"{dt}","n":1}}"#);
        fake.send((n / 500 % 2) as usize, Sent::Event(event));
    }
    let mut slow = job();
    slow.roll.every = Duration::from_hours(1);
    slow.roll.size_bytes = 1 << 30;
    slow.close_after = Duration::from_hours(960);
    let mut running = start_with(topic(), slow, &fake, &lake, LIMIT);
    let mut most = (0, 0);
    while running.progress.borrow().counts.landed + 15_000 < 40_000 {
        running.progress.changed().await.unwrap();
        let now = running.progress.borrow();
        most = (most.0.max(now.memory_bytes), most.1.max(now.open));
    }
    running.stop.cancel();
    running.end.await.unwrap().unwrap();
    assert!(most.0 <= LIMIT, "{most:?}");
    assert_eq!(most.1, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_message_keeps_its_bytes() {
    let (fake, lake) = (mixed(), memory().await);
    start(topic(), job(), &fake, &lake).land_all(&fake).await;
    let mut payloads = Vec::new();
    for record in records(&lake, 0).await {
        let Some(file) = record.quarantine else { continue };
        for batch in read(&lake, &file.published).await {
            let column = batch.column_by_name("payload").unwrap().as_binary::<i32>();
            payloads.extend(column.iter().flatten().map(<[u8]>::to_vec));
        }
    }
    assert_eq!(payloads[0], b"{");
    assert_eq!(payloads[1], br#"{"id":"x","dt":"2026-11-20T05:00:00Z","n":-1}"#);
}
