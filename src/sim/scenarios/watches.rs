//! The stable revision, watched between rollouts.

use serde_json::json;

use super::super::scenario::{Scenario, asked_of, bad, deploy, good, guardrail};
use super::super::view::View;
use super::canary;
use crate::api::condition::{self, ConditionStatus};
use crate::decide::Measurement;

/// At intervals that count as rest.
fn watched(scenario: Scenario) -> Scenario {
    scenario.spec(json!({"analysis": {"interval": "8m", "metrics": [guardrail()], "onStableBreach": "Alert"}}))
}

/// `churn-1` breaks its guardrail while `broken` is set, whoever else serves.
fn broken(view: &View, query: &str) -> Measurement {
    if view.has("broken") && asked_of(view, query) == "churn-1" { bad() } else { good() }
}

/// `churn-2` breaks it while `broken` is set; what was promoted goes back to the revision before for half an hour.
fn falling_back(name: &'static str) -> Scenario {
    let spec = json!({"analysis": {"interval": "8m", "metrics": [guardrail()], "onStableBreach": "Fallback"},
        "rollout": {"steps": [{"weight": "50%", "for": "2m"}], "rollbackWindow": "30m"}});
    canary(name)
        .spec(spec)
        .metrics(|view, query| if view.has("broken") && asked_of(view, query) == "churn-2" { bad() } else { good() })
}

fn is_told(view: &View) -> bool {
    let status = view.status();
    let stalled = condition::find(&status.conditions, "Stalled");
    stalled.is_some_and(|it| it.status == ConditionStatus::True && it.reason == "StableBreached")
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        watched(Scenario::named("a_stable_breach_is_told_of"))
            .metrics(broken)
            .when(|it| it.serves("churn-1"), |it| it.set("broken"))
            .until(is_told),
        watched(Scenario::named("a_stable_breach_ends"))
            .metrics(broken)
            .when(|it| it.serves("churn-1"), |it| it.set("broken"))
            .when(is_told, |it| it.unset("broken"))
            .until(|it| it.serves("churn-1") && !is_told(it)),
        watched(Scenario::named("a_stable_breach_is_repaired"))
            .metrics(broken)
            .when(|it| it.serves("churn-1"), |it| it.set("broken"))
            .when(is_told, deploy("churn-2"))
            .until(|it| it.serves("churn-2") && !is_told(it)),
        falling_back("a_stable_breach_falls_back")
            .when(|it| it.serves("churn-2"), |it| it.set("broken"))
            .until(|it| it.serves("churn-1") && it.status().probation.is_none()),
        falling_back("a_promoted_revision_keeps_its_guardrails")
            .until(|it| it.serves("churn-2") && it.status().probation.is_none()),
        watched(canary("a_promoted_revision_is_watched")).until(|it| {
            let watch = it.status().stable_watch;
            it.serves("churn-2") && watch.is_some_and(|it| !it.verdicts.is_empty())
        }),
    ]
}
