//! A store that does not answer, or is none.

use std::sync::atomic::{AtomicU32, Ordering};

use object_store::RetryConfig;
use object_store::aws::AmazonS3Builder;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;

#[tokio::test]
async fn an_address_that_cannot_be_a_trail_is_refused_with_those_that_work() {
    for url in ["gs://bucket/trail", "trail", "file:///proc/version/trail"] {
        let Err(error) = Log::open(url, vec![]) else { panic!("{url}") };
        assert!(error.to_string().contains("--audit-log"), "{error}");
    }
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
