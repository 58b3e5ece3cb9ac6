//! What can happen to a small world.

use super::World;
use crate::api::labels;
use crate::decide::Measurement;
use crate::decide::model_deployment::request;
use crate::decide::model_deployment::tests::properties::checked_pass;

#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Event {
    Pass,
    /// The operator dies in a pass, after what it puts on the record; after the status, too; or after the first child.
    Dies(After),
    /// Somebody else writes between decision and status write.
    Conflict,
    /// Pods are ready, routes accepted.
    Cluster,
    PodsReady,
    PodsGone,
    GatewayAccepts,
    Good,
    Bad,
    /// What arrives late is good, or bad, or not there.
    Outcome(Option<f64>),
    Minute,
    Deploy(&'static str),
    Abort,
    /// Of the present attempt, at the step that it is at.
    Ask(&'static str),
    TrailDown,
    TrailUp,
    /// The metric source does not answer.
    Silent,
    /// What the stable revision does to its guardrail, where it is watched or compared.
    StableBad,
    StableGood,
    /// Pods of the stable revision are gone.
    StableGone,
    /// So many requests were counted.
    Samples(f64),
    /// An entry is revoked.
    Revoke(&'static str),
    /// The owner says this of the step that waits for it.
    Says(&'static str),
    /// What was said is taken back.
    TakenBack,
    Suspend(bool),
    /// Autoscalers give what has too few pods its least number; or they give the stable revision so many.
    Autoscaled,
    StableScaled(i32),
}

/// The last that a process has written. (Not how many writes it was: a status that only says it in other words would be one.)
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum After {
    Record,
    Status,
    Child,
}

pub(super) fn happen(world: &mut World, event: Event) {
    match event {
        Event::Pass => drop(checked_pass(world, usize::MAX)),
        Event::Dies(after) => {
            let plan = world.decide();
            let status = plan.entries.len() + usize::from(plan.status.is_some());
            let writes = match after {
                After::Record => plan.entries.len(),
                After::Status => status,
                After::Child => status + 1,
            };
            checked_pass(world, writes);
            world.restart();
        }
        Event::Conflict => world.conflict(),
        Event::Cluster => {
            world.pods_ready();
            world.gateway_accepts();
        }
        Event::PodsReady => world.pods_ready(),
        Event::PodsGone => {
            let candidate = world.status().attempt.map(|it| it.revision).unwrap_or_default();
            if has_deployment(world, &candidate) {
                world.pods_ready_of(&candidate, 0);
            }
        }
        Event::GatewayAccepts => world.gateway_accepts(),
        Event::Good => world.measure("error-rate", Measurement::of(0.001)),
        Event::Bad => world.measure("error-rate", Measurement::of(0.5)),
        Event::Outcome(value) => {
            let outcome = value.map_or_else(|| Measurement::NoData("no rows".into()), Measurement::of);
            world.measure("complaints", outcome);
        }
        Event::Minute => world.advance(60),
        Event::Deploy(entry) => world.deploy(entry),
        Event::Abort => {
            if world.status().attempt.is_some() {
                world.request("abort", "n1");
            }
        }
        Event::Ask(verb) => {
            if let Some(attempt) = world.status().attempt {
                world.request_at(verb, &request::step_of(&attempt), "n1");
            }
        }
        Event::Silent => world.measure("error-rate", Measurement::ProviderError("refused".into())),
        Event::StableBad => world.measure_stable("error-rate", Measurement::of(0.5)),
        Event::StableGood => world.measure_stable("error-rate", Measurement::of(0.001)),
        Event::StableGone => {
            if let Some(stable) = world.status().stable.filter(|it| has_deployment(world, &it.revision)) {
                world.pods_ready_of(&stable.revision, 0);
            }
        }
        Event::Samples(count) => world.measure("samples", Measurement::of(count)),
        Event::Revoke(entry) => world.revoke(entry),
        Event::Says(decision) => says(world, decision),
        Event::TakenBack => drop(world.approvals.pop()),
        Event::Suspend(suspend) => world.edit(|spec| spec.suspend = suspend.then_some(true)),
        Event::Autoscaled => world.autoscalers_act(),
        Event::StableScaled(pods) => {
            if let Some(stable) = world.status().stable.filter(|it| has_deployment(world, &it.revision)) {
                world.autoscaled(&labels::name(&["churn", &stable.revision]), pods);
            }
        }
        Event::TrailDown => world.memory.trail_unavailable_since = Some(world.now),
        Event::TrailUp => world.memory.trail_unavailable_since = None,
    }
}

fn has_deployment(world: &World, revision: &str) -> bool {
    world.children.deployments.contains_key(&labels::name(&["churn", revision]))
}

/// One word of a step is enough: the API server has one Approval of a name.
fn says(world: &mut World, decision: &str) {
    let Some(step) = world.status().attempt.and_then(|it| it.approvals.first().cloned()) else { return };
    if world.approvals.iter().all(|it| it.spec.subject.digest != step.digest) {
        world.says_of(&step, decision, "olga");
    }
}
