//! One pod's life: volumes, tokens, init containers in order, containers
//! together; then, when asked, the same backwards.
//!
//! A task per pod. Orders come from the agent, which sees the API server; the
//! task reports what it does and, when a deleted pod's last process has ended,
//! deletes the object for good. Dropping the task ends every process: each one
//! belongs to a future that the task owns.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{
    container::{Life, Restart},
    facts::Facts,
    launch::PodContext,
    report::{Reporter, Told},
    status, support,
    token::{self, TokenFile, Tokens},
    volume::{Sources, Volumes},
};

/// How long something that stands in a pod's way waits before it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What the agent wants of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Run.
    Run,
    /// Its object is being deleted: end within the grace period, then delete it.
    Delete(Duration),
    /// Its object has gone or the node stops: end, and write nothing.
    Abandon,
}

impl Order {
    fn grace(self) -> Duration {
        match self {
            Self::Run => Duration::MAX,
            Self::Delete(grace) => grace,
            Self::Abandon => Duration::from_secs(2),
        }
    }
}

/// Containers that are started and ended together.
struct Group {
    stop: watch::Sender<Option<Instant>>,
    tasks: JoinSet<()>,
}

/// A pod on this node.
pub(super) struct PodLife {
    context: Arc<PodContext>,
    orders: watch::Receiver<Order>,
    groups: Vec<Group>,
    renewals: JoinSet<()>,
}

impl PodLife {
    /// A pod of which nothing runs yet.
    pub(super) fn new(context: Arc<PodContext>, orders: watch::Receiver<Order>) -> Self {
        Self { context, orders, groups: Vec::new(), renewals: JoinSet::new() }
    }

    /// Runs the pod until it has been ended by order.
    pub(super) async fn live(mut self) {
        let mut reporter = Reporter::new(Arc::clone(&self.context));
        // A pod that is over keeps the status it has; it only waits to be deleted.
        let order = if status::is_over(&self.context.pod) {
            self.order().await
        } else {
            reporter.once().await;
            tokio::select! {
                never = reporter.keep() => match never {},
                order = self.until_ended() => order,
            }
        };
        self.renewals.shutdown().await;
        if let Order::Delete(_) = order {
            self.delete(&mut reporter).await;
        }
        self.clean_up();
    }

    async fn order(&mut self) -> Order {
        match self.orders.wait_for(|order| *order != Order::Run).await {
            Ok(order) => *order,
            Err(_) => Order::Abandon,
        }
    }

    async fn until_ended(&mut self) -> Order {
        let mut orders = self.orders.clone();
        tokio::select! {
            () = self.run() => {}
            () = async { drop(orders.wait_for(|order| *order != Order::Run).await) } => {}
        }
        let order = self.order().await;
        self.context.facts.send_modify(|facts| facts.deleting = true);
        self.end(self.orders.clone()).await;
        // What was deletion may have become abandonment meanwhile.
        if order == Order::Abandon { order } else { self.order().await }
    }

    /// Starts everything in order and returns when nothing will run any more.
    async fn run(&mut self) {
        let volumes = self.prepared().await;
        let spec = self.context.pod.spec.clone().unwrap_or_default();
        let mut initialized = true;
        for container in spec.init_containers.iter().flatten() {
            let restart = match (container.restart_policy.as_deref(), status::restart_policy(&self.context.pod)) {
                (Some("Always"), _) => Restart::Always,
                (_, "Never") => Restart::Never,
                _ => Restart::OnFailure,
            };
            self.start(std::slice::from_ref(container), restart, &volumes);
            let settled =
                |facts: &Facts| facts.get(&container.name).is_none_or(|record| record.initialized() || record.finished);
            let settled = self.context.facts.subscribe().wait_for(settled).await.is_ok();
            initialized = settled && self.context.facts.borrow().get(&container.name).is_some_and(|r| r.initialized());
            if !initialized {
                break;
            }
        }
        if initialized {
            let restart = match status::restart_policy(&self.context.pod) {
                "Never" => Restart::Never,
                "OnFailure" => Restart::OnFailure,
                _ => Restart::Always,
            };
            self.start(&spec.containers, restart, &volumes);
            let over = |facts: &Facts| facts.main.iter().all(|record| record.finished);
            // An error would mean that the facts are gone, and this pod with them.
            drop(self.context.facts.subscribe().wait_for(over).await);
        }
        // Only sidecars can be left; they have nobody to serve.
        let seconds = spec.termination_grace_period_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(30);
        let (_own, orders) = watch::channel(Order::Delete(Duration::from_secs(seconds)));
        self.end(orders).await;
    }

    fn start(&mut self, containers: &[Container], restart: Restart, volumes: &Arc<Volumes>) {
        let (stop, stopped) = watch::channel(None);
        let mut tasks = JoinSet::new();
        for container in containers {
            let life = Life {
                context: Arc::clone(&self.context),
                volumes: Arc::clone(volumes),
                container: container.clone(),
                restart,
                stop: stopped.clone(),
            };
            tasks.spawn(life.live());
        }
        self.groups.push(Group { stop, tasks });
    }

    /// Ends all groups, last started first, within the grace period of the
    /// order, which a later order may shorten.
    async fn end(&mut self, mut orders: watch::Receiver<Order>) {
        let begun = Instant::now();
        let mut deadline = begun + Duration::from_secs(86_400);
        while let Some(mut group) = self.groups.pop() {
            loop {
                let grace = orders.borrow_and_update().grace();
                deadline = begun.checked_add(grace).map_or(deadline, |earlier| earlier.min(deadline));
                group.stop.send_replace(Some(deadline));
                tokio::select! {
                    () = ended(&mut group.tasks) => break,
                    Ok(()) = orders.changed() => {}
                }
            }
        }
    }

    /// Volumes and tokens, tried until they are there.
    async fn prepared(&mut self) -> Arc<Volumes> {
        loop {
            let attempt = match support::refusal(&self.context.pod) {
                Some(message) => Err(("CreateContainerError", message)),
                None => self.prepare().await.map_err(|error| ("ContainerCreating", format!("{error:#}"))),
            };
            match attempt {
                Ok(volumes) => {
                    let initial = if self.context.facts.borrow().init.is_empty() {
                        "ContainerCreating"
                    } else {
                        "PodInitializing"
                    };
                    self.context.facts.send_modify(|facts| facts.all_waiting(initial, ""));
                    return Arc::new(volumes);
                }
                Err((reason, message)) => self.context.facts.send_if_modified(|facts| {
                    let before = facts.clone();
                    facts.all_waiting(reason, &message);
                    *facts != before
                }),
            };
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn prepare(&mut self) -> anyhow::Result<Volumes> {
        let context = &self.context;
        let options = &context.node.options;
        private_dir(&context.dir)?;
        let facts = context.facts.borrow().clone();
        let namespace = context.pod.metadata.namespace.as_deref().unwrap_or_default();
        let sources = Sources {
            pod: &context.pod,
            facts: &facts,
            lookup: &context.lookup(),
            dir: context.dir.join("volumes"),
            claims: &options.run_dir.join("claims").join(namespace),
            host_paths: &options.host_paths,
            ca_pem: &options.ca_pem,
        };
        let mut volumes = sources.prepare().await?;
        let mut files = std::mem::take(&mut volumes.tokens);
        let Some(tokens) = Tokens::of(context.node.client.clone(), &context.pod) else {
            anyhow::ensure!(files.is_empty(), "the pod wants a token but has no serviceAccountName: name one");
            return Ok(volumes);
        };
        if tokens.automounts(&context.pod).await? {
            let path = context.dir.join("serviceaccount/token");
            let text = token::kubeconfig(&options.server, &options.ca_pem, context.namespace(), &path);
            token::replace(&context.kubeconfig(), text.as_bytes()).await?;
            files.push(TokenFile { path, audience: None, seconds: None });
        }
        let mut due = Vec::new();
        for file in files {
            let renew = tokens.issue(&file).await?;
            due.push((file, renew));
        }
        self.renewals.spawn(tokens.keep(due));
        Ok(volumes)
    }

    /// Tells how the pod ended, then deletes its object for good.
    async fn delete(&self, reporter: &mut Reporter) {
        let pods: Api<Pod> = Api::namespaced(self.context.node.client.clone(), self.context.namespace());
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(self.context.uid().to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        loop {
            let told = if status::is_over(&self.context.pod) { Told::Yes } else { reporter.once().await };
            let deleted = match told {
                Told::Gone => return,
                Told::NotYet => false,
                Told::Yes => match pods.delete(self.context.name(), &params).await {
                    Ok(_) => true,
                    Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => true,
                    Err(error) => {
                        tracing::warn!(pod = self.context.name(), %error, "pod not deleted yet");
                        false
                    }
                },
            };
            if deleted || *self.orders.borrow() == Order::Abandon {
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Removes everything but the logs, which are wanted most when all is over.
    fn clean_up(&self) {
        for part in ["volumes", "serviceaccount", "termination", "home", "tmp"] {
            // What was never made need not be removed.
            let _ = std::fs::remove_dir_all(self.context.dir.join(part));
        }
    }
}

async fn ended(tasks: &mut JoinSet<()>) {
    while let Some(result) = tasks.join_next().await {
        if let Err(error) = result {
            tracing::error!(%error, "a container's task failed");
        }
    }
}

/// Makes a directory that only its owner can read: Secrets are below it.
fn private_dir(dir: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("the pod's directory {} cannot be made", dir.display()))
}
