use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::routing::any;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::decide::model_deployment::question::{Question, Template};

/// Serves the answer on a free port of loopback as long as it is kept.
struct Server(SocketAddr, tokio::task::JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.1.abort();
    }
}

async fn serve(answer: Router) -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Server(address, tokio::spawn(async move { axum::serve(listener, answer).await.unwrap() }))
}

fn question(http: Value) -> HttpQuestion {
    let template = Template::Http(serde_json::from_value(http).unwrap());
    match template.fill_in(&[("revision", "r1".to_owned())].into()).unwrap() {
        Question::Http(question) => *question,
        _ => panic!("another provider"),
    }
}

fn at(address: SocketAddr) -> HttpQuestion {
    question(json!({"url": format!("http://{address}/"), "jsonPath": "$.rates['{{ revision }}']", "timeout": "500ms"}))
}

fn on_loopback() -> HttpSource {
    HttpSource::new(true).unwrap()
}

async fn ask(answer: Router) -> Measurement {
    let server = serve(answer).await;
    on_loopback().ask("crm", &at(server.0), HeaderMap::new()).await
}

async fn answered(status: u16, body: &'static str) -> Measurement {
    ask(Router::new().fallback(any(async move || (StatusCode::from_u16(status).unwrap(), body)))).await
}

#[tokio::test]
async fn the_number_at_the_path_is_the_measurement() {
    for number in ["0.25", r#""0.25""#, r#"" 2.5e-1 ""#] {
        let answer = format!(r#"{{"rates": {{"r0": 1, "r1": {number}}}}}"#);
        let measurement = ask(Router::new().fallback(any(async move || answer))).await;
        assert_eq!(measurement, Measurement::Value(0.25), "{number}");
    }
    assert_eq!(answered(200, r#"{"rates": {"r1": "+Inf"}}"#).await, Measurement::Value(f64::INFINITY));
    assert!(matches!(answered(200, r#"{"rates": {"r1": "NaN"}}"#).await, Measurement::NoData(_)));
}

#[tokio::test]
async fn nothing_there_yet_is_no_data_and_no_number_is_to_be_corrected() {
    for (status, body) in [(200, r#"{"rates": {}}"#), (200, r#"{"rates": {"r1": null}}"#), (200, "[]"), (204, "")] {
        let measurement = answered(status, body).await;
        assert!(matches!(measurement, Measurement::NoData(_)), "{body}: {measurement:?}");
    }
    let Measurement::Refused(why) = answered(200, r#"{"rates": {"r1": "good"}}"#).await else { panic!("not refused") };
    assert_eq!(why, "the answer has a text that is no number at $.rates['r1']; correct http.jsonPath");
}

#[tokio::test]
async fn what_a_person_has_to_correct_is_no_outage_and_what_may_pass_is_one() {
    for status in [301, 304, 400, 401, 403, 404, 405, 422] {
        let measurement = answered(status, r#"{"rates": {"r1": 1}}"#).await;
        assert!(matches!(measurement, Measurement::Refused(_)), "{status}: {measurement:?}");
    }
    for status in [408, 429, 500, 502, 503, 504] {
        let measurement = answered(status, r#"{"rates": {"r1": 1}}"#).await;
        assert!(matches!(measurement, Measurement::ProviderError(_)), "{status}: {measurement:?}");
    }
    let measurement = answered(200, "<html>Please log in").await;
    assert!(matches!(measurement, Measurement::Refused(_)), "{measurement:?}");
}

#[tokio::test]
async fn the_request_is_what_the_metric_says() {
    let answer = any(async |method: Method, uri: Uri, headers: HeaderMap, body: String| {
        assert_eq!((method.as_str(), uri.to_string().as_str()), ("POST", "/kpi/r1?a=b"));
        assert_eq!(body, r#"{"revision": "r1"}"#);
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["x-team"], "crm");
        assert!(headers["user-agent"].to_str().unwrap().starts_with("werkbank/"));
        "7"
    });
    let server = serve(Router::new().fallback(answer)).await;
    let question = question(json!({
        "url": format!("http://{}/kpi/{{{{ revision }}}}?a=b", server.0), "method": "POST",
        "body": r#"{"revision": "{{ revision }}"}"#, "jsonPath": "$",
    }));
    let own = [("x-team".parse().unwrap(), "crm".parse().unwrap())].into_iter().collect();
    assert_eq!(on_loopback().ask("crm", &question, own).await, Measurement::Value(7.0));
}

#[tokio::test]
async fn a_redirect_is_not_followed_wherever_it_leads() {
    for target in ["/here", "http://169.254.169.254/latest/meta-data/"] {
        let answer = any(async move |uri: Uri| {
            assert_eq!(uri, "/");
            (StatusCode::FOUND, [(header::LOCATION, target)], "")
        });
        let measurement = ask(Router::new().fallback(answer)).await;
        assert!(matches!(&measurement, Measurement::Refused(why) if why.contains("not followed")), "{measurement:?}");
    }
}

#[tokio::test]
async fn addresses_that_are_never_called_are_refused_as_numbers_and_as_names() {
    let source = HttpSource::new(false).unwrap();
    for host in ["169.254.169.254", "[fe80::1]", "[::ffff:a9fe:a9fe]", "2852039166", "0x7f.1", "127.0.0.1", "localhost"]
    {
        let measurement = source
            .ask("crm", &question(json!({"url": format!("http://{host}:1/"), "jsonPath": "$"})), HeaderMap::new())
            .await;
        assert!(
            matches!(&measurement, Measurement::Refused(why) if why.contains("never called")),
            "{host}: {measurement:?}"
        );
    }
}

/// The name is looked up by the connection itself, and what it is connected to is what was checked.
#[tokio::test]
async fn a_name_that_leads_to_loopback_is_called_only_if_that_is_allowed() {
    let server = serve(Router::new().fallback(any(async || "7"))).await;
    let question = question(json!({"url": format!("http://localhost:{}/", server.0.port()), "jsonPath": "$"}));
    assert_eq!(on_loopback().ask("crm", &question, HeaderMap::new()).await, Measurement::Value(7.0));
    assert!(matches!(
        HttpSource::new(false).unwrap().ask("crm", &question, HeaderMap::new()).await,
        Measurement::Refused(_)
    ));
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let answer = any(async || " ".repeat(MAX_ANSWER_BYTES + 1));
    let measurement = ask(Router::new().fallback(answer)).await;
    assert!(matches!(&measurement, Measurement::Refused(why) if why.contains("256 KiB")), "{measurement:?}");
}

#[tokio::test]
async fn nobody_there_is_an_outage_and_one_silent_host_does_not_silence_another() {
    let silent = serve(Router::new().fallback(any(async || tokio::time::sleep(Duration::from_secs(60)).await))).await;
    let well = serve(Router::new().fallback(any(async || r#"{"rates": {"r1": 1}}"#))).await;
    let source = on_loopback();
    for _ in 0..3 {
        let measurement = source.ask("crm", &at(silent.0), HeaderMap::new()).await;
        assert!(
            matches!(&measurement, Measurement::ProviderError(why) if why.contains("within 500ms")),
            "{measurement:?}"
        );
    }
    let began = Instant::now();
    let measurement = source.ask("crm", &at(silent.0), HeaderMap::new()).await;
    assert!(matches!(&measurement, Measurement::ProviderError(why) if why.contains("since")), "{measurement:?}");
    assert!(began.elapsed() < Duration::from_millis(250), "nobody waits any more");
    assert_eq!(source.ask("crm", &at(well.0), HeaderMap::new()).await, Measurement::Value(1.0));
    let gone = silent.0;
    drop(silent);
    let measurement = on_loopback().ask("crm", &at(gone), HeaderMap::new()).await;
    assert!(matches!(measurement, Measurement::ProviderError(_)), "{measurement:?}");
}

#[tokio::test]
async fn a_host_that_hangs_leaves_places_for_the_others_and_who_queues_for_it_waits_once() {
    let silent = serve(Router::new().fallback(any(async || tokio::time::sleep(Duration::from_secs(60)).await))).await;
    let well = serve(Router::new().fallback(any(async || r#"{"rates": {"r1": 1}}"#))).await;
    let source = on_loopback();
    let began = Instant::now();
    let question = at(silent.0);
    let hanging = futures::future::join_all((0..2 * AT_ONCE).map(|_| source.ask("crm", &question, HeaderMap::new())));
    let other = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        (source.ask("crm", &at(well.0), HeaderMap::new()).await, began.elapsed())
    };
    let (hanging, (other, after)) = futures::future::join(hanging, other).await;
    assert_eq!(other, Measurement::Value(1.0));
    assert!(after < Duration::from_millis(400), "{after:?}");
    assert!(hanging.iter().all(|it| matches!(it, Measurement::ProviderError(_))), "{hanging:?}");
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
}
