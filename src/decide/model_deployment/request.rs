//! Requests by people: `werkbank.dev/request: <verb>/<attempt>/<step>/<nonce>/<by>`.
//!
//! A request names the attempt it means, so an old one (in Git, or in a browser
//! tab) does nothing later; the nonce lets the same verb be said twice.

use crate::api::labels;
use crate::api::model_deployment::{HandledRequest, ModelDeployment, ModelDeploymentStatus};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Take the candidate back now.
    Abort,
    /// Try a revision again that was taken back.
    Retry,
}

/// The request on the resource, if it is well-formed, meant for the present
/// attempt, and not carried out yet.
#[must_use]
pub fn pending(resource: &ModelDeployment, status: &ModelDeploymentStatus) -> Option<(Verb, HandledRequest)> {
    let text = resource.metadata.annotations.as_ref()?.get(labels::REQUEST)?;
    let mut parts = text.splitn(5, '/');
    let (verb, attempt, _step, nonce, _by) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let kind = match verb {
        "abort" => Verb::Abort,
        "retry" => Verb::Retry,
        _ => return None,
    };
    if !is_nonce(nonce) {
        return None;
    }
    let request = HandledRequest { verb: verb.into(), attempt: attempt.into(), nonce: nonce.into() };
    let meant = status.attempt.as_ref().is_some_and(|it| it.id == attempt);
    (meant && status.handled_request.as_ref() != Some(&request)).then_some((kind, request))
}

/// It goes into the status, where nothing long belongs, and nothing that could name a person.
fn is_nonce(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-".contains(&it))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pending_with(text: &str, handled: Option<HandledRequest>) -> Option<(Verb, HandledRequest)> {
        let resource: ModelDeployment = serde_json::from_value(json!({
            "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": "churn", "annotations": {"werkbank.dev/request": text}},
            "spec": {"modelRef": {"name": "e"}, "port": 1, "template": {}, "analysis": {"none": "x"}},
        }))
        .unwrap();
        let now = "2026-11-24T00:00:00Z";
        let attempt = json!({"id": "a1-2-uid", "revision": "r", "entry": {"revision": "r", "name": "e", "uid": "u"},
            "state": "Observing", "weight": "5%", "startedAt": now, "enteredAt": now});
        let mut status: ModelDeploymentStatus = serde_json::from_value(json!({"attempt": attempt})).unwrap();
        status.handled_request = handled;
        pending(&resource, &status)
    }

    #[test]
    fn a_request_is_for_one_attempt_and_carried_out_once() {
        let (verb, request) = pending_with("abort/a1-2-uid/0/n1/jane", None).unwrap();
        assert_eq!(verb, Verb::Abort);
        assert_eq!(pending_with("abort/a1-2-uid/0/n1/jane", Some(request.clone())), None);
        assert!(
            pending_with("abort/a1-2-uid/0/n2/jane", Some(request.clone())).is_some(),
            "another nonce, another request"
        );
        assert!(pending_with("retry/a1-2-uid/0/n1/jane", Some(request)).is_some(), "another verb, another request");
        assert_eq!(pending_with("abort/a1-1-uid/0/n1/jane", None), None, "an old attempt");
    }

    #[test]
    fn who_asks_may_hold_slashes_and_what_is_malformed_asks_nothing() {
        assert!(pending_with("retry/a1-2-uid/0/n1/system:serviceaccount/x", None).is_some());
        for text in [
            "",
            "abort",
            "abort/a1-2-uid",
            "abort/a1-2-uid/0/n1",
            "Abort/a1-2-uid/0/n1/jane",
            "pause/a1-2-uid/0/n1/jane",
            "abort/a1-2-uid/0//jane",
            "abort/a1-2-uid/0/jane@example.com/jane",
            &format!("abort/a1-2-uid/0/{}/jane", "n".repeat(65)),
        ] {
            assert_eq!(pending_with(text, None), None, "{text}");
        }
    }
}
