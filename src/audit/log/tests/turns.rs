//! Who waits goes together with others, and what becomes of those who stop waiting.

use tokio::time::{Instant, timeout};

use super::*;

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
