//! How far the Job is that reads an artifact, as its own pod says.
//!
//! Its log says so, too; but who may read that may read every log of the namespace, and who may write it into the API needs a token in
//! the pod. Whoever answers in its place can say two numbers, which are shown and decide nothing. Where no way leads to the pod (a
//! NetworkPolicy, a mesh that wants its own TLS), nobody knows, and nothing else changes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::address::Callable;
use super::http::client;
use crate::api::artifact_report::ArtifactProgress;

/// How long a pod has for its answer: a pass waits for it.
const ANSWER: Duration = Duration::from_secs(1);
/// The largest answer read.
const MAX_ANSWER_BYTES: usize = 1024;

/// Asks pods.
#[derive(Debug, Clone)]
pub struct ProgressSource {
    client: reqwest::Client,
    callable: Callable,
}

impl ProgressSource {
    /// Asks addresses on loopback only if `loopback` says so.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub fn new(loopback: bool) -> Result<Self, reqwest::Error> {
        let callable = Callable { loopback };
        Ok(Self { client: client(callable)?, callable })
    }

    /// What the pod at this address says, if it does.
    pub async fn ask(&self, pod: IpAddr) -> Option<ArtifactProgress> {
        self.ask_at(SocketAddr::new(pod, ArtifactProgress::PORT)).await
    }

    async fn ask_at(&self, address: SocketAddr) -> Option<ArtifactProgress> {
        self.callable.check(address.ip()).ok()?;
        let mut answer = self.client.get(format!("http://{address}/")).timeout(ANSWER).send().await.ok()?;
        let mut line = Vec::new();
        while let Some(piece) = answer.chunk().await.ok()? {
            line.extend_from_slice(&piece);
            if line.len() > MAX_ANSWER_BYTES {
                return None;
            }
        }
        ArtifactProgress::parse(&line).filter(|_| answer.status().is_success())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What is understood of this answer.
    async fn answered(head: &str, body: &str) -> Option<ArtifactProgress> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}");
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            drop(stream.read(&mut [0; 1024]).await);
            drop(stream.write_all(answer.as_bytes()).await);
        });
        let found = ProgressSource::new(true).unwrap().ask_at(address).await;
        serving.abort();
        found
    }

    #[tokio::test]
    async fn a_pod_says_how_far_it_is_and_what_is_no_such_answer_says_nothing() {
        let (said, told) = (ArtifactProgress { bytes: 42, of: Some(100) }, r#"{"reading": {"bytes": 42, "of": 100}}"#);
        assert_eq!(answered("200 OK", told).await, Some(said));
        assert_eq!(answered("500 Internal Server Error", told).await, None);
        assert_eq!(answered("302 Found\r\nLocation: http://127.0.0.1:1/", told).await, None);
        assert_eq!(answered("200 OK", "{}").await, None);
        assert_eq!(answered("200 OK", &format!("{told}{}", " ".repeat(MAX_ANSWER_BYTES))).await, None, "too long");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_waited_for_and_some_are_never_asked() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let asks = ProgressSource::new(true).unwrap();
        let bound = ANSWER * 3;
        let found = tokio::time::timeout(bound, asks.ask_at(silent.local_addr().unwrap())).await;
        assert_eq!(found, Ok(None));
        let careful = ProgressSource::new(false).unwrap();
        assert_eq!(careful.ask_at(silent.local_addr().unwrap()).await, None);
        let (_, asked) = (silent.accept().await.unwrap(), tokio::time::timeout(ANSWER / 10, silent.accept()).await);
        assert!(asked.is_err(), "only the first one has asked at all");
    }
}
