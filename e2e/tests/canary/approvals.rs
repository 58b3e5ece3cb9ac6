//! A model goes through approvals by two people with different rights, on a real API server, past the chart's own policies, and
//! with the operator that looks after them.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::json;
use werkbank::api::model_deployment::{ModelDeploymentStatus, Phase};
use werkbank_e2e::workbench::sibling;

use crate::scene::{GOOD, Model, NAMESPACE, Scene, Wanted, of_entry, unharmed};

/// `anna` registers models and has a role herself, `ben` is technical, `olga` owns the deployment.
const PEOPLE: &str = "
apiVersion: v1
kind: List
items:
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: approvers, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: werkbank-approver}
  subjects:
  - {kind: User, name: anna, apiGroup: rbac.authorization.k8s.io}
  - {kind: User, name: ben, apiGroup: rbac.authorization.k8s.io}
  - {kind: User, name: olga, apiGroup: rbac.authorization.k8s.io}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: editors, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: werkbank-editor}
  subjects: [{kind: User, name: anna, apiGroup: rbac.authorization.k8s.io}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: technical, namespace: crm}
  rules: [{apiGroups: [werkbank.dev], resources: [modelregistryentries], verbs: [approve-technical]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: technical, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: technical}
  subjects:
  - {kind: User, name: anna, apiGroup: rbac.authorization.k8s.io}
  - {kind: User, name: ben, apiGroup: rbac.authorization.k8s.io}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: owner, namespace: crm}
  rules: [{apiGroups: [werkbank.dev], resources: [modeldeployments], verbs: [approve-owner]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: owner, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: owner}
  subjects: [{kind: User, name: olga, apiGroup: rbac.authorization.k8s.io}]
";

/// What puts the policy on Approvals in force.
const BINDING: &str = "werkbank-approvals";

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_rolled_out_when_others_have_approved_it_and_held_while_nobody_guards_that() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    scene.apply("people", PEOPLE).await;
    anna_registers(&scene).await;
    let load = model.load(50).await;
    let steps = "[{weight: 20%, for: 3s}, {weight: 50%, for: 3s, approval: {role: owner}}]";
    let manifest = model.manifest(&Wanted { version: "2", steps, ..GOOD });
    model.apply(&of_entry(&manifest, "scores-2")).await;

    model
        .until("it waits for an approval", |it| waits_for(it, "kubectl werkbank approve scores-2 --role technical"))
        .await;
    nobody_approves_their_own_work(&scene);
    assert_eq!(model.status().await.attempts, 1);
    approves(&scene, "ben", &["scores-2", "--role", "technical", "--comment", "backtest looked at"]);
    model.until_observing("20%").await;

    model.until("it waits for the owner", |it| waits_for(it, "--role owner")).await;
    let before = model.weights().await;
    says(&scene, "ben", &["modeldeployment/scores", "--role", "owner"], 1, "lacks the verb approve-owner");
    let binding = policy_goes(&scene).await;
    approves(&scene, "olga", &["modeldeployment/scores", "--role", "owner"]);
    model.until("no approval counts", |it| reason(it) == "ApprovalGuardNotReady").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(model.weights().await, before, "the weight is held");
    scene.apply("binding", &binding).await;
    // What was said before the policy was there may be anybody's word.
    for (who, subject, role) in [("ben", "scores-2", "technical"), ("olga", "modeldeployment/scores", "owner")] {
        takes_back(&scene, who, role).await;
        approves(&scene, who, &[subject, "--role", role]);
    }
    let status = model.until("it is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    assert_eq!(status.stable.unwrap().name, "scores-2");
    unharmed(&load.stop().await.unwrap());
    the_record_names_roles_and_nobody(&scene, &model).await;
    scene.end().await;
}

/// In her own name, and with the bytes of `scores`.
async fn anna_registers(scene: &Scene) {
    let (uri, sha256) = scene.artifact();
    let entry = json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry",
        "metadata": {"name": "scores-2", "namespace": NAMESPACE},
        "spec": {"model": {"name": "scores", "version": "2", "kind": "Predictor"}, "submittedBy": "anna",
            "governance": {"approvals": ["technical"]}, "artifact": {"uri": uri, "sha256": sha256}},
    });
    let file = scene.workbench.control_plane().run_dir().join("entry-of-anna.json");
    std::fs::write(&file, entry.to_string()).unwrap();
    scene.kubectl(&["create", "--as=anna", "-f", file.to_str().unwrap()]).await;
}

fn nobody_approves_their_own_work(scene: &Scene) {
    let own = ["scores-2", "--role", "technical"];
    says(scene, "anna", &own, 3, "nobody approves their own work, and anna has submitted scores-2");
    says(scene, "ben", &["scores-2", "--role", "business"], 3, "does not ask role business; it asks: technical");
}

/// Somebody deletes it; gives what restores it, and returns when the operator must have seen it.
async fn policy_goes(scene: &Scene) -> String {
    let control_plane = scene.workbench.control_plane();
    let get = ["get", "validatingadmissionpolicybinding", BINDING, "-o", "json"];
    let mut binding: serde_json::Value =
        serde_json::from_slice(&control_plane.kubectl(get).await.unwrap().stdout).unwrap();
    let metadata = binding["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["name", "labels", "annotations"].contains(&key.as_str()));
    scene.kubectl(&["delete", "validatingadmissionpolicybinding", BINDING]).await;
    // They are looked at again ten seconds after they were.
    tokio::time::sleep(Duration::from_secs(11)).await;
    binding.to_string()
}

/// Names of people are in Approvals and in the entry, and nowhere else.
async fn the_record_names_roles_and_nobody(scene: &Scene, model: &Model<'_>) {
    let trail = scene.trail(model).await;
    let said: Vec<String> = trail.iter().map(|it| format!("{} {}", it.decision, it.reason)).collect();
    assert!(said.iter().any(|it| it.contains("approved by role technical")), "{said:?}");
    assert!(said.iter().any(|it| it.contains("50% approved by role owner")), "{said:?}");
    let control_plane = scene.workbench.control_plane();
    let mut all = said.join("\n");
    for what in [
        "modeldeployment/scores -o jsonpath={.status}",
        "modelregistryentry/scores-2 -o jsonpath={.status}",
        "events.events.k8s.io -o json",
    ] {
        let args: Vec<&str> = ["-n", NAMESPACE, "get"].into_iter().chain(what.split(' ')).collect();
        all.push_str(&String::from_utf8_lossy(&control_plane.kubectl(args).await.unwrap().stdout));
    }
    assert!(all.contains("AwaitingApproval") && all.contains("\"Approved\""), "{all}");
    for person in ["anna", "\"ben\"", "olga"] {
        assert!(!all.contains(person), "{person} is named: {all}");
    }
}

async fn takes_back(scene: &Scene, who: &str, role: &str) {
    let control_plane = scene.workbench.control_plane();
    let list = ["-n", NAMESPACE, "get", "approvals", "-o", "name"];
    let names = String::from_utf8(control_plane.kubectl(list).await.unwrap().stdout).unwrap();
    let name = names.lines().find(|it| it.contains(&format!("-{role}-"))).unwrap();
    scene.kubectl(&["-n", NAMESPACE, "delete", name, &format!("--as={who}")]).await;
}

fn reason(status: &ModelDeploymentStatus) -> &str {
    status.conditions.iter().find(|it| it.type_ == "Ready").map(|it| it.reason.as_str()).unwrap_or_default()
}

fn waits_for(status: &ModelDeploymentStatus, what: &str) -> bool {
    let says = |it: &&werkbank::api::Condition| it.type_ == "Ready" && it.reason == "AwaitingApproval";
    status.phase == Phase::Gating && status.conditions.iter().filter(says).any(|it| it.message.contains(what))
}

/// `kubectl werkbank approve`, as that person. A new policy, and a new role, take a moment to be in force.
fn approves(scene: &Scene, who: &str, arguments: &[&str]) {
    let begin = Instant::now();
    loop {
        let output = plugin(scene, who, arguments);
        if output.status.success() {
            return;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(begin.elapsed() < Duration::from_secs(30), "{who}: {said}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn says(scene: &Scene, who: &str, arguments: &[&str], code: i32, expected: &str) {
    let output = plugin(scene, who, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(code) && said.contains(expected), "{who}, {:?}: {said}", output.status);
}

fn plugin(scene: &Scene, who: &str, arguments: &[&str]) -> Output {
    Command::new(sibling("kubectl-werkbank").unwrap())
        .arg("--kubeconfig")
        .arg(scene.workbench.control_plane().kubeconfig())
        .args(["-n", NAMESPACE, "--as", who, "approve"])
        .args(arguments)
        .output()
        .unwrap()
}
