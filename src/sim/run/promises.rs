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
use crate::sim::oracles::PROMISE;
use crate::sim::process::Process;
use crate::sim::view::{ENTRIES, MODELS, NAME, path, status_of};

/// The longest wait after a failure: a minute, spread to 120 % of it (`runtime::backoff`).
const LONGEST_WAIT: Duration = Duration::from_secs(72);

impl Run<'_> {
    /// After so long without anything that goes wrong, nothing is left of it: no backoff, no look that was missed.
    fn recovery(&self) -> Duration {
        let deployment: Option<ModelDeployment> = ModelDeployment::deserialize(&*self.view.deployment()).ok();
        let looks = deployment.map_or(Duration::ZERO, |it| {
            let policy = Policy::read(&it.spec, &BTreeMap::new());
            policy.interval * u32::try_from(policy.failure_limit + 1).unwrap()
        });
        LONGEST_WAIT + looks + PROMISE.to_std().unwrap()
    }

    /// How soon a breach and a revocation have to be answered; none while something is wrong, or may still be felt.
    fn promise(&self) -> Option<TimeDelta> {
        let fates = self.fates();
        let (at_once, over, swift) = (fates.promise, fates.trouble.is_over_for(), fates.trouble.is_swift_for());
        drop(fates);
        let at_once = at_once.filter(|_| self.chance.is_none() && self.lives < 2 && self.sees());
        // Most of the time the deployment need not be read for it.
        at_once.or_else(|| {
            let has_recovered = over > LONGEST_WAIT && over > self.recovery();
            (has_recovered && swift > PROMISE.to_std().unwrap()).then_some(PROMISE)
        })
    }

    /// What is promised of a breach and of a revocation.
    pub(super) fn keeps_its_promise(&mut self) {
        // Times are kept even while nothing is promised.
        let promise = self.promise().unwrap_or(TimeDelta::MAX);
        let (view, now) = (self.view.clone(), self.view.now());
        let status = view.status();
        let mut fates = self.fates();
        fates.oracles.called_back(&status, promise, now);
        fates.oracles.off_traffic(&view.cluster, |entry| view.weight_of(entry), promise, now);
        let stable = status.stable.as_ref().map(|it| it.revision.as_str());
        let candidate = status.attempt.as_ref().filter(|it| Some(it.revision.as_str()) != stable);
        let candidate = candidate.filter(|it| it.state.is_active());
        let probation = status.probation.as_ref().filter(|it| it.recall.is_none());
        match (candidate, probation) {
            (Some(it), _) => {
                fates.oracles.judges(Some(&it.revision));
                fates.oracles.promised(it, view.weight_of(&it.entry.name), promise, now);
            }
            (None, Some(it)) => {
                fates.oracles.judges(Some(&it.revision));
                fates.oracles.promised_recall(&it.revision, promise, now);
            }
            (None, None) => fates.oracles.judges(None),
        }
    }

    /// Remembers that a status says that a right is missing: before time passes, it may not be wanted any more.
    pub(super) fn hears_of_the_right(&self) {
        let Some(forbidden) = self.fates().forbidden.clone().filter(|it| !it.is_told) else { return };
        if self.says_what_is_refused(&forbidden.write) {
            self.fates().forbidden.as_mut().into_iter().for_each(|it| it.is_told = true);
        }
    }

    /// Whether a status says so of this very write.
    fn says_what_is_refused(&self, write: &str) -> bool {
        let is_told = |status: &ModelDeploymentStatus| {
            let verdicts = status.verdicts.iter().chain(status.probation.iter().flat_map(|it| &it.verdicts));
            let mut told = status.conditions.iter().map(|it| &it.message).chain(verdicts.map(|it| &it.message));
            told.any(|it| it.contains("the API server refuses") && speaks_of(it, write))
        };
        self.view.cluster.all(MODELS).iter().any(|(_, it)| is_told(&status_of(it)))
    }

    /// A right that is missing is told, whoever looks at the status, if there is one to look at.
    pub(super) fn is_told(&mut self) {
        let Some(forbidden) = self.fates().forbidden.clone().filter(|_| self.chance.is_none()) else { return };
        if forbidden.is_told || self.view.cluster.all(MODELS).is_empty() {
            return;
        }
        let forbidden = forbidden.write;
        // A route that was to be made for one that was taken back before it had any is not wanted any more.
        let status = self.view.status();
        let is_over = status.stable.is_none() && status.attempt.is_some_and(|it| !it.state.is_active());
        if is_over && forbidden.starts_with("POST ") && forbidden.ends_with("/httproutes") {
            return;
        }
        self.fates().oracles.broken(format!("nobody is told that it is refused: {forbidden}"));
    }

    /// What the operator may not read is told by its health. (By a namespace that it leaves out there is nothing to tell it in.)
    pub(super) fn is_told_what_cannot_be_read(&mut self) {
        let Some((_, collection)) = self.forbidden_until.clone().filter(|_| self.chance.is_none()) else { return };
        let plural = collection.rsplit('/').next().unwrap_or_default();
        let health = self.process.as_ref().map(Process::health).unwrap_or_default();
        if !health.contains(plural) || !health.contains("may not list and watch") {
            self.fates().oracles.broken(format!("nobody is told that {collection} may not be read: {health}"));
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

/// Whether a message names the kind of what is written, and its name where the request has it in its path.
fn speaks_of(message: &str, write: &str) -> bool {
    let path = write.split(' ').find(|it| it.starts_with('/')).unwrap_or_default();
    let mut parts = path.rsplit('/').skip_while(|it| *it == "status");
    let last = parts.next().unwrap_or_default();
    let before = parts.next().unwrap_or_default();
    let (plural, name) = if KINDS.iter().any(|(it, _)| *it == last) { (last, "") } else { (before, last) };
    let kind = KINDS.iter().find(|(it, _)| *it == plural).map(|(_, kind)| *kind);
    kind.is_some_and(|kind| message.contains(&format!("{kind} {name}")))
}

/// The children by their plurals.
const KINDS: [(&str, &str); 7] = [
    ("deployments", "Deployment"),
    ("services", "Service"),
    ("httproutes", "HTTPRoute"),
    ("controllerrevisions", "ControllerRevision"),
    ("configmaps", "ConfigMap"),
    ("horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    ("jobs", "Job"),
];

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::time::sleep;

    use super::super::{TOO_MANY, alone, no_faults};
    use super::*;
    use crate::sim::chance::Chance;
    use crate::sim::scenario::{Scenario, bad, revoke};
    use crate::sim::scenarios;

    /// Plays until a candidate has traffic; then something goes wrong.
    async fn troubled(scenario: &Scenario) -> Run<'_> {
        let mut run = Run::begin(scenario, no_faults(), None).await;
        for _ in 0..TOO_MANY {
            let status = run.view.status();
            let candidate = status.attempt.filter(|it| status.stable.is_some() && it.state.is_active());
            if candidate.is_some_and(|it| run.view.weight_of(&it.entry.name) > 0.0) {
                run.chance = Some(Arc::new(Mutex::new(Chance::of(1))));
                run.fates().trouble.is_here();
                return run;
            }
            run.script();
            run.notice();
            let steps = run.steps();
            run.one(steps).await;
        }
        panic!("no candidate ever has traffic");
    }

    /// So long after something went wrong `what` is so, and for so long nobody answers it: what is said of that.
    async fn nobody_answers(what: fn(&Run<'_>), after: Duration, time: Duration) -> String {
        let scenario = scenarios::all().into_iter().find(|it| it.name == "three_steps").unwrap();
        let mut run = troubled(&scenario).await;
        sleep(after).await;
        what(&run);
        run.keeps_its_promise();
        sleep(time).await;
        run.keeps_its_promise();
        run.ended(String::new()).violations.join("; ")
    }

    fn breached(run: &Run<'_>) {
        let candidate = run.view.status().attempt.unwrap().revision;
        for _ in 0..2 {
            let now = run.view.now();
            run.fates().oracles.answered(&format!("errors{{revision=\"{candidate}\"}}"), &bad(), 1, now);
        }
    }

    fn revoked(run: &Run<'_>) {
        revoke("churn-2")(&run.view);
    }

    #[test]
    fn in_a_run_with_faults_a_breach_and_a_revocation_have_to_be_answered_once_it_has_recovered() {
        let (at_once, recovery) = (Duration::from_millis(500), Duration::from_secs(72 + 2 * 30 + 1));
        for (what, said) in [(breached as fn(&Run<'_>), "a breach at"), (revoked, "churn-2 is revoked since")] {
            let nobody = |after, time| alone(nobody_answers(what, after, time));
            assert_eq!(nobody(Duration::ZERO, recovery - at_once), "");
            assert!(nobody(Duration::ZERO, recovery + at_once).starts_with(said));
            // What comes later is promised as if nothing had ever been wrong.
            assert_eq!(nobody(recovery, at_once), "");
            assert!(nobody(recovery, 3 * at_once).starts_with(said));
        }
    }

    #[test]
    fn who_cannot_do_anything_for_a_while_has_broken_no_promise() {
        let slow = |run: &Run<'_>| {
            breached(run);
            run.fates().trouble.slows(Duration::from_secs(3));
        };
        let recovery = Duration::from_mins(10);
        assert_eq!(alone(nobody_answers(slow, recovery, Duration::from_millis(3_900))), "");
        assert!(alone(nobody_answers(slow, recovery, Duration::from_millis(4_100))).starts_with("a breach at"));
    }
}
