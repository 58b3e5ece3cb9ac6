//! Artifacts that are verified before anything rolls out from their entries, or turn out not to be the registered ones.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::others::jobs::{self, ARTIFACT};
use super::super::scenario::{Scenario, deploy, entry, revoke};
use super::super::view::{ENTRIES, JOBS, NAMESPACE, View, path, within};
use super::children::delete_child;
use crate::api::ModelRegistryEntry;
use crate::api::labels;
use crate::api::model_deployment::AttemptState::Observing;
use crate::build::verification::name_of;

/// Its artifact is not what is registered, or cannot be read.
const OTHER: &str = "churn-6";

/// The artifact of `churn-6` is like this.
fn registered(name: &'static str, like: &str) -> Scenario {
    let mut other = entry(OTHER, 6, &json!({}));
    other["metadata"]["annotations"] = json!({ARTIFACT: like});
    Scenario::named(name).verifying().given(ENTRIES, other)
}

/// That of `churn-6` is what is registered.
fn right(name: &'static str) -> Scenario {
    Scenario::named(name).verifying().given(ENTRIES, entry(OTHER, 6, &json!({})))
}

/// Deployed once `churn-1` serves.
fn deployed(name: &'static str, like: &'static str) -> Scenario {
    registered(name, like).when(|it| it.serves("churn-1"), deploy(OTHER))
}

/// It is what is registered from now on.
fn put_right(view: &View) {
    annotate(view, json!({ARTIFACT: null}));
}

/// It is like this from now on, and somebody asks for a look.
fn becomes(like: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| annotate(view, json!({ARTIFACT: like, labels::VERIFY: like}))
}

/// It is what is registered from now on, and somebody asks for a look.
fn becomes_right(view: &View) {
    annotate(view, json!({ARTIFACT: null, labels::VERIFY: "right"}));
}

fn annotate(view: &View, annotations: Value) {
    let patch = json!({"metadata": {"annotations": annotations}});
    let (code, answer) = view.cluster.ask(Method::PATCH, &path(ENTRIES, OTHER), patch);
    assert_eq!(code, 200, "{answer}");
}

fn delete_entry(view: &View) {
    view.cluster.ask(Method::DELETE, &path(ENTRIES, OTHER), Value::Null);
}

/// Somebody has a Job under the name of the one that is about to look.
fn register_beside_a_foreign_job(view: &View) {
    let (code, answer) = view.cluster.ask(Method::POST, &within(ENTRIES), entry(OTHER, 6, &json!({})));
    assert_eq!(code, 201, "{answer}");
    let metadata = json!({"namespace": NAMESPACE, "name": name_of_look(view)});
    let job =
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": {}}}});
    let (code, answer) = view.cluster.ask(Method::POST, &within(JOBS), job);
    assert_eq!(code, 201, "{answer}");
}

fn name_of_look(view: &View) -> String {
    let entry = ModelRegistryEntry::deserialize(view.cluster.get(&path(ENTRIES, OTHER)).as_ref()).unwrap();
    name_of(&entry, 0)
}

fn waits(view: &View) -> bool {
    view.is_gated_by("ArtifactNotVerified")
}

fn is_wrong(view: &View) -> bool {
    view.is_stalled_by("ArtifactDigestMismatch")
}

/// What its condition says.
fn said(view: &View) -> Value {
    let entry = view.cluster.get(&path(ENTRIES, OTHER));
    let mut conditions = entry["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|it| it["type"] == "ArtifactVerified").cloned().unwrap_or_default()
}

fn is_verified(view: &View) -> bool {
    said(view)["status"] == "True"
}

fn turned_out_wrong(view: &View) -> bool {
    said(view)["reason"] == "ArtifactDigestMismatch"
}

fn was_not_seen(view: &View) -> bool {
    !view.cluster.get(&path(ENTRIES, OTHER))["status"]["artifact"]["unseen"].is_null()
}

fn delete_looks(view: &View) {
    for (_, job) in jobs::looks(&view.cluster) {
        delete_child(view, JOBS, job["metadata"]["name"].as_str().unwrap());
    }
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::named("artifacts_are_verified_before_anything_rolls_out")
            .verifying()
            .when(|it| it.serves("churn-1"), deploy("churn-2"))
            .until(|it| it.serves("churn-2")),
        deployed("artifact_is_another_one_and_another_entry_is_deployed", "wrong")
            .when(is_wrong, deploy("churn-3"))
            // Or it would be looked at again and again.
            .when(|it| it.serves("churn-3"), put_right)
            .until(is_verified),
        deployed("artifact_is_another_one_and_is_put_right", "wrong")
            .when(is_wrong, put_right)
            .until(|it| it.serves(OTHER)),
        deployed("artifact_whose_reader_crashes_for_a_while", "crashes")
            .when(waits, put_right)
            .until(|it| it.serves(OTHER)),
        deployed("artifact_that_is_read_for_long_by_jobs_that_somebody_deletes", "slow")
            .when(waits, delete_looks)
            .when(|_| true, put_right)
            .until(|it| it.serves(OTHER)),
        right("artifact_turns_out_wrong_in_its_canary_and_then_nobody_can_see_it")
            .when(|it| it.serves("churn-1"), deploy(OTHER))
            .when(|it| it.is_at(Observing, "5%"), becomes("wrong"))
            .when(turned_out_wrong, becomes("crashes"))
            .when(was_not_seen, becomes_right)
            .until(|it| it.serves(OTHER)),
        right("entry_is_deleted_in_its_own_canary")
            .when(|it| it.serves("churn-1"), deploy(OTHER))
            .when(|it| it.is_kept(OTHER), delete_entry)
            .until(|it| it.serves(OTHER)),
        right("way_back_to_what_is_not_there_any_more")
            .spec(json!({"modelRef": {"name": OTHER}}))
            .when(|it| it.serves(OTHER), deploy("churn-2"))
            .when(|it| it.serves("churn-2"), becomes("wrong"))
            .when(turned_out_wrong, deploy(OTHER))
            .when(|it| it.serves(OTHER), becomes_right)
            .until(is_verified),
        Scenario::named("job_of_somebody_else_where_the_artifact_is_to_be_read")
            .verifying()
            .when(|it| it.serves("churn-1"), register_beside_a_foreign_job)
            .when(
                |it| said(it)["message"].as_str().is_some_and(|it| it.contains("somebody else has made it")),
                |it| delete_child(it, JOBS, &name_of_look(it)),
            )
            .when(is_verified, deploy(OTHER))
            .until(|it| it.serves(OTHER)),
        deployed("revoked_while_its_artifact_is_read", "slow")
            .when(waits, revoke(OTHER))
            .when(|it| it.is_stalled_by("EntryRevoked"), deploy("churn-2"))
            .until(|it| it.serves("churn-2")),
        registered("first_deployment_of_an_artifact_that_is_not_there_yet", "wrong")
            .spec(json!({"modelRef": {"name": OTHER}}))
            .when(is_wrong, put_right)
            .until(|it| it.serves(OTHER)),
    ]
}
