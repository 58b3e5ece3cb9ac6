//! The Kubernetes client: kube's own stack with its retry replaced by [`requests`](super::requests).

use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
use http::{Request, Response};
#[cfg(test)]
use kube::client::Body;
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

/// How long a connection may bring nothing while something is awaited from it. Longer than a watch lasts
/// ([`watch`](super::watch)), which may be silent all the time.
const SILENCE: Duration = Duration::from_secs(75);

/// A client for this cluster.
///
/// # Errors
/// When the configuration's certificates or credentials cannot be used.
pub fn connect(config: Config, options: ClientOptions, metrics: Arc<Metrics>) -> kube::Result<Client> {
    connect_within(SILENCE, config, options, metrics)
}

fn connect_within(
    silence: Duration,
    mut config: Config,
    options: ClientOptions,
    metrics: Arc<Metrics>,
) -> kube::Result<Client> {
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    // For each read, not for an answer: a long list is no hanging one. And counted from the request on, not
    // from when its connection was last used.
    config.read_timeout = Some(silence);
    config.reset_reader_on_write = true;
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

/// A client of a server in memory, within the operator's bounds; a request is sent so often at most.
#[cfg(test)]
pub(crate) fn connect_to<S>(server: S, attempts: u32, metrics: Arc<Metrics>) -> Client
where
    S: tower::Service<Request<Body>, Response = Response<axum::body::Body>, Error = tower::BoxError> + Send + 'static,
    S::Future: Send + 'static,
{
    use tower::Layer as _;
    let (deadline, timeout) = (Duration::from_secs(30), Duration::from_secs(15));
    let bounds = Bounds { qps: 0, burst: 1, concurrency: 64, attempts, deadline, timeout };
    Client::new(RequestsLayer::new(bounds, metrics).layer(server), "crm")
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use k8s_openapi::api::core::v1::Service;
    use kube::Api;
    use kube::api::{ListParams, WatchParams};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    const SILENCE: Duration = Duration::from_millis(300);

    /// A server that answers every connection with these pieces, one every 100 ms, and then says no more.
    async fn services(pieces: &[&str]) -> Api<Service> {
        let pieces: Vec<String> = pieces.iter().map(|it| (*it).to_owned()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let pieces = pieces.clone();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    assert!(connection.read(&mut request).await.unwrap() > 0);
                    for piece in pieces {
                        connection.write_all(piece.as_bytes()).await.unwrap();
                        tokio::time::sleep(SILENCE / 3).await;
                    }
                    // Open until the other side goes.
                    while connection.read(&mut request).await.is_ok_and(|read| read > 0) {}
                });
            }
        });
        let options = ClientOptions { qps: 0, burst: 1, concurrency: 8 };
        let config = Config::new(address.parse().unwrap());
        let client = connect_within(SILENCE, config, options, Arc::new(Metrics::new())).unwrap();
        Api::namespaced(client, "crm")
    }

    async fn soon<T>(done: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), done).await.expect("it hangs")
    }

    #[tokio::test]
    async fn a_list_whose_body_does_not_come_is_given_up() {
        let services = services(&[HEAD, "10\r\n{\"kind\":\"Service\r\n"]).await;
        assert!(soon(services.list(&ListParams::default())).await.is_err());
    }

    #[tokio::test]
    async fn a_watch_that_is_never_answered_is_given_up() {
        let services = services(&[]).await;
        assert!(soon(services.watch(&WatchParams::default(), "1")).await.is_err());
    }

    #[tokio::test]
    async fn a_watch_that_says_something_now_and_then_lasts() {
        let object = r#"{"kind":"Service","apiVersion":"v1","metadata":{"resourceVersion":"1"}}"#;
        let bookmark = format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n");
        let piece = format!("{:x}\r\n{bookmark}\r\n", bookmark.len());
        let pieces = [HEAD, &piece, &piece, &piece, &piece, &piece, &piece, "0\r\n\r\n"];
        let services = services(&pieces).await;
        let watch = services.watch(&WatchParams::default(), "1").await.unwrap();
        let seen: Vec<_> = soon(watch.try_collect()).await.unwrap();
        assert_eq!(seen.len(), 6, "twice the time in all, and never silent for long");
    }
}
