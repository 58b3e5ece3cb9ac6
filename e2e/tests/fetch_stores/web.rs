//! A web server with HTTPS: files, redirects, and what leads where nothing may be fetched from.

use anyhow::Result;
use werkbank::api::artifact_digest::Sha256Digest;
use werkbank::api::artifact_failure::ArtifactFailureReason as Reason;

use super::{Answer, Pod, tls};

/// For whoever presents this.
const TOKEN: &str = "Bearer let-me-in-please";

/// Answers of a server that knows these paths; `{host}` is its own address.
fn answer(request: &str, host: &str) -> String {
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let may = request.lines().any(|it| it.eq_ignore_ascii_case(&format!("authorization: {TOKEN}")));
    let says = |head: &str, body: &str| {
        let body_sent = if method == "HEAD" { "" } else { body };
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body_sent}", body.len())
    };
    let to = |place: &str| says(&format!("302 Found\r\nLocation: {}", place.replace("{host}", host)), "");
    match path {
        "/model.json" => says("200 OK\r\nETag: \"v1\"", "{}"),
        "/dated.json" => says("200 OK\r\nLast-Modified: Sat, 28 Nov 2026 12:00:00 GMT", "{}"),
        "/neither.json" => says("200 OK", "{}"),
        "/no-head.json" if method == "HEAD" => says("405 Method Not Allowed", ""),
        "/no-head.json" => says("200 OK\r\nETag: \"v1\"", "{}"),
        "/signed-for-get.json" if method == "HEAD" => says("403 Forbidden", ""),
        "/signed-for-get.json" => says("200 OK\r\nETag: \"v1\"", "{}"),
        // Listed as one version, handed out as another.
        "/changes.json" if method == "HEAD" => says("200 OK\r\nETag: \"v1\"", "{}"),
        "/changes.json" => says("200 OK\r\nETag: \"v2\"", "{}"),
        "/private.json" if may => says("200 OK\r\nETag: \"v1\"", "{}"),
        "/private.json" => says("401 Unauthorized", ""),
        "/moved.json" => to("https://{host}/model.json?signature=abc"),
        "/model.json?signature=abc" => says("200 OK\r\nETag: \"v1\"", "{}"),
        "/circle.json" => to("https://{host}/circle.json"),
        "/metadata.json" => to("https://169.254.169.254/latest/meta-data/"),
        "/plain.json" => to("http://{host}/model.json"),
        // To a host of another name, which must not get the token.
        "/away.json" => to(&format!("https://{}/private.json", host.replace("localhost", "127.0.0.1"))),
        "/broken.json" => says("503 Service Unavailable", ""),
        _ => says("404 Not Found", ""),
    }
}

/// A pod that trusts the server, and what its paths are called.
struct Scene {
    pod: Pod,
    port: u16,
    _trusted: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Result<Self> {
        let (port, certificate) = tls::serve(|request, host| async move { answer(&request, &host) }).await?;
        let trusted = tempfile::tempdir()?;
        let file = trusted.path().join("ca.pem");
        std::fs::write(&file, certificate)?;
        let pod = Pod::new(&[("SSL_CERT_FILE", &file.display().to_string())])?;
        Ok(Self { pod, port, _trusted: trusted })
    }

    fn at(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }

    fn verify(&self, path: &str, more: &[&str]) -> Result<Answer> {
        // Beside the server, whose turn it is meanwhile.
        tokio::task::block_in_place(|| self.pod.verify(&self.at(path), Sha256Digest::of(b"{}"), more))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_verified_and_read_again_only_if_nobody_can_tell_that_it_is_the_same() {
    let scene = Scene::start().await.unwrap();
    let all = ["model.json", "dated.json", "no-head.json", "signed-for-get.json", "moved.json", "neither.json"];
    for path in all {
        let first = scene.verify(path, &[]).unwrap().unwrap_or_else(|it| panic!("{path}: {it:?}"));
        assert_eq!((first.bytes, first.files, first.read), (2, 1, true), "{path}");
        let again = scene.verify(path, &[&format!("--known={}", first.fingerprint)]).unwrap().unwrap();
        assert_eq!(again.read, path == "neither.json", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_reason_and_what_leads_elsewhere_is_followed_only_where_it_may() {
    let scene = Scene::start().await.unwrap();
    for (path, reason, words) in [
        ("absent.json", Reason::ArtifactNotFound, "404"),
        ("changes.json", Reason::ArtifactChanged, "was written to while it was read"),
        ("private.json", Reason::ArtifactAccessDenied, "check HTTPS_AUTHORIZATION"),
        ("broken.json", Reason::ArtifactUnreachable, "503"),
        ("circle.json", Reason::ArtifactInvalidUri, "in circles"),
        ("metadata.json", Reason::ArtifactInvalidUri, "never called"),
        ("plain.json", Reason::ArtifactInvalidUri, "not https://"),
    ] {
        let failure = scene.verify(path, &[]).unwrap().unwrap_err();
        assert_eq!(failure.reason, reason, "{path}: {}", failure.message);
        assert!(failure.message.contains(words), "{path}: {}", failure.message);
    }
    let metadata = "https://169.254.169.254/latest/meta-data/x";
    let direct = scene.pod.verify(metadata, Sha256Digest::of(b"{}"), &[]).unwrap().unwrap_err();
    assert_eq!(direct.reason, Reason::ArtifactInvalidUri, "{}", direct.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_the_host_that_is_named_and_a_server_is_one_that_somebody_vouches_for() {
    let scene = Scene::start().await.unwrap();
    let known = Scene { pod: scene.pod.with("HTTPS_AUTHORIZATION", TOKEN).unwrap(), ..scene };
    assert!(known.verify("private.json", &[]).unwrap().is_ok());
    let away = known.verify("away.json", &[]).unwrap().unwrap_err();
    assert_eq!(away.reason, Reason::ArtifactAccessDenied, "another host gets no token: {}", away.message);
    let unknown = Scene { pod: Pod::new(&[]).unwrap(), ..known };
    let failure = unknown.verify("model.json", &[]).unwrap().unwrap_err();
    assert_eq!(failure.reason, Reason::ArtifactUnreachable, "{}", failure.message);
}
