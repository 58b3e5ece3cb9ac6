use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::ModelServer;
use crate::artifact::tests::{artifact, load};
use crate::drain;
use crate::settings::{Fault, Settings};

struct Running {
    url: String,
    terminate: Option<oneshot::Sender<()>>,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(fault: Fault, drain: Duration) -> Self {
        let settings = Settings {
            model_path: "unused".into(),
            revision: "r1-abc".into(),
            host: "127.0.0.1".into(),
            port: 0,
            drain,
            fault,
        };
        let listener = TcpListener::bind((settings.host.as_str(), 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = ModelServer::new(load(&artifact()).unwrap(), &settings).unwrap();
        let (terminate, terminated) = oneshot::channel();
        let signal = async move { terminated.await.unwrap_or(()) };
        let serving = tokio::spawn(async move { drain::serve(listener, &server, signal, drain).await });
        Self { url, terminate: Some(terminate), serving }
    }

    async fn healthy() -> Self {
        Self::start(Fault::default(), Duration::ZERO).await
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        reqwest::get(format!("{}{path}", self.url)).await.unwrap()
    }

    async fn infer(&self, body: &Value) -> (StatusCode, Value) {
        let url = format!("{}/v2/models/churn/infer", self.url);
        let response = reqwest::Client::new().post(url).json(body).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    fn terminate(&mut self) {
        self.terminate.take().unwrap().send(()).unwrap();
    }
}

fn customers(recency: &[f64], orders: &[f64]) -> Value {
    json!({"id": "morning", "inputs": [
        {"name": "recency_days", "shape": [recency.len()], "datatype": "FP64", "data": recency},
        {"name": "orders", "shape": [orders.len()], "datatype": "FP64", "data": orders},
        {"name": "shoe_size", "shape": [1], "datatype": "BYTES", "data": ["a candidate may use it"]},
    ]})
}

#[tokio::test]
async fn answers_every_row_and_echoes_the_id() {
    let server = Running::healthy().await;
    let (status, body) = server.infer(&customers(&[60.0, 20.0], &[0.0, 3.0])).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&body["id"], &body["model_version"]), (&json!("morning"), &json!("v1")));
    assert_eq!(body["outputs"][0]["shape"], json!([2]));
    assert_eq!(body["outputs"][1]["data"], json!([true, false]));
}

#[tokio::test]
async fn gives_only_the_outputs_asked_for() {
    let server = Running::healthy().await;
    let mut request = customers(&[60.0], &[0.0]);
    request["outputs"] = json!([{"name": "at_risk"}]);
    let (_, body) = server.infer(&request).await;
    assert_eq!(body["outputs"], json!([{"name": "at_risk", "shape": [1], "datatype": "BOOL", "data": [true]}]));
    request["outputs"] = json!([{"name": "segment"}]);
    assert_eq!(server.infer(&request).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn refuses_what_it_cannot_answer_and_says_why() {
    let server = Running::healthy().await;
    let mut twice = customers(&[60.0], &[0.0]);
    twice["inputs"][1]["name"] = json!("recency_days");
    let mut missing = customers(&[60.0], &[0.0]);
    missing["inputs"].as_array_mut().unwrap().remove(1);
    for (request, message) in [
        (twice, "input `recency_days` is given twice"),
        (missing, "input `orders` is missing"),
        (customers(&[60.0, 1.0], &[0.0]), "input `orders` has 1 rows, the inputs before it have 2"),
        (customers(&[60.0], &[-5.0]), "row 0 has a value outside the model's range"),
        (json!({"inputs": 1}), "the body is not an inference request"),
    ] {
        let (status, body) = server.infer(&request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(body["error"].as_str().unwrap().contains(message), "{body}");
    }
}

#[tokio::test]
async fn describes_its_model_and_knows_no_other() {
    let server = Running::healthy().await;
    let metadata: Value = server.get("/v2/models/churn").await.json().await.unwrap();
    assert_eq!(metadata["inputs"][0], json!({"name": "recency_days", "datatype": "FP64", "shape": [-1]}));
    assert_eq!(server.get("/v2/models/churn/ready").await.status(), StatusCode::OK);
    for path in ["/v2/models/uplift", "/v2/models/uplift/ready", "/nowhere"] {
        let response = server.get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()["x-werkbank-revision"], "r1-abc");
        assert!(response.json::<Value>().await.unwrap()["error"].is_string());
    }
}

#[tokio::test]
async fn counts_requests_durations_and_predictions() {
    let server = Running::healthy().await;
    server.infer(&customers(&[60.0, 20.0], &[0.0, 3.0])).await;
    server.infer(&json!({})).await;
    let response = server.get("/metrics").await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    for line in [
        "inference_requests_total{code=\"200\"} 1",
        "inference_requests_total{code=\"400\"} 1",
        "inference_request_duration_seconds_count 2",
        "predictions_total{class=\"at_risk\"} 1",
        "predictions_total{class=\"stays\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_fault_with_a_file_begins_and_ends_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken");
    let fault = Fault { error_rate: 1.0, file: Some(file.clone()), ..Fault::default() };
    let server = Running::start(fault, Duration::ZERO).await;
    let customers = customers(&[1.0], &[1.0]);
    assert_eq!(server.infer(&customers).await.0, StatusCode::OK);
    std::fs::write(&file, "").unwrap();
    assert_eq!(server.infer(&customers).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(server.infer(&customers).await.0, StatusCode::OK);
}

#[tokio::test]
async fn injected_faults_have_exactly_the_rate_and_at_least_the_latency() {
    let fault = Fault { error_rate: 0.25, latency: Duration::from_millis(20), ..Fault::default() };
    let server = Running::start(fault, Duration::ZERO).await;
    let started = std::time::Instant::now();
    let mut errors = 0;
    for _ in 0..12 {
        let (status, _) = server.infer(&customers(&[60.0], &[0.0])).await;
        errors += usize::from(status == StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(errors, 3);
    assert!(started.elapsed() >= Duration::from_millis(240));
}

#[tokio::test]
async fn draining_is_not_ready_still_serves_and_finishes_what_is_in_flight() {
    let fault = Fault { latency: Duration::from_millis(600), ..Fault::default() };
    let mut server = Running::start(fault, Duration::from_millis(300)).await;
    assert_eq!(server.get("/v2/health/ready").await.status(), StatusCode::OK);
    server.terminate();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.get("/v2/health/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(server.get("/v2/health/live").await.status(), StatusCode::OK);
    // Arrives while draining, answered after the server has stopped accepting.
    assert_eq!(server.infer(&customers(&[60.0], &[0.0])).await.0, StatusCode::OK);
    tokio::time::timeout(Duration::from_secs(5), server.serving).await.unwrap().unwrap().unwrap();
    assert!(reqwest::get(format!("{}/v2/health/live", server.url)).await.is_err());
}
