//! The operator: everything wired, from options to exit.
//!
//! Order of starting: metrics and health first (a process that cannot reach its cluster says so
//! there), then the loops, which show that the process is alive while it waits, then the watches,
//! then the lease; decisions begin with the lease. Order of ending: no new work, passes under way
//! end, the lease is given back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::watch as signal;
use tokio::task::{JoinHandle, JoinSet};

use super::watch::Standing;
use super::{
    Cache, ClientOptions, Clock, Controller, Health, Leadership, LeaseError, LeaseOptions, LogFormat, Machine, Metrics,
    Queue, Scope, Shared, Shutdown, WatchEnded, Watches, cluster, connect, serve,
};
use crate::act::{Actor, Authority, EventSink};
use crate::audit::Trail;

/// How long Events, and then answers to probes, may still take at the end. With the passes under way, the last
/// renewal and the release it stays within the 30 s that Kubernetes gives by default.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long the API server may take to say which cluster this is.
const IDENTIFY_LIMIT: Duration = Duration::from_secs(2);

/// What the operator can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct OperatorOptions {
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Namespace to watch; may be given several times. All namespaces if none is given.
    #[arg(long = "watch-namespace")]
    pub watch_namespaces: Vec<String>,
    /// Passes under way at the same time, for each kind.
    #[arg(long, env = "CONCURRENCY", default_value_t = 16)]
    pub concurrency: u16,
    /// How log lines look.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// Which log lines there are: a level or a filter such as `info,werkbank=debug`; RUST_LOG overrides it.
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// The Prometheus that metrics are asked of.
    #[arg(long, env = "PROMETHEUS_URL")]
    pub prometheus_url: Option<url::Url>,
    /// Namespace whose deployments may query it; may be given several times. `*`, or none: all.
    #[arg(long = "prometheus-allowed-namespace")]
    pub prometheus_allowed_namespaces: Vec<String>,
    /// Metrics may name addresses on loopback, and pods have such ones: for a control plane on one machine, nowhere else.
    #[arg(long, env = "ALLOW_LOOPBACK_URLS")]
    pub allow_loopback_urls: bool,
    /// JSON file of the regions: name to node labels, `{"eu": {"topology.kubernetes.io/region": "eu-central-1"}}`.
    #[arg(long)]
    pub regions_file: Option<std::path::PathBuf>,
    /// Role that has to approve every entry, beside those that the entry names; may be given several times.
    #[arg(long = "approval-role")]
    pub approval_roles: Vec<String>,
    /// Role that somebody has, beside those; may be given several times. With any, an approval that another role is asked for is told to
    /// be nobody's.
    #[arg(long = "known-role")]
    pub known_roles: Vec<String>,
    /// Every entry has to say what it may be used for, how risky it is, and who answers for it; none without is rolled out.
    #[arg(long)]
    pub require_governance: bool,
    /// Verify artifacts in object storage when they are registered, by a Job; nothing begins to roll out before.
    #[arg(long)]
    pub verify_artifacts: bool,
    /// How often an artifact that was verified is looked at again, such as `24h`; never when left out. It is read again only if
    /// somebody has written to it.
    #[arg(long)]
    pub verify_again_every: Option<String>,
    /// About how many artifacts are verified at a time in each namespace, each by a Job.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub verify_at_once: u16,
    /// What the names of the admission policies begin with that guard approvals, as the chart installs them; without it
    /// no approval counts.
    #[arg(long)]
    pub approval_policies: Option<String>,
    /// Account that may register entries in somebody's name, as the admission policy knows it; may be given several times.
    #[arg(long = "delivery-account")]
    pub delivery_accounts: Vec<String>,
    /// Image of the init container that fetches artifacts: the operator's own.
    #[arg(long, env = "WERKBANK_IMAGE")]
    pub fetch_image: String,
    /// Where the audit log is kept (file:// or s3://).
    #[arg(long = "audit-log", env = "AUDIT_LOG_URL")]
    pub audit_log_url: url::Url,
    /// File with the private key that signs the audit log, in each line one while keys change. Without it, nobody signs.
    #[arg(long = "audit-keys")]
    pub audit_keys: Option<std::path::PathBuf>,
    /// How much the API server is asked.
    #[command(flatten)]
    pub client: ClientOptions,
    /// Who leads.
    #[command(flatten)]
    pub lease: LeaseOptions,
}

/// Why the operator ended, other than by request.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// No cluster.
    #[error("no cluster to work on: {0}; run in a pod with a ServiceAccount or set KUBECONFIG")]
    Config(#[from] kube::config::InferConfigError),
    /// No client.
    #[error("the cluster's credentials cannot be used: {0}")]
    Client(#[from] kube::Error),
    /// The address is taken.
    #[error("cannot listen on {address}: {error}; choose another with --listen")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// No signals, or the listener broke.
    #[error("the operating system refused: {0}")]
    System(#[from] std::io::Error),
    /// Not the leader.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Blind for a kind.
    #[error(transparent)]
    Watch(#[from] WatchEnded),
}

/// What a kind gets to register itself with.
pub struct Registration<'a> {
    /// A client, for live reads in `observe`.
    pub client: Client,
    /// Where its watches are added.
    pub watches: &'a mut Watches,
    shared: Shared,
    controllers: Vec<Runner>,
}

/// A controller whose kind does not matter any more.
pub(super) struct Runner(Box<dyn Runs>);

impl Runner {
    pub(super) fn of<M: Machine>(controller: Controller<M>) -> Self {
        Self(Box::new(controller))
    }
}

trait Runs: Send {
    fn waker(&self) -> Box<dyn Fn() + Send + Sync>;
    fn run(self: Box<Self>, shutdown: Shutdown) -> BoxFuture<'static, ()>;
    #[cfg(test)]
    fn by_hand(self: Box<Self>) -> Box<dyn super::ByHand>;
}

impl<M: Machine> Runs for Controller<M> {
    fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
        Self::waker(self)
    }

    fn run(self: Box<Self>, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(Self::run(*self, shutdown))
    }

    #[cfg(test)]
    fn by_hand(self: Box<Self>) -> Box<dyn super::ByHand> {
        Self::by_hand(*self)
    }
}

impl<'a> Registration<'a> {
    /// Of a process that has nothing registered yet.
    pub(crate) fn new(client: Client, watches: &'a mut Watches, shared: Shared) -> Self {
        Self { client, watches, shared, controllers: Vec::new() }
    }

    /// The loops of everything that was registered, for whoever runs their passes.
    #[cfg(test)]
    pub(crate) fn by_hand(self) -> Vec<Box<dyn super::ByHand>> {
        self.controllers.into_iter().map(|it| it.0.by_hand()).collect()
    }

    /// The record of decisions, to look something up.
    #[must_use]
    pub fn trail(&self) -> Arc<dyn Trail> {
        self.shared.actor.trail()
    }

    /// What tells decisions the time.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock.clone()
    }

    /// Runs this machine over the resources in `cache`, woken through `queue`. Add every watch
    /// that feeds its observing before.
    pub fn controller<M: Machine>(&mut self, machine: M, cache: Cache<M::Resource>, queue: Queue<M::Resource>) {
        let controller = Controller::new(machine, cache, queue, self.watches, &self.shared);
        self.controllers.push(Runner::of(controller));
    }
}

/// Runs the operator until `shutdown`. `register` adds the watches and machines of all kinds.
///
/// # Errors
/// When it cannot start, or loses the lease.
pub async fn run(
    options: OperatorOptions,
    trail: Arc<dyn Trail>,
    shutdown: Shutdown,
    register: impl FnOnce(&mut Registration<'_>) + Send,
) -> Result<(), OperatorError> {
    let (metrics, health) = (Arc::new(Metrics::new()), Arc::new(Health::default()));
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| OperatorError::Listen { address: options.listen, error })?;
    // Probes and metrics are answered until the very end, after the loops have stopped.
    let end = Shutdown::default();
    let server = tokio::spawn(serve(listener, health.clone(), metrics.clone(), end.clone()));
    let client = connect(Config::infer().await?, options.client, metrics.clone())?;
    operate(&options, Process { client, metrics, health }, trail, &shutdown, register).await?;
    end.request();
    // A probe that keeps its connection open does not keep the process.
    if let Ok(Ok(ended)) = tokio::time::timeout(LAST_WORDS, server).await {
        ended?;
    }
    Ok(())
}

/// What a process has, whatever it runs.
struct Process {
    client: Client,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

async fn operate(
    options: &OperatorOptions,
    process: Process,
    trail: Arc<dyn Trail>,
    shutdown: &Shutdown,
    register: impl FnOnce(&mut Registration<'_>) + Send,
) -> Result<(), OperatorError> {
    let Process { client, metrics, health } = process;
    let authority = Authority::default();
    let leadership = Leadership::new(client.clone(), &options.lease, authority.clone(), metrics.epoch.clone())?;
    let events = EventSink::start(client.clone(), options.lease.identity.clone(), metrics.dropped_events.clone());
    let scope = match options.watch_namespaces.as_slice() {
        [] => Scope::Cluster,
        names => Scope::Namespaces(names.to_vec()),
    };
    let mut watches = Watches::new(client.clone(), scope, metrics.clone(), events.clone());
    let actor = Actor::new(client.clone(), trail.clone(), authority, events.clone());
    let (concurrency, clock) = (options.concurrency, Clock::default());
    let shared = Shared { actor, metrics: metrics.clone(), health: health.clone(), concurrency, clock };
    let mut registration = Registration::new(client.clone(), &mut watches, shared);
    register(&mut registration);
    let loops = Loops::start(registration.controllers, watches.standing(), shutdown);
    health.follow(watches.standing());
    let mut identified = tokio::spawn(cluster::tell(client, trail));
    let led = watch_and_lead(watches, leadership, loops, &metrics, shutdown, &mut identified).await;
    identified.abort();
    led?;
    events.finish(LAST_WORDS).await;
    Ok(())
}

/// The loops of all kinds, running; without the lease they do nothing.
pub(super) struct Loops {
    running: JoinSet<()>,
    wakers: Arc<[Box<dyn Fn() + Send + Sync>]>,
}

impl Loops {
    pub(super) fn start(controllers: Vec<Runner>, standing: signal::Receiver<Standing>, shutdown: &Shutdown) -> Self {
        let (mut running, mut wakers) = (JoinSet::new(), Vec::new());
        for Runner(controller) in controllers {
            wakers.push(controller.waker());
            running.spawn(controller.run(shutdown.clone()));
        }
        let loops = Self { running, wakers: wakers.into() };
        tokio::spawn(wake_on_change(standing, loops.wakers.clone()));
        loops
    }
}

/// A kind that is served from now on, or that may be read again, is no event of any object: whoever waits for it
/// is told here.
async fn wake_on_change(mut standing: signal::Receiver<Standing>, wakers: Arc<[Box<dyn Fn() + Send + Sync>]>) {
    while standing.changed().await.is_ok() {
        // While the caches are filled for the first time nobody decides.
        if standing.borrow_and_update().is_ready() {
            wakers.iter().for_each(|wake| wake());
        }
    }
}

/// Waits for the caches, then leads; ends in order when a watch is lost.
async fn watch_and_lead(
    mut watches: Watches,
    leadership: Leadership,
    mut loops: Loops,
    metrics: &Metrics,
    shutdown: &Shutdown,
    identified: &mut JoinHandle<()>,
) -> Result<(), OperatorError> {
    tokio::select! {
        started = watches.start() => started?,
        () = shutdown.requested() => return Ok(()),
    }
    // An audit log is one cluster's: which this is should be known before anything is decided, but stops nobody.
    drop(tokio::time::timeout(IDENTIFY_LIMIT, identified).await);
    let leading = lead(leadership, &mut loops, metrics, shutdown);
    tokio::pin!(leading);
    tokio::select! {
        ended = &mut leading => Ok(ended?),
        lost = watches.ended() => {
            shutdown.request();
            leading.await?;
            Err(lost.into())
        }
    }
}

/// Holds the lease around the loops.
pub(super) async fn lead(
    mut leadership: Leadership,
    loops: &mut Loops,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<(), LeaseError> {
    if leadership.acquire(shutdown).await.is_none() {
        return Ok(());
    }
    metrics.leader.set(1);
    loops.wakers.iter().for_each(|wake| wake());
    // The lease is kept until the last pass has ended, and only then given back.
    let idle = Shutdown::default();
    let last_pass = async {
        while loops.running.join_next().await.is_some() {}
        idle.request();
    };
    let (kept, ()) = futures::join!(
        async {
            let kept = leadership.keep(&idle).await;
            if kept.is_err() {
                shutdown.request();
            }
            kept
        },
        last_pass
    );
    metrics.leader.set(0);
    kept
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use clap::{CommandFactory, Parser};
    use k8s_openapi::api::core::v1::Service;
    use kube::runtime::watcher;

    use super::*;
    use crate::api::gateway::HttpRoute;
    use crate::audit::Log;
    use crate::observe::approvals::GovernanceSettings;
    use crate::observe::model_registry_entry::{self, Also, Seen};
    use crate::runtime::watch::server::Server;
    use crate::runtime::{Queue, Watch, health};

    const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/httproutes";

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: OperatorOptions,
    }

    #[test]
    fn options_have_the_documented_defaults_and_no_two_share_a_name() {
        Cli::command().debug_assert();
        let needed = ["werkbank", "--identity=a", "--lease-namespace=b", "--audit-log=file:///c", "--fetch-image=d"];
        let options = Cli::try_parse_from(needed).unwrap().options;
        assert_eq!(options.client, ClientOptions { qps: 200, burst: 400, concurrency: 64 });
        assert_eq!((options.concurrency, options.watch_namespaces.len()), (16, 0));
        let lease = &options.lease;
        let times = (lease.duration_seconds, lease.renew_deadline_seconds, lease.retry_seconds);
        assert_eq!(times, (15, 10, 2));
        assert!(Cli::try_parse_from(["werkbank"]).is_err());
    }

    #[tokio::test]
    async fn when_the_gateway_api_is_installed_later_everything_that_may_wait_for_it_is_woken() {
        let server = Server::new();
        server.refuses(ROUTES, 404);
        let (mut watches, _) = server.watches(Scope::Cluster);
        watches.add(Watch::<Service>::new(watcher::Config::default()));
        let routes = watches.add(Watch::<HttpRoute>::new(watcher::Config::default()));
        let woken = Arc::new(AtomicU32::new(0));
        let counter = woken.clone();
        let waker: Box<dyn Fn() + Send + Sync> = Box::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        watches.start().await.unwrap();
        assert!(!routes.is_available("crm"), "the others do not wait for it");
        tokio::spawn(wake_on_change(watches.standing(), [waker].into()));
        tokio::task::yield_now().await;
        assert_eq!(woken.load(Ordering::SeqCst), 0, "nothing has changed");
        // Not one route: no object tells that they can be had.
        server.serves(ROUTES);
        for _ in 0..1000 {
            if woken.load(Ordering::SeqCst) > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(routes.is_available("crm"));
    }

    #[tokio::test]
    async fn while_the_api_server_is_away_the_loops_are_alive_and_nothing_is_ready() {
        let server = Server::new();
        server.is_silent("/apis/werkbank.dev/v1alpha1/modelregistryentries");
        let needed = ["werkbank", "--identity=a", "--lease-namespace=b", "--audit-log=file:///c", "--fetch-image=d"];
        let options = Cli::try_parse_from(needed).unwrap().options;
        let folder = tempfile::tempdir().unwrap();
        let trail = Log::open(&format!("file://{}", folder.path().display()), Vec::new()).unwrap();
        let Some(health) = health::tests::two_minutes_old() else { return };
        let shutdown = Shutdown::default();
        let process = Process { client: server.client(), metrics: Arc::new(Metrics::new()), health: health.clone() };
        let register = |registration: &mut Registration<'_>| {
            let also = Also { entries: |it| it, approvals: |it| it };
            let deployments = registration.watches.add(Watch::new(watcher::Config::default()));
            let (queue, settings) = (Queue::default(), GovernanceSettings::default());
            let jobs = registration.watches.add(Watch::new(watcher::Config::default()));
            let seen = Seen { deployments, jobs };
            drop(model_registry_entry::register(registration, queue, seen, settings, also));
        };
        let probed = async {
            health::tests::forget_beats(&health);
            assert_eq!(health::tests::get(&health, "/healthz").await.0, 503);
            while health::tests::get(&health, "/healthz").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let ready = health::tests::get(&health, "/readyz").await;
            shutdown.request();
            ready
        };
        let probed = tokio::time::timeout(Duration::from_secs(20), probed);
        let (ended, ready) = futures::join!(operate(&options, process, Arc::new(trail), &shutdown, register), probed);
        ended.unwrap();
        let (code, body) = ready.expect("no loop beats");
        assert_eq!((code, body.as_str()), (503, "the caches are not filled yet: modelregistryentries.werkbank.dev\n"));
    }
}
