//! What fails too often is answered in time: the metric source's own answers, counted beside the operator.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::Oracles;
use crate::api::model_deployment::{Attempt, AttemptState};

/// From the answer that makes a breach to the write of weight 0. A run with faults is held to it once it has recovered.
pub(in crate::sim) const PROMISE: TimeDelta = TimeDelta::seconds(1);

impl Oracles {
    /// The metric source has answered about who is judged; `limit` failures in a row are tolerated.
    pub(in crate::sim) fn answered(&mut self, query: &str, fails: bool, limit: usize, now: DateTime<Utc>) {
        let metric = query.split('{').next().unwrap_or_default();
        let failures = self.failures.entry(metric.to_owned()).or_default();
        *failures = if fails { *failures + 1 } else { 0 };
        let is_breach = self.failures.values().any(|it| *it > limit);
        self.breached_at = is_breach.then(|| self.breached_at.unwrap_or(now));
    }

    /// Nobody is judged any more.
    pub(in crate::sim) fn forgive(&mut self) {
        (self.failures, self.breached_at) = (BTreeMap::new(), None);
    }

    /// Whether weight 0 is due since a breach, and not there; nor are requests copied any more.
    pub(in crate::sim) fn promised(
        &mut self,
        candidate: &Attempt,
        weight: f64,
        promise: TimeDelta,
        now: DateTime<Utc>,
    ) {
        let is_there = weight > 0.0 || candidate.state == AttemptState::Shadowing;
        if let Some(at) = self.breached_at.filter(|at| is_there && now - *at > promise) {
            self.broken(format!("a breach at {at} and still {:?} at {weight} % at {now}", candidate.state));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_are_those_of_one_metric_whatever_others_say_in_between() {
        let mut oracles = Oracles::default();
        let now = DateTime::UNIX_EPOCH;
        let mut breached = |query, fails| {
            oracles.answered(query, fails, 1, now);
            oracles.breached_at.is_some()
        };
        assert!(!breached("latency{revision=\"a\"}", true));
        assert!(!breached("errors{revision=\"a\"}", false));
        assert!(breached("latency{revision=\"a\"}", true));
        assert!(!breached("latency{revision=\"a\"}", false));
        assert!(!breached("errors{revision=\"a\"}", true));
    }
}
