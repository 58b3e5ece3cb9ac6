//! What Envoy itself says: which configuration it works with, and how many requests went where.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::envoy_config::STAT_PREFIX;

/// Client of the admin interface.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    http: reqwest::Client,
    url: String,
    log: PathBuf,
}

/// What Envoy did with one configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileState {
    /// `version_info` of the last file that was applied.
    pub(crate) version: Option<String>,
    /// How many were refused since Envoy started.
    pub(crate) refused: u64,
}

/// Requests that Envoy has sent to the pods of a Service's port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// All requests, retries included.
    pub requests: u64,
    /// Answers 2xx.
    pub success: u64,
    /// Answers 4xx.
    pub client_errors: u64,
    /// Answers 5xx, Envoy's own included.
    pub server_errors: u64,
    /// Requests that were tried a second time.
    pub retries: u64,
    /// Connections that could not be made.
    pub connect_failures: u64,
}

#[derive(Deserialize)]
struct Stats {
    stats: Vec<Stat>,
}

#[derive(Deserialize)]
struct Stat {
    name: Option<String>,
    value: Option<Value>,
}

impl Admin {
    /// A client of the admin interface at this URL; `log` is where Envoy explains refusals.
    pub(crate) fn new(url: String, log: PathBuf) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Self { http, url, log })
    }

    /// What became of each file: `clusters`, `listeners` and the name of each listener.
    pub(crate) async fn files(&self) -> Result<BTreeMap<String, FileState>> {
        let filter = format!(
            "^(cluster_manager.cds|listener_manager.lds|http.{STAT_PREFIX}.rds..*).(version_text|update_rejected|update_failure)$"
        );
        let mut files: BTreeMap<String, FileState> = BTreeMap::new();
        for (name, value) in self.stats(&filter).await? {
            let Some((subject, field)) = name.rsplit_once('.') else {
                continue;
            };
            let subject = match subject {
                "cluster_manager.cds" => "clusters",
                "listener_manager.lds" => "listeners",
                other => other.trim_start_matches(&format!("http.{STAT_PREFIX}.rds.")),
            };
            let file = files.entry(subject.to_owned()).or_default();
            match field {
                "version_text" => file.version = value.as_str().map(str::to_owned),
                _ => file.refused += value.as_u64().unwrap_or_default(),
            }
        }
        Ok(files)
    }

    /// Names of the listeners that are open.
    pub(crate) async fn open_listeners(&self) -> Result<Vec<String>> {
        let dump = self.get("/config_dump?resource=dynamic_listeners&mask=name,active_state.version_info").await?;
        let configs = dump.get("configs").and_then(Value::as_array).into_iter().flatten();
        let open = configs.filter(|it| it.get("active_state").is_some());
        Ok(open.filter_map(|it| Some(it.get("name")?.as_str()?.to_owned())).collect())
    }

    /// Weights by Service that Envoy works with for this route.
    pub(crate) async fn weights(&self, namespace: &str, route: &str) -> Result<BTreeMap<String, u32>> {
        let dump = self.get("/config_dump?resource=dynamic_route_configs").await?;
        let prefix = format!("{namespace}/{route}/");
        let mut found = Vec::new();
        collect_weights(&dump, &prefix, &mut found);
        let first = found.first().cloned().with_context(|| {
            format!("Envoy has no route {namespace}/{route}: is it accepted by a Gateway of this controller?")
        })?;
        ensure!(
            found.iter().all(|it| *it == first),
            "the rules of route {namespace}/{route} have different weights: {found:?}"
        );
        Ok(first)
    }

    /// Requests by cluster (`namespace/service/port`).
    pub(crate) async fn counters(&self) -> Result<BTreeMap<String, Counters>> {
        let mut all: BTreeMap<String, Counters> = BTreeMap::new();
        for (name, value) in self.stats(r"^cluster\..*\.(upstream_rq|upstream_cx)_").await? {
            let subject = name.strip_prefix("cluster.").and_then(|it| it.rsplit_once('.'));
            let (Some((cluster, counter)), Some(value)) = (subject, value.as_u64()) else {
                continue;
            };
            let of = all.entry(cluster.to_owned()).or_default();
            match counter {
                "upstream_rq_total" => of.requests = value,
                "upstream_rq_2xx" => of.success = value,
                "upstream_rq_4xx" => of.client_errors = value,
                "upstream_rq_5xx" => of.server_errors = value,
                "upstream_rq_retry" => of.retries = value,
                "upstream_cx_connect_fail" => of.connect_failures = value,
                _ => {}
            }
        }
        Ok(all)
    }

    /// The last reason that Envoy gave for refusing a file. It appears in no statistic, only in the log.
    pub(crate) fn last_refusal(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let reasons = log.lines().rev().filter_map(|line| {
            line.split_once("config update rejected: ").or_else(|| line.split_once("config update failure: "))
        });
        let reason = reasons.map(|(_, reason)| reason.trim().to_owned()).next();
        reason.unwrap_or_else(|| format!("Envoy refused the configuration; read {}", self.log.display()))
    }

    async fn stats(&self, filter: &str) -> Result<Vec<(String, Value)>> {
        let filter: String = url_encode(filter);
        let stats = self.get(&format!("/stats?format=json&filter={filter}")).await?;
        let stats: Stats = serde_json::from_value(stats).context("Envoy's statistics")?;
        Ok(stats.stats.into_iter().filter_map(|it| it.name.zip(it.value)).collect())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.url);
        let answer = self.http.get(&url).send().await.context("Envoy does not answer: is it running?")?;
        answer.error_for_status()?.json().await.with_context(|| format!("read {url}"))
    }
}

fn url_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn collect_weights(value: &Value, prefix: &str, found: &mut Vec<BTreeMap<String, u32>>) {
    let named = value.get("name").and_then(Value::as_str).is_some_and(|it| it.starts_with(prefix));
    match value {
        Value::Object(_) if named => found.push(weights_of(value)),
        Value::Object(fields) => fields.values().for_each(|it| collect_weights(it, prefix, found)),
        Value::Array(items) => items.iter().for_each(|it| collect_weights(it, prefix, found)),
        _ => {}
    }
}

fn weights_of(route: &Value) -> BTreeMap<String, u32> {
    let clusters = route.pointer("/route/weighted_clusters/clusters").and_then(Value::as_array);
    let mut weights = BTreeMap::new();
    for cluster in clusters.into_iter().flatten() {
        let name = cluster.get("name").and_then(Value::as_str).unwrap_or_default();
        let service = name.split('/').nth(1).unwrap_or(name);
        let weight = cluster.get("weight").and_then(Value::as_u64).unwrap_or_default();
        *weights.entry(service.to_owned()).or_default() += u32::try_from(weight).unwrap_or(u32::MAX);
    }
    weights
}
