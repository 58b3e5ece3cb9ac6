//! The loop: watches pods and nodes, binds what fits, starts and ends pods.
//!
//! All pods and nodes of the cluster are kept as the watches show them; every
//! event leads to the same idempotent look at one pod, every relist and every
//! other second to a look at all. Several agents may run on one API server: each
//! binds what fits itself, a binding that came too late is refused by the API
//! server, and all write the same words about a pod that fits nowhere.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures::StreamExt as _;
use k8s_openapi::{
    api::core::v1::{Node as NodeObject, Pod},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};

use super::{
    NodeOptions,
    address::Addresses,
    facts::Facts,
    image::Digests,
    launch::PodContext,
    pod::{Order, PodLife},
    registration, status,
    world::World,
};
use crate::process::Supervisor;

/// How often pods that fit nowhere are looked at again.
const TICK: Duration = Duration::from_secs(2);

/// Namespace, pod and container.
type ContainerKey = (String, String, String);

/// What all pods of a node share.
pub(super) struct Node {
    pub(super) client: Client,
    pub(super) options: NodeOptions,
    pub(super) digests: Digests,
    pub(super) http: reqwest::Client,
    pub(super) supervisor: Supervisor,
    running: Mutex<BTreeMap<ContainerKey, u32>>,
}

impl Node {
    /// Lists a container's process as running, until the answer is dropped.
    pub(super) fn list<'n>(&'n self, context: &PodContext, container: &str, pid: u32) -> Listed<'n> {
        let key = (context.namespace().to_owned(), context.name().to_owned(), container.to_owned());
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), pid);
        Listed { node: self, key, pid }
    }

    fn pods_dir(&self) -> PathBuf {
        self.options.run_dir.join("pods")
    }
}

/// A process that is listed as running.
pub(super) struct Listed<'n> {
    node: &'n Node,
    key: ContainerKey,
    pid: u32,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut running = self.node.running.lock().unwrap_or_else(PoisonError::into_inner);
        // A pod of the same name may have taken the place.
        if running.get(&self.key) == Some(&self.pid) {
            running.remove(&self.key);
        }
    }
}

/// A running node. Dropping it kills its pods' processes; [`NodeAgent::stop`]
/// lets them end.
pub struct NodeAgent {
    node: Arc<Node>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl NodeAgent {
    /// Registers the node and starts running its pods.
    ///
    /// # Errors
    /// If the run directory cannot be made or the Node cannot be written.
    pub async fn start(client: Client, mut options: NodeOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.run_dir)
            .with_context(|| format!("the run directory {} cannot be made", options.run_dir.display()))?;
        options.run_dir = options.run_dir.canonicalize()?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .danger_accept_invalid_certs(true)
            .build()?;
        let since = Timestamp::now();
        registration::register(&client, &options, since).await?;
        let (digests, running) = (Digests::default(), Mutex::default());
        let node = Arc::new(Node { client, options, digests, http, supervisor: Supervisor::new()?, running });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let agent = Loop::new(Arc::clone(&node));
        tasks.spawn(async move {
            let node = Arc::clone(&agent.node);
            tokio::select! {
                never = registration::keep(node.client.clone(), &node.options, since) => match never {},
                () = agent.run(stopped) => {}
            }
        });
        Ok(Self { node, stop, tasks })
    }

    /// The id of a container's process, while it runs.
    #[must_use]
    pub fn pid(&self, namespace: &str, pod: &str, container: &str) -> Option<u32> {
        let key = (namespace.to_owned(), pod.to_owned(), container.to_owned());
        self.node.running.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    /// Where what is written to a claim is: the same directory for every pod that mounts it.
    #[must_use]
    pub fn claim(&self, namespace: &str, name: &str) -> PathBuf {
        self.node.options.run_dir.join("claims").join(namespace).join(name)
    }

    /// What a container wrote since it was last started, as `kubectl logs`
    /// shows it; also after its pod has gone.
    ///
    /// # Errors
    /// If no such container was ever started here.
    pub fn logs(&self, namespace: &str, pod: &str, container: &str) -> anyhow::Result<String> {
        let newest = self.log_files(namespace, pod, container)?.pop();
        let (_, path) =
            newest.with_context(|| format!("container {namespace}/{pod}/{container} was never started here"))?;
        Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
    }

    /// The log files of a container, oldest first, with when each began.
    fn log_files(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> anyhow::Result<Vec<(std::time::SystemTime, PathBuf)>> {
        let mut files = Vec::new();
        for dir in std::fs::read_dir(self.node.pods_dir())?.flatten() {
            if !dir.file_name().to_string_lossy().starts_with(&format!("{namespace}_{pod}_")) {
                continue;
            }
            for file in std::fs::read_dir(dir.path())?.flatten() {
                let name = file.file_name().to_string_lossy().into_owned();
                let restart = name.strip_prefix(container).and_then(|rest| rest.strip_prefix('.'));
                if restart.and_then(|rest| rest.strip_suffix(".log")).is_some_and(|n| n.parse::<u32>().is_ok()) {
                    files.push((file.metadata()?.created().or_else(|_| file.metadata()?.modified())?, file.path()));
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Ends all pods' processes and then the agent. Objects are left as they are.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A pod that this node runs.
struct Worker {
    orders: watch::Sender<Order>,
    address: std::net::Ipv4Addr,
    /// It ended, and its object has yet to vanish.
    ended: bool,
}

struct Loop {
    node: Arc<Node>,
    world: World,
    addresses: Addresses,
    /// By the pods' uids.
    workers: BTreeMap<String, Worker>,
    tasks: JoinSet<String>,
}

impl Loop {
    fn new(node: Arc<Node>) -> Self {
        let addresses = Addresses::new(node.options.block);
        let world = World::new(node.client.clone(), &node.options.name);
        Self { node, world, addresses, workers: BTreeMap::new(), tasks: JoinSet::new() }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let client = self.node.client.clone();
        let config = watcher::Config::default;
        let mut pods = watcher(Api::<Pod>::all(client.clone()), config()).default_backoff().boxed();
        let mut nodes = watcher(Api::<NodeObject>::all(client), config()).default_backoff().boxed();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(event) = pods.next() => match event {
                    Ok(event) => if let Some(pod) = self.world.pods.see(event) {
                        self.look_at(&pod).await;
                    },
                    Err(error) => tracing::debug!(%error, "watching pods is interrupted"),
                },
                Some(event) = nodes.next() => match event {
                    Ok(event) => { self.world.nodes.see(event); }
                    Err(error) => tracing::debug!(%error, "watching nodes is interrupted"),
                },
                Some(done) = self.tasks.join_next() => self.ended(done),
                _ = tick.tick() => self.look_at_all().await,
                () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
            }
            self.forget_vanished();
        }
        self.end_all().await;
    }

    async fn look_at_all(&mut self) {
        for pod in self.world.pods.all() {
            self.look_at(&pod).await;
        }
    }

    async fn look_at(&mut self, pod: &Arc<Pod>) {
        self.world.schedule(pod).await;
        let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if bound != Some(self.node.options.name.as_str()) || !self.world.pods.knows(pod) {
            return;
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if !self.workers.contains_key(&uid) {
            self.take_in(&uid, pod);
        }
        if let Some(worker) = self.workers.get(&uid)
            && pod.metadata.deletion_timestamp.is_some()
        {
            let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
            let order = Order::Delete(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
            worker.orders.send_if_modified(|now| std::mem::replace(now, order) != order);
        }
    }

    fn take_in(&mut self, uid: &str, pod: &Arc<Pod>) {
        let had = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()).and_then(|ip| ip.parse().ok());
        let Some(address) = self.addresses.take(had) else {
            tracing::warn!(block = %self.node.options.block, "no address is free: give the node fewer pods");
            return;
        };
        let meta = &pod.metadata;
        let name = |part: &Option<String>| part.clone().unwrap_or_default();
        let dir = format!("{}_{}_{uid}", name(&meta.namespace), name(&meta.name));
        let facts = Facts::new(pod, address, self.node.options.block.node(), Timestamp::now());
        let context = PodContext {
            node: Arc::clone(&self.node),
            pod: Arc::clone(pod),
            dir: self.node.pods_dir().join(dir),
            facts: watch::Sender::new(facts),
        };
        let (orders, ordered) = watch::channel(Order::Run);
        let life = PodLife::new(Arc::new(context), ordered);
        let own = uid.to_owned();
        self.tasks.spawn(async move {
            life.live().await;
            own
        });
        self.workers.insert(uid.to_owned(), Worker { orders, address, ended: false });
    }

    fn ended(&mut self, done: Result<String, JoinError>) {
        match done {
            Ok(uid) => {
                if let Some(worker) = self.workers.get_mut(&uid) {
                    worker.ended = true;
                    self.addresses.release(worker.address);
                }
            }
            Err(error) => tracing::error!(%error, "a pod's task failed"),
        }
    }

    /// Pods whose objects vanished: the running are ended, the ended forgotten.
    fn forget_vanished(&mut self) {
        if !self.world.pods.complete() {
            return;
        }
        let uids = self.world.pods.uids();
        self.workers.retain(|uid, worker| {
            let vanished = !uids.contains(uid);
            if vanished && !worker.ended {
                worker.orders.send_if_modified(|now| std::mem::replace(now, Order::Abandon) != Order::Abandon);
            }
            !(vanished && worker.ended)
        });
    }

    async fn end_all(&mut self) {
        for worker in self.workers.values() {
            worker.orders.send_replace(Order::Abandon);
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Whether a pod counts towards a node's capacity.
pub(super) fn occupies(pod: &Pod, node: &str) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node) && !status::is_over(pod)
}
