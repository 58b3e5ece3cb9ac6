//! Who may name the Secret and the ServiceAccount that an artifact is verified with: lines of the table of [`super::approvals`].

use anyhow::Result;
use serde_json::{Value, json};

use crate::apply;
use crate::approvals::{Scene, entry};

/// `rita` registers entries and has no other right; `sven` may read the Secret `store` besides, `iris` may act as `model-reader`.
const PEOPLE: &str = "
apiVersion: v1
kind: List
items:
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: registers, namespace: crm}
  rules: [{apiGroups: [werkbank.dev], resources: [modelregistryentries], verbs: [create, get, patch]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: registers, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: registers}
  subjects:
  - {kind: User, name: rita, apiGroup: rbac.authorization.k8s.io}
  - {kind: User, name: sven, apiGroup: rbac.authorization.k8s.io}
  - {kind: User, name: iris, apiGroup: rbac.authorization.k8s.io}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: reads-store, namespace: crm}
  rules: [{apiGroups: [''], resources: [secrets], resourceNames: [store], verbs: [get]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: reads-store, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads-store}
  subjects: [{kind: User, name: sven, apiGroup: rbac.authorization.k8s.io}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: acts-as-model-reader, namespace: crm}
  rules: [{apiGroups: [''], resources: [serviceaccounts], resourceNames: [model-reader], verbs: [impersonate]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: acts-as-model-reader, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: acts-as-model-reader}
  subjects: [{kind: User, name: iris, apiGroup: rbac.authorization.k8s.io}]
";

fn with(field: &str, value: &Value) -> Value {
    let mut it = entry("new", None);
    let artifact = it.pointer_mut("/spec/artifact").and_then(Value::as_object_mut);
    artifact.into_iter().for_each(|it| drop(it.insert(field.to_owned(), value.clone())));
    it
}

/// Whether the policy refuses what it alone can refuse.
pub(super) async fn are_in_force(scene: &Scene) -> Result<bool> {
    apply(&scene.cluster, PEOPLE).await?;
    let secret = with("secretRef", &json!({"name": "store"}));
    Ok(!scene.says_with("rita", &["create", "--dry-run=server", "-f"], &secret).await?.0)
}

pub(super) async fn credentials(scene: &mut Scene) -> Result<()> {
    let secret = |name: &str| with("secretRef", &json!({"name": name}));
    let account = |name: &str| with("serviceAccountName", &name.into());
    scene.tries("rita", "registers an entry that names no Secret", &entry("new", None)).await?;
    for (who, name) in [("rita", "store"), ("sven", "store"), ("sven", "another"), ("anna", "store")] {
        scene.tries(who, &format!("registers one with the Secret {name}"), &secret(name)).await?;
    }
    let accounts = [
        ("rita", "model-reader"),
        ("sven", "model-reader"),
        ("iris", "model-reader"),
        ("iris", "another"),
        ("anna", "another"),
    ];
    for (who, name) in accounts {
        scene.tries(who, &format!("registers one with the account {name}"), &account(name)).await?;
    }
    for (who, name) in
        [("rita", "model-reader"), ("iris", "model-reader"), ("rita", "model-reader"), ("rita", "another")]
    {
        let patch = json!({"spec": {"artifact": {"serviceAccountName": name}}}).to_string();
        let arguments = ["patch", "mre", "old", "--type=merge", "-p", patch.as_str()];
        scene.does(who, &format!("gives old the account {name}"), &arguments).await?;
    }
    let owners = json!({"spec": {"owners": {"business": "crm"}}}).to_string();
    let arguments = ["patch", "mre", "old", "--type=merge", "-p", owners.as_str()];
    scene.does("rita", "names the owner of old, whose account stays", &arguments).await
}
