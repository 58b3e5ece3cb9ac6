//! What wakes a ModelDeployment: itself, its children, its entry, its ConfigMaps.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodTemplateSpec};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use super::contents::Contents;
use super::{MetricSource, ModelDeployments};
use crate::api::ModelDeployment;
use crate::api::labels;
use crate::build::record;
use crate::decide::model_deployment::observed::Settings;
use crate::observe::model_registry_entry;
use crate::runtime::operator::Registration;
use crate::runtime::{Cache, Queue, Watch, Watchable};

/// Watches ModelDeployments, entries and everything else a decision needs, and runs
/// the machines of both kinds.
pub fn register(registration: &mut Registration<'_>, metrics: MetricSource, settings: Settings) {
    let queue: Queue<ModelDeployment> = Queue::default();
    let own = registration.watches.add(Watch::new(watcher::Config::default()).index(references).wakes_itself(&queue));
    let entries = model_registry_entry::register(registration, |watch| {
        let deployments = own.clone();
        watch.wakes(&queue, move |entry| users(&deployments, entry, entry_key))
    });
    let deployments = own.clone();
    // Only metadata: a cluster's ConfigMaps can be more than this process has memory for.
    let config_maps = Watch::<PartialObjectMeta<ConfigMap>>::new(watcher::Config::default())
        .wakes(&queue, move |config_map| users_of_config_map(&deployments, config_map));
    let pods = Watch::<Pod>::new(labelled()).trim(forget_pod_spec).index(|pod| pod_key(pod).into_iter().collect());
    let machine = ModelDeployments {
        client: registration.client.clone(),
        entries,
        config_maps: registration.watches.add(config_maps),
        contents: Contents::new(own.clone()),
        records: registration.watches.add(children().trim(record::pack).wakes(&queue, deployment_of)),
        deployments: registration.watches.add(children().trim(forget_pod_template).wakes(&queue, deployment_of)),
        autoscalers: registration.watches.add(children().trim(forget_measurements).wakes(&queue, deployment_of)),
        services: registration.watches.add(children().wakes(&queue, deployment_of)),
        routes: registration.watches.add(children().wakes(&queue, deployment_of)),
        pods: registration.watches.add(pods.wakes(&queue, deployment_of)),
        metrics,
        trail: registration.trail(),
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

fn pod_key(pod: &Pod) -> Option<String> {
    let label = |name| pod.labels().get(name);
    Some(pods_key(label(labels::DEPLOYMENT)?, label(labels::REVISION)?))
}

/// Everything that a deployment's spec names.
pub(super) fn references(deployment: &ModelDeployment) -> Vec<String> {
    let spec = &deployment.spec;
    let shared = spec.analysis.metrics_from.iter().map(|source| config_map_key(&source.config_map_ref.name));
    // A template that is none refers to nothing; `decide` says what is wrong with it.
    let originals = || spec.template.config_maps().into_iter().flatten().map(|(name, _)| name);
    let copies = originals().filter_map(|original| name_of_copy(deployment, original));
    let copied = originals().cloned().chain(copies).map(|name| config_map_key(&name));
    shared.chain(copied).chain([entry_key(&spec.model_ref.name)]).collect()
}

fn labelled() -> watcher::Config {
    watcher::Config::default().labels(labels::DEPLOYMENT)
}

fn children<K: Watchable>() -> Watch<K> {
    Watch::new(labelled())
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

/// Of a Deployment the digest of what was applied says enough of its template.
fn forget_pod_template(deployment: &mut Deployment) {
    if let Some(spec) = &mut deployment.spec {
        spec.template = PodTemplateSpec::default();
    }
}

/// Of an autoscaler only what it was told matters.
fn forget_measurements(autoscaler: &mut HorizontalPodAutoscaler) {
    autoscaler.status = None;
}

/// Of a pod only its labels and status matter.
fn forget_pod_spec(pod: &mut Pod) {
    pod.spec = None;
}
