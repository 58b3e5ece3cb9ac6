//! How far a reading is, for whoever connects to the pod while it goes on: the operator does, which shows it in the entry's status.
//!
//! A few connections at a time, each for half a second at the longest, which is less than the operator waits: whoever else finds the
//! port keeps nothing of the pod but that. It says two numbers, and takes nothing.

use std::convert::Infallible;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Response;
use http::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::reading::say;
use crate::api::artifact_report::ArtifactProgress;

/// How long one connection may take; and how long none is taken when none can be.
const PATIENCE: Duration = Duration::from_millis(500);
/// Connections at the same time.
const AT_ONCE: usize = 8;

/// Tells it on this address until dropped, if there is one and that is possible: nothing depends on it.
pub async fn tell(on: Option<IpAddr>, progress: watch::Receiver<ArtifactProgress>) -> Infallible {
    let Some(on) = on else { return pending().await };
    let address = SocketAddr::new(on, ArtifactProgress::PORT);
    match TcpListener::bind(address).await {
        Ok(listener) => answer_all(listener, progress).await,
        Err(error) => {
            say(&format!("nobody can ask how far this is: {address}: {}", error.kind()));
            pending().await
        }
    }
}

async fn answer_all(listener: TcpListener, progress: watch::Receiver<ArtifactProgress>) -> Infallible {
    // Ended with this.
    let mut under_way = JoinSet::new();
    loop {
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => drop(under_way.spawn(answer(stream, progress.clone()))),
            Err(_) => sleep(PATIENCE).await,
        }
    }
}

/// Whoever asks has its answer, or asks again.
async fn answer(stream: TcpStream, progress: watch::Receiver<ArtifactProgress>) {
    let answer = service_fn(|_| {
        let line = progress.borrow().to_line();
        async { Response::builder().header(CONTENT_TYPE, "application/json").body(line) }
    });
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer);
    drop(timeout(PATIENCE, connection).await);
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn each_who_asks_is_told_how_far_it_is_now_however_many_say_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reading = watch::Sender::new(ArtifactProgress { bytes: 0, of: Some(100) });
        let telling = tokio::spawn(answer_all(listener, reading.subscribe()));
        assert!(ask(address).await.ends_with(r#"{"reading":{"bytes":0,"of":100}}"#));
        let mut silent = Vec::new();
        for _ in 0..2 * AT_ONCE {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        reading.send_modify(|it| it.bytes = 42);
        assert!(ask(address).await.ends_with(r#"{"reading":{"bytes":42,"of":100}}"#));
        drop(silent);
        telling.abort();
    }
}
