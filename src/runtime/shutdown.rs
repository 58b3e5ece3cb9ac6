//! Ending in order.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Asked for once, seen by everyone who holds a clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    sender: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { sender: watch::Sender::new(false) }
    }
}

impl Shutdown {
    /// Asks everyone to end.
    pub fn request(&self) {
        self.sender.send_replace(true);
    }

    /// Whether it was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.sender.borrow()
    }

    /// Returns once it is asked for.
    pub async fn requested(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in `self`, so this ends by the value alone.
        drop(receiver.wait_for(|requested| *requested).await);
    }

    /// Asks for it on SIGTERM and SIGINT.
    ///
    /// # Errors
    /// When the process may not handle signals.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => tracing::info!("SIGTERM: ending"),
                _ = int.recv() => tracing::info!("SIGINT: ending"),
            }
            shutdown.request();
        });
        Ok(())
    }
}
