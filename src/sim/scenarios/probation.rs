//! Outcomes that arrive late, and what is kept until they do.

use serde_json::{Value, json};

use super::super::scenario::{
    LATE, Scenario, annotate_namespace, asked_of, bad, delete, deploy, edit, good, guardrail, late, request,
    request_here, request_of_probation,
};
use super::super::view::{ENTRIES, MODELS, NAME, View};
use super::children::is_gone;
use super::upgraded;
use crate::api::model_deployment::AttemptState::{Observing, Promoting, RolledBack};
use crate::decide::Measurement;

/// The old revision loses its pods within two minutes; guardrails are measured so seldom that nothing waits for them.
fn rollout() -> Value {
    json!({"steps": [{"weight": "5%", "for": "2m"}, {"weight": "50%", "for": "2m"}], "keepStable": "2m",
        "progressDeadline": "25m"})
}

fn judged_late(name: &'static str) -> Scenario {
    let analysis = json!({"metrics": [guardrail(), late()]});
    upgraded(Scenario::named(name).spec(json!({"rollout": rollout(), "analysis": analysis})))
}

/// Those whom `churn-2` has served do not come back.
fn second_fails_late(view: &View, query: &str) -> Measurement {
    if query.starts_with(LATE) && asked_of(view, query) == "churn-2" { bad() } else { good() }
}

/// A guardrail speaks against `churn-2` once that is set.
fn second_gets_bad(view: &View, query: &str) -> Measurement {
    let bad_one = view.has("second-is-bad") && asked_of(view, query) == "churn-2";
    if bad_one && !query.starts_with(LATE) { bad() } else { good() }
}

/// Nobody knows who came back before `outcomes` is set.
fn unknown_at_first(view: &View, query: &str) -> Measurement {
    match query.starts_with(LATE) && !view.has("outcomes") {
        true => Measurement::NoData("no rows".into()),
        false => good(),
    }
}

fn is_asleep(view: &View) -> bool {
    view.is_on_probation() && view.fallback_sleeps()
}

/// It serves again, and nothing else is there any more.
fn is_back(view: &View) -> bool {
    view.is_in(RolledBack) && view.serves("churn-1") && view.status().revisions.len() == 1
}

/// `churn-1` has no pods while that is set.
fn first_stays_away(view: &View, entry: &str, wanted: i64) -> i64 {
    if entry == "churn-1" && view.has("away") { 0 } else { wanted }
}

fn is_called_back(view: &View) -> bool {
    view.status().probation.is_some_and(|it| it.recall.is_some())
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        judged_late("late_outcomes_good").until(|it| it.serves("churn-2") && it.is_at_peace() && it.is_told("Stable")),
        judged_late("late_outcomes_bad").metrics(second_fails_late).until(is_back),
        judged_late("late_outcomes_that_are_late_themselves")
            .metrics(unknown_at_first)
            .when(
                |it| it.status().probation.is_some_and(|it| it.verdicts.iter().any(|it| it.metric == "returns")),
                |it| it.set("outcomes"),
            )
            .until(|it| it.serves("churn-2") && it.is_at_peace() && it.is_told("Stable")),
        judged_late("a_guardrail_breached_on_probation")
            .metrics(second_gets_bad)
            .when(is_asleep, |it| it.set("second-is-bad"))
            .until(is_back),
        judged_late("deleted_on_probation").when(is_asleep, delete(MODELS, NAME)),
        judged_late("the_fallbacks_entry_is_deleted_on_probation")
            .when(|it| is_asleep(it) && it.is_kept("churn-1"), delete(ENTRIES, "churn-1"))
            .until(|it| it.serves("churn-2") && it.is_at_peace() && is_gone(it, "churn-1")),
        judged_late("aborted_on_probation").when(is_asleep, request("abort")).until(is_back),
        judged_late("aborted_on_probation_before_it_sleeps")
            .when(|it| it.is_on_probation() && it.keeps_another(), request("abort"))
            .until(is_back),
        judged_late("aborted_on_probation_by_one_and_too_late_by_another")
            .when(is_asleep, request("abort"))
            .when(is_called_back, request_of_probation("abort", "n2"))
            .until(is_back),
        judged_late("reverted_on_probation").when(is_asleep, deploy("churn-1")).until(is_back),
        judged_late("reverted_on_probation_and_back_again")
            .pods(first_stays_away)
            .when(is_asleep, |it| {
                it.set("away");
                deploy("churn-1")(it);
            })
            .when(is_called_back, deploy("churn-2"))
            .when(|it| it.is_on_probation(), |it| it.unset("away"))
            .until(|it| it.serves("churn-2") && it.is_at_peace() && it.is_told("Stable")),
        judged_late("promoted_by_hand_on_probation")
            .when(is_asleep, request_here("promote", "n1"))
            .until(|it| it.serves("churn-2") && it.is_at_peace() && it.status().probation.is_none()),
        judged_late("a_fallback_that_comes_up_late")
            .metrics(second_fails_late)
            .pods(first_stays_away)
            .when(is_asleep, |it| it.set("away"))
            .when(|it| it.is_stalled_by("ProgressDeadlineExceeded"), |it| it.unset("away"))
            .until(is_back),
        judged_late("a_third_while_the_second_is_on_probation")
            .when(is_asleep, deploy("churn-3"))
            .until(|it| it.serves("churn-3") && it.is_at_peace() && it.is_told("Stable")),
        judged_late("a_third_is_aborted_while_the_second_is_on_probation_and_then_that")
            .when(is_asleep, deploy("churn-3"))
            .when(|it| it.is_at(Observing, "5%"), request("abort"))
            .when(|it| it.is_in(RolledBack) && it.is_on_probation(), request_of_probation("abort", "n2"))
            .until(|it| it.serves("churn-1") && it.status().revisions.len() == 1 && it.is_in(RolledBack)),
        judged_late("the_second_fails_late_under_a_third")
            .metrics(second_fails_late)
            .when(is_asleep, |it| {
                edit(json!({"modelRef": {"name": "churn-3"},
                    "rollout": {"steps": [{"weight": "5%", "for": "24h"}], "keepStable": "2m", "progressDeadline": "25m"}}))(it);
            })
            .when(|it| it.serves_of("churn-1"), edit(json!({"rollout": rollout()})))
            .until(|it| it.serves("churn-3") && it.is_at_peace() && it.is_told("Stable")),
        judged_late("the_second_fails_late_under_a_third_with_all_traffic_that_is_aborted")
            .metrics(second_fails_late)
            .when(is_asleep, deploy("churn-3"))
            .when(|it| it.is_in(Promoting) && it.status().attempts == 3, edit(json!({"suspend": true})))
            .when(|it| is_called_back(it) && it.has_pods_of("churn-1"), request("abort"))
            .when(|it| it.serves("churn-1"), edit(json!({"suspend": false})))
            .until(|it| it.serves("churn-1") && it.status().revisions.len() == 1 && it.is_in(RolledBack)),
        judged_late("a_third_without_steps_keeps_the_first")
            .spec(json!({"analysis": {"interval": "10m", "metrics": [guardrail(), late()]}}))
            .when(is_asleep, edit(json!({"modelRef": {"name": "churn-3"}, "rollout": {"steps": null}})))
            .when(|it| it.serves("churn-3") && it.is_on_probation() && it.status().revisions.len() == 2, request("abort"))
            .until(is_back),
        judged_late("suspended_by_the_namespace_and_judged_late")
            .metrics(second_fails_late)
            .when(is_asleep, annotate_namespace(json!("true")))
            .when(is_back, annotate_namespace(Value::Null))
            .until(|it| is_back(it) && !it.is_told("Suspended")),
        upgraded(Scenario::named("suspended_by_the_namespace_and_let_go"))
            .when(|it| it.is_at(Observing, "5%"), annotate_namespace(json!("yes")))
            .when(|it| it.is_held() && it.is_proven(), annotate_namespace(json!("false")))
            .until(|it| it.serves("churn-2")),
        Scenario::named("suspended_by_the_namespace_before_it_begins")
            .when(|it| it.serves("churn-1"), annotate_namespace(json!("true")))
            .when(|it| it.is_told("Suspended"), deploy("churn-2"))
            .when(|it| it.is_pending(), annotate_namespace(Value::Null))
            .until(|it| it.serves("churn-2")),
    ]
}
