//! A workbench with the operator, one small model and a gateway; what all stories need.
//!
//! A [`Scene`] is the place, a [`Model`] is one ModelDeployment on it, `scores` where a story needs only one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use werkbank::api::artifact_digest::Sha256Digest;
use werkbank::api::labels;
use werkbank::api::model_deployment::{AttemptState, ModelDeploymentStatus, Phase};
use werkbank::api::revision::{ConfigMapContent, RevisionInput};
use werkbank::api::{ModelDeployment, ModelRegistryEntry};
use werkbank::audit::tlog::note::Verifier;
use werkbank::audit::{Entry, Log};
use werkbank::decide::model_deployment::request;
use werkbank_e2e::load::{Counts, Load, Report, Target};
use werkbank_e2e::process::Signal;
use werkbank_e2e::workbench::{AuditLog, MODEL_SERVER_IMAGE, OPERATOR_NAMESPACE, Options, Workbench};

pub(crate) const NAMESPACE: &str = "crm";

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

/// The place.
pub(crate) struct Scene {
    pub(crate) workbench: Workbench,
}

impl Scene {
    /// Starts everything and waits until the first version of `scores` serves.
    pub(crate) async fn set() -> Self {
        Self::set_with(Options::from_env()).await
    }

    /// The same on a workbench of one's own.
    pub(crate) async fn set_with(options: Options) -> Self {
        let scene = Self::empty(options).await;
        scene.install(&[]).await;
        let model = scene.model("scores");
        model.deploy(&GOOD).await;
        model.until("the first version serves", |it| it.phase == Phase::Stable).await;
        scene
    }

    /// A namespace and a gateway; no operator yet.
    pub(crate) async fn empty(options: Options) -> Self {
        let scene = Self { workbench: Workbench::start(options).await.unwrap() };
        scene
            .apply("namespace", &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}"))
            .await;
        let gateway = include_str!("../../../examples/churn/manifests/gateway.yaml");
        scene.apply("gateway", gateway).await;
        scene
    }

    /// Installs the operator, and registers the one small model as `scores`.
    pub(crate) async fn install(&self, values: &[&str]) {
        self.workbench.install_operator(values).await.unwrap();
        let (uri, sha256) = self.artifact();
        self.register("scores", json!({"uri": uri, "sha256": sha256})).await;
    }

    pub(crate) fn client(&self) -> Client {
        self.workbench.control_plane().client()
    }

    /// The ModelDeployment of this name.
    pub(crate) fn model<'a>(&'a self, name: &'a str) -> Model<'a> {
        Model { scene: self, namespace: NAMESPACE, name }
    }

    pub(crate) async fn apply(&self, name: &str, yaml: &str) {
        self.workbench.apply(name, yaml).await.unwrap();
    }

    /// Runs kubectl as administrator; its failure is the test's.
    pub(crate) async fn kubectl(&self, args: &[&str]) {
        let output = self.workbench.control_plane().kubectl(args).await.unwrap();
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The name that the API server knows the administrator by.
    pub(crate) async fn me(&self) -> String {
        let control_plane = self.workbench.control_plane();
        let me = control_plane.kubectl(["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).await.unwrap();
        String::from_utf8(me.stdout).unwrap()
    }

    /// Writes the one small model; gives its URI and its digest.
    pub(crate) fn artifact(&self) -> (String, String) {
        let model = json!({
            "format": "werkbank-example/logistic-v1", "name": "scores", "version": "1",
            "intercept": 0.0, "threshold": 0.5,
            "features": [{"name": "x", "transform": "identity", "mean": 0.0, "scale": 1.0, "coefficient": 1.0}],
        })
        .to_string();
        let path = self.workbench.control_plane().run_dir().join("model.json");
        std::fs::write(&path, &model).unwrap();
        let digest = Sha256Digest::of(model.as_bytes()).to_string();
        (format!("file://{}", path.display()), digest)
    }

    /// An entry for an artifact.
    pub(crate) async fn register(&self, name: &str, artifact: serde_json::Value) {
        self.register_in(NAMESPACE, name, artifact).await;
    }

    pub(crate) async fn register_in(&self, namespace: &str, name: &str, artifact: serde_json::Value) {
        let entry = json!({
            "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"model": {"name": "scores", "version": name, "kind": "Predictor"}, "artifact": artifact},
        });
        self.apply(&format!("entry-{namespace}-{name}"), &entry.to_string()).await;
    }

    /// The pod that holds the lease.
    pub(crate) async fn leader(&self) -> String {
        let api: Api<Lease> = Api::namespaced(self.client(), OPERATOR_NAMESPACE);
        let lease = api.get("werkbank").await.unwrap();
        lease.spec.and_then(|it| it.holder_identity).unwrap_or_default()
    }

    /// Whether an operator's process runs, and the signal was sent to it. After SIGKILL its container is started
    /// again by the node.
    pub(crate) fn signal_operator(&self, pod: &str, signal: Signal) -> bool {
        let Some(pid) = self.workbench.node().unwrap().pid(OPERATOR_NAMESPACE, pod, "operator") else { return false };
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).is_ok()
    }

    /// Every decision about a deployment that is on the record, where the chart keeps it.
    pub(crate) async fn trail(&self, model: &Model<'_>) -> Vec<Entry> {
        let uid = model.api().get(model.name).await.unwrap().metadata.uid.unwrap();
        self.trail_of(&uid).await
    }

    /// The same, of one that may be gone.
    pub(crate) async fn trail_of(&self, uid: &str) -> Vec<Entry> {
        let AuditLog { folder, key } = self.workbench.audit_log().unwrap();
        let key = Verifier::parse(&key).unwrap();
        let log = Log::signed_by(&format!("file://{}", folder.display()), vec![key]).unwrap();
        log.of_resource(uid).await.unwrap()
    }

    /// Nothing may serve this entry any more.
    pub(crate) async fn revoke(&self, entry: &str) {
        let entries: Api<ModelRegistryEntry> = Api::namespaced(self.client(), NAMESPACE);
        let patch = Patch::Merge(json!({"spec": {"lifecycle": "Revoked"}}));
        entries.patch(entry, &PatchParams::default(), &patch).await.unwrap();
    }

    /// The operator's pods, and how often each was started again.
    pub(crate) async fn operators(&self) -> BTreeMap<String, i32> {
        let api: Api<Pod> = Api::namespaced(self.client(), OPERATOR_NAMESPACE);
        let restarts = |pod: &Pod| {
            let status = pod.status.as_ref().and_then(|it| it.container_statuses.as_ref());
            status.into_iter().flatten().map(|it| it.restart_count).sum()
        };
        let pods = api.list(&ListParams::default()).await.unwrap();
        pods.iter().map(|pod| (pod.name_any(), restarts(pod))).collect()
    }

    pub(crate) async fn end(self) {
        self.workbench.stop().await.unwrap();
    }
}

/// One ModelDeployment.
#[derive(Clone, Copy)]
pub(crate) struct Model<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Model<'_> {
    /// Points the deployment at this version.
    pub(crate) async fn deploy(&self, wanted: &Wanted) {
        self.apply(&self.manifest(wanted)).await;
    }

    /// The manifest of a version.
    pub(crate) fn manifest(&self, wanted: &Wanted) -> String {
        manifest(self.namespace, self.name, wanted)
    }

    pub(crate) async fn apply(&self, yaml: &str) {
        self.scene.apply(&format!("deployment-{}-{}", self.namespace, self.name), yaml).await;
    }

    pub(crate) fn api(&self) -> Api<ModelDeployment> {
        Api::namespaced(self.scene.client(), self.namespace)
    }

    pub(crate) async fn status(&self) -> ModelDeploymentStatus {
        let deployment = self.api().get(self.name).await.unwrap();
        let current = deployment.metadata.generation;
        // A status of an older generation says nothing about what was just applied.
        deployment.status.filter(|it| Some(it.observed_generation) == current).unwrap_or_default()
    }

    /// Makes a request to the attempt under way, in the name that the API server knows the administrator by.
    pub(crate) async fn ask(&self, verb: &str, nonce: &str) {
        let me = self.scene.me().await;
        let attempt = self.status().await.attempt.unwrap();
        let step = request::step_of(&attempt);
        let value = format!("{}={verb}/{}/{step}/{nonce}/{me}", labels::REQUEST, attempt.id);
        let args = ["-n", self.namespace, "annotate", "modeldeployment", self.name, "--overwrite", &value];
        self.scene.kubectl(&args).await;
    }

    /// Waits until the status is as told; says what it was when it never is.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&ModelDeploymentStatus) -> bool) -> ModelDeploymentStatus {
        let begin = Instant::now();
        loop {
            let status = self.status().await;
            if is(&status) {
                return status;
            }
            assert!(begin.elapsed() < Duration::from_secs(120), "{}, never: {what}; it is {status:#?}", self.name);
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
        let url = self.scene.workbench.gateway().unwrap().url(self.namespace, "internal").await.unwrap();
        let mut target = Target::get(format!("{url}/v2/models/scores/infer"))
            .host(host(self.name))
            .count_header("x-werkbank-revision");
        target.body = Some(json!({"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [0.3]}]}));
        target
    }

    pub(crate) async fn load(&self, per_second: u32) -> Load {
        Load::start(self.target().await, per_second).unwrap()
    }

    /// Service → weight, as Envoy works with it.
    pub(crate) async fn weights(&self) -> BTreeMap<String, u32> {
        self.scene.workbench.gateway().unwrap().weights(self.namespace, self.name).await.unwrap()
    }
}

/// Nobody saw a failure, not even the gateway, and somebody asked all the time.
pub(crate) fn unharmed(load: &Report) {
    let Report { total, due, .. } = load;
    assert!(*due > 0 && total.requests * 10 >= due * 9, "{} of {due} requests were sent: {total:?}", total.requests);
    without_failure(total);
}

/// Nobody saw a failure, not even the gateway.
pub(crate) fn without_failure(counts: &Counts) {
    assert_eq!((counts.failed(), counts.retried), (0, 0), "{counts:?}");
}

/// The manifest of another entry than `scores`.
pub(crate) fn of_entry(manifest: &str, entry: &str) -> String {
    let written = "modelRef: {name: scores}";
    assert!(manifest.contains(written), "{manifest}");
    manifest.replace(written, &format!("modelRef: {{name: {entry}}}"))
}

fn host(name: &str) -> String {
    format!("{name}.internal")
}

/// The deployment's manifest.
fn manifest(namespace: &str, name: &str, wanted: &Wanted) -> String {
    let Wanted { version, error_rate, steps, on_outage } = wanted;
    let host = host(name);
    format!(
        r#"
apiVersion: werkbank.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  modelRef: {{name: scores}}
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
      hostnames: [{host}]
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

/// The revision that the operator will make of a manifest, given the content of the ConfigMaps it refers to.
pub(crate) fn revision_of(scene: &Scene, manifest: &str, config_maps: &[(&str, &[(&str, &str)])]) -> String {
    let deployment: ModelDeployment = serde_yaml::from_str(manifest).unwrap();
    let (uri, sha256) = scene.artifact();
    let content = |pairs: &[(&str, &str)]| ConfigMapContent {
        data: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..ConfigMapContent::default()
    };
    let config_maps = config_maps.iter().map(|(name, pairs)| ((*name).to_owned(), Some(content(pairs)))).collect();
    let input = RevisionInput {
        template: &deployment.spec.template,
        artifact_uri: &uri,
        artifact_sha256: &sha256,
        config_maps: &config_maps,
        region: deployment.spec.region.as_deref(),
        port: deployment.spec.port,
    };
    input.revision().unwrap()
}

/// Somebody else's object.
pub(crate) fn foreign(kind: &str, name: &str) -> String {
    let (version, content) = match kind {
        "ControllerRevision" => ("apps/v1", json!({"revision": 1, "data": {}})),
        "ConfigMap" => ("v1", json!({"data": {}})),
        "Service" => ("v1", json!({"spec": {"ports": [{"port": 80}]}})),
        "HorizontalPodAutoscaler" => {
            let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "somebody-elses"});
            ("autoscaling/v2", json!({"spec": {"maxReplicas": 2, "scaleTargetRef": target}}))
        }
        "HTTPRoute" => ("gateway.networking.k8s.io/v1", json!({"spec": {}})),
        "Deployment" => {
            let pod = json!({
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": MODEL_SERVER_IMAGE}]},
            });
            let selector = json!({"matchLabels": {"app": name}});
            ("apps/v1", json!({"spec": {"replicas": 0, "selector": selector, "template": pod}}))
        }
        _ => panic!("no example of a {kind}"),
    };
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}});
    object.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
    object.to_string()
}
