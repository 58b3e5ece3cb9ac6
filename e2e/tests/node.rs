//! Pods as local processes, against a real API server and its controllers.
//!
//! One control plane serves all the tests of this file, each in a namespace of
//! its own: they run at once, as a node's pods do.

mod node_fixture;

use std::{collections::BTreeMap, path::Path, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ContainerStatus, Namespace, Pod, ServiceAccount},
        rbac::v1::{Role, RoleBinding},
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use node_fixture::{ControlPlane, until};
use serde_json::{Value, json};
use werkbank_e2e::node::{Image, NodeAgent, NodeOptions};

const PYTHON_SERVER: &str = r#"
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        flag = os.path.join(os.environ["STATE"], "unready")
        code = 503 if self.path == "/ready" and os.path.exists(flag) else 200
        body = os.environ["NAME"].encode()
        self.send_response(code); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
def bye(*_):
    print("asked to end", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, bye)
http.server.HTTPServer((os.environ["IP"], 8080), Handler).serve_forever()
"#;

/// A node with its control plane, and a namespace for one test.
struct World<'a> {
    client: Client,
    agent: &'a NodeAgent,
    namespace: String,
    dir: &'a Path,
}

impl World<'_> {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn create(&self, name: &str, spec: Value) {
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.pods()
            .create(&PostParams::default(), &pod)
            .await
            .unwrap();
    }

    async fn until_pod<T>(&self, name: &str, what: &str, seen: impl Fn(&Pod) -> Option<T>) -> T {
        until(what, async || {
            self.pods()
                .get_opt(name)
                .await
                .ok()
                .flatten()
                .as_ref()
                .and_then(&seen)
        })
        .await
    }

    async fn until_ready(&self, name: &str, wanted: &str) {
        let what = format!("Ready={wanted} of pod {name}");
        self.until_pod(name, &what, |pod| {
            (condition(pod, "Ready")?.0 == wanted).then_some(())
        })
        .await;
    }
}

fn condition(pod: &Pod, type_: &str) -> Option<(String, String, String)> {
    let found = pod
        .status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|c| c.type_ == type_)?
        .clone();
    Some((
        found.status,
        found.reason.unwrap_or_default(),
        found.message.unwrap_or_default(),
    ))
}

fn container(pod: &Pod, name: &str) -> Option<ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    all.into_iter().find(|status| status.name == name).cloned()
}

fn waiting(pod: &Pod, name: &str) -> Option<(String, String)> {
    let waiting = container(pod, name)?.state?.waiting?;
    Some((waiting.reason?, waiting.message.unwrap_or_default()))
}

fn server(state: &Path) -> Value {
    json!({
        "name": "server", "image": "python", "args": ["-c", PYTHON_SERVER],
        "env": [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "STATE", "value": state},
        ],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1},
    })
}

fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "shell", "command": ["sh", "-c", script]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_runs_pods_as_a_cluster_would() {
    let plane = ControlPlane::start().await;
    let python = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|dir| dir.join("python3"))
        .find(|path| path.exists() && !path.to_string_lossy().contains("shims"))
        .expect("python3 is on PATH");
    let options = NodeOptions::new(
        "node-eu",
        "127.61.7.0/24".parse().unwrap(),
        plane.dir.path().join("run"),
        &plane.server,
        &plane.ca_pem,
    )
    .label("topology.kubernetes.io/region", "eu")
    .image("shell", Image::new("/bin/sh"))
    .image("python", Image::new(python));
    let agent = NodeAgent::start(plane.client.clone(), options)
        .await
        .unwrap();
    let world = async |namespace: &'static str| {
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::<Namespace>::all(plane.client.clone())
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(plane.client.clone(), namespace);
        until("the default ServiceAccount", async || {
            accounts.get("default").await.ok()
        })
        .await;
        World {
            client: plane.client.clone(),
            agent: &agent,
            namespace: namespace.into(),
            dir: plane.dir.path(),
        }
    };
    tokio::join!(
        async { replicas_share_a_port_on_addresses_of_their_own(world("replicas").await).await },
        async { a_failing_init_container_shows_its_termination_message(world("init").await).await },
        async { a_crashing_container_backs_off(world("crash").await).await },
        async { readiness_follows_the_probe(world("readiness").await).await },
        async { deletion_is_graceful(world("deletion").await).await },
        async { a_force_deleted_pods_processes_end(world("vanished").await).await },
        async { an_unknown_image_is_named(world("image").await).await },
        async { a_region_without_a_node_is_unschedulable(world("region").await).await },
        async { a_pods_kubeconfig_may_do_what_rbac_allows(world("rbac").await).await },
        async { files_and_variables_reach_the_process(world("files").await).await },
        async { a_sidecar_does_not_keep_a_finished_pod_alive(world("sidecar").await).await },
        async { a_killed_process_is_started_again(world("killed").await).await },
    );
    let world = world("stop").await;
    world
        .create(
            "sleeper",
            json!({"containers": [shell("main", "sleep 600")]}),
        )
        .await;
    world.until_ready("sleeper", "True").await;
    let pid = agent.pid("stop", "sleeper", "main").unwrap();
    agent.stop().await;
    assert!(
        !Path::new(&format!("/proc/{pid}")).exists(),
        "stopping the node ends its pods' processes"
    );
}

async fn replicas_share_a_port_on_addresses_of_their_own(world: World<'_>) {
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [server(world.dir)],
                    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [
                            {"key": "topology.kubernetes.io/region", "operator": "In", "values": ["eu"]}]}]}}},
                },
            },
        },
    }))
    .unwrap();
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), &world.namespace);
    deployments
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    until("three ready replicas", async || {
        let status = deployments.get("web").await.ok()?.status?;
        (status.ready_replicas == Some(3)).then_some(())
    })
    .await;
    let pods = world
        .pods()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut answers = BTreeMap::new();
    for pod in &pods {
        let ip = pod.status.as_ref().unwrap().pod_ip.clone().unwrap();
        let answer = http
            .get(format!("http://{ip}:8080/"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert_eq!(
            answer,
            pod.name_any(),
            "each address is answered by its own pod"
        );
        answers.insert(ip, answer);
        let id = container(pod, "server").unwrap().image_id;
        assert!(id.starts_with("python@sha256:") && id.len() > 70, "{id}");
    }
    assert_eq!(answers.len(), 3);
}

async fn a_failing_init_container_shows_its_termination_message(world: World<'_>) {
    let fetch = shell(
        "fetch",
        "echo 'digest differs' > /dev/termination-log; exit 3",
    );
    let spec = json!({
        "restartPolicy": "Never", "initContainers": [fetch], "containers": [shell("main", "true")]});
    world.create("p", spec).await;
    let (fetch, main) = world
        .until_pod("p", "phase Failed", |pod| {
            let failed = pod.status.as_ref()?.phase.as_deref() == Some("Failed");
            failed.then(|| {
                (
                    container(pod, "fetch").unwrap(),
                    container(pod, "main").unwrap(),
                )
            })
        })
        .await;
    let ended = fetch.state.unwrap().terminated.unwrap();
    assert_eq!(
        (ended.exit_code, ended.message.as_deref()),
        (3, Some("digest differs\n"))
    );
    assert_eq!(
        main.state.unwrap().waiting.unwrap().reason.as_deref(),
        Some("PodInitializing")
    );
    assert!(
        world.agent.logs("init", "p", "main").is_err(),
        "what never started has no log"
    );
}

async fn a_crashing_container_backs_off(world: World<'_>) {
    let mut main = shell("main", "echo no such model; exit 7");
    main["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    world.create("p", json!({"containers": [main]})).await;
    let status = world
        .until_pod("p", "the second back-off", |pod| {
            let (reason, message) = waiting(pod, "main")?;
            (reason == "CrashLoopBackOff" && message.starts_with("back-off 2s"))
                .then(|| container(pod, "main"))?
        })
        .await;
    assert_eq!(status.restart_count, 1);
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!(
        (
            last.exit_code,
            last.reason.as_deref(),
            last.message.as_deref()
        ),
        (7, Some("Error"), Some("no such model"))
    );
    let pod = world.pods().get("p").await.unwrap();
    assert_eq!(
        pod.status.as_ref().unwrap().phase.as_deref(),
        Some("Running")
    );
    assert_eq!(condition(&pod, "Ready").unwrap().1, "ContainersNotReady");
}

async fn readiness_follows_the_probe(world: World<'_>) {
    let state = world.dir.join("readiness-state");
    std::fs::create_dir(&state).unwrap();
    world
        .create("p", json!({"containers": [server(&state)]}))
        .await;
    world.until_ready("p", "True").await;
    std::fs::write(state.join("unready"), "").unwrap();
    world.until_ready("p", "False").await;
    std::fs::remove_file(state.join("unready")).unwrap();
    world.until_ready("p", "True").await;
    let pod = world.pods().get("p").await.unwrap();
    assert_eq!(
        container(&pod, "server").unwrap().restart_count,
        0,
        "an unready container is not restarted"
    );
    assert_eq!(
        condition(&pod, "Ready").unwrap().1,
        "",
        "the reason has gone with the failure"
    );
}

async fn deletion_is_graceful(world: World<'_>) {
    let polite = shell(
        "main",
        "trap 'sleep 1; echo done; exit 0' TERM; echo up; while :; do sleep 0.1; done",
    );
    let stubborn = shell("main", "trap '' TERM; while :; do sleep 0.1; done");
    world
        .create("polite", json!({"containers": [polite]}))
        .await;
    world
        .create(
            "stubborn",
            json!({"terminationGracePeriodSeconds": 2, "containers": [stubborn]}),
        )
        .await;
    for name in ["polite", "stubborn"] {
        world.until_ready(name, "True").await;
    }
    until("the trap to be set", async || {
        world
            .agent
            .logs("deletion", "polite", "main")
            .ok()
            .filter(|log| log == "up\n")
    })
    .await;
    let begun = Timestamp::now();
    for name in ["polite", "stubborn"] {
        world
            .pods()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }
    world.until_ready("polite", "False").await;
    assert!(
        world.agent.pid("deletion", "polite", "main").is_some(),
        "it is not ready while it still runs"
    );
    for name in ["polite", "stubborn"] {
        until("the pod to be gone", async || {
            world
                .pods()
                .get_opt(name)
                .await
                .unwrap()
                .is_none()
                .then_some(())
        })
        .await;
        assert_eq!(world.agent.pid("deletion", name, "main"), None);
    }
    assert!(
        world
            .agent
            .logs("deletion", "polite", "main")
            .unwrap()
            .ends_with("done\n")
    );
    let took = Timestamp::now().duration_since(begun).as_secs_f64();
    assert!(
        (2.0..10.0).contains(&took),
        "SIGKILL came after the grace period, not {took} s"
    );
}

async fn a_force_deleted_pods_processes_end(world: World<'_>) {
    world
        .create("p", json!({"containers": [shell("main", "sleep 600")]}))
        .await;
    world.until_ready("p", "True").await;
    let pid = world.agent.pid("vanished", "p", "main").unwrap();
    world
        .pods()
        .delete("p", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    until("the process to end", async || {
        (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    })
    .await;
}

async fn an_unknown_image_is_named(world: World<'_>) {
    world
        .create(
            "p",
            json!({"containers": [{"name": "main", "image": "registry/scorer:9"}]}),
        )
        .await;
    world
        .create(
            "q",
            json!({"containers": [{"name": "main", "image": "shell", "command": ["curl"]}]}),
        )
        .await;
    let message = world
        .until_pod("p", "ImagePullBackOff", |pod| {
            waiting(pod, "main")
                .filter(|(reason, _)| reason == "ImagePullBackOff")
                .map(|(_, message)| message)
        })
        .await;
    assert!(
        message.contains("registry/scorer:9") && message.contains("node-eu"),
        "{message}"
    );
    let refused =
        |pod: &Pod| waiting(pod, "main").filter(|(reason, _)| reason == "CreateContainerError");
    let (_, message) = world.until_pod("q", "CreateContainerError", refused).await;
    assert!(
        message.contains("\"sh\"") && message.contains("\"curl\""),
        "{message}"
    );
}

async fn a_region_without_a_node_is_unschedulable(world: World<'_>) {
    let spec = json!({
        "nodeSelector": {"topology.kubernetes.io/region": "us"}, "containers": [shell("main", "sleep 600")]});
    world.create("p", spec).await;
    let (status, reason, message) = world
        .until_pod("p", "PodScheduled", |pod| condition(pod, "PodScheduled"))
        .await;
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "Unschedulable")
    );
    assert!(
        message.starts_with(
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        ),
        "{message}"
    );
    world
        .pods()
        .delete("p", &DeleteParams::default())
        .await
        .unwrap();
    until("the pod to be gone", async || {
        world
            .pods()
            .get_opt("p")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

async fn a_pods_kubeconfig_may_do_what_rbac_allows(world: World<'_>) {
    let made = |kind: &str| format!("{kind} can be created");
    let account = serde_json::from_value(json!({"metadata": {"name": "reader"}})).unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), "rbac");
    accounts
        .create(&PostParams::default(), &account)
        .await
        .expect(&made("ServiceAccount"));
    let role = json!({"metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]});
    let roles: Api<Role> = Api::namespaced(world.client.clone(), "rbac");
    roles
        .create(
            &PostParams::default(),
            &serde_json::from_value(role).unwrap(),
        )
        .await
        .expect(&made("Role"));
    let binding = json!({"metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "rbac"}]});
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), "rbac");
    bindings
        .create(
            &PostParams::default(),
            &serde_json::from_value(binding).unwrap(),
        )
        .await
        .expect(&made("RoleBinding"));

    let main = shell(
        "main",
        "echo $KUBECONFIG; cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; sleep 600",
    );
    world
        .create(
            "p",
            json!({"serviceAccountName": "reader", "containers": [main]}),
        )
        .await;
    let without = shell("main", "echo \"<$KUBECONFIG>\"");
    let spec = json!({"automountServiceAccountToken": false, "restartPolicy": "Never", "containers": [without]});
    world.create("without", spec).await;
    let log = until("the log", async || {
        world
            .agent
            .logs("rbac", "p", "main")
            .ok()
            .filter(|log| log.ends_with("rbac"))
    })
    .await;
    let kubeconfig = kube::config::Kubeconfig::read_from(log.lines().next().unwrap()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(
        kubeconfig,
        &kube::config::KubeConfigOptions::default(),
    )
    .await;
    let own = Client::try_from(config.unwrap()).unwrap();
    assert_eq!(own.default_namespace(), "rbac");
    let pods: Api<Pod> = Api::default_namespaced(own.clone());
    assert!(
        !pods
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let forbidden =
        |error: kube::Error| matches!(error, kube::Error::Api(answer) if answer.code == 403);
    assert!(forbidden(
        pods.delete("p", &DeleteParams::default())
            .await
            .unwrap_err()
    ));
    assert!(forbidden(
        Api::<Pod>::namespaced(own, "default")
            .list(&ListParams::default())
            .await
            .unwrap_err()
    ));
    let log = until("the log", async || {
        world
            .agent
            .logs("rbac", "without", "main")
            .ok()
            .filter(|l| !l.is_empty())
    })
    .await;
    assert_eq!(log, "<>\n");
}

async fn files_and_variables_reach_the_process(world: World<'_>) {
    let script = "cat /etc/app/model.txt; cat $POLICY; cat /work/from-init; cat /info/labels; echo \" $GREETING $PREFIX_key\"";
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
    let missing = |pod: &Pod| {
        waiting(pod, "main").filter(|(_, message)| message.contains("\"settings\" not found"))
    };
    world
        .until_pod("p", "the missing ConfigMap to be named", missing)
        .await;
    let settings =
        serde_json::from_value(json!({"metadata": {"name": "settings"}, "data": {"key": "churn"}}))
            .unwrap();
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> =
        Api::namespaced(world.client.clone(), &world.namespace);
    maps.create(&PostParams::default(), &settings)
        .await
        .unwrap();
    let policy = serde_json::from_value(
        json!({"metadata": {"name": "policy"}, "stringData": {"p": "|strict "}}),
    )
    .unwrap();
    let secrets: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(world.client.clone(), &world.namespace);
    secrets
        .create(&PostParams::default(), &policy)
        .await
        .unwrap();
    let over =
        |pod: &Pod| (pod.status.as_ref()?.phase.as_deref() == Some("Succeeded")).then_some(());
    world.until_pod("p", "phase Succeeded", over).await;
    let log = world.agent.logs("files", "p", "main").unwrap();
    assert_eq!(
        log,
        "churn|strict shared files hello churn $(ABSENT) churn\n"
    );
}

async fn a_sidecar_does_not_keep_a_finished_pod_alive(world: World<'_>) {
    let mut sidecar = shell(
        "proxy",
        "trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done",
    );
    sidecar["restartPolicy"] = json!("Always");
    let spec = json!({
        "restartPolicy": "Never", "initContainers": [sidecar], "containers": [shell("main", "sleep 1; exit 4")]});
    world.create("p", spec).await;
    let over = |pod: &Pod| (pod.status.as_ref()?.phase.as_deref() == Some("Failed")).then_some(());
    world.until_pod("p", "phase Failed", over).await;
    until("the sidecar to end", async || {
        world
            .agent
            .logs("sidecar", "p", "proxy")
            .ok()
            .filter(|log| log == "bye\n")
    })
    .await;
}

async fn a_killed_process_is_started_again(world: World<'_>) {
    world
        .create("p", json!({"containers": [shell("main", "sleep 600")]}))
        .await;
    world.until_ready("p", "True").await;
    let pid = world.agent.pid("killed", "p", "main").unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let status = world
        .until_pod("p", "the restart", |pod| {
            container(pod, "main").filter(|main| main.restart_count == 1 && main.ready)
        })
        .await;
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.signal), (137, Some(9)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(world.agent.pid("killed", "p", "main").is_some());
}
