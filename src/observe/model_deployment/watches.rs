//! What wakes a ModelDeployment: itself, its children, its entry, its ConfigMaps.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use super::{MetricSource, ModelDeployments};
use crate::api::labels;
use crate::api::{ModelDeployment, ModelRegistryEntry};
use crate::decide::model_deployment::observed::Settings;
use crate::decide::model_deployment::target;
use crate::observe::model_registry_entry;
use crate::runtime::operator::Registration;
use crate::runtime::{Queue, Watch, Watchable};

/// Watches ModelDeployments, entries and everything else a decision needs, and runs
/// the machines of both kinds.
pub fn register(registration: &mut Registration<'_>, metrics: MetricSource, settings: Settings) {
    let queue: Queue<ModelDeployment> = Queue::default();
    let own = registration.watches.add(Watch::new(watcher::Config::default()).wakes_itself(&queue));
    let entries = model_registry_entry::register(registration, |watch| {
        let deployments = own.store().clone();
        watch.wakes(&queue, move |entry| users_of_entry(&deployments, entry))
    });
    let deployments = own.store().clone();
    let config_maps = Watch::<ConfigMap>::new(watcher::Config::default())
        .trim(forget_copied_content)
        .wakes(&queue, move |config_map| users_of_config_map(&deployments, config_map));
    let machine = ModelDeployments {
        client: registration.client.clone(),
        entries,
        config_maps: registration.watches.add(config_maps),
        records: registration.watches.add(children().wakes(&queue, deployment_of)),
        deployments: registration.watches.add(children().wakes(&queue, deployment_of)),
        services: registration.watches.add(children().wakes(&queue, deployment_of)),
        routes: registration.watches.add(children().wakes(&queue, deployment_of)),
        pods: registration
            .watches
            .add(Watch::<Pod>::new(labelled()).trim(forget_pod_spec).wakes(&queue, deployment_of)),
        metrics,
        settings,
    };
    registration.controller(machine, own, queue);
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

fn users_of_entry(deployments: &Store<ModelDeployment>, entry: &ModelRegistryEntry) -> Vec<ObjectRef<ModelDeployment>> {
    let name = entry.name_any();
    users(deployments, entry.namespace(), |it| it.spec.model_ref.name == name)
}

fn users_of_config_map(
    deployments: &Store<ModelDeployment>,
    config_map: &ConfigMap,
) -> Vec<ObjectRef<ModelDeployment>> {
    if config_map.labels().contains_key(labels::DEPLOYMENT) {
        return deployment_of(config_map);
    }
    let name = config_map.name_any();
    users(deployments, config_map.namespace(), |it| {
        let shared = it.spec.analysis.metrics_from.iter().any(|source| source.config_map_ref.name == name);
        let references = target::config_map_references(&it.spec.template).unwrap_or_default();
        shared || references.contains_key(&name) || is_name_of_a_copy(it, references.keys(), &name)
    })
}

/// Whether somebody else's ConfigMap has a name that we need: when it goes, the copy can be made.
fn is_name_of_a_copy<'a>(
    deployment: &ModelDeployment,
    mut originals: impl Iterator<Item = &'a String>,
    name: &str,
) -> bool {
    let revision = deployment.status.as_ref().and_then(|it| it.candidate.as_deref());
    let copy = |original: &str, revision| labels::name(&[&deployment.name_any(), original, revision]);
    revision.is_some_and(|revision| originals.any(|original| copy(original, revision) == name))
}

fn users(
    deployments: &Store<ModelDeployment>,
    namespace: Option<String>,
    uses: impl Fn(&ModelDeployment) -> bool,
) -> Vec<ObjectRef<ModelDeployment>> {
    let found: Vec<Arc<ModelDeployment>> = deployments.state_filter(|it| it.namespace() == namespace && uses(it));
    found.iter().map(|it| ObjectRef::from_obj(it.as_ref())).collect()
}

/// Of our own copies only the existence matters.
fn forget_copied_content(config_map: &mut ConfigMap) {
    if config_map.labels().contains_key(labels::DEPLOYMENT) {
        (config_map.data, config_map.binary_data) = (None, None);
    }
}

/// Of a pod only its labels and status matter.
fn forget_pod_spec(pod: &mut Pod) {
    pod.spec = None;
}
