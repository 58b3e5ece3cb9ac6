//! What is judged by counts.

use serde_json::{Value, json};

use super::super::scenario::{Scenario, asked_of, guardrail};
use super::super::view::View;
use super::upgraded;
use crate::api::model_deployment::AttemptState::RolledBack;
use crate::decide::Measurement;

fn proportion(role: &str) -> Value {
    let count = |what: &str| json!({"prometheus": {"query": format!("{what}{{revision=\"{{{{ revision }}}}\"}}[{{{{ window }}}}]")}});
    json!({"name": "hit-rate", "role": role,
        "proportion": {"successes": count("hits"), "trials": count("offers")},
        "test": {"direction": "HigherIsBetter", "nonInferiorityMargin": "5pp", "alpha": "5%"}})
}

fn counted(name: &'static str, role: &str) -> Scenario {
    let analysis = json!({"metrics": [guardrail(), proportion(role)]});
    upgraded(Scenario::named(name).spec(json!({"analysis": analysis})))
}

/// Of a million offers each gets as many as its weight says, and this share of them is taken.
fn of_offers(view: &View, query: &str, share: f64) -> Measurement {
    let weight = view.weight_of(&asked_of(view, query)) / 100.0;
    let offers = (1_000_000.0 * weight).round();
    Measurement::of(match query.split('{').next() {
        Some("hits") => (offers * share).round(),
        Some("offers") => offers,
        _ => 0.001,
    })
}

fn as_good(view: &View, query: &str) -> Measurement {
    of_offers(view, query, 0.5)
}

fn second_is_worse(view: &View, query: &str) -> Measurement {
    of_offers(view, query, if asked_of(view, query) == "churn-2" { 0.3 } else { 0.5 })
}

/// Too few at first to know anything.
fn few_at_first(view: &View, query: &str) -> Measurement {
    match (view.has("counts"), query.split('{').next()) {
        (false, Some("hits")) => Measurement::of(5.0),
        (false, Some("offers")) => Measurement::of(10.0),
        _ => of_offers(view, query, 0.5),
    }
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        counted("counts_as_good_as_stable", "Objective").metrics(as_good).until(|it| it.serves("churn-2")),
        counted("counts_worse_than_stable", "Objective").metrics(second_is_worse).until(|it| it.is_in(RolledBack)),
        counted("counted_guardrail_breached", "Guardrail").metrics(second_is_worse).until(|it| it.is_in(RolledBack)),
        counted("too_few_counts_at_first", "Objective")
            .metrics(few_at_first)
            .when(|it| it.status().verdicts.iter().any(|it| it.metric == "hit-rate"), |it| it.set("counts"))
            .until(|it| it.serves("churn-2")),
    ]
}
