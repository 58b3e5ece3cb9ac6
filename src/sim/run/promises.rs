//! What a run is held to while it goes on, beside what each write is: that a breach is answered in time, that a missing right
//! is told, and that nothing is written at rest.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::Run;
use crate::api::ModelDeployment;
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::decide::model_deployment::policy::Policy;
use crate::sim::oracles::PROMISE;
use crate::sim::view::{ENTRIES, MODELS, NAME, path, status_of};

/// The longest wait after a failure, spread.
const LONGEST_WAIT: Duration = Duration::from_secs(72);

impl Run<'_> {
    /// After so long without anything that goes wrong, nothing is left of it: no backoff, no look that was missed.
    fn recovery(&self) -> Duration {
        let deployment: Option<ModelDeployment> = ModelDeployment::deserialize(&*self.view.deployment()).ok();
        let looks = deployment.map_or(Duration::ZERO, |it| {
            let policy = Policy::read(&it.spec, &BTreeMap::new());
            policy.interval * u32::try_from(policy.failure_limit + 1).unwrap()
        });
        LONGEST_WAIT + looks
    }

    /// How soon what has been so since then has to be answered: at once while nothing else has gone wrong, or all had recovered by then;
    /// by the time that all has recovered; none until it has.
    fn promise(&self, since: Option<DateTime<Utc>>) -> Option<TimeDelta> {
        let fates = self.fates();
        let (at_once, calm) = (fates.promise, fates.trouble.is_over_for());
        drop(fates);
        let at_once = at_once.filter(|_| self.chance.is_none() && self.lives < 2);
        if at_once.is_some() || calm < LONGEST_WAIT {
            return at_once;
        }
        let recovered = TimeDelta::from_std(calm.checked_sub(self.recovery())?).unwrap();
        let is_newer = since.is_some_and(|at| self.view.now() - at < recovered);
        Some(if is_newer { PROMISE } else { TimeDelta::from_std(self.recovery()).unwrap() })
    }

    /// What is promised of a breach and of a revocation.
    pub(super) fn keeps_its_promise(&mut self) {
        let promise = self.promise(None);
        let (view, now) = (self.view.clone(), self.view.now());
        let status = view.status();
        {
            let mut fates = self.fates();
            // Since when is counted while nothing is promised, too.
            let promise = promise.unwrap_or(TimeDelta::MAX);
            fates.oracles.called_back(&status, promise, now);
            fates.oracles.off_traffic(&view.cluster, |entry| view.weight_of(entry), promise, now);
        }
        let breached_at = self.fates().oracles.breached_at;
        if breached_at.is_none() {
            return;
        }
        let promise = self.promise(breached_at).unwrap_or(TimeDelta::MAX);
        let stable = status.stable.as_ref().map(|it| it.revision.as_str());
        let candidate = status.attempt.as_ref().filter(|it| Some(it.revision.as_str()) != stable);
        let is_judged = candidate.is_some_and(|it| it.state.is_active());
        if !is_judged && status.probation.as_ref().is_some_and(|it| it.recall.is_none()) {
            return self.fates().oracles.promised_recall(promise, now);
        }
        if !is_judged {
            // The next one is another candidate, and nobody was asked about it yet.
            return self.fates().oracles.forgive();
        }
        let weight = candidate.map_or(0.0, |it| self.view.weight_of(&it.entry.name));
        self.fates().oracles.promised(weight, promise, now);
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::time::sleep;

    use super::super::{alone, no_faults};
    use super::*;
    use crate::sim::chance::Chance;
    use crate::sim::scenarios;

    /// Plays until a candidate has traffic; then something goes wrong, its guardrail is broken, and for so long nobody does anything.
    async fn nobody_answers_for(time: Duration, trouble_before: Duration) -> Vec<String> {
        let scenario = scenarios::all().into_iter().find(|it| it.name == "three_steps").unwrap();
        let mut run = Run::begin(&scenario, no_faults(), None).await;
        let has_traffic = |run: &Run<'_>| {
            let attempt = run.view.status().attempt;
            run.view.status().stable.is_some()
                && attempt.is_some_and(|it| it.state.is_active() && run.view.weight_of(&it.entry.name) > 0.0)
        };
        while !has_traffic(&run) {
            run.script();
            run.notice();
            let steps = run.steps();
            run.one(steps).await;
        }
        run.chance = Some(Arc::new(Mutex::new(Chance::of(1))));
        run.fates().trouble.is_here();
        sleep(trouble_before).await;
        let now = run.view.now();
        run.fates().oracles.breached_at = Some(now);
        sleep(time).await;
        run.keeps_its_promise();
        run.ended(String::new()).violations
    }

    #[test]
    fn in_a_run_with_faults_a_breach_has_to_be_answered_once_all_has_recovered_and_later_ones_at_once() {
        let (soon, long) = (Duration::from_secs(2), Duration::from_mins(10));
        assert_eq!(alone(nobody_answers_for(soon, Duration::ZERO)), Vec::<String>::new());
        assert_eq!(alone(nobody_answers_for(long, Duration::ZERO)).len(), 1);
        assert_eq!(alone(nobody_answers_for(soon, long)).len(), 1);
        assert_eq!(alone(nobody_answers_for(soon / 4, long)), Vec::<String>::new());
    }
}
