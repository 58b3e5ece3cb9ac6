//! A control plane is ready when it says so, is nobody else's, and can be found again.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;
use werkbank_e2e::controlplane::{ControlPlane, Options};
use werkbank_e2e::helm::Helm;
use werkbank_e2e::process::Supervisor;

use crate::{control_plane, tools};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_and_its_kubectl_its_policies_and_its_controllers_work() {
    let begin = Instant::now();
    let control_plane = control_plane().await;
    eprintln!("ready after {:.2} s", begin.elapsed().as_secs_f64());

    let version = control_plane.kubectl(["version", "-o", "json"]).await.unwrap();
    assert!(version.status.success(), "{}", String::from_utf8_lossy(&version.stderr));
    let routes = control_plane.kubectl(["get", "httproutes", "-A"]).await.unwrap();
    assert!(routes.status.success(), "{}", String::from_utf8_lossy(&routes.stderr));

    // The controller manager: a Deployment gets its pods.
    let made = control_plane.kubectl(["create", "deployment", "web", "--image=none", "--replicas=2"]).await.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let pods: Api<Pod> = Api::namespaced(control_plane.client(), "default");
    let deadline = Instant::now() + Duration::from_secs(20);
    while pods.list(&ListParams::default()).await.unwrap().items.len() < 2 {
        assert!(Instant::now() < deadline, "no pods of the Deployment");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // RBAC: an account without a role may not read what the administrator may.
    let account = ["--as=system:serviceaccount:default:default", "get", "pods"];
    let refused = control_plane.kubectl(account).await.unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Forbidden"));
    control_plane.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_do_not_collide_and_neither_takes_the_other_for_itself() {
    let (first, second) = tokio::join!(control_plane(), control_plane());
    assert_ne!(first.addresses().ip(1), second.addresses().ip(1));

    let namespaces: Api<Namespace> = Api::all(first.client());
    let ours = serde_json::from_value(json!({"metadata": {"name": "only-in-first"}})).unwrap();
    namespaces.create(&PostParams::default(), &ours).await.unwrap();
    let elsewhere: Api<Namespace> = Api::all(second.client());
    assert!(elsewhere.get_opt("only-in-first").await.unwrap().is_none());

    // The first one's address with the second one's authority, and the other
    // way round with the first one's token: neither is taken for the other.
    let mixed = |ca: &str| {
        let ca = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
        reqwest::Client::builder().tls_built_in_root_certs(false).add_root_certificate(ca).build().unwrap()
    };
    let token = std::fs::read_to_string(first.token_file().unwrap()).unwrap();
    let ask = |client: reqwest::Client, url: &str| {
        client.get(format!("{}/api/v1/namespaces", url.trim_end_matches('/'))).bearer_auth(&token).send()
    };
    assert!(ask(mixed(second.ca_pem()), first.url()).await.is_err());
    assert_eq!(ask(mixed(second.ca_pem()), second.url()).await.unwrap().status(), 401);
    assert_eq!(ask(mixed(first.ca_pem()), first.url()).await.unwrap().status(), 200);

    let (first, second) = tokio::join!(first.stop(), second.stop());
    first.unwrap();
    second.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_cluster_is_used_and_left_running_and_helm_installs_into_it() {
    let cluster = control_plane().await;
    let options = Options { kubeconfig: Some(cluster.kubeconfig().to_owned()), ..Options::default() };
    let guest = ControlPlane::start(options, &tools()).await.unwrap();
    assert!(!guest.is_local());
    assert_eq!((guest.url(), guest.ca_pem()), (cluster.url(), cluster.ca_pem()));

    let chart = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(chart.path().join(name), text).unwrap();
    write("Chart.yaml", "apiVersion: v2\nname: tiny\nversion: 0.1.0\n");
    std::fs::create_dir(chart.path().join("templates")).unwrap();
    let manifest =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  word: {{ .Values.word }}\n";
    write("templates/configmap.yaml", manifest);
    let program = tools().helm().await.unwrap();
    let helm = Helm::new(program, guest.kubeconfig(), guest.run_dir(), Supervisor::new().unwrap());
    let rendered = helm.template("tiny", chart.path(), "charts", &["--set", "word=hello"]).await;
    assert!(rendered.unwrap().contains("word: hello"));
    helm.upgrade_install("tiny", chart.path(), "charts", &["--set", "word=hello"]).await.unwrap();
    helm.upgrade_install("tiny", chart.path(), "charts", &["--set", "word=again"]).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "charts");
    let data = maps.get("tiny").await.unwrap().data.unwrap();
    assert_eq!(data.get("word").map(String::as_str), Some("again"));
    helm.uninstall("tiny", "charts").await.unwrap();
    assert!(maps.get_opt("tiny").await.unwrap().is_none());
    let nowhere = chart.path().join("nowhere");
    assert!(helm.template::<&str>("tiny", &nowhere, "charts", &[]).await.is_err());

    guest.stop().await.unwrap();
    let ready = cluster.kubectl(["get", "--raw", "/readyz"]).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&ready.stdout), "ok");
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_directory_keeps_the_cluster_s_objects_over_a_restart() {
    let parent = tempfile::tempdir().unwrap();
    let options = Options { dir: Some(parent.path().join("kept")), ..Options::default() };
    let first = ControlPlane::start(options.clone(), &tools()).await.unwrap();
    let made = first.kubectl(["create", "namespace", "kept"]).await.unwrap();
    assert!(made.status.success());
    first.stop().await.unwrap();

    let second = ControlPlane::start(options, &tools()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(second.client());
    assert!(namespaces.get_opt("kept").await.unwrap().is_some());
    second.stop().await.unwrap();
}
