//! What holds in every world, however users, cluster and metric source behave.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::jobs::{compared_by_jobs, job, judged_by_a_job};
use super::world::{World, guardrail, is_nothing};
use crate::api::model_deployment::{
    Attempt, AttemptState, Cause, ModelDeploymentStatus, Recall, RevisionRole, RevisionStatus, Verdict, VerdictKind,
};
use crate::api::{Weight, labels};
use crate::build::route;
use crate::decide::model_deployment::acceptance::{self, RouteState};
use crate::decide::model_deployment::inquiry::Subject;
use crate::decide::model_deployment::{hold, live, measure, observed::Observed, request};
use crate::decide::{Child, ChildKind, Measurement, Op, Plan};

/// Something that happens to a world.
#[derive(Debug, Clone)]
enum Happening {
    Pass,
    Deploy(u8),
    Replicas(i32),
    Steps(Vec<u16>),
    Traffic(bool),
    /// `spec.traffic.gateway` is edited to one that is accepted, refused, or answered by nobody.
    Gateway(&'static str, &'static str),
    PodsReady,
    PodsGone,
    GatewayAccepts,
    GatewayRejects,
    Measured(u8),
    /// What stories begin with: a revision is on probation.
    OnProbation,
    /// Or the next candidate has all of the traffic, and the revision before it, which was on probation, is called back.
    CalledBack,
    /// What the metric with `delay` answers from now on.
    Outcome(u8),
    /// The metrics are edited: a guardrail, an objective, none, a shared list that may not be there, one with `delay`, or Jobs.
    Metrics(u8),
    /// The Jobs that are under way end: with a good number, a bad one, none, or by crashing.
    JobsEnd(u8),
    /// Somebody deletes the Jobs.
    JobsGone,
    Advance(i64),
    Request(&'static str, u8),
    /// `spec.suspend` is set.
    Suspend(bool),
    Trail(bool),
    EntryGone(u8),
    /// Somebody scales the Deployments, or sets a field in them that is not ours.
    Edited(Option<i32>),
    EntryBack(u8),
    /// The operator dies after so many writes of a pass.
    Crash(usize),
    /// Somebody else writes between the decision and its status write.
    Conflict,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        12 => Just(Pass),
        3 => (1_u8..5).prop_map(Deploy),
        1 => (0_i32..6).prop_map(Replicas),
        1 => prop::collection::vec(0_u16..10_001, 0..4).prop_map(Steps),
        1 => any::<bool>().prop_map(Traffic),
        2 => (prop_oneof![2 => Just("internal"), 1 => Just("tomorrow")], prop_oneof![Just("http"), Just("nowhere")])
            .prop_map(|(name, section)| Gateway(name, section)),
        8 => Just(PodsReady),
        1 => Just(PodsGone),
        8 => Just(GatewayAccepts),
        1 => Just(GatewayRejects),
        5 => (0_u8..8).prop_map(Measured),
        2 => (0_u8..8).prop_map(Outcome),
        3 => (0_u8..10).prop_map(Metrics),
        4 => (0_u8..5).prop_map(JobsEnd),
        1 => Just(JobsGone),
        6 => prop_oneof![0_i64..90, 0_i64..4000, -900_i64..0].prop_map(Advance),
        3 => (prop::sample::select(&["abort", "retry", "pause", "resume", "promote", "promote"][..]), any::<u8>())
            .prop_map(|(verb, nonce)| Request(verb, nonce)),
        1 => any::<bool>().prop_map(Suspend),
        1 => any::<bool>().prop_map(Trail),
        1 => (1_u8..5).prop_map(EntryGone),
        2 => (1_u8..5).prop_map(EntryBack),
        1 => prop::option::of(0_i32..6).prop_map(Edited),
        3 => (0_usize..6).prop_map(Crash),
        2 => Just(Conflict),
    ]
}

fn happen(world: &mut World, it: &Happening) {
    match it {
        Happening::Pass => drop(checked_pass(world, usize::MAX)),
        Happening::Crash(writes) => {
            checked_pass(world, *writes);
            world.restart();
        }
        Happening::Conflict => world.conflict(),
        Happening::Deploy(version) => world.deploy(&format!("churn-{version}")),
        Happening::Replicas(replicas) => world.edit(|spec| spec.replicas = Some(*replicas)),
        Happening::Steps(steps) => {
            let text = |it: &u16| json!({"weight": Weight::from_hundredths(*it).to_string(), "for": "1m"});
            world.steps(steps.iter().map(text).collect());
        }
        Happening::Traffic(there) => {
            let traffic = there.then(|| World::new().resource.spec.traffic).flatten();
            world.edit(|spec| spec.traffic = traffic);
        }
        Happening::Gateway(name, section) => {
            if world.resource.spec.traffic.is_some() {
                world.gateway(json!({"parentRefs": [{"name": name, "sectionName": section}]}));
            }
        }
        Happening::PodsReady => world.pods_ready(),
        Happening::PodsGone => {
            let names: Vec<String> = world.status().revisions.into_iter().map(|it| it.revision).collect();
            for revision in names {
                if world.children.deployments.contains_key(&labels::name(&["churn", &revision])) {
                    world.pods_ready_of(&revision, 0);
                }
            }
        }
        Happening::Edited(replicas) => {
            let names: Vec<String> = world.status().revisions.into_iter().map(|it| it.revision).collect();
            for revision in names {
                if world.children.deployments.contains_key(&labels::name(&["churn", &revision])) {
                    world.edit_deployment(&revision, |spec| match replicas {
                        Some(_) => spec.replicas = *replicas,
                        None => spec.min_ready_seconds = Some(spec.min_ready_seconds.unwrap_or(0) + 1),
                    });
                }
            }
        }
        Happening::GatewayAccepts => world.gateway_accepts(),
        Happening::GatewayRejects => world.gateway_says("False", "NoMatchingListener", "no"),
        Happening::Measured(kind) => world.measure("error-rate", measurement(*kind)),
        Happening::OnProbation => *world = ON_PROBATION.clone(),
        Happening::CalledBack => *world = CALLED_BACK.clone(),
        Happening::Outcome(kind) => world.measure("complaints", measurement(*kind)),
        Happening::Metrics(kind) => metrics(world, *kind),
        Happening::JobsEnd(kind) => jobs_end(world, *kind),
        Happening::JobsGone => world.children.jobs.clear(),
        Happening::Advance(seconds) => world.advance(*seconds),
        Happening::Request(verb, nonce) => {
            if let Some(attempt) = world.status().attempt {
                world.request_at(verb, &request::step_of(&attempt), &nonce.to_string());
            }
        }
        Happening::Suspend(suspend) => world.edit(|spec| spec.suspend = Some(*suspend)),
        Happening::Trail(answers) => world.memory.trail_unavailable_since = (!answers).then_some(world.now),
        Happening::EntryGone(version) => drop(world.entries.remove(&format!("churn-{version}"))),
        Happening::EntryBack(version) => world.register(&format!("churn-{version}"), *version),
    }
}

fn metrics(world: &mut World, kind: u8) {
    let shared = json!({"metricsFrom": [{"configMapRef": {"name": "http"}}]});
    world.analysis(match kind {
        0 => json!({"metrics": [guardrail()]}),
        1 => json!({"metrics": [{"name": "error-rate", "role": "Objective", "threshold": {"max": "1%"},
            "prometheus": {"query": "errors{revision=\"{{ revision }}\"}"}}]}),
        2 => json!({"none": "checked by hand"}),
        5 | 6 => json!({"metrics": [guardrail(), late()]}),
        7.. => json!({"metrics": [guardrail(), judged_by_a_job("Objective"), compared_by_jobs(), {
            "name": "returns", "role": "Guardrail", "delay": "30m", "threshold": {"min": "80%"}, "job": job()}]}),
        _ => shared,
    });
    let list = if kind == 3 { Ok(json!([guardrail()]).to_string()) } else { Err("there is no ConfigMap http".into()) };
    world.shared_metrics.insert("http".into(), list);
}

fn jobs_end(world: &mut World, kind: u8) {
    let message = match kind {
        0 => r#"{"value": 0.93}"#,
        1 => r#"{"value": 0.1}"#,
        2 => "{}",
        3 => "no JSON",
        _ => return world.jobs_crash(1),
    };
    world.jobs_say(Subject::Candidate, message);
    world.jobs_say(Subject::Stable, message);
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

/// Complaints stay below 1 %, and take half an hour to arrive.
fn late() -> serde_json::Value {
    late_by("30m")
}

pub(super) fn late_by(delay: &str) -> serde_json::Value {
    json!({"name": "complaints", "role": "Guardrail", "threshold": {"max": "1%"}, "delay": delay,
        "prometheus": {"query": "complaints{revision=\"{{ revision }}\"} @ {{ windowEnd }}"}})
}

fn measurement(kind: u8) -> Measurement {
    match kind {
        0 => Measurement::of(0.5),
        1 => Measurement::of(f64::INFINITY),
        2 => Measurement::NoData("no series".into()),
        3 => Measurement::ProviderError("refused".repeat(4000)),
        _ => Measurement::of(0.001),
    }
}

/// One pass whose plan is held to the rules, carried out as far as it comes.
pub(super) fn checked_pass(world: &mut World, writes: usize) -> Plan<ModelDeploymentStatus> {
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
    check_proven(world, &status);
    check_served(world, &status);
    check_probation(world, &status);
    check_called_back(world, &status);
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
    let begun = status.attempts > world.status().attempts;
    assert!(!begun || world.resource.spec.suspend != Some(true), "suspended, and begun: {:?}", status.attempt);
    let Some((before, after)) = same_attempt(world, status) else { return };
    if before.paused_since.is_some() || world.resource.spec.suspend == Some(true) {
        assert!(after.weight <= before.weight && after.state != AttemptState::Promoted, "{before:?} → {after:?}");
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
    if status.stable.as_ref().is_some_and(|it| *it == probation.fallback) {
        let live = world.children.deployments.get(&labels::name(&["churn", &probation.fallback.revision]));
        let ready = live.map_or(0, |it| live::ready_pods(it));
        assert!(ready >= world.resource.spec.replicas.unwrap_or(1), "back to {ready} pods");
        let left = status.attempt.as_ref().map(|it| (&it.revision, it.state));
        assert_eq!(left, Some((&probation.revision, AttemptState::RollingBack)));
    }
}

/// What is called back gets nothing back: once the pods of what is proven can take all of the traffic, that has it, or
/// a candidate that took all of it.
fn check_called_back(world: &World, status: &ModelDeploymentStatus) {
    let Some(probation) = status.probation.as_ref().filter(|it| it.recall.is_some()) else { return };
    let name = labels::name(&["churn", &probation.fallback.revision]);
    let ready = world.children.deployments.get(&name).map_or(0, |it| live::ready_pods(it));
    let reached = world.children.deployments.contains_key(&name) && world.children.services.contains_key(&name);
    let going_up = |it: &&Attempt| it.state.is_active() && it.state != AttemptState::RollingBack;
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
    if let Some(asked) = status.stable.as_ref().and_then(|it| asked(&it.revision)) {
        assert!(asked >= replicas && (asked == 0 || replicas > 0), "{asked} pods of stable, replicas: {replicas}");
    }
}

/// Nobody's request goes to a candidate without a ready pod, unless nothing at all is to run.
fn check_served(world: &World, status: &ModelDeploymentStatus) {
    let Some(attempt) = status.attempt.as_ref().filter(|it| it.state.is_active() && it.weight > Weight::NONE) else {
        return;
    };
    let serving = world.children.deployments.get(&labels::name(&["churn", &attempt.revision]));
    let serving = serving.map_or(0, |it| live::serving_pods(it));
    assert!(serving > 0 || world.resource.spec.replicas == Some(0), "{} for no pod", attempt.weight);
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

/// Most of them begin with a revision on probation, or called back: few get there by themselves.
fn story() -> impl Strategy<Value = Vec<Happening>> {
    let called_back = Just(Some(Happening::CalledBack));
    let begin = prop_oneof![2 => Just(None), 2 => Just(Some(Happening::OnProbation)), 1 => called_back];
    let stories = (begin, prop::collection::vec(happening(), 0..60));
    stories.prop_map(|(begin, story)| begin.into_iter().chain(story).collect())
}

/// `churn-2` was promoted, and its outcomes arrive in less than half an hour.
static ON_PROBATION: LazyLock<World> = LazyLock::new(|| {
    let mut world = World::serving();
    world.edit(|spec| spec.replicas = Some(1));
    metrics(&mut world, 5);
    world.deploy("churn-2");
    while world.status().probation.is_none() {
        world.all_is_well();
        world.pass();
        world.advance(60);
    }
    world
});

/// `churn-3` has taken all traffic from `churn-2`, which fails late.
static CALLED_BACK: LazyLock<World> = LazyLock::new(|| {
    let mut world = ON_PROBATION.clone();
    world.deploy("churn-3");
    while world.attempt().state != AttemptState::Promoting {
        world.advance(60);
        world.all_is_well();
        world.pass();
    }
    world.all_is_well();
    world.edit(|spec| spec.suspend = Some(true));
    world.measure("complaints", measurement(0));
    world.advance(1800);
    world.pass();
    assert!(world.status().probation.is_some_and(|it| it.recall.is_some()));
    world
});

fn world_after(story: &[Happening]) -> World {
    let mut world = World::new();
    story.iter().for_each(|it| happen(&mut world, it));
    world
}

/// Everything is available again, and the spec is one that can be carried out.
pub(super) fn healed(mut world: World) -> World {
    (1..5).for_each(|version| world.register(&format!("churn-{version}"), version));
    world.memory.trail_unavailable_since = None;
    metrics(&mut world, 0);
    world.steps(json!([{"weight": "10%", "for": "1m"}]));
    if world.resource.spec.traffic.is_some() {
        world.resource.spec.traffic = World::new().resource.spec.traffic;
    }
    // Nobody asks for anything any more, but to go on.
    world.edit(|spec| spec.suspend = None);
    world.resource.metadata.annotations = None;
    if world.status().attempt.is_some_and(|it| hold::of(&it).is_some()) {
        world.request_at("resume", "-", "heal");
        world.pass();
    }
    world.come_to_rest();
    world
}

/// A world without the times and counters that depend on how it got there.
/// How many attempts it took depends on how it got there, too, where pods of a fallback may come up before or after
/// the next candidate has begun: `counted` says that it does not.
fn essence(world: &World, counted: bool) -> String {
    let status = world.status();
    let replicas = |it: &k8s_openapi::api::apps::v1::Deployment| it.spec.as_ref().and_then(|spec| spec.replicas);
    let pods: BTreeMap<_, _> = world.children.deployments.iter().map(|(name, it)| (name, replicas(it))).collect();
    let selects: Vec<_> =
        world.children.services.iter().map(|(name, it)| (name, it.spec.as_ref().map(|spec| &spec.selector))).collect();
    let attempt = status.attempt.map(|it| (if counted { it.id } else { it.revision }, it.state, it.weight, it.cause));
    let roles: Vec<_> = status.revisions.iter().map(|it| (&it.revision, it.role)).collect();
    format!("{:?} {attempt:?} {roles:?} {pods:?} {selects:?} {:?}", status.stable, world.weights())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_healed_world_comes_to_rest_and_stays_there(story in story()) {
        let mut world = healed(world_after(&story));
        for _ in 0..3 {
            world.advance(3600);
            prop_assert!(is_nothing(&world.pass()));
        }
        let status = world.status();
        prop_assert!(world.children.proposed.is_none());
        if let (Some(route), Some(traffic)) = (&world.children.route, &world.resource.spec.traffic) {
            prop_assert_eq!(route::gateway(route), Some(traffic.gateway.clone()));
        }
        let served = status.stable.as_ref().is_some_and(|it| it.revision == world.target());
        // Perhaps in an earlier attempt: one that was superseded since refuses nothing.
        let refused = status.taken_back.iter().any(|it| it.revision == world.target());
        prop_assert!(served || refused, "{status:#?}");
        prop_assert!(status.unrecorded.is_empty());
    }

    #[test]
    fn a_world_that_stands_still_is_looked_at_again_only_when_something_is_due(story in story(), later in 0_i64..9000) {
        let mut world = world_after(&story);
        for wait in [0, later] {
            world.advance(wait);
            let still = (0..50).map(|_| world.pass()).find(is_nothing);
            // The times of stories are whole seconds.
            let again = still.expect("nothing more to write").requeue;
            prop_assert!(again.is_none_or(|it| it >= Duration::from_secs(1)), "{again:?}: {:#?}", world.status());
        }
    }

    #[test]
    fn every_decision_that_took_effect_is_on_the_record_once_and_in_order(story in story()) {
        let world = healed(world_after(&story));
        prop_assert_eq!(world.trail.recorded(), world.trail.effects());
        prop_assert!(world.trail.open().is_empty(), "{:#?}", world.trail.open());
        let numbers: Vec<i64> = (1..=world.status().sequence).collect();
        prop_assert_eq!(world.trail.numbers(), numbers);
    }

    #[test]
    fn dying_after_any_write_of_a_pass_ends_in_the_same_world(story in story(), writes in 0_usize..10) {
        let world = world_after(&story);
        let whole = world.clone();
        let plan = world.decide();
        let [mut died, mut whole] = [world, whole];
        died.carry_out(&plan, writes);
        died.restart();
        whole.carry_out(&plan, usize::MAX);
        // Time stands still between the two lives.
        died.pass();
        let counted = !matches!(story.first(), Some(Happening::OnProbation | Happening::CalledBack));
        prop_assert_eq!(essence(&healed(died), counted), essence(&healed(whole), counted));
    }

    #[test]
    fn decide_never_panics_whatever_the_status_says(story in story(), times in prop::collection::vec(any::<i64>(), 6), state in 0_usize..8, now in any::<i64>()) {
        let mut world = world_after(&story);
        if let Some(status) = world.resource.status.as_mut() {
            let at = |index: usize| chrono::DateTime::from_timestamp_millis(times[index]).unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC);
            let states = [AttemptState::Starting, AttemptState::Shifting, AttemptState::Observing, AttemptState::Promoting,
                AttemptState::RollingBack, AttemptState::Promoted, AttemptState::RolledBack, AttemptState::Failed];
            status.sequence = times[0];
            status.attempts = times[1];
            for revision in &mut status.revisions {
                revision.draining_since = Some(at(2));
            }
            for verdict in &mut status.verdicts {
                (verdict.time, verdict.silent_since, verdict.failures) = (at(3), Some(at(4)), i32::MAX);
            }
            if let Some(it) = status.probation.as_mut() {
                it.exposed.iter_mut().for_each(|it| (it.since, it.until) = (at(1), (now % 2 == 0).then_some(at(2))));
                it.verdicts.iter_mut().for_each(|it| it.time = at(3));
                it.recall = (now % 3 == 0).then(|| Recall { cause: Cause::Reverted, message: String::new(), at: at(4) });
            }
            if let Some(attempt) = status.attempt.as_mut() {
                (attempt.state, attempt.entered_at) = (states[state], at(5));
                (attempt.observing_since, attempt.measured_at) = (Some(at(0)), Some(at(1)));
                (attempt.paused_since, attempt.held_until) = ((now % 2 == 0).then_some(at(2)), Some(at(3)));
                attempt.suspended_since = (now % 5 == 0).then_some(at(4));
                attempt.skip_steps = now % 3 == 0;
                (attempt.stable_replicas, attempt.weight) = (i32::MIN, Weight::from_hundredths(times[2].unsigned_abs() as u16));
            }
        }
        world.now = chrono::DateTime::from_timestamp_millis(now).unwrap_or(chrono::DateTime::<chrono::Utc>::MIN_UTC);
        drop(world.decide());
        drop(super::super::decide(&world.resource, &Observed::default(), world.now));
        world.analysis(json!({"metrics": [guardrail()], "failureLimit": 100}));
        drop(world.decide());
        world.analysis(json!({"metrics": [guardrail(), late()]}));
        drop(world.decide());
    }
}
