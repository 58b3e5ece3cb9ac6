//! What can happen to a world: users, cluster, gateway, metric source, and the operator's own end.

use std::sync::LazyLock;

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;

use super::rules::checked_pass;
use crate::api::model_deployment::{AttemptState, OnRevocation};
use crate::api::model_registry_entry::Lifecycle;
use crate::api::{Approval, Weight, labels};
use crate::decide::Measurement;
use crate::decide::approval::guard::Guard;
use crate::decide::model_deployment::inquiry::Subject;
use crate::decide::model_deployment::request;
use crate::decide::model_deployment::tests::jobs::{compared_by_jobs, job, judged_by_a_job};
use crate::decide::model_deployment::tests::world::{World, guardrail};

/// Something that happens to a world.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Pass,
    Deploy(u8),
    Replicas(i32),
    /// Weights, and whether an owner has to approve them.
    Steps(Vec<(u16, bool)>),
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
    /// `spec.lifecycle` of an entry is edited; one that is revoked stays so.
    EntryIs(u8, Lifecycle),
    /// An entry is registered anew, so that two roles have to approve it.
    EntryAsks(u8),
    /// Or so that it may be used for this alone, and not once its data is half an hour old, if that matters.
    EntryAllows(u8, &'static str, bool),
    /// `spec.purpose` is edited.
    UsedFor(Option<&'static str>),
    /// Somebody says something of an entry in a role.
    Says(u8, &'static str, &'static str),
    /// Or of the next step that is to be approved.
    SaysOfStep(&'static str),
    /// What was said last is taken back.
    TakenBack,
    /// The admission policies are there, or not.
    Guarded(bool),
    /// `spec.onRevocation` is edited.
    IfRevoked(OnRevocation),
    /// The operator dies after so many writes of a pass.
    Crash(usize),
    /// Somebody else writes between the decision and its status write.
    Conflict,
}

pub(super) fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        12 => Just(Pass),
        3 => (1_u8..5).prop_map(Deploy),
        1 => (0_i32..6).prop_map(Replicas),
        1 => prop::collection::vec((0_u16..10_001, prop::bool::weighted(0.2)), 0..4).prop_map(Steps),
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
        2 => (1_u8..5, prop::sample::select(&[Lifecycle::Revoked, Lifecycle::Deprecated, Lifecycle::Active][..]))
            .prop_map(|(version, it)| EntryIs(version, it)),
        1 => (1_u8..5).prop_map(EntryAsks),
        1 => (1_u8..5, purpose(), any::<bool>()).prop_map(|(version, purpose, ages)| EntryAllows(version, purpose, ages)),
        1 => prop::option::of(purpose()).prop_map(UsedFor),
        3 => (1_u8..5, prop::sample::select(&["technical", "business"][..]), decision())
            .prop_map(|(version, role, decision)| Says(version, role, decision)),
        2 => decision().prop_map(SaysOfStep),
        1 => Just(TakenBack),
        1 => prop::bool::weighted(0.8).prop_map(Guarded),
        1 => prop::sample::select(&[OnRevocation::StopServing, OnRevocation::Keep][..]).prop_map(IfRevoked),
        1 => prop::option::of(0_i32..6).prop_map(Edited),
        3 => (0_usize..6).prop_map(Crash),
        2 => Just(Conflict),
    ]
}

fn purpose() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("retention"), 1 => Just("ads")]
}

fn decision() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("Approved"), 1 => Just("Rejected")]
}

/// The API server has one Approval of a name.
fn says(world: &mut World, say: impl FnOnce(&mut World)) {
    let before = world.approvals.len();
    say(world);
    let name = |it: &Approval| it.metadata.name.clone();
    if world.approvals.iter().take(before).any(|it| name(it) == world.approvals.last().and_then(|it| name(it))) {
        world.approvals.pop();
    }
}

pub(super) fn happen(world: &mut World, it: &Happening) {
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
            let step = |(weight, approved): &(u16, bool)| {
                let mut it = json!({"weight": Weight::from_hundredths(*weight).to_string(), "for": "1m"});
                if *approved {
                    it["approval"] = json!({"role": "owner"});
                }
                it
            };
            world.steps(steps.iter().map(step).collect());
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
        Happening::EntryIs(version, lifecycle) => {
            let name = format!("churn-{version}");
            if world.lifecycles.get(&name) != Some(&Lifecycle::Revoked) {
                world.lifecycle(&name, *lifecycle);
            }
        }
        Happening::EntryAsks(version) => {
            world.register(&format!("churn-{version}"), *version);
            world.asks_for(&format!("churn-{version}"), &["technical", "business"]);
        }
        Happening::EntryAllows(version, purpose, ages) => {
            let (name, as_of) = (format!("churn-{version}"), world.now.format("%FT%TZ").to_string());
            let source = json!({"name": "orders", "personalData": false, "asOf": as_of, "maxAge": "30m"});
            let sources = if *ages { json!([source]) } else { json!([]) };
            world.register(&name, *version);
            world.registers(&name, json!({"governance": {"purposes": [purpose]}, "dataSources": sources}));
        }
        Happening::UsedFor(purpose) => world.edit(|spec| spec.purpose = purpose.map(Into::into)),
        Happening::Says(version, role, decision) => {
            let entry = format!("churn-{version}");
            if world.entries.contains_key(&entry) {
                let by = if *role == "technical" { "ben" } else { "carla" };
                says(world, |world| world.says(&entry, role, decision, by));
            }
        }
        Happening::SaysOfStep(decision) => {
            if world.status().attempt.is_some_and(|it| !it.approvals.is_empty()) {
                says(world, |world| world.says_of_step(decision, "olga"));
            }
        }
        Happening::TakenBack => drop(world.approvals.pop()),
        Happening::Guarded(guarded) => {
            world.guard =
                if *guarded { Guard::Ready(DateTime::UNIX_EPOCH) } else { Guard::NotReady("it is not there".into()) };
        }
        Happening::IfRevoked(it) => world.edit(|spec| spec.on_revocation = Some(*it)),
        Happening::EntryBack(version) => world.register(&format!("churn-{version}"), *version),
    }
}

pub(super) fn metrics(world: &mut World, kind: u8) {
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

/// Complaints stay below 1 %, and take half an hour to arrive.
pub(super) fn late() -> serde_json::Value {
    late_by("30m")
}

pub(in super::super) fn late_by(delay: &str) -> serde_json::Value {
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
