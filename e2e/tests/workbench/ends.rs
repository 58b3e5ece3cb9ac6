//! Nothing of a workbench stays behind, however it ends.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use kube::config::Kubeconfig;
use kube::runtime::wait::await_condition;
use rustix::process::Signal;
use serde_json::json;
use werkbank_e2e::controlplane;
use werkbank_e2e::workbench::{MODEL_SERVER_IMAGE, Options, Workbench};

use crate::WORKBENCH;
use crate::processes::{assert_all_end, assert_nothing_runs_in, processes_of, program, send};

/// Runs a pod that serves a model on the workbench in `dir`; returns when it is ready.
async fn serve_a_model(dir: &Path) {
    let model = dir.join("model.json");
    let artifact = json!({"format": "werkbank-example/logistic-v1", "name": "churn", "version": "v1", "intercept": 0.0,
        "threshold": 0.5, "features": [
            {"name": "orders", "transform": "identity", "mean": 0.0, "scale": 1.0, "coefficient": 1.0}]});
    std::fs::write(&model, artifact.to_string()).unwrap();
    let pod = serde_json::from_value(json!({"metadata": {"name": "model"}, "spec": {"containers": [{
        "name": "model", "image": MODEL_SERVER_IMAGE, "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "WERKBANK_MODEL_PATH", "value": model},
            {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1}}]}}));
    let kubeconfig = Kubeconfig::read_from(dir.join("kubeconfig")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(kube::Client::try_from(config).unwrap(), "default");
    pods.create(&PostParams::default(), &pod.unwrap()).await.unwrap();
    let ready = await_condition(pods, "model", |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
    });
    tokio::time::timeout(Duration::from_secs(60), ready).await.expect("the pod is not ready").unwrap();
}

/// What runs in `dir`, after checking that all of a workbench is among it.
fn whole_workbench(dir: &Path) -> Vec<u32> {
    let pids = processes_of(dir);
    let programs: Vec<String> = pids.iter().map(|pid| program(*pid)).collect();
    for part in ["etcd", "kube-apiserver", "kube-controller", "envoy", "prometheus", "model-server"] {
        assert!(programs.iter().any(|it| it.starts_with(part)), "no {part} in {programs:?}");
    }
    pids
}

/// `workbench up`, and the directory it runs in once it says that it is ready.
fn workbench_up() -> (Child, PathBuf) {
    let mut child = Command::new(WORKBENCH).arg("up").stdout(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    while stdout.read_line(&mut line).unwrap() > 0 {
        if let Some(path) = line.strip_prefix("export KUBECONFIG='") {
            let kubeconfig = PathBuf::from(path.trim_end().trim_end_matches('\''));
            // Kept open: whoever reads it no more ends the workbench with an error.
            child.stdout = Some(stdout.into_inner());
            return (child, kubeconfig.parent().unwrap().to_owned());
        }
        line.clear();
    }
    panic!("workbench up ended before it was ready: {:?}", child.wait());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_ends_when_the_workbench_is_killed() {
    let (mut child, dir) = workbench_up();
    serve_a_model(&dir).await;
    let pids = whole_workbench(&dir);
    send(&child, Signal::KILL);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_all_end(&pids);
    assert_nothing_runs_in(&dir);
    // Nobody was left to remove it: the next start does, if not one of those
    // that run beside this test has done so.
    let _ = std::fs::remove_dir_all(&dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_and_sigterm_end_everything_and_remove_the_directory() {
    for signal in [Signal::INT, Signal::TERM] {
        let (mut child, dir) = workbench_up();
        serve_a_model(&dir).await;
        let pids = whole_workbench(&dir);
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_all_end(&pids);
        assert_nothing_runs_in(&dir);
        assert!(!dir.exists());
    }
}

/// A workbench in this process, with a pod that serves; and the directory it runs in. Never the cluster of `WERKBANK_KUBECONFIG`: it is
/// the workbench's own processes that have to end.
async fn started() -> (Workbench, PathBuf) {
    let options = Options { control_plane: controlplane::Options::default(), ..Options::from_env() };
    let workbench = Workbench::start(options).await.unwrap();
    let dir = workbench.control_plane().run_dir().to_owned();
    serve_a_model(&dir).await;
    (workbench, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_everything_and_removes_the_directory() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let panicking = tokio::spawn(async move {
        let (_workbench, dir) = started().await;
        sender.send((whole_workbench(&dir), dir)).unwrap();
        panic!("on purpose");
    });
    let (pids, dir) = receiver.await.unwrap();
    assert!(panicking.await.unwrap_err().is_panic());
    assert_all_end(&pids);
    assert_nothing_runs_in(&dir);
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_starts_and_stops_in_a_row_leave_no_process_and_no_directory() {
    for _ in 0..10 {
        let (workbench, dir) = started().await;
        let pids = whole_workbench(&dir);
        workbench.stop().await.unwrap();
        assert_all_end(&pids);
        assert_nothing_runs_in(&dir);
        assert!(!dir.exists());
    }
}
