//! A model goes through approvals by two people with different rights, on a real API server, past the chart's own policies, and
//! with the operator that looks after them.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::json;
use werkbank::api::model_deployment::{ModelDeploymentStatus, Phase};
use werkbank_e2e::workbench::sibling;

use crate::actors;
use crate::scene::{GOOD, NAMESPACE, Scene, Wanted, of_entry, unharmed};

pub(crate) const ANNA: &str = "anna.schmidt@example.com";
pub(crate) const BEN: &str = "ben.weber@example.com";
pub(crate) const OLGA: &str = "olga.maier@example.com";

pub(crate) const COMMENT: &str = "backtest looked at with Bernd Krause";

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
  - {kind: User, name: anna.schmidt@example.com, apiGroup: rbac.authorization.k8s.io}
  - {kind: User, name: ben.weber@example.com, apiGroup: rbac.authorization.k8s.io}
  - {kind: User, name: olga.maier@example.com, apiGroup: rbac.authorization.k8s.io}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: editors, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: werkbank-editor}
  subjects: [{kind: User, name: anna.schmidt@example.com, apiGroup: rbac.authorization.k8s.io}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: technical, namespace: crm}
  rules: [{apiGroups: [werkbank.dev], resources: [modelregistryentries], verbs: [approve-technical]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: technical, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: technical}
  subjects:
  - {kind: User, name: anna.schmidt@example.com, apiGroup: rbac.authorization.k8s.io}
  - {kind: User, name: ben.weber@example.com, apiGroup: rbac.authorization.k8s.io}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: owner, namespace: crm}
  rules: [{apiGroups: [werkbank.dev], resources: [modeldeployments], verbs: [approve-owner]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: owner, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: owner}
  subjects: [{kind: User, name: olga.maier@example.com, apiGroup: rbac.authorization.k8s.io}]
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
    says_it(&scene, "reject", BEN, &["scores-2", "--role", "technical", "--comment", COMMENT]);
    model.until("it is rejected, and that is on the record", |it| noted(it) == 1).await;
    takes_back(&scene, BEN, "technical").await;
    model.until("that is taken back", |it| noted(it) == 0 && waits_for(it, "--role technical")).await;
    assert_eq!(model.status().await.attempts, 1);
    approves(&scene, BEN, &["scores-2", "--role", "technical", "--comment", COMMENT]);
    model.until_observing("20%").await;

    model.until("it waits for the owner", |it| waits_for(it, "--role owner")).await;
    actors::anna_pauses_and_resumes(&scene, &model).await;
    let before = model.weights().await;
    says(&scene, BEN, &["modeldeployment/scores", "--role", "owner"], 1, "lacks the verb approve-owner");
    let binding = policy_goes(&scene).await;
    approves(&scene, OLGA, &["modeldeployment/scores", "--role", "owner"]);
    model.until("no approval counts", |it| reason(it) == "ApprovalGuardNotReady").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(model.weights().await, before, "the weight is held");
    scene.apply("binding", &binding).await;
    // What was said before the policy was there may be anybody's word.
    for (who, subject, role) in [(BEN, "scores-2", "technical"), (OLGA, "modeldeployment/scores", "owner")] {
        takes_back(&scene, who, role).await;
        approves(&scene, who, &[subject, "--role", role, "--comment", COMMENT]);
    }
    let status = model.until("it is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    assert_eq!(status.stable.unwrap().name, "scores-2");
    unharmed(&load.stop().await.unwrap());
    actors::roles_and_actors_are_on_the_record(&scene, &model).await;
    actors::a_no_and_what_is_taken_back_are_on_the_record(&scene, &model).await;
    actors::nobody_is_named(&scene, &model).await;
    actors::the_log_is_this_clusters(&scene).await;
    actors::somebody_is_found_until_they_are_forgotten(&scene).await;
    scene.end().await;
}

/// In her own name, and with the bytes of `scores`.
async fn anna_registers(scene: &Scene) {
    let (uri, sha256) = scene.artifact();
    let entry = json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry",
        "metadata": {"name": "scores-2", "namespace": NAMESPACE},
        "spec": {"model": {"name": "scores", "version": "2", "kind": "Predictor"}, "submittedBy": ANNA,
            "governance": {"approvals": ["technical"]}, "artifact": {"uri": uri, "sha256": sha256}},
    });
    let file = scene.workbench.control_plane().run_dir().join("entry-of-anna.json");
    std::fs::write(&file, entry.to_string()).unwrap();
    scene.kubectl(&["create", &format!("--as={ANNA}"), "-f", file.to_str().unwrap()]).await;
}

fn nobody_approves_their_own_work(scene: &Scene) {
    let own = ["scores-2", "--role", "technical"];
    says(scene, ANNA, &own, 3, &format!("nobody approves their own work, and {ANNA} has submitted scores-2"));
    says(scene, BEN, &["scores-2", "--role", "business"], 3, "does not ask role business; it asks: technical");
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

/// Approvals that are on the record.
fn noted(status: &ModelDeploymentStatus) -> usize {
    status.recorded_approvals.iter().flatten().count()
}

fn waits_for(status: &ModelDeploymentStatus, what: &str) -> bool {
    let says = |it: &&werkbank::api::Condition| it.type_ == "Ready" && it.reason == "AwaitingApproval";
    status.phase == Phase::Gating && status.conditions.iter().filter(says).any(|it| it.message.contains(what))
}

/// `kubectl werkbank approve`, as that person.
fn approves(scene: &Scene, who: &str, arguments: &[&str]) {
    says_it(scene, "approve", who, arguments);
}

/// A new policy, and a new role, take a moment to be in force.
fn says_it(scene: &Scene, verb: &str, who: &str, arguments: &[&str]) {
    let begin = Instant::now();
    loop {
        let output = plugin(scene, verb, who, arguments);
        if output.status.success() {
            return;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(begin.elapsed() < Duration::from_secs(30), "{who}: {said}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn says(scene: &Scene, who: &str, arguments: &[&str], code: i32, expected: &str) {
    let output = plugin(scene, "approve", who, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(code) && said.contains(expected), "{who}, {:?}: {said}", output.status);
}

fn plugin(scene: &Scene, verb: &str, who: &str, arguments: &[&str]) -> Output {
    Command::new(sibling("kubectl-werkbank").unwrap())
        .arg("--kubeconfig")
        .arg(scene.workbench.control_plane().kubeconfig())
        .args(["-n", NAMESPACE, "--as", who, verb])
        .args(arguments)
        .output()
        .unwrap()
}
