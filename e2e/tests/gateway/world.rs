//! What a test of the gateway works with: a namespace, a Gateway, backends that
//! listen in this process behind hand-made pods, and routes.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use axum::{Json, Router, extract::Request, response::IntoResponse};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use werkbank_e2e::{
    controlplane::ControlPlane,
    gateway::{
        GatewayController, GatewayOptions, Ports,
        api::{Gateway, GatewayClass, HttpRoute},
    },
    process::Supervisor,
    tools::Tools,
};

use crate::plane;

/// A namespace with a Gateway and its controller.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) gateway: GatewayController,
    pub(crate) url: String,
    pub(crate) run_dir: TempDir,
    // The last to go: the others are its clients.
    _plane: Arc<ControlPlane>,
}

/// A server in this process, with its pod. Ends when dropped.
pub(crate) struct Backend {
    pub(crate) requests: Arc<AtomicU64>,
    pub(crate) pod: String,
    server: JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A loopback address that no other test uses.
fn address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 128 + high % 64, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

impl World {
    /// `listener` is merged into the Gateway's only listener.
    pub(crate) async fn start(namespace: &str, listener: Value) -> Result<Self> {
        let tools = Tools::new(Supervisor::new()?)?;
        let plane = plane::plane(&tools).await?;
        let client = plane::client(&plane).await?;
        create(&Api::<Namespace>::all(client.clone()), json!({"metadata": {"name": namespace}})).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        while accounts.get_opt("default").await?.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let controller = format!("werkbank.test/{namespace}");
        let class = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": namespace}, "spec": {"controllerName": controller}});
        create(&Api::<GatewayClass>::all(client.clone()), class).await?;
        let run_dir = tempfile::tempdir()?;
        let gateway = GatewayController::start(
            client.clone(),
            GatewayOptions {
                envoy: tools.envoy().await?,
                controller_name: controller,
                run_dir: run_dir.path().to_owned(),
                address: address().to_string(),
                ports: Ports::Free,
            },
        );
        let gateway = gateway.await?;
        let mut full = json!({"name": "http", "port": 80, "protocol": "HTTP"});
        merge(&mut full, listener);
        let edge = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "edge"}, "spec": {"gatewayClassName": namespace, "listeners": [full]}});
        create(&Api::<Gateway>::namespaced(client.clone(), namespace), edge).await?;
        let url = gateway.url(namespace, "edge").await?;
        Ok(Self { client, namespace: namespace.to_owned(), gateway, url, run_dir, _plane: plane })
    }

    pub(crate) fn routes(&self) -> Api<HttpRoute> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A Service that selects pods of this revision.
    pub(crate) async fn service(&self, revision: &str) -> Result<()> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let service = json!({"metadata": {"name": revision}, "spec": {
            "selector": {"revision": revision}, "ports": [{"port": 80, "targetPort": "http"}]}});
        create(&services, service).await
    }

    /// A ready pod of this revision whose process is in this test.
    pub(crate) async fn backend(&self, revision: &str) -> Result<Backend> {
        let ip = address();
        let listener = tokio::net::TcpListener::bind((ip, 8080)).await?;
        let requests = Arc::new(AtomicU64::new(0));
        let (counted, name) = (requests.clone(), revision.to_owned());
        let app = Router::new().fallback(async move |request: Request| {
            counted.fetch_add(1, Ordering::Relaxed);
            answer(&name, &request)
        });
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        let pod = format!("{revision}-{}", ip.to_string().replace('.', "-"));
        create(
            &self.pods(),
            json!({
                "metadata": {"name": pod, "labels": {"revision": revision}},
                "spec": {"nodeName": "here", "containers": [{"name": "model", "image": "model",
                    "ports": [{"name": "http", "containerPort": 8080}]}]},
            }),
        )
        .await?;
        let status = json!({"status": {"phase": "Running", "podIP": ip.to_string(), "podIPs": [{"ip": ip.to_string()}],
            "conditions": [{"type": "Ready", "status": "True"}]}});
        self.pods().patch_status(&pod, &PatchParams::default(), &Patch::Strategic(&status)).await?;
        Ok(Backend { requests, pod, server })
    }

    /// Deletes the pod with a grace period; the process ends 300 ms later, as a process with a preStop does.
    pub(crate) async fn delete(&self, backend: Backend) -> Result<()> {
        self.pods().delete(&backend.pod, &DeleteParams::default().grace_period(30)).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(backend);
        Ok(())
    }

    /// Creates or changes a route; returns it as the API server has it.
    pub(crate) async fn route(&self, name: &str, spec: Value) -> Result<HttpRoute> {
        let mut full = json!({"parentRefs": [{"name": "edge"}]});
        merge(&mut full, spec);
        let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": name}, "spec": full});
        let how = PatchParams::apply("test").force();
        Ok(self.routes().patch(name, &how, &Patch::Apply(&route)).await?)
    }

    /// A route with these weights only.
    pub(crate) async fn weights(&self, name: &str, weights: &[(&str, u32)]) -> Result<HttpRoute> {
        self.route(name, json!({"rules": [{"backendRefs": backends(weights)}]})).await
    }

    /// Waits until the condition is reported at the route's generation: status, reason, message.
    pub(crate) async fn verdict(&self, route: &HttpRoute, kind: &str) -> Result<(String, String, String)> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(15) {
            let seen = self.routes().get(&route.name_any()).await?;
            let parents = seen.status.unwrap_or_default().parents;
            let mut conditions = parents.into_iter().flat_map(|it| it.conditions);
            if let Some(it) =
                conditions.find(|it| it.type_ == kind && it.observed_generation == route.metadata.generation)
            {
                return Ok((it.status, it.reason, it.message));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("{kind} of {} not reported at generation {:?}", route.name_any(), route.metadata.generation)
    }

    /// Waits until the route is accepted at its generation.
    pub(crate) async fn accepted(&self, route: &HttpRoute) -> Result<()> {
        let (status, reason, message) = self.verdict(route, "Accepted").await?;
        anyhow::ensure!(status == "True", "not accepted: {reason}: {message}");
        Ok(())
    }

    /// Waits until so many pods of the Service get traffic.
    pub(crate) async fn endpoints(&self, service: &str, count: usize) -> Result<()> {
        let url = format!("{}/clusters?format=json", self.gateway.admin());
        let cluster = format!("{}/{service}/80", self.namespace);
        for _ in 0..500 {
            let all: Value = reqwest::get(&url).await?.json().await?;
            let found = all
                .get("cluster_statuses")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .find(|it| it.get("name").and_then(Value::as_str) == Some(&cluster));
            let hosts = found.and_then(|it| it.get("host_statuses")?.as_array()).map_or(0, Vec::len);
            if hosts == count {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("{cluster} has not {count} endpoints after 5 s")
    }
}

/// `backendRefs` with these weights.
pub(crate) fn backends(weights: &[(&str, u32)]) -> Value {
    weights.iter().map(|(name, weight)| json!({"name": name, "port": 80, "weight": weight})).collect()
}

fn answer(revision: &str, request: &Request) -> impl IntoResponse + use<> {
    let headers: serde_json::Map<_, _> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    ([("x-werkbank-revision", revision.to_owned())], Json(json!({"headers": headers})))
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: kube::Resource + serde::Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok(())
}
