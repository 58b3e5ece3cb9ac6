//! What is taken back, and what becomes of it then.

use serde_json::json;

use super::super::scenario::{Scenario, asked_of, bad, delete, deploy, edit, good, request, request_here};
use super::super::view::{MODELS, NAME, ROUTES, View};
use super::children::somebodys_route;
use super::{canary, upgraded};
use crate::api::model_deployment::AttemptState::{Failed, Observing, Promoting, RolledBack, Shifting, Starting};
use crate::decide::Measurement;

/// `churn-2` breaks its guardrail.
fn second_is_bad(view: &View, query: &str) -> Measurement {
    if asked_of(view, query) == "churn-2" { bad() } else { good() }
}

pub(super) fn all() -> Vec<Scenario> {
    let objective = json!({"name": "hit-rate", "role": "Objective", "threshold": {"min": "90%"},
        "prometheus": {"query": "hits{revision=\"{{ revision }}\"}"}});
    let compared = json!({"name": "latency", "role": "Guardrail", "compare": {"to": "Stable", "maxRatio": "1.2"},
        "prometheus": {"query": "latency{revision=\"{{ revision }}\"}"}});
    vec![
        Scenario::named("first_deployment_breaches").metrics(|_, _| bad()).until(|it| it.is_in(Failed)),
        Scenario::named("first_deployment_breaches_and_is_deleted")
            .metrics(|_, _| bad())
            .when(|it| it.is_in(Failed), delete(MODELS, NAME)),
        Scenario::named("first_deployment_breaches_and_is_replaced")
            .metrics(|view, query| if asked_of(view, query) == "churn-1" { bad() } else { good() })
            .when(|it| it.is_in(Failed), deploy("churn-2"))
            .until(|it| it.serves("churn-2")),
        Scenario::named("first_deployment_breaches_and_is_retried")
            .metrics(|view, _| if view.has("repaired") { good() } else { bad() })
            .when(|it| it.is_in(Failed), |it| it.set("repaired"))
            .when(|_| true, request("retry"))
            .until(|it| it.serves("churn-1")),
        Scenario::named("first_deployment_that_nobody_asks")
            .metrics(|_, _| Measurement::NoData("nobody has asked it".into()))
            .until(|it| it.serves("churn-1")),
        Scenario::named("first_deployment_followed_while_it_is_watched")
            .metrics(|view, query| match asked_of(view, query).as_str() {
                "churn-1" => Measurement::NoData("nobody has asked it".into()),
                _ => good(),
            })
            .when(|it| it.is_in(Promoting) && it.status().attempt.unwrap().observing_since.is_some(), deploy("churn-2"))
            .until(|it| it.serves("churn-2")),
        canary("guardrail_breached_at_5").metrics(second_is_bad).until(|it| it.is_in(RolledBack)),
        canary("guardrail_breached_at_50")
            .metrics(|view, query| if view.weight_of("churn-2") > 40.0 { second_is_bad(view, query) } else { good() })
            .until(|it| it.is_in(RolledBack)),
        upgraded(Scenario::named("objective_missed").spec(json!({"analysis": {"metrics": [objective]}})))
            .metrics(|view, query| Measurement::of(if asked_of(view, query) == "churn-2" { 0.5 } else { 0.99 }))
            .until(|it| it.is_in(RolledBack)),
        upgraded(Scenario::named("worse_than_stable").spec(json!({"analysis": {"metrics": [compared]}})))
            .metrics(|view, query| Measurement::of(if asked_of(view, query) == "churn-2" { 0.5 } else { 0.2 }))
            .until(|it| it.is_in(RolledBack)),
        canary("no_failure_tolerated")
            .spec(json!({"analysis": {"failureLimit": 0, "interval": "10s", "metrics": [super::super::scenario::guardrail()]}}))
            .metrics(second_is_bad)
            .until(|it| it.is_in(RolledBack)),
        canary("taken_back_and_followed_by_another")
            .metrics(second_is_bad)
            .when(|it| it.is_in(RolledBack), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        canary("taken_back_and_asked_for_again")
            .metrics(second_is_bad)
            .when(|it| it.is_in(RolledBack), deploy("churn-1"))
            .when(|it| it.is_at_peace(), deploy("churn-2"))
            .until(|it| it.is_stalled_by("GuardrailBreached")),
        canary("taken_back_and_the_next_aborted")
            .metrics(second_is_bad)
            .when(|it| it.is_in(RolledBack), deploy("churn-3"))
            .when(|it| it.is_at(Shifting, "50%"), request("abort"))
            .until(|it| it.is_in(RolledBack) && it.status().attempts == 3),
        canary("aborted").when(|it| it.is_at(Observing, "5%"), request("abort")).until(|it| it.is_in(RolledBack)),
        canary("aborted_while_starting")
            .when(|it| it.is_in(Starting), request("abort"))
            .until(|it| it.is_in(RolledBack)),
        canary("aborted_while_shifting")
            .when(|it| it.is_at(Shifting, "50%"), request("abort"))
            .until(|it| it.is_in(RolledBack)),
        canary("aborted_by_one_and_too_late_by_another")
            .when(|it| it.is_at(Observing, "5%"), request("abort"))
            .when(|it| it.status().handled_request.is_some(), request_here("abort", "n2"))
            .until(|it| it.is_in(RolledBack)),
        canary("aborted_and_retried")
            .when(|it| it.is_at(Observing, "5%"), request("abort"))
            .when(|it| it.is_in(RolledBack), request("retry"))
            .until(|it| it.serves("churn-2")),
        upgraded(Scenario::named("blue_green_aborted").spec(json!({"traffic": null, "rollout": null})))
            .when(|it| it.is_in(Starting), request("abort"))
            .until(|it| it.is_in(RolledBack)),
        upgraded(Scenario::named("blue_green_aborted_while_promoting").spec(json!({"traffic": null, "rollout": null})))
            .when(|it| it.is_in(Promoting), request("abort"))
            .until(|it| it.is_in(RolledBack)),
        Scenario::named("first_deployment_aborted_while_promoting")
            .when(|it| it.is_in(Promoting) && it.has_route(), request("abort"))
            .until(|it| it.is_in(Failed)),
        Scenario::named("first_deployment_aborted_without_a_route")
            .given(ROUTES, somebodys_route())
            .when(|it| it.is_in(Promoting) && it.is_told("ChildNameTaken"), request("abort"))
            .when(|it| it.is_in(Failed), delete(ROUTES, NAME))
            .until(|it| it.is_in(Failed)),
        Scenario::named("first_blue_green_deployment_aborted_while_promoting")
            .spec(json!({"traffic": null, "rollout": null}))
            .when(|it| it.is_in(Promoting), request("abort"))
            .until(|it| it.is_in(Failed)),
        canary("reverted_mid_canary")
            .when(|it| it.is_at(Observing, "5%"), deploy("churn-1"))
            .until(|it| it.is_in(RolledBack)),
        canary("reverted_while_starting")
            .when(|it| it.is_in(Starting), deploy("churn-1"))
            .until(|it| it.is_in(RolledBack)),
        canary("reverted_while_promoting")
            .when(|it| it.is_in(Promoting), deploy("churn-1"))
            .until(|it| it.is_in(RolledBack)),
        canary("superseded_mid_canary")
            .when(|it| it.is_at(Observing, "5%"), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        canary("superseded_twice")
            .when(|it| it.is_at(Observing, "50%"), deploy("churn-3"))
            .when(|it| it.is_in(RolledBack), deploy("churn-4"))
            .until(|it| it.serves("churn-4")),
        Scenario::named("first_deployment_superseded")
            .when(|it| it.is_in(Starting), deploy("churn-2"))
            .until(|it| it.serves("churn-2")),
        canary("max_step_time")
            .spec(json!({
                "rollout": {"steps": [{"weight": "5%", "for": "1m", "maxStepTime": "25m"}]},
                "analysis": {"interval": "5m", "metrics": [super::super::scenario::guardrail()]},
            }))
            .metrics(|_, _| Measurement::NoData("no series".into()))
            .until(|it| it.is_in(RolledBack)),
        canary("too_few_requests_and_then_enough")
            .spec(json!({
                "rollout": {"steps": [{"weight": "5%", "for": "1m", "minSamples": 100}]},
                "analysis": {"samples": {"prometheus": {"query": "count{revision=\"{{ revision }}\"}"}},
                    "metrics": [super::super::scenario::guardrail()]},
            }))
            .metrics(|view, query| match query.starts_with("count") {
                true => Measurement::of(if view.has("requests") { 1000.0 } else { 10.0 }),
                false => good(),
            })
            .when(|it| it.status().attempt.is_some_and(|it| it.samples == Some(10)), |it| it.set("requests"))
            .until(|it| it.serves("churn-2")),
        canary("an_edited_metric_starts_anew")
            .when(
                |it| it.is_at(Observing, "5%"),
                edit(json!({"analysis": {"metrics": [{"name": "error-rate", "role": "Guardrail", "threshold": {"max": "2%"},
                    "prometheus": {"query": "errors{revision=\"{{ revision }}\"}"}}]}})),
            )
            .until(|it| it.serves("churn-2")),
    ]
}
