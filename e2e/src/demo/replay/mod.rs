//! Replays what really happened: the later months' customers as live requests.
//!
//! The client sends each customer's features through the gateway in time order,
//! reads from the answer which revision served and whom it selected, and joins the
//! prediction with what that customer really did next. Outcomes are known to the
//! business, not to the model server, so they are counted here and scraped from
//! here: `replay_requests_total{revision,code}`, `outcome_judged_total{revision}`,
//! `outcome_hits_total{revision}`.
//!
//! Time is compressed. In the data an outcome takes 90 days; here it arrives after
//! [`Options::outcome_delay`], by default at once. At the end of the file the replay
//! begins again, so judgements after the first pass repeat the same customers and
//! carry no new evidence. The rate is open-loop up to [`Options::max_in_flight`]: a
//! slow gateway then lowers the rate instead of being buried.

mod requests;
mod tally;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::requests::Recorded;
use self::tally::{Code, Tally};
pub use self::tally::{RevisionTally, Snapshot};

/// The revision that answers are counted under which name none: the gateway's own errors.
pub const NO_REVISION: &str = "none";
const REVISION: &str = "x-werkbank-revision";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What to replay, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The gateway, such as `http://127.0.0.10:8080`.
    pub gateway: String,
    /// The `Host` header, which picks the route.
    pub host: String,
    /// The model's name in the URL.
    pub model: String,
    /// `requests.jsonl` as `examples/churn/train.py` writes it.
    pub requests: PathBuf,
    /// Requests per second.
    pub rate: f64,
    /// Where `/metrics` listens; port 0 picks a free one.
    pub metrics: SocketAddr,
    /// How long after an answer its outcome becomes known.
    pub outcome_delay: Duration,
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// No more requests than this are under way at any time.
    pub max_in_flight: usize,
}

impl Options {
    /// Options with outcomes at once, 5 s of patience and 128 requests in flight.
    pub fn new(gateway: impl Into<String>, host: impl Into<String>, requests: impl Into<PathBuf>, rate: f64) -> Self {
        Self {
            gateway: gateway.into(),
            host: host.into(),
            model: "churn".into(),
            requests: requests.into(),
            rate,
            metrics: SocketAddr::from(([127, 0, 0, 1], 0)),
            outcome_delay: Duration::ZERO,
            timeout: Duration::from_secs(5),
            max_in_flight: 128,
        }
    }
}

/// A replay under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Replay {
    metrics: SocketAddr,
    tally: Arc<Tally>,
    // Dropping the set aborts its tasks, the sender's own requests with it.
    _tasks: JoinSet<()>,
}

impl Replay {
    /// Reads the requests, binds the metrics listener and starts sending.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let rate = options.rate;
        ensure!(rate.is_finite() && rate > 0.0, "the replay rate is {rate}; give requests per second above 0");
        ensure!(options.max_in_flight > 0, "max_in_flight is 0; allow at least one request");
        let recorded = requests::read(&options.requests).await?;
        let listener = TcpListener::bind(options.metrics)
            .await
            .with_context(|| format!("cannot serve metrics on {}; choose a free address", options.metrics))?;
        let metrics = listener.local_addr()?;
        let tally = Arc::new(Tally::new());
        let client = Client::new(&options, Arc::clone(&tally))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_metrics(listener, Arc::clone(&tally)));
        tasks.spawn(send(client, recorded, Duration::from_secs_f64(1.0 / rate), options.max_in_flight));
        Ok(Self { metrics, tally, _tasks: tasks })
    }

    /// Where Prometheus scrapes.
    pub fn metrics_addr(&self) -> SocketAddr {
        self.metrics
    }

    /// What has been observed so far; `later.since(&earlier)` is what came between.
    pub fn snapshot(&self) -> Snapshot {
        self.tally.snapshot()
    }
}

async fn serve_metrics(listener: TcpListener, tally: Arc<Tally>) {
    let metrics =
        |State(tally): State<Arc<Tally>>| async move { ([(header::CONTENT_TYPE, OPENMETRICS)], tally.text()) };
    let router = Router::new().route("/metrics", get(metrics)).with_state(tally);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the replay's metrics are no longer served; start the replay again");
    }
}

async fn send(client: Client, recorded: Vec<Recorded>, period: Duration, max_in_flight: usize) {
    let slots = Arc::new(Semaphore::new(max_in_flight));
    let mut in_flight: JoinSet<()> = JoinSet::new();
    let mut ticks = tokio::time::interval(period);
    // A rate above the timer's 1 ms is met by making up for missed ticks; a stall's are forgotten.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for record in recorded.iter().cycle() {
        ticks.tick().await;
        let stalled = slots.available_permits() == 0;
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        if stalled {
            ticks.reset();
        }
        let (client, record) = (client.clone(), record.clone());
        in_flight.spawn(async move {
            let judged = client.ask(&record).await;
            drop(slot);
            client.judge(judged).await;
        });
        while in_flight.try_join_next().is_some() {}
    }
}

/// A selected customer and whether the prediction came true.
struct Judged {
    revision: String,
    hit: bool,
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    url: String,
    host: String,
    outcome_delay: Duration,
    tally: Arc<Tally>,
}

#[derive(Deserialize)]
struct Answer {
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    data: Vec<serde_json::Value>,
}

impl Answer {
    fn at_risk(&self) -> Option<bool> {
        self.outputs.iter().find(|o| o.name == "at_risk")?.data.first()?.as_bool()
    }
}

impl Client {
    fn new(options: &Options, tally: Arc<Tally>) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(options.timeout).build()?;
        let url = format!("{}/v2/models/{}/infer", options.gateway.trim_end_matches('/'), options.model);
        reqwest::Url::parse(&url)
            .with_context(|| format!("{url} is not a URL; give the gateway as http://host:port"))?;
        Ok(Self { http, url, host: options.host.clone(), outcome_delay: options.outcome_delay, tally })
    }

    /// Sends one request and counts its answer; a selected customer comes back to be judged.
    async fn ask(&self, record: &Recorded) -> Option<Judged> {
        let request = self
            .http
            .post(&self.url)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(record.request.clone());
        let Ok(response) = request.send().await else {
            self.tally.requested(NO_REVISION, Code::NoAnswer);
            return None;
        };
        let revision = response.headers().get(REVISION).and_then(|v| v.to_str().ok()).unwrap_or(NO_REVISION).to_owned();
        let status = response.status();
        if !status.is_success() {
            self.tally.requested(&revision, Code::Http(status.as_u16()));
            return None;
        }
        match response.json::<Answer>().await.ok().and_then(|answer| answer.at_risk()) {
            Some(at_risk) => {
                self.tally.requested(&revision, Code::Http(status.as_u16()));
                // The model said "will not buy": it came true when the customer did not.
                at_risk.then_some(Judged { revision, hit: !record.bought })
            }
            None => {
                self.tally.requested(&revision, Code::NoPrediction);
                None
            }
        }
    }

    async fn judge(&self, judged: Option<Judged>) {
        let Some(judged) = judged else { return };
        if !self.outcome_delay.is_zero() {
            tokio::time::sleep(self.outcome_delay).await;
        }
        self.tally.judged(&judged.revision, judged.hit);
    }
}

#[cfg(test)]
mod tests;
