//! What a run is held to while it goes on, beside what each write is: that a breach is answered in time, that a missing right
//! is told, and that nothing is written at rest.

use super::Run;
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::sim::view::{ENTRIES, MODELS, NAME, path, status_of};

impl Run<'_> {
    /// A breach takes the weight away at once, where nothing else is wrong.
    pub(super) fn keeps_its_promise(&mut self) {
        if self.chance.is_none() && self.lives < 2 {
            let (status, now) = (self.view.status(), self.view.now());
            self.fates().oracles.called_back(&status, now);
        }
        let promise = self.fates().promise;
        if let Some(promise) = promise.filter(|_| self.chance.is_none() && self.lives < 2) {
            let (view, now) = (self.view.clone(), self.view.now());
            self.fates().oracles.off_traffic(&view.cluster, |entry| view.weight_of(entry), promise, now);
        }
        let is_breached = self.fates().oracles.breached_at.is_some();
        if let Some(promise) = promise.filter(|_| self.chance.is_none() && is_breached) {
            let status = self.view.status();
            let stable = status.stable.as_ref().map(|it| it.revision.as_str());
            let candidate = status.attempt.as_ref().filter(|it| Some(it.revision.as_str()) != stable);
            if candidate.is_none_or(|it| !it.state.is_active())
                && status.probation.as_ref().is_some_and(|it| it.recall.is_none())
            {
                let now = self.view.now();
                return self.fates().oracles.promised_recall(promise, now);
            }
            if candidate.is_none_or(|it| !it.state.is_active()) {
                // The next one is another candidate, and nobody was asked about it yet.
                return self.fates().oracles.forgive();
            }
            let weight = candidate.map_or(0.0, |it| self.view.weight_of(&it.entry.name));
            let now = self.view.now();
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
