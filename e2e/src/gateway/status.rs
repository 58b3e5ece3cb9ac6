//! Conditions on GatewayClasses, Gateways and routes.
//!
//! A status is written only if it differs from the observed one, and
//! `lastTransitionTime` moves only when a condition's status does. Writes run
//! beside the passes, [`PARALLEL`] at a time: with a thousand routes to report, the
//! next change of weights does not wait for them. Every write carries the
//! resourceVersion that was judged, so that a verdict on an older generation
//! can never overwrite a newer one; a conflict is dropped, because the
//! change that caused it brings the next pass.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use serde::Serialize;
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet};

use super::translate::Verdict;

/// Status writes at a time.
const PARALLEL: usize = 16;

/// Writes statuses in the background.
pub(crate) struct StatusWriter {
    client: Client,
    permits: Arc<Semaphore>,
    tasks: JoinSet<()>,
    /// resourceVersion and status last asked for, by uid: a pass that has not
    /// yet seen its own write does not write again.
    asked: HashMap<String, (String, serde_json::Value)>,
}

impl StatusWriter {
    /// A writer through this client.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, permits: Arc::new(Semaphore::new(PARALLEL)), tasks: JoinSet::new(), asked: HashMap::new() }
    }

    /// Writes the status of the object in the background.
    pub(crate) fn write<K, S>(&mut self, object: &K, status: &S)
    where
        K: Resource<DynamicType = ()>,
        S: Serialize,
    {
        while self.tasks.try_join_next().is_some() {}
        let version = object.resource_version().unwrap_or_default();
        let Ok(status) = serde_json::to_value(status) else {
            return;
        };
        let asked = (version.clone(), status.clone());
        if self.asked.insert(object.uid().unwrap_or_default(), asked.clone()) == Some(asked) {
            return;
        }
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let (name, permits) = (object.name_any(), self.permits.clone());
        let patch = json!({"metadata": {"resourceVersion": version}, "status": status});
        self.tasks.spawn(async move {
            let Ok(_permit) = permits.acquire().await else {
                return;
            };
            let written = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            match written {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {}
                Err(error) => {
                    tracing::warn!(kind = resource.kind, name, %error, "status not written")
                }
            }
        });
    }

    /// Forgets what was asked for objects that no longer exist.
    pub(crate) fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.asked.retain(|uid, _| exists(uid));
    }
}

/// The verdicts as conditions; times are taken over from `before` where the status is the same.
pub(crate) fn conditions(verdicts: &[Verdict], generation: Option<i64>, before: &[Condition]) -> Vec<Condition> {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let each = verdicts.iter().map(|verdict| {
        let status = if verdict.holds { "True" } else { "False" };
        let same = before.iter().find(|it| it.type_ == verdict.kind && it.status == status);
        Condition {
            type_: verdict.kind.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.to_owned(),
            message: verdict.message.clone(),
            observed_generation: generation,
            last_transition_time: same.map_or(Time(now), |it| it.last_transition_time.clone()),
        }
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_transition_moves_only_with_the_status() {
        let old = Time(Timestamp::UNIX_EPOCH);
        let mut before = conditions(&[Verdict::yes("Accepted", "Accepted")], Some(1), &[]);
        before[0].last_transition_time = old.clone();
        let same = conditions(&[Verdict::yes("Accepted", "Accepted")], Some(2), &before);
        assert_eq!((same[0].observed_generation, &same[0].last_transition_time), (Some(2), &old));
        let other = conditions(&[Verdict::no("Accepted", "UnsupportedValue", "no")], Some(2), &before);
        assert_ne!(other[0].last_transition_time, old);
    }
}
