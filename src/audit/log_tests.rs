use std::sync::atomic::{AtomicU32, Ordering};

use chrono::DateTime;
use object_store::RetryConfig;
use object_store::aws::AmazonS3Builder;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::super::EntryKind;
use super::*;

fn entry(kind: EntryKind, sequence: i64, decision: &str) -> Entry {
    Entry {
        kind,
        subject_kind: "ModelDeployment".into(),
        namespace: "crm".into(),
        name: "churn".into(),
        uid: "0d7b6c1e-0000-4000-8000-000000000001".into(),
        generation: 2,
        spec_digest: String::new(),
        attempt: "s1-abc-1-0d7b".into(),
        sequence,
        decision: decision.into(),
        reason: "the step is over".into(),
        revision: "s1-abc".into(),
        weight: "25%".into(),
        time: DateTime::from_timestamp(1_763_900_000, 0).unwrap(),
        lease_epoch: 3,
        operator: String::new(),
    }
}

/// A log in a folder that its checkpoints are signed in.
async fn trail(dir: &tempfile::TempDir) -> Log {
    Log::open(&format!("file://{}/trail", dir.path().display()), vec![key()]).unwrap()
}

fn key() -> Signer {
    Signer::of_seed("werkbank.dev/log/test/1", &[7; 32]).unwrap()
}

#[tokio::test]
async fn an_entry_is_stored_once_and_read_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let shift = entry(EntryKind::Intent, 1, "Shift");
    assert_eq!(trail.append(&shift).await, Ok(Appended::New));
    assert_eq!(trail.of_resource(&shift.uid).await, Ok(vec![shift.clone()]));
    let slot = std::fs::read_to_string(dir.path().join("trail/wal/000")).unwrap();
    let lines: Vec<&str> = slot.lines().collect();
    assert_eq!(lines[1].as_bytes(), serde_json_canonicalizer::to_vec(&shift).unwrap());
    assert_eq!(lines[0], r#"{"entries":"1","first":"0"}"#);
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
    assert_eq!(trail.of_resource(&shift.uid).await, Ok(vec![shift]));
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
    assert_eq!(trail.of_resource(&order[0].uid).await, Ok(order.to_vec()));
    assert_eq!(trail.of_resource("another-uid").await, Ok(vec![]));
}

#[tokio::test]
async fn the_history_of_a_name_goes_over_all_its_uids_the_newest_first_and_not_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let of = |uid: &str, sequence| Entry { uid: uid.into(), ..entry(EntryKind::Intent, sequence, "Shift") };
    let last = 256;
    for sequence in 1..=last {
        trail.append(&of("f-first", sequence)).await.unwrap();
    }
    // Uids are random: whichever sorts first, the newest is the one that was written last.
    for (ordinal, uid) in ["a-second", "z-third", "b-fourth"].into_iter().enumerate() {
        trail.append(&of(uid, 1)).await.unwrap();
        trail.append(&Entry { name: "churn-b".into(), ..of("another", ordinal as i64 + 1) }).await.unwrap();
    }
    let history = trail.history("crm", "churn").await.unwrap();
    assert_eq!(history.len(), 256);
    let newest = [of("b-fourth", 1), of("z-third", 1), of("a-second", 1), of("f-first", last)];
    assert_eq!(history[..4], newest);
    assert_eq!(trail.history("crm", "chu").await, Ok(vec![]));
}

#[tokio::test]
async fn of_many_leaders_at_once_exactly_one_gets_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let leaders = futures::future::join_all((0..20).map(|_| trail(&dir))).await;
    let tries = leaders.into_iter().enumerate().map(|(i, leader)| {
        tokio::spawn(async move { leader.append(&entry(EntryKind::Intent, 1, &format!("Decision{i}"))).await })
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
async fn a_slot_that_is_none_is_named_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let file = dir.path().join("trail/wal/000");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "garbage").unwrap();
    for sequence in 1..10 {
        let refused = trail.append(&entry(EntryKind::Intent, sequence, "Shift")).await;
        let Err(TrailError::Damaged(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("wal/000 in file://") && why.contains("the log is damaged"), "{why}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "garbage");
    std::fs::remove_file(file).unwrap();
    assert_eq!(trail.append(&entry(EntryKind::Intent, 1, "Shift")).await, Ok(Appended::New));
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
        let Err(error) = Log::open(url, vec![]) else { panic!("{url}") };
        assert!(error.to_string().contains("--audit-log"), "{error}");
    }
}

/// A store that answers nothing in time.
fn hung() -> Arc<ThrottledStore<InMemory>> {
    let forever = Duration::from_secs(3600);
    let waits = ThrottleConfig { wait_put_per_call: forever, wait_get_per_call: forever, ..Default::default() };
    Arc::new(ThrottledStore::new(InMemory::new(), waits))
}

fn in_store(store: Arc<dyn ObjectStore>) -> Log {
    Log::over(store, Path::from("trail"), "s3://models/trail".into(), vec![])
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_keeps_a_few_calls_waiting_and_then_none_until_it_answers() {
    let store = hung();
    let (trail, shift) = (in_store(store.clone()), entry(EntryKind::Intent, 1, "Shift"));
    let entries: Vec<Entry> = (0..3).map(|resource| numbered(resource, 1)).collect();
    let late = futures::future::join_all(entries.iter().map(|it| trail.append(it))).await;
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

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_at_the_start_is_asked_until_it_answers_and_is_not_called_unfit() {
    let store = hung();
    let trail = in_store(store.clone());
    let mut unfit = std::pin::pin!(trail.turns_out_unfit());
    assert!(timeout(Duration::from_secs(3600), &mut unfit).await.is_err(), "it may come back");
    assert!(!trail.store.is_proven());
    store.config_mut(|waits| *waits = ThrottleConfig::default());
    assert!(timeout(Duration::from_secs(60), &mut unfit).await.is_err(), "and it is a good one");
    assert!(trail.store.is_proven());
}

/// An S3 that does not know `If-None-Match`, and answers each request with the code of its number.
async fn overwriting(code: impl Fn(u32) -> u16 + Clone + Send + Sync + 'static) -> (Log, JoinHandle<()>) {
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
    assert!(unfit.contains("conditional writes") && unfit.contains("--audit-log"), "{unfit}");
    let shift = entry(EntryKind::Intent, 1, "Shift");
    assert!(matches!(trail.append(&shift).await, Err(TrailError::Unavailable(_))));
    server.abort();
}

#[tokio::test]
async fn a_store_whose_second_answer_is_lost_is_not_taken_for_one_that_refuses() {
    let (trail, server) = overwriting(|number| if number == 1 { 503 } else { 200 }).await;
    assert!(!matches!(trail.store.prove().await, Ok(()) | Err(Fault::Unfit(_))), "nobody knows yet");
    assert!(!trail.store.is_proven());
    assert!(matches!(trail.store.prove().await, Err(Fault::Unfit(_))), "it overwrites");
    server.abort();
}

#[path = "log_tests/flaky.rs"]
mod flaky;

use proptest::prelude::*;

use self::flaky::{Fate, Flaky};
use super::super::tlog::checkpoint::Checkpoint;

fn over(store: &Arc<Flaky>) -> Log {
    Log::over(store.clone(), Path::default(), "memory:///".into(), vec![key()])
}

fn numbered(resource: usize, sequence: i64) -> Entry {
    Entry { uid: format!("uid-{resource}"), ..entry(EntryKind::Intent, sequence, "Shift") }
}

/// All entries on the log, in its order, read by somebody who knows nothing of it.
async fn all(store: &Arc<Flaky>) -> Vec<Entry> {
    let reader = over(store);
    let mut known = reader.known.lock().await;
    let known = reader.recovered(&mut known).await.unwrap();
    let places: Vec<u64> = (0..known.edge.size()).collect();
    reader.entries_at(known, &places).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_decisions_at_once_take_a_few_round_trips_and_keep_their_order() {
    let far = Duration::from_millis(20);
    let waits = ThrottleConfig { wait_put_per_call: far, wait_get_per_call: far, ..Default::default() };
    let log = in_store(Arc::new(ThrottledStore::new(InMemory::new(), waits)));
    log.append(&numbered(0, 1)).await.unwrap();
    let entries: Vec<Entry> = (1..=1000).map(|resource| numbered(resource, 1)).collect();
    let began = Instant::now();
    let answers = futures::future::join_all(entries.iter().map(|it| log.append(it))).await;
    assert!(answers.iter().all(|it| *it == Ok(Appended::New)));
    // The first alone, and while it is on its way all others gather.
    assert_eq!(began.elapsed(), far * 2);
    let known = log.known.lock().await;
    let places: Vec<u64> = (1..=1000).collect();
    assert_eq!(log.entries_at(known.as_ref().unwrap(), &places).await.unwrap(), entries);
}

#[tokio::test(start_paused = true)]
async fn what_is_carried_by_somebody_who_is_stopped_on_the_way_is_not_lost() {
    let far = Duration::from_millis(20);
    let waits = ThrottleConfig { wait_put_per_call: far, ..Default::default() };
    let log = in_store(Arc::new(ThrottledStore::new(InMemory::new(), waits)));
    log.append(&numbered(0, 1)).await.unwrap();
    let (first, second) = (numbered(1, 1), numbered(2, 1));
    let held = log.known.lock().await;
    let mut carrier = Box::pin(log.append(&first));
    let mut other = Box::pin(log.append(&second));
    assert!(futures::poll!(&mut carrier).is_pending() && futures::poll!(&mut other).is_pending());
    drop(held);
    // It carries both, and is dropped while they are on their way.
    assert!(timeout(far / 2, &mut carrier).await.is_err());
    drop(carrier);
    assert_eq!(other.await, Ok(Appended::New));
    // Of whoever was stopped it is asked again whether it is there.
    assert!(log.append(&first).await.is_ok());
    assert_eq!(log.of_resource(&first.uid).await, Ok(vec![first]));
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_appended() {
    let store = Flaky::with(vec![]);
    let log = over(&store);
    log.append(&numbered(0, 1)).await.unwrap();
    let (given_up, kept) = (numbered(1, 1), numbered(2, 1));
    let held = log.known.lock().await;
    let mut first = Box::pin(log.append(&given_up));
    let mut second = Box::pin(log.append(&kept));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    drop(first);
    drop(held);
    assert_eq!(second.await, Ok(Appended::New));
    assert_eq!(all(&store).await, [numbered(0, 1), kept]);
}

#[tokio::test]
async fn who_takes_over_knows_what_the_one_before_has_just_recorded() {
    let store = Flaky::with(vec![]);
    let (before, next) = (over(&store), over(&store));
    before.append(&numbered(0, 1)).await.unwrap();
    assert_eq!(next.history("crm", "churn").await, Ok(vec![numbered(0, 1)]));
    let rollback = Entry { decision: "RollBack".into(), ..numbered(0, 2) };
    before.append(&rollback).await.unwrap();
    assert_eq!(next.history("crm", "churn").await, Ok(vec![rollback, numbered(0, 1)]));
}

#[tokio::test(start_paused = true)]
async fn while_one_tries_whether_the_store_answers_again_nobody_waits_behind_it() {
    let log = in_store(hung());
    for resource in 0..3 {
        assert!(log.append(&numbered(resource, 1)).await.is_err());
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let tries = numbered(3, 1);
    let mut tries = Box::pin(log.append(&tries));
    assert!(timeout(Duration::from_secs(1), &mut tries).await.is_err(), "it waits for the store");
    let began = Instant::now();
    assert!(log.append(&numbered(4, 1)).await.is_err() && log.history("crm", "churn").await.is_err());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn while_the_log_is_read_for_all_nobody_waits_for_it_and_then_it_is_published() {
    let far = Duration::from_secs(1);
    let waits = ThrottleConfig { wait_get_per_call: far, ..Default::default() };
    let store = Arc::new(ThrottledStore::new(InMemory::new(), waits));
    let log = Arc::new(Log::over(store.clone(), Path::default(), "memory:///".into(), vec![key()]));
    let keeper = tokio::spawn({
        let log = log.clone();
        async move { log.keep().await }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    let Err(TrailError::Unavailable(why)) = log.append(&numbered(0, 1)).await else { panic!("it is not read yet") };
    assert!(why.contains("is still being read") && log.history("crm", "churn").await.is_err(), "{why}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(log.append(&numbered(0, 1)).await, Ok(Appended::New));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(log.checkpoint().await.unwrap().unwrap().size, 1);
    // What another process appended, and did not publish before it died.
    let dead = Log::over(store, Path::default(), "memory:///".into(), vec![key()]);
    dead.append(&numbered(1, 1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(log.checkpoint().await.unwrap().unwrap().size, 2);
    keeper.abort();
}

#[tokio::test]
async fn a_checkpoint_covers_what_was_appended_and_who_comes_later_goes_on_from_it() {
    let store = Flaky::with(vec![]);
    for leader in 0..4 {
        let log = over(&store);
        for resource in 0..170 {
            assert_eq!(log.append(&numbered(leader * 1000 + resource, 1)).await, Ok(Appended::New));
        }
        assert_eq!((log.publish().await, log.publish().await), (Ok(true), Ok(false)));
        let (note, _) = log.store.read("checkpoint").await.unwrap().unwrap();
        let by = [key().verifier()];
        let (checkpoint, _) = Checkpoint::open(&note, "werkbank.dev/log/test/1", &by).unwrap();
        assert_eq!(checkpoint.size, 170 * (leader as u64 + 1));
    }
    assert_eq!(all(&store).await.len(), 680);
    // Of what is full, only the full one is left.
    let parts = log_parts(&store).await;
    assert_eq!(parts, ["tile/0/002.p", "tile/1/000.p", "tile/entries/002.p"]);
}

/// Folders that hold tiles which are not full.
async fn log_parts(store: &Arc<Flaky>) -> Vec<String> {
    let paths: Vec<String> = store.list(None).map_ok(|it| it.location.to_string()).try_collect().await.unwrap();
    let mut parts: Vec<String> =
        paths.iter().filter_map(|it| Some(it.split_once(".p/")?.0.to_owned() + ".p")).collect();
    parts.sort();
    parts.dedup();
    parts
}

#[tokio::test]
async fn an_old_leader_does_not_take_the_checkpoint_back() {
    let store = Flaky::with(vec![]);
    let (old, new) = (over(&store), over(&store));
    old.append(&numbered(0, 1)).await.unwrap();
    new.append(&numbered(1, 1)).await.unwrap();
    assert_eq!(new.publish().await, Ok(true));
    old.publish().await.unwrap();
    assert_eq!(new.checkpoint().await.unwrap().unwrap().size, 2);
    // And what it appends afterwards is behind what it had not seen.
    old.append(&numbered(2, 1)).await.unwrap();
    assert_eq!(all(&store).await, [numbered(0, 1), numbered(1, 1), numbered(2, 1)]);
}

#[tokio::test]
async fn what_is_not_as_it_was_written_is_named_and_nothing_is_appended() {
    // In the reason of an entry: it still is one.
    let line = serde_json_canonicalizer::to_string(&numbered(0, 1)).unwrap();
    let reason = 2 + line.find("the step is over").unwrap();
    for (file, at, is) in [
        ("checkpoint", Some(30), "checkpoint in memory:/// is not as it was written"),
        ("tile/entries/000", Some(reason), "does not lead to the checkpoint's root"),
        ("tile/entries/001.p/44", Some(reason), "does not lead to the checkpoint's root"),
        ("tile/entries/001.p/44", Some(0), "does not hold 44 entries and nothing else"),
        ("tile/entries/001.p/44", Some(2), "entry 256 in memory:/// is none of Werkbank's"),
        ("tile/entries/000", None, "tile/entries/000 in memory:/// is missing"),
        ("wal/299", None, "what follows wal/298 in memory:/// is missing"),
        ("wal/300", Some(3), "wal/300 in memory:/// its first line"),
        ("wal/300", Some(12), "wal/300 in memory:/// it has 1 entries"),
    ] {
        let store = Flaky::with(vec![]);
        let log = over(&store);
        for resource in 0..300 {
            log.append(&numbered(resource, 1)).await.unwrap();
        }
        log.publish().await.unwrap();
        log.append(&numbered(300, 1)).await.unwrap();
        assert_eq!(over(&store).append(&numbered(300, 1)).await, Ok(Appended::AlreadyThere));
        store.damage(file, at).await;
        let Err(TrailError::Damaged(why)) = over(&store).append(&numbered(301, 1)).await else { panic!("{file}") };
        assert!(why.contains(is) && why.contains("the log is damaged"), "{file} {at:?}: {why}");
    }
}

#[tokio::test]
async fn a_log_that_somebody_else_signed_is_left_alone() {
    let store = Flaky::with(vec![]);
    let theirs = over(&store);
    theirs.append(&numbered(0, 1)).await.unwrap();
    theirs.publish().await.unwrap();
    let key = |name: &str, seed| Signer::of_seed(name, &[seed; 32]).unwrap();
    let origin = "werkbank.dev/log/test/1";
    let log = |signers| Log::over(store.clone(), Path::default(), "memory:///".into(), signers);
    let new = numbered(1, 1);
    for (signers, says) in [
        (vec![], "the operator has no key to go on with"),
        (vec![key(origin, 8)], "none of the keys given has signed it"),
        (vec![key("werkbank.dev/log/other/1", 7)], "a place of its own"),
    ] {
        let Err(TrailError::Unavailable(why)) = log(signers).append(&new).await else { panic!("{says}") };
        assert!(why.contains(says), "{why}");
    }
    // While keys change, both sign.
    let both = log(vec![key(origin, 8), key(origin, 7)]);
    assert_eq!(both.append(&new).await, Ok(Appended::New));
    both.publish().await.unwrap();
    assert_eq!(log(vec![key(origin, 8)]).append(&new).await, Ok(Appended::AlreadyThere));
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Arrives), 1 => Just(Fate::Lost), 1 => Just(Fate::Unclear), 1 => Just(Fate::Late)]
}

/// What somebody does.
#[derive(Debug, Clone)]
enum Act {
    /// Leaders append, at the same time.
    Append(Vec<(usize, usize, EntryKind, i64, usize)>),
    Publish(usize),
    /// A leader is killed, and another process takes its place.
    Die(usize),
    /// What was given up arrives.
    Arrive,
}

fn act() -> impl Strategy<Value = Act> {
    let kind = prop_oneof![3 => Just(EntryKind::Intent), 1 => Just(EntryKind::Outcome), 1 => Just(EntryKind::Void)];
    let append = (0_usize..3, 0_usize..2, kind, 1_i64..6, 0_usize..3);
    prop_oneof![
        6 => prop::collection::vec(append, 1..4).prop_map(Act::Append),
        1 => (0_usize..3).prop_map(Act::Publish),
        1 => (0_usize..3).prop_map(Act::Die),
        1 => Just(Act::Arrive),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Three leaders at once, over a store that loses writes and answers: what was said to be on the log is on it, once; a
    /// number has one intent, and none behind its void; and the log verifies.
    #[test]
    fn one_effective_intent_nothing_lost(
        acts in prop::collection::vec(act(), 1..40), fates in prop::collection::vec(fate(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let store = Flaky::with(fates);
            let mut leaders = [over(&store), over(&store), over(&store)];
            let mut said: Vec<Entry> = Vec::new();
            for act in acts {
                match act {
                    Act::Append(appends) => {
                        let entries: Vec<(usize, Entry)> = appends.into_iter().map(|(leader, resource, kind, sequence, decision)| {
                            let decision = ["Shift", "Promote", "RollBack"][decision].into();
                            (leader, Entry { kind, decision, ..numbered(resource, sequence) })
                        }).collect();
                        let answers = futures::future::join_all(entries.iter().map(|(leader, it)| leaders[*leader].append(it))).await;
                        for ((_, entry), answer) in entries.into_iter().zip(answers) {
                            match answer {
                                Ok(_) => said.push(entry),
                                Err(TrailError::SequenceTaken { holder }) => prop_assert_eq!(holder.sequence, entry.sequence),
                                Err(TrailError::Unavailable(_)) => {}
                                Err(TrailError::Damaged(why)) => prop_assert!(false, "{}", why),
                            }
                        }
                    }
                    Act::Publish(leader) => drop(leaders[leader].publish().await),
                    Act::Die(leader) => leaders[leader] = over(&store),
                    Act::Arrive => store.arrive().await,
                }
                // Past the rest that a silent store is given.
                tokio::time::sleep(Duration::from_secs(120)).await;
            }
            store.calm();
            store.arrive().await;
            let log = all(&store).await;
            for entry in &said {
                prop_assert_eq!(log.iter().filter(|it| it.is_same_decision(entry) && it.uid == entry.uid).count(), 1);
            }
            for (at, entry) in log.iter().enumerate() {
                let same = |it: &&Entry| it.uid == entry.uid && it.sequence == entry.sequence;
                prop_assert_eq!(log.iter().filter(same).filter(|it| it.kind == entry.kind).count(), 1);
                let behind_void = log[..at].iter().filter(same).any(|it| it.kind == EntryKind::Void);
                prop_assert!(!(entry.kind == EntryKind::Intent && behind_void), "an intent behind its void");
            }
            let last = over(&store);
            last.append(&numbered(9, 1)).await.unwrap();
            last.publish().await.unwrap();
            prop_assert_eq!(all(&store).await.len(), log.len() + 1, "read from the checkpoint");
            Ok(())
        })?;
    }
}
