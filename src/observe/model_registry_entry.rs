//! A registry entry needs itself, and what people have said of it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;

use super::approvals::{self, Approvals, GovernanceSettings};
use crate::api::approval::SubjectKind;
use crate::api::model_registry_entry::ModelRegistryEntryStatus;
use crate::api::{Approval, ModelDeployment, ModelRegistryEntry, labels};
use crate::audit::Entry;
use crate::decide::Plan;
use crate::decide::approval;
use crate::decide::model_registry_entry::{self, Observed, usage};
use crate::runtime::operator::Registration;
use crate::runtime::{Cache, Machine, ObserveError, PassMemory, Queue, Watch};

/// The machine of ModelRegistryEntries.
pub struct ModelRegistryEntries {
    deployments: Cache<ModelDeployment>,
    approvals: Approvals,
    roles: Vec<String>,
    require_governance: bool,
}

impl Machine for ModelRegistryEntries {
    type Resource = ModelRegistryEntry;
    type Status = ModelRegistryEntryStatus;
    type Observed = Observed;

    const KIND: &'static str = "ModelRegistryEntry";
    const FINALIZER: Option<&'static str> = Some(labels::IN_USE);

    async fn observe(&self, resource: Arc<ModelRegistryEntry>, memory: &PassMemory) -> Result<Observed, ObserveError> {
        let mut observed = Observed {
            lease_epoch: memory.lease_epoch,
            approval_roles: self.roles.clone(),
            require_governance: self.require_governance,
            ..Observed::default()
        };
        let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
        let known = resource.status.as_ref().map(|it| it.used_by.as_slice()).unwrap_or_default();
        let known: Vec<&str> = known.iter().map(|it| it.name.as_str()).collect();
        let most = usage::MOST.saturating_add(1);
        observed.users = self.deployments.some_names(&namespace, &user_key(&name), &known, most);
        observed.unreadable_user = self.deployments.unreadable(&namespace);
        observed.refused = memory.refusal.clone();
        if !approval::roles_of(&resource, &self.roles).is_empty() {
            observed.approvals = self.approvals.about(&namespace, SubjectKind::ModelRegistryEntry, &name);
            observed.guard = self.approvals.guard().await;
        }
        Ok(observed)
    }

    fn decide(
        resource: &ModelRegistryEntry,
        observed: &Observed,
        now: DateTime<Utc>,
    ) -> Plan<ModelRegistryEntryStatus> {
        model_registry_entry::decide(resource, observed, now)
    }

    /// Nothing is decided about an entry that would go to the trail.
    fn accounts_for(_: &ModelRegistryEntry, _: &Entry) -> bool {
        true
    }

    fn stamp(status: &mut ModelRegistryEntryStatus, lease_epoch: i64) {
        status.lease_epoch = lease_epoch;
    }
}

/// What else is woken: by an entry, and by an Approval.
pub struct Also<E, A> {
    /// By every change of an entry.
    pub entries: E,
    /// By every change of an Approval.
    pub approvals: A,
}

/// What a deployment that runs revisions of an entry is found by.
pub(super) fn user_key(entry: &str) -> String {
    format!("{USES}{entry}")
}

/// What keys of users begin with.
const USES: &str = "uses/";

/// The watch of deployments wakes an entry when one begins to use it, and when one does no more.
pub fn woken_by_users(watch: Watch<ModelDeployment>, queue: &Queue<ModelRegistryEntry>) -> Watch<ModelDeployment> {
    watch.wakes_by_key(queue, |key| key.strip_prefix(USES))
}

/// Watches entries and Approvals, and runs the machine of entries, which `queue` wakes.
pub fn register(
    registration: &mut Registration<'_>,
    queue: Queue<ModelRegistryEntry>,
    deployments: Cache<ModelDeployment>,
    settings: GovernanceSettings,
    also: Also<
        impl FnOnce(Watch<ModelRegistryEntry>) -> Watch<ModelRegistryEntry>,
        impl FnOnce(Watch<Approval>) -> Watch<Approval>,
    >,
) -> (Cache<ModelRegistryEntry>, Approvals) {
    let watch = (also.entries)(Watch::new(watcher::Config::default()).wakes_itself(&queue));
    let cache = registration.watches.add(watch);
    let approvals = (also.approvals)(approvals::watch().wakes(&queue, entry_of));
    let approvals = registration.watches.add(approvals);
    let approvals = Approvals::new(approvals, registration.client.clone(), registration.clock(), settings.policies);
    let (roles, require_governance) = (settings.roles, settings.required);
    let machine = ModelRegistryEntries { deployments, approvals: approvals.clone(), roles, require_governance };
    registration.controller(machine, cache.clone(), queue);
    (cache, approvals)
}

fn entry_of(approval: &Approval) -> Vec<ObjectRef<ModelRegistryEntry>> {
    let subject = &approval.spec.subject;
    let namespace = approval.namespace().unwrap_or_default();
    let is_entry = subject.kind == SubjectKind::ModelRegistryEntry;
    is_entry.then(|| ObjectRef::new(&subject.name).within(&namespace)).into_iter().collect()
}
