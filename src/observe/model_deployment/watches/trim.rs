//! What is kept of watched objects: what decisions read of them. With ten thousand deployments, the rest would be most of the
//! operator's memory.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus, Service, ServiceSpec};
use kube::core::ObjectMeta;

use super::is_job;
use crate::api::labels;
use crate::runtime::NamespaceMeta;

pub(super) fn forget_all_but_suspend(namespace: &mut NamespaceMeta) {
    let ObjectMeta { name, uid, resource_version, annotations, .. } = std::mem::take(&mut namespace.metadata);
    let annotations = annotations.map(|all| all.into_iter().filter(|(key, _)| key == labels::SUSPEND).collect());
    namespace.metadata = ObjectMeta { name, uid, resource_version, annotations, ..ObjectMeta::default() };
}

/// Of a Deployment matters how many pods it is to have, and how many it has: what else was applied, the digest in its metadata says.
pub(super) fn forget_all_but_pods(deployment: &mut Deployment) {
    let replicas = deployment.spec.take().and_then(|it| it.replicas);
    deployment.spec = Some(DeploymentSpec { replicas, ..DeploymentSpec::default() });
    let Some(DeploymentStatus { observed_generation, ready_replicas, .. }) = deployment.status.take() else { return };
    deployment.status = Some(DeploymentStatus { observed_generation, ready_replicas, ..DeploymentStatus::default() });
}

/// Of a Service matters which pods it sends to, and where.
pub(super) fn forget_all_but_target(service: &mut Service) {
    service.status = None;
    let Some(ServiceSpec { selector, ports, .. }) = service.spec.take() else { return };
    service.spec = Some(ServiceSpec { selector, ports, ..ServiceSpec::default() });
}

/// Of an autoscaler only what it was told matters.
pub(super) fn forget_measurements(autoscaler: &mut HorizontalPodAutoscaler) {
    autoscaler.status = None;
}

/// Of a Job matters what it is for, which is an annotation, and how it ended.
pub(super) fn forget_all_but_end(job: &mut Job) {
    job.spec = None;
    let Some(JobStatus { mut conditions, .. }) = job.status.take() else { return };
    conditions.iter_mut().for_each(|all| all.retain(|it| it.status == "True"));
    conditions = conditions.filter(|it| !it.is_empty());
    job.status = Some(JobStatus { conditions, ..JobStatus::default() });
}

/// Of a pod matters whose it is, whether it ends or cannot be scheduled, and of its containers which image they run and
/// why they do not start: a fifth of what there is.
pub(super) fn forget_all_but_containers(pod: &mut Pod) {
    pod.spec = None;
    let ObjectMeta { namespace, name, uid, resource_version, deletion_timestamp, labels, owner_references, .. } =
        std::mem::take(&mut pod.metadata);
    // Whose a Job's pod is, its owner says: a Job of the same name may be another one.
    let owner_references = owner_references.filter(|all| all.iter().any(is_job));
    let ours = |labels: BTreeMap<String, String>| {
        labels.into_iter().filter(|(key, _)| [labels::DEPLOYMENT, labels::REVISION].contains(&key.as_str())).collect()
    };
    let labels = labels.map(ours);
    pod.metadata = ObjectMeta {
        namespace,
        name,
        uid,
        resource_version,
        deletion_timestamp,
        labels,
        owner_references,
        ..ObjectMeta::default()
    };
    let Some(PodStatus { phase, mut conditions, mut container_statuses, mut init_container_statuses, .. }) =
        pod.status.take()
    else {
        return;
    };
    conditions.iter_mut().for_each(|all| all.retain(|it| it.type_ == "PodScheduled" && it.status == "False"));
    for all in [&mut container_statuses, &mut init_container_statuses].into_iter().flatten() {
        for it in all.iter_mut() {
            let ContainerStatus { name, image_id, state, last_state, .. } = std::mem::take(it);
            *it = ContainerStatus { name, image_id, state, last_state, ..ContainerStatus::default() };
        }
        all.shrink_to_fit();
    }
    conditions = conditions.filter(|it| !it.is_empty());
    pod.status =
        Some(PodStatus { phase, conditions, container_statuses, init_container_statuses, ..PodStatus::default() });
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::{Value, json};

    use super::super::{is_news_of_job, pod_key, pods_of_job_key, suspend_of};
    use super::*;
    use crate::api::ModelDeployment;
    use crate::build::{deployment, service};
    use crate::decide::model_deployment::live;

    fn namespace(annotations: &[(&str, &str)]) -> NamespaceMeta {
        let annotations: BTreeMap<String, String> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (name, labels) = (Some("crm".into()), Some([("team".to_owned(), "crm".to_owned())].into()));
        let metadata = ObjectMeta { name, labels, annotations: Some(annotations), ..ObjectMeta::default() };
        NamespaceMeta { metadata, ..NamespaceMeta::default() }
    }

    #[test]
    fn of_a_namespace_nothing_is_kept_but_whether_it_suspends() {
        let mut it = namespace(&[("owner", "jane@example.com"), (labels::SUSPEND, "true")]);
        forget_all_but_suspend(&mut it);
        assert_eq!(suspend_of(&it).map(String::as_str), Some("true"));
        assert_eq!((it.annotations().len(), it.labels().len()), (1, 0));
    }

    /// As a kubelet of today writes it.
    fn pod() -> Value {
        let now = "2026-11-24T00:00:00Z";
        let container = |name: &str| {
            json!({"name": name, "image": "registry.example.com/models/scorer:1.4", "ready": true, "restartCount": 1, "started": true,
                "imageID": format!("registry.example.com/models/scorer@sha256:{}", "ab".repeat(32)),
                "containerID": format!("containerd://{}", "cd".repeat(32)),
                "state": {"running": {"startedAt": now}},
                "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "out of memory", "startedAt": now, "finishedAt": now}},
                "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
                "allocatedResources": {"cpu": "1", "memory": "2Gi"}, "user": {"linux": {"uid": 65532, "gid": 65532, "supplementalGroups": [65532]}},
                "volumeMounts": [{"name": "model", "mountPath": "/model", "readOnly": true, "recursiveReadOnly": "Disabled"},
                    {"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}]})
        };
        let condition = |type_: &str| json!({"type": type_, "status": "True", "lastTransitionTime": now, "lastProbeTime": null, "observedGeneration": 1});
        let conditions =
            ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
        json!({
            "metadata": {"name": "churn-a7m2k9x4b1-6d5f7c9b8d-x2x4z", "generateName": "churn-a7m2k9x4b1-6d5f7c9b8d-", "namespace": "crm",
                "uid": "6a2f1c3e-1111-2222-3333-444455556666", "resourceVersion": "123456", "creationTimestamp": now,
                "labels": {labels::DEPLOYMENT: "churn", labels::REVISION: "a7m2k9x4b1", "pod-template-hash": "6d5f7c9b8d",
                    "app.kubernetes.io/managed-by": "werkbank", "team": "crm"},
                "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "churn-a7m2k9x4b1-6d5f7c9b8d", "uid": "6a2f1c3e-9999", "controller": true, "blockOwnerDeletion": true}]},
            "spec": {"nodeName": "node-1", "containers": [{"name": "server", "image": "registry.example.com/models/scorer:1.4"}]},
            "status": {"phase": "Running", "hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}], "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}],
                "qosClass": "Burstable", "startTime": now, "observedGeneration": 1,
                "conditions": conditions,
                "initContainerStatuses": [container("werkbank-fetch")], "containerStatuses": [container("server")]},
        })
    }

    #[test]
    fn of_a_pod_is_kept_what_decisions_ask_for() {
        let mut it: Pod = serde_json::from_value(pod()).unwrap();
        let key = pod_key(&it);
        forget_all_but_containers(&mut it);
        assert_eq!(pod_key(&it), key);
        let container = &it.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0];
        assert!(container.image_id.ends_with(&"ab".repeat(32)));
        let ended = container.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
        assert_eq!((ended.exit_code, ended.message.as_deref()), (1, Some("out of memory")));
        let size = |it: &Pod| serde_json::to_string(it).unwrap().len();
        let whole = size(&serde_json::from_value(pod()).unwrap());
        assert!(size(&it) * 2 < whole, "{} of {whole}", size(&it));
    }

    /// As it is read of an API server.
    fn deployment() -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "churn-a7m2k9x4b1", "namespace": "crm", "generation": 3,
                "annotations": {"werkbank.dev/applied": "1f", "werkbank.dev/generation": "3"}},
            "spec": {"replicas": 4, "selector": {"matchLabels": {"werkbank.dev/deployment": "churn"}},
                "template": {"spec": {"containers": [{"name": "server"}]}}},
            "status": {"observedGeneration": 3, "replicas": 4, "readyReplicas": 2, "conditions": [{"type": "Available", "status": "True"}]},
        }))
        .unwrap()
    }

    #[test]
    fn of_a_deployment_is_kept_what_decisions_ask_for() {
        let (whole, mut kept) = (deployment(), deployment());
        forget_all_but_pods(&mut kept);
        let asked = |it: &Deployment| {
            let pods = (live::ready_pods(it), live::serving_pods(it), live::is_complete(it));
            let written =
                [4, 5].map(|replicas| (deployment::scaled(it, replicas), deployment::taken_over(it, replicas)));
            (pods, written, deployment::correction(it, whole.clone()))
        };
        assert_eq!(asked(&kept), asked(&whole));
        assert_eq!(kept.spec.unwrap().selector, Default::default());
        assert_eq!(kept.status.unwrap().conditions, None);
    }

    #[test]
    fn of_a_service_is_kept_what_decisions_ask_for() {
        let spec = json!({"modelRef": {"name": "churn-1"}, "port": 8080, "analysis": {"none": "nobody asks"},
            "template": {"spec": {"containers": [{"name": "server", "image": "registry/scorer:1.4"}]}}});
        let wanted = service::of_deployment(
            &ModelDeployment::new("churn", serde_json::from_value(spec).unwrap()),
            "a7m2k9x4b1",
            8080,
        );
        let mut live = wanted.clone();
        let spec = live.spec.as_mut().unwrap();
        spec.cluster_ip = Some("10.0.0.7".into());
        spec.ports.as_mut().unwrap()[0].protocol = Some("TCP".into());
        forget_all_but_target(&mut live);
        assert!(service::same(&live, &wanted));
        assert_eq!(service::selected(&live), Some("a7m2k9x4b1"));
        assert_eq!(live.spec.unwrap().cluster_ip, None);
    }

    #[test]
    fn a_pod_of_a_job_is_found_by_the_very_job_and_not_among_those_of_a_revision() {
        let mut pod = pod();
        pod["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "churn-auc", "uid": "job-1", "controller": true}]);
        let mut it: Pod = serde_json::from_value(pod.clone()).unwrap();
        forget_all_but_containers(&mut it);
        assert_eq!(pod_key(&it), Some(pods_of_job_key("job-1")));
        for (field, value) in [("controller", json!(false)), ("apiVersion", json!("example.com/v1"))] {
            let mut claimed = pod.clone();
            claimed["metadata"]["ownerReferences"][0][field] = value;
            let it: Pod = serde_json::from_value(claimed).unwrap();
            assert_ne!(pod_key(&it), Some(pods_of_job_key("job-1")), "{field}");
        }
    }

    #[test]
    fn a_pod_that_no_node_takes_is_kept_with_the_reason() {
        let mut pod = pod();
        pod["status"]["conditions"][4] = json!({"type": "PodScheduled", "status": "False", "message": "0/3 nodes"});
        let mut it: Pod = serde_json::from_value(pod).unwrap();
        forget_all_but_containers(&mut it);
        assert_eq!(it.status.unwrap().conditions.unwrap()[0].message.as_deref(), Some("0/3 nodes"));
    }

    #[test]
    fn of_a_job_is_kept_what_it_is_for_and_how_it_ended_and_nothing_else_is_news() {
        let job = |active: i32, ended: &str| {
            let mut it: Job = serde_json::from_value(json!({
                "metadata": {"name": "churn-auc", "annotations": {"werkbank.dev/measures": "{}"}},
                "spec": {"backoffLimit": 0, "template": {"spec": {"containers": [{"name": "judge"}]}}},
                "status": {"active": active, "conditions": [{"type": "Complete", "status": ended}]},
            }))
            .unwrap();
            forget_all_but_end(&mut it);
            it
        };
        let (began, goes_on, ended) = (job(0, "False"), job(1, "False"), job(1, "True"));
        assert!(began.spec.is_none() && began.annotations().len() == 1);
        assert!(is_news_of_job(None, &began) && !is_news_of_job(Some(&began), &goes_on));
        assert!(is_news_of_job(Some(&goes_on), &ended));
    }
}
