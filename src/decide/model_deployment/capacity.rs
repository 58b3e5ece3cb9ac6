//! Weight never exceeds what is ready, from the first per cent to the last.
//!
//! Pods are not only awaited before a weight is given: they may die under it. A candidate without a
//! ready pod loses its weight at once, because its share of the requests fails while its own metrics
//! have nothing to say. It waits as in the beginning, and comes back to the same step
//! with a new observation clock. With some of its pods it keeps the weight, but the step does not end.
//! Neither goes on for ever: past `progressDeadline`, or with the third loss in one step, it is taken back.

use k8s_openapi::api::apps::v1::Deployment;

use super::hold;
use super::live::{self, PodProblem};
use super::pass::Pass;
use crate::api::Weight;
use crate::api::labels;
use crate::api::model_deployment::{Attempt, AttemptState};
use crate::decide::EventType;

/// How often a candidate may lose its last ready pod within one step; this one takes it back.
const LAST_LOSS: i32 = 3;

/// Whether fewer pods are ready than the attempt's weight needs.
pub(super) fn is_short(attempt: &Attempt) -> bool {
    attempt.short_of_capacity_since.is_some()
}

impl Pass<'_> {
    /// Notes since when the pods are too few for the weight, given or withdrawn.
    pub(super) fn watch_capacity(&mut self) {
        let Some(attempt) = self.active() else { return };
        let carries = self.carried(attempt);
        // Nobody else could serve what it does not.
        let is_needed = carries != Weight::NONE && !self.serves_alone(attempt);
        let wanted = if is_needed { carries.capacity(self.full()) } else { 0 };
        let short = self.serving_of(&attempt.revision) < wanted;
        let now = self.now;
        self.change(|it| it.short_of_capacity_since = short.then(|| it.short_of_capacity_since.unwrap_or(now)));
    }

    /// Whether it has weight, and nothing that could carry any.
    pub(super) fn has_lost_all(&self, attempt: &Attempt) -> bool {
        attempt.weight > Weight::NONE && is_short(attempt) && self.serving_of(&attempt.revision) == 0
    }

    /// Why it is no use to withdraw its weight once more.
    pub(super) fn lost_too_often(&self, attempt: &Attempt) -> Option<String> {
        let weight = attempt.weight;
        let last = self.has_lost_all(attempt) && attempt.losses.saturating_add(1) >= LAST_LOSS;
        last.then(|| {
            let missing = self.awaited_pods(attempt, weight);
            format!("no pod was left for {weight}, {LAST_LOSS} times in this step: {missing}")
        })
    }

    /// All traffic to the stable revision, until pods of the candidate are ready again.
    pub(super) fn withdraw(&mut self, attempt: &Attempt) {
        let reason = self.awaited_pods(attempt, attempt.weight);
        self.change(|it| it.losses = it.losses.saturating_add(1));
        self.withdraw_for(&reason);
        self.tell(
            EventType::Warning,
            "ShortOfCapacity",
            "Withdraw",
            format!(
                "revision {} goes from {} to 0% until its pods are back: {reason}",
                attempt.revision, attempt.weight
            ),
        );
    }

    /// Weight 0, to begin again as soon as there is what it lacks.
    pub(super) fn withdraw_for(&mut self, reason: &str) {
        let now = self.now;
        self.cover();
        self.change(|it| {
            it.state = AttemptState::Starting;
            it.withdrawn_from = Some(it.weight);
            it.weight = Weight::NONE;
            it.step = None;
            it.entered_at = now;
            it.observing_since = None;
            (it.samples, it.stable_samples) = (None, None);
            it.unjudged_since = None;
            hold::keep_steps(it);
        });
        // Who is not asked cannot be silent, and nobody has to be judged.
        self.status.verdicts.iter_mut().for_each(|it| it.silent_since = None);
        self.intend_at_once("Withdraw", reason);
    }

    /// How many pods there are of those that `weight` needs, and why there are not more.
    pub(super) fn awaited_pods(&self, attempt: &Attempt, weight: Weight) -> String {
        let wanted = weight.capacity(self.full());
        let ready = self.serving_of(&attempt.revision);
        match self.pod_problem(attempt) {
            Some(problem) => format!("{ready} of {wanted} pods are ready: {}", problem.message),
            None => format!("{ready} of {wanted} pods are ready"),
        }
    }

    /// What keeps the candidate's pods from coming up in this attempt.
    pub(super) fn pod_problem(&self, attempt: &Attempt) -> Option<PodProblem> {
        let pods = self.observed.pods.iter().map(AsRef::as_ref);
        live::pod_problem(pods, &attempt.revision, attempt.started_at)
    }

    /// Whether enough of the candidate's pods are ready to carry `weight`, and they can be reached.
    pub(super) fn has_capacity(&self, attempt: &Attempt, weight: Weight) -> bool {
        self.ready_of(&attempt.revision).is_some_and(|ready| ready >= weight.capacity(self.full()))
    }

    /// Whether a revision that is no candidate could take all of the traffic at once.
    pub(super) fn carries_all(&self, revision: &str) -> bool {
        self.ready_of(revision).is_some_and(|ready| ready >= Weight::FULL.capacity(self.full()))
    }

    /// Ready pods of the Deployment's present spec, of a revision that can be reached: what may get weight.
    fn ready_of(&self, revision: &str) -> Option<i32> {
        self.reachable(revision).map(live::ready_pods)
    }

    /// Ready pods of a revision that can be reached, also while it is being scaled.
    pub(super) fn serving_of(&self, revision: &str) -> i32 {
        self.reachable(revision).map_or(0, live::serving_pods)
    }

    /// The Deployment of a revision that has a Service too.
    pub(super) fn reachable(&self, revision: &str) -> Option<&Deployment> {
        let name = labels::name(&[self.name(), revision]);
        let children = &self.observed.children;
        children.services.get(&name).and_then(|_| children.deployments.get(&name)).map(AsRef::as_ref)
    }
}
