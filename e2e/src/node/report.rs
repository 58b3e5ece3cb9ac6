//! Tells the API server what became of a pod, when something did.
//!
//! A strategic merge patch of the status subresource, so that conditions of
//! others (an eviction's `DisruptionTarget`) stay. Such a patch keeps what it
//! does not name, so a reason that has gone is named with `null`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{launch::PodContext, status};

/// How long a failed write waits before it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Reports one pod's status.
pub(super) struct Reporter {
    context: Arc<PodContext>,
    api: Api<Pod>,
    /// What the API server was last told.
    told: Option<PodStatus>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The API server knows.
    Yes,
    /// There is no such pod any more.
    Gone,
    /// It could not be told now.
    NotYet,
}

impl Reporter {
    /// A reporter that has told nothing yet.
    pub(super) fn new(context: Arc<PodContext>) -> Self {
        let api = Api::namespaced(context.node.client.clone(), context.namespace());
        Self { context, api, told: None }
    }

    /// Reports every change, for as long as it is polled.
    pub(super) async fn keep(&mut self) -> Infallible {
        let mut changes = self.context.facts.subscribe();
        loop {
            if self.once().await == Told::NotYet {
                tokio::time::sleep(RETRY).await;
            } else if changes.changed().await.is_err() {
                // The facts live as long as the context that this reporter holds.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Reports now, if there is anything new.
    pub(super) async fn once(&mut self) -> Told {
        let pod = &self.context.pod;
        let known = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let before = self.told.as_ref().and_then(|told| told.conditions.as_deref()).unwrap_or(known);
        let facts = self.context.facts.borrow().clone();
        let status = status::compute(pod, &facts, before, Timestamp::now());
        if self.told.as_ref() == Some(&status) {
            return Told::Yes;
        }
        let body = match patch(&status, self.context.uid()) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "a pod status cannot be written as JSON");
                return Told::NotYet;
            }
        };
        match self.api.patch_status(self.context.name(), &PatchParams::default(), &Patch::Strategic(body)).await {
            Ok(_) => {
                self.told = Some(status);
                Told::Yes
            }
            // 409: the name belongs to another pod by now.
            Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => Told::Gone,
            Err(error) => {
                tracing::warn!(pod = self.context.name(), %error, "pod status not written yet");
                Told::NotYet
            }
        }
    }
}

/// The patch that makes a pod's status this one. The uid makes it fail on a
/// namesake.
fn patch(status: &PodStatus, uid: &str) -> serde_json::Result<Value> {
    let mut status = serde_json::to_value(status)?;
    for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(fields) = condition.as_object_mut() {
            fields.entry("reason").or_insert(Value::Null);
            fields.entry("message").or_insert(Value::Null);
        }
    }
    for list in ["podIPs", "hostIPs"] {
        if let Some(list) = status.get_mut(list).and_then(Value::as_array_mut) {
            list.push(json!({"$patch": "replace"}));
        }
    }
    Ok(json!({"metadata": {"uid": uid}, "status": status}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_has_gone_is_taken_back() {
        let status: PodStatus =
            serde_json::from_value(json!({"conditions": [{"type": "Ready", "status": "True"}]})).unwrap();
        let body = patch(&status, "u").unwrap();
        assert_eq!(body["status"]["conditions"][0]["reason"], Value::Null);
        assert!(body["status"]["conditions"][0].as_object().unwrap().contains_key("message"));
        assert_eq!(body["metadata"]["uid"], "u");
    }
}
