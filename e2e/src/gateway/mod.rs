//! The gateway of the workbench: a real Envoy, driven by Gateway API objects.
//!
//! A canary is only worth its name if the weight in an HTTPRoute is the share of
//! requests that reaches the candidate. So nothing here is simulated: requests
//! go through Envoy to the processes of the pods, and a route is reported
//! `Accepted` at a generation only after Envoy's admin interface shows the
//! configuration version that contains it. What Envoy refuses is told with
//! Envoy's words, and what this gateway does not implement is refused by name,
//! never ignored.
//!
//! ```text
//! observe ──> translate (pure) ──> xds: files ──> Envoy
//!    ^          attach, rules,       │              │
//!    │          endpoints            v              v
//!    └──────── report, status <── admin: which version is in force
//! ```
//!
//! No request is lost while pods come and go: endpoints are the ready pods that
//! are not being deleted, a pod's process ends only after its grace period,
//! outlier detection and panic mode are off, and a request that could not be
//! sent is tried once on another endpoint, as production gateways do by default.
//!
//! Implemented: GatewayClass; Gateways with HTTP listeners (host names, allowed
//! routes); HTTPRoutes with host names, matches on path (exact, prefix), headers
//! (exact) and method, RequestHeaderModifier, RequestMirror, request timeout and
//! weighted Services of the same namespace.
//!
//! At a thousand routes one change costs one translation of everything and one
//! new route file per Gateway; changes that arrive together share both. Measured with
//! a debug build on two busy cores: a thousand routes that change at once are all accepted
//! 4 s after the last was written, a single change among a thousand after 0.5 s.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use kube::Client;
use tokio::{
    sync::{Mutex, Notify, watch},
    task::JoinSet,
};

mod admin;
pub mod api;
mod attach;
mod endpoints;
mod envoy;
mod envoy_config;
mod observe;
mod pass;
mod report;
mod rules;
mod status;
mod translate;
mod xds;

use admin::Admin;
pub use admin::Counters;
use envoy::Envoy;
use translate::{Key, World};
use xds::Xds;

/// On which ports Envoy listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// On those of the Gateway's listeners: two Gateways need two addresses.
    AsWritten,
    /// On a free port for each port of each Gateway; ask [`GatewayController::url`].
    Free,
}

/// What the gateway needs.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// Envoy's binary.
    pub envoy: PathBuf,
    /// `controllerName` of the GatewayClasses that are served.
    pub controller_name: String,
    /// Directory for Envoy's configuration and log; created if it does not exist.
    pub run_dir: PathBuf,
    /// Loopback address of the listeners and of Envoy's admin interface.
    pub address: String,
    /// On which ports Envoy listens.
    pub ports: Ports,
}

/// A running gateway. Dropping it ends Envoy.
pub struct GatewayController {
    envoy: Mutex<Envoy>,
    admin: Admin,
    admin_url: String,
    address: String,
    xds: Arc<Mutex<Xds>>,
    ports: Arc<Mutex<BTreeMap<(Key, u16), u16>>>,
    changed: Arc<Notify>,
    held: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl GatewayController {
    /// Starts Envoy and begins to serve the Gateways of our classes.
    pub async fn start(client: Client, options: GatewayOptions) -> Result<Self> {
        let mut envoy = Envoy::new(&options.envoy, &options.run_dir, &options.address)?;
        let admin_url = envoy.admin_url();
        let admin = Admin::new(admin_url.clone(), envoy.log())?;
        let xds = Arc::new(Mutex::new(Xds::new(&options.run_dir, admin.clone())?));
        envoy.start().await?;
        let (changed, mut tasks) = (Arc::new(Notify::new()), JoinSet::new());
        let held = watch::Sender::new(false);
        let ports = Arc::default();
        let passes = pass::Passes {
            caches: observe::Caches::start(&client, &mut tasks, &changed).await?,
            world: World {
                controller_name: options.controller_name,
                address: options.address.clone(),
                ..World::default()
            },
            policy: options.ports,
            xds: xds.clone(),
            writer: status::StatusWriter::new(client, changed.clone()),
            ports: Arc::clone(&ports),
            held: held.subscribe(),
        };
        tasks.spawn(passes.run(changed.clone()));
        Ok(Self {
            envoy: Mutex::new(envoy),
            admin,
            admin_url,
            address: options.address,
            xds,
            ports,
            changed,
            held,
            tasks,
        })
    }

    /// Base URL (`http://address:port`) of the Gateway's first port, as soon as it is open (at most 10 s).
    pub async fn url(&self, namespace: &str, name: &str) -> Result<String> {
        let started = Instant::now();
        let gateway = (namespace.to_owned(), name.to_owned());
        while started.elapsed() < Duration::from_secs(10) {
            let ports = self.ports.lock().await.clone();
            let first = ports.iter().find(|((it, _), _)| *it == gateway);
            if let Some(((_, written), port)) = first {
                let listener = translate::listener_name(&gateway, *written);
                let open = self.admin.open_listeners().await.unwrap_or_default();
                if open.contains(&listener) {
                    return Ok(format!("http://{}:{port}", self.address));
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("Gateway {namespace}/{name} has no open port after 10 s: read its status for the reason")
    }

    /// Base URL of Envoy's admin interface.
    pub fn admin(&self) -> &str {
        &self.admin_url
    }

    /// Weights by Service that are in force in Envoy for the route. Empty if all
    /// weights are zero: Envoy then answers 500 without any backend.
    pub async fn weights(&self, namespace: &str, route: &str) -> Result<BTreeMap<String, u32>> {
        self.admin.weights(namespace, route).await
    }

    /// Requests by `namespace/service/port`, since Envoy started, of the
    /// Services that a route names or named some seconds ago.
    pub async fn counters(&self) -> Result<BTreeMap<String, Counters>> {
        self.admin.counters().await
    }

    /// From now on nothing that changes reaches Envoy, and no route is accepted, until [`GatewayController::release`].
    /// Requests go on as before.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Takes up what changed since [`GatewayController::hold`].
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// Kills Envoy (SIGKILL). Routes that change now are not accepted.
    pub async fn kill_envoy(&self) -> Result<()> {
        self.envoy.lock().await.kill().await;
        Ok(())
    }

    /// Starts Envoy again, with the configuration that was last written.
    pub async fn restart_envoy(&self) -> Result<()> {
        let mut envoy = self.envoy.lock().await;
        envoy.kill().await;
        envoy.start().await.context("start Envoy again")?;
        self.xds.lock().await.forget();
        self.changed.notify_one();
        Ok(())
    }

    /// Ends the watches and Envoy.
    pub async fn stop(mut self) -> Result<()> {
        self.tasks.shutdown().await;
        self.envoy.lock().await.kill().await;
        Ok(())
    }
}
