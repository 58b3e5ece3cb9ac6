//! Numbers that Jobs compute.

use serde_json::{Value, json};

use super::story::Story;
use super::world::{World, guardrail, is_nothing};
use crate::api::model_deployment::{AttemptState, Cause, ModelDeploymentStatus, Phase, Verdict, VerdictKind};
use crate::decide::model_deployment::inquiry::Subject::{Candidate, Stable};
use crate::decide::{Child, ChildKind, Measurement, Op, Plan};

const GOOD: &str = r#"{"value": 0.93}"#;
const BAD: &str = r#"{"value": 0.5}"#;

pub(super) fn job() -> Value {
    json!({"template": {"spec": {"containers": [{"name": "judge", "image": "registry/judge:1"}]}}, "timeout": "5m"})
}

/// The area under the curve of a holdout, at least 80 %.
pub(super) fn judged_by_a_job(role: &str) -> Value {
    json!({"name": "holdout-auc", "role": role, "threshold": {"min": "80%"}, "job": job()})
}

/// Not much less than the stable revision's.
pub(super) fn compared_by_jobs() -> Value {
    json!({"name": "lift", "role": "Guardrail", "compare": {"to": "Stable", "minRatio": "0.9"}, "job": job()})
}

/// `churn-2` is watched at 5 % since this very moment, and judged by this as well.
fn watched(metric: Value) -> World {
    let mut world = World::serving();
    world.analysis(json!({"metrics": [guardrail(), metric]}));
    world.deploy("churn-2");
    for _ in 0..4 {
        world.pass();
        world.all_is_well();
    }
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Observing, "{:#?}", world.attempt());
    world
}

fn verdict(world: &World, metric: &str) -> Option<Verdict> {
    world.status().verdicts.into_iter().find(|it| it.metric == metric)
}

fn auc(world: &World) -> VerdictKind {
    verdict(world, "holdout-auc").expect("a verdict").verdict
}

fn created(plan: &Plan<ModelDeploymentStatus>) -> Vec<String> {
    let jobs = plan.ops.iter().filter_map(|op| match op {
        Op::Create(child @ Child::Job(_)) => Some(child.name().to_owned()),
        _ => None,
    });
    jobs.collect()
}

fn later(world: &mut World, seconds: i64) -> Plan<ModelDeploymentStatus> {
    world.advance(seconds);
    world.pass()
}

#[test]
fn a_candidate_is_promoted_on_the_word_of_its_jobs() {
    let mut story = Story::of(
        "Jobs compute an objective; each is deleted when its number is judged",
        watched(judged_by_a_job("Objective")),
    );
    story.pass("a Job is under way");
    story.world.advance(60);
    story.pass("it takes its time, and the guardrail does not wait for it");
    story.world.jobs_say(Candidate, GOOD);
    story.pass("it has ended");
    story.world.advance(540);
    story.pass("the time of the step is over, and the next Job is due");
    let mut world = story.world.clone();
    story.is("job-promotes");
    for _ in 0..80 {
        world.all_is_well();
        world.jobs_say(Candidate, GOOD);
        later(&mut world, 30);
    }
    assert_eq!(world.status().phase, Phase::Stable);
    assert_eq!(world.status().stable.unwrap().name, "churn-2");
    assert_eq!(world.jobs(), []);
}

#[test]
fn a_candidate_is_rolled_back_when_its_jobs_say_so() {
    let mut story = Story::of(
        "A Job computes a guardrail, and it is breached twice in a row",
        watched(judged_by_a_job("Guardrail")),
    );
    story.world.jobs_say(Candidate, BAD);
    story.pass("the first Job says no");
    story.world.advance(30);
    story.pass("the next one begins");
    story.world.jobs_say(Candidate, BAD);
    story.pass("it says no, too");
    assert_eq!(story.world.attempt().cause, Some(Cause::GuardrailBreached));
    assert_eq!(story.world.jobs(), []);
    story.is("job-breaches");
}

#[test]
fn a_job_that_crashes_is_no_breach_and_stays_for_people_until_the_next_has_ended() {
    let mut story = Story::of("A Job crashes: no verdict, the weight is held", watched(judged_by_a_job("Guardrail")));
    story.world.jobs_crash(3);
    story.pass("it ended with exit code 3");
    story.world.advance(30);
    story.pass("the next one begins");
    story.world.jobs_say(Candidate, GOOD);
    story.pass("it has ended, and both go");
    let mut world = story.world.clone();
    story.is("job-crashes");
    for _ in 0..40 {
        world.all_is_well();
        world.jobs_crash(1);
        later(&mut world, 30);
        assert!(world.jobs().len() <= 2, "{:#?}", world.jobs());
    }
    let attempt = world.attempt();
    assert_eq!((attempt.state, attempt.weight.to_string()), (AttemptState::Observing, "5%".into()));
    assert_eq!(verdict(&world, "holdout-auc").unwrap().failures, 0);
    world.jobs_say(Candidate, GOOD);
    world.pass();
    assert_eq!(auc(&world), VerdictKind::Pass);
}

#[test]
fn crashes_count_as_silence_for_whom_that_is_an_outage() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    world.rollout(json!({"steps": [{"weight": "5%", "for": "1h"}], "onOutage": {"after": "2m", "do": "Rollback"}}));
    for _ in 0..8 {
        world.all_is_well();
        world.jobs_crash(1);
        later(&mut world, 30);
    }
    assert_eq!(world.attempt().cause, Some(Cause::MetricSourceOutage));
    assert_eq!(world.jobs(), []);
}

#[test]
fn a_single_job_that_hangs_is_no_outage_but_two_in_a_row_are() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    world.rollout(json!({"steps": [{"weight": "5%", "for": "1h"}], "onOutage": {"after": "2m", "do": "Rollback"}}));
    let given_up = |world: &mut World| {
        for _ in 0..10 {
            assert_eq!(world.attempt().cause, None);
            world.all_is_well();
            later(world, 30);
        }
        auc(world)
    };
    assert_eq!(given_up(&mut world), VerdictKind::ProviderError, "its timeout is longer than onOutage.after");
    assert_eq!(given_up(&mut world), VerdictKind::ProviderError);
    assert_eq!(world.attempt().cause, Some(Cause::MetricSourceOutage));
}

#[test]
fn a_job_that_ran_longer_than_the_interval_keeps_its_log_until_the_next_has_ended() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    let first = world.jobs()[0].0.clone();
    world.advance(100);
    world.jobs_crash(3);
    world.pass();
    let all: Vec<String> = world.jobs().into_iter().map(|it| it.0).collect();
    assert!(all.len() == 2 && all.contains(&first), "the next one is late already: {all:?}");
    assert!(verdict(&world, "holdout-auc").unwrap().message.contains("exit code 3"));
    world.jobs_say(Candidate, GOOD);
    world.pass();
    assert_eq!(world.jobs(), []);
}

#[test]
fn the_next_job_begins_an_interval_after_the_last_and_not_before_it_ended() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    let first = world.jobs();
    assert_eq!(first.len(), 1);
    assert_eq!(created(&later(&mut world, 29)), [""; 0]);
    assert_eq!(created(&later(&mut world, 61)), [""; 0], "it takes three intervals");
    assert_eq!(world.jobs(), first);
    world.jobs_say(Candidate, GOOD);
    let plan = world.pass();
    assert_eq!(verdict(&world, "holdout-auc").unwrap().time, first[0].1.moment, "it is about the moment it began");
    assert_eq!(created(&plan).len(), 1, "and the next one is late already");
    let second = world.jobs();
    assert_eq!(second.len(), 1, "{second:#?}");
    assert_eq!(second[0].1.moment, world.now, "what was missed is not made up for");
    world.jobs_say(Candidate, GOOD);
    assert_eq!(created(&world.pass()), [""; 0]);
    assert_eq!(world.jobs(), []);
    assert_eq!(created(&later(&mut world, 29)), [""; 0]);
    assert_eq!(created(&later(&mut world, 1)).len(), 1);
}

/// Though it was last judged at a time that is still to come, and one that crashed then is kept for people.
#[test]
fn a_clock_that_was_set_back_lets_the_next_job_begin_once_and_the_one_after_it_an_interval_later() {
    for (crashed, crashes) in [(true, false), (true, true), (false, true), (false, false)] {
        let mut world = watched(judged_by_a_job("Guardrail"));
        let ends = |it: &mut World, crashes| if crashes { it.jobs_crash(3) } else { it.jobs_say(Candidate, GOOD) };
        ends(&mut world, crashed);
        world.pass();
        world.advance(-106);
        let mut begun = Vec::new();
        for _ in 0..20 {
            begun.extend(created(&later(&mut world, 1)));
            ends(&mut world, crashes);
        }
        let what = format!("crashed: {crashed}, then: {crashes}");
        assert_eq!(begun.len(), 1, "{what}");
        assert!(is_nothing(&world.pass()), "{what}");
        assert!(verdict(&world, "holdout-auc").unwrap().time < world.now, "{what}");
        assert_eq!(world.jobs().len(), usize::from(crashes), "{what}");
    }
}

#[test]
fn a_job_waits_for_the_clock_if_that_starts_soon_and_only_one_that_began_after_it_ends_the_step() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    assert_eq!(Some(world.jobs()[0].1.moment), world.attempt().observing_since);
    world.jobs_say(Candidate, GOOD);
    let step = |world: &mut World| {
        world.gateway_accepts();
        world.pods_ready();
        world.jobs_say(Candidate, GOOD);
        later(world, 60);
    };
    world.until(|it| it.attempt().weight.to_string() != "5%", step);
    assert_eq!(world.attempt().state, AttemptState::Shifting);
    world.jobs_say(Candidate, GOOD);
    world.pass();
    assert_eq!(world.jobs_under_way(), [], "the clock has not started");
    later(&mut world, 30);
    let early = world.jobs_under_way();
    assert_eq!(early.len(), 1, "a guardrail does not wait for ever");
    world.all_is_well();
    later(&mut world, 1);
    let since = world.attempt().observing_since.expect("the clock has started");
    world.advance(600);
    world.jobs_say(Candidate, GOOD);
    world.measure("error-rate", Measurement::of(0.001));
    world.pass();
    assert!(verdict(&world, "holdout-auc").unwrap().time < since);
    assert_eq!(world.attempt().state, AttemptState::Observing, "it proves nothing about this weight");
    world.jobs_say(Candidate, GOOD);
    world.pass();
    assert_ne!(world.attempt().state, AttemptState::Observing, "{:#?}", world.status().verdicts);
}

#[test]
fn a_comparison_is_one_job_for_each_side_about_the_same_moment() {
    let mut world = watched(compared_by_jobs());
    let jobs = world.jobs();
    assert_eq!(jobs.len(), 2, "{jobs:#?}");
    assert_eq!(jobs[0].1.moment, jobs[1].1.moment);
    let (stable, candidate) = (world.status().stable.unwrap().revision, world.attempt().revision);
    assert_eq!(world.told(&jobs[0].0, "WERKBANK_REVISION"), candidate);
    assert_eq!(world.told(&jobs[1].0, "WERKBANK_REVISION"), stable);
    assert_eq!(world.told(&jobs[1].0, "WERKBANK_SUBJECT"), "Stable");
    assert_eq!(world.told(&jobs[0].0, "WERKBANK_WINDOW_END"), jobs[0].1.moment.timestamp().to_string());
    world.jobs_say(Candidate, r#"{"value": 0.5}"#);
    assert!(is_nothing(&world.pass()), "the other one is awaited");
    world.jobs_say(Stable, r#"{"value": 0.5}"#);
    world.pass();
    let judged = verdict(&world, "lift").unwrap();
    assert_eq!((judged.verdict, judged.stable_value.as_deref()), (VerdictKind::Pass, Some("0.5")));
    assert_eq!(world.jobs(), []);
}

#[test]
fn a_side_whose_job_is_missing_is_asked_about_the_same_moment() {
    let mut world = watched(compared_by_jobs());
    let jobs = world.jobs();
    world.jobs_say(Candidate, GOOD);
    world.children.jobs.remove(&jobs[1].0);
    later(&mut world, 7);
    assert_eq!(world.jobs(), jobs);
    world.children.jobs.remove(&jobs[1].0);
    later(&mut world, 300);
    let judged = verdict(&world, "lift").unwrap();
    assert_eq!(judged.verdict, VerdictKind::ProviderError, "{judged:?}");
}

#[test]
fn whoever_dies_before_the_caches_show_the_job_makes_the_same_again_and_no_other() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    let first = world.jobs();
    let seen = std::mem::take(&mut world.children.jobs);
    world.advance(100);
    let again = created(&world.decide());
    assert_eq!(again, [first[0].0.clone()], "the API server refuses a second of that name");
    world.children.jobs = seen;
    assert_eq!(created(&world.decide()), [""; 0]);
}

#[test]
fn a_verdict_that_was_not_written_is_found_again() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    world.jobs_say(Candidate, BAD);
    let plan = world.decide();
    world.carry_out(&plan, 0);
    world.restart();
    assert_eq!(verdict(&world, "holdout-auc"), None);
    world.pass();
    world.pass();
    let judged = verdict(&world, "holdout-auc").unwrap();
    assert_eq!((judged.verdict, judged.failures), (VerdictKind::Fail, 1), "once");
}

#[test]
fn a_job_that_does_not_end_is_given_up_after_its_time() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    assert!(later(&mut world, 299).requeue.is_some_and(|it| it.as_secs() <= 1), "its limit is waited for");
    assert_eq!(verdict(&world, "holdout-auc"), None);
    let first = world.jobs();
    later(&mut world, 1);
    let judged = verdict(&world, "holdout-auc").unwrap();
    assert_eq!(judged.verdict, VerdictKind::ProviderError);
    assert!(judged.message.contains("did not end within 5m"), "{}", judged.message);
    assert_ne!(world.jobs(), first);
}

#[test]
fn a_refused_job_is_a_source_that_does_not_answer_and_stands_in_nobodys_way() {
    let mut world = watched(json!({"name": "alone", "role": "Guardrail", "threshold": {"min": "80%"}, "job": job()}));
    world.analysis(json!({"metrics": [guardrail(), judged_by_a_job("Guardrail"), compared_by_jobs()]}));
    let wanted = created(&world.decide());
    assert_eq!(wanted.len(), 3);
    for refused in &wanted {
        let mut world = world.clone();
        world.refuses(ChildKind::Job, refused, "exceeded quota: jobs");
        let (metric, others) = if refused.contains("lift") { ("lift", 1) } else { ("holdout-auc", 2) };
        assert_eq!(created(&world.pass()).len(), others, "{refused}: the others' turn");
        let verdict = verdict(&world, metric).unwrap();
        assert_eq!((verdict.verdict, verdict.silent_since), (VerdictKind::ProviderError, Some(world.now)));
        assert!(verdict.message.contains("exceeded quota: jobs; raise the quota"), "{}", verdict.message);
        assert_eq!(created(&later(&mut world, 29)), [""; 0], "it is asked for again when it is due again");
        assert_eq!(created(&later(&mut world, 1)).len(), 3 - others);
    }
}

#[test]
fn a_job_that_cannot_be_deleted_is_told() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    world.jobs_say(Candidate, GOOD);
    let job = world.jobs()[0].0.clone();
    world.refuses(ChildKind::Job, &job, "no right");
    let conditions = world.decide().status.unwrap().conditions;
    let said = conditions.into_iter().find(|it| it.type_ == "Stalled").unwrap();
    assert_eq!(said.reason, "ChildRefused");
    assert!(said.message.contains("to delete Job churn-holdout-auc"), "{}", said.message);
}

#[test]
fn jobs_that_are_refused_for_long_are_an_outage() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    world.rollout(json!({"steps": [{"weight": "5%", "for": "1h"}], "onOutage": {"after": "2m", "do": "Rollback"}}));
    world.jobs_say(Candidate, GOOD);
    world.pass();
    for _ in 0..5 {
        assert_eq!(world.attempt().cause, None);
        world.all_is_well();
        world.advance(30);
        // The API server refuses each, and the loop decides again at once.
        let refused = created(&world.decide());
        assert_eq!(refused.len(), 1);
        world.refuses(ChildKind::Job, &refused[0], "exceeded quota: jobs");
        world.pass();
        world.memory.refused = None;
    }
    assert_eq!(world.attempt().cause, Some(Cause::MetricSourceOutage));
}

#[test]
fn a_job_waits_for_no_other_child_that_is_refused() {
    let mut world = watched(guardrail());
    world.edit(|spec| spec.replicas = Some(9));
    world.analysis(json!({"metrics": [guardrail(), judged_by_a_job("Guardrail")]}));
    world.refuses(ChildKind::Deployment, "churn-s1-0", "exceeded quota: pods");
    let plan = world.decide();
    assert!(matches!(plan.ops.first(), Some(Op::Create(Child::Job(_)))), "{:?}", plan.ops);
    assert!(plan.ops.len() > 1);
    // But weight 0 waits for nothing.
    world.request("abort", "n1");
    let plan = world.decide();
    assert!(matches!(plan.ops.first(), Some(Op::Apply(Child::HttpRoute(_), _))), "{:?}", plan.ops);
}

#[test]
fn where_jobs_may_not_be_seen_none_is_made_or_deleted_and_all_else_goes_on() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    world.children.jobs_hidden = true;
    world.children.jobs.clear();
    for value in [0.001, 0.5, 0.5] {
        world.all_is_well();
        world.measure("error-rate", Measurement::of(value));
        let plan = later(&mut world, 30);
        assert!(plan.ops.iter().all(|op| !matches!(op, Op::Create(Child::Job(_)) | Op::Delete(ChildKind::Job, ..))));
        let auc = verdict(&world, "holdout-auc").unwrap();
        assert_eq!(auc.verdict, VerdictKind::ProviderError);
        assert!(auc.message.contains("may not list and watch Jobs"), "{}", auc.message);
    }
    assert_eq!(world.attempt().cause, Some(Cause::GuardrailBreached));
}

#[test]
fn abort_waits_for_no_job_and_takes_it_along() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    world.request("abort", "n1");
    let plan = world.pass();
    assert_eq!(world.attempt().state, AttemptState::RollingBack);
    assert!(matches!(plan.ops.first(), Some(Op::Apply(Child::HttpRoute(_), _))), "{:?}", plan.ops);
    assert!(matches!(plan.ops.last(), Some(Op::Delete(ChildKind::Job, ..))), "{:?}", plan.ops);
    assert_eq!(world.jobs(), []);
}

#[test]
fn a_changed_metric_has_another_job() {
    let mut world = watched(judged_by_a_job("Guardrail"));
    let first = world.jobs();
    let mut changed = judged_by_a_job("Guardrail");
    changed["threshold"]["min"] = "70%".into();
    world.analysis(json!({"metrics": [guardrail(), changed]}));
    world.pass();
    let second = world.jobs();
    assert_eq!(second.len(), 1);
    assert_ne!(first[0].0, second[0].0);
    world.analysis(json!({"metrics": [guardrail()]}));
    world.pass();
    assert_eq!(world.jobs(), []);
}

#[test]
fn a_suspended_candidate_is_judged_on_and_a_paused_one_too() {
    for hold in ["suspend", "pause"] {
        let mut world = watched(judged_by_a_job("Guardrail"));
        match hold {
            "suspend" => world.edit(|spec| spec.suspend = Some(true)),
            _ => world.request_at("pause", "0", "n1"),
        }
        for _ in 0..3 {
            world.jobs_say(Candidate, BAD);
            later(&mut world, 30);
        }
        assert_eq!(world.attempt().cause, Some(Cause::GuardrailBreached), "{hold}");
    }
}

#[test]
fn its_pods_stay_in_the_region() {
    let mut world = watched(guardrail());
    let nodes = [("topology.kubernetes.io/region".to_owned(), vec!["eu-1".to_owned()])].into();
    world.settings.regions = [("eu".to_owned(), nodes)].into();
    world.analysis(json!({"metrics": [guardrail(), judged_by_a_job("Guardrail")]}));
    world.resource.spec.region = Some("eu".into());
    let job = |world: &World| {
        let all = world.decide().ops;
        let mut jobs = all.into_iter().filter_map(|op| match op {
            Op::Create(Child::Job(job)) => Some(serde_json::to_string(&job).unwrap()),
            _ => None,
        });
        jobs.next()
    };
    assert!(job(&world).is_none_or(|it| it.contains("eu-1")));
    world.resource.spec.region = Some("moon".into());
    assert_eq!(job(&world), None, "nobody knows where its data may go");
}

/// Returns within an hour, by a Job.
fn promoted_with_a_late_job() -> World {
    let mut world = watched(
        json!({"name": "returns", "role": "Objective", "delay": "1h", "threshold": {"min": "80%"}, "job": job()}),
    );
    let step = |world: &mut World| {
        world.all_is_well();
        later(world, 60);
        assert_eq!(world.jobs(), [], "it gates no step");
    };
    world.until(|it| it.status().probation.is_some(), step);
    world.all_is_well();
    world.pass();
    world
}

#[test]
fn a_revision_on_probation_is_judged_by_a_job_about_its_window() {
    for (message, phase) in [(GOOD, Phase::Stable), (BAD, Phase::RollingBack)] {
        let mut world = promoted_with_a_late_job();
        let probation = world.status().probation.unwrap();
        let window = (probation.exposed[0].since, probation.exposed.last().unwrap().until.unwrap());
        while world.jobs().is_empty() {
            world.all_is_well();
            later(&mut world, 60);
            assert!(world.now < window.1 + chrono::TimeDelta::hours(2), "no Job");
        }
        let (name, purpose) = world.jobs()[0].clone();
        assert!(purpose.on_probation && world.now >= window.1 + chrono::TimeDelta::hours(1));
        assert_eq!(world.told(&name, "WERKBANK_WINDOW_START"), window.0.timestamp().to_string());
        assert_eq!(world.told(&name, "WERKBANK_WINDOW_END"), window.1.timestamp().to_string());
        world.jobs_say(Candidate, message);
        world.pass();
        assert_eq!(world.status().phase, phase, "{:#?}", world.status().probation);
        assert_eq!(world.jobs(), []);
    }
}
