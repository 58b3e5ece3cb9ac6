//! What the scenarios see: a node, an API server, a namespace of their own.

use std::{path::Path, time::Duration};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use werkbank_e2e::node::NodeAgent;

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
pub(crate) struct World<'a> {
    pub(crate) client: Client,
    pub(crate) agent: &'a NodeAgent,
    pub(crate) namespace: String,
    pub(crate) dir: &'a Path,
}

impl World<'_> {
    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn create(&self, name: &str, spec: Value) {
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap();
    }

    pub(crate) async fn until_pod<T>(&self, name: &str, what: &str, seen: impl Fn(&Pod) -> Option<T>) -> T {
        until(what, async || self.pods().get_opt(name).await.ok().flatten().as_ref().and_then(&seen)).await
    }

    pub(crate) async fn until_ready(&self, name: &str, wanted: &str) {
        let what = format!("Ready={wanted} of pod {name}");
        self.until_pod(name, &what, |pod| (condition(pod, "Ready")?.0 == wanted).then_some(())).await;
    }
}

pub(crate) fn condition(pod: &Pod, type_: &str) -> Option<(String, String, String)> {
    let found = pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == type_)?.clone();
    Some((found.status, found.reason.unwrap_or_default(), found.message.unwrap_or_default()))
}

pub(crate) fn container(pod: &Pod, name: &str) -> Option<ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.into_iter().find(|status| status.name == name).cloned()
}

pub(crate) fn waiting(pod: &Pod, name: &str) -> Option<(String, String)> {
    let waiting = container(pod, name)?.state?.waiting?;
    Some((waiting.reason?, waiting.message.unwrap_or_default()))
}

/// Waits, at most a minute, until there is an answer.
pub(crate) async fn until<T>(what: &str, mut answer: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1200 {
        if let Some(found) = answer().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited a minute in vain for {what}");
}

pub(crate) fn server(state: &Path) -> Value {
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

pub(crate) fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "shell", "command": ["sh", "-c", script]})
}
