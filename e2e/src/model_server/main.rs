//! `model-server`: a small server that speaks the Open Inference Protocol v2.
//!
//! It is what a revision's pod runs in the demo and in the end-to-end tests: it
//! loads one artifact, answers `/v2/...`, and says on every answer which revision
//! gave it. It knows requests and predictions, never outcomes: whether a
//! prediction came true is known to the business, later, and counted there (in
//! the demo by the replay client). A server that cannot score does not start.

mod artifact;
mod drain;
mod metrics;
mod protocol;
mod server;
mod settings;
mod tensor;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::artifact::Model;
use crate::server::ModelServer;
use crate::settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("model-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let settings = Settings::from_env(|name| std::env::var(name).ok())?;
    let model = Model::load(&settings.model_path)?;
    let listener = tokio::net::TcpListener::bind((settings.host.as_str(), settings.port)).await.with_context(|| {
        format!("cannot listen on {}:{}; set HOST and PORT to a free address", settings.host, settings.port)
    })?;
    eprintln!(
        "model-server: revision {} serves {} {} on {}",
        settings.revision,
        model.name(),
        model.version(),
        listener.local_addr()?
    );
    let terminated = drain::terminated().context("cannot listen for SIGTERM; is this a Unix system?")?;
    let drain = settings.drain;
    let server = ModelServer::new(model, &settings)?;
    drain::serve(listener, &server, terminated, drain).await
}
