//! Leaving without failing a request.
//!
//! Kubernetes sends SIGTERM and takes the pod out of its Service at the same time,
//! and neither waits for the other. So the server first stops being ready and goes
//! on serving while the news travels, then stops accepting, finishes what is in
//! flight, and ends.

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::server::ModelServer;

/// Completes at SIGTERM or Ctrl-C. The handlers are in place when this returns.
pub(crate) fn terminated() -> std::io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Serves until `terminated`, then drains and returns.
pub(crate) async fn serve(
    listener: TcpListener,
    server: &ModelServer,
    terminated: impl Future<Output = ()> + Send + 'static,
    drain: Duration,
) -> anyhow::Result<()> {
    let state = server.clone();
    let stop_accepting = async move {
        terminated.await;
        state.stop_being_ready();
        tokio::time::sleep(drain).await;
    };
    axum::serve(listener, server.router()).with_graceful_shutdown(stop_accepting).await?;
    Ok(())
}
