//! One pass: what was observed → Envoy → statuses.
//!
//! Changes that arrive during a pass are taken together by the next one, so the
//! number of configuration versions does not grow with the number of changes.
//!
//! Envoy refuses a route configuration as a whole. If it does, the routes that
//! changed since the last accepted version are tried in halves until the
//! culprits are known; each of them is told Envoy's reason, all others are
//! accepted. That costs a few versions more for each culprit, and only then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use kube::ResourceExt;
use tokio::sync::{Mutex, Notify, watch};

use super::{
    Ports,
    api::HttpRoute,
    envoy::free_port,
    observe::Caches,
    report::{report, uids},
    status::StatusWriter,
    translate::{Translation, World, key, translate},
    xds::{Outcome, Xds},
};

/// Time for changes that belong together to arrive together.
const GATHER: Duration = Duration::from_millis(3);
/// How soon a pass that failed is tried again, and how often lingering clusters are looked at.
const AGAIN: Duration = Duration::from_millis(500);

/// Everything a pass works on.
pub(crate) struct Passes {
    /// What is watched.
    pub(crate) caches: Caches,
    /// What is known.
    pub(crate) world: World,
    /// How ports are chosen.
    pub(crate) policy: Ports,
    /// Envoy's files.
    pub(crate) xds: Arc<Mutex<Xds>>,
    /// Where statuses go.
    pub(crate) writer: StatusWriter,
    /// Ports of the listeners, for those who ask for a URL.
    pub(crate) ports: Arc<Mutex<BTreeMap<(super::translate::Key, u16), u16>>>,
    /// Whether to wait before the next pass.
    pub(crate) held: watch::Receiver<bool>,
}

impl Passes {
    /// Runs a pass after each change, for ever.
    pub(crate) async fn run(mut self, changed: Arc<Notify>) {
        loop {
            // Without a controller there is nobody left to wait for.
            let _ = self.held.wait_for(|held| !held).await;
            let again = match self.pass().await {
                Ok(lingers) => lingers,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "gateway pass failed; it is tried again");
                    true
                }
            };
            tokio::select! {
                () = changed.notified() => {}
                () = tokio::time::sleep(AGAIN), if again => {}
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    async fn pass(&mut self) -> Result<bool> {
        self.caches.update(&mut self.world);
        self.assign_ports().await?;
        let known = uids(&self.world);
        self.world.accepted.retain(|uid, _| known.contains(uid));
        self.world.refused.retain(|(uid, _), _| known.contains(uid));
        self.writer.retain(|uid| known.contains(uid));
        let xds = self.xds.clone();
        let mut xds = xds.lock().await;
        let mut untried = vec![self.changed_routes()];
        while let Some(group) = untried.pop() {
            self.world.held = untried.iter().flatten().map(|(uid, _)| uid.clone()).collect();
            let translation = translate(&self.world);
            match xds.publish(&translation.resources).await? {
                Outcome::Applied(closed) => {
                    self.remember(&translation);
                    report(&self.world, &translation, &closed, &mut self.writer);
                }
                Outcome::Refused(reason) => match &*group {
                    [] => anyhow::bail!("Envoy refuses a configuration without a changed route: {reason}"),
                    [culprit] => {
                        self.world.refused.insert(culprit.clone(), reason);
                        untried.push(Vec::new());
                    }
                    several => {
                        let (first, second) = several.split_at(several.len() / 2);
                        untried.extend([second.to_vec(), first.to_vec()]);
                    }
                },
            }
        }
        Ok(xds.lingers())
    }

    /// Routes (uid and generation) that are not yet accepted as they are.
    fn changed_routes(&self) -> Vec<(String, i64)> {
        let changed = self.world.routes.iter().filter_map(|route| {
            let (uid, generation) = identity(route);
            let accepted = self.world.accepted.get(&uid).and_then(|it| it.metadata.generation);
            (accepted != Some(generation)).then_some((uid, generation))
        });
        changed.filter(|it| !self.world.refused.contains_key(it)).collect()
    }

    /// Routes that some parent accepts are what is fallen back to later.
    fn remember(&mut self, translation: &Translation) {
        for (route, parents) in &translation.routes {
            let accepted = parents.iter().any(|it| it.verdicts.first().is_some_and(|it| it.holds));
            let (uid, generation) = identity(route);
            if accepted {
                self.world.accepted.insert(uid.clone(), route.clone());
                self.world.refused.retain(|(it, at), _| *it != uid || *at == generation);
            }
        }
    }

    async fn assign_ports(&mut self) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for gateway in &self.world.gateways {
            let of = gateway.spec.listeners.iter().map(|it| (key(&**gateway), it.port));
            wanted.extend(of);
        }
        self.world.ports.retain(|it, _| wanted.contains(it));
        for it in wanted {
            if !self.world.ports.contains_key(&it) {
                let port = match self.policy {
                    Ports::AsWritten => it.1,
                    Ports::Free => free_port(&self.world.address)?,
                };
                self.world.ports.insert(it, port);
            }
        }
        self.ports.lock().await.clone_from(&self.world.ports);
        Ok(())
    }
}

fn identity(route: &HttpRoute) -> (String, i64) {
    (route.uid().unwrap_or_default(), route.metadata.generation.unwrap_or_default())
}
