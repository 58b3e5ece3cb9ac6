//! What holds of every plan, and of the world after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::approval::ApprovalDecision;
use crate::api::model_deployment::{
    Attempt, AttemptState, Cause, EntryName, EntryRef, ModelDeploymentStatus, OnRevocation, RevisionRole,
    RevisionStatus, Verdict, VerdictKind,
};
use crate::api::model_registry_entry::Lifecycle;
use crate::api::{Approval, Weight, labels};
use crate::build::route;
use crate::decide::approval::guard::Guard;
use crate::decide::model_deployment::acceptance::{self, RouteState};
use crate::decide::model_deployment::policy::StepRule;
use crate::decide::model_deployment::tests::world::World;
use crate::decide::model_deployment::{first, gate, live, measure};
use crate::decide::resets::Contended;
use crate::decide::{Child, ChildKind, Op, Plan};

/// One pass whose plan is held to the rules, carried out as far as it comes.
pub(in super::super) fn checked_pass(world: &mut World, writes: usize) -> Plan<ModelDeploymentStatus> {
    let plan = world.decide();
    let status = plan.status.clone().unwrap_or_else(|| world.status());
    let bytes = serde_json::to_vec(&status).unwrap().len();
    assert!(bytes < 32 * 1024, "a status of {bytes} bytes");
    for op in &plan.ops {
        check_precondition(world, op);
        let (Op::Create(Child::HttpRoute(route)) | Op::Apply(Child::HttpRoute(route), _)) = op else { continue };
        if route.metadata.name.as_deref() == Some("churn") {
            check_weights(world, &status, route);
            check_accepted(world, &status, route);
        }
    }
    if status.attempt.as_ref().is_some_and(|it| it.state.is_active() && it.weight > Weight::NONE) {
        let newer = world.status().attempt.is_none_or(|it| it.weight < status.attempt.as_ref().unwrap().weight);
        assert!(!newer || world.memory.trail_unavailable_since.is_none(), "a weight rose off the record");
    }
    check_held(world, &status);
    check_breached(world, &status);
    check_proven(world, &status);
    check_approved(world, &status);
    check_served(world, &status);
    check_probation(world, &status);
    check_called_back(world, &status);
    check_revoked(world, &status);
    // Whoever dies on the way knows nothing afterwards.
    if writes == usize::MAX {
        world.remember_what_was_asked()
    } else {
        world.forget_what_was_asked()
    }
    world.carry_out(&plan, writes);
    if writes == usize::MAX && world.memory.lost.is_empty() {
        check_jobs(world, &plan);
        check_asked_for(world, &status);
        check_off_traffic(world, &status);
    }
    plan
}

/// The attempt of before, and the same one after.
fn same_attempt<'a>(world: &World, status: &'a ModelDeploymentStatus) -> Option<(Attempt, &'a Attempt)> {
    let before = world.status().attempt.filter(|it| it.state.is_active())?;
    status.attempt.as_ref().filter(|it| it.id == before.id).map(|after| (before, after))
}

/// Nothing rises, and nothing is promoted or begun, while a person holds it.
fn check_held(world: &World, status: &ModelDeploymentStatus) {
    let before = world.status().attempt.map(|it| it.id);
    // One that only takes back what served is none that begins.
    let is_new = |it: &&Attempt| Some(&it.id) != before.as_ref() && it.state != AttemptState::RollingBack;
    let begun = status.attempt.as_ref().is_some_and(|it| is_new(&it));
    assert!(!begun || world.resource.spec.suspend != Some(true), "suspended, and begun: {:?}", status.attempt);
    let Some((before, after)) = same_attempt(world, status) else { return };
    if before.paused_since.is_some() || world.resource.spec.suspend == Some(true) {
        assert!(after.weight <= before.weight && after.state != AttemptState::Promoted, "{before:?} → {after:?}");
    }
}

/// What has failed more often than is tolerated takes the candidate back in the same pass, whatever else is so.
fn check_breached(world: &World, status: &ModelDeploymentStatus) {
    let Some(attempt) = status.attempt.as_ref().filter(|it| it.state.goes_up()) else { return };
    let policy = world.observe().policy;
    let serves_alone = first::serves_alone(status, attempt);
    for rule in policy.gating().filter(|it| !serves_alone || first::watches(&policy, it)) {
        // As the documentation says it, not as the code does.
        let tolerated = if rule.test().is_some() { 0 } else { policy.failure_limit };
        let is_breach = |it: &&Verdict| rule.is_of(it) && it.verdict == VerdictKind::Fail && it.failures > tolerated;
        let breach = status.verdicts.iter().find(is_breach);
        assert!(breach.is_none(), "{breach:?}, and still {attempt:?}");
    }
}

/// From one weight to a higher one, asked for or not, there is proof that each metric passes.
fn check_proven(world: &World, status: &ModelDeploymentStatus) {
    let Some((before, after)) = same_attempt(world, status) else { return };
    if before.weight == Weight::NONE || after.weight <= before.weight {
        return;
    }
    let since = before.observing_since.expect("what rises was watched");
    for rule in world.observe().policy.gating() {
        let passed = |it: &&Verdict| rule.is_of(it) && it.verdict == VerdictKind::Pass && it.time >= since;
        assert!(status.verdicts.iter().any(|it| passed(&it)), "{before:?} → {after:?}: {:?}", status.verdicts);
    }
}

/// Nothing begins, and nothing rises, without the approvals of its entry and of each step that it passes, and but for a purpose
/// that the entry allows; and nothing begins on data that is too old.
fn check_approved(world: &World, status: &ModelDeploymentStatus) {
    let said = |digest: &str, role: &str| {
        let about = |it: &&Arc<Approval>| it.spec.subject.digest == digest && it.spec.role == role;
        let all: Vec<_> = world.approvals.iter().filter(about).map(|it| it.spec.decision).collect();
        all == [ApprovalDecision::Approved] && matches!(world.guard, Guard::Ready(_))
    };
    let Some(attempt) = status.attempt.as_ref().filter(|it| it.state != AttemptState::RollingBack) else { return };
    let before = same_attempt(world, status).map(|(before, _)| before);
    // One that is held back has failed before it begins.
    let begins = attempt.state == AttemptState::Starting && before.is_none() && attempt.started_at == world.now;
    let rises = before.as_ref().is_some_and(|it| attempt.weight > it.weight);
    if !begins && !rises {
        return;
    }
    let entry = world.entries.get(&world.resource.spec.model_ref.name).expect("what begins is registered");
    for role in entry.spec.governance.iter().flat_map(|it| &it.approvals) {
        assert!(said(&entry.spec.digest(), role), "role {role} has not approved {:?}", attempt.entry);
    }
    let allowed = entry.spec.governance.as_ref().map(|it| it.purposes.clone()).unwrap_or_default();
    let purpose = world.resource.spec.purpose.clone();
    let is_allowed = purpose.as_ref().map_or(allowed.is_empty(), |it| allowed.contains(it));
    assert!(is_allowed, "used for {purpose:?}, allowed for {allowed:?}: {attempt:?}");
    let of_then = entry.spec.data_sources.iter().filter_map(|it| it.as_of.as_ref()?.moment().ok());
    let too_old = |of: chrono::DateTime<chrono::Utc>| world.now - of >= chrono::TimeDelta::minutes(30);
    assert!(!begins || attempt.fast_return || !of_then.into_iter().any(too_old), "began on old data: {attempt:?}");
    let Some(before) = before.filter(|it| rises && !it.fast_return) else { return };
    let reached = before.withdrawn_from.unwrap_or(before.weight);
    let passed = |it: &&StepRule| it.weight > reached && it.weight <= attempt.weight;
    for step in world.observe().policy.steps.iter().filter(passed) {
        let Some(role) = &step.approval else { continue };
        assert!(said(&gate::digest(&attempt.id, step.weight), role), "{before:?} → {attempt:?}");
    }
}

/// What is on probation serves, is not proven, and has something to go back to; and that gets traffic only
/// when its pods can take all of it.
fn check_probation(world: &World, status: &ModelDeploymentStatus) {
    if let Some(it) = &status.probation {
        assert_eq!(status.stable.as_ref().map(|it| &it.revision), Some(&it.revision));
        assert!(status.proven.iter().all(|proven| proven.revision != it.revision), "{it:?} is proven");
        let kept = status.revisions.iter().find(|kept| kept.revision == it.fallback.revision);
        let role = kept.map(|it| it.role);
        assert!(matches!(role, Some(RevisionRole::Kept | RevisionRole::Fallback)), "{it:?}: {role:?}");
    }
    let sleeping = |it: &&RevisionStatus| it.role == RevisionRole::Fallback;
    let needed = status.probation.as_ref().map(|it| &it.fallback.revision);
    assert!(status.revisions.iter().filter(sleeping).all(|it| Some(&it.revision) == needed), "{:?}", status.revisions);
    let before = world.status();
    let Some(probation) = before.probation else { return };
    // What is revoked goes at once, whatever pods there are.
    let revoked = status.taken_back.iter().any(|it| it.revision == probation.revision && it.cause == Cause::Revoked);
    if status.stable.as_ref().is_some_and(|it| *it == probation.fallback) && !revoked {
        let live = world.children.deployments.get(&labels::name(&["churn", &probation.fallback.revision]));
        let ready = live.map_or(0, |it| live::ready_pods(it));
        assert!(ready >= world.resource.spec.replicas.unwrap_or(1), "back to {ready} pods");
        let left = status.attempt.as_ref().map(|it| (&it.revision, it.state));
        assert_eq!(left, Some((&probation.revision, AttemptState::RollingBack)));
    }
}

/// Whether the revision is of an entry that is revoked.
fn is_revoked(world: &World, it: &EntryRef) -> bool {
    let entry = world.entries.get(&it.name);
    entry.is_some_and(|it| it.spec.lifecycle() == Lifecycle::Revoked)
}

/// What is revoked is neither stable nor on its way, nor kept to go back to.
fn check_revoked(world: &World, status: &ModelDeploymentStatus) {
    let goes_up = |it: &&Attempt| it.state.goes_up();
    let candidate = status.attempt.as_ref().filter(goes_up).map(|it| &it.entry);
    let keeps = world.resource.spec.on_revocation == Some(OnRevocation::Keep);
    let stable = status.stable.as_ref().filter(|_| !keeps);
    let fallback = status.probation.as_ref().map(|it| &it.fallback);
    for it in stable.into_iter().chain(candidate).chain(fallback) {
        assert!(!is_revoked(world, it), "{it:?} is revoked: {status:#?}");
    }
}

/// After a whole pass nothing goes to what is revoked, unless it is to be kept, or nothing can be written.
fn check_off_traffic(world: &World, status: &ModelDeploymentStatus) {
    if world.resource.spec.on_revocation == Some(OnRevocation::Keep) || world.resource.spec.traffic.is_none() {
        return;
    }
    let revoked = |it: &RevisionStatus| {
        let EntryName { name, uid } = it.entry.clone()?;
        let it = EntryRef { revision: it.revision.clone(), name, uid };
        is_revoked(world, &it).then(|| labels::name(&["churn", &it.revision]))
    };
    let off: Vec<String> = status.revisions.iter().filter_map(revoked).collect();
    let weights = world.weights();
    assert!(
        weights.iter().all(|(name, weight)| *weight == 0 || !off.contains(name)),
        "{weights:?}: {off:?} is revoked"
    );
}

/// What is called back gets nothing back: once the pods of what is proven can take all of the traffic, that has it, or
/// a candidate that took all of it.
fn check_called_back(world: &World, status: &ModelDeploymentStatus) {
    let Some(probation) = status.probation.as_ref().filter(|it| it.recall.is_some()) else { return };
    let name = labels::name(&["churn", &probation.fallback.revision]);
    let ready = world.children.deployments.get(&name).map_or(0, |it| live::ready_pods(it));
    let reached = world.children.deployments.contains_key(&name) && world.children.services.contains_key(&name);
    let going_up = |it: &&Attempt| it.state.goes_up();
    let replaced = status.attempt.as_ref().filter(going_up).is_some_and(|it| it.weight == Weight::FULL);
    let carried = reached && ready >= Weight::FULL.capacity(world.observe().policy.replicas);
    assert!(!carried || replaced, "{} has traffic, and is called back: {:?}", probation.revision, status.attempt);
}

/// Stable is never asked to run on fewer pods than `replicas`, and on none only where nothing is to run.
fn check_asked_for(world: &World, status: &ModelDeploymentStatus) {
    let replicas = world.resource.spec.replicas.unwrap_or(1);
    let asked = |revision: &str| {
        let live = world.children.deployments.get(&labels::name(&["churn", revision]));
        live.and_then(|it| it.spec.as_ref()?.replicas)
    };
    // What somebody scales again and again is not put back at once.
    let is_left = |revision: &str| {
        let name = labels::name(&["churn", revision]);
        let left = |it: &Contended| it.kind == ChildKind::Deployment && it.name == name;
        world.memory.resets.iter().any(|it| left(&it.child) && it.is_left(world.now))
    };
    if let Some(asked) = status.stable.as_ref().filter(|it| !is_left(&it.revision)).and_then(|it| asked(&it.revision)) {
        assert!(asked >= replicas && (asked == 0 || replicas > 0), "{asked} pods of stable, replicas: {replicas}");
    }
}

/// Nobody's request goes to a candidate without a ready pod, unless nothing at all is to run, or nothing else serves either.
fn check_served(world: &World, status: &ModelDeploymentStatus) {
    let Some(attempt) = status.attempt.as_ref().filter(|it| it.state.is_active() && it.weight > Weight::NONE) else {
        return;
    };
    if first::serves_alone(status, attempt) {
        return;
    }
    let serving = world.children.deployments.get(&labels::name(&["churn", &attempt.revision]));
    let serving = serving.map_or(0, |it| live::serving_pods(it));
    assert!(serving > 0 || world.resource.spec.replicas == Some(0), "{} for no pod", attempt.weight);
}

/// Of each metric and side at most one Job is under way, they come after everything else, and none outlives what it is for.
fn check_jobs(world: &World, plan: &Plan<ModelDeploymentStatus>) {
    let mut under_way: Vec<String> =
        world.jobs_under_way().iter().map(|(_, it)| format!("{} {} {:?}", it.attempt, it.metric, it.subject)).collect();
    let all = under_way.len();
    under_way.sort_unstable();
    under_way.dedup();
    assert_eq!(under_way.len(), all, "{:#?}", world.jobs());
    let is_of_a_job = |op: &Op| match op {
        Op::Create(child) | Op::Apply(child, _) => child.kind() == ChildKind::Job,
        Op::Delete(kind, ..) => *kind == ChildKind::Job,
    };
    assert!(plan.ops.is_sorted_by_key(is_of_a_job), "{:#?}", plan.ops);
    let status = world.status();
    let attempt = measure::watched(&status).map(|it| it.id.clone());
    let probation = status.probation.filter(|it| it.recall.is_none()).map(|it| it.attempt);
    for (name, it) in world.jobs() {
        let judged = if it.on_probation { &probation } else { &attempt };
        assert_eq!(Some(&it.attempt), judged.as_ref(), "{name} judges nobody");
    }
}

/// No write over an object but the very one that was observed.
fn check_precondition(world: &World, op: &Op) {
    let (kind, name, precondition) = match op {
        Op::Create(child) => (child.kind(), child.name(), None),
        Op::Apply(child, it) => (child.kind(), child.name(), Some(it)),
        Op::Delete(kind, name, it) => (*kind, name.as_str(), Some(it)),
    };
    let live = world.versions(kind, name);
    let versions = live.as_ref().map(|it| (it.uid.clone(), it.resource_version.clone()));
    let wanted = precondition.map(|it| (Some(it.uid.clone()), Some(it.resource_version.clone())));
    assert_eq!(versions, wanted, "{} {name}", kind.name());
}

/// Weights add up, and a candidate's never rises beyond what its ready pods carry.
fn check_weights(world: &World, status: &ModelDeploymentStatus, wanted: &crate::api::gateway::HttpRoute) {
    let before: BTreeMap<String, i64> = world.weights().into_iter().collect();
    let Some(attempt) = status.attempt.as_ref() else { return };
    let stable = status.stable.as_ref().map(|it| labels::name(&["churn", &it.revision]));
    for backends in route::weights(wanted) {
        let sum: i64 = backends.iter().map(|(_, weight)| weight).sum();
        let taken_back = status.stable.is_none() && attempt.weight == Weight::NONE;
        assert_eq!(sum, if taken_back { 0 } else { i64::from(Weight::TOTAL) });
        for (name, weight) in backends.iter().filter(|(name, _)| Some(name) != stable.as_ref()) {
            let decided_now = world.status().attempt.is_none_or(|it| it.weight < attempt.weight);
            if *weight <= before.get(name).copied().unwrap_or(0) || !decided_now {
                continue;
            }
            let ready = world.children.deployments.get(name).map_or(0, |it| live::ready_pods(it));
            let replicas = world.resource.spec.replicas.unwrap_or(1);
            assert!(ready >= attempt.weight.capacity(replicas), "{weight} for {ready} of {replicas} pods");
        }
    }
}

/// What serves is written from what it was written from before, or from what a Gateway has accepted.
fn check_accepted(world: &World, status: &ModelDeploymentStatus, wanted: &crate::api::gateway::HttpRoute) {
    let Some(live) = world.children.route.as_deref().filter(|_| status.stable.is_some()) else { return };
    let kept = route::gateway(live) == route::gateway(wanted);
    let accepted = world.children.proposed.as_deref().is_some_and(|proposed| {
        route::gateway(proposed) == route::gateway(wanted) && acceptance::route_state(proposed) == RouteState::Accepted
    });
    assert!(kept || accepted, "{:?} for {:?}", route::gateway(wanted), route::gateway(live));
}
