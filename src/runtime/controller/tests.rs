//! The loop's rules, one test each, on the real loop. Time is stopped: it passes when nothing else happens.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::time::sleep;

use self::bed::{Bed, HELD, controller, led, path, probe, waiting};
use super::*;
use crate::decide::{Child, Finalizer, Op, Plan};
use crate::runtime::ObserveError;
use crate::sim::{Cluster, Fault};

mod bed;
mod ending;
mod retries;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn no_more_passes_run_at_once_than_allowed_and_all_get_their_turn() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (at_once, highest) = (now.clone(), most.clone());
    let bed = led(&names, 3, move |_, _| {
        let now = now.clone();
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Box::pin(async move {
            sleep(seconds(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(Plan::default())
        })
    })
    .await;
    sleep(seconds(5)).await;
    assert_eq!(highest.load(Ordering::SeqCst), 3);
    assert_eq!(at_once.load(Ordering::SeqCst), 0);
    assert!(names.iter().all(|name| bed.passes.of(name).len() == 1), "{:?}", bed.passes.count());
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_panics_ends_alone_and_is_tried_again() {
    let bed = led(&["bad", "good"], 1, |probe, memory| {
        let first = probe.metadata.name.as_deref() == Some("bad") && probe.status.is_none();
        let _ = memory;
        Box::pin(async move {
            assert!(!first, "wanted");
            Ok(Plan::default())
        })
    })
    .await;
    sleep(seconds(30)).await;
    assert_eq!(bed.passes.of("good").len(), 1);
    assert_eq!(bed.passes.waits("bad")[..3], [1, 2, 4], "later each time");
    assert!(bed.text().contains(r#"werkbank_reconcile_errors_total{kind="Probe",reason="Panic"} 5"#), "{}", bed.text());
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_does_not_end_is_given_up_after_two_minutes() {
    let bed = led(&["a"], 1, |_, _| Box::pin(std::future::pending())).await;
    sleep(seconds(122)).await;
    assert_eq!(bed.passes.waits("a"), [121], "and tried again a second later");
    assert!(bed.text().contains(r#"reason="PassDeadline"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn a_pass_waits_until_the_cache_shows_what_the_last_one_wrote() {
    let bed = led(&["a"], 1, |probe, _| {
        let step = probe.status.as_ref().map_or(0, |it| it["step"].as_i64().unwrap());
        Box::pin(async move {
            let status = (step < 2).then(|| json!({"step": step + 1}));
            Ok(Plan { status, requeue: Some(Duration::from_millis(100)), ..Plan::default() })
        })
    });
    let bed = bed.await;
    bed.cluster.lag();
    sleep(seconds(4)).await;
    assert_eq!(bed.passes.count(), 1, "the watch lags behind");
    bed.cluster.catch_up();
    sleep(seconds(1)).await;
    assert_eq!(bed.cluster.get(&path("a"))["status"]["step"], 2);
    assert_eq!(bed.cluster.writes().len(), 2, "no write was refused: {:?}", bed.cluster.writes());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_lost_an_event_does_not_stop_a_rollout_for_ever() {
    let bed = led(&["a"], 1, |_, _| {
        let requeue = Some(seconds(1));
        Box::pin(async move { Ok(Plan { status: Some(json!({})), requeue, ..Plan::default() }) })
    })
    .await;
    bed.cluster.lag();
    sleep(seconds(4)).await;
    assert_eq!(bed.passes.count(), 1);
    sleep(seconds(2)).await;
    assert_eq!(bed.passes.count(), 2);
    assert!(bed.text().contains(r#"werkbank_own_writes_unseen_total{kind="Probe"} 1"#), "{}", bed.text());
}

/// Passes that write the same status each second, and for each of them whether it was unconfirmed.
async fn in_doubt() -> (Bed, impl Fn() -> Vec<bool>) {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = told.clone();
    let bed = led(&["a"], 1, move |_, memory| {
        told.lock().unwrap().push(memory.is_unconfirmed());
        let status = Some(json!({"step": 1}));
        Box::pin(async move { Ok(Plan { status, requeue: Some(seconds(1)), ..Plan::default() }) })
    });
    (bed.await, move || std::mem::take(&mut *heard.lock().unwrap()))
}

/// By a write of its own, until the caches do not show that: what they do show may be older still.
#[tokio::test(start_paused = true)]
async fn a_pass_learns_whether_anything_has_shown_that_it_sees_the_newest_status() {
    let (bed, heard) = in_doubt().await;
    bed.cluster.lag();
    sleep(seconds(4)).await;
    assert_eq!(heard(), [true], "a process that has just begun");
    sleep(seconds(2)).await;
    assert_eq!(heard(), [true], "it does not see what it wrote");
    bed.cluster.catch_up();
    sleep(seconds(5)).await;
    let heard = heard();
    assert!(heard[0] && heard[1..].iter().all(|it| !it), "its write is refused, the next one is not: {heard:?}");
}

#[tokio::test(start_paused = true)]
async fn what_became_of_a_status_write_that_nobody_answered_is_in_doubt() {
    for fault in [Fault::Refused(409), Fault::Refused(500)] {
        let (bed, heard) = in_doubt().await;
        sleep(seconds(3)).await;
        assert_eq!(heard().last(), Some(&false), "{fault:?}");
        bed.cluster.faults(move |about| about.ends_with("/status").then_some(fault));
        sleep(seconds(20)).await;
        assert_eq!(heard().last(), Some(&true), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_lease_decides_nothing_and_a_new_leader_looks_at_everything() {
    let bed = waiting(&["a", "b", "c"], 2, |_, _| Box::pin(async { Ok(Plan::default()) })).await;
    bed.cluster.put(&path("d"), probe("d"));
    sleep(seconds(60)).await;
    assert_eq!(bed.passes.count(), 0);
    bed.authority.grant(7, Instant::now() + seconds(60));
    (bed.wake)();
    sleep(seconds(1)).await;
    assert!(["a", "b", "c", "d"].iter().all(|name| bed.passes.of(name).len() == 1));
}

#[tokio::test(start_paused = true)]
async fn what_wakes_while_the_right_to_write_has_lapsed_is_looked_at_when_it_is_back() {
    let bed = led(&["a"], 1, |_, _| Box::pin(async { Ok(Plan::default()) })).await;
    sleep(seconds(1)).await;
    bed.authority.grant(7, Instant::now());
    bed.cluster.put(&path("a"), probe("a"));
    sleep(seconds(2)).await;
    assert_eq!(bed.passes.count(), 1);
    bed.authority.grant(7, Instant::now() + seconds(60));
    sleep(seconds(2)).await;
    assert_eq!(bed.passes.count(), 2, "although nobody told");
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_is_held_while_a_plan_says_so_and_released_when_one_does() {
    let bed = led(&["a"], 1, |probe, _| {
        let deleted = probe.metadata.deletion_timestamp.is_some();
        let finalizer = Some(if deleted { Finalizer::Release } else { Finalizer::Hold });
        Box::pin(async move { Ok(Plan { finalizer, ..Plan::default() }) })
    })
    .await;
    sleep(seconds(1)).await;
    let mut held = Value::clone(&bed.cluster.get(&path("a")));
    assert_eq!(held["metadata"]["finalizers"], json!([HELD]));
    held["metadata"]["deletionTimestamp"] = json!("2026-11-27T09:00:00Z");
    bed.cluster.put(&path("a"), held);
    sleep(seconds(1)).await;
    assert!(bed.cluster.get(&path("a")).is_null(), "nothing else held it");
    assert_eq!(bed.cluster.writes().len(), 2, "once each: {:?}", bed.cluster.writes());
}
