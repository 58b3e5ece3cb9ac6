use std::sync::atomic::AtomicU32;

use chrono::DateTime;
use object_store::RetryConfig;
use object_store::aws::AmazonS3Builder;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tokio::task::JoinHandle;

use super::*;

fn entry(kind: EntryKind, sequence: i64, decision: &str) -> Entry {
    Entry {
        kind,
        subject_kind: "ModelDeployment".into(),
        namespace: "crm".into(),
        name: "churn".into(),
        uid: "0d7b6c1e-0000-4000-8000-000000000001".into(),
        generation: 2,
        attempt: "s1-abc-1-0d7b".into(),
        sequence,
        decision: decision.into(),
        reason: "the step is over".into(),
        revision: "s1-abc".into(),
        weight: "25%".into(),
        time: DateTime::from_timestamp(1_763_900_000, 0).unwrap(),
        lease_epoch: 3,
    }
}

async fn trail(dir: &tempfile::TempDir) -> ObjectStoreTrail {
    ObjectStoreTrail::open(&format!("file://{}/trail", dir.path().display())).unwrap()
}

#[tokio::test]
async fn an_entry_is_stored_once_and_read_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let shift = entry(EntryKind::Intent, 1, "Shift");
    assert_eq!(trail.append(&shift).await, Ok(Appended::New));
    assert_eq!(trail.list("crm", "churn", &shift.uid).await, Ok(vec![shift.clone()]));
    let file = dir.path().join("trail/crm/churn").join(&shift.uid).join("0000000001.intent.json");
    assert_eq!(std::fs::read(file).unwrap(), serde_json_canonicalizer::to_vec(&shift).unwrap());
}

#[tokio::test]
async fn the_same_decision_again_is_already_there_even_with_a_later_clock_or_leader() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let mut shift = entry(EntryKind::Intent, 1, "Shift");
    trail.append(&shift).await.unwrap();
    shift.lease_epoch += 1;
    shift.time += chrono::TimeDelta::seconds(9);
    assert_eq!(trail.append(&shift).await, Ok(Appended::AlreadyThere));
}

#[tokio::test]
async fn another_decision_with_the_same_number_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let shift = entry(EntryKind::Intent, 7, "Shift");
    trail.append(&shift).await.unwrap();
    let refused = trail.append(&entry(EntryKind::Intent, 7, "RollBack")).await;
    assert_eq!(refused, Err(TrailError::SequenceTaken { holder: Box::new(shift.clone()) }));
    assert_eq!(trail.list("crm", "churn", &shift.uid).await, Ok(vec![shift]));
}

#[tokio::test]
async fn an_intent_that_was_given_up_is_refused_whether_it_was_stored_or_arrives_late() {
    for stored in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let trail = trail(&dir).await;
        let shift = entry(EntryKind::Intent, 4, "Shift");
        if stored {
            trail.append(&shift).await.unwrap();
        }
        trail.append(&entry(EntryKind::Void, 4, "Shift")).await.unwrap();
        let refused = trail.append(&shift).await;
        assert_eq!(refused, Err(TrailError::SequenceTaken { holder: Box::new(shift) }));
        assert_eq!(trail.append(&entry(EntryKind::Intent, 5, "Shift")).await, Ok(Appended::New));
    }
}

#[tokio::test]
async fn the_same_step_to_another_weight_is_another_decision() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let shift = entry(EntryKind::Intent, 3, "Shift");
    trail.append(&shift).await.unwrap();
    let edited = Entry { weight: "10%".into(), ..shift.clone() };
    assert_eq!(edited.id(), shift.id());
    assert_eq!(trail.append(&edited).await, Err(TrailError::SequenceTaken { holder: Box::new(shift) }));
}

#[tokio::test]
async fn entries_are_listed_by_number_the_intent_before_its_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let order = [
        entry(EntryKind::Intent, 2, "Shift"),
        entry(EntryKind::Void, 2, "Shift"),
        entry(EntryKind::Intent, 10, "Promote"),
        entry(EntryKind::Outcome, 10, "Promote"),
    ];
    for entry in [&order[2], &order[3], &order[0], &order[1]] {
        trail.append(entry).await.unwrap();
    }
    assert_eq!(trail.list("crm", "churn", &order[0].uid).await, Ok(order.to_vec()));
    assert_eq!(trail.list("crm", "churn", "another-uid").await, Ok(vec![]));
}

#[tokio::test]
async fn the_history_of_a_name_goes_over_all_its_uids_the_newest_first_and_not_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let of = |uid: &str, sequence| Entry { uid: uid.into(), ..entry(EntryKind::Intent, sequence, "Shift") };
    let last = LONGEST_HISTORY as i64;
    for sequence in 1..=last {
        trail.append(&of("f-first", sequence)).await.unwrap();
    }
    // Uids are random: whichever sorts first, the newest is the one that was written last.
    for (ordinal, uid) in ["a-second", "z-third", "b-fourth"].into_iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        trail.append(&of(uid, 1)).await.unwrap();
        trail.append(&Entry { name: "churn-b".into(), ..of("another", ordinal as i64 + 1) }).await.unwrap();
    }
    let history = trail.history("crm", "churn").await.unwrap();
    assert_eq!(history.len(), LONGEST_HISTORY);
    let newest = [of("b-fourth", 1), of("z-third", 1), of("a-second", 1), of("f-first", last)];
    assert_eq!(history[..4], newest);
    assert_eq!(trail.history("crm", "chu").await, Ok(vec![]));
}

#[tokio::test]
async fn of_many_leaders_at_once_exactly_one_gets_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let tries = (0..20).map(|i| {
        let trail = trail.clone();
        tokio::spawn(async move { trail.append(&entry(EntryKind::Intent, 1, &format!("Decision{i}"))).await })
    });
    let answers: Vec<_> = futures::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Appended::New)).count(), 1);
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Err(TrailError::SequenceTaken { .. }))).count(), 19);
}

#[tokio::test]
async fn a_trail_can_be_opened_again_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = entry(EntryKind::Intent, 1, "Shift");
    trail(&dir).await.append(&first).await.unwrap();
    let again = trail(&dir).await;
    assert_eq!(again.append(&first).await, Ok(Appended::AlreadyThere));
}

#[tokio::test]
async fn garbage_at_a_place_is_unavailable_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let shift = entry(EntryKind::Intent, 1, "Shift");
    let file = dir.path().join("trail/crm/churn").join(&shift.uid).join("0000000001.intent.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "garbage").unwrap();
    assert!(matches!(trail.append(&shift).await, Err(TrailError::Unavailable(_))));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "garbage");
}

#[tokio::test]
async fn a_uid_cannot_lead_out_of_the_trail() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let mut shift = entry(EntryKind::Intent, 1, "Shift");
    shift.uid = "../../outside".into();
    trail.append(&shift).await.unwrap();
    let beside: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["trail"]);
}

#[tokio::test]
async fn an_address_that_cannot_be_a_trail_is_refused_with_those_that_work() {
    for url in ["gs://bucket/trail", "trail", "file:///proc/version/trail"] {
        let Err(error) = ObjectStoreTrail::open(url) else { panic!("{url}") };
        assert!(error.to_string().contains("--trail"), "{error}");
    }
}

/// A store that answers nothing in time.
fn hung() -> Arc<ThrottledStore<InMemory>> {
    let forever = Duration::from_secs(3600);
    let waits = ThrottleConfig { wait_put_per_call: forever, wait_get_per_call: forever, ..Default::default() };
    Arc::new(ThrottledStore::new(InMemory::new(), waits))
}

fn in_store(store: Arc<dyn ObjectStore>) -> ObjectStoreTrail {
    ObjectStoreTrail::in_store(store, Path::from("trail"), "s3://models/trail".into())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_keeps_a_few_calls_waiting_and_then_none_until_it_answers() {
    let store = hung();
    let (trail, shift) = (in_store(store.clone()), entry(EntryKind::Intent, 1, "Shift"));
    let late = futures::future::join_all((0..3).map(|_| trail.append(&shift))).await;
    assert!(late.iter().all(|answer| matches!(answer, Err(TrailError::Unavailable(_)))), "{late:?}");
    let began = Instant::now();
    let Err(TrailError::Unavailable(why)) = trail.append(&shift).await else { panic!("it hangs") };
    assert!(why.contains("s3://models/trail has not answered since"), "{why}");
    assert_eq!(began.elapsed(), Duration::ZERO);

    store.config_mut(|waits| *waits = ThrottleConfig::default());
    assert!(trail.append(&shift).await.is_err(), "it is left alone for a moment");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(trail.append(&shift).await, Ok(Appended::New));
    assert_eq!(trail.append(&shift).await, Ok(Appended::AlreadyThere));
}

#[tokio::test]
async fn entries_that_cannot_be_read_are_answers_and_silence_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (trail, shift) = (trail(&dir).await, entry(EntryKind::Intent, 1, "Shift"));
    let file = dir.path().join("trail/crm/churn").join(&shift.uid).join("0000000001.intent.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "garbage").unwrap();
    for _ in 0..10 {
        assert!(trail.append(&shift).await.is_err());
    }
    assert_eq!(trail.append(&entry(EntryKind::Intent, 2, "Shift")).await, Ok(Appended::New));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_at_the_start_is_asked_until_it_answers_and_is_not_called_unfit() {
    let store = hung();
    let trail = in_store(store.clone());
    let mut unfit = std::pin::pin!(trail.turns_out_unfit());
    assert!(timeout(Duration::from_secs(3600), &mut unfit).await.is_err(), "it may come back");
    assert!(!trail.proven.load(Ordering::Relaxed));
    store.config_mut(|waits| *waits = ThrottleConfig::default());
    assert!(timeout(Duration::from_secs(60), &mut unfit).await.is_err(), "and it is a good one");
    assert!(trail.proven.load(Ordering::Relaxed));
}

/// An S3 that does not know `If-None-Match`, and answers each request with the code of its number.
async fn overwriting(code: impl Fn(u32) -> u16 + Clone + Send + Sync + 'static) -> (ObjectStoreTrail, JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicU32::new(0));
    let answer = axum::routing::any(move || {
        let code = http::StatusCode::from_u16(code(asked.fetch_add(1, Ordering::SeqCst))).unwrap();
        async move { (code, [(axum::http::header::ETAG, "\"1\"")], "") }
    });
    let server = axum::serve(listener, axum::Router::new().fallback(answer));
    let server = tokio::spawn(async move { server.await.unwrap() });
    let store = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("eu-central-1")
        .with_bucket_name("models")
        .with_access_key_id("test")
        .with_secret_access_key("test")
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
    (in_store(Arc::new(store.build().unwrap())), server)
}

#[tokio::test]
async fn a_store_that_overwrites_is_unfit_and_takes_no_entry() {
    let (trail, server) = overwriting(|_| 200).await;
    let unfit = trail.turns_out_unfit().await.to_string();
    assert!(unfit.contains("conditional writes") && unfit.contains("--trail"), "{unfit}");
    let shift = entry(EntryKind::Intent, 1, "Shift");
    assert!(matches!(trail.append(&shift).await, Err(TrailError::Unavailable(_))));
    server.abort();
}

#[tokio::test]
async fn a_store_whose_second_answer_is_lost_is_not_taken_for_one_that_refuses() {
    let (trail, server) = overwriting(|number| if number == 1 { 503 } else { 200 }).await;
    assert!(!matches!(trail.prove().await, Ok(()) | Err(Fault::Unfit(_))), "nobody knows yet");
    assert!(!trail.proven.load(Ordering::Relaxed));
    assert!(matches!(trail.prove().await, Err(Fault::Unfit(_))), "it overwrites");
    server.abort();
}
