//! One deployment of the benchmark, and what is looked at one by one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::Api;
use werkbank::api::ModelDeployment;
use werkbank::api::model_deployment::ModelDeploymentStatus;

/// Waits until a deployment's status, of the present generation, is as told.
///
/// # Errors
/// When it never is, within `patience`.
pub(super) async fn until(
    api: &Api<ModelDeployment>,
    name: &str,
    patience: Duration,
    what: &str,
    is: impl Fn(&ModelDeploymentStatus) -> bool,
) -> Result<ModelDeploymentStatus> {
    let began = Instant::now();
    loop {
        let deployment = api.get(name).await?;
        let current = deployment.metadata.generation;
        let status = deployment.status.filter(|it| Some(it.observed_generation) == current);
        match status.filter(|it| is(it)) {
            Some(status) => return Ok(status),
            None => ensure!(began.elapsed() < patience, "{name}, never: {what}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The one of these, sorted, that this share of them does not exceed (nearest rank).
pub(super) fn quantile<T>(sorted: &[T], share: f64) -> Option<&T> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1))
}
