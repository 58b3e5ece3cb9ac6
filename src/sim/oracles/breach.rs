//! What fails too often is answered in time: the metric source's own answers, counted beside the operator.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::Oracles;
use crate::api::model_deployment::{Attempt, AttemptState};
use crate::decide::Measurement;
use crate::sim::scenario::{bad, revision_in};

/// From the answer that makes a breach to the write of weight 0. A run with faults is held to it once it has recovered.
pub(in crate::sim) const PROMISE: TimeDelta = TimeDelta::seconds(1);

/// What the metric source has said.
#[derive(Default)]
pub(super) struct Breaches {
    /// Failures in a row, by revision and metric.
    failures: BTreeMap<(String, String), usize>,
    /// Since when there have been too many of some metric, by revision.
    since: BTreeMap<String, DateTime<Utc>>,
}

impl Oracles {
    /// The metric source has answered; `limit` failures in a row are tolerated. Not knowing acquits nobody.
    pub(in crate::sim) fn answered(&mut self, query: &str, answer: &Measurement, limit: usize, now: DateTime<Utc>) {
        let Measurement::Value(_) = answer else { return };
        let (revision, metric) = (revision_in(query), query.split('{').next().unwrap_or_default());
        let Breaches { failures, since } = &mut self.breaches;
        let count = failures.entry((revision.to_owned(), metric.to_owned())).or_default();
        *count = if *answer == bad() { *count + 1 } else { 0 };
        if failures.iter().any(|((of, _), count)| of == revision && *count > limit) {
            since.entry(revision.to_owned()).or_insert(now);
        } else {
            since.remove(revision);
        }
    }

    /// Nobody else is judged now: what was said of others is not held against them if they are asked for again.
    pub(in crate::sim) fn judges(&mut self, revision: Option<&str>) {
        self.breaches.failures.retain(|(of, _), _| Some(of.as_str()) == revision);
        self.breaches.since.retain(|of, _| Some(of.as_str()) == revision);
    }

    /// Since when there have been too many failures of this revision for longer than is promised.
    pub(super) fn overdue(&self, revision: &str, promise: TimeDelta, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.breaches.since.get(revision).copied().filter(|at| now - *at > promise)
    }

    /// Whether weight 0 is due since a breach, and not there; nor is anybody shadowed any more who breaks a guardrail.
    pub(in crate::sim) fn promised(
        &mut self,
        candidate: &Attempt,
        weight: f64,
        promise: TimeDelta,
        now: DateTime<Utc>,
    ) {
        let is_there = weight > 0.0 || candidate.state == AttemptState::Shadowing;
        if let Some(at) = self.overdue(&candidate.revision, promise, now).filter(|_| is_there) {
            self.broken(format!("a breach at {at} and still {:?} at {weight} % at {now}", candidate.state));
        }
    }

    /// Whether a guardrail has failed too often on probation, and nobody calls anything back.
    pub(in crate::sim) fn promised_recall(&mut self, revision: &str, promise: TimeDelta, now: DateTime<Utc>) {
        if let Some(at) = self.overdue(revision, promise, now) {
            self.broken(format!("a breach at {at} on probation, and nothing is called back at {now}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenario::good;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn is_breach(oracles: &Oracles, revision: &str) -> bool {
        oracles.overdue(revision, TimeDelta::seconds(-1), NOW).is_some()
    }

    #[test]
    fn failures_in_a_row_are_those_of_one_metric_of_one_revision() {
        let mut oracles = Oracles::default();
        let unknown = || Measurement::NoData("no rows".into());
        for (metric, revision, answer, is_so) in [
            ("latency", "a", bad(), false),
            ("errors", "a", good(), false),
            ("latency", "b", good(), false),
            ("latency", "a", unknown(), false),
            ("latency", "a", bad(), true),
            ("errors", "a", bad(), true),
            ("latency", "a", good(), false),
        ] {
            oracles.answered(&format!("{metric}{{revision=\"{revision}\"}}"), &answer, 1, NOW);
            assert_eq!(is_breach(&oracles, "a"), is_so, "{metric} of {revision}: {answer:?}");
            assert!(!is_breach(&oracles, "b"));
        }
    }

    #[test]
    fn what_was_said_of_who_is_no_longer_judged_is_forgotten() {
        let mut oracles = Oracles::default();
        for _ in 0..2 {
            oracles.answered("errors{revision=\"a\"}", &bad(), 1, NOW);
        }
        oracles.judges(Some("a"));
        assert!(is_breach(&oracles, "a"));
        oracles.judges(None);
        oracles.answered("errors{revision=\"a\"}", &bad(), 1, NOW);
        assert!(!is_breach(&oracles, "a"));
    }
}
