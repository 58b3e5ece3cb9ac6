//! Startup, liveness and readiness.
//!
//! As in the kubelet: nothing else is probed until the startup probe passed;
//! then liveness and readiness run beside each other; a threshold counts
//! results in a row. The only answer this module gives is a sentence why the
//! container has to be killed; everything else goes into the facts.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, bail};
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{net::TcpStream, time::timeout};

use super::facts::{SharedFacts, update};

/// What probing one container needs.
pub(super) struct Prober<'a> {
    pub(super) container: &'a Container,
    pub(super) address: Ipv4Addr,
    pub(super) facts: &'a SharedFacts,
    pub(super) http: &'a reqwest::Client,
}

impl Prober<'_> {
    /// Probes a running container until one probe says that it must be killed.
    pub(super) async fn until_unhealthy(&self) -> String {
        if let Some(probe) = &self.container.startup_probe
            && let Err(why) = self.until_changed(probe, false).await
        {
            return format!("startup probe failed: {why}");
        }
        let probed = self.container.readiness_probe.is_some();
        update(self.facts, &self.container.name, |record| {
            record.started = true;
            record.ready = !probed;
        });
        tokio::select! {
            why = self.liveness() => format!("liveness probe failed: {why}"),
            () = self.readiness() => String::new(),
        }
    }

    async fn liveness(&self) -> String {
        let Some(probe) = &self.container.liveness_probe else {
            return std::future::pending().await;
        };
        match self.until_changed(probe, true).await {
            Err(why) => why,
            Ok(()) => std::future::pending().await,
        }
    }

    async fn readiness(&self) {
        let Some(probe) = &self.container.readiness_probe else {
            return std::future::pending().await;
        };
        let mut ready = false;
        let mut first = true;
        loop {
            let changed = self.run(probe, ready, std::mem::take(&mut first)).await;
            ready = changed.is_ok();
            if let Err(why) = &changed {
                tracing::debug!(container = self.container.name, why, "not ready");
            }
            update(self.facts, &self.container.name, |record| record.ready = ready);
        }
    }

    async fn until_changed(&self, probe: &Probe, healthy: bool) -> Result<(), String> {
        self.run(probe, healthy, true).await
    }

    /// Probes until the verdict is another than `healthy` (or, for a container
    /// that is not healthy yet, until it failed often enough to be given up).
    async fn run(&self, probe: &Probe, healthy: bool, first: bool) -> Result<(), String> {
        let times = Timing::of(probe);
        if first {
            tokio::time::sleep(times.delay).await;
        } else {
            tokio::time::sleep(times.period).await;
        }
        let mut tally = Tally { healthy, ..Tally::default() };
        loop {
            let result = self.check(probe, times.timeout).await;
            if let Some(verdict) = tally.add(result.is_ok(), &times) {
                return if verdict { Ok(()) } else { Err(result.err().map(|e| format!("{e:#}")).unwrap_or_default()) };
            }
            tokio::time::sleep(times.period).await;
        }
    }

    async fn check(&self, probe: &Probe, limit: Duration) -> anyhow::Result<()> {
        let late = || format!("no answer within {} s", limit.as_secs());
        if let Some(action) = &probe.http_get {
            let status =
                timeout(limit, get(self.http, action, self.container, self.address)).await.with_context(late)??;
            if !(200..400).contains(&status) {
                bail!("HTTP probe failed with statuscode: {status}");
            }
        } else if let Some(action) = &probe.tcp_socket {
            let port = port(&action.port, self.container)?;
            let host = action.host.clone().unwrap_or_else(|| self.address.to_string());
            timeout(limit, TcpStream::connect((host.as_str(), port))).await.with_context(late)??;
        }
        Ok(())
    }
}

/// Asks what an `httpGet` names and returns the status code.
pub(super) async fn get(
    http: &reqwest::Client,
    action: &HTTPGetAction,
    container: &Container,
    address: Ipv4Addr,
) -> anyhow::Result<u16> {
    let port = port(&action.port, container)?;
    let scheme = action.scheme.as_deref().unwrap_or("HTTP").to_ascii_lowercase();
    let host = action.host.clone().unwrap_or_else(|| address.to_string());
    let path = action.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut request = http.get(format!("{scheme}://{host}:{port}{slash}{path}"));
    for header in action.http_headers.iter().flatten() {
        request = request.header(&header.name, &header.value);
    }
    Ok(request.send().await?.status().as_u16())
}

/// The number of a port that may be given by a container port's name.
fn port(port: &IntOrString, container: &Container) -> anyhow::Result<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            let named = named.map(|port| port.container_port).or_else(|| name.parse().ok());
            named.with_context(|| format!("container {:?} has no port named {name:?}", container.name))?
        }
    };
    u16::try_from(number).with_context(|| format!("{number} is no port"))
}

/// A probe's times and thresholds, with the API's defaults.
struct Timing {
    delay: Duration,
    period: Duration,
    timeout: Duration,
    failures: u32,
    successes: u32,
}

impl Timing {
    fn of(probe: &Probe) -> Self {
        let number = |value: Option<i32>, default| value.and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
        let seconds = |value, default| Duration::from_secs(number(value, default).into());
        Self {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds.filter(|n| *n > 0), 10),
            timeout: seconds(probe.timeout_seconds.filter(|n| *n > 0), 1),
            failures: number(probe.failure_threshold.filter(|n| *n > 0), 3),
            successes: number(probe.success_threshold.filter(|n| *n > 0), 1),
        }
    }
}

/// Results in a row.
#[derive(Default)]
struct Tally {
    healthy: bool,
    last: Option<bool>,
    row: u32,
}

impl Tally {
    /// Adds a result; answers once a threshold is reached that changes (or, for
    /// failures, confirms) the verdict.
    fn add(&mut self, success: bool, times: &Timing) -> Option<bool> {
        self.row = if self.last == Some(success) { self.row.saturating_add(1) } else { 1 };
        self.last = Some(success);
        let reached = self.row >= if success { times.successes } else { times.failures };
        (reached && !(success && self.healthy)).then_some(success)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn timing(probe: serde_json::Value) -> Timing {
        Timing::of(&serde_json::from_value(probe).unwrap())
    }

    fn verdicts(healthy: bool, times: &Timing, results: &str) -> Vec<Option<bool>> {
        let mut tally = Tally { healthy, ..Tally::default() };
        results.chars().map(|c| tally.add(c == '+', times)).collect()
    }

    #[test]
    fn the_api_servers_defaults_are_known() {
        let times = timing(json!({}));
        assert_eq!((times.delay.as_secs(), times.period.as_secs(), times.timeout.as_secs()), (0, 10, 1));
        assert_eq!((times.failures, times.successes), (3, 1));
    }

    #[test]
    fn only_failures_in_a_row_count() {
        let times = timing(json!({}));
        assert_eq!(verdicts(true, &times, "--+--+").last(), Some(&None));
        assert_eq!(verdicts(true, &times, "+---").last(), Some(&Some(false)));
    }

    #[test]
    fn readiness_comes_back_after_its_success_threshold() {
        let times = timing(json!({"successThreshold": 2}));
        assert_eq!(verdicts(false, &times, "+-++"), [None, None, None, Some(true)]);
    }

    #[test]
    fn ports_are_given_by_number_or_by_name() {
        let container: Container =
            serde_json::from_value(json!({"name": "c", "ports": [{"name": "http", "containerPort": 8080}]})).unwrap();
        assert_eq!(port(&IntOrString::Int(9000), &container).unwrap(), 9000);
        assert_eq!(port(&IntOrString::String("http".into()), &container).unwrap(), 8080);
        assert!(port(&IntOrString::String("grpc".into()), &container).unwrap_err().to_string().contains("\"grpc\""));
        assert!(port(&IntOrString::Int(70000), &container).is_err());
    }
}
