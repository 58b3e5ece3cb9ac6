//! A load generator that counts what callers see.
//!
//! [`Load`] sends at a constant rate whatever the answers are (open loop), and
//! measures latency from the moment a request was *due*: a server that stalls is
//! seen to stall. [`exactly`] sends a fixed number of requests, which is what a
//! measurement of shares needs. [`within_sampling_error`] says whether an
//! observed share can be the configured one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::StreamExt;
use reqwest::{Client, Method, Request};
use tokio::task::{JoinHandle, JoinSet};

/// Requests that may wait for an answer at the same time; those beyond are
/// counted as errors, so that a dead server cannot eat the machine.
const MOST_IN_FLIGHT: usize = 4096;

/// How often the gateway tried, as it says with each answer.
const TRIES: &str = "x-envoy-attempt-count";

/// What is sent.
#[derive(Debug, Clone)]
pub struct Target {
    /// URL, as from [`GatewayController::url`](crate::gateway::GatewayController::url).
    pub url: String,
    /// Host header; none means the URL's.
    pub host: Option<String>,
    /// Header of the answer whose values are counted, for example `x-werkbank-revision`.
    pub counted_header: Option<String>,
    /// JSON body: a POST. None means a GET.
    pub body: Option<serde_json::Value>,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Target {
    /// GETs of this URL.
    pub fn get(url: impl Into<String>) -> Self {
        Self { url: url.into(), host: None, counted_header: None, body: None, timeout: Duration::from_secs(10) }
    }

    /// With this Host header.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Counting the values of this header of the answers.
    #[must_use]
    pub fn count_header(mut self, name: impl Into<String>) -> Self {
        self.counted_header = Some(name.into());
        self
    }

    fn request(&self, client: &Client) -> Result<Request> {
        let method = if self.body.is_some() { Method::POST } else { Method::GET };
        let mut request = client.request(method, &self.url);
        if let Some(host) = &self.host {
            request = request.header(http::header::HOST, host);
        }
        if let Some(body) = &self.body {
            request = request.json(body);
        }
        request.build().with_context(|| format!("{} cannot be requested: check URL and host", self.url))
    }
}

/// What was counted, in total or in one second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were finished, errors included.
    pub requests: u64,
    /// Answers by status code.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers by the value of the counted header.
    pub header: BTreeMap<String, u64>,
    /// Of these, the answers that were not 2xx.
    pub header_of_failed: BTreeMap<String, u64>,
    /// Answers that the gateway had to ask for more than once: a failure that no caller saw.
    pub retried: u64,
    /// Requests without an answer, by the text of the error.
    pub errors: BTreeMap<String, u64>,
}

impl Counts {
    /// Requests that did not get an answer of 2xx.
    pub fn failed(&self) -> u64 {
        let success: u64 = self.statuses.range(200..300).map(|(_, count)| count).sum();
        self.requests - success
    }

    /// Requests that did not get an answer of 2xx, those left out whose answer had this value in the counted header.
    pub fn failed_elsewhere(&self, value: &str) -> u64 {
        self.failed() - self.header_of_failed.get(value).copied().unwrap_or_default()
    }

    /// Share of the requests whose answer had this value in the counted header.
    pub fn share(&self, value: &str) -> f64 {
        let count = self.header.get(value).copied().unwrap_or_default();
        if self.requests == 0 { 0.0 } else { as_f64(count) / as_f64(self.requests) }
    }

    fn add(&mut self, outcome: &Outcome) {
        self.requests += 1;
        match outcome {
            Outcome::Answer { status, header, tries } => {
                *self.statuses.entry(*status).or_default() += 1;
                self.retried += u64::from(*tries > 1);
                if let Some(value) = header {
                    *self.header.entry(value.clone()).or_default() += 1;
                    if !(200..300).contains(status) {
                        *self.header_of_failed.entry(value.clone()).or_default() += 1;
                    }
                }
            }
            Outcome::Error(text) => *self.errors.entry(text.clone()).or_default() += 1,
        }
    }
}

/// Latencies in buckets that grow by a tenth: quantiles are right to 10 %.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latencies(BTreeMap<u32, u64>);

impl Latencies {
    fn add(&mut self, latency: Duration) {
        let micros = latency.as_secs_f64() * 1e6;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a logarithm of microseconds is small and not negative"
        )]
        let bucket = (micros.max(1.0).ln() / 1.1_f64.ln()).ceil() as u32;
        *self.0.entry(bucket).or_default() += 1;
    }

    /// The latency that this share of the requests did not exceed; none without requests.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.0.values().sum();
        let mut seen = 0;
        let bucket = self.0.iter().find(|(_, count)| {
            seen += **count;
            as_f64(seen) >= share * as_f64(total)
        });
        bucket.map(|(bucket, _)| Duration::from_secs_f64(1.1_f64.powf(f64::from(*bucket)) / 1e6))
    }
}

/// Everything that was observed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Over the whole time.
    pub total: Counts,
    /// How many requests there should have been by the end, at the rate that was asked for.
    pub due: u64,
    /// By second since the start, of the moment the requests were due.
    pub seconds: Vec<Counts>,
    /// Latencies of all answers.
    pub latencies: Latencies,
}

enum Outcome {
    Answer { status: u16, header: Option<String>, tries: u32 },
    Error(String),
}

/// A load that is running. Dropping it ends it.
pub struct Load {
    report: Arc<Mutex<Report>>,
    task: JoinHandle<()>,
    stop: Arc<tokio::sync::Notify>,
    per_second: u32,
    begin: std::time::Instant,
}

impl Load {
    /// Starts to send this many requests per second.
    pub fn start(target: Target, per_second: u32) -> Result<Self> {
        anyhow::ensure!(per_second > 0, "a load needs at least one request per second");
        let client = client(&target)?;
        target.request(&client)?;
        let report = Arc::new(Mutex::new(Report::default()));
        let stop = Arc::new(tokio::sync::Notify::new());
        let task = tokio::spawn(send(client, target, per_second, report.clone(), stop.clone()));
        Ok(Self { report, task, stop, per_second, begin: std::time::Instant::now() })
    }

    /// What was observed so far.
    pub fn snapshot(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends no more, waits for the answers that are due, and reports.
    pub async fn stop(mut self) -> Result<Report> {
        let due = u64::from(self.per_second).saturating_mul(self.begin.elapsed().as_secs());
        self.stop.notify_one();
        (&mut self.task).await.context("the load ended early")?;
        Ok(Report { due, ..self.snapshot() })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send(
    client: Client,
    target: Target,
    per_second: u32,
    report: Arc<Mutex<Report>>,
    stop: Arc<tokio::sync::Notify>,
) {
    let started = Instant::now();
    let mut requests = JoinSet::new();
    for count in 0_u32.. {
        let due = started + Duration::from_secs_f64(f64::from(count) / f64::from(per_second));
        tokio::select! {
            () = stop.notified() => break,
            () = tokio::time::sleep_until(due.into()) => {}
        }
        while requests.try_join_next().is_some() {}
        let second = usize::try_from(count / per_second).unwrap_or(usize::MAX);
        if requests.len() >= MOST_IN_FLIGHT {
            record(
                &report,
                second,
                &Outcome::Error("not sent: too many requests wait for an answer".to_owned()),
                due.elapsed(),
            );
            continue;
        }
        let (client, target, report) = (client.clone(), target.clone(), report.clone());
        requests.spawn(async move {
            let outcome = once(&client, &target).await;
            record(&report, second, &outcome, due.elapsed());
        });
    }
    while requests.join_next().await.is_some() {}
}

fn record(report: &Mutex<Report>, second: usize, outcome: &Outcome, latency: Duration) {
    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
    report.total.add(outcome);
    while report.seconds.len() <= second {
        report.seconds.push(Counts::default());
    }
    if let Some(counts) = report.seconds.get_mut(second) {
        counts.add(outcome);
    }
    if matches!(outcome, Outcome::Answer { .. }) {
        report.latencies.add(latency);
    }
}

/// Sends this many requests, a few at a time, and reports what came back.
pub async fn exactly(target: &Target, requests: u32) -> Result<Counts> {
    let client = client(target)?;
    target.request(&client)?;
    let outcomes = futures::stream::iter(0..requests).map(|_| once(&client, target)).buffer_unordered(16);
    let counts = outcomes.fold(Counts::default(), |mut counts, outcome| async move {
        counts.add(&outcome);
        counts
    });
    Ok(counts.await)
}

/// Can a share of `expected` have brought `observed` out of `requests`?
///
/// The normal approximation of the binomial distribution at z = 4: a right gateway
/// is called wrong once in 16,000 tests, a gateway that is off by 5 points
/// in 2,000 requests practically always. One request of slack keeps the approximation
/// honest near 0 and 1, where shares of exactly 0 and 1 must still be exact.
pub fn within_sampling_error(observed: u64, requests: u64, expected: f64) -> bool {
    if expected <= 0.0 {
        return observed == 0;
    }
    if expected >= 1.0 {
        return observed == requests;
    }
    let n = as_f64(requests);
    let deviation = (n * expected * (1.0 - expected)).sqrt();
    (as_f64(observed) - n * expected).abs() <= 4.0 * deviation + 1.0
}

fn client(target: &Target) -> Result<Client> {
    let client = Client::builder().timeout(target.timeout).no_proxy().pool_max_idle_per_host(64);
    client.build().context("make an HTTP client")
}

async fn once(client: &Client, target: &Target) -> Outcome {
    let answer = async {
        let answer = client.execute(target.request(client)?).await?;
        let status = answer.status().as_u16();
        let value = target.counted_header.as_ref().and_then(|name| answer.headers().get(name));
        let header = value.and_then(|it| it.to_str().ok()).map(str::to_owned);
        let tries = answer.headers().get(TRIES).and_then(|it| it.to_str().ok()?.parse().ok()).unwrap_or(1);
        // To the end: an answer that breaks off is an error, and the connection is used again.
        answer.bytes().await?;
        anyhow::Ok(Outcome::Answer { status, header, tries })
    };
    answer.await.unwrap_or_else(|error| Outcome::Error(format!("{error:#}")))
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_believed_within_four_deviations_and_not_beyond() {
        // 2,000 requests at 5 %: 100 expected, one deviation is 9.7.
        assert!(within_sampling_error(100, 2000, 0.05));
        assert!(within_sampling_error(138, 2000, 0.05));
        assert!(!within_sampling_error(150, 2000, 0.05));
        assert!(!within_sampling_error(200, 2000, 0.05));
    }

    #[test]
    fn no_share_and_the_whole_share_are_exact() {
        assert!(within_sampling_error(0, 2000, 0.0));
        assert!(!within_sampling_error(1, 2000, 0.0));
        assert!(within_sampling_error(2000, 2000, 1.0));
        assert!(!within_sampling_error(1999, 2000, 1.0));
    }

    #[test]
    fn quantiles_are_right_to_a_tenth() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|millis| latencies.add(Duration::from_millis(millis)));
        let median = latencies.quantile(0.5).unwrap().as_secs_f64();
        assert!((0.5..0.55).contains(&median), "{median}");
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    #[test]
    fn failures_are_counted_by_who_answered_and_so_are_retries() {
        let mut counts = Counts::default();
        let answer = |status, header: &str, tries| Outcome::Answer { status, header: Some(header.to_owned()), tries };
        counts.add(&answer(200, "stable", 1));
        counts.add(&answer(500, "candidate", 1));
        counts.add(&answer(200, "candidate", 2));
        assert_eq!((counts.failed(), counts.failed_elsewhere("candidate"), counts.retried), (1, 0, 1));
        counts.add(&Outcome::Error("connection refused".to_owned()));
        counts.add(&answer(503, "stable", 1));
        assert_eq!((counts.failed_elsewhere("candidate"), counts.failed_elsewhere("stable")), (2, 2));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_counted_as_errors() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::get(format!("http://{}", socket.local_addr().unwrap()));
        drop(socket);
        let load = Load::start(target, 100).unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let report = load.stop().await.unwrap();
        assert!(report.total.requests >= 20, "{report:?}");
        assert_eq!(report.total.failed(), report.total.requests);
        assert_eq!(report.total.errors.values().sum::<u64>(), report.total.requests);
    }
}
