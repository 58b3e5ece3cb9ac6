//! What a process says to the kubelet: when it is told to end, and how it ended.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::reading::say;
use crate::api::artifact_failure::ArtifactFailure;

/// Where the kubelet looks for what a container has to say, unless told otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// The exit code, once a signal asks for the end. The first process of a container has to ask for its signals:
/// the kernel's default, which is to end, does not hold for it.
pub async fn told_to_end() -> u8 {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => 143,
        _ = int.recv() => 130,
    }
}

/// Says the failure, to people and to the operator.
pub fn end_with(failure: &ArtifactFailure) -> ExitCode {
    say(&format!("{}: {}", failure.reason.as_str(), failure.message));
    leave_behind(&failure.to_line());
    ExitCode::from(failure.reason.exit_code())
}

/// The termination message.
pub fn leave_behind(line: &str) {
    let path = std::env::var("TERMINATION_MESSAGE_PATH").unwrap_or_else(|_| TERMINATION_LOG.to_owned());
    // Outside of a pod there is no such file; what was said before has to do.
    if let Err(error) = std::fs::write(&path, line) {
        say(&format!("the termination message cannot be written to {path}: {}", error.kind()));
    }
}
