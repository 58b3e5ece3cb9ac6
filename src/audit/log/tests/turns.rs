//! Who waits goes together with others, and what becomes of those who stop waiting.

use tokio::time::{Instant, timeout};

use super::flaky::Fate;
use super::*;

/// A log with one entry, whose writes take so long.
async fn far_away(far: Duration) -> Log {
    let waits = ThrottleConfig { wait_put_per_call: far, ..Default::default() };
    let log = in_store(Arc::new(ThrottledStore::new(InMemory::new(), waits)));
    log.append(&numbered(0, 1)).await.unwrap();
    log
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
    let log = far_away(far).await;
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

/// An outcome goes into the slot after its intent's: not if the store was silent just for that one.
#[tokio::test(start_paused = true)]
async fn nothing_is_on_the_log_without_what_it_was_to_follow() {
    let store = Flaky::with(vec![]);
    let log = over(&store);
    log.append(&numbered(9, 1)).await.unwrap();
    let pass = [
        entry(EntryKind::Intent, 1, "RollBack"),
        entry(EntryKind::Outcome, 1, "RollBack"),
        entry(EntryKind::Intent, 2, "Start"),
    ];
    store.goes_wrong(vec![Fate::Lost], vec![]);
    let answers = log.append_all(&pass).await;
    assert!(answers.iter().all(|it| matches!(it, Err(TrailError::Unavailable(_)))), "{answers:?}");
    assert_eq!(all(&store).await.len(), 1);
    assert_eq!(log.append_all(&pass).await, [Ok(Appended::New), Ok(Appended::New), Ok(Appended::New)]);
    assert_eq!(all(&store).await[1..], pass);
}

/// Who has the number cannot be read at this moment: that is no answer, and what comes behind it waits.
#[tokio::test(start_paused = true)]
async fn nothing_is_stored_behind_a_decision_of_which_nobody_can_say_who_has_its_number() {
    let store = Flaky::with(vec![]);
    let first = over(&store);
    // The holder is in a full tile, which no process keeps.
    first.append(&entry(EntryKind::Intent, 1, "Shift")).await.unwrap();
    for number in 0..300 {
        first.append(&numbered(9, number)).await.unwrap();
    }
    first.publish().await.unwrap();
    let log = over(&store);
    log.append(&numbered(9, 300)).await.unwrap();
    let pass = [entry(EntryKind::Intent, 1, "RollBack"), entry(EntryKind::Intent, 2, "Start")];
    store.goes_wrong(vec![], vec![true]);
    let answers = log.append_all(&pass).await;
    assert!(answers.iter().all(|it| matches!(it, Err(TrailError::Unavailable(_)))), "{answers:?}");
    assert_eq!(log.of_resource(&pass[0].uid).await.unwrap().len(), 1);
}

#[tokio::test]
async fn behind_a_decision_whose_number_is_anothers_nothing_is_stored() {
    let store = Flaky::with(vec![]);
    let log = over(&store);
    let first = entry(EntryKind::Intent, 1, "Shift");
    log.append(&first).await.unwrap();
    let pass = [
        entry(EntryKind::Intent, 1, "RollBack"),
        entry(EntryKind::Outcome, 1, "RollBack"),
        entry(EntryKind::Intent, 2, "Start"),
    ];
    let answers = log.append_all(&pass).await;
    assert_eq!(answers[0], Err(TrailError::SequenceTaken { holder: Box::new(first.clone()) }));
    assert!(answers[1..].iter().all(|it| matches!(it, Err(TrailError::Unavailable(_)))), "{answers:?}");
    assert_eq!(all(&store).await, vec![first]);
    // An outcome that is there is in nobody's way.
    let (outcome, next) = (entry(EntryKind::Outcome, 1, "Shift"), entry(EntryKind::Intent, 2, "Start"));
    log.append(&outcome).await.unwrap();
    let answers = log.append_all(&[entry(EntryKind::Outcome, 1, "RollBack"), next.clone()]).await;
    assert_eq!(answers, [Err(TrailError::SequenceTaken { holder: Box::new(outcome) }), Ok(Appended::New)]);
}

#[tokio::test]
async fn what_one_pass_records_goes_together_in_its_order() {
    let store = Flaky::with(vec![]);
    let log = over(&store);
    let pass = [entry(EntryKind::Outcome, 1, "Shift"), entry(EntryKind::Intent, 2, "Shift")];
    assert_eq!(log.append_all(&pass).await, [Ok(Appended::New), Ok(Appended::New)]);
    assert_eq!(log.known.lock().await.as_ref().unwrap().slot, 1, "one slot, one round trip");
    // An outcome is judged by its intent, which is on the log before it: they take two.
    let pass = [entry(EntryKind::Intent, 3, "RollBack"), entry(EntryKind::Outcome, 3, "RollBack")];
    assert_eq!(log.append_all(&pass).await, [Ok(Appended::New), Ok(Appended::New)]);
    assert_eq!(all(&store).await.iter().map(|it| it.sequence).collect::<Vec<_>>(), [1, 2, 3, 3]);
}

#[tokio::test]
async fn each_entry_of_a_pass_has_its_own_answer() {
    let log = over(&Flaky::with(vec![]));
    let (shift, next) = (entry(EntryKind::Intent, 1, "Shift"), entry(EntryKind::Intent, 2, "Promote"));
    log.append(&shift).await.unwrap();
    let long = Entry { reason: "x".repeat(70_000), ..entry(EntryKind::Intent, 3, "Shift") };
    let answers = log.append_all(&[shift.clone(), entry(EntryKind::Intent, 1, "Abort"), long, next]).await;
    let [Ok(Appended::AlreadyThere), Err(TrailError::SequenceTaken { holder }), Err(too_long), Err(behind)] =
        answers.as_slice()
    else {
        panic!("{answers:?}")
    };
    assert_eq!((&**holder, behind), (&shift, too_long), "nothing goes before what is older");
    assert!(too_long.to_string().contains("the log takes 65535 at most"), "{too_long}");
}

#[tokio::test(start_paused = true)]
async fn a_pass_whose_carrier_is_stopped_keeps_its_order() {
    let far = Duration::from_millis(20);
    let log = far_away(far).await;
    let held = log.known.lock().await;
    let (first, pass) = (numbered(1, 1), [numbered(2, 1), numbered(2, 2)]);
    let mut carrier = Box::pin(log.append(&first));
    let mut other = Box::pin(log.append_all(&pass));
    assert!(futures::poll!(&mut carrier).is_pending() && futures::poll!(&mut other).is_pending());
    drop(held);
    assert!(timeout(far / 2, &mut carrier).await.is_err());
    drop(carrier);
    assert_eq!(other.await, [Ok(Appended::New), Ok(Appended::New)]);
    let known = log.known.lock().await;
    assert_eq!(log.entries_at(known.as_ref().unwrap(), &[1, 2]).await.unwrap(), pass);
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
