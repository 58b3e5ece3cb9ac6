//! What stays of the revision that served before, and the way back to it.

use serde_json::{Value, json};

use super::super::scenario::{Scenario, asked_of, bad, deploy, good, request};
use super::super::view::View;
use super::upgraded;
use crate::api::model_deployment::AttemptState::{Observing, Promoting, RolledBack};
use crate::decide::Measurement;

/// The old revision keeps its pods for as long as nobody could miss.
fn kept(name: &'static str) -> Scenario {
    let steps = json!([{"weight": "5%", "for": "1m"}, {"weight": "50%", "for": "1m"}]);
    let rollout = json!({"steps": steps, "keepStable": "5m", "rollbackWindow": "48h"});
    upgraded(Scenario::named(name).spec(json!({"rollout": rollout})))
}

fn window(window: &str) -> Value {
    json!({"rollout": {"steps": [{"weight": "5%", "for": "1m"}], "rollbackWindow": window}})
}

/// `churn-1` is bad once it is gone back to.
fn first_gets_bad(view: &View, query: &str) -> Measurement {
    if view.has("first-is-bad") && asked_of(view, query) == "churn-1" { bad() } else { good() }
}

fn serves_again(view: &View) -> bool {
    view.serves("churn-1") && view.status().attempts == 3
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        kept("kept_and_let_go").until(|it| it.serves("churn-2") && it.is_at_peace()),
        kept("return_to_what_is_kept")
            .when(|it| it.serves("churn-2") && it.keeps_another(), deploy("churn-1"))
            .until(|it| serves_again(it) && it.is_at_peace()),
        upgraded(Scenario::named("return_to_what_has_no_pods").spec(window("48h")))
            .when(|it| it.serves("churn-2") && it.is_at_peace(), deploy("churn-1"))
            .until(serves_again),
        upgraded(Scenario::named("return_after_the_window").spec(window("1ms")))
            .when(|it| it.serves("churn-2") && it.is_at_peace(), deploy("churn-1"))
            .until(serves_again),
        kept("return_that_breaches")
            .metrics(first_gets_bad)
            .when(
                |it| it.serves("churn-2") && it.keeps_another(),
                |it| {
                    it.set("first-is-bad");
                    deploy("churn-1")(it);
                },
            )
            .until(|it| it.is_in(RolledBack) && it.status().revisions.len() == 1),
        kept("return_aborted")
            .when(|it| it.serves("churn-2") && it.keeps_another(), deploy("churn-1"))
            .when(|it| it.is_in(Promoting) && it.status().attempts == 3, request("abort"))
            .until(|it| it.is_in(RolledBack) && it.status().revisions.len() == 1),
        kept("a_third_while_the_first_is_kept")
            .when(|it| it.serves("churn-2") && it.keeps_another(), deploy("churn-3"))
            .until(|it| it.serves("churn-3") && it.is_at_peace()),
        kept("a_third_is_taken_back_while_the_first_is_kept")
            .metrics(|view, query| if asked_of(view, query) == "churn-3" { bad() } else { good() })
            .when(|it| it.serves("churn-2") && it.keeps_another(), deploy("churn-3"))
            .until(|it| it.is_in(RolledBack) && it.status().revisions.len() == 1),
        kept("back_to_the_first_instead_of_a_third")
            .when(|it| it.serves("churn-2") && it.keeps_another(), deploy("churn-3"))
            .when(|it| it.is_at(Observing, "5%"), deploy("churn-1"))
            .until(|it| it.serves("churn-1") && it.is_at_peace()),
    ]
}
