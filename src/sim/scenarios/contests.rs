//! Something else that edits the route, or a Deployment, again and again.

use serde_json::json;

use super::super::scenario::{Scenario, asked_of, bad, good};
use super::super::view::{DEPLOYMENTS, View};
use super::canary;
use super::children::{edit_child, grab_traffic, stable};
use crate::api::model_deployment::AttemptState::{Observing, RolledBack};
use crate::decide::Measurement;

/// The route says what was decided, and has been reset so often.
fn was_reset(view: &View, times: i32) -> bool {
    let resets = view.status().route_contest.map_or(0, |it| it.resets);
    view.is_at(Observing, "5%") && resets == times && (view.weight_of("churn-2") - 5.0).abs() < 0.01
}

fn contested(name: &'static str) -> Scenario {
    // Long enough at 5 % for whoever contests it to see each reset, however late the operator hears of the edit.
    let steps = json!({"steps": [{"weight": "5%", "for": "30m"}, {"weight": "50%", "for": "2m"}]});
    let begun = canary(name).spec(json!({"rollout": steps})).when(|it| was_reset(it, 0), grab_traffic);
    begun.when(|it| was_reset(it, 1), grab_traffic).when(|it| was_reset(it, 2), grab_traffic)
}

fn second_gets_bad(view: &View, query: &str) -> Measurement {
    if view.has("second-is-bad") && asked_of(view, query) == "churn-2" { bad() } else { good() }
}

/// Something gives the stable revision seven pods, five times, as soon as it has the four that it is to have.
fn rescaled(name: &'static str) -> Scenario {
    let steps = json!({"steps": [{"weight": "5%", "for": "30m"}, {"weight": "50%", "for": "2m"}]});
    let begun = canary(name).spec(json!({"rollout": steps}));
    let is_put_back = |it: &View| it.is_at(Observing, "5%") && it.pods_of("churn-1") == 4;
    (0..5).fold(begun, |it, _| it.when(is_put_back, scale))
}

fn scale(view: &View) {
    edit_child(view, DEPLOYMENTS, &stable(view), json!({"spec": {"replicas": 7}}));
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        // (Whoever dies in between begins to count anew, so that it is not told of in every run.)
        rescaled("deployment_contested").until(|it| it.serves("churn-2")),
        contested("route_contested_and_left_alone")
            .until(|it| it.is_told("RouteContested"))
            .until(|it| it.serves("churn-2")),
        contested("route_contested_once_more")
            .when(|it| it.is_told("RouteContested") && was_reset(it, 3), grab_traffic)
            .until(|it| it.serves("churn-2")),
        contested("route_contested_by_a_bad_candidate")
            .metrics(second_gets_bad)
            .when(
                |it| it.is_told("RouteContested") && was_reset(it, 3),
                |it| {
                    it.set("second-is-bad");
                    grab_traffic(it);
                },
            )
            .until(|it| it.is_in(RolledBack) && it.status().route_contest.is_none()),
    ]
}
