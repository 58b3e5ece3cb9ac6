use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::any;
use proptest::arbitrary::any as arbitrary;
use proptest::prelude::*;

use super::*;

fn vector(values: &[&str]) -> String {
    let series: Vec<_> =
        values.iter().map(|value| serde_json::json!({"metric": {}, "value": [1_763_900_000.123, value]})).collect();
    serde_json::json!({"status": "success", "warnings": ["w"], "data": {"resultType": "vector", "result": series}})
        .to_string()
}

/// What somebody in Prometheus' place may answer: its own answers, cut or changed at a place, and anything else.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let of_prometheus = prop_oneof![
        Just(vector(&["0.25"])),
        Just(vector(&["1", "2"])),
        Just(r#"{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}"#.to_owned()),
        "[a-z\n ]{0,3000}"
            .prop_map(|it| serde_json::json!({"status": "error", "errorType": it, "error": it}).to_string()),
    ];
    let mangled =
        (of_prometheus, arbitrary::<prop::sample::Index>(), arbitrary::<u8>(), arbitrary::<bool>()).prop_map(|it| {
            let (answer, index, byte, cut) = it;
            let mut bytes = answer.into_bytes();
            let at = index.index(bytes.len());
            if cut {
                bytes.truncate(at)
            } else {
                bytes[at] = byte
            }
            bytes
        });
    prop_oneof![mangled, prop::collection::vec(arbitrary::<u8>(), 0..4000)]
}

proptest! {
    #[test]
    fn whatever_is_answered_is_a_number_or_a_sentence_that_fits_into_a_status(status in 100_u16..600, body in answers()) {
        match read_answer(status, &body) {
            Measurement::Value(value) => prop_assert!(!value.is_nan()),
            Measurement::NoData(said) | Measurement::Refused(said) | Measurement::ProviderError(said) => {
                prop_assert!((1..3 * MAX_ERROR_CHARS).contains(&said.chars().count()), "{said}");
                prop_assert!(!said.contains(char::is_control), "{said:?}");
            }
            Measurement::SecretNotReadable(said) => prop_assert!(false, "{said}"),
        }
    }
}

fn read(status: u16, body: &str) -> Measurement {
    read_answer(status, body.as_bytes())
}

#[test]
fn one_series_or_a_scalar_is_a_value_and_warnings_do_not_matter() {
    assert_eq!(read(200, &vector(&["0.25"])), Measurement::Value(0.25));
    assert_eq!(read(200, &vector(&["+Inf"])), Measurement::Value(f64::INFINITY));
    assert_eq!(read(200, &vector(&["-Inf"])), Measurement::Value(f64::NEG_INFINITY));
    let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}"#;
    assert_eq!(read(200, scalar), Measurement::Value(3.0));
}

#[test]
fn nothing_and_nan_are_no_data() {
    assert!(matches!(read(200, &vector(&[])), Measurement::NoData(_)));
    assert!(matches!(read(200, &vector(&["NaN"])), Measurement::NoData(_)));
}

#[test]
fn several_series_are_an_error_that_says_how_to_get_one() {
    let expected = "the query returned 3 series; aggregate to one, e.g. sum(...)";
    assert_eq!(read(200, &vector(&["1", "2", "3"])), Measurement::Refused(expected.to_owned()));
}

#[test]
fn a_query_that_gives_no_number_has_to_be_corrected() {
    for body in [
        r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
        r#"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}"#,
    ] {
        assert!(matches!(read(200, body), Measurement::Refused(_)), "{body}");
    }
}

#[test]
fn what_is_no_answer_is_an_error() {
    for body in [
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}"#,
        r#"{"status":"success"}"#,
        "<html>",
        "",
    ] {
        assert!(matches!(read(200, body), Measurement::ProviderError(_)), "{body}");
    }
}

#[test]
fn a_refused_query_carries_prometheus_own_words_trimmed() {
    let body = serde_json::json!({"status": "error", "errorType": "bad_data", "error": "parse error: ".to_owned() + &"x".repeat(999)});
    let Measurement::Refused(why) = read(400, &body.to_string()) else { panic!("not refused") };
    assert!(why.contains("bad_data") && why.contains("parse error") && why.len() < 400, "{why}");
}

#[test]
fn only_what_is_wrong_with_the_query_is_a_refusal() {
    let answer = |status, kind: &str, why: &str| {
        read(status, &serde_json::json!({"status": "error", "errorType": kind, "error": why}).to_string())
    };
    for (status, kind, why) in [
        (400, "bad_data", "parse error"),
        (422, "execution", "multiple matches for labels: many-to-one matching must be explicit"),
        (422, "execution", "found duplicate series for the match group {} on the right hand-side of the operation"),
    ] {
        assert!(matches!(answer(status, kind, why), Measurement::Refused(_)), "{status} {kind} {why}");
    }
    for (status, kind, why) in [
        (422, "execution", "expanding series: remote_read: remote server returned HTTP status 500"),
        (422, "execution", "query processing would load too many samples into memory in query execution"),
        (503, "timeout", "why"),
        (503, "canceled", "why"),
        (500, "internal", "why"),
        (401, "unauthorized", "why"),
        (404, "not_found", "why"),
        (429, "too_many_requests", "why"),
    ] {
        assert!(matches!(answer(status, kind, why), Measurement::ProviderError(_)), "{status} {kind} {why}");
    }
}

#[test]
fn an_error_status_is_an_error_even_with_a_success_body() {
    assert!(matches!(read(503, &vector(&["1"])), Measurement::ProviderError(_)));
}

#[test]
fn only_http_addresses_are_taken_and_a_path_prefix_is_kept() {
    assert!(Prometheus::new("prometheus:9090").is_err());
    assert!(Prometheus::new("file:///etc/passwd").is_err());
    let prometheus = Prometheus::new("https://mimir.example.com/prometheus/").unwrap();
    assert_eq!(prometheus.endpoint.as_str(), "https://mimir.example.com/prometheus/api/v1/query");
}

/// Serves one answer to everything on a free port, and asks it.
async fn ask(answer: Router) -> Measurement {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, answer).await });
    let at = DateTime::from_timestamp(1_763_900_000, 0);
    let measurement = Prometheus::new(&format!("http://{address}")).unwrap().query("sum(a)+1", at).await;
    server.abort();
    measurement
}

#[tokio::test]
async fn the_query_and_time_arrive_as_a_form() {
    let answer = any(async |body: String| {
        assert_eq!(body, "query=sum%28a%29%2B1&timeout=5s&time=2025-11-23T12%3A13%3A20.000Z");
        vector(&["7"])
    });
    assert_eq!(ask(Router::new().route("/api/v1/query", answer)).await, Measurement::Value(7.0));
}

#[tokio::test]
async fn no_more_queries_than_it_works_on_are_sent_at_a_time() {
    let (began, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new((began, most));
    let seen = counts.clone();
    let answer = any(async move || {
        let (now, most) = &*seen;
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        now.fetch_sub(1, SeqCst);
        vector(&["7"])
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let prometheus = Prometheus::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let all = futures::future::join_all((0..3 * AT_A_TIME).map(|_| prometheus.query("q", None))).await;
    server.abort();
    assert!(all.iter().all(|it| *it == Measurement::Value(7.0)), "{all:?}");
    assert_eq!(counts.1.load(SeqCst), AT_A_TIME);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let answer = any(async || (StatusCode::FOUND, [(header::LOCATION, "http://169.254.169.254/")], ""));
    let measurement = ask(Router::new().fallback(answer)).await;
    assert!(matches!(&measurement, Measurement::ProviderError(why) if why.contains("not followed")), "{measurement:?}");
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let answer = any(async || "x".repeat(MAX_ANSWER_BYTES + 1));
    let measurement = ask(Router::new().fallback(answer)).await;
    assert!(matches!(&measurement, Measurement::ProviderError(why) if why.contains("1 MiB")), "{measurement:?}");
}

#[tokio::test]
async fn a_silent_server_is_given_up_on_after_five_seconds() {
    let began = Instant::now();
    let answer = any(async || tokio::time::sleep(TIMEOUT * 4).await);
    let measurement = ask(Router::new().fallback(answer)).await;
    assert!(matches!(&measurement, Measurement::ProviderError(why) if why.contains("within 5 s")), "{measurement:?}");
    assert!(began.elapsed() < TIMEOUT * 2);
}

#[tokio::test]
async fn a_refused_connection_says_so_without_the_password() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let prometheus = Prometheus::new(&format!("http://user:hunter2@{address}")).unwrap();
    let Measurement::ProviderError(why) = prometheus.query("up", None).await else { panic!("an answer") };
    assert!(why.contains("cannot be connected to") && !why.contains("hunter2"), "{why}");
}

#[tokio::test]
async fn an_address_where_nobody_answers_is_asked_a_few_times_and_then_not_for_a_moment() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Connected to, and never heard.
    let server = tokio::spawn(async move {
        let _connection = listener.accept().await;
        std::future::pending::<()>().await;
    });
    let prometheus = Prometheus::new(&format!("http://{address}")).unwrap();
    let silent = futures::future::join_all((0..3).map(|_| prometheus.query("up", None))).await;
    assert!(silent.iter().all(|it| matches!(it, Measurement::ProviderError(_))), "{silent:?}");
    let began = Instant::now();
    let Measurement::ProviderError(why) = prometheus.query("up", None).await else { panic!("an answer") };
    assert!(why.contains("has not answered since"), "{why}");
    assert!(began.elapsed() < TIMEOUT / 5, "{:?}", began.elapsed());
    server.abort();
}
