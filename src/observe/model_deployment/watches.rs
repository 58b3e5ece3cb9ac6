//! What wakes a ModelDeployment: itself, its children, its entry, its ConfigMaps.

mod trim;

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use self::trim::{
    forget_all_but_containers, forget_all_but_end, forget_all_but_pods, forget_all_but_suspend, forget_all_but_target,
    forget_measurements,
};
use super::contents::Contents;
use super::desk::Desk;
use super::sources::Sources;
use super::{MetricSource, ModelDeployments, Unknown};
use crate::api::approval::{Approval, SubjectKind};
use crate::api::condition;
use crate::api::labels;
use crate::api::{ModelDeployment, ModelRegistryEntry};
use crate::decide::model_deployment::observed::Settings;
use crate::decide::model_deployment::revocation::entries_of;
use crate::decide::model_registry_entry::{usage, verification};
use crate::observe::approvals::GovernanceSettings;
use crate::observe::model_registry_entry::{self, Also, Seen};
use crate::runtime::operator::Registration;
use crate::runtime::{Cache, Loss, NamespaceMeta, Queue, Watch, Watchable};

/// What there is not where Jobs may not be read; all else goes on.
const WITHOUT_JOBS: Loss = Loss {
    what: "metrics of provider job are not judged, nor artifacts verified when they are registered",
    role: "Role",
};

/// Watches ModelDeployments, entries and everything else a decision needs, and runs
/// the machines of both kinds.
pub fn register(
    registration: &mut Registration<'_>,
    metrics: MetricSource,
    settings: Settings,
    governance: GovernanceSettings,
) {
    let queue: Queue<ModelDeployment> = Queue::default();
    let queue_of_entries = Queue::default();
    let own = Watch::new(watcher::Config::default()).index(references).wakes_itself(&queue);
    let own = registration.watches.add(model_registry_entry::woken_by_users(own, &queue_of_entries));
    let (of_entries, of_approvals) = (own.clone(), own.clone());
    let also = Also {
        entries: |it: Watch<_>| {
            it.wakes_when(&queue, is_news_of_entry, move |entry| users(&of_entries, entry, entry_key))
        },
        approvals: |it: Watch<_>| it.wakes(&queue, move |approval| deployments_of(&of_approvals, approval)),
    };
    let jobs = jobs().wakes(&queue, deployment_of);
    let jobs = model_registry_entry::woken_by_looks(jobs, &queue_of_entries);
    let jobs = registration.watches.add_welcome(jobs, WITHOUT_JOBS);
    let settings = Settings {
        approval_roles: governance.roles.clone(),
        require_governance: governance.required,
        verify_artifacts: governance.verification.is_some(),
        ..settings
    };
    let seen = Seen { deployments: own.clone(), jobs: jobs.clone() };
    let (entries, approvals) = model_registry_entry::register(registration, queue_of_entries, seen, governance, also);
    let deployments = own.clone();
    // Only metadata: a cluster's ConfigMaps can be more than this process has memory for.
    let config_maps = Watch::<PartialObjectMeta<ConfigMap>>::new(watcher::Config::default())
        .wakes(&queue, move |config_map| users_of_config_map(&deployments, config_map));
    let deployments = own.clone();
    let namespaces = Watch::<NamespaceMeta>::new(watcher::Config::default())
        .trim(forget_all_but_suspend)
        .only_when(|before, after| before.and_then(suspend_of) != suspend_of(after))
        .wakes(&queue, move |namespace| all_within(&deployments, &namespace.name_any()));
    let pods =
        Watch::<Pod>::new(labelled()).trim(forget_all_but_containers).index(|pod| pod_key(pod).into_iter().collect());
    let machine = ModelDeployments {
        client: registration.client.clone(),
        entries,
        approvals,
        config_maps: registration.watches.add(config_maps),
        contents: Contents::new(own.clone()),
        records: registration.watches.add(children().wakes(&queue, deployment_of)),
        deployments: registration.watches.add(children().trim(forget_all_but_pods).wakes(&queue, deployment_of)),
        autoscalers: registration.watches.add(children().trim(forget_measurements).wakes(&queue, deployment_of)),
        services: registration.watches.add(children().trim(forget_all_but_target).wakes(&queue, deployment_of)),
        routes: registration.watches.add(children().wakes(&queue, deployment_of)),
        jobs,
        pods: registration.watches.add(pods.wakes(&queue, deployment_of)),
        namespaces: registration.watches.add_namespaces(namespaces),
        desk: Desk::new(Sources::new(registration.client.clone(), metrics), queue.waker()),
        trail: registration.trail(),
        approvers_unknown: Unknown::default(),
        asker_unknown: Unknown::default(),
        history_unknown: Unknown::default(),
        settings,
        clock: registration.clock(),
    };
    registration.controller(machine, own, queue);
}

/// What a deployment is found by when an entry changes.
fn entry_key(name: &str) -> String {
    format!("entry/{name}")
}

/// What a deployment is found by when a ConfigMap changes.
pub(super) fn config_map_key(name: &str) -> String {
    format!("configmap/{name}")
}

/// What the pods of a revision are found by.
pub(super) fn pods_key(deployment: &str, revision: &str) -> String {
    format!("{deployment}/{revision}")
}

/// What the pods of a Job are found by.
pub(super) fn pods_of_job_key(uid: &str) -> String {
    format!("job/{uid}")
}

/// As the controller of Jobs writes it.
fn is_job(owner: &OwnerReference) -> bool {
    owner.kind == "Job" && owner.api_version == "batch/v1" && owner.controller == Some(true)
}

fn pod_key(pod: &Pod) -> Option<String> {
    if let Some(job) = pod.owner_references().iter().find(|it| is_job(it)) {
        return Some(pods_of_job_key(&job.uid));
    }
    let label = |name| pod.labels().get(name);
    Some(pods_key(label(labels::DEPLOYMENT)?, label(labels::REVISION)?))
}

/// Everything that a deployment's spec names, and the entries of the revisions that it has.
pub(super) fn references(deployment: &ModelDeployment) -> Vec<String> {
    let spec = &deployment.spec;
    let shared = spec.analysis.metrics_from.iter().map(|source| config_map_key(&source.config_map_ref.name));
    // A template that is none refers to nothing; `decide` says what is wrong with it.
    let originals = || spec.template.config_maps().into_iter().flatten().map(|(name, _)| name);
    let copies = originals().filter_map(|original| name_of_copy(deployment, original));
    let copied = originals().cloned().chain(copies).map(|name| config_map_key(&name));
    let alive = deployment.status.iter().flat_map(entries_of);
    let entries: BTreeSet<&str> = alive.chain([spec.model_ref.name.as_str()]).collect();
    let used: BTreeSet<&str> = deployment.status.iter().flat_map(usage::used_by).collect();
    let used = used.into_iter().map(model_registry_entry::user_key);
    shared.chain(copied).chain(entries.into_iter().map(entry_key)).chain(used).collect()
}

fn labelled() -> watcher::Config {
    watcher::Config::default().labels(labels::DEPLOYMENT)
}

fn children<K: Watchable>() -> Watch<K> {
    Watch::new(labelled())
}

/// Those that compute metrics, and those that look at the artifacts of entries.
fn jobs() -> Watch<Job> {
    let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let keys = |it: &Job| {
        let of_deployment = it.labels().get(labels::DEPLOYMENT).cloned();
        of_deployment.into_iter().chain(model_registry_entry::keys_of_look(it)).collect()
    };
    Watch::new(watcher::Config::default().labels(&ours)).trim(forget_all_but_end).only_when(is_news_of_job).index(keys)
}

/// Whose child it is, by label: children of a revision are owned by its record.
fn deployment_of<K: Resource>(child: &K) -> Vec<ObjectRef<ModelDeployment>> {
    let name = child.labels().get(labels::DEPLOYMENT);
    let reference = |name: &String| ObjectRef::new(name).within(child.namespace().as_deref().unwrap_or_default());
    name.map(reference).into_iter().collect()
}

/// The name that the candidate's copy of a ConfigMap needs: when somebody else's ConfigMap of that name
/// goes, the copy can be made.
fn name_of_copy(deployment: &ModelDeployment, original: &str) -> Option<String> {
    let candidate = deployment.status.as_ref()?.candidate.as_deref()?;
    Some(labels::name(&[&deployment.name_any(), original, candidate]))
}

fn users_of_config_map(
    deployments: &Cache<ModelDeployment>,
    config_map: &PartialObjectMeta<ConfigMap>,
) -> Vec<ObjectRef<ModelDeployment>> {
    // A copy of ours, or one that somebody made from such a copy and refers to.
    let mut woken = users(deployments, config_map, config_map_key);
    if config_map.labels().contains_key(labels::DEPLOYMENT) {
        woken.extend(deployment_of(config_map));
    }
    woken
}

fn users<K: Resource>(
    deployments: &Cache<ModelDeployment>,
    used: &K,
    key: impl Fn(&str) -> String,
) -> Vec<ObjectRef<ModelDeployment>> {
    let namespace = used.namespace().unwrap_or_default();
    let found = deployments.find(&namespace, &key(&used.name_any()));
    found.iter().map(|it| ObjectRef::from_obj(it.as_ref())).collect()
}

/// Whom an Approval concerns: who uses the entry, or the deployment that it is about.
fn deployments_of(deployments: &Cache<ModelDeployment>, approval: &Approval) -> Vec<ObjectRef<ModelDeployment>> {
    let (namespace, subject) = (approval.namespace().unwrap_or_default(), &approval.spec.subject);
    match subject.kind {
        SubjectKind::ModelDeployment => vec![ObjectRef::new(&subject.name).within(&namespace)],
        SubjectKind::ModelRegistryEntry => {
            let users = deployments.find(&namespace, &entry_key(&subject.name));
            users.iter().map(|it| ObjectRef::from_obj(it.as_ref())).collect()
        }
    }
}

/// What the annotation of a namespace says of suspension.
pub(super) fn suspend_of(namespace: &NamespaceMeta) -> Option<&String> {
    namespace.annotations().get(labels::SUSPEND)
}

/// Not from an index: that would be a key for each of ten thousand deployments, for what happens once a month.
fn all_within(deployments: &Cache<ModelDeployment>, namespace: &str) -> Vec<ObjectRef<ModelDeployment>> {
    let all = deployments.store().state();
    let within = all.iter().filter(|it| it.metadata.namespace.as_deref() == Some(namespace));
    within.map(|it| ObjectRef::from_obj(it.as_ref())).collect()
}

/// What the operator writes to an entry concerns nobody else, but for whether its artifact is verified: with thousands of deployments
/// of one entry each write would wake them all.
fn is_news_of_entry(before: &ModelRegistryEntry, after: &ModelRegistryEntry) -> bool {
    let told = |it: &ModelRegistryEntry| {
        let ObjectMeta { uid, generation, deletion_timestamp, .. } = it.metadata.clone();
        let verified = it.status.as_ref().and_then(|it| condition::find(&it.conditions, verification::CONDITION));
        (uid, generation, deletion_timestamp, verified.map(|it| (it.status, it.message.clone())))
    };
    told(before) != told(after)
}

/// Its controller counts pods in it, too.
fn is_news_of_job(before: Option<&Job>, after: &Job) -> bool {
    let told = |it: &Job| (it.status.clone().unwrap_or_default(), it.metadata.deletion_timestamp.is_some());
    before.is_none_or(|before| told(before) != told(after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_an_entry_its_spec_its_end_and_another_one_of_its_name_are_news_and_what_the_operator_writes_is_none() {
        let spec = json!({"model": {"name": "churn", "version": "1", "kind": "Predictor"},
            "artifact": {"uri": "s3://models/churn/1/", "sha256": "0".repeat(64)}});
        let mut entry = ModelRegistryEntry::new("churn-1", serde_json::from_value(spec).unwrap());
        entry.metadata.generation = Some(1);
        let changed = |change: &dyn Fn(&mut ModelRegistryEntry)| {
            let mut after = entry.clone();
            change(&mut after);
            is_news_of_entry(&entry, &after)
        };
        assert!(!changed(&|it| it.status = Some(Default::default())));
        let verified = json!({"conditions": [{"type": "ArtifactVerified", "status": "True", "reason": "Verified", "message": "",
            "lastTransitionTime": "2026-11-28T00:00:00Z"}]});
        assert!(changed(&|it| it.status = serde_json::from_value(verified.clone()).unwrap()));
        let reading = json!({"artifact": {"reading": {"bytes": 1, "of": 2, "at": "2026-11-28T00:00:00Z"}}});
        assert!(!changed(&|it| it.status = serde_json::from_value(reading.clone()).unwrap()));
        assert!(!changed(&|it| it.metadata.finalizers = Some(vec![labels::IN_USE.into()])));
        assert!(changed(&|it| it.metadata.generation = Some(2)));
        assert!(changed(&|it| it.metadata.uid = Some("another".into())));
        let end = || serde_json::from_value(json!("2026-11-28T00:00:00Z")).unwrap();
        assert!(changed(&|it| it.metadata.deletion_timestamp = Some(end())));
    }
}
