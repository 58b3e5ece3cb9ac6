//! The gateway with a real Envoy and a real API server: what HTTPRoutes promise
//! is what requests see.

mod plane;
mod world;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use werkbank_e2e::load::{Load, Target, exactly, within_sampling_error};
use world::{World, backends};

const REVISION: &str = "x-werkbank-revision";

fn target(world: &World, path: &str) -> Target {
    Target::get(format!("{}{path}", world.url)).count_header(REVISION)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_shared_by_the_weights_of_the_route() -> Result<()> {
    let world = World::start("shares", json!({})).await?;
    world.service("stable").await?;
    world.service("candidate").await?;
    let _pods = (world.backend("stable").await?, world.backend("stable").await?, world.backend("candidate").await?);
    for candidate in [5, 50, 0, 100] {
        let before = world.gateway.counters().await?;
        let route = world.weights("churn", &[("stable", 100 - candidate), ("candidate", candidate)]).await?;
        world.accepted(&route).await?;
        world.endpoints("stable", 2).await?;
        world.endpoints("candidate", 1).await?;
        let counts = exactly(&target(&world, "/"), 2000).await?;
        assert_eq!(counts.failed(), 0, "{counts:?}");
        let observed = counts.header.get("candidate").copied().unwrap_or_default();
        let expected = f64::from(candidate) / 100.0;
        assert!(within_sampling_error(observed, 2000, expected), "{observed} of 2000 at {candidate} %");
        let counted = |all: &std::collections::BTreeMap<_, werkbank_e2e::gateway::Counters>| {
            all.get("shares/candidate/80").copied().unwrap_or_default().success
        };
        let counted = counted(&world.gateway.counters().await?) - counted(&before);
        assert_eq!(counted, observed, "what Envoy counts is what callers saw");
        let weights = world.gateway.weights("shares", "churn").await?;
        assert_eq!(weights.get("candidate"), Some(&candidate));
    }
    let route = world.weights("churn", &[("stable", 0), ("candidate", 0)]).await?;
    world.accepted(&route).await?;
    let counts = exactly(&target(&world, "/"), 20).await?;
    assert_eq!(counts.statuses.get(&500), Some(&20), "all weights zero: {counts:?}");
    world.gateway.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weight_is_in_force_when_it_is_reported_and_reported_only_when_in_force() -> Result<()> {
    let world = World::start("reported", json!({})).await?;
    world.service("stable").await?;
    world.service("candidate").await?;
    let _pods = (world.backend("stable").await?, world.backend("candidate").await?);
    let mut slowest = Duration::ZERO;
    for turn in 0..30 {
        let (serving, idle) = if turn % 2 == 0 { ("stable", "candidate") } else { ("candidate", "stable") };
        let started = Instant::now();
        let route = world.weights("churn", &[(serving, 1), (idle, 0)]).await?;
        world.accepted(&route).await?;
        slowest = slowest.max(started.elapsed());
        let counts = exactly(&target(&world, "/"), 40).await?;
        assert_eq!(counts.header.get(serving), Some(&40), "turn {turn}: {counts:?}");
    }
    assert!(slowest < Duration::from_secs(2), "the slowest change took {slowest:?}");

    world.gateway.kill_envoy().await?;
    let route = world.weights("churn", &[("stable", 30), ("candidate", 70)]).await?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let seen = world.routes().get("churn").await?.status.unwrap_or_default();
    let at = seen.parents[0].conditions[0].observed_generation;
    assert!(at < route.metadata.generation, "reported with a dead Envoy: {seen:?}");
    world.gateway.restart_envoy().await?;
    world.accepted(&route).await?;
    assert_eq!(world.gateway.weights("reported", "churn").await?["candidate"], 70);
    world.gateway.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_share_of_a_missing_service_is_answered_with_500_and_reported() -> Result<()> {
    let world = World::start("missing", json!({})).await?;
    world.service("stable").await?;
    let _pod = world.backend("stable").await?;
    let route = world.weights("churn", &[("stable", 75), ("nobody", 25)]).await?;
    let (status, reason, message) = world.verdict(&route, "ResolvedRefs").await?;
    assert_eq!((&*status, &*reason), ("False", "BackendNotFound"));
    assert_eq!(message, "Service missing/nobody does not exist");
    world.accepted(&route).await?;
    world.endpoints("stable", 1).await?;
    let counts = exactly(&target(&world, "/"), 2000).await?;
    let errors = counts.statuses.get(&500).copied().unwrap_or_default();
    assert!(within_sampling_error(errors, 2000, 0.25), "{counts:?}");

    // The Service that comes later is found without a change of the route.
    world.service("nobody").await?;
    let _late = world.backend("nobody").await?;
    world.endpoints("nobody", 1).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.verdict(&route, "ResolvedRefs").await?.0, "True");
    assert_eq!(exactly(&target(&world, "/"), 200).await?.failed(), 0);
    world.gateway.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_route_is_told_why_and_serves_only_what_envoy_kept() -> Result<()> {
    let world = World::start("refused", json!({})).await?;
    world.service("stable").await?;
    world.service("candidate").await?;
    let _pods = (world.backend("stable").await?, world.backend("candidate").await?);
    world.accepted(&world.weights("churn", &[("stable", 100), ("candidate", 0)]).await?).await?;
    world.endpoints("stable", 1).await?;

    // Envoy does not let anyone change the Host header; the neighbours change at the same moment.
    let host =
        json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "Host", "value": "x"}]}}]);
    let wrong = json!({"rules": [{"filters": host, "backendRefs": backends(&[("candidate", 100)])}]});
    let neighbour = |path: &str| json!({"rules": [{"matches": [{"path": {"value": path}}], "backendRefs": backends(&[("candidate", 1)])}]});
    let (left, wrong, right) = tokio::try_join!(
        world.route("left", neighbour("/left")),
        world.route("churn", wrong),
        world.route("right", neighbour("/right")),
    )?;
    let (status, reason, message) = world.verdict(&wrong, "Accepted").await?;
    assert_eq!((&*status, &*reason), ("False", "UnsupportedValue"));
    assert!(message.contains("host headers may not be modified"), "{message}");
    world.accepted(&left).await?;
    world.accepted(&right).await?;
    let counts = exactly(&target(&world, "/"), 50).await?;
    assert_eq!(counts.header.get("stable"), Some(&50), "{counts:?}");
    let counts = exactly(&target(&world, "/left"), 50).await?;
    assert_eq!(counts.header.get("candidate"), Some(&50), "{counts:?}");

    let rewrite = json!([{"type": "URLRewrite", "urlRewrite": {"hostname": "a.example"}}]);
    let unsupported = json!({"rules": [{"filters": rewrite, "backendRefs": backends(&[("candidate", 100)])}]});
    let route = world.route("churn", unsupported).await?;
    let (status, reason, message) = world.verdict(&route, "Accepted").await?;
    assert_eq!((&*status, &*reason), ("False", "UnsupportedValue"));
    assert!(message.starts_with("spec.rules[0].filters[0]: URLRewrite is not supported"), "{message}");
    // A gateway translates what it sees: of what it does not implement, nothing is served.
    assert_eq!(exactly(&target(&world, "/"), 50).await?.statuses.get(&404), Some(&50));

    let route = world.weights("churn", &[("candidate", 1)]).await?;
    world.accepted(&route).await?;
    assert_eq!(exactly(&target(&world, "/"), 50).await?.header.get("candidate"), Some(&50));
    world.gateway.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_weights_flip_and_pods_come_and_go() -> Result<()> {
    let world = World::start("flips", json!({})).await?;
    world.service("stable").await?;
    world.service("candidate").await?;
    let _stable = world.backend("stable").await?;
    let mut candidate = world.backend("candidate").await?;
    world.accepted(&world.weights("churn", &[("stable", 1), ("candidate", 0)]).await?).await?;
    world.endpoints("stable", 1).await?;
    world.endpoints("candidate", 1).await?;
    let load = Load::start(target(&world, "/"), 200)?;
    for flip in 0..100 {
        let share = if flip % 2 == 0 { 50 } else { 0 };
        let route = world.weights("churn", &[("stable", 100 - share), ("candidate", share)]).await?;
        world.accepted(&route).await?;
        if flip % 10 == 5 {
            // A rolling replacement: the next pod is in before the last one goes.
            let next = world.backend("candidate").await?;
            world.endpoints("candidate", 2).await?;
            world.delete(std::mem::replace(&mut candidate, next)).await?;
            world.endpoints("candidate", 1).await?;
        }
    }
    let report = load.stop().await?;
    assert_eq!(report.total.failed(), 0, "{:?}", report.total);
    assert!(report.total.requests > 400, "{:?}", report.total);
    assert!(report.total.share("candidate") > 0.05, "{:?}", report.total);
    world.gateway.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_path_method_and_header_choose_the_rule() -> Result<()> {
    let world = World::start("matches", json!({"hostname": "*.shop.example"})).await?;
    for revision in ["by-path", "by-header", "by-method", "rest"] {
        world.service(revision).await?;
    }
    let _pods = (
        world.backend("by-path").await?,
        world.backend("by-header").await?,
        world.backend("by-method").await?,
        world.backend("rest").await?,
    );
    let rule = |matching, name| json!({"matches": [matching], "backendRefs": backends(&[(name, 1)])});
    let route = world
        .route(
            "churn",
            json!({"hostnames": ["churn.shop.example", "other.example"], "rules": [
                rule(json!({"path": {"value": "/"}}), "rest"),
                rule(json!({"path": {"type": "PathPrefix", "value": "/v2"}}), "by-path"),
                rule(json!({"path": {"value": "/"}, "method": "POST"}), "by-method"),
                rule(json!({"path": {"value": "/v2"}, "headers": [{"name": "x-team", "value": "crm"}]}), "by-header"),
            ]}),
        )
        .await?;
    world.accepted(&route).await?;
    for service in ["by-path", "by-header", "by-method", "rest"] {
        world.endpoints(service, 1).await?;
    }
    let http = reqwest::Client::builder().no_proxy().build()?;
    let ask = async |method: &str, host: &str, path: &str, team: &str| -> Result<String> {
        let request =
            http.request(method.parse()?, format!("{}{path}", world.url)).header("host", host).header("x-team", team);
        let answer = request.send().await?;
        let revision = answer.headers().get(REVISION).map(|it| it.to_str().map(str::to_owned)).transpose()?;
        Ok(revision.unwrap_or_else(|| answer.status().as_u16().to_string()))
    };
    let host = "churn.shop.example";
    assert_eq!(ask("GET", host, "/", "").await?, "rest");
    assert_eq!(ask("GET", host, "/v2/models", "").await?, "by-path");
    assert_eq!(ask("GET", host, "/v20", "").await?, "rest", "a prefix ends at a slash");
    assert_eq!(ask("GET", host, "/v2", "crm").await?, "by-header");
    assert_eq!(ask("POST", host, "/", "").await?, "by-method");
    assert_eq!(ask("GET", "churn.shop.example:8080", "/", "").await?, "rest");
    assert_eq!(ask("GET", "other.example", "/", "").await?, "404", "the listener does not serve this host");

    let elsewhere = world.route("elsewhere", json!({"hostnames": ["elsewhere.example"]})).await?;
    assert_eq!(world.verdict(&elsewhere, "Accepted").await?.1, "NoMatchingListenerHostname");
    let section = json!({"parentRefs": [{"name": "edge", "sectionName": "admin"}]});
    let section = world.route("section", section).await?;
    assert_eq!(world.verdict(&section, "Accepted").await?.1, "NoMatchingParent");
    world.gateway.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_gets_copies_and_header_filters_change_the_request() -> Result<()> {
    let world = World::start("mirror", json!({})).await?;
    world.service("stable").await?;
    world.service("shadow").await?;
    let (stable, shadow) = (world.backend("stable").await?, world.backend("shadow").await?);
    let filters = json!([
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}}},
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-share", "value": "5%"}], "remove": ["x-secret"]}},
    ]);
    let route = world.route("churn", json!({"rules": [{"filters": filters, "timeouts": {"request": "2s"}, "backendRefs": backends(&[("stable", 1)])}]})).await?;
    world.accepted(&route).await?;
    world.endpoints("stable", 1).await?;
    world.endpoints("shadow", 1).await?;
    let counts = exactly(&target(&world, "/"), 200).await?;
    assert_eq!(counts.header.get("stable"), Some(&200), "callers see the stable answers only: {counts:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stable.requests.load(Ordering::Relaxed), 200);
    assert_eq!(shadow.requests.load(Ordering::Relaxed), 200);
    let answer = reqwest::Client::new().get(&world.url).header("x-secret", "s").send().await?;
    let seen: serde_json::Value = answer.json().await?;
    assert_eq!(seen["headers"]["x-share"], "5%");
    assert_eq!(seen["headers"].get("x-secret"), None);
    assert!(world.run_dir.path().join("envoy.log").exists());
    world.gateway.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_routes_change_together_and_are_all_accepted() -> Result<()> {
    let world = World::start("thousand", json!({})).await?;
    world.service("stable").await?;
    world.service("candidate").await?;
    let _pod = world.backend("candidate").await?;
    let spec = |index: usize, share: u32| {
        json!({"hostnames": [format!("churn-{index}.example")],
            "rules": [{"backendRefs": backends(&[("stable", 100 - share), ("candidate", share)])}]})
    };
    let mut all = Duration::ZERO;
    for share in [0, 100] {
        let started = Instant::now();
        let applies = stream::iter(0..1000).map(|index| {
            let (world, spec) = (&world, spec(index, share));
            async move { world.route(&format!("churn-{index}"), spec).await }
        });
        let routes: Vec<_> = applies.buffer_unordered(16).try_collect().await?;
        let applied = started.elapsed();
        for route in &routes {
            world.accepted(route).await?;
        }
        all = started.elapsed();
        eprintln!("1,000 routes at {share} %: applied after {applied:?}, all accepted after {all:?}");
        assert!(all < Duration::from_secs(60), "{all:?}");
    }
    let last = target(&world, "/").host("churn-999.example");
    assert_eq!(exactly(&last, 20).await?.header.get("candidate"), Some(&20));
    let started = Instant::now();
    let route = world.route("churn-0", spec(0, 50)).await?;
    world.accepted(&route).await?;
    let one = started.elapsed();
    eprintln!("one change among 1,000 routes: accepted after {one:?}");
    // Others wait for none of it, however busy the machine is.
    assert!(one * 10 < all, "{one:?}, and all of them took {all:?}");
    world.gateway.stop().await
}
