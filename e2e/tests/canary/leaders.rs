//! Who leads: a leader that is paused, killed or deleted is followed by the replica that waits, and writes no more.

use std::time::{Duration, Instant};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, WatchEvent, WatchParams};
use werkbank::api::gateway::HttpRoute;
use werkbank::api::model_deployment::{ModelDeploymentStatus, Phase};
use werkbank_e2e::controlplane::Request;
use werkbank_e2e::process::Signal;
use werkbank_e2e::workbench::{OPERATOR_NAMESPACE, Options};

use crate::scene::{GOOD, Model, NAMESPACE, Scene, Wanted, unharmed};

/// What is promised when a leader says nothing any more.
const TAKEOVER: Duration = Duration::from_secs(30);
/// What the lease lasts; a leader that gives it back is followed much sooner.
const LEASE: Duration = Duration::from_secs(15);
/// A step that lasts longer than a takeover.
const LONG: &str = "[{weight: 20%, for: 10m}]";
const OVER: &str = "[{weight: 20%, for: 1s}]";

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_paused_killed_or_deleted_is_followed_by_the_replica_that_waits() {
    let mut options = Options::from_env();
    options.control_plane.audit = true;
    let scene = Scene::set_with(options).await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    paused(&scene, &model).await;
    killed_and_kept_down(&scene, &model).await;
    deleted(&scene, &model).await;
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}

/// The hardest case: it wakes up in the middle of a decision of long ago.
async fn paused(scene: &Scene, model: &Model<'_>) {
    let (first, second) = leader_and_follower(scene).await;
    let climbing = |end| Wanted { version: "2", steps: end, ..GOOD };
    model.deploy(&climbing("[{weight: 20%, for: 5s}, {weight: 50%, for: 10m}]")).await;
    let before = model.until_observing("20%").await;
    assert!(scene.signal_operator(&first, Signal::STOP));
    let begin = Instant::now();
    let status = model.until("another leader writes", |it| it.lease_epoch > before.lease_epoch).await;
    assert!(begin.elapsed() < TAKEOVER, "took {:?}", begin.elapsed());
    eprintln!("a paused leader was followed after {:.1} s", begin.elapsed().as_secs_f64());
    assert_eq!(scene.leader().await, second, "the replica that waited leads");
    // The step was over while nobody led: the paused leader will want to end it, too.
    let held = model.until_observing("50%").await;
    assert_eq!(held.attempts, before.attempts, "the same canary goes on");
    let (route, asked) = (route(scene).await, requests(scene).len());

    assert!(scene.signal_operator(&first, Signal::CONT));
    eventually("the old leader ends its process", async || restarts(scene, &first).await == 1).await;
    assert_eq!(last_exit(scene, &first).await, Some(1), "by itself");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        let now = model.status().await;
        assert_eq!(now.lease_epoch, status.lease_epoch, "an old epoch came back");
        assert_eq!((now.sequence, now.weight), (held.sequence, held.weight), "something was decided");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(self::route(scene).await, route, "the route was written");
    let landed: Vec<Request> = requests(scene).split_off(asked).into_iter().filter(|it| wrote(it, &first)).collect();
    assert!(landed.is_empty(), "what the old leader wrote: {landed:?}");
    assert_eq!(scene.leader().await, second);
    model.deploy(&climbing("[{weight: 50%, for: 1s}]")).await;
    promoted(model, before.attempts).await;
}

async fn killed_and_kept_down(scene: &Scene, model: &Model<'_>) {
    let (first, second) = leader_and_follower(scene).await;
    model.deploy(&Wanted { version: "3", steps: LONG, ..GOOD }).await;
    let before = model.until_observing("20%").await;
    assert!(scene.signal_operator(&first, Signal::KILL));
    let begin = Instant::now();
    let story = async {
        model.until("another leader writes", |it| it.lease_epoch > before.lease_epoch).await;
        assert!(begin.elapsed() < TAKEOVER, "took {:?}", begin.elapsed());
        eprintln!("a killed leader was followed after {:.1} s", begin.elapsed().as_secs_f64());
        assert_eq!(scene.leader().await, second);
        model.deploy(&Wanted { version: "3", steps: OVER, ..GOOD }).await;
        promoted(model, before.attempts).await;
    };
    // The node starts its container again, and in the same pod it would take its own lease at once.
    let kept_down = async {
        loop {
            scene.signal_operator(&first, Signal::KILL);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = story => {}
        () = kept_down => {}
    }
}

/// As in an upgrade or a drain of a node: the lease is given back, so nobody waits for it to run out.
async fn deleted(scene: &Scene, model: &Model<'_>) {
    eventually("both replicas are ready", async || ready(scene).await == 2).await;
    let leader = scene.leader().await;
    model.deploy(&Wanted { version: "4", steps: LONG, ..GOOD }).await;
    let before = model.until_observing("20%").await;
    let leases: Api<Lease> = Api::namespaced(scene.client(), OPERATOR_NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(scene.client(), OPERATOR_NAMESPACE);
    let held = leases.watch(&WatchParams::default(), "0").await.unwrap();
    let lives = pods.watch(&WatchParams::default(), "0").await.unwrap();
    pin_mut!(held, lives);
    let begin = Instant::now();
    pods.delete(&leader, &DeleteParams::default()).await.unwrap();
    let mut given_back = false;
    let next = loop {
        let Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease))) = held.next().await else { continue };
        match lease.spec.and_then(|it| it.holder_identity).unwrap_or_default() {
            holder if holder.is_empty() => given_back = true,
            holder if holder != leader => break holder,
            _ => {}
        }
    };
    assert!(given_back, "{next} leads and {leader} never gave the lease back");
    assert!(begin.elapsed() < LEASE / 2, "took {:?}", begin.elapsed());
    eprintln!("a deleted leader was followed after {:.1} s", begin.elapsed().as_secs_f64());
    let code = loop {
        if let Some(Ok(WatchEvent::Deleted(pod))) = lives.next().await
            && pod.metadata.name.as_ref() == Some(&leader)
        {
            break exit_code(&pod, |it| it.state.as_ref());
        }
    };
    assert_eq!(code, Some(0), "it ends as a process that is done");
    model.until("the canary goes on", |it| it.lease_epoch > before.lease_epoch).await;
    model.deploy(&Wanted { version: "4", steps: OVER, ..GOOD }).await;
    promoted(model, before.attempts).await;
}

async fn leader_and_follower(scene: &Scene) -> (String, String) {
    eventually("both replicas are ready", async || ready(scene).await == 2).await;
    let leader = scene.leader().await;
    let mut others: Vec<String> = scene.operators().await.into_keys().filter(|it| *it != leader).collect();
    assert_eq!(others.len(), 1, "{others:?}");
    (leader, others.remove(0))
}

async fn promoted(model: &Model<'_>, attempts: i64) {
    let done = |it: &ModelDeploymentStatus| it.phase == Phase::Stable && it.attempts == attempts;
    model.until("it is promoted", done).await;
}

async fn operator(scene: &Scene, name: &str) -> Pod {
    Api::namespaced(scene.client(), OPERATOR_NAMESPACE).get(name).await.unwrap()
}

async fn restarts(scene: &Scene, pod: &str) -> i32 {
    scene.operators().await.get(pod).copied().unwrap_or_default()
}

async fn last_exit(scene: &Scene, pod: &str) -> Option<i32> {
    exit_code(&operator(scene, pod).await, |it| it.last_state.as_ref())
}

fn exit_code(
    pod: &Pod,
    of: impl Fn(&k8s_openapi::api::core::v1::ContainerStatus) -> Option<&k8s_openapi::api::core::v1::ContainerState>,
) -> Option<i32> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    of(container)?.terminated.as_ref().map(|it| it.exit_code)
}

/// Operators that are ready and not on their way out.
async fn ready(scene: &Scene) -> usize {
    let pods: Api<Pod> = Api::namespaced(scene.client(), OPERATOR_NAMESPACE);
    let ready = |pod: &&Pod| {
        let statuses = pod.status.as_ref().and_then(|it| it.container_statuses.as_ref());
        pod.metadata.deletion_timestamp.is_none() && statuses.is_some_and(|it| it.iter().all(|it| it.ready))
    };
    pods.list(&Default::default()).await.unwrap().iter().filter(ready).count()
}

/// The route's generation: its spec was not touched while that stays.
async fn route(scene: &Scene) -> Option<i64> {
    let routes: Api<HttpRoute> = Api::namespaced(scene.client(), NAMESPACE);
    routes.get("scores").await.unwrap().metadata.generation
}

fn requests(scene: &Scene) -> Vec<Request> {
    scene.workbench.control_plane().requests().unwrap()
}

/// Whether a pod changed something with this request, beside what a replica that does not lead may write.
fn wrote(request: &Request, pod: &str) -> bool {
    let reads = ["get", "list", "watch"].contains(&request.verb.as_str());
    let own = ["leases", "events"].contains(&request.resource.as_str());
    request.pod.as_deref() == Some(pod) && !reads && !own && request.code < 300
}

async fn eventually(what: &str, is: impl AsyncFn() -> bool) {
    let begin = Instant::now();
    while !is().await {
        assert!(begin.elapsed() < Duration::from_secs(90), "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
