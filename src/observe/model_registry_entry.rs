//! A registry entry needs nothing but itself.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::runtime::watcher;

use crate::api::ModelRegistryEntry;
use crate::api::model_registry_entry::ModelRegistryEntryStatus;
use crate::audit::Entry;
use crate::decide::Plan;
use crate::decide::model_registry_entry::{self, Observed};
use crate::runtime::operator::Registration;
use crate::runtime::{Cache, Machine, ObserveError, PassMemory, Queue, Watch};

/// The machine of ModelRegistryEntries.
pub struct ModelRegistryEntries;

impl Machine for ModelRegistryEntries {
    type Resource = ModelRegistryEntry;
    type Status = ModelRegistryEntryStatus;
    type Observed = Observed;

    const KIND: &'static str = "ModelRegistryEntry";

    async fn observe(&self, _: Arc<ModelRegistryEntry>, memory: &PassMemory) -> Result<Observed, ObserveError> {
        Ok(Observed { lease_epoch: memory.lease_epoch })
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

/// Watches entries and runs their machine. `also` is woken by every change of an entry.
pub fn register(
    registration: &mut Registration<'_>,
    also: impl FnOnce(Watch<ModelRegistryEntry>) -> Watch<ModelRegistryEntry>,
) -> Cache<ModelRegistryEntry> {
    let queue = Queue::default();
    let watch = also(Watch::new(watcher::Config::default()).wakes_itself(&queue));
    let cache = registration.watches.add(watch);
    registration.controller(ModelRegistryEntries, cache.clone(), queue);
    cache
}
