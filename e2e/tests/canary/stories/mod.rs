//! The stories of `tests/stories`, on the real control plane: what there is to see here is what the simulation, whose
//! API server is a fake, has to show as well.
//!
//! All are played at the same time, a namespace each. Their pods run nowhere: who plays the kubelet says when they are
//! ready. What their metrics say is played, too; the API server, its controllers, the gateway and the operator are real.

mod others;
mod sightings;

use std::time::{Duration, Instant};

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use werkbank_e2e::workbench::{Options, repository};

use crate::scene::Scene;
use others::{Broken, Kubelet, Metrics};
use sightings::Sightings;

#[path = "../../../../tests/stories/mod.rs"]
mod shared;

use shared::{Answered, Moment, NAME, Now, Request, Seen, Story, difference, kept, transcript};

/// No moment of a story is further away from the one before.
const PATIENCE: Duration = Duration::from_secs(150);
/// How long what comes after the end may take: draining, collecting.
const SETTLES: Duration = Duration::from_secs(60);
/// And for so long nothing more happens.
const STILL: Duration = Duration::from_secs(3);
const LOOKS: Duration = Duration::from_millis(50);

/// For routes from everywhere.
const GATEWAY: &str = r"
{apiVersion: v1, kind: Namespace, metadata: {name: infra}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: internal, namespace: infra}
spec:
  gatewayClassName: workbench
  listeners:
  - {name: http, protocol: HTTP, port: 80, allowedRoutes: {namespaces: {from: All}}}
";

/// Where stories are played.
struct Stage {
    scene: Scene,
    sightings: Sightings,
    broken: Broken,
}

#[tokio::test(flavor = "multi_thread")]
async fn stories_are_told_as_the_simulation_tells_them() {
    let chosen = std::env::var("STORY").ok();
    let mut stories = shared::all(repository());
    stories.retain(|it| chosen.as_ref().is_none_or(|name| it.name == *name));
    let (sightings, broken) = (Sightings::default(), Broken::default());
    let metrics = Metrics::start(sightings.clone(), broken.clone()).await;
    let scene = Scene::empty(Options { fault_proxy: true, prometheus: None, ..Options::from_env() }).await;
    let prometheus = format!("prometheus.url={}", metrics.url());
    // As in the simulation: there is no store that a Job could look at.
    let alone = "replicas=1,podDisruptionBudget.enabled=false,artifacts.verify=false";
    scene.install(&[alone, &prometheus]).await;
    scene.apply("infra", GATEWAY).await;
    let _watching = sightings.watch(&scene.client()).await;
    let _kubelet = Kubelet::start(scene.client(), sightings.clone(), &stories);
    let stage = Stage { scene, sightings, broken };
    let ends = join_all(stories.iter().map(|story| stage.play(story))).await;
    let wrong: Vec<String> = ends.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), stories.len(), wrong.join("\n"));
    stage.scene.end().await;
}

impl Stage {
    async fn play(&self, story: &Story) -> Result<(), String> {
        let namespace = story.name.as_str();
        let began = Instant::now();
        let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        self.ask(Request { method: "POST", path: "/api/v1/namespaces".into(), body: home }).await;
        for version in 1..=4 {
            self.ask(Request::create(namespace, Story::entry(&format!("churn-{version}"), version))).await;
        }
        for object in &story.given {
            self.ask(Request::create(namespace, object.clone())).await;
        }
        let mut known = self.ask(Request::create(namespace, story.deployment())).await;
        for (number, act) in story.then.iter().enumerate() {
            let deployment = self.until(story, &act.when, &known, number).await?;
            act.what.breaks().into_iter().for_each(|it| self.broken.add(namespace, it));
            if let Some(request) = act.what.request(number, &Now { namespace, deployment: &deployment }) {
                known = self.ask(request).await;
            }
        }
        self.until(story, &story.ends, &known, story.then.len()).await?;
        self.compare(story).await?;
        eprintln!("{namespace}: as it should, after {:?}", began.elapsed());
        Ok(())
    }

    /// Waits until it is so, in a version of the deployment that has seen the last request.
    async fn until(&self, story: &Story, moment: &Moment, known: &Value, number: usize) -> Result<Value, String> {
        let (namespace, began) = (story.name.as_str(), Instant::now());
        let asked = if known["kind"] == "ModelDeployment" { version(known) } else { 0 };
        loop {
            let deployment = self.sightings.now(namespace, "ModelDeployment", NAME);
            let is_old = !deployment.is_null() && version(&deployment) < asked;
            if !is_old && moment.is_now(&Now { namespace, deployment: &deployment }) {
                return Ok(deployment);
            }
            if began.elapsed() > PATIENCE {
                let status = &deployment["status"];
                return Err(format!("{namespace}: what act {number} waits for never came: {moment:?} {status:#}"));
            }
            tokio::time::sleep(LOOKS).await;
        }
    }

    /// Waits until it is told as it should be, and stays so.
    async fn compare(&self, story: &Story) -> Result<(), String> {
        let expected = std::fs::read_to_string(kept(repository(), story)).unwrap_or_default();
        let began = Instant::now();
        loop {
            let found = transcript(story, &self.seen(story).await);
            if found == expected {
                break;
            }
            if began.elapsed() > SETTLES {
                return Err(format!("{}:\n{}", story.name, difference(&expected, &found)));
            }
            tokio::time::sleep(LOOKS * 10).await;
        }
        tokio::time::sleep(STILL).await;
        let later = transcript(story, &self.seen(story).await);
        match later == expected {
            true => Ok(()),
            false => Err(format!("{}, after its end:\n{}", story.name, difference(&expected, &later))),
        }
    }

    async fn seen(&self, story: &Story) -> Seen {
        let history = self.sightings.of(&story.name);
        let deployment = history.iter().find(|it| it.1["kind"] == "ModelDeployment");
        let uid = deployment.and_then(|it| it.1["metadata"]["uid"].as_str()).unwrap_or_default();
        let entries = self.scene.trail_of(uid).await;
        let trail = entries.iter().map(|it| serde_json::to_value(it).unwrap()).collect();
        let ours = |it: &&(String, Value)| it.1["reportingController"] == "werkbank.dev/werkbank";
        let events = history.iter().filter(ours).map(|it| it.1.clone()).collect();
        let (here, proxy) = (format!("/namespaces/{}/", story.name), self.scene.workbench.fault_proxy().unwrap());
        let requests = proxy.answered().into_iter().filter(|it| it.1.contains(&here));
        let requests = requests.map(|(method, path, code)| Answered { method, path, code }).collect();
        Seen { history, trail, events, requests }
    }

    /// Asks the API server, as the administrator.
    async fn ask(&self, request: Request) -> Value {
        let Request { method, path, body } = request;
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() };
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = http::Request::builder().method(method).uri(&path).header("content-type", content);
        let answer: kube::Result<Value> = self.scene.client().request(request.body(body).unwrap()).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|it| it.parse().ok()).unwrap_or(0)
}
