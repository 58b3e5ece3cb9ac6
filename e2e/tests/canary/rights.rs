//! The operator needs every right that the chart gives it, and no other.
//!
//! Everything the operator ever does is done once here, each right's reason in a part of its own, while the API
//! server records who asks for what. A right to be added needs a part that uses it, or this test fails.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use werkbank::api::ModelRegistryEntry;
use werkbank::api::gateway::HttpRoute;
use werkbank::api::labels;
use werkbank::api::model_deployment::{Cause, Phase};
use werkbank_e2e::controlplane::Request;
use werkbank_e2e::process::Signal;
use werkbank_e2e::rights::{Account, Right, Scope, compare, forbidden, shipped};
use werkbank_e2e::workbench::{MODEL_SERVER_IMAGE, OPERATOR_NAMESPACE, Options};

use crate::autoscaling::autoscaled;
use crate::jobs::{GOOD_NUMBER, judged};
use crate::scene::{GOOD, Model, NAMESPACE, Scene, Wanted, foreign, revision_of, unharmed};

const OPERATOR: Account<'_> = Account { namespace: OPERATOR_NAMESPACE, name: "werkbank" };

/// A takeover need not be waited for longer than for the rest.
const SHORT_LEASE: &str =
    "leaderElection.leaseDurationSeconds=6,leaderElection.renewDeadlineSeconds=4,leaderElection.retryPeriodSeconds=1";

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_needs_every_right_it_has_and_has_every_right_it_needs() {
    let mut options = Options::from_env();
    options.control_plane.audit = true;
    let scene = Scene::empty(options).await;
    play(&scene, 0, scene.install(&[SHORT_LEASE])).await;
    let rights = shipped(&scene.client(), OPERATOR).await.unwrap();
    assert!(rights.len() > 20, "the chart's bindings are not found: {rights:?}");
    play(&scene, 0, everything(&scene)).await;
    let findings = compare(OPERATOR, &rights, &requests(&scene));
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    only_where_it_watches(&scene).await;
    let strangers: BTreeSet<String> =
        requests(&scene).into_iter().map(|it| it.user).filter(|it| !it.contains(OPERATOR.namespace)).collect();
    assert!(strangers.is_empty(), "pods of models have no business with the API server: {strangers:?}");
    scene.end().await;
}

/// With namespaces named, the operator looks at these and at no other, and may do no more.
async fn only_where_it_watches(scene: &Scene) {
    scene.workbench.helm().uninstall("werkbank", OPERATOR_NAMESPACE).await.unwrap();
    // On their way out they find that their rights went first; that is Helm's order and nobody's lack.
    eventually("the operator is gone", async || scene.operators().await.is_empty()).await;
    let before = requests(scene).len();
    play(scene, before, async {
        // The CRDs stayed, and one of them was changed by hand above.
        let only_here = format!("crds.install=false,watchNamespaces={{{NAMESPACE}}}");
        scene.install(&[SHORT_LEASE, &only_here]).await;
        promoted(scene.model("switch"), &without_gateway("switch", "watched", 1)).await;
    })
    .await;
    let rights = shipped(&scene.client(), OPERATOR).await.unwrap();
    // An admission policy is in no namespace, and nothing of it is secret.
    let wide = rights.iter().filter(|it| it.scope == Scope::Everywhere && it.group != "admissionregistration.k8s.io");
    let wide: Vec<String> = wide.map(ToString::to_string).collect();
    assert!(wide.is_empty(), "granted although namespaces are named: {wide:?}");
    // What is done to objects is the same as before; where is looked for them is not.
    let looking: BTreeSet<Right> = rights.into_iter().filter(|it| it.verb == "list" || it.verb == "watch").collect();
    assert!(!looking.is_empty());
    let looked = requests(scene).split_off(before);
    let looked: Vec<Request> = looked.into_iter().filter(|it| it.verb == "list" || it.verb == "watch").collect();
    let findings = compare(OPERATOR, &looking, &looked);
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn requests(scene: &Scene) -> Vec<Request> {
    scene.workbench.control_plane().requests().unwrap()
}

/// Plays a part, unless the operator is refused something, after the first `before` requests: then the part
/// would only wait in vain.
async fn play(scene: &Scene, before: usize, part: impl Future<Output = ()>) {
    let refused = async {
        loop {
            let findings = forbidden(OPERATOR, &requests(scene).split_off(before));
            if !findings.is_empty() {
                return findings;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        () = part => {}
        findings = refused => panic!("\n{}\n", findings.join("\n")),
    }
}

/// Everything the operator ever does.
async fn everything(scene: &Scene) {
    tokio::join!(
        a_canary_and_the_end_of_its_route(scene),
        a_switch(scene),
        names_that_are_taken(scene),
        an_object_that_cannot_be_read(scene),
        an_autoscaler_comes_and_goes(scene),
        an_entry_to_approve(scene),
    );
    a_takeover(scene).await;
    a_deletion(scene).await;
}

/// Records, copies, Deployments, Services and routes are made; weights move; what drained is deleted.
async fn a_canary_and_the_end_of_its_route(scene: &Scene) {
    let model = scene.model("scores");
    scene.kubectl(&["-n", NAMESPACE, "create", "configmap", "rules", "--from-literal=LIMIT=1"]).await;
    let with_rules = |wanted: &Wanted| {
        model.manifest(wanted).replace("        env:", "        envFrom: [{configMapRef: {name: rules}}]\n        env:")
    };
    promoted(model, &with_rules(&GOOD)).await;
    let load = model.load(20).await;
    let short = Wanted { version: "2", steps: "[{weight: 50%}]", ..GOOD };
    // A Job is created and, when it has said its number, deleted.
    promoted(model, &judged(&with_rules(&short), GOOD_NUMBER)).await;
    model.until("the old revision is gone", |it| it.revisions.len() == 1).await;
    model.apply(&with_rules(&Wanted { version: "3", steps: "[{weight: 50%, for: 10m}]", ..GOOD })).await;
    model.until_observing("50%").await;
    model.ask("abort", "now").await;
    let status = model.until("it is taken back", |it| it.phase == Phase::RolledBack).await;
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::Aborted));
    unharmed(&load.stop().await.unwrap());
    promoted(model, &without_gateway("scores", "4", 1)).await;
    let routes: Api<HttpRoute> = Api::namespaced(scene.client(), NAMESPACE);
    eventually("the route is deleted", async || routes.get_opt("scores").await.unwrap().is_none()).await;
}

/// Without a gateway the Service is written anew.
async fn a_switch(scene: &Scene) {
    promoted(scene.model("switch"), &without_gateway("switch", "1", 1)).await;
    promoted(scene.model("switch"), &without_gateway("switch", "2", 1)).await;
}

/// A child that cannot be created because its name is taken is looked at; when it goes, the rollout goes on.
async fn names_that_are_taken(scene: &Scene) {
    let model = scene.model("taken");
    let manifest = autoscaled(&model.manifest(&GOOD), 2)
        .replace("        env:", "        envFrom: [{configMapRef: {name: bounds}}]\n        env:");
    scene.kubectl(&["-n", NAMESPACE, "create", "configmap", "bounds", "--from-literal=LIMIT=1"]).await;
    let revision = revision_of(scene, &manifest, &[("bounds", &[("LIMIT", "1")])]);
    let child = labels::name(&["taken", &revision]);
    let copy = labels::name(&["taken", "bounds", &revision]);
    let others = [
        ("ControllerRevision", child.as_str()),
        ("ConfigMap", &copy),
        // All three are known to be taken by then; the message names one.
        ("Deployment", &child),
        ("HorizontalPodAutoscaler", &child),
        ("Service", &child),
        ("HTTPRoute", "taken"),
    ];
    for (kind, name) in others {
        scene.apply(&format!("foreign-{kind}"), &foreign(kind, name)).await;
    }
    model.apply(&manifest).await;
    for (kind, name) in others {
        let told = format!("{kind} {name} ");
        model
            .until(&format!("{kind} {name} is told to be taken"), |it| {
                it.conditions.iter().any(|it| it.reason == "ChildNameTaken" && it.message.contains(&told))
            })
            .await;
        scene.kubectl(&["-n", NAMESPACE, "delete", kind, name]).await;
    }
    model.until("its names are free and it serves", |it| it.phase == Phase::Stable).await;
}

/// An autoscaler is made, told what a weight takes, and goes when the spec says how many pods there are.
async fn an_autoscaler_comes_and_goes(scene: &Scene) {
    let model = scene.model("scaled");
    promoted(model, &autoscaled(&model.manifest(&GOOD), 1)).await;
    let load = model.load(20).await;
    promoted(model, &autoscaled(&model.manifest(&Wanted { version: "2", steps: "[{weight: 50%}]", ..GOOD }), 2)).await;
    unharmed(&load.stop().await.unwrap());
    model.apply(&model.manifest(&Wanted { version: "2", steps: "[{weight: 50%}]", ..GOOD })).await;
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(scene.client(), NAMESPACE);
    let own = ListParams::default().labels(&format!("{}=scaled", labels::DEPLOYMENT));
    eventually("the autoscalers are gone", async || autoscalers.list(&own).await.unwrap().items.is_empty()).await;
}

/// Where somebody has to approve, the policies that guard approvals are looked at.
async fn an_entry_to_approve(scene: &Scene) {
    let (uri, sha256) = scene.artifact();
    let entry = json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry",
        "metadata": {"name": "asking", "namespace": NAMESPACE},
        "spec": {"model": {"name": "scores", "version": "asking", "kind": "Predictor"}, "submittedBy": scene.me().await,
            "governance": {"approvals": ["technical"]}, "artifact": {"uri": uri, "sha256": sha256}},
    });
    scene.apply("entry-asking", &entry.to_string()).await;
    let entries: Api<ModelRegistryEntry> = Api::namespaced(scene.client(), NAMESPACE);
    eventually("the policies are found in force", async || {
        let status = entries.get("asking").await.unwrap().status.unwrap_or_default();
        status.conditions.iter().any(|it| it.reason == "PoliciesInForce")
    })
    .await;
}

/// The two replicas say the same of an object that neither can read: it is one event.
async fn an_object_that_cannot_be_read(scene: &Scene) {
    let newer = r#"[{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/model/properties/kind/enum/-", "value": "Oracle"}]"#;
    let crd = "modelregistryentries.werkbank.dev";
    scene.kubectl(&["patch", "crd", crd, "--type=json", "-p", newer]).await;
    let entry = json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry",
        "metadata": {"name": "newer", "namespace": NAMESPACE},
        "spec": {
            "model": {"name": "scores", "version": "newer", "kind": "Oracle"},
            "artifact": {"uri": "file:///nowhere", "sha256": "0".repeat(64)},
        },
    });
    eventually("the API server knows the newer kind of model", async || {
        scene.workbench.apply("entry-newer", &entry.to_string()).await.is_ok()
    })
    .await;
    let told = |verb: &str| requests(scene).iter().any(|it| it.verb == verb && it.resource == "events");
    eventually("both replicas tell it", async || told("create") && told("patch")).await;
    scene.kubectl(&["-n", NAMESPACE, "delete", "modelregistryentry", "newer"]).await;
}

async fn a_takeover(scene: &Scene) {
    let leases: Api<Lease> = Api::namespaced(scene.client(), OPERATOR_NAMESPACE);
    let epoch = async || leases.get("werkbank").await.unwrap().spec.and_then(|it| it.lease_transitions);
    let before = epoch().await;
    assert!(scene.signal_operator(&scene.leader().await, Signal::KILL));
    eventually("another process leads", async || epoch().await > before).await;
    promoted(scene.model("switch"), &without_gateway("switch", "3", 1)).await;
}

async fn a_deletion(scene: &Scene) {
    let model = scene.model("taken");
    model.api().delete("taken", &DeleteParams::default()).await.unwrap();
    let (deployments, records): (Api<Deployment>, Api<ControllerRevision>) =
        (Api::namespaced(scene.client(), NAMESPACE), Api::namespaced(scene.client(), NAMESPACE));
    let own = ListParams::default().labels(&format!("{}=taken", labels::DEPLOYMENT));
    eventually("its children go with it", async || {
        deployments.list(&own).await.unwrap().items.is_empty() && records.list(&own).await.unwrap().items.is_empty()
    })
    .await;
}

/// Applies a manifest, and waits until what it asks for serves.
async fn promoted(model: Model<'_>, manifest: &str) {
    model.apply(manifest).await;
    let serves = |it: &_| ready(it);
    model.until("it serves", serves).await;
}

fn ready(status: &werkbank::api::model_deployment::ModelDeploymentStatus) -> bool {
    status.conditions.iter().any(|it| it.type_ == "Ready" && it.reason == "Stable")
}

async fn eventually(what: &str, is: impl AsyncFn() -> bool) {
    let begin = Instant::now();
    while !is().await {
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A deployment that switches all at once.
pub(crate) fn without_gateway(name: &str, version: &str, replicas: u32) -> String {
    format!(
        r#"
apiVersion: werkbank.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  modelRef: {{name: scores}}
  replicas: {replicas}
  port: 8080
  template:
    metadata:
      annotations: {{version: "{version}"}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: server
        image: {MODEL_SERVER_IMAGE}
        env:
        - {{name: HOST, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
        readinessProbe: {{httpGet: {{path: /v2/health/ready, port: 8080}}, periodSeconds: 1}}
  rollout: {{progressDeadline: 60s, drain: 1s}}
  analysis: {{none: "only the switch matters here"}}
"#
    )
}
