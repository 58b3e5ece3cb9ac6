//! A workbench with the operator, one small model and a gateway; what all stories need.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;
use sha2::{Digest, Sha256};
use werkbank::api::ModelDeployment;
use werkbank::api::model_deployment::{AttemptState, ModelDeploymentStatus, Phase};
use werkbank_e2e::load::{Load, Target};
use werkbank_e2e::workbench::{MODEL_SERVER_IMAGE, OPERATOR_NAMESPACE, Options, Workbench};

pub(crate) const NAMESPACE: &str = "crm";
const HOST: &str = "scores.internal";

/// What differs from one deployment to the next.
#[derive(Clone)]
pub(crate) struct Wanted {
    /// Makes another revision.
    pub(crate) version: &'static str,
    /// Share of requests the model server answers with 500.
    pub(crate) error_rate: &'static str,
    /// `rollout.steps`, in YAML's flow style.
    pub(crate) steps: &'static str,
    /// `rollout.onOutage`, in YAML's flow style.
    pub(crate) on_outage: &'static str,
}

/// A good version.
pub(crate) const GOOD: Wanted = Wanted {
    version: "1",
    error_rate: "0",
    steps: "[{weight: 20%, for: 3s}, {weight: 50%, for: 3s}]",
    on_outage: "{after: 1h, do: Hold}",
};

pub(crate) struct Scene {
    pub(crate) workbench: Workbench,
}

impl Scene {
    /// Starts everything and waits until the first version serves.
    pub(crate) async fn set() -> Self {
        let scene = Self::without_operator().await;
        scene.workbench.install_operator(&[]).await.unwrap();
        scene.deploy(&GOOD).await;
        scene.until("the first version serves", |it| it.phase == Phase::Stable).await;
        scene
    }

    async fn without_operator() -> Self {
        let workbench = Workbench::start(Options::from_env()).await.unwrap();
        let scene = Self { workbench };
        scene
            .apply("namespace", &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}"))
            .await;
        let gateway = include_str!("../../../examples/churn/manifests/gateway.yaml");
        scene.apply("gateway", gateway).await;
        scene
    }

    pub(crate) async fn apply(&self, name: &str, yaml: &str) {
        self.workbench.apply(name, yaml).await.unwrap();
    }

    /// Registers the model, if it is not yet, and points the deployment at this version.
    pub(crate) async fn deploy(&self, wanted: &Wanted) {
        self.register("scores", None).await;
        self.apply("deployment", &manifest("scores", wanted)).await;
    }

    /// An entry with the one small model; `sha256` overrides its true digest.
    pub(crate) async fn register(&self, name: &str, sha256: Option<&str>) {
        let model = json!({
            "format": "werkbank-example/logistic-v1", "name": "scores", "version": "1",
            "intercept": 0.0, "threshold": 0.5,
            "features": [{"name": "x", "transform": "identity", "mean": 0.0, "scale": 1.0, "coefficient": 1.0}],
        })
        .to_string();
        let path = self.workbench.control_plane().run_dir().join("model.json");
        std::fs::write(&path, &model).unwrap();
        let digest: String = Sha256::digest(model.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let sha256 = sha256.unwrap_or(&digest);
        let entry = json!({
            "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "model": {"name": "scores", "version": name, "kind": "Predictor"},
                "artifact": {"uri": format!("file://{}", path.display()), "sha256": sha256},
            },
        });
        self.apply(&format!("entry-{name}"), &entry.to_string()).await;
    }

    pub(crate) async fn status(&self) -> ModelDeploymentStatus {
        let api: Api<ModelDeployment> = Api::namespaced(self.workbench.control_plane().client(), NAMESPACE);
        let deployment = api.get("scores").await.unwrap();
        let current = deployment.metadata.generation;
        // A status of an older generation says nothing about what was just applied.
        deployment.status.filter(|it| Some(it.observed_generation) == current).unwrap_or_default()
    }

    /// Waits until the status is as told; says what it was when it never is.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&ModelDeploymentStatus) -> bool) -> ModelDeploymentStatus {
        let begin = Instant::now();
        loop {
            let status = self.status().await;
            if is(&status) {
                return status;
            }
            assert!(begin.elapsed() < Duration::from_secs(120), "never: {what}; the status is {status:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the candidate is watched at this weight.
    pub(crate) async fn until_observing(&self, weight: &str) -> ModelDeploymentStatus {
        let watched = |it: &ModelDeploymentStatus| {
            it.attempt.as_ref().is_some_and(|it| it.state == AttemptState::Observing && it.weight.to_string() == weight)
        };
        self.until(&format!("the candidate is watched at {weight}"), watched).await
    }

    /// Requests to the model, through Envoy.
    pub(crate) async fn target(&self) -> Target {
        let url = self.workbench.gateway().unwrap().url(NAMESPACE, "internal").await.unwrap();
        let mut target =
            Target::get(format!("{url}/v2/models/scores/infer")).host(HOST).count_header("x-werkbank-revision");
        target.body = Some(json!({"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [0.3]}]}));
        target
    }

    pub(crate) async fn load(&self, per_second: u32) -> Load {
        Load::start(self.target().await, per_second).unwrap()
    }

    /// Service → weight, as Envoy works with it.
    pub(crate) async fn weights(&self) -> BTreeMap<String, u32> {
        self.workbench.gateway().unwrap().weights(NAMESPACE, "scores").await.unwrap()
    }

    /// The pod that holds the lease.
    pub(crate) async fn leader(&self) -> String {
        let api: Api<Lease> = Api::namespaced(self.workbench.control_plane().client(), OPERATOR_NAMESPACE);
        let lease = api.get("werkbank").await.unwrap();
        lease.spec.and_then(|it| it.holder_identity).unwrap_or_default()
    }

    /// SIGKILL to an operator's process; its container is started again by the node.
    pub(crate) fn kill_operator(&self, pod: &str) {
        let Some(pid) = self.workbench.node().unwrap().pid(OPERATOR_NAMESPACE, pod, "operator") else { return };
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    pub(crate) async fn operators(&self) -> Vec<String> {
        let api: Api<Pod> = Api::namespaced(self.workbench.control_plane().client(), OPERATOR_NAMESPACE);
        api.list(&ListParams::default()).await.unwrap().iter().map(ResourceExt::name_any).collect()
    }

    pub(crate) async fn end(self) {
        self.workbench.stop().await.unwrap();
    }
}

/// The deployment's manifest.
pub(crate) fn manifest(entry: &str, wanted: &Wanted) -> String {
    let Wanted { version, error_rate, steps, on_outage } = wanted;
    format!(
        r#"
apiVersion: werkbank.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: scores, namespace: {NAMESPACE}}}
spec:
  modelRef: {{name: {entry}}}
  replicas: 2
  port: 8080
  template:
    metadata:
      annotations: {{prometheus.io/scrape: "true", prometheus.io/port: "8080", version: "{version}"}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: server
        image: {MODEL_SERVER_IMAGE}
        env:
        - {{name: HOST, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
        - {{name: FAULT_ERROR_RATE, value: "{error_rate}"}}
        readinessProbe: {{httpGet: {{path: /v2/health/ready, port: 8080}}, periodSeconds: 1}}
  traffic:
    gateway:
      parentRefs: [{{name: internal}}]
      hostnames: [{HOST}]
  rollout:
    steps: {steps}
    progressDeadline: 60s
    drain: 2s
    onOutage: {on_outage}
  analysis:
    interval: 500ms
    failureLimit: 1
    metrics:
    - name: error-rate
      role: Guardrail
      prometheus:
        query: |
          sum(rate(inference_requests_total{{revision="{{{{ revision }}}}", code=~"5.."}}[5s]) or vector(0))
          / sum(rate(inference_requests_total{{revision="{{{{ revision }}}}"}}[5s]))
      threshold: {{max: 5%}}
"#
    )
}
