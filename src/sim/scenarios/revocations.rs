//! Entries are revoked, or deprecated, whatever else is going on.

use serde_json::json;

use super::super::scenario::{
    Scenario, bad, delete, deploy, edit, good, guardrail, late, lifecycle, request, request_here, revoke,
};
use super::super::view::{NAME, ROUTES, View};
use super::children::somebodys_route;
use super::{canary, upgraded};
use crate::api::model_deployment::AttemptState::{
    Failed, Observing, Promoting, RolledBack, RollingBack, Shadowing, Shifting, Starting,
};

/// `churn-2` serves, and what served before keeps its pods.
fn kept(name: &'static str) -> Scenario {
    upgraded(
        Scenario::named(name).spec(json!({"rollout": {"steps": [{"weight": "50%", "for": "1m"}], "keepStable": "6h"}})),
    )
}

/// `churn-2` is on probation, and what it would go back to has no pods any more.
fn on_probation(name: &'static str) -> Scenario {
    let rollout = json!({"steps": [{"weight": "50%", "for": "1m"}], "keepStable": "1m"});
    upgraded(Scenario::named(name).spec(json!({"rollout": rollout, "analysis": {"metrics": [guardrail(), late()]}})))
}

/// A canary that ends in the same place if it is promoted before somebody hears of what was revoked.
fn kept_canary(name: &'static str) -> Scenario {
    let steps = json!([{"weight": "5%", "for": "2m"}, {"weight": "50%", "for": "2m"}]);
    canary(name).spec(json!({"rollout": {"steps": steps, "keepStable": "6h"}}))
}

fn keep(scenario: Scenario) -> Scenario {
    scenario.spec(json!({"onRevocation": "Keep"}))
}

fn nothing_serves(view: &View) -> bool {
    view.status().stable.is_none() && view.is_in(Failed) && view.pods_of("churn-1") + view.pods_of("churn-2") == 0
}

pub(super) fn all() -> Vec<Scenario> {
    [candidates(), stable(), beside_attempts(), keeps(), kept_ones(), deprecated()].into_iter().flatten().collect()
}

fn candidates() -> Vec<Scenario> {
    vec![
        kept_canary("candidate_revoked")
            .when(|it| it.is_at(Observing, "5%"), revoke("churn-2"))
            .until(|it| it.is_in(RolledBack)),
        kept_canary("candidate_revoked_while_starting")
            .when(|it| it.is_in(Starting), revoke("churn-2"))
            .until(|it| it.is_in(RolledBack)),
        kept_canary("candidate_revoked_while_shifting")
            .when(|it| it.is_at(Shifting, "50%"), revoke("churn-2"))
            .until(|it| it.is_in(RolledBack)),
        kept_canary("candidate_revoked_while_promoting")
            .when(|it| it.is_in(Promoting), revoke("churn-2"))
            .until(|it| it.is_in(RolledBack)),
        kept_canary("candidate_revoked_and_followed_by_another")
            .when(|it| it.is_at(Observing, "5%"), revoke("churn-2"))
            .when(|it| it.is_in(RolledBack), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        Scenario::named("first_deployment_revoked")
            .when(|it| it.is_in(Promoting) && it.has_route(), revoke("churn-1"))
            .until(|it| it.is_in(Failed)),
        Scenario::named("first_deployment_revoked_without_a_route")
            .given(ROUTES, somebodys_route())
            .when(|it| it.is_in(Promoting) && it.is_told("ChildNameTaken"), revoke("churn-1"))
            .when(|it| it.is_in(Failed), delete(ROUTES, NAME))
            .until(|it| it.is_in(Failed)),
        Scenario::named("revoked_before_it_is_deployed")
            .when(|it| it.serves("churn-1"), revoke("churn-2"))
            .when(|it| it.entry_is("churn-2", "Revoked"), deploy("churn-2"))
            .until(|it| it.is_stalled_by("EntryRevoked")),
    ]
}

fn stable() -> Vec<Scenario> {
    let switched = json!({"traffic": null, "rollout": {"steps": []}, "analysis": {"none": "a switch"}});
    vec![
        Scenario::named("revoked_and_nothing_kept")
            .when(|it| it.serves("churn-1"), revoke("churn-1"))
            .until(nothing_serves),
        Scenario::named("revoked_and_followed_by_another")
            .when(|it| it.serves("churn-1"), revoke("churn-1"))
            .when(nothing_serves, deploy("churn-2"))
            .until(|it| it.serves("churn-2")),
        kept("revoked_and_the_old_one_kept")
            .when(|it| it.serves("churn-2"), revoke("churn-2"))
            .until(|it| it.serves("churn-1")),
        on_probation("revoked_on_probation")
            .when(|it| it.is_on_probation(), revoke("churn-2"))
            .until(|it| it.serves("churn-1")),
        on_probation("revoked_on_probation_without_pods_to_go_back_to")
            .when(|it| it.is_on_probation() && it.fallback_sleeps(), revoke("churn-2"))
            .until(|it| it.serves("churn-1") && it.has_pods_of("churn-1")),
        on_probation("revoked_while_called_back")
            .metrics(|view, query| if query.starts_with("errors") && view.has("bad") { bad() } else { good() })
            .when(|it| it.is_on_probation() && it.fallback_sleeps(), |it| it.set("bad"))
            .pods(|view, entry, wanted| if entry == "churn-1" && view.has("bad") { 0 } else { wanted })
            .when(|it| it.status().probation.is_some_and(|it| it.recall.is_some()), revoke("churn-2"))
            .when(|it| it.serves_of("churn-1"), |it| it.unset("bad"))
            .until(|it| it.serves("churn-1") && it.has_pods_of("churn-1")),
        Scenario::named("revoked_and_switched_by_a_service")
            .spec(switched)
            .when(|it| it.serves("churn-1"), revoke("churn-1"))
            .when(nothing_serves, deploy("churn-2"))
            .until(|it| it.serves("churn-2")),
        Scenario::named("revoked_and_autoscaled")
            .spec(json!({"replicas": null, "autoscaling": {"min": 2, "max": 5,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}))
            .when(|it| it.serves("churn-1"), revoke("churn-1"))
            .until(nothing_serves),
    ]
}

fn beside_attempts() -> Vec<Scenario> {
    vec![
        canary("stable_revoked_while_a_candidate_starts")
            .when(|it| it.is_in(Starting), revoke("churn-1"))
            .until(|it| it.serves("churn-2")),
        canary("stable_revoked_beside_a_candidate")
            .when(|it| it.is_at(Observing, "5%"), revoke("churn-1"))
            .until(|it| it.serves("churn-2")),
        kept_canary("stable_revoked_beside_a_candidate_with_all_of_the_traffic")
            .when(|it| it.is_in(Promoting), revoke("churn-1"))
            .until(|it| it.serves("churn-2")),
        canary("stable_revoked_beside_a_shadowed_candidate")
            .spec(
                json!({"rollout": {"shadow": {"percent": 50, "for": "2m"}, "steps": [{"weight": "50%", "for": "2m"}]}}),
            )
            .when(|it| it.is_in(Shadowing), revoke("churn-1"))
            .until(|it| it.serves("churn-2")),
        canary("stable_revoked_beside_a_paused_candidate")
            .when(|it| it.is_at(Observing, "5%"), request("pause"))
            .when(|it| it.is_held(), revoke("churn-1"))
            .when(|it| it.status().stable.is_none(), request_here("resume", "n2"))
            .until(|it| it.serves("churn-2")),
        canary("stable_revoked_while_a_candidate_goes_back")
            .when(|it| it.is_at(Observing, "5%"), request("abort"))
            .when(|it| it.is_in(RollingBack), revoke("churn-1"))
            .when(|it| it.status().stable.is_none() && !it.is_in(RollingBack), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        canary("stable_and_candidate_revoked")
            .when(|it| it.is_at(Observing, "5%"), revoke("churn-1"))
            .when(|_| true, revoke("churn-2"))
            .when(|it| it.status().stable.is_none() && it.is_in(Failed), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        kept("stable_revoked_beside_a_candidate_and_the_old_one_kept")
            .when(
                |it| it.serves("churn-2"),
                edit(json!({"modelRef": {"name": "churn-3"}, "rollout": {"steps": [{"weight": "50%", "for": "20m"}]}})),
            )
            .when(|it| it.is_at(Observing, "50%"), revoke("churn-2"))
            .until(|it| it.serves("churn-3")),
        kept("stable_revoked_beside_a_promotion_and_the_old_one_kept")
            .when(|it| it.serves("churn-2"), deploy("churn-3"))
            .when(|it| it.is_in(Promoting), revoke("churn-2"))
            // Which one is kept then depends on who was faster.
            .when(|it| it.serves("churn-3"), edit(json!({"rollout": {"keepStable": "1s"}})))
            .until(|it| it.serves("churn-3") && it.is_at_peace()),
    ]
}

fn keeps() -> Vec<Scenario> {
    vec![
        keep(Scenario::named("revoked_and_kept_on_traffic"))
            .when(|it| it.serves("churn-1"), revoke("churn-1"))
            .when(|it| it.is_stalled_by("EntryRevoked"), deploy("churn-2"))
            .until(|it| it.serves("churn-2")),
        keep(kept("revoked_and_kept_until_the_old_one_serves"))
            .when(|it| it.serves("churn-2"), revoke("churn-2"))
            .until(|it| it.serves("churn-1")),
        keep(on_probation("revoked_and_kept_until_the_old_ones_pods_are_back"))
            .when(|it| it.is_on_probation() && it.fallback_sleeps(), revoke("churn-2"))
            .until(|it| it.serves("churn-1")),
        keep(Scenario::named("revoked_kept_and_then_stopped"))
            .when(|it| it.serves("churn-1"), revoke("churn-1"))
            .when(|it| it.is_stalled_by("EntryRevoked"), edit(json!({"onRevocation": "StopServing"})))
            .until(nothing_serves),
    ]
}

fn kept_ones() -> Vec<Scenario> {
    vec![
        kept("kept_one_revoked")
            .when(|it| it.serves("churn-2") && it.keeps_another(), revoke("churn-1"))
            .until(|it| it.is_at_peace()),
        on_probation("fallback_revoked")
            .when(|it| it.is_on_probation() && it.fallback_sleeps(), revoke("churn-1"))
            .until(|it| it.is_at_peace() && it.status().probation.is_none()),
        on_probation("all_revoked_on_probation")
            .when(|it| it.is_on_probation() && it.fallback_sleeps(), revoke("churn-1"))
            .when(|_| true, revoke("churn-2"))
            .until(nothing_serves),
        kept("all_revoked_and_another_deployed")
            .when(|it| it.serves("churn-2") && it.keeps_another(), revoke("churn-1"))
            .when(|_| true, revoke("churn-2"))
            .when(nothing_serves, deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
    ]
}

fn deprecated() -> Vec<Scenario> {
    vec![
        Scenario::named("deprecated_and_active_again")
            .when(|it| it.serves("churn-1"), lifecycle("churn-2", "Deprecated"))
            .when(|it| it.entry_is("churn-2", "Deprecated"), deploy("churn-2"))
            .when(|it| it.is_stalled_by("EntryDeprecated"), lifecycle("churn-2", "Active"))
            .until(|it| it.serves("churn-2")),
        canary("deprecated_on_its_way")
            .when(|it| it.is_at(Observing, "5%"), lifecycle("churn-2", "Deprecated"))
            .until(|it| it.serves("churn-2")),
    ]
}
