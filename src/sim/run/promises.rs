//! What a run is held to while it goes on, beside what each write is: that a breach is answered in time, that a missing right
//! is told, and that nothing is written at rest.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize;

use super::Run;
use crate::api::ModelDeployment;
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::decide::model_deployment::policy::Policy;
use crate::sim::view::{ENTRIES, MODELS, NAME, path, status_of};

/// The longest wait after a failure, spread.
const LONGEST_WAIT: Duration = Duration::from_secs(72);

impl Run<'_> {
    /// How soon a breach and a revocation have to be answered: at once while nothing else has gone wrong, and within the longest wait
    /// of all once nothing has for so long. None in between.
    fn promise(&self) -> Option<TimeDelta> {
        let fates = self.fates();
        let (at_once, calm) = (fates.promise, fates.trouble.is_over_for());
        drop(fates);
        let at_once = at_once.filter(|_| self.chance.is_none() && self.lives < 2);
        if at_once.is_some() || calm < LONGEST_WAIT {
            return at_once;
        }
        let deployment: Option<ModelDeployment> = ModelDeployment::deserialize(&*self.view.deployment()).ok();
        let looks = deployment.map_or(Duration::ZERO, |it| {
            let policy = Policy::read(&it.spec, &BTreeMap::new());
            policy.interval * u32::try_from(policy.failure_limit + 1).unwrap()
        });
        (calm > LONGEST_WAIT + looks).then(|| TimeDelta::from_std(LONGEST_WAIT + looks).unwrap())
    }

    /// What is promised of a breach and of a revocation.
    pub(super) fn keeps_its_promise(&mut self) {
        let promise = self.promise();
        let (view, now) = (self.view.clone(), self.view.now());
        let status = view.status();
        {
            let mut fates = self.fates();
            // Since when is counted while nothing is promised, too.
            let promise = promise.unwrap_or(TimeDelta::MAX);
            fates.oracles.called_back(&status, promise, now);
            fates.oracles.off_traffic(&view.cluster, |entry| view.weight_of(entry), promise, now);
        }
        let is_breached = self.fates().oracles.breached_at.is_some();
        if let Some(promise) = promise.filter(|_| is_breached) {
            let stable = status.stable.as_ref().map(|it| it.revision.as_str());
            let candidate = status.attempt.as_ref().filter(|it| Some(it.revision.as_str()) != stable);
            if candidate.is_none_or(|it| !it.state.is_active())
                && status.probation.as_ref().is_some_and(|it| it.recall.is_none())
            {
                return self.fates().oracles.promised_recall(promise, now);
            }
            if candidate.is_none_or(|it| !it.state.is_active()) {
                // The next one is another candidate, and nobody was asked about it yet.
                return self.fates().oracles.forgive();
            }
            let weight = candidate.map_or(0.0, |it| self.view.weight_of(&it.entry.name));
            self.fates().oracles.promised(weight, promise, now);
        }
    }

    /// A right that is missing is told, whoever looks at the status.
    pub(super) fn is_told(&mut self) {
        let Some(forbidden) = self.fates().forbidden.clone().filter(|_| self.chance.is_none()) else { return };
        // A route that was to be made for one that was taken back before it had any is not wanted any more.
        let status = self.view.status();
        let is_over = status.stable.is_none() && status.attempt.is_some_and(|it| !it.state.is_active());
        if is_over && forbidden.starts_with("POST ") && forbidden.ends_with("/httproutes") {
            return;
        }
        let is_told = |status: &ModelDeploymentStatus| {
            let verdicts = status.verdicts.iter().chain(status.probation.iter().flat_map(|it| &it.verdicts));
            let mut told = status.conditions.iter().map(|it| &it.message).chain(verdicts.map(|it| &it.message));
            told.any(|it| it.contains("the API server refuses"))
        };
        if !self.view.cluster.all(MODELS).iter().any(|(_, it)| is_told(&status_of(it))) {
            self.fates().oracles.broken(format!("nobody is told that it is refused: {forbidden}"));
        }
    }

    /// However often it is looked at, nothing is written.
    pub(super) async fn stays_at_rest(&mut self, forced: usize) {
        let before = (self.view.cluster.version(), self.fates().writes);
        let (kinds, passes) = ([ENTRIES, MODELS], self.passes);
        for _ in 0..forced {
            for number in 0..kinds.len() {
                let all = self.process.as_ref().map(|it| it.hands[number].all()).unwrap_or_default();
                for key in all {
                    self.pass(number, key).await;
                }
            }
        }
        self.passes = passes;
        let after = (self.view.cluster.version(), self.fates().writes);
        if before != after {
            let place = path(MODELS, NAME);
            self.fates().oracles.broken(format!("{forced} passes at rest wrote: {before:?} → {after:?} ({place})"));
        }
    }
}
