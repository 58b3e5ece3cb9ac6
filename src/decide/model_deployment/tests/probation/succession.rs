//! The next candidate comes while a revision is on probation.

use super::*;

#[test]
fn a_new_candidate_that_is_taken_back_leaves_the_revision_on_probation_where_it_is() {
    let mut world = asleep();
    let (old, late) = (first(&world), stable(&world));
    world.begins("churn-3");
    assert_eq!(world.attempt().weight.to_string(), "5%");
    world.request("abort", "n1");
    settle(&mut world);
    assert_eq!((stable(&world), world.attempt().state), (late.clone(), AttemptState::RolledBack));
    let probation = world.status().probation.unwrap();
    assert_eq!((probation.revision, probation.fallback.revision), (late, old));
}

#[test]
fn a_rollback_does_not_wait_for_the_record_of_what_is_proven_meanwhile() {
    let mut world = asleep();
    world.begins("churn-3");
    world.measure("hit-rate", Measurement::of(0.06));
    world.measure("error-rate", Measurement::of(0.2));
    let failures = |world: &World| world.status().verdicts.iter().map(|it| it.failures).max().unwrap_or_default();
    while failures(&world) < 1 {
        world.advance(30);
        world.pass();
    }
    world.advance(3600);
    let plan = world.decide();
    assert!(plan.entries.is_empty() && plan.status.unwrap().unrecorded.iter().any(|it| it.decision == "RollBack"));
    world.pass();
    world.all_is_well();
    settle(&mut world);
    assert!(world.status().probation.is_none(), "it is proven a little later");
}

#[test]
fn a_new_candidate_that_is_promoted_keeps_the_last_proven_revision_and_is_compared_with_the_one_before_it() {
    let mut world = asleep();
    let (old, second) = (first(&world), stable(&world));
    promote(&mut world, "churn-3");
    let probation = world.status().probation.expect("on probation");
    assert_eq!((probation.baseline, probation.fallback.revision), (second.clone(), old.clone()));
    assert_eq!(role_of(&world, &old), Some(RevisionRole::Fallback));
    assert!(!is_proven(&world, &second), "it was replaced before its outcomes were there");
    let mut compared = world.clone();
    compared.analysis(json!({"metrics": [guardrail(), tested()]}));
    compared.advance(3600);
    let policy = Policy::read(&compared.resource.spec, &compared.shared_metrics);
    let due = measure::due(&compared.resource, &policy, &compared.status(), &Asked::default(), compared.now);
    let queries = due.iter().filter(|it| it.topic.metric.as_deref() == Some("hit-rate")).flat_map(|it| &it.queries);
    let of_stable: Vec<String> =
        queries.filter(|it| it.subject == Subject::Stable).map(|it| format!("{:?}", it.question)).collect();
    assert!(!of_stable.is_empty());
    assert!(of_stable.iter().all(|it| it.contains(&second) && !it.contains(&old)), "{of_stable:?}");
    outcomes(&mut world, 0.02);
    settle(&mut world);
    assert_eq!(stable(&world), old);
}
