//! `kubectl werkbank abort` and `retry`: a person's request, written as the annotation that the operator reads.
//!
//! The request names the attempt the person saw. If another one has begun meanwhile, it does nothing.

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
use crate::api::model_deployment::{Attempt, AttemptState};
use crate::decide::model_deployment::request::Verb;

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
    let resource = get::one(&cluster, name).await?;
    let attempt = addressee(&resource, verb).map_err(CliError::NothingToDo)?;
    let by = requester(&cluster).await?;
    let value = annotation(verb, attempt, Utc::now().timestamp_micros(), &by);
    let api: Api<ModelDeployment> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let parameters = PatchParams { field_manager: Some("kubectl-werkbank".into()), ..PatchParams::default() };
    api.patch(name, &parameters, &Patch::Merge(json!({"metadata": {"annotations": {labels::REQUEST: value}}}))).await?;
    Ok(format!(
        "{} of attempt {} requested by {by}; see what comes of it: kubectl werkbank get {name} -n {}\n",
        word(verb),
        attempt.id,
        cluster.namespace
    ))
}

/// The name the API server knows the person by: what an audit compares `by` with.
async fn requester(cluster: &Cluster) -> Result<String, CliError> {
    let api: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    user.ok_or_else(|| {
        CliError::NothingToDo("the API server does not say who you are; log in, or name a user with --as".into())
    })
}

fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Abort => "abort",
        Verb::Retry => "retry",
    }
}

/// `<verb>/<attempt>/<step>/<nonce>/<by>`.
fn annotation(verb: Verb, attempt: &Attempt, nonce: i64, by: &str) -> String {
    let step = attempt.step.map_or_else(|| "-".to_owned(), |step| step.to_string());
    format!("{}/{}/{step}/{nonce:x}/{by}", word(verb), attempt.id)
}

/// The attempt that the request can be for, or why there is none.
fn addressee(resource: &ModelDeployment, verb: Verb) -> Result<&Attempt, String> {
    let attempt = resource.status.as_ref().and_then(|status| status.attempt.as_ref());
    let Some(attempt) = attempt else {
        return Err("there has been no attempt yet; kubectl werkbank get says what is missing".into());
    };
    match (verb, attempt.state) {
        (Verb::Abort, AttemptState::RollingBack) => Err(format!("attempt {} is being taken back already", attempt.id)),
        (Verb::Abort, state) if state.is_active() => Ok(attempt),
        (Verb::Abort, state) => Err(format!(
            "attempt {} has ended ({state:?}): there is nothing to abort; to go back, point spec.modelRef at the earlier entry",
            attempt.id
        )),
        (Verb::Retry, AttemptState::RolledBack | AttemptState::Failed) => Ok(attempt),
        // The spec may name a revision again that an earlier attempt was taken back with.
        (Verb::Retry, AttemptState::Promoted)
            if resource.status.as_ref().is_some_and(|it| !it.taken_back.is_empty()) =>
        {
            Ok(attempt)
        }
        (Verb::Retry, state) => {
            Err(format!("attempt {} was not taken back ({state:?}): there is nothing to try again", attempt.id))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::model_deployment::request::pending;

    fn deployment(state: &str, step: Option<i32>) -> ModelDeployment {
        let mut attempt = json!({"id": "ab-2-0a1b", "revision": "ab", "entry": {"revision": "ab", "name": "v2", "uid": "e"},
            "state": state, "weight": "5%", "startedAt": "2026-11-24T00:00:00Z", "enteredAt": "2026-11-24T00:00:00Z"});
        if let Some(step) = step {
            attempt["step"] = json!(step);
        }
        serde_json::from_value(json!({"apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": "churn"}, "status": {"attempt": attempt},
            "spec": {"modelRef": {"name": "v2"}, "port": 80, "template": {}, "analysis": {"none": "a test"}}}))
        .unwrap()
    }

    fn written(mut resource: ModelDeployment, verb: Verb, by: &str) -> ModelDeployment {
        let value = annotation(verb, addressee(&resource, verb).unwrap(), 255, by);
        resource.metadata.annotations = Some([(labels::REQUEST.to_owned(), value)].into());
        resource
    }

    #[test]
    fn what_is_written_is_what_the_operator_carries_out() {
        for (verb, state, step) in [
            (Verb::Abort, "Observing", Some(1)),
            (Verb::Abort, "Starting", None),
            (Verb::Retry, "RolledBack", None),
            (Verb::Retry, "Failed", None),
        ] {
            let resource = written(deployment(state, step), verb, "system:serviceaccount:crm:ci/build");
            let (asked, request) = pending(&resource, resource.status.as_ref().unwrap()).unwrap();
            assert_eq!((asked, request.attempt.as_str()), (verb, "ab-2-0a1b"));
        }
    }

    #[test]
    fn the_annotation_names_attempt_step_and_requester() {
        let resource = deployment("Observing", Some(1));
        let attempt = addressee(&resource, Verb::Abort).unwrap();
        assert_eq!(annotation(Verb::Abort, attempt, 255, "ana@example.com"), "abort/ab-2-0a1b/1/ff/ana@example.com");
    }

    #[test]
    fn a_request_for_nothing_is_refused_before_it_is_written() {
        for (verb, state, why) in [
            (Verb::Abort, "Promoted", "point spec.modelRef at the earlier entry"),
            (Verb::Abort, "RolledBack", "nothing to abort"),
            (Verb::Abort, "RollingBack", "taken back already"),
            (Verb::Retry, "Observing", "nothing to try again"),
            (Verb::Retry, "Promoted", "nothing to try again"),
        ] {
            let said = addressee(&deployment(state, None), verb).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
