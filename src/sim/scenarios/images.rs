//! A tag that is pushed over.

use serde_json::json;

use super::super::scenario::{LATE, Scenario, asked_of, bad, deploy, good, guardrail, late, request};
use super::super::view::{PODS, View};
use super::children::delete_child;
use super::upgraded;
use crate::api::model_deployment::AttemptState::{RolledBack, Starting};
use crate::decide::Measurement;

/// Pods of this entry come up when `up` is set.
fn second_waits(view: &View, entry: &str, wanted: i64) -> i64 {
    if entry == "churn-2" && !view.has("up") { 0 } else { wanted }
}

fn candidate(view: &View) -> String {
    view.status().attempt.unwrap().revision
}

/// Two pods, two images.
fn mixed(view: &View) {
    view.runs("pod-a", &candidate(view), "1a");
    view.runs("pod-b", &candidate(view), "2b");
}

fn starts(view: &View) -> bool {
    view.is_in(Starting) && view.status().attempts == 2 && view.has_deployment_of_candidate()
}

/// `churn-1` ran image `1a` until it lost its pods, and then does not come up before `up` is set.
fn slept(name: &'static str) -> Scenario {
    let rollout = json!({"steps": [{"weight": "5%", "for": "2m"}], "keepStable": "2m", "progressDeadline": "25m"});
    let scenario =
        Scenario::named(name).spec(json!({"rollout": rollout, "analysis": {"metrics": [guardrail(), late()]}}));
    let scenario = scenario.pods(
        |view, entry, wanted| if entry == "churn-1" && view.has("asleep") && !view.has("up") { 0 } else { wanted },
    );
    let scenario = scenario.when(
        |it| it.serves("churn-1"),
        |it| {
            let revision = it.status().stable.unwrap().revision;
            it.runs("pod-a", &revision, "1a");
        },
    );
    upgraded(scenario).when(
        |it| it.is_on_probation() && it.fallback_sleeps(),
        |it| {
            delete_child(it, PODS, "pod-a");
            it.set("asleep");
        },
    )
}

fn wakes_with(image: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let revision = view.status().probation.unwrap().fallback.revision;
        view.runs("pod-b", &revision, image);
    }
}

fn is_awake(view: &View) -> bool {
    view.pods_of("churn-1") > 0
}

fn second_fails_late(view: &View, query: &str) -> Measurement {
    if view.has("asleep") && query.starts_with(LATE) && asked_of(view, query) == "churn-2" { bad() } else { good() }
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        upgraded(Scenario::named("images_differ_until_they_are_one"))
            .pods(second_waits)
            .when(starts, mixed)
            .when(|it| it.is_stalled_by("ImagesDiffer"), |it| it.set("up"))
            .when(
                |it| it.status().replicas > 4 && it.is_stalled_by("ImagesDiffer"),
                |it| delete_child(it, PODS, "pod-b"),
            )
            .until(|it| it.serves("churn-2")),
        upgraded(Scenario::named("images_differ_and_it_is_aborted"))
            .pods(second_waits)
            .when(starts, mixed)
            .when(|it| it.is_stalled_by("ImagesDiffer"), request("abort"))
            .until(|it| it.is_in(RolledBack)),
        slept("reverted_to_other_images_and_aborted_all_the_same")
            .when(|it| it.has("asleep"), deploy("churn-1"))
            .when(is_awake, wakes_with("2b"))
            .when(|it| it.is_stalled_by("ImagesDiffer"), |it| it.set("up"))
            .when(|it| it.is_stalled_by("ImagesDiffer"), request("abort"))
            .until(|it| it.serves("churn-1") && it.is_at_peace()),
        slept("failed_late_and_back_to_other_images")
            .metrics(second_fails_late)
            .when(is_awake, wakes_with("2b"))
            .when(|it| it.says("Ready").contains("run sha256:2b"), |it| it.set("up"))
            .until(|it| it.serves("churn-1") && it.is_in(RolledBack) && it.status().revisions.len() == 1),
        slept("reverted_to_the_same_images")
            .when(|it| it.has("asleep"), deploy("churn-1"))
            .when(is_awake, |it| {
                wakes_with("1a")(it);
                it.set("up");
            })
            .until(|it| it.serves("churn-1") && it.is_at_peace()),
    ]
}
