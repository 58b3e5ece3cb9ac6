//! Instant queries to Prometheus, or anything that speaks its HTTP API.
//!
//! The answer is a [`Measurement`]: one number, nothing, a query that has to be corrected, or an error a person can
//! act on. A query must aggregate to one series: picking one of several would make
//! the verdict depend on an order nobody promised. While the server does not answer, that is the
//! answer, and after a few calls nobody waits for it any more.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use super::outage::{self, Outage};
use crate::decide::Measurement;

/// The longest wait for an answer, connecting included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer read; one number needs a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Queries at a time: more than the 20 that a Prometheus works on by itself (its `query.max-concurrency`), so that it is
/// never idle, and few enough that waiting for it is not waiting in its queue, where time counts as silence.
const AT_A_TIME: usize = 32;
/// How much of Prometheus' own error text is passed on.
const MAX_ERROR_CHARS: usize = 300;

/// Answers instant queries.
pub trait Answers: std::fmt::Debug + Send + Sync + 'static {
    /// What a query evaluates to now.
    fn now<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Measurement>;
}

impl Answers for Prometheus {
    fn now<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Measurement> {
        Box::pin(self.query(query, None))
    }
}

/// A client of one Prometheus.
#[derive(Debug, Clone)]
pub struct Prometheus {
    client: reqwest::Client,
    endpoint: Url,
    outage: Arc<Outage>,
    places: Arc<Semaphore>,
}

/// The address cannot be one of a Prometheus.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// Not `http(s)://host…`.
    #[error("the Prometheus address is not a URL; write http://prometheus.monitoring:9090 (a path prefix may follow)")]
    Address,
    /// The TLS library does not start.
    #[error("the HTTP client cannot be made: {0}; check the node's root certificates")]
    Client(#[source] reqwest::Error),
}

impl Prometheus {
    /// A client of the Prometheus at this base URL, e.g. `http://prometheus:9090` or
    /// `https://mimir.example.com/prometheus`.
    ///
    /// # Errors
    /// The address is no HTTP URL.
    pub fn new(base: &str) -> Result<Self, PrometheusError> {
        let mut endpoint = Url::parse(base).map_err(|_| PrometheusError::Address)?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.query().is_some() || endpoint.fragment().is_some()
        {
            return Err(PrometheusError::Address);
        }
        endpoint
            .path_segments_mut()
            .map_err(|()| PrometheusError::Address)?
            .pop_if_empty()
            .extend(["api", "v1", "query"]);
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(PrometheusError::Client)?;
        Ok(Self { client, endpoint, outage: Arc::default(), places: Arc::new(Semaphore::new(AT_A_TIME)) })
    }

    /// Evaluates a query at a time; `None` is the server's now.
    pub async fn query(&self, query: &str, at: Option<DateTime<Utc>>) -> Measurement {
        // Only ever closed with this client.
        let _place = self.places.acquire().await.ok();
        let began = Instant::now();
        if let Err(silent_for) = self.outage.admit(began) {
            let told = outage::told(silent_for);
            return Measurement::ProviderError(format!("Prometheus at {} {told}; check that it runs", self.host()));
        }
        let answer = self.answer(query, at).await;
        match &answer {
            Err(Failure::Silent(_)) => self.outage.silent(began, Instant::now()),
            Ok(_) | Err(Failure::Useless(_)) => self.outage.answered(),
        }
        match answer {
            Ok((status, body)) => read_answer(status, &body),
            Err(Failure::Silent(why) | Failure::Useless(why)) => Measurement::ProviderError(why),
        }
    }

    async fn answer(&self, query: &str, at: Option<DateTime<Utc>>) -> Result<(u16, Vec<u8>), Failure> {
        let request = self
            .client
            .post(self.endpoint.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form(query, at));
        let mut response = request.send().await.map_err(|error| self.explain(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Failure::Useless(format!(
                "Prometheus at {} redirects elsewhere ({status}), which is not followed; configure its final address",
                self.host()
            )));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.explain(&error))? {
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                let why = "the answer is larger than 1 MiB; aggregate to one series, e.g. sum(...)";
                return Err(Failure::Useless(why.to_owned()));
            }
            body.extend_from_slice(&piece);
        }
        Ok((status.as_u16(), body))
    }

    /// Host and port only: the address may hold a password.
    fn host(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        self.endpoint.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    fn explain(&self, error: &reqwest::Error) -> Failure {
        let what = if error.is_timeout() {
            format!("did not answer within {} s", TIMEOUT.as_secs())
        } else if error.is_connect() {
            "cannot be connected to".to_owned()
        } else {
            "broke off its answer".to_owned()
        };
        let host = self.host();
        let why = format!("Prometheus at {host} {what}; check its address, that it runs, and the network policies");
        if error.is_timeout() || error.is_connect() { Failure::Silent(why) } else { Failure::Useless(why) }
    }
}

/// Why there is nothing to read.
enum Failure {
    /// It did not answer at all.
    Silent(String),
    /// It did, and that is no answer.
    Useless(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: String,
    data: Option<Data>,
    error_type: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    value: Option<(f64, String)>,
}

/// How PromQL's engine says that the series of a query do not match each other (`promql/engine.go`).
const MISMATCHES: [&str; 4] = [
    "many-to-many matching not allowed",
    "multiple matches for labels",
    "found duplicate series for the match group",
    "vector cannot contain metrics with the same labelset",
];

fn read_answer(status: u16, body: &[u8]) -> Measurement {
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        let text = trimmed(&String::from_utf8_lossy(body));
        return Measurement::ProviderError(format!(
            "the answer (HTTP {status}) is not Prometheus' JSON: {text}; check the address"
        ));
    };
    if answer.status != "success" || !(200..300).contains(&status) {
        let kind = trimmed(&answer.error_type.unwrap_or_default());
        let text = trimmed(&answer.error.unwrap_or_default());
        return if is_about_the_query(status, &kind, &text) {
            Measurement::Refused(format!("Prometheus refuses the query (HTTP {status} {kind}): {text}"))
        } else {
            Measurement::ProviderError(format!("Prometheus has no answer (HTTP {status} {kind}): {text}"))
        };
    }
    match answer.data {
        Some(Data::Scalar((_, value))) => number(&value),
        Some(Data::Vector(series)) => one_series(&series),
        Some(Data::Matrix(_) | Data::String(_)) => Measurement::Refused(
            "the query returned a range or a string; make it an instant vector, e.g. rate(x[1m]) instead of x[1m]"
                .to_owned(),
        ),
        None => Measurement::ProviderError("the answer holds no data; check the address".to_owned()),
    }
}

/// Whether asking again cannot help. Timeouts, limits, credentials and other servers say nothing about the
/// query, and `execution` says both: that series do not match each other, or that a store
/// behind Prometheus, Thanos or Mimir failed ("expanding series: …"). So only the engine's words about matching count.
fn is_about_the_query(status: u16, kind: &str, text: &str) -> bool {
    match (status, kind) {
        (400 | 422, "bad_data") => true,
        (422, "execution") => MISMATCHES.iter().any(|words| text.contains(words)),
        _ => false,
    }
}

fn one_series(series: &[Series]) -> Measurement {
    match series {
        [] => Measurement::NoData("the query returned no series".to_owned()),
        [Series { value: Some((_, value)) }] => number(value),
        [Series { value: None }] => Measurement::Refused(
            "the query returned a native histogram; reduce it to a number, e.g. histogram_quantile(0.95, ...)"
                .to_owned(),
        ),
        many => {
            Measurement::Refused(format!("the query returned {} series; aggregate to one, e.g. sum(...)", many.len()))
        }
    }
}

fn number(text: &str) -> Measurement {
    match text.parse::<f64>() {
        Ok(value) => Measurement::of(value),
        Err(_) => Measurement::ProviderError(format!("`{}` is not a number; check the address", trimmed(text))),
    }
}

fn trimmed(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR_CHARS).collect()
}

/// The body of a query request.
fn form(query: &str, at: Option<DateTime<Utc>>) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("query", query).append_pair("timeout", &format!("{}s", TIMEOUT.as_secs()));
    if let Some(at) = at {
        form.append_pair("time", &at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    }
    form.finish()
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
