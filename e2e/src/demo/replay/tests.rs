use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::{Value, json};

use super::{NO_REVISION, Options, Replay, Snapshot};

/// A gateway with two revisions: "a" selects everybody, "b" fails; every fourth request names none.
async fn gateway() -> String {
    let n = Arc::new(AtomicU64::new(0));
    let answer = move |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers["host"], "churn.internal");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(body.get("outcome").is_none() && body["id"].is_string());
        let selected = json!({"outputs": [{"name": "at_risk", "data": [true]}]}).to_string();
        match n.fetch_add(1, Ordering::SeqCst) % 4 {
            0 | 1 => ([("x-werkbank-revision", "a")], selected).into_response(),
            2 => (StatusCode::INTERNAL_SERVER_ERROR, [("x-werkbank-revision", "b")]).into_response(),
            _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    };
    let router = Router::new().route("/v2/models/churn/infer", post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn recorded(bought: &[bool]) -> tempfile::NamedTempFile {
    let lines = bought.iter().enumerate().map(|(n, bought)| {
        let request = json!({"id": n.to_string(), "inputs": []});
        json!({"snapshot": "1998-02-01", "request": request, "outcome": {"bought": bought}}).to_string() + "\n"
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.collect::<String>()).unwrap();
    file
}

async fn until(replay: &Replay, enough: impl Fn(&Snapshot) -> bool) -> Snapshot {
    for _ in 0..500 {
        let snapshot = replay.snapshot();
        if enough(&snapshot) {
            return snapshot;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still not enough: {:?}", replay.snapshot());
}

#[tokio::test]
async fn counts_requests_errors_and_hits_by_the_revision_that_answered() {
    let file = recorded(&[false, true, false, false]);
    let mut options = Options::new(gateway().await, "churn.internal", file.path(), 200.0);
    options.max_in_flight = 1; // one at a time, so that the gateway's turns meet the file's lines
    let replay = Replay::start(options).await.unwrap();
    let seen = until(&replay, |s| s.requests() >= 40).await;
    let a = &seen.revisions["a"];
    assert_eq!(a.errors, 0);
    assert!(a.judged.abs_diff(a.requests) <= 1 && a.judged.abs_diff(2 * a.hits) <= 1, "{a:?}");
    assert_eq!((seen.revisions["b"].judged, seen.revisions["b"].hit_rate()), (0, None));
    assert_eq!(seen.revisions[NO_REVISION].errors, seen.revisions[NO_REVISION].requests);
    assert!((seen.share("a") - 0.5).abs() < 0.05);

    let text = reqwest::get(format!("http://{}/metrics", replay.metrics_addr())).await.unwrap().text().await.unwrap();
    for series in [
        "replay_requests_total{revision=\"a\",code=\"200\"} ",
        "replay_requests_total{revision=\"b\",code=\"500\"} ",
        "replay_requests_total{revision=\"none\",code=\"503\"} ",
        "outcome_judged_total{revision=\"a\"} ",
        "outcome_hits_total{revision=\"a\"} ",
    ] {
        assert!(text.contains(series), "{series} is not in\n{text}");
    }
}

#[tokio::test]
async fn an_outcome_is_not_known_before_its_delay() {
    let file = recorded(&[false]);
    let mut options = Options::new(gateway().await, "churn.internal", file.path(), 100.0);
    options.outcome_delay = Duration::from_millis(400);
    let replay = Replay::start(options).await.unwrap();
    let early = until(&replay, |s| s.requests() >= 5).await;
    assert_eq!(early.revisions["a"].judged, 0);
    until(&replay, |s| s.revisions["a"].judged >= 5).await;
}

#[tokio::test]
async fn a_dead_gateway_is_counted_and_not_fatal() {
    let file = recorded(&[false]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let replay = Replay::start(Options::new(format!("http://{free}"), "h", file.path(), 100.0)).await.unwrap();
    let seen = until(&replay, |s| s.errors() >= 5).await;
    assert_eq!(seen.errors(), seen.requests());
}

#[tokio::test]
async fn a_snapshot_since_another_is_what_came_between() {
    let file = recorded(&[false]);
    let options = Options::new(gateway().await, "churn.internal", file.path(), 200.0);
    let replay = Replay::start(options).await.unwrap();
    let first = until(&replay, |s| s.requests() >= 8).await;
    let second = until(&replay, |s| s.requests() >= 16).await;
    assert_eq!(second.since(&first).requests(), second.requests() - first.requests());
    assert_eq!(second.since(&second).requests(), 0);
}

#[tokio::test]
async fn refuses_a_file_or_a_rate_it_cannot_replay() {
    let file = recorded(&[]);
    let start = |options| async move { Replay::start(options).await.unwrap_err().to_string() };
    assert!(start(Options::new("http://h", "h", file.path(), 1.0)).await.contains("has no requests"));
    assert!(start(Options::new("http://h", "h", file.path(), 0.0)).await.contains("replay rate is 0"));
    assert!(start(Options::new("http://h", "h", "/nowhere", 1.0)).await.contains("cannot read /nowhere"));
    std::fs::write(file.path(), "{}\n").unwrap();
    assert!(start(Options::new("http://h", "h", file.path(), 1.0)).await.contains("line 1 of"));
    let file = recorded(&[false]);
    assert!(start(Options::new("not a url", "h", file.path(), 1.0)).await.contains("is not a URL"));
}
