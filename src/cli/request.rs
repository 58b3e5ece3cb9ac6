//! `kubectl werkbank abort`, `pause`, `promote`, `resume`, `retry`: a person's request, written as the annotation that the operator reads.
//!
//! The request names the attempt the person saw, and the step. If another one has begun meanwhile, it
//! does nothing. What the operator would refuse for where the attempt stands is refused here already, in the same words.

use chrono::Utc;
use clap::Args;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::CliError;
use super::cluster::{Cluster, ClusterOptions};
use super::get;
use crate::api::ModelDeployment;
use crate::api::labels;
use crate::decide::model_deployment::request::{self, ANY_STEP, Verb};

/// Whom the request is about.
#[derive(Debug, Args)]
pub struct RequestArguments {
    /// The ModelDeployment.
    name: String,
}

pub(super) async fn run(
    options: &ClusterOptions,
    arguments: &RequestArguments,
    verb: Verb,
) -> Result<String, CliError> {
    let cluster = options.connect().await?;
    let name = &arguments.name;
    let resource: ModelDeployment = get::one(&cluster, name).await?;
    let attempt = addressee(&resource, verb).map_err(CliError::NothingToDo)?;
    let by = requester(&cluster).await?;
    let value = annotation(verb, &attempt, Utc::now().timestamp_micros(), &by);
    let api: Api<ModelDeployment> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let parameters = PatchParams { field_manager: Some("kubectl-werkbank".into()), ..PatchParams::default() };
    api.patch(name, &parameters, &Patch::Merge(json!({"metadata": {"annotations": {labels::REQUEST: value}}}))).await?;
    Ok(format!(
        "{} of attempt {} requested by {by}; see what comes of it: kubectl werkbank get {name} -n {}\n",
        verb.word(),
        attempt.0,
        cluster.namespace
    ))
}

/// The name the API server knows the person by: what an audit compares `by` with.
pub(super) async fn requester(cluster: &Cluster) -> Result<String, CliError> {
    let api: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    user.ok_or_else(|| {
        CliError::NothingToDo("the API server does not say who you are; log in, or name a user with --as".into())
    })
}

/// `<verb>/<attempt>/<step>/<nonce>/<by>`.
fn annotation(verb: Verb, (attempt, step): &(String, String), nonce: i64, by: &str) -> String {
    format!("{}/{attempt}/{step}/{nonce:x}/{by}", verb.word())
}

/// The attempt that the request can be for and its step, or why there is none.
fn addressee(resource: &ModelDeployment, verb: Verb) -> Result<(String, String), String> {
    let status = resource.status.as_ref();
    let Some((status, attempt)) = status.and_then(|status| Some((status, status.attempt.as_ref()?))) else {
        return Err("there has been no attempt yet; kubectl werkbank get says what is missing".into());
    };
    if let Some(older) = request::older_on_probation(verb, status) {
        return Ok((older.clone(), ANY_STEP.to_owned()));
    }
    request::fits(verb, attempt, status)?;
    // What holds, and what lets go of it, must not come too late for having been seen a step earlier.
    let any = matches!(verb, Verb::Pause | Verb::Resume);
    let step = if any { ANY_STEP.to_owned() } else { request::step_of(attempt) };
    Ok((attempt.id.clone(), step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::model_deployment::request::{addressed, pending};

    fn deployment(state: &str, step: Option<i32>) -> ModelDeployment {
        let mut attempt = json!({"id": "ab-2-0a1b", "revision": "ab", "entry": {"revision": "ab", "name": "v2", "uid": "e"},
            "state": state, "weight": "5%", "startedAt": "2026-11-24T00:00:00Z", "enteredAt": "2026-11-24T00:00:00Z"});
        if let Some(step) = step {
            attempt["step"] = json!(step);
            attempt["observingSince"] = json!("2026-11-24T00:00:00Z");
        }
        serde_json::from_value(json!({"apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": "churn"}, "status": {"attempt": attempt},
            "spec": {"modelRef": {"name": "v2"}, "port": 80, "template": {}, "analysis": {"none": "a test"}}}))
        .unwrap()
    }

    fn paused(mut resource: ModelDeployment) -> ModelDeployment {
        let attempt = resource.status.as_mut().and_then(|status| status.attempt.as_mut()).unwrap();
        attempt.paused_since = Some(attempt.entered_at);
        resource
    }

    #[test]
    fn what_is_written_is_what_the_operator_carries_out() {
        for (verb, resource) in [
            (Verb::Abort, deployment("Observing", Some(1))),
            (Verb::Abort, deployment("Starting", None)),
            (Verb::Pause, deployment("Observing", Some(1))),
            (Verb::Pause, deployment("Promoting", None)),
            (Verb::Promote, deployment("Observing", Some(1))),
            (Verb::Resume, paused(deployment("Observing", Some(1)))),
            (Verb::Retry, deployment("RolledBack", None)),
            (Verb::Retry, deployment("Failed", None)),
        ] {
            let mut resource = resource;
            let by = "system:serviceaccount:crm:ci/build";
            let value = annotation(verb, &addressee(&resource, verb).unwrap(), 255, by);
            resource.metadata.annotations = Some([(labels::REQUEST.to_owned(), value)].into());
            let status = resource.status.as_ref().unwrap();
            let asked = pending(&resource, status).unwrap();
            assert_eq!((asked.verb, asked.attempt.as_str()), (verb, "ab-2-0a1b"));
            assert!(addressed(&asked, status).is_ok(), "{asked:?}");
        }
    }

    #[test]
    fn the_annotation_names_attempt_step_and_requester_and_a_pause_holds_any_step() {
        let resource = deployment("Observing", Some(1));
        let written = |verb| annotation(verb, &addressee(&resource, verb).unwrap(), 255, "ana@example.com");
        assert_eq!(written(Verb::Abort), "abort/ab-2-0a1b/1/ff/ana@example.com");
        assert_eq!(written(Verb::Promote), "promote/ab-2-0a1b/1/ff/ana@example.com");
        assert_eq!(written(Verb::Pause), "pause/ab-2-0a1b/-/ff/ana@example.com");
    }

    #[test]
    fn a_request_for_nothing_is_refused_before_it_is_written() {
        for (verb, state, why) in [
            (Verb::Abort, "Promoted", "point spec.modelRef at the earlier entry"),
            (Verb::Abort, "RolledBack", "nothing to abort"),
            (Verb::Abort, "RollingBack", "taken back already"),
            (Verb::Pause, "RollingBack", "taken back already"),
            (Verb::Pause, "Promoted", "nothing to pause"),
            (Verb::Promote, "Promoting", "on its way to all traffic already"),
            (Verb::Promote, "Starting", "ask again when it is being watched"),
            (Verb::Resume, "Observing", "not paused"),
            (Verb::Retry, "Observing", "nothing to try again"),
            (Verb::Retry, "Promoted", "nothing to try again"),
        ] {
            let said = addressee(&deployment(state, None), verb).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let paused = paused(deployment("Observing", Some(1)));
        assert!(addressee(&paused, Verb::Pause).unwrap_err().contains("paused already"));
        assert!(addressee(&paused, Verb::Promote).unwrap_err().contains("resume it first"));
        assert!(addressee(&paused, Verb::Abort).is_ok());
    }
}
