//! The promise of a rollback, seen from outside: a breach that Prometheus shows is weight 0 in Envoy soon after.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::gateway::GatewayController;
use crate::prometheus::Prometheus;

/// Finer than anything that is promised.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A breach to wait for, and the route that it must clear.
pub struct Breach<'a> {
    /// Who shows the breach.
    pub prometheus: &'a Prometheus,
    /// Who carries out the weight.
    pub gateway: &'a GatewayController,
    /// PromQL that has a result as long as the limit is broken: `error_rate > 0.05`.
    pub query: String,
    /// Namespace and name of the route.
    pub route: (&'a str, &'a str),
    /// The revision that has all traffic afterwards.
    pub stable: String,
}

/// When what was seen.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The question was asked that Prometheus answered with the breach, and with nothing else since.
    pub visible: Instant,
    /// Envoy was seen to send everything to the stable revision.
    pub at_zero: Instant,
}

impl Seen {
    /// What is promised: (failureLimit + 1) intervals + 1 s.
    pub fn took(self) -> Duration {
        self.at_zero.saturating_duration_since(self.visible)
    }
}

impl Breach<'_> {
    /// Waits until Prometheus shows the breach and Envoy has all traffic back at the stable revision. Each
    /// moment is taken to the rollback's disadvantage: before Prometheus is asked, after Envoy has answered.
    ///
    /// # Errors
    ///
    /// When Prometheus or Envoy does not answer.
    pub async fn until_weight_zero(&self) -> Result<Seen> {
        let (namespace, route) = self.route;
        let mut visible = None;
        loop {
            let asked = Instant::now();
            visible = if self.shows().await? { visible.or(Some(asked)) } else { None };
            let back = all_at(&self.gateway.weights(namespace, route).await?, &self.stable);
            if let (Some(visible), true) = (visible, back) {
                return Ok(Seen { visible, at_zero: Instant::now() });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn shows(&self) -> Result<bool> {
        let data = self.prometheus.query(&self.query).await?;
        Ok(data.pointer("/result/0").is_some())
    }
}

/// Whether Envoy sends everything to this revision.
#[must_use]
pub fn all_at(weights: &BTreeMap<String, u32>, revision: &str) -> bool {
    let mut sent = weights.iter().filter(|(_, weight)| **weight > 0).peekable();
    sent.peek().is_some() && sent.all(|(service, _)| service.contains(revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_at_the_stable_revision_means_some_and_nothing_elsewhere() {
        let weights = |of: &[(&str, u32)]| of.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        assert!(all_at(&weights(&[("churn-aaa", 10_000), ("churn-bbb", 0)]), "aaa"));
        assert!(!all_at(&weights(&[("churn-aaa", 9_500), ("churn-bbb", 500)]), "aaa"));
        assert!(!all_at(&weights(&[("churn-bbb", 10_000)]), "aaa"));
        assert!(!all_at(&weights(&[]), "aaa"));
        assert!(!all_at(&weights(&[("churn-aaa", 0)]), "aaa"));
    }
}
