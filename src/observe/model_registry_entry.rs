//! A registry entry needs itself, and what people have said of it.

mod users;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};

pub(super) use self::users::user_key;
pub use self::users::woken_by_users;
use super::approvals::{self, Approvals, GovernanceSettings};
use crate::api::approval::SubjectKind;
use crate::api::artifact_report::ArtifactProgress;
use crate::api::model_registry_entry::ModelRegistryEntryStatus;
use crate::api::{Approval, ModelDeployment, ModelRegistryEntry, labels};
use crate::audit::Entry;
use crate::build::verification::{CONTAINER, name_of, number};
use crate::connect::progress::ProgressSource;
use crate::decide::approval;
use crate::decide::live_job::LiveJob;
use crate::decide::model_registry_entry::{self, Observed, exit, verification};
use crate::decide::{ChildKind, Plan};
use crate::runtime::operator::Registration;
use crate::runtime::{Cache, Clock, Machine, ObserveError, PassMemory, Queue, Watch};

/// The machine of ModelRegistryEntries.
pub struct ModelRegistryEntries {
    client: Client,
    entries: Cache<ModelRegistryEntry>,
    deployments: Cache<ModelDeployment>,
    jobs: Cache<Job>,
    verification: Option<verification::Settings>,
    progress: Option<ProgressSource>,
    clock: Clock,
    approvals: Approvals,
    roles: approval::Roles,
    require_governance: bool,
}

impl ModelRegistryEntries {
    /// The Jobs that look at the artifact, with their pods. No cache has those: they are few, and asked for only while there is such a
    /// Job.
    async fn looks(&self, entry: &ModelRegistryEntry, memory: &mut PassMemory) -> verification::Jobs {
        let (namespace, name) = (entry.namespace().unwrap_or_default(), entry.name_any());
        let mut found = verification::Jobs { hidden: self.jobs.is_forbidden(&namespace), ..Default::default() };
        if found.hidden {
            return found;
        }
        let jobs = self.jobs.find(&namespace, &look_key(&name));
        let own = jobs.iter().filter(|it| is_under_way(it)).count();
        found.elsewhere = self.jobs.count(&namespace, UNDER_WAY).saturating_sub(own);
        found.foreign = self.foreign_jobs(entry, memory).await;
        let pods = if jobs.is_empty() || self.verification.is_none() {
            Ok(Vec::new())
        } else {
            self.pods(&namespace, &name).await
        };
        let pods = pods.unwrap_or_else(|why| {
            found.pods_unseen = Some(format!("the pods that look at the artifact cannot be listed: {why}"));
            Vec::new()
        });
        let of = |job: &Job| pods.iter().filter(|it| is_owned_by(it.as_ref(), job)).cloned().collect();
        found.live = jobs.into_iter().map(|job| LiveJob { pods: of(&job), job }).collect();
        found.progress = self.progress(entry, &found.live).await;
        found
    }

    /// How far the present look is. Its pod is asked now and then.
    async fn progress(&self, entry: &ModelRegistryEntry, jobs: &[LiveJob]) -> Option<ArtifactProgress> {
        let known = entry.status.as_ref()?.artifact.as_ref()?;
        if !verification::progress_is_due(known, self.clock.now()) {
            return None;
        }
        let current = jobs.iter().find(|it| number(&it.job, entry) == Some(known.looks))?;
        self.progress.as_ref()?.ask(current.address_of(CONTAINER)?.parse().ok()?).await
    }

    /// The entries that a vendor's exit leads through. In a circle, those behind each other until it is longer than any that ends.
    fn way_out(&self, entry: &ModelRegistryEntry) -> exit::Way {
        let namespace = entry.namespace().unwrap_or_default();
        let behind = |it: &ModelRegistryEntry| self.entries.get(&namespace, exit::fallback_of(&it.spec)?);
        let behind: Vec<_> =
            std::iter::successors(behind(entry), |it| behind(it)).take(exit::MOST.saturating_add(1)).collect();
        let next = exit::fallback_of(&behind.last().map_or(entry, Arc::as_ref).spec);
        let is_unreadable = next.is_some_and(|it| self.entries.is_unreadable(&namespace, it));
        exit::Way { behind, is_unreadable }
    }

    /// As the API server has them in its own cache: this is asked while a Job runs, again and again.
    async fn pods(&self, namespace: &str, entry: &str) -> Result<Vec<Arc<Pod>>, String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let of_entry = ListParams::default().match_any().labels(&format!("{}={entry}", labels::ENTRY));
        let found = tokio::time::timeout(ANSWER, api.list(&of_entry)).await;
        let found = found.map_err(|_| "the API server does not answer".to_owned())?;
        Ok(found.map_err(|error| error.to_string())?.items.into_iter().map(Arc::new).collect())
    }

    /// Of the Jobs that could not be created because there is one of that name, those that are not this entry's: one live look each. What is
    /// gone, or not the next one any more, is forgotten.
    async fn foreign_jobs(&self, entry: &ModelRegistryEntry, memory: &mut PassMemory) -> Vec<String> {
        let api: Api<Job> = Api::namespaced(self.client.clone(), &entry.namespace().unwrap_or_default());
        let looks = entry.status.as_ref().and_then(|it| it.artifact.as_ref()).map_or(0, |it| it.looks);
        let next = name_of(entry, looks);
        let mut foreign = Vec::new();
        memory.already_exists.retain(|(kind, name)| kind == ChildKind::Job.name() && *name == next);
        for (kind, name) in memory.already_exists.clone() {
            // A list of one: the operator has no right to get Jobs, and needs none otherwise.
            let of_name = ListParams::default().fields(&format!("metadata.name={name}"));
            let found = tokio::time::timeout(ANSWER, api.list_metadata(&of_name)).await;
            // Nobody knows whose it is then: its creation is tried again.
            let Ok(Ok(found)) = found else { continue };
            if found.items.is_empty() {
                memory.already_exists.remove(&(kind, name));
                continue;
            }
            // One that is ours and has lost its labels is in the way, too: no cache shows it.
            let is_ours =
                |job: &Job| number(job, entry).is_some() && keys_of_look(job).contains(&look_key(&entry.name_any()));
            let is_shown = |job: &Job| job.labels().get(labels::MANAGED_BY).is_some_and(|it| it == labels::MANAGER);
            let jobs = found.items.into_iter().map(|it| Job { metadata: it.metadata, ..Job::default() });
            let mut foreign_ones = jobs.filter(|it| it.name_any() == name && !(is_ours(it) && is_shown(it)));
            foreign.extend(foreign_ones.next().map(|_| name.clone()));
        }
        foreign
    }
}

fn is_owned_by(pod: &Pod, job: &Job) -> bool {
    pod.owner_references().iter().any(|it| it.controller == Some(true) && Some(&it.uid) == job.metadata.uid.as_ref())
}

fn is_under_way(job: &Job) -> bool {
    job.status.as_ref().is_none_or(|it| it.conditions.iter().flatten().all(|it| it.status != "True"))
}

/// What a Job that looks at an entry's artifact is found by.
fn look_key(entry: &str) -> String {
    format!("{LOOKS}{entry}")
}

/// What keys of such Jobs begin with. No deployment has a name like that.
const LOOKS: &str = "looks-at/";
/// The key of those that have not ended.
const UNDER_WAY: &str = "looks/";

/// What such a Job is indexed by.
pub fn keys_of_look(job: &Job) -> Vec<String> {
    let Some(entry) = job.labels().get(labels::ENTRY) else { return Vec::new() };
    let under_way = is_under_way(job).then(|| UNDER_WAY.to_owned());
    under_way.into_iter().chain([look_key(entry)]).collect()
}

/// The watch of Jobs wakes the entry whose artifact one looks at.
pub fn woken_by_looks(watch: Watch<Job>, queue: &Queue<ModelRegistryEntry>) -> Watch<Job> {
    watch.wakes(queue, |job| {
        let name = job.labels().get(labels::ENTRY);
        let entry = |it: &String| ObjectRef::new(it).within(&job.namespace().unwrap_or_default());
        name.map(entry).into_iter().collect()
    })
}

impl Machine for ModelRegistryEntries {
    type Resource = ModelRegistryEntry;
    type Status = ModelRegistryEntryStatus;
    type Observed = Observed;

    const KIND: &'static str = "ModelRegistryEntry";
    const FINALIZER: Option<&'static str> = Some(labels::IN_USE);

    async fn observe(
        &self,
        resource: Arc<ModelRegistryEntry>,
        memory: &mut PassMemory,
    ) -> Result<Observed, ObserveError> {
        let mut observed = Observed {
            lease_epoch: memory.lease_epoch,
            unconfirmed: memory.is_unconfirmed(),
            approval_roles: self.roles.clone(),
            require_governance: self.require_governance,
            ..Observed::default()
        };
        let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
        observed.users = self.users(&resource).await;
        observed.refused = memory.refusal.clone();
        observed.verification.clone_from(&self.verification);
        observed.jobs = self.looks(&resource, memory).await;
        observed.way_out = self.way_out(&resource);
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

/// What others watch, too.
pub struct Seen {
    /// Whose revisions may be of an entry.
    pub deployments: Cache<ModelDeployment>,
    /// What looks at artifacts, among others.
    pub jobs: Cache<Job>,
}

/// What else is woken: by an entry, and by an Approval.
pub struct Also<E, A> {
    /// By every change of an entry.
    pub entries: E,
    /// By every change of an Approval.
    pub approvals: A,
}

/// What a vendor's entry is found by when the entry that takes its place changes.
fn takers_key(fallback: &str) -> String {
    format!("falls-back-on/{fallback}")
}

/// How long the API server has for an answer that a pass waits for.
const ANSWER: Duration = Duration::from_secs(5);

/// Watches entries and Approvals, and runs the machine of entries, which `queue` wakes.
pub fn register(
    registration: &mut Registration<'_>,
    queue: Queue<ModelRegistryEntry>,
    seen: Seen,
    settings: GovernanceSettings,
    also: Also<
        impl FnOnce(Watch<ModelRegistryEntry>) -> Watch<ModelRegistryEntry>,
        impl FnOnce(Watch<Approval>) -> Watch<Approval>,
    >,
) -> (Cache<ModelRegistryEntry>, Approvals) {
    let watch = Watch::new(watcher::Config::default())
        .index(|it: &ModelRegistryEntry| exit::fallback_of(&it.spec).map(takers_key).into_iter().collect())
        .wakes_itself(&queue)
        .wakes_kin(&queue, exit::is_news, takers_key, exit::MOST.saturating_add(1));
    let watch = (also.entries)(watch);
    let cache = registration.watches.add(watch);
    let approvals = (also.approvals)(approvals::watch().wakes(&queue, entry_of));
    let approvals = registration.watches.add(approvals);
    let approvals = Approvals::new(approvals, registration.client.clone(), registration.clock(), settings.policies);
    let machine = ModelRegistryEntries {
        client: registration.client.clone(),
        entries: cache.clone(),
        deployments: seen.deployments,
        jobs: seen.jobs,
        verification: settings.verification,
        progress: settings.progress,
        clock: registration.clock(),
        approvals: approvals.clone(),
        roles: settings.roles,
        require_governance: settings.required,
    };
    registration.controller(machine, cache.clone(), queue);
    (cache, approvals)
}

fn entry_of(approval: &Approval) -> Vec<ObjectRef<ModelRegistryEntry>> {
    let subject = &approval.spec.subject;
    let namespace = approval.namespace().unwrap_or_default();
    let is_entry = subject.kind == SubjectKind::ModelRegistryEntry;
    is_entry.then(|| ObjectRef::new(&subject.name).within(&namespace)).into_iter().collect()
}
