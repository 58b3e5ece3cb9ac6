//! The floor: so many bare writes, by the operator's own client, with nobody who reacts to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use futures::stream::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};
use serde_json::json;
use werkbank::runtime::{ClientOptions, Metrics, connect};

use super::NAMESPACE;
use super::report::Floor;
use super::stage::Stage;
use super::usage::Usage;

/// What is written, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Different objects.
    pub(super) objects: u64,
    /// Writes in all.
    pub(super) writes: u64,
    /// Bytes of each object.
    pub(super) bytes: usize,
    /// Writes under way at the same time: the operator's number of passes.
    pub(super) parallel: usize,
}

/// A client as the operator's own, without a limit on what it sends.
pub(super) async fn client(stage: &Stage) -> Result<Client> {
    let kubeconfig = kube::config::Kubeconfig::read_from(stage.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let options = ClientOptions { qps: 0, burst: 0, concurrency: 64 };
    Ok(connect(config, options, Arc::new(Metrics::new()))?)
}

/// Server-side applies, each of which changes its object, and what all of them took. The CPU time is this process': the rest of the
/// benchmark has little to do meanwhile.
pub(super) async fn measure(client: Client, load: Load) -> Result<Floor> {
    let (api, text) = (&Api::<ConfigMap>::namespaced(client, NAMESPACE), &"x".repeat(load.bytes));
    // The objects exist before the clock starts, as the operator's do.
    apply_all(api, text, load.objects, load).await?;
    let cpu = || Usage::of(std::process::id()).map(|it| it.cpu_seconds);
    let (begin, before) = (Instant::now(), cpu()?);
    apply_all(api, text, load.writes, load).await?;
    let (seconds, cpu_seconds) = (begin.elapsed().as_secs_f64(), cpu()? - before);
    Ok(Floor { writes: load.writes, bytes: load.bytes, seconds, cpu_seconds })
}

async fn apply_all(api: &Api<ConfigMap>, text: &str, writes: u64, load: Load) -> Result<()> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let params = &PatchParams::apply("werkbank").force();
    let applied = futures::stream::iter(0..writes).map(|index| async move {
        let name = format!("floor-{:05}", index % load.objects.max(1));
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed).to_string();
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"serial": serial, "text": text},
        });
        api.patch_metadata(&name, params, &Patch::Apply(body)).await.map(drop)
    });
    applied.buffer_unordered(load.parallel.max(1)).try_collect().await.context("a bare write was refused")
}
