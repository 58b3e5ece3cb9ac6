//! What a pod's processes find: variables, files, an identity.

use k8s_openapi::api::{
    core::v1::{ConfigMap, Pod, Secret, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::world::{World, shell, until, waiting};

pub(crate) async fn a_pods_kubeconfig_may_do_what_rbac_allows(world: World<'_>) {
    let account = serde_json::from_value(json!({"metadata": {"name": "reader"}})).unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), "rbac");
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let role = json!({"metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]});
    let roles: Api<Role> = Api::namespaced(world.client.clone(), "rbac");
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    let binding = json!({"metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "rbac"}]});
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), "rbac");
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();

    let main =
        shell("main", "echo $KUBECONFIG; cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; sleep 600");
    world.create("p", json!({"serviceAccountName": "reader", "containers": [main]})).await;
    let without = shell("main", "echo \"<$KUBECONFIG>\"");
    let spec = json!({"automountServiceAccountToken": false, "restartPolicy": "Never", "containers": [without]});
    world.create("without", spec).await;
    let log =
        until("the log", async || world.agent.logs("rbac", "p", "main").ok().filter(|log| log.ends_with("rbac"))).await;
    let kubeconfig = kube::config::Kubeconfig::read_from(log.lines().next().unwrap()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await;
    let own = Client::try_from(config.unwrap()).unwrap();
    assert_eq!(own.default_namespace(), "rbac");
    let pods: Api<Pod> = Api::default_namespaced(own.clone());
    assert!(!pods.list(&ListParams::default()).await.unwrap().items.is_empty());
    let forbidden = |error: kube::Error| matches!(error, kube::Error::Api(answer) if answer.code == 403);
    assert!(forbidden(pods.delete("p", &DeleteParams::default()).await.unwrap_err()));
    assert!(forbidden(Api::<Pod>::namespaced(own, "default").list(&ListParams::default()).await.unwrap_err()));
    let log =
        until("the log", async || world.agent.logs("rbac", "without", "main").ok().filter(|l| !l.is_empty())).await;
    assert_eq!(log, "<>\n");
}

pub(crate) async fn files_and_variables_reach_the_process(world: World<'_>) {
    let script =
        "cat /etc/app/model.txt; cat $POLICY; cat /work/from-init; cat /info/labels; echo \" $GREETING $PREFIX_key\"";
    let mut main = shell("main", script);
    main["env"] = json!([
        {"name": "NAME", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "key"}}},
        {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": true}}},
        {"name": "GREETING", "value": "hello $(NAME) $(ABSENT)"},
        {"name": "POLICY", "value": "/etc/app/deep/policy"},
    ]);
    main["envFrom"] = json!([{"prefix": "PREFIX_", "configMapRef": {"name": "settings"}}]);
    main["volumeMounts"] = json!([
        {"name": "app", "mountPath": "/etc/app"}, {"name": "work", "mountPath": "/work"}, {"name": "info", "mountPath": "/info"}]);
    let mut init = shell("init", "printf '%s ' shared > /work/from-init");
    init["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
    let spec = json!({
        "restartPolicy": "Never", "initContainers": [init], "containers": [main],
        "volumes": [
            {"name": "work", "emptyDir": {}},
            {"name": "info", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            {"name": "app", "projected": {"sources": [
                {"configMap": {"name": "settings", "items": [{"key": "key", "path": "model.txt"}]}},
                {"secret": {"name": "policy", "items": [{"key": "p", "path": "deep/policy"}]}},
            ]}},
        ],
    });
    world.create("p", spec).await;
    let missing = |pod: &Pod| waiting(pod, "main").filter(|(_, message)| message.contains("\"settings\" not found"));
    world.until_pod("p", "the missing ConfigMap to be named", missing).await;
    let settings = serde_json::from_value(json!({"metadata": {"name": "settings"}, "data": {"key": "churn"}})).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    maps.create(&PostParams::default(), &settings).await.unwrap();
    let policy =
        serde_json::from_value(json!({"metadata": {"name": "policy"}, "stringData": {"p": "|strict "}})).unwrap();
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    secrets.create(&PostParams::default(), &policy).await.unwrap();
    let over = |pod: &Pod| (pod.status.as_ref()?.phase.as_deref() == Some("Succeeded")).then_some(());
    world.until_pod("p", "phase Succeeded", over).await;
    let log = world.agent.logs("files", "p", "main").unwrap();
    assert_eq!(log, "churn|strict shared files hello churn $(ABSENT) churn\n");
}
