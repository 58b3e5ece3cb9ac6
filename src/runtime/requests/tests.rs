use std::sync::atomic::{AtomicU32, Ordering};

use tower::{ServiceExt, service_fn};

use super::*;

const BOUNDS: Bounds = Bounds {
    qps: 0,
    burst: 1,
    concurrency: 8,
    attempts: 4,
    deadline: Duration::from_secs(5),
    timeout: Duration::from_millis(200),
};

fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::from(b"body".to_vec())).unwrap()
}

/// Sends `method` to a server that always answers this way; returns its last answer and how
/// often it was asked.
async fn sent(
    method: Method,
    answer: impl Fn() -> Result<Response<()>, BoxError> + Send + 'static,
) -> (Result<Response<()>, BoxError>, u32) {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let server = service_fn(move |request: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        let answer = answer();
        async move {
            assert_eq!(request.into_body().collect_bytes().await.unwrap(), "body");
            answer
        }
    });
    let layer = RequestsLayer::new(BOUNDS, Arc::new(Metrics::new()));
    let answer = layer.layer(server).oneshot(request(method, "/api/v1/namespaces/a/services/b")).await;
    (answer, asked.load(Ordering::SeqCst))
}

async fn all_slots_are_taken(layer: &RequestsLayer) {
    while layer.shared.slots.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
}

fn status(code: u16) -> Result<Response<()>, BoxError> {
    Ok(Response::builder().status(code).body(()).unwrap())
}

#[tokio::test]
async fn a_throttled_write_is_repeated_a_few_times_and_then_answered_as_it_is() {
    let (answer, asked) = sent(Method::PATCH, || status(429)).await;
    assert_eq!((answer.unwrap().status().as_u16(), asked), (429, 4));
    assert_eq!(sent(Method::POST, || status(503)).await.1, 4);
}

#[tokio::test]
async fn a_write_that_may_have_happened_is_never_repeated() {
    for code in [500, 504] {
        assert_eq!(sent(Method::POST, move || status(code)).await.1, 1, "{code}");
    }
    assert_eq!(sent(Method::PUT, || Err("connection reset".into())).await.1, 1);
}

#[tokio::test]
async fn a_read_survives_a_broken_connection() {
    let (answer, asked) = sent(Method::GET, || Err("connection reset".into())).await;
    assert!(answer.is_err());
    assert_eq!(asked, 4);
    assert_eq!(sent(Method::GET, || status(504)).await.1, 4);
}

#[tokio::test]
async fn refusals_are_answers() {
    for code in [200, 404, 409, 422] {
        assert_eq!(sent(Method::GET, move || status(code)).await.1, 1, "{code}");
    }
}

#[tokio::test]
async fn retry_after_is_honoured_within_the_deadline() {
    let throttled = |seconds: &'static str| {
        move || Ok(Response::builder().status(429).header("retry-after", seconds).body(()).unwrap())
    };
    let started = Instant::now();
    let (_, asked) = sent(Method::GET, throttled("60")).await;
    assert_eq!(asked, 1, "waiting a minute would miss the deadline");
    assert!(started.elapsed() < Duration::from_secs(1));
    let about = About { verb: "get", resource: String::new(), path: String::new() };
    assert!(about.retry(&throttled("2")(), 1).unwrap() >= Duration::from_secs(2));
}

#[tokio::test]
async fn a_server_that_hangs_is_left() {
    let server = service_fn(|_: Request<Body>| std::future::pending::<Result<Response<()>, BoxError>>());
    let metrics = Arc::new(Metrics::new());
    let layer = RequestsLayer::new(BOUNDS, metrics.clone());
    let error = layer.layer(server).oneshot(request(Method::PUT, "/api/v1/namespaces/a/services/b")).await.unwrap_err();
    assert!(error.to_string().contains("no answer within"), "{error}");
    let text = metrics.text().unwrap();
    assert!(text.contains(r#"kube_requests_total{verb="update",resource="services",code="0"} 1"#), "{text}");
}

#[tokio::test]
async fn the_lease_waits_neither_for_a_slot_nor_for_its_turn() {
    let server = service_fn(|request: Request<Body>| async move {
        if !request.uri().path().contains("leases") {
            std::future::pending::<()>().await;
        }
        status(200)
    });
    let bounds = Bounds { qps: 1, burst: 2, concurrency: 2, timeout: Duration::from_secs(60), ..BOUNDS };
    let layer = RequestsLayer::new(bounds, Arc::new(Metrics::new()));
    let service = layer.layer(server);
    let flood = (0..50).map(|_| {
        let service = Requests { inner: service.inner.clone(), shared: service.shared.clone() };
        tokio::spawn(service.oneshot(request(Method::PUT, "/api/v1/namespaces/a/services/b")))
    });
    let flood: Vec<_> = flood.collect();
    all_slots_are_taken(&layer).await;
    let renewal = request(Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/werkbank");
    let renewed = tokio::time::timeout(Duration::from_secs(5), service.oneshot(renewal)).await;
    assert_eq!(renewed.expect("it waits behind the flood").unwrap().status().as_u16(), 200);
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn requests_are_named_as_the_api_server_names_them() {
    let about = |method, path: &str| {
        let about = About::of(&request(method, path));
        (about.verb, about.resource)
    };
    let named = |verb, resource: &str| (verb, resource.to_owned());
    let md = "/apis/werkbank.dev/v1alpha1/namespaces/crm/modeldeployments";
    assert_eq!(about(Method::PUT, &format!("{md}/churn/status")), named("update", "modeldeployments/status"));
    assert_eq!(about(Method::GET, &format!("{md}?limit=500")), named("list", "modeldeployments"));
    assert_eq!(about(Method::GET, &format!("{md}?&watch=true&x=1")), named("watch", "modeldeployments"));
    assert_eq!(about(Method::GET, "/api/v1/services"), named("list", "services"));
    assert_eq!(about(Method::DELETE, "/api/v1/namespaces/a/configmaps/b"), named("delete", "configmaps"));
    assert_eq!(about(Method::GET, "/api/v1/namespaces/crm"), named("get", "namespaces"));
    assert_eq!(about(Method::GET, "/version"), named("get", "other"));
}

#[test]
fn after_the_burst_requests_start_at_the_rate() {
    let bounds = Bounds { qps: 10, burst: 3, ..BOUNDS };
    let layer = RequestsLayer::new(bounds, Arc::new(Metrics::new()));
    let now = Instant::now();
    let turn = |after: u64| {
        let now = now + Duration::from_millis(after);
        layer.shared.turn(now, now + BOUNDS.deadline)
    };
    let at = |after| Turn::At(now + Duration::from_millis(after));
    let turns: Vec<Turn> = (0..5).map(|_| turn(0)).collect();
    assert_eq!(turns, [Turn::Now, Turn::Now, Turn::Now, at(100), at(200)]);
    assert_eq!(turn(1000), Turn::Now, "credit grows back");
}

#[test]
fn a_request_that_comes_too_late_takes_nobodys_turn() {
    let layer = RequestsLayer::new(Bounds { qps: 10, burst: 1, ..BOUNDS }, Arc::new(Metrics::new()));
    let now = Instant::now();
    let turn = |latest| layer.shared.turn(now, now + Duration::from_millis(latest));
    assert_eq!(turn(100), Turn::Now);
    assert_eq!(turn(100), Turn::At(now + Duration::from_millis(100)));
    for _ in 0..1000 {
        assert_eq!(turn(100), Turn::TooLate);
    }
    assert_eq!(turn(1000), Turn::At(now + Duration::from_millis(200)), "the refused ones cost nothing");
}

#[tokio::test(start_paused = true)]
async fn a_leaders_write_that_waits_beyond_its_authority_is_not_sent() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let server = service_fn(move |_: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(Response::builder().status(429).header("retry-after", "2").body(()).unwrap()))
    });
    let layer = RequestsLayer::new(BOUNDS, Arc::new(Metrics::new()));
    let authority = Authority::default();
    authority.grant(7, Instant::now() + Duration::from_secs(1));
    let mut create = request(Method::POST, "/api/v1/namespaces/a/services");
    create.extensions_mut().insert(authority);
    let error = layer.layer(server).oneshot(create).await.unwrap_err();
    assert!(error.is::<crate::act::NotLeading>(), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it led when it was sent first");
}

#[tokio::test(start_paused = true)]
async fn a_leaders_write_that_waits_for_a_slot_beyond_its_authority_is_not_sent() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let server = service_fn(move |_: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<Response<()>, BoxError>>()
    });
    let layer = RequestsLayer::new(Bounds { concurrency: 1, ..BOUNDS }, Arc::new(Metrics::new()));
    let service = layer.layer(server);
    let first = Requests { inner: service.inner.clone(), shared: service.shared.clone() };
    let first = tokio::spawn(first.oneshot(request(Method::POST, "/api/v1/namespaces/a/services")));
    all_slots_are_taken(&layer).await;
    let authority = Authority::default();
    authority.grant(7, Instant::now() + BOUNDS.timeout / 2);
    let mut create = request(Method::POST, "/api/v1/namespaces/a/services");
    create.extensions_mut().insert(authority);
    let error = service.oneshot(create).await.unwrap_err();
    assert!(error.is::<crate::act::NotLeading>(), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "only the first was sent");
    assert!(first.await.unwrap().is_err());
}

#[test]
fn without_a_rate_nothing_waits() {
    let layer = RequestsLayer::new(BOUNDS, Arc::new(Metrics::new()));
    let now = Instant::now();
    assert!((0..10_000).all(|_| layer.shared.turn(now, now) == Turn::Now));
}
