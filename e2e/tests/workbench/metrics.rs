//! Prometheus finds pods the way it does on every cluster.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use werkbank_e2e::prometheus::Prometheus;

use crate::{control_plane, tools};

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
