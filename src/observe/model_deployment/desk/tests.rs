use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Client;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::connect::http::HttpSource;
use crate::connect::prometheus::Answers;
use crate::connect::sql::SqlSource;
use crate::decide::Measurement;
use crate::decide::model_deployment::inquiry::{Judges, Part, Subject};
use crate::observe::model_deployment::MetricSource;
use crate::runtime::Queue;

/// Answers 0.5 at once; `slow` when it is let, and `broken` by a panic.
#[derive(Debug)]
struct Gate {
    open: watch::Receiver<bool>,
    asked: Mutex<Vec<String>>,
}

impl Answers for Gate {
    fn now<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Measurement> {
        async move {
            self.asked.lock().unwrap().push(query.to_owned());
            assert!(!query.starts_with("broken"), "a source that panics");
            if query.starts_with("slow") {
                let _ = self.open.clone().wait_for(|open| *open).await;
            }
            Measurement::of(0.5)
        }
        .boxed()
    }
}

struct Scene {
    desk: Desk,
    queue: Queue<ModelDeployment>,
    gate: Arc<Gate>,
    let_in: watch::Sender<bool>,
    resource: ModelDeployment,
    now: DateTime<Utc>,
}

impl Scene {
    /// A candidate at 5 % that is judged by these metrics.
    fn of(metrics: &[&str]) -> Self {
        let (let_in, open) = watch::channel(false);
        let gate = Arc::new(Gate { open, asked: Mutex::default() });
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, tower::BoxError>("no Secret is named".into())
        });
        let metric_source = MetricSource {
            prometheus: Some(gate.clone()),
            namespaces: Vec::new(),
            http: Arc::new(HttpSource::new(false).unwrap()),
            sql: Arc::new(SqlSource::new(false)),
        };
        let queue = Queue::default();
        let desk = Desk::new(Sources::new(Client::new(service, "crm"), metric_source), queue.waker());
        let metric = |name: &&str| {
            json!({"name": name, "role": "Guardrail", "threshold": {"max": "1"},
                "prometheus": {"query": format!("{name}{{revision=\"{{{{ revision }}}}\"}}")}})
        };
        let metrics: Vec<_> = metrics.iter().map(metric).collect();
        let mut resource = ModelDeployment::new(
            "churn",
            serde_json::from_value(json!({
                "modelRef": {"name": "churn-2"}, "port": 8080, "template": {},
                "rollout": {"steps": [{"weight": "5%"}]}, "analysis": {"metrics": metrics},
            }))
            .unwrap(),
        );
        let now = DateTime::UNIX_EPOCH;
        resource.metadata.namespace = Some("crm".into());
        resource.metadata.uid = Some("1".into());
        resource.status = Some(
            serde_json::from_value(json!({
                "stable": {"revision": "r1", "name": "churn-1", "uid": "e1"},
                "attempt": {"id": "r2-1", "revision": "r2", "entry": {"revision": "r2", "name": "churn-2", "uid": "e2"},
                    "state": "Observing", "weight": "5%", "startedAt": now, "enteredAt": now, "observingSince": now},
            }))
            .unwrap(),
        );
        Self { desk, queue, gate, let_in, resource, now }
    }

    /// The same metrics watch the stable revision, and nothing is rolled out.
    fn at_rest(mut self) -> Self {
        let analysis = &mut self.resource.spec.analysis;
        analysis.on_stable_breach = Some(serde_json::from_value(json!("Alert")).unwrap());
        let status = self.resource.status.as_mut().unwrap();
        status.attempt = None;
        status.stable_watch = Some(serde_json::from_value(json!({"revision": "r1", "since": self.now})).unwrap());
        self.seconds_pass(30);
        self
    }

    async fn pass_after(&self, got_through: bool) -> (Vec<String>, Asked) {
        let policy = Policy::read(&self.resource.spec, &BTreeMap::new());
        let (answered, asked) = self.desk.ask(&self.resource, &policy, got_through, self.now).await;
        let value = |it: &Answered| {
            assert_eq!(it.get(Part::Value, Subject::Candidate, None), Some(&Measurement::of(0.5)));
            format!("{} at {}", it.inquiry.topic.metric.as_deref().unwrap_or("-"), it.began.timestamp())
        };
        (answered.iter().map(value).collect(), asked)
    }

    async fn pass(&self) -> Vec<String> {
        self.pass_after(true).await.0
    }

    fn is_woken(&mut self) -> bool {
        self.queue.woken().iter().any(|it| it.name == "churn")
    }

    fn seconds_pass(&mut self, seconds: i64) {
        self.now += chrono::TimeDelta::seconds(seconds);
    }
}

fn topic(metric: &str) -> Topic {
    Topic { judges: Judges::Attempt, attempt: "r2-1".into(), metric: Some(metric.into()) }
}

/// Lets tasks end.
async fn a_moment_later() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_quick_source_answers_in_the_pass_that_asks_and_wakes_nobody() {
    let mut scene = Scene::of(&["errors", "latency"]);
    let began = Instant::now();
    assert_eq!(scene.pass().await, ["errors at 0", "latency at 0"]);
    assert_eq!(began.elapsed(), Duration::ZERO);
    a_moment_later().await;
    assert!(!scene.is_woken());
    assert_eq!(scene.pass().await, [""; 0], "and is not asked again before it is time");
    scene.seconds_pass(30);
    assert_eq!(scene.pass().await, ["errors at 30", "latency at 30"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_is_waited_for_a_moment_and_wakes_the_next_pass() {
    let mut scene = Scene::of(&["errors", "slow"]);
    let began = Instant::now();
    let (answered, asked) = scene.pass_after(true).await;
    assert_eq!((answered, began.elapsed()), (vec!["errors at 0".to_owned()], MOMENT));
    assert!(asked.is_under_way(&topic("slow")) && !asked.is_under_way(&topic("errors")));
    scene.seconds_pass(30);
    assert_eq!(scene.pass().await, ["errors at 30"], "the next round does not wait for it");
    assert!(!scene.is_woken());
    scene.let_in.send(true).unwrap();
    a_moment_later().await;
    assert!(scene.is_woken());
    assert_eq!(scene.pass().await, ["slow at 0"]);
    let slow = scene.gate.asked.lock().unwrap().iter().filter(|it| it.starts_with("slow")).count();
    assert_eq!(slow, 1);
}

#[tokio::test(start_paused = true)]
async fn what_watches_stable_revisions_takes_few_places_and_no_pass_waits_long_for_it() {
    let names: Vec<String> = (0..WATCHERS + 4).map(|it| format!("slow{it}")).collect();
    let mut scene = Scene::of(&names.iter().map(String::as_str).collect::<Vec<_>>()).at_rest();
    let began = Instant::now();
    assert_eq!((scene.pass().await, began.elapsed()), (Vec::new(), GLANCE));
    let asked = |scene: &Scene| scene.gate.asked.lock().unwrap().len();
    assert_eq!(asked(&scene), WATCHERS, "the others wait for a place");
    scene.let_in.send(true).unwrap();
    a_moment_later().await;
    assert_eq!(asked(&scene), WATCHERS + 4);
    assert!(scene.is_woken());
    assert_eq!(scene.pass().await.len(), WATCHERS + 4);
}

#[tokio::test(start_paused = true)]
async fn what_a_pass_was_told_that_did_not_get_through_is_told_again() {
    let mut scene = Scene::of(&["errors"]);
    assert_eq!(scene.pass().await, ["errors at 0"]);
    assert_eq!(scene.pass_after(false).await.0, ["errors at 0"], "a conflict");
    scene.seconds_pass(30);
    assert_eq!(scene.pass_after(false).await.0, ["errors at 30"], "only the newest about each metric");
    assert_eq!(scene.pass().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_for_an_attempt_that_is_over() {
    let mut scene = Scene::of(&["slow"]);
    assert!(scene.pass_after(true).await.1.is_under_way(&topic("slow")));
    assert_eq!(scene.let_in.receiver_count(), 2, "it waits");
    scene.resource.status.as_mut().unwrap().attempt.as_mut().unwrap().id = "r3-2".into();
    scene.pass().await;
    a_moment_later().await;
    assert_eq!(scene.let_in.receiver_count(), 2, "another one waits, the first one does not");
    scene.desk.forget("crm", "churn");
    a_moment_later().await;
    assert_eq!(scene.let_in.receiver_count(), 1, "the deployment is gone");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_of_the_same_name_gets_no_answers_of_the_last_one() {
    let mut scene = Scene::of(&["slow"]);
    scene.pass().await;
    scene.resource.metadata.uid = Some("2".into());
    scene.seconds_pass(1);
    scene.let_in.send(true).unwrap();
    assert_eq!(scene.pass().await, ["slow at 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_is_asked_again_in_the_next_round() {
    let mut scene = Scene::of(&["broken"]);
    scene.pass().await;
    assert!(!scene.pass_after(true).await.1.is_under_way(&topic("broken")));
    scene.seconds_pass(30);
    scene.pass().await;
    assert_eq!(scene.gate.asked.lock().unwrap().len(), 2);
}
