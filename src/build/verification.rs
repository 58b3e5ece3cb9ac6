//! The Job that verifies an entry's artifact: `werkbank verify`, with the entry's credentials and no rights in the cluster.
//!
//! Always a Job, however small the artifact: so the operator reads no Secret, needs no way to any store, and a large artifact
//! is nobody else's memory or network.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{annotation, job, owned_by, verbatim};
use crate::api::artifact_report::ArtifactProgress;
use crate::api::model_registry_entry::Artifact;
use crate::api::{ModelRegistryEntry, labels};
use crate::text::hex::hex;

/// The container that says what it found.
pub const CONTAINER: &str = "verify";
/// On the Job: the number of the look.
const LOOK: &str = "werkbank.dev/look";
/// On the Job: the request that it answers.
const ASKED: &str = "werkbank.dev/asked";
/// Of a request no more is kept.
const REQUEST_BYTES: usize = 64;

/// One look at an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Its number.
    pub number: i64,
    /// The operator's image.
    pub image: String,
    /// The fingerprint of when it was right last, if it need not be read again then.
    pub known: Option<String>,
    /// Node labels with their values: the Job runs where all of one of these hold; anywhere, if there are none.
    pub places: Vec<NodeLabels>,
    /// How long it may take.
    pub limit: Duration,
}

/// Label to the values it may have.
pub type NodeLabels = BTreeMap<String, Vec<String>>;

/// The name of the Job of a look.
#[must_use]
pub fn name_of(entry: &ModelRegistryEntry, number: i64) -> String {
    let uid = entry.uid().unwrap_or_default();
    let digest = hex(&Sha256::digest(json!([uid, number]).to_string()), 5);
    labels::name(&[&entry.name_any(), "verify", &digest])
}

/// What a person asks for who wants the artifact to be looked at now: each value once.
#[must_use]
pub fn request(entry: &ModelRegistryEntry) -> Option<String> {
    let asked = annotation(&entry.metadata, labels::VERIFY)?;
    Some(
        asked
            .chars()
            .scan(0, |bytes, it| {
                *bytes += it.len_utf8();
                (*bytes <= REQUEST_BYTES).then_some(it)
            })
            .collect(),
    )
}

/// The request that a Job answers.
#[must_use]
pub fn asked(job: &Job) -> Option<String> {
    annotation(&job.metadata, ASKED).map(Into::into)
}

/// The Job of a look: of the same name however often it is written.
#[must_use]
pub fn write(entry: &ModelRegistryEntry, artifact: &Artifact, look: &Look) -> Job {
    let labels = Some(
        [(labels::ENTRY.to_owned(), entry.name_any()), (labels::MANAGED_BY.into(), labels::MANAGER.into())].into(),
    );
    let requested = request(entry).map(|it| (ASKED.to_owned(), it));
    let annotations = requested.into_iter().chain([(LOOK.to_owned(), look.number.to_string())]).collect();
    let metadata = ObjectMeta {
        name: Some(name_of(entry, look.number)),
        namespace: entry.metadata.namespace.clone(),
        labels: labels.clone(),
        annotations: Some(annotations),
        owner_references: Some(vec![owned_by(entry)]),
        ..ObjectMeta::default()
    };
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels, ..ObjectMeta::default() }),
        spec: serde_json::from_value(pod(artifact, look)).ok(),
    };
    Job { metadata, spec: Some(job::once(look.limit.as_secs(), template)), status: None }
}

fn pod(artifact: &Artifact, look: &Look) -> Value {
    let mut args = vec!["verify".to_owned(), "--uri".into(), verbatim(&artifact.uri)];
    args.extend(["--sha256".to_owned(), artifact.sha256.clone()]);
    args.extend(look.known.iter().map(|it| format!("--known={it}")));
    let expressions = |labels: &NodeLabels| -> Vec<Value> {
        labels.iter().map(|(key, values)| json!({"key": key, "operator": "In", "values": values})).collect()
    };
    let places: Vec<Value> = look.places.iter().map(|it| json!({"matchExpressions": expressions(it)})).collect();
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": places}});
    let affinity = (!places.is_empty()).then(|| json!({"nodeAffinity": required}));
    let credentials = artifact.secret_ref.iter().map(|it| json!({"secretRef": {"name": it.name}}));
    json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "serviceAccountName": artifact.service_account_name,
        "affinity": affinity,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": CONTAINER,
            "image": look.image,
            "args": args,
            // `--progress-on`; what the Secret says is not heard.
            "env": [{"name": "WERKBANK_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "ports": [{"name": "progress", "containerPort": ArtifactProgress::PORT}],
            "envFrom": credentials.collect::<Vec<_>>(),
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
            },
        }],
    })
}

/// The number of the look that a live Job is; `None`: it is none of this entry's. A copy under another name is none.
#[must_use]
pub fn number(job: &Job, entry: &ModelRegistryEntry) -> Option<i64> {
    let uid = entry.uid().unwrap_or_default();
    let is_owner = |it: &OwnerReference| it.uid == uid && it.controller == Some(true);
    job.metadata.owner_references.iter().flatten().find(|it| is_owner(it))?;
    let number = annotation(&job.metadata, LOOK)?.parse().ok()?;
    (job.metadata.name == Some(name_of(entry, number))).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(artifact: Value) -> ModelRegistryEntry {
        let spec = json!({"model": {"name": "churn", "version": "1", "kind": "Predictor"}, "artifact": artifact});
        let mut it = ModelRegistryEntry::new("churn-1", serde_json::from_value(spec).unwrap());
        it.metadata.uid = Some("uid-1".into());
        it.metadata.namespace = Some("crm".into());
        it
    }

    fn written(it: &ModelRegistryEntry, look: &Look) -> Job {
        write(it, it.spec.artifact.as_ref().unwrap(), look)
    }

    fn look(number: i64, known: Option<&str>) -> Look {
        let limit = Duration::from_secs(3600);
        let places = Vec::new();
        Look { number, image: "werkbank:0.1.0".into(), known: known.map(Into::into), places, limit }
    }

    #[test]
    fn the_job_is_as_the_golden_file_says() {
        let artifact = json!({"uri": "s3://models/$(AWS_SECRET_ACCESS_KEY)/", "sha256": "ab".repeat(32),
            "secretRef": {"name": "store"}, "serviceAccountName": "models"});
        let places =
            ["eu-1", "eu-2"].map(|it| [("topology.kubernetes.io/region".to_owned(), vec![it.to_owned()])].into());
        let look = Look { places: places.to_vec(), ..look(3, Some("0f1e")) };
        let written = serde_yaml::to_string(&written(&entry(artifact), &look)).unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/build/golden/verification.yaml");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &written).unwrap();
        }
        assert_eq!(written, std::fs::read_to_string(path).unwrap_or_default(), "UPDATE=1 accepts this");
    }

    #[test]
    fn a_look_is_known_by_its_entry_and_its_number_and_named_for_both() {
        let it = entry(json!({"uri": "s3://models/churn/1/", "sha256": "ab".repeat(32)}));
        let [one, other] = [1, 2].map(|number| written(&it, &look(number, None)));
        assert_eq!((number(&one, &it), number(&other, &it)), (Some(1), Some(2)));
        assert_ne!(one.metadata.name, other.metadata.name);
        let mut again = it.clone();
        again.metadata.uid = Some("uid-2".into());
        assert_eq!(number(&one, &again), None, "that of an entry that was deleted");
        let mut copy = one.clone();
        copy.metadata.name = Some("churn-1-verify-again".into());
        assert_eq!(number(&copy, &it), None, "that of somebody who has copied it");
        let container = &one.spec.unwrap().template.spec.unwrap().containers[0];
        assert!(!container.args.as_ref().unwrap().iter().any(|it| it.starts_with("--known")));
    }

    #[test]
    fn a_job_says_which_request_it_answers_and_keeps_no_more_of_it_than_it_needs() {
        let mut it = entry(json!({"uri": "s3://models/churn/1/", "sha256": "ab".repeat(32)}));
        assert_eq!((request(&it), asked(&written(&it, &look(1, None)))), (None, None));
        it.annotations_mut().insert(labels::VERIFY.into(), "ü".repeat(1000));
        assert_eq!(request(&it), Some("ü".repeat(32)));
        assert_eq!(asked(&written(&it, &look(1, None))), request(&it));
    }
}
