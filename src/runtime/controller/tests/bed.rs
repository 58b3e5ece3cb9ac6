//! The loop with a machine that does what a test says, on an API server in memory.

use std::sync::Mutex;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::CustomResource;
use kube::runtime::watcher;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::*;
use crate::act::{Authority, EventSink};
use crate::audit::people::Words;
use crate::audit::{Appended, Entry, Trail, TrailError};
use crate::decide::Plan;
use crate::runtime::{ObserveError, PassMemory, Scope, Watch};
use crate::sim::Cluster;

#[derive(CustomResource, Debug, Clone, Serialize, Deserialize)]
#[kube(group = "test.werkbank.dev", version = "v1", kind = "Probe", namespaced, status = "Value", schema = "disabled")]
pub(super) struct ProbeSpec {}

pub(super) const HELD: &str = "test.werkbank.dev/held";

/// What a pass observes, and so decides.
pub(super) type Said = Result<Plan<Value>, ObserveError>;
type Script = Box<dyn Fn(Arc<Probe>, PassMemory) -> BoxFuture<'static, Said> + Send + Sync>;

struct Scripted {
    script: Script,
    passes: Passes,
}

/// Whom passes were about, in order, and when they began.
#[derive(Clone, Default)]
pub(super) struct Passes(Arc<Mutex<Vec<(String, Instant)>>>);

impl Passes {
    pub(super) fn of(&self, name: &str) -> Vec<Instant> {
        self.0.lock().unwrap().iter().filter(|(of, _)| of == name).map(|(_, at)| *at).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Waits between the passes about this one, rounded to seconds.
    pub(super) fn waits(&self, name: &str) -> Vec<u64> {
        let at = self.of(name);
        at.windows(2).map(|two| (two[1] - two[0]).as_secs_f64().round() as u64).collect()
    }
}

impl Machine for Scripted {
    type Resource = Probe;
    type Status = Value;
    type Observed = Plan<Value>;

    const KIND: &'static str = "Probe";
    const FINALIZER: Option<&'static str> = Some(HELD);

    async fn observe(&self, resource: Arc<Probe>, memory: &mut PassMemory) -> Said {
        let name = resource.metadata.name.clone().unwrap();
        self.passes.0.lock().unwrap().push((name, Instant::now()));
        (self.script)(resource, memory.clone()).await
    }

    fn decide(_: &Probe, observed: &Plan<Value>, _: chrono::DateTime<chrono::Utc>) -> Plan<Value> {
        observed.clone()
    }

    fn accounts_for(_: &Probe, _: &Entry) -> bool {
        true
    }

    fn stamp(status: &mut Value, lease_epoch: i64) {
        status["leaseEpoch"] = lease_epoch.into();
    }
}

/// What entries are called that the trail does not take.
pub(super) const UNRECORDED: &str = "Unrecorded";

struct NoTrail;

impl Trail for NoTrail {
    fn append<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<Appended, TrailError>> {
        let away = || TrailError::Unavailable("it is away".into());
        let answer = if entry.decision == UNRECORDED { Err(away()) } else { Ok(Appended::New) };
        Box::pin(std::future::ready(answer))
    }

    fn said<'a>(
        &'a self,
        person: &'a str,
        _: Option<Words<'a>>,
    ) -> BoxFuture<'a, Result<crate::audit::Said, TrailError>> {
        Box::pin(std::future::ready(Ok(crate::audit::Said { actor: person.to_owned(), comment: String::new() })))
    }

    fn history<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, TrailError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

pub(super) fn path(name: &str) -> String {
    format!("/apis/test.werkbank.dev/v1/namespaces/crm/probes/{name}")
}

/// A probe as somebody else would create it.
pub(super) fn probe(name: &str) -> Value {
    let metadata = json!({"namespace": "crm", "name": name, "uid": name});
    json!({"apiVersion": "test.werkbank.dev/v1", "kind": "Probe", "metadata": metadata, "spec": {}})
}

pub(super) struct Bed {
    pub(super) cluster: Cluster,
    pub(super) authority: Authority,
    pub(super) passes: Passes,
    pub(super) metrics: Arc<Metrics>,
    pub(super) wake: Box<dyn Fn() + Send + Sync>,
    /// They end with it.
    _watches: Watches,
}

impl Bed {
    pub(super) fn text(&self) -> String {
        self.metrics.text().unwrap()
    }
}

/// Passes of the probes that are in `cluster`, and of those that come.
pub(super) fn controller(
    cluster: &Cluster,
    concurrency: u16,
    script: impl Fn(Arc<Probe>, PassMemory) -> BoxFuture<'static, Said> + Send + Sync + 'static,
) -> (Controller<impl Machine>, Watches, Authority, Passes, Arc<Metrics>) {
    let (metrics, authority, passes) = (Arc::new(Metrics::new()), Authority::default(), Passes::default());
    let client = cluster.client(metrics.clone());
    let events = EventSink::start(client.clone(), "test".into(), Default::default());
    let mut watches = Watches::new(client.clone(), Scope::Cluster, metrics.clone(), events.clone());
    let queue = Queue::default();
    let cache = watches.add(Watch::new(watcher::Config::default()).wakes_itself(&queue));
    watches.add(Watch::<ConfigMap>::new(watcher::Config::default()));
    let actor = Actor::new(client, Arc::new(NoTrail), authority.clone(), events);
    let shared =
        Shared { actor, metrics: metrics.clone(), health: Arc::default(), concurrency, clock: Clock::default() };
    let machine = Scripted { script: Box::new(script), passes: passes.clone() };
    let controller = Controller::new(machine, cache, queue, &watches, &shared);
    (controller, watches, authority, passes, metrics)
}

/// The same, running, led for an hour from now.
pub(super) async fn led(
    names: &[&str],
    concurrency: u16,
    script: impl Fn(Arc<Probe>, PassMemory) -> BoxFuture<'static, Said> + Send + Sync + 'static,
) -> Bed {
    let bed = waiting(names, concurrency, script).await;
    bed.authority.grant(7, Instant::now() + Duration::from_hours(1));
    (bed.wake)();
    bed
}

/// The same, running, and not the leader.
pub(super) async fn waiting(
    names: &[&str],
    concurrency: u16,
    script: impl Fn(Arc<Probe>, PassMemory) -> BoxFuture<'static, Said> + Send + Sync + 'static,
) -> Bed {
    let cluster = Cluster::default();
    names.iter().for_each(|name| cluster.put(&path(name), probe(name)));
    let (controller, mut watches, authority, passes, metrics) = controller(&cluster, concurrency, script);
    let wake = controller.waker();
    watches.start().await.unwrap();
    tokio::spawn(controller.run(Shutdown::default()));
    Bed { cluster, authority, passes, metrics, wake, _watches: watches }
}
