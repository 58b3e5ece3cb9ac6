//! How far the Job is that reads an artifact, as its own pod says.
//!
//! Its log says so, too; but who may read that may read every log of the namespace, and who may write it into the API needs a token in
//! the pod. Whoever answers in its place can say two numbers, which are shown and decide nothing. Where no way leads to the pod (a
//! NetworkPolicy, a mesh that wants its own TLS), nobody knows, and nothing else changes: a pass waits for the answer, so a pod that does
//! not answer is asked more and more seldom.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::address::Callable;
use super::http::client;
use crate::api::artifact_report::ArtifactProgress;

/// How long a pod has for its answer: a pass waits for it.
const ANSWER: Duration = Duration::from_secs(1);
/// How long one that did not answer is not asked again: at first, and at the longest.
const SILENT: (Duration, Duration) = (Duration::from_secs(20), Duration::from_mins(10));
/// The largest answer read.
const MAX_ANSWER_BYTES: usize = 1024;

/// Asks pods.
#[derive(Debug, Clone)]
pub struct ProgressSource {
    client: reqwest::Client,
    callable: Callable,
    silent: Arc<Mutex<HashMap<SocketAddr, Silence>>>,
}

/// Since when a pod has not answered, and how long it is not asked.
#[derive(Debug, Clone, Copy)]
struct Silence {
    since: Instant,
    pause: Duration,
}

impl Silence {
    fn is_over(self) -> bool {
        self.since.elapsed() >= self.pause
    }
}

impl ProgressSource {
    /// Asks addresses on loopback only if `loopback` says so.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub fn new(loopback: bool) -> Result<Self, reqwest::Error> {
        let callable = Callable { loopback };
        Ok(Self { client: client(callable)?, callable, silent: Arc::default() })
    }

    /// What the pod at this address says, if it does.
    pub async fn ask(&self, pod: IpAddr) -> Option<ArtifactProgress> {
        self.ask_at(SocketAddr::new(pod, ArtifactProgress::PORT)).await
    }

    async fn ask_at(&self, address: SocketAddr) -> Option<ArtifactProgress> {
        let known = self.silent().get(&address).copied();
        if known.is_some_and(|it| !it.is_over()) {
            return None;
        }
        let found = self.answer(address).await;
        let mut silent = self.silent();
        // Of pods that are gone nobody asks again.
        silent.retain(|_, it| it.since.elapsed() < SILENT.1 * 2);
        match (&found, known) {
            (Some(_), _) => silent.remove(&address),
            (None, before) => {
                let pause = before.map_or(SILENT.0, |it| (it.pause * 2).min(SILENT.1));
                silent.insert(address, Silence { since: Instant::now(), pause })
            }
        };
        found
    }

    fn silent(&self) -> MutexGuard<'_, HashMap<SocketAddr, Silence>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, address: SocketAddr) -> Option<ArtifactProgress> {
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
        let again = tokio::time::timeout(ANSWER / 10, asks.ask_at(silent.local_addr().unwrap())).await;
        assert_eq!(again, Ok(None), "nor soon asked again");
        let careful = ProgressSource::new(false).unwrap();
        assert_eq!(careful.ask_at(silent.local_addr().unwrap()).await, None);
        let (_, asked) = (silent.accept().await.unwrap(), tokio::time::timeout(ANSWER / 10, silent.accept()).await);
        assert!(asked.is_err(), "only the first one has asked at all");
    }

    #[tokio::test(start_paused = true)]
    async fn who_stays_silent_is_asked_more_and_more_seldom_and_who_answers_again_as_before() {
        let address = "127.0.0.1:1".parse().unwrap();
        let asks = ProgressSource::new(true).unwrap();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert_eq!(asks.ask_at(address).await, None);
            let it = asks.silent()[&address];
            pauses.push(it.pause.as_secs());
            tokio::time::advance(it.pause).await;
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 600, 600]);
        tokio::time::advance(SILENT.1 * 2).await;
        asks.ask_at("127.0.0.2:1".parse().unwrap()).await;
        assert_eq!(asks.silent().len(), 1, "nothing is kept of pods that are gone");
    }
}
