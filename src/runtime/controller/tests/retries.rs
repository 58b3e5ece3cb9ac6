//! What does not get through is tried again, at a pace.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ObjectMeta;

use super::*;
use crate::audit::{Entry, EntryKind};
use crate::runtime::PassMemory;

const MAPS: &str = "/api/v1/namespaces/crm/configmaps";

fn map() -> Op {
    let metadata = ObjectMeta { name: Some("one".into()), ..ObjectMeta::default() };
    Op::Create(Child::ConfigMap(Box::new(ConfigMap { metadata, ..ConfigMap::default() })))
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_observed_is_tried_again_later_each_time_and_a_success_forgets_it() {
    let tries = Arc::new(AtomicUsize::new(0));
    let bed = led(&["a"], 1, move |_, _| {
        let good = tries.fetch_add(1, Ordering::SeqCst) == 4;
        Box::pin(async move {
            let requeue = Some(seconds(10));
            if good {
                Ok(Plan { requeue, ..Plan::default() })
            } else {
                Err(ObserveError { reason: "Test", message: String::new() })
            }
        })
    })
    .await;
    sleep(seconds(35)).await;
    // Spread by a fifth either way.
    let waits = bed.passes.waits("a");
    assert_eq!((waits[0], waits[1], waits[4], waits[5]), (1, 2, 10, 1), "{waits:?}");
    assert!((3..=5).contains(&waits[2]) && (6..=10).contains(&waits[3]), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn weight_that_is_taken_away_gets_through_soon_after_the_api_server_takes_it() {
    for (urgent, within) in [(true, Duration::from_millis(1500)), (false, seconds(72))] {
        let bed = led(&["a"], 1, move |_, _| {
            Box::pin(async move { Ok(Plan { ops: vec![map()], urgent, ..Plan::default() }) })
        });
        let bed = bed.await;
        bed.cluster.faults(|about| about.starts_with("POST /api/").then_some(Fault::Refused(500)));
        sleep(seconds(150)).await;
        let sent = bed.cluster.writes().len();
        assert_eq!(sent > 60, urgent, "{sent}");
        bed.cluster.recover();
        sleep(within).await;
        assert!(!bed.cluster.get(&format!("{MAPS}/one")).is_null(), "urgent: {urgent}");
        assert!(bed.cluster.writes().len() <= sent + 2, "and once it is there, it is not sent again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_does_not_get_through_waits_no_longer_than_time_demands() {
    for (urgent, longest) in [(true, 2), (false, 30)] {
        let bed = led(&["a"], 1, move |_, _| {
            let (status, requeue) = (Some(json!({"step": 1})), Some(seconds(30)));
            Box::pin(async move { Ok(Plan { status, requeue, urgent, ..Plan::default() }) })
        })
        .await;
        bed.cluster.faults(|about| about.ends_with("/status").then_some(Fault::Refused(500)));
        sleep(seconds(300)).await;
        let waits = bed.passes.waits("a");
        assert!(waits.iter().all(|wait| *wait <= longest), "urgent: {urgent}: {waits:?}");
        assert!(waits.contains(&longest.min(30)) || urgent, "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_news_for_the_next_pass_at_once_and_then_waits() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = told.clone();
    let bed = led(&["a"], 1, move |_, memory| {
        told.lock().unwrap().push((Instant::now(), memory.refusal.map(|it| it.kind)));
        Box::pin(async { Ok(Plan { ops: vec![map()], ..Plan::default() }) })
    });
    let bed = bed.await;
    bed.cluster.faults(|about| about.starts_with("POST /api/").then_some(Fault::Refused(403)));
    sleep(seconds(20)).await;
    let heard = heard.lock().unwrap();
    assert_eq!((&heard[0].1, &heard[1].1), (&None, &Some("ConfigMap".to_owned())));
    assert!(heard[1].0 - heard[0].0 < Duration::from_millis(100), "at once");
    let sent = bed.cluster.writes().len();
    assert!((4..=6).contains(&sent), "1, 2, 4, 8 s: {:?}", bed.cluster.writes());
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_this_api_server_does_not_serve_yet_strands_nobody() {
    let bed = led(&["a"], 1, |probe, _| {
        let status = probe.status.is_none().then(|| json!({"step": 1}));
        Box::pin(async { Ok(Plan { status, ..Plan::default() }) })
    });
    let bed = bed.await;
    bed.cluster.faults(|about| about.ends_with("/status").then_some(Fault::Refused(404)));
    sleep(seconds(20)).await;
    bed.cluster.recover();
    sleep(seconds(20)).await;
    assert_eq!(bed.cluster.get(&path("a"))["status"]["step"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_pass_learns_whether_the_one_before_wrote_all_that_it_meant_to() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = told.clone();
    let bed = led(&["a"], 1, move |_, memory| {
        told.lock().unwrap().push(memory.got_through);
        Box::pin(async { Ok(Plan { status: Some(json!({"step": 1})), ..Plan::default() }) })
    })
    .await;
    bed.cluster.faults(|about| about.ends_with("/status").then_some(Fault::Refused(409)));
    sleep(seconds(20)).await;
    let heard = heard.lock().unwrap().clone();
    assert!(heard.len() > 2 && heard[0] && heard[1..].iter().all(|it| !it), "{heard:?}");
}

/// Who offers an entry to a trail that is away ends there, before status and ops: so passes in between have to know.
#[tokio::test(start_paused = true)]
async fn while_the_trail_is_away_each_try_is_followed_by_a_pass_that_knows_it() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = seen.clone();
    let _bed = led(&["a"], 1, move |_, memory: PassMemory| {
        let outage = memory.trail_outage;
        let tries = outage.is_none_or(|it| it.last_tried.elapsed() >= seconds(10));
        told.lock().unwrap().push((tries, outage.map(|it| it.since)));
        let entries = if tries { vec![unrecorded()] } else { Vec::new() };
        Box::pin(async move { Ok(Plan { entries, requeue: Some(seconds(10)), ..Plan::default() }) })
    })
    .await;
    sleep(seconds(60)).await;
    let seen = seen.lock().unwrap();
    assert!(seen.iter().filter(|(tries, _)| *tries).count() >= 4, "{seen:?}");
    assert!(seen.windows(2).all(|two| !(two[0].0 && two[1].0)), "{seen:?}");
    let first = seen.iter().find_map(|(_, since)| *since);
    assert!(seen.iter().skip(1).all(|(_, since)| *since == first), "it has been away since then: {seen:?}");
}

fn unrecorded() -> Entry {
    Entry {
        kind: EntryKind::Intent,
        subject_kind: "Probe".into(),
        namespace: "crm".into(),
        name: "a".into(),
        uid: "a".into(),
        generation: 1,
        spec_digest: String::new(),
        attempt: String::new(),
        sequence: 1,
        decision: bed::UNRECORDED.into(),
        reason: String::new(),
        revision: String::new(),
        weight: String::new(),
        measurements: String::new(),
        policy: String::new(),
        asked_by: String::new(),
        consents: Vec::new(),
        time: chrono::DateTime::UNIX_EPOCH,
        lease_epoch: 7,
        operator: String::new(),
    }
}
