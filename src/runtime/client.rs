//! The Kubernetes client: kube's own stack with its retry replaced by [`requests`](super::requests).

use std::sync::Arc;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};

use super::Metrics;
use super::requests::{Bounds, RequestsLayer};

/// How much the API server is asked at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct ClientOptions {
    /// Requests to the API server per second, watches and the lease apart; 0 for no limit.
    #[arg(long = "kube-api-qps", env = "KUBE_API_QPS", default_value_t = 200)]
    pub qps: u32,
    /// Requests at once before the rate counts.
    #[arg(long = "kube-api-burst", env = "KUBE_API_BURST", default_value_t = 400)]
    pub burst: u32,
    /// Requests under way at the same time, watches apart.
    #[arg(
        id = "kube-api-concurrency",
        long = "kube-api-concurrency",
        env = "KUBE_API_CONCURRENCY",
        default_value_t = 64
    )]
    pub concurrency: usize,
}

/// A client for this cluster.
///
/// # Errors
/// When the configuration's certificates or credentials cannot be used.
pub fn connect(mut config: Config, options: ClientOptions, metrics: Arc<Metrics>) -> kube::Result<Client> {
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    let bounds = Bounds {
        qps: options.qps,
        burst: options.burst,
        concurrency: options.concurrency,
        attempts: 4,
        deadline: Duration::from_secs(30),
        timeout: Duration::from_secs(15),
    };
    let layer = RequestsLayer::new(bounds, metrics);
    Ok(ClientBuilder::try_from(config)?.with_layer(&layer).build())
}
