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
    let request = HandledRequest { verb: verb.into(), attempt: attempt.into(), nonce: nonce.into() };
    let meant = status.attempt.as_ref().is_some_and(|it| it.id == attempt);
    (meant && status.handled_request.as_ref() != Some(&request)).then_some((kind, request))
}
