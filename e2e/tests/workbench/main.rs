//! What the workbench promises about itself: it is ready, it is the one that
//! was started, and nothing of it stays behind, however its parent ends.
#![cfg(test)]

mod cluster;
mod demo;
mod ends;
mod metrics;
mod processes;
mod supervisor;
mod tools;

use werkbank_e2e::controlplane::{ControlPlane, Options};
use werkbank_e2e::process::Supervisor;
use werkbank_e2e::tools::Tools;

const WORKBENCH: &str = env!("CARGO_BIN_EXE_workbench");

fn tools() -> Tools {
    Tools::new(Supervisor::new().unwrap()).unwrap()
}

async fn control_plane() -> ControlPlane {
    ControlPlane::start(Options::default(), &tools()).await.unwrap()
}
