//! When two worlds are the same: if they look the same to every later decision.
//!
//! That is status, children and what is outside, with numbers of decisions told by their order (numbers that were given up in
//! between change nothing), and with times told by the gaps between them (see [`super::regions`]), the present being one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::World;
use super::regions::{dated, regions, tell_ages, tell_times, time};
use crate::api::Approval;
use crate::api::gateway::HttpRoute;
use crate::api::model_deployment::{AttemptState, Cause, ModelDeploymentStatus, RecordedApproval};
use crate::build;
use crate::decide::model_deployment::inquiry::{Judges, Topic};
use crate::decide::model_deployment::policy::Policy;
use crate::decide::model_deployment::request;

/// The longest wait of these worlds, in seconds: `progressDeadline`, and what arrives late, twice.
pub(super) const LONGEST_WAIT: i64 = 120;
/// `analysis.interval` of these worlds, in seconds.
const INTERVAL: i64 = 60;

/// No wait of these worlds is longer than gaps are told.
pub(super) fn check_waits(world: &World) {
    let policy = Policy::read(&world.resource.spec, &world.shared_metrics);
    // What arrives late is waited for twice: as long as it may take, and once more.
    let delays = policy.metrics.iter().filter_map(|it| it.delay).map(|it| 2 * it);
    let steps = policy.steps.iter().flat_map(|it| [Some(it.for_), it.max_step_time]);
    let shadow = policy.shadow.iter().flat_map(|it| [Some(it.for_), it.max_time]);
    let others = steps.chain(shadow).chain([policy.rollback_window, policy.rollback_on_outage]).flatten();
    let waits = [policy.progress_deadline, policy.drain, policy.keep_stable, policy.interval];
    // A first deployment is watched for as long as a breach takes to show.
    let watch = policy.interval * u32::try_from(policy.failure_limit + 1).unwrap();
    let longest = waits.into_iter().chain(delays).chain(others).chain([watch]).max();
    assert!(longest.is_some_and(|it| it.as_secs() <= LONGEST_WAIT.unsigned_abs()), "{longest:?}");
    assert_eq!(i64::try_from(policy.interval.as_secs()), Ok(INTERVAL));
    // (A contest's are longer, and nobody edits the route; what a Job says is in no key.)
    assert!(policy.metrics.iter().all(|it| !it.is_job()));
}

/// What later decisions rest on.
pub(super) fn seen_of(world: &World) -> Value {
    assert!(world.memory.resets.is_empty(), "what was put back is in no key");
    let status = world.status();
    let last = status.sequence;
    let ranks = ranks_of(world, &status);
    let (told, now) = told(world, &status, &ranks);
    let revoked = world.lifecycles.iter().map(|(name, it)| json!([name, format!("{it:?}")]));
    // What waits to be recorded meets what is on the record under its number.
    let recorded = status.unrecorded.iter().map(|it| it.sequence - 1).fold(last, i64::min);
    let lost = world.memory.lost.iter().map(|it| json!([ranks[&it.sequence], it.decision, it.weight, it.asked_by]));
    json!([
        told,
        now,
        deployments(world),
        autoscalers(world),
        route(world.children.route.as_deref(), &status),
        route(world.children.proposed.as_deref(), &status),
        words(world, &status),
        revoked.collect::<Vec<_>>(),
        world.resource.spec.suspend,
        request(world, &status),
        world.trail.beyond(recorded),
        lost.collect::<Vec<_>>(),
        world.children.records.keys().collect::<Vec<_>>(),
        world.children.services.keys().collect::<Vec<_>>(),
        world.resource.spec.model_ref.name,
        world.memory.trail_unavailable_since.is_some(),
        world.resource.metadata.generation == Some(status.observed_generation),
        format!("{:?}", world.sources.answers),
    ])
}

/// The status, and what the process has asked, in regions; and where the present lies among them.
fn told(world: &World, status: &ModelDeploymentStatus, ranks: &BTreeMap<i64, i64>) -> (Value, i64) {
    let mut told = serde_json::to_value(status).unwrap();
    told["recordedApprovals"] = recorded(status);
    forget(&mut told, ranks);
    if world.resource.spec.rollout.as_ref().is_none_or(|it| it.rollback_window.is_none()) {
        // Compared with `rollbackWindow` alone.
        told["proven"].as_array_mut().into_iter().flatten().for_each(|it| it["at"] = Value::Null);
    }
    forget_what_is_over(&mut told, status);
    for note in told["unrecorded"].as_array_mut().into_iter().flatten() {
        *note = json!([note["kind"], note["sequence"], note["decision"], note["weight"]]);
    }
    for condition in told["conditions"].as_array_mut().into_iter().flatten() {
        *condition = json!([condition["type"], condition["status"], condition["reason"]]);
    }
    if let Some(handled) = &status.handled_request {
        told["handledRequest"]["attempt"] = is_present(status, &handled.attempt).into();
    }
    told["asked"] = asked(world, status);
    tell_ages(&mut told["revisions"], world.now);
    let mut times = BTreeSet::from([world.now]);
    dated(&told, &mut times);
    let regions = regions(&times);
    tell_times(&mut told, &regions);
    (told, regions[&world.now])
}

/// A new attempt's id is nobody's yet: of an old one it only matters whether it is the present one's.
fn is_present(status: &ModelDeploymentStatus, id: &str) -> bool {
    status.attempt.as_ref().is_some_and(|it| it.id == id)
}

/// The request that has not been looked at.
fn request(world: &World, status: &ModelDeploymentStatus) -> Value {
    let request = request::pending(&world.resource, status);
    json!(request.map(|it| json!([it.verb.word(), is_present(status, &it.attempt), it.step, it.nonce])))
}

fn deployments(world: &World) -> Value {
    let all = world.children.deployments.iter().map(|(name, it)| {
        let seen = it
            .status
            .as_ref()
            .map(|status| (status.observed_generation == it.metadata.generation, status.ready_replicas));
        json!([name, it.spec.as_ref().and_then(|spec| spec.replicas), seen])
    });
    all.collect()
}

/// Between how many pods, of which each is told.
fn autoscalers(world: &World) -> Value {
    let all = world.children.autoscalers.iter().map(|(name, it)| {
        let spec = it.spec.as_ref();
        json!([name, spec.and_then(|it| it.min_replicas), spec.map(|it| it.max_replicas)])
    });
    all.collect()
}

/// Which step of the present attempt this digest is of; of an earlier attempt's nothing rests on it any more.
fn step_of(status: &ModelDeploymentStatus, digest: &str) -> Option<usize> {
    status.attempt.as_ref()?.approvals.iter().position(|it| it.digest == digest)
}

/// What people have said of the steps of the present attempt.
fn words(world: &World, status: &ModelDeploymentStatus) -> Value {
    let of_a_step = |it: &Arc<Approval>| Some((step_of(status, &it.spec.subject.digest)?, it.spec.decision));
    let all =
        world.approvals.iter().filter_map(of_a_step).map(|(step, decision)| json!([step, format!("{decision:?}")]));
    all.collect()
}

/// And what of it is on the record.
fn recorded(status: &ModelDeploymentStatus) -> Value {
    let of_a_step = |it: &RecordedApproval| {
        let step = step_of(status, &it.subject.digest)?;
        Some(json!([step, format!("{:?}", it.decision), it.missed_since]))
    };
    json!(status.recorded_approvals.as_ref().map(|all| all.iter().filter_map(of_a_step).collect::<Vec<_>>()))
}

fn route(live: Option<&HttpRoute>, status: &ModelDeploymentStatus) -> Value {
    let route = live.map(|it| {
        let seen = it.status.as_ref().map(|status| {
            let all = status.parents.iter().flat_map(|parent| &parent.conditions);
            all.map(|condition| (condition.status.clone(), condition.observed_generation == it.metadata.generation))
                .collect::<Vec<_>>()
        });
        json!([it.spec, seen, build::fence::stands(&it.metadata, &fenced(status))])
    });
    json!(route)
}

/// Nothing waits from a time in an attempt that is over, or in a probation that is. (The twins would tell.)
fn forget_what_is_over(told: &mut Value, status: &ModelDeploymentStatus) {
    fn forget_times(verdicts: &mut Value) {
        verdicts.as_array_mut().into_iter().flatten().for_each(|it| it["time"] = Value::Null);
    }
    let state = status.attempt.as_ref().map(|it| it.state);
    // Nor is what goes back judged any more.
    if !state.is_some_and(AttemptState::goes_up) {
        forget_times(&mut told["verdicts"]);
        for field in ["measuredAt", "observingSince"] {
            told["attempt"][field] = Value::Null;
        }
    }
    if !state.is_some_and(AttemptState::is_active) {
        told["attempt"]["exposed"] = Value::Null;
        // Pods of what is revoked, and has nothing to go back to, stop when they are drained.
        if status.attempt.as_ref().is_some_and(|it| it.cause != Some(Cause::Revoked)) {
            told["attempt"]["enteredAt"] = Value::Null;
        }
    }
    if status.probation.as_ref().is_some_and(|it| it.recall.is_some()) {
        told["probation"]["exposed"] = Value::Null;
        forget_times(&mut told["probation"]["verdicts"]);
    }
}

/// When this process last asked for what may be asked for again. It is in no status: one write of it may be lost.
fn asked(world: &World, status: &ModelDeploymentStatus) -> Value {
    let judged = status.attempt.iter().filter(|it| it.state.goes_up());
    let attempt = judged.map(|it| (Judges::Attempt, it.id.as_str()));
    let probation = status.probation.iter().map(|it| (Judges::Probation, it.attempt.as_str()));
    let stable = status.stable_watch.iter().map(|it| (Judges::Stable, it.revision.as_str()));
    let topics = attempt.chain(probation).chain(stable).flat_map(|(judges, id)| {
        [Some("error-rate"), Some("complaints"), None].map(|metric| Topic::of(judges, id, metric))
    });
    // By itself: it may be asked again an interval later, whatever else happens.
    let age = |at: DateTime<Utc>| (world.now - at).num_seconds().min(INTERVAL + 1);
    topics.map(|it| json!(world.last_asked(&it).map(age))).collect()
}

/// A route with the fence that the present attempt may ask for.
fn fenced(status: &ModelDeploymentStatus) -> ObjectMeta {
    let mut wanted = ObjectMeta::default();
    build::fence::raise(&mut wanted, status.attempt.as_ref().map_or(0, |it| it.decided));
    wanted
}

/// Numbers of decisions that a status speaks of.
fn mentioned(value: &Value, numbers: &mut BTreeSet<i64>) {
    match value {
        Value::Object(fields) => {
            numbers.extend(["sequence", "decided"].iter().filter_map(|it| fields.get(*it)?.as_i64()));
            fields.values().for_each(|it| mentioned(it, numbers));
        }
        Value::Array(items) => items.iter().for_each(|it| mentioned(it, numbers)),
        _ => {}
    }
}

/// The order of all numbers that a world speaks of.
fn ranks_of(world: &World, status: &ModelDeploymentStatus) -> BTreeMap<i64, i64> {
    let mut numbers = BTreeSet::from([status.sequence]);
    mentioned(&serde_json::to_value(status).unwrap(), &mut numbers);
    numbers.extend(world.memory.lost.iter().map(|it| it.sequence));
    ranks(&numbers, status.sequence)
}

/// Up to the last one, how many that somebody speaks of are newer: one between that nobody does was given up, and is as
/// if it had never been. Beyond it, how far: those are given next.
fn ranks(numbers: &BTreeSet<i64>, last: i64) -> BTreeMap<i64, i64> {
    let rank = |it: &i64| if *it > last { *it - last } else { -(numbers.range(*it..last).count() as i64) };
    numbers.iter().map(|it| (*it, rank(it))).collect()
}

/// Numbers by their order, and nothing that only people read.
fn forget(value: &mut Value, ranks: &BTreeMap<i64, i64>) {
    match value {
        Value::Object(fields) => {
            for gone in [
                "message",
                "lastTransitionTime",
                "observedGeneration",
                "attempts",
                "startedAt",
                "id",
                "leaseEpoch",
                "value",
                "digest",
            ] {
                fields.remove(gone);
            }
            for number in ["sequence", "decided"] {
                if let Some(it) = fields.get_mut(number) {
                    *it = ranks[&it.as_i64().unwrap()].into();
                }
            }
            if let Some(failures) = fields.get_mut("failures") {
                *failures = failures.as_i64().unwrap_or(0).min(2).into();
            }
            fields.values_mut().for_each(|it| forget(it, ranks));
            for exposed in fields.get_mut("exposed").and_then(Value::as_array_mut).into_iter().flatten() {
                // What is asked about; the answers of these worlds do not depend on it.
                exposed["since"] = Value::Null;
            }
            if let Some(Value::Array(taken_back)) = fields.get_mut("takenBack") {
                taken_back.sort_by_key(|it| it["revision"].as_str().map(str::to_owned));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| forget(it, ranks)),
        // An attempt's id: which one it is, the rest of the status says.
        Value::String(text) if time(text).is_none() && text.matches('-').count() >= 3 => *value = Value::Null,
        _ => {}
    }
}
