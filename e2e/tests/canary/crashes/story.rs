//! The stories: what is so before each, what is then done, and how it ends.

use serde_json::{Value, json};
use werkbank::api::condition;
use werkbank::api::model_deployment::{AttemptState, ModelDeploymentStatus, Phase, RevisionRole};

use super::{Place, verified};
use crate::autoscaling::autoscaled;
use crate::rights::without_gateway;
use crate::scene::{GOOD, Model, Wanted};

/// Two steps that end at once.
const QUICK: &str = "[{weight: 20%}, {weight: 50%}]";
/// Time enough to pause.
const BRIEF: &str = "[{weight: 20%}, {weight: 50%, for: 6s}]";
const HELD: &str = "[{weight: 20%}, {weight: 50%, for: 10m}]";

/// One story: what is so before it, and what is then done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Story {
    FirstDeployment,
    Promotion,
    /// A candidate that is watched is aborted.
    Abort,
    /// The spec goes back to what serves while a candidate is watched.
    Revert,
    /// All at once, without a gateway.
    Switch,
    /// Another candidate takes the place of one that is watched.
    Supersede,
    /// Somebody asks for all traffic while a candidate is watched.
    Promote,
    /// Back to what served before, and keeps its place.
    Return,
    /// Requests are copied before any is sent.
    Shadow,
    /// Autoscalers have the pods in hand.
    Autoscaled,
    /// Its entry is registered with it, and its artifact read first.
    Verified,
    /// The entry of a candidate that is watched is revoked.
    Revoked,
    /// A candidate that is watched breaks its guardrail.
    Breached,
    /// A candidate that was paused goes on.
    Paused,
    /// What arrives late confirms what was promoted.
    Probation,
    /// What arrives late takes back what was promoted.
    Recalled,
    /// Deleted after a rollback, and made again from Git as it was, without a status; and tried again.
    Restored,
}

pub(super) const STORIES: [Story; 17] = [
    Story::FirstDeployment,
    Story::Promotion,
    Story::Abort,
    Story::Revert,
    Story::Switch,
    Story::Supersede,
    Story::Promote,
    Story::Return,
    Story::Shadow,
    Story::Autoscaled,
    Story::Verified,
    Story::Revoked,
    Story::Breached,
    Story::Paused,
    Story::Probation,
    Story::Recalled,
    Story::Restored,
];

impl Story {
    /// What is so before it begins.
    pub(super) async fn prepare(self, place: &Place, model: &Model<'_>) {
        match self {
            Self::FirstDeployment => {}
            Self::Promotion | Self::Shadow | Self::Verified | Self::Probation | Self::Recalled => serve(model).await,
            Self::Switch => {
                model.apply(&without_gateway(model.name, "1", 0)).await;
                model.until("the first version serves", at_rest).await;
            }
            Self::Abort | Self::Revert | Self::Supersede | Self::Promote => {
                watched(model, HELD).await;
            }
            Self::Paused => {
                watched(model, BRIEF).await;
                model.ask("pause", "now").await;
                model.until("it is paused", |it| it.attempt.as_ref().is_some_and(|it| it.paused_since.is_some())).await;
            }
            Self::Restored => {
                watched(model, HELD).await;
                model.ask("abort", "now").await;
                model.until("it is taken back", at_rest).await;
            }
            Self::Revoked => {
                serve(model).await;
                verified::begin(model, HELD).await;
                model.until_observing("50%").await;
                verified::end(model).await;
            }
            Self::Breached => {
                serve(model).await;
                model.apply(&judged(place, model, "2", HELD)).await;
                model.until_observing("50%").await;
            }
            Self::Return => {
                model.apply(&keeping(model, "1", QUICK)).await;
                model.until("the first version serves", at_rest).await;
                model.apply(&keeping(model, "2", QUICK)).await;
                model.until("the second version serves", |it| is_calm(it) && it.attempts == 2).await;
            }
            Self::Autoscaled => {
                model.apply(&with_autoscaler(model, "1")).await;
                model.until("the first version serves", at_rest).await;
            }
        }
    }

    /// What is done.
    pub(super) async fn begin(self, place: &Place, model: &Model<'_>) {
        match self {
            Self::FirstDeployment => model.apply(&manifest(model, "1", QUICK)).await,
            Self::Promotion => model.apply(&manifest(model, "2", QUICK)).await,
            Self::Switch => model.apply(&without_gateway(model.name, "2", 0)).await,
            Self::Revert => model.apply(&manifest(model, "1", HELD)).await,
            Self::Abort => model.ask("abort", "now").await,
            Self::Promote => model.ask("promote", "now").await,
            Self::Paused => model.ask("resume", "then").await,
            Self::Supersede => model.apply(&manifest(model, "3", QUICK)).await,
            Self::Return => model.apply(&keeping(model, "1", HELD)).await,
            Self::Shadow => {
                let shadow = "  rollout:\n    shadow: {percent: 50, for: 0s}\n";
                model.apply(&manifest(model, "2", QUICK).replacen("  rollout:\n", shadow, 1)).await;
            }
            Self::Autoscaled => model.apply(&with_autoscaler(model, "2")).await,
            Self::Verified => verified::begin(model, QUICK).await,
            Self::Revoked => verified::revoke(model).await,
            Self::Breached => {
                place.source.breach(model.name);
            }
            Self::Probation => model.apply(&judged_late(place, model)).await,
            Self::Recalled => {
                place.source.breach(model.name);
                model.apply(&judged_late(place, model)).await;
            }
            Self::Restored => {
                model
                    .scene
                    .kubectl(&["-n", model.namespace, "delete", "modeldeployment", model.name, "--cascade=foreground"])
                    .await;
                model.apply(&manifest(model, "2", HELD)).await;
                model.until("it is held back", is_held_back).await;
                model.ask("retry", "then").await;
            }
        }
    }

    /// How it ends.
    pub(super) async fn end(self, model: &Model<'_>) {
        let state = match self {
            Self::Abort | Self::Revert | Self::Revoked | Self::Breached | Self::Recalled => AttemptState::RolledBack,
            _ => AttemptState::Promoted,
        };
        let attempts = match self {
            Self::FirstDeployment => 1,
            Self::Supersede | Self::Return => 3,
            _ => 2,
        };
        // What is kept stays beside what serves.
        let rests = |it: &ModelDeploymentStatus| if self == Self::Return { is_calm(it) } else { at_rest(it) };
        let ended = |it: &ModelDeploymentStatus| {
            rests(it) && it.attempts == attempts && it.attempt.as_ref().unwrap().state == state
        };
        model.until(&format!("{self:?} has ended"), ended).await;
        match self {
            Self::Verified => verified::end(model).await,
            Self::Revoked => verified::end_unused(model).await,
            _ => {}
        }
    }
}

/// A candidate is watched.
async fn watched(model: &Model<'_>, steps: &'static str) {
    serve(model).await;
    model.apply(&manifest(model, "2", steps)).await;
    model.until_observing("50%").await;
}

async fn serve(model: &Model<'_>) {
    model.apply(&manifest(model, "1", QUICK)).await;
    model.until("the first version serves", at_rest).await;
}

/// No pods, so that nothing is waited for but the operator and the gateway.
pub(super) fn manifest(model: &Model<'_>, version: &'static str, steps: &'static str) -> String {
    let whole = model.manifest(&Wanted { version, steps, ..GOOD }).replacen("replicas: 2", "replicas: 0", 1);
    let (rest, _) = whole.split_once("    onOutage:").unwrap();
    format!("{rest}  analysis: {{none: \"there are no requests\"}}\n").replacen("drain: 2s", "drain: 100ms", 1)
}

/// The same, and a guardrail that the place can break.
fn judged(place: &Place, model: &Model<'_>, version: &'static str, steps: &'static str) -> String {
    with_metric(manifest(model, version, steps), &place.source.guardrail(model.name))
}

/// The second version, whose guardrail is only asked after it was promoted.
fn judged_late(place: &Place, model: &Model<'_>) -> String {
    let mut metric = place.source.guardrail(model.name);
    (metric["role"], metric["delay"]) = (json!("Objective"), json!("1s"));
    let of_then = format!("{}?at={{{{ windowEnd }}}}", metric["http"]["url"].as_str().unwrap());
    metric["http"]["url"] = json!(of_then);
    with_metric(manifest(model, "2", QUICK), &metric)
}

fn with_metric(manifest: String, metric: &Value) -> String {
    let (rest, _) = manifest.split_once("  analysis:").unwrap();
    format!("{rest}  analysis: {}\n", json!({"interval": "500ms", "failureLimit": 0, "metrics": [metric]}))
}

/// What served before keeps its place for as long as this test needs.
fn keeping(model: &Model<'_>, version: &'static str, steps: &'static str) -> String {
    let keep = "  rollout:\n    keepStable: 1h\n    rollbackWindow: 2h\n";
    manifest(model, version, steps).replacen("  rollout:\n", keep, 1)
}

/// One pod of each version, in the hand of an autoscaler.
fn with_autoscaler(model: &Model<'_>, version: &'static str) -> String {
    let manifest = manifest(model, version, "[{weight: 50%}]").replacen("replicas: 0", "replicas: 2", 1);
    autoscaled(&manifest, 1)
}

/// Nothing is under way, and nothing is on its way out.
fn is_calm(status: &ModelDeploymentStatus) -> bool {
    let ended = status.attempt.as_ref().is_some_and(|it| !it.state.is_active());
    let settled = [Phase::Stable, Phase::RolledBack].contains(&status.phase) && status.unrecorded.is_empty();
    ended && settled && status.revisions.iter().all(|it| it.role != RevisionRole::Draining)
}

/// The record says that it was taken back: nothing of it begins.
fn is_held_back(status: &ModelDeploymentStatus) -> bool {
    let stalled = condition::find(&status.conditions, "Stalled");
    status.unrecorded.is_empty() && stalled.is_some_and(|it| it.reason == "PreviouslyRolledBack")
}

/// Nothing is left of what was, either.
fn at_rest(status: &ModelDeploymentStatus) -> bool {
    is_calm(status) && status.revisions.len() == 1
}
