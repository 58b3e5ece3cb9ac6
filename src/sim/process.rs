//! One life of the operator: the real watches, caches, loops and machines, on a wire that can be cut.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::wire::Wire;
use crate::act::{Actor, Authority, EventSink};
use crate::audit::Log;
use crate::build::approval_guard;
use crate::connect::http::HttpSource;
use crate::connect::prometheus::Answers;
use crate::connect::sql::SqlSource;
use crate::decide::Measurement;
use crate::decide::model_deployment::observed::Settings;
use crate::decide::model_registry_entry::verification;
use crate::observe::approvals::GovernanceSettings;
use crate::observe::model_deployment::{self, MetricSource};
use crate::runtime::operator::Registration;
use crate::runtime::{ByHand, Clock, Metrics, Scope, Shared, Watches};

/// How long a grant lasts: who leads is another test's subject.
const FOR_EVER: Duration = Duration::from_hours(100_000);

/// No scenario asks a host or a database that a user names, and to read this machine's certificates for each life anew would
/// take a quarter of all the time.
static HTTP: LazyLock<Arc<HttpSource>> = LazyLock::new(|| Arc::new(HttpSource::new(false).unwrap()));
static SQL: LazyLock<Arc<SqlSource>> = LazyLock::new(|| Arc::new(SqlSource::new(false)));

/// See the module.
pub(super) struct Process {
    pub(super) hands: Vec<Box<dyn ByHand>>,
    pub(super) wire: Arc<Wire>,
    /// As this process knows it.
    pub(super) log: Arc<Log>,
    pub(super) metrics: Arc<Metrics>,
    /// They end with it.
    watches: Watches,
}

impl Process {
    /// Starts, fills its caches, and leads in this epoch.
    pub(super) async fn start(
        wire: Arc<Wire>,
        log: Arc<Log>,
        source: Arc<dyn Answers>,
        clock: Clock,
        epoch: i64,
        verifies: bool,
    ) -> Self {
        let (metrics, authority) = (Arc::new(Metrics::new()), Authority::default());
        let client = wire.client(metrics.clone());
        let events = EventSink::start(client.clone(), "sim".into(), Default::default());
        let mut watches = Watches::new(client.clone(), Scope::Cluster, metrics.clone(), events.clone());
        let actor = Actor::new(client.clone(), log.clone(), authority.clone(), events);
        let shared = Shared { actor, metrics: metrics.clone(), health: Arc::default(), concurrency: 1, clock };
        let mut registration = Registration::new(client, &mut watches, shared);
        let source =
            MetricSource { prometheus: Some(source), namespaces: Vec::new(), http: HTTP.clone(), sql: SQL.clone() };
        let settings = Settings { fetch_image: "werkbank:0.1.0".into(), ..Settings::default() };
        let policies = approval_guard::shipped("werkbank", &[]).unwrap();
        let image = settings.fetch_image.clone();
        let verification = verification::Settings {
            image,
            every: Some(Duration::from_hours(24)),
            at_once: 4,
            regions: BTreeMap::new(),
        };
        let verification = verifies.then_some(verification);
        let governance = GovernanceSettings { policies, verification, ..GovernanceSettings::default() };
        model_deployment::register(&mut registration, source, settings, governance);
        let hands = registration.by_hand();
        watches.start().await.unwrap();
        authority.grant(epoch, Instant::now() + FOR_EVER);
        Self { hands, wire, log, metrics, watches }
    }
}

impl Process {
    /// What `/readyz` and the log say of what may not be read; nothing while all may.
    pub(super) fn health(&self) -> String {
        self.watches.report()
    }
}

/// A metric source that answers as a scenario says, when it is asked, or a while later.
pub(super) struct Source {
    pub(super) answer: Box<dyn Fn(&str) -> Measurement + Send + Sync>,
    pub(super) takes: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Source")
    }
}

impl Answers for Source {
    fn now<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Measurement> {
        Box::pin(async move {
            let takes = (self.takes)();
            if !takes.is_zero() {
                sleep(takes).await;
            }
            (self.answer)(query)
        })
    }
}
