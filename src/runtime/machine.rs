//! What a kind brings to the loop.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PassMemory;
use crate::audit::Entry;
use crate::decide::Plan;

/// One kind: how it is observed and how it decides. The loop does the rest.
pub trait Machine: Send + Sync + 'static {
    /// The custom resource.
    type Resource: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static;
    /// Its status.
    type Status: Serialize + Clone + PartialEq + Send + Sync + 'static;
    /// Everything a decision rests on besides the resource and the time.
    type Observed: Send + Sync;

    /// The kind as Kubernetes spells it.
    const KIND: &'static str;

    /// The kind's finalizer, if its plans ever hold one.
    const FINALIZER: Option<&'static str> = None;

    /// Gathers what [`Machine::decide`] needs: caches, the outside, and what the loop remembers, of which it forgets what it finds to be over.
    fn observe(
        &self,
        resource: Arc<Self::Resource>,
        memory: &mut PassMemory,
    ) -> impl Future<Output = Result<Self::Observed, ObserveError>> + Send;

    /// Pure and total: what to do. A status equal to the present one (the epoch aside) is `None`, unless it has to be
    /// confirmed: see [`crate::decide::confirms_first`].
    fn decide(resource: &Self::Resource, observed: &Self::Observed, now: DateTime<Utc>) -> Plan<Self::Status>;

    /// Whether the resource's status tells what became of this intent: it took effect, or its
    /// number is given up. If not, [`Machine::decide`] gives it up.
    fn accounts_for(resource: &Self::Resource, intent: &Entry) -> bool;

    /// The resource is gone: so is what was remembered of it.
    fn forget(&self, _namespace: &str, _name: &str) {}

    /// Puts the leader's epoch into a status that is about to be written.
    fn stamp(status: &mut Self::Status, lease_epoch: i64);
}

/// Why nothing could be decided. What the outside answers (a query refused, an entry missing)
/// is no such error but part of what was observed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct ObserveError {
    /// CamelCase, for the error metric: a closed set per kind.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}
