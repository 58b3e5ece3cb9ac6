//! Conditions on GatewayClasses, Gateways and routes.
//!
//! A status is written only if it differs from the observed one, and
//! `lastTransitionTime` moves only when a condition's status does. Writes run
//! beside the passes, [`PARALLEL`] at a time: with a thousand routes to report, the
//! next change of weights does not wait for them. Every write carries the
//! resourceVersion that was judged, so that a verdict on an older generation
//! can never overwrite a newer one; after a conflict the object is judged again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
};

use super::translate::Verdict;

/// Status writes at a time.
const PARALLEL: usize = 16;
/// How soon an object whose status could not be written is judged again.
const AGAIN: Duration = Duration::from_millis(20);

/// A status as it was asked for: resourceVersion, and the status without its times.
type Asked = (String, Value);
/// Statuses that no task has taken up yet, by uid.
type Waiting = Arc<Mutex<HashMap<String, Value>>>;

/// Writes statuses in the background.
pub(crate) struct StatusWriter {
    client: Client,
    permits: Arc<Semaphore>,
    tasks: JoinSet<()>,
    /// Rung when a write met a conflict: the object must be judged again.
    changed: Arc<Notify>,
    /// By uid: a pass that has not yet seen its own write does not write again.
    asked: Arc<Mutex<HashMap<String, Asked>>>,
    /// A newer status takes the place of an older one that still waits.
    waiting: Waiting,
}

impl StatusWriter {
    /// A writer through this client.
    pub(crate) fn new(client: Client, changed: Arc<Notify>) -> Self {
        let permits = Arc::new(Semaphore::new(PARALLEL));
        Self { client, permits, tasks: JoinSet::new(), changed, asked: Arc::default(), waiting: Arc::default() }
    }

    /// Writes the status of the object in the background.
    pub(crate) fn write<K, S>(&mut self, object: &K, status: &S)
    where
        K: Resource<DynamicType = ()>,
        S: Serialize,
    {
        while self.tasks.try_join_next().is_some() {}
        let version = object.resource_version().unwrap_or_default();
        let Ok(status) = serde_json::to_value(status) else { return };
        let uid = object.uid().unwrap_or_default();
        let asked = (version.clone(), without_times(status.clone()));
        if locked(&self.asked).insert(uid.clone(), asked.clone()) == Some(asked) {
            return;
        }
        let patch = json!({"metadata": {"resourceVersion": version}, "status": status});
        if locked(&self.waiting).insert(uid.clone(), patch).is_none() {
            self.spawn(object, uid);
        }
    }

    fn spawn<K: Resource<DynamicType = ()>>(&mut self, object: &K, uid: String) {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let (name, permits, changed) = (object.name_any(), self.permits.clone(), self.changed.clone());
        let (asked, waiting) = (self.asked.clone(), self.waiting.clone());
        self.tasks.spawn(async move {
            let Ok(_permit) = permits.acquire().await else { return };
            let Some(patch) = locked(&waiting).remove(&uid) else { return };
            let written = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            if let Err(error) = written {
                if !matches!(&error, kube::Error::Api(status) if [404, 409].contains(&status.code)) {
                    tracing::warn!(kind = resource.kind, name, %error, "status not written; it is tried again");
                }
                locked(&asked).remove(&uid);
                tokio::time::sleep(AGAIN).await;
                changed.notify_one();
            }
        });
    }

    /// Forgets what was asked for objects that no longer exist.
    pub(crate) fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        locked(&self.asked).retain(|uid, _| exists(uid));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same status at another time is the same status.
fn without_times(mut status: Value) -> Value {
    match &mut status {
        Value::Object(fields) => {
            fields.remove("lastTransitionTime");
            fields.values_mut().for_each(|it| *it = without_times(it.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| *it = without_times(it.take())),
        _ => {}
    }
    status
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
