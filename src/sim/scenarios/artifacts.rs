//! Artifacts that are verified before anything rolls out from their entries, or turn out not to be the registered ones.

use http::Method;
use serde_json::{Value, json};

use super::super::others::jobs::{self, ARTIFACT};
use super::super::scenario::{Scenario, deploy, entry, revoke};
use super::super::view::{ENTRIES, JOBS, View, path};
use super::children::delete_child;

/// Its artifact is not what is registered, or cannot be read.
const OTHER: &str = "churn-6";

/// The artifact of `churn-6` is like this.
fn registered(name: &'static str, like: Value) -> Scenario {
    let mut other = entry(OTHER, 6, &json!({}));
    other["metadata"]["annotations"] = json!({ARTIFACT: like});
    Scenario::named(name).verifying().given(ENTRIES, other)
}

/// Deployed once `churn-1` serves.
fn deployed(name: &'static str, like: &'static str) -> Scenario {
    registered(name, like.into()).when(|it| it.serves("churn-1"), deploy(OTHER))
}

/// It is what is registered from now on.
fn put_right(view: &View) {
    let right = json!({"metadata": {"annotations": {ARTIFACT: null}}});
    let (code, answer) = view.cluster.ask(Method::PATCH, &path(ENTRIES, OTHER), right);
    assert_eq!(code, 200, "{answer}");
}

fn waits(view: &View) -> bool {
    view.is_gated_by("ArtifactNotVerified")
}

fn is_wrong(view: &View) -> bool {
    view.is_stalled_by("ArtifactDigestMismatch")
}

fn is_verified(view: &View) -> bool {
    let entry = view.cluster.get(&path(ENTRIES, OTHER));
    let conditions = entry["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|it| it["type"] == "ArtifactVerified").any(|it| it["status"] == "True")
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
        deployed("revoked_while_its_artifact_is_read", "slow")
            .when(waits, revoke(OTHER))
            .when(|it| it.is_stalled_by("EntryRevoked"), deploy("churn-2"))
            .until(|it| it.serves("churn-2")),
        registered("first_deployment_of_an_artifact_that_is_not_there_yet", "wrong".into())
            .spec(json!({"modelRef": {"name": OTHER}}))
            .when(is_wrong, put_right)
            .until(|it| it.serves(OTHER)),
    ]
}
