//! Configuration files for Envoy, and the proof that Envoy works with them.
//!
//! Order is what keeps requests from failing: endpoints and clusters are in
//! force before a route names them, and a cluster that no route names any more
//! stays [`LINGER`] longer. A file is written beside its place and moved there,
//! so that Envoy never reads half of it.
//!
//! Endpoints are not waited for: Envoy reads a new cluster's file while it adds
//! the cluster, and a change of pods concerns no route's acceptance.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    admin::{Admin, FileState},
    envoy_config::{endpoints_file, routes_file},
    translate::Resources,
};

/// How long a cluster stays after the last route that named it.
const LINGER: Duration = Duration::from_secs(5);
/// How long Envoy may take to react.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of a publication.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Envoy works with it. Listeners that could not be opened are named, with Envoy's reason.
    Applied(BTreeMap<String, String>),
    /// Envoy refused clusters or routes, with this reason, and works with what it had.
    Refused(String),
}

/// The files and what is known of them.
#[derive(Debug)]
pub(crate) struct Xds {
    dir: PathBuf,
    admin: Admin,
    version: u64,
    written: Resources,
    versions: BTreeMap<String, String>,
    refusals: BTreeMap<String, u64>,
    unused: BTreeMap<String, Instant>,
    closed: BTreeMap<String, String>,
    confirmed: bool,
}

impl Xds {
    /// Writes the first, empty configuration, with which Envoy can start.
    pub(crate) fn new(dir: &Path, admin: Admin) -> Result<Self> {
        let mut xds = Self {
            dir: dir.to_owned(),
            admin,
            version: 0,
            written: Resources::default(),
            versions: BTreeMap::new(),
            refusals: BTreeMap::new(),
            unused: BTreeMap::new(),
            closed: BTreeMap::new(),
            confirmed: false,
        };
        xds.write("clusters", "clusters.json", &[])?;
        xds.write("listeners", "listeners.json", &[])?;
        Ok(xds)
    }

    /// After a restart of Envoy nothing is known: what it refused before, it counts again.
    pub(crate) fn forget(&mut self) {
        self.refusals.clear();
        self.confirmed = false;
    }

    /// Does a cluster wait to be removed?
    pub(crate) fn lingers(&self) -> bool {
        !self.unused.is_empty()
    }

    /// Writes what changed and returns when Envoy has applied or refused it.
    pub(crate) async fn publish(&mut self, wanted: &Resources) -> Result<Outcome> {
        self.write_endpoints(wanted)?;
        let clusters = self.with_lingering(&wanted.clusters);
        if clusters != self.written.clusters {
            self.written.clusters = clusters;
            let all: Vec<_> = self.written.clusters.values().cloned().collect();
            self.write("clusters", "clusters.json", &all)?;
            if let Some(refusal) = self.settle(&["clusters".to_owned()]).await? {
                return Ok(Outcome::Refused(refusal));
            }
        }
        self.write_routes(wanted)?;
        if wanted.listeners != self.written.listeners {
            self.written.listeners.clone_from(&wanted.listeners);
            let all: Vec<_> = wanted.listeners.values().cloned().collect();
            self.write("listeners", "listeners.json", &all)?;
        }
        if self.confirmed {
            return Ok(Outcome::Applied(self.closed.clone()));
        }
        self.settle_listeners().await?;
        let mut open: Vec<_> = wanted.routes.keys().filter(|it| !self.closed.contains_key(*it)).cloned().collect();
        open.push("clusters".to_owned());
        if let Some(refusal) = self.settle(&open).await? {
            return Ok(Outcome::Refused(refusal));
        }
        self.confirmed = true;
        Ok(Outcome::Applied(self.closed.clone()))
    }

    fn write_endpoints(&mut self, wanted: &Resources) -> Result<()> {
        for (name, endpoints) in &wanted.endpoints {
            if self.written.endpoints.get(name) != Some(endpoints) {
                self.version += 1;
                place(&self.dir, &endpoints_file(name), self.version, std::slice::from_ref(endpoints))?;
                self.written.endpoints.insert(name.clone(), endpoints.clone());
            }
        }
        Ok(())
    }

    fn write_routes(&mut self, wanted: &Resources) -> Result<()> {
        for (name, routes) in &wanted.routes {
            if self.written.routes.get(name) != Some(routes) {
                self.write(name, &routes_file(name), std::slice::from_ref(routes))?;
                self.written.routes.insert(name.clone(), routes.clone());
            }
        }
        self.written.routes.retain(|name, _| wanted.routes.contains_key(name));
        self.versions
            .retain(|name, _| ["clusters", "listeners"].contains(&&**name) || wanted.routes.contains_key(name));
        Ok(())
    }

    /// The wanted clusters and those that were unused for less than [`LINGER`].
    fn with_lingering(&mut self, wanted: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
        let mut clusters = wanted.clone();
        let now = Instant::now();
        self.unused.retain(|name, _| !wanted.contains_key(name));
        for (name, cluster) in &self.written.clusters {
            if !wanted.contains_key(name) {
                let since = *self.unused.entry(name.clone()).or_insert(now);
                if now.duration_since(since) < LINGER {
                    clusters.insert(name.clone(), cluster.clone());
                }
            }
        }
        self.unused.retain(|name, _| clusters.contains_key(name));
        let gone: BTreeSet<_> =
            self.written.endpoints.keys().filter(|it| !clusters.contains_key(*it)).cloned().collect();
        self.written.endpoints.retain(|name, _| !gone.contains(name));
        clusters
    }

    fn write(&mut self, subject: &str, file: &str, resources: &[Value]) -> Result<()> {
        self.version += 1;
        self.confirmed = false;
        self.versions.insert(subject.to_owned(), self.version.to_string());
        place(&self.dir, file, self.version, resources)
    }

    /// Waits until the listeners are applied, or refused: then the others are open all the same.
    async fn settle_listeners(&mut self) -> Result<()> {
        if let Some(reason) = self.settle(&["listeners".to_owned()]).await? {
            let open = self.admin.open_listeners().await?;
            let closed = self.written.listeners.keys().filter(|it| !open.contains(it));
            self.closed = closed.map(|it| (it.clone(), reason.clone())).collect();
            // Settled: it is not asked for again until the listeners change.
            self.versions.remove("listeners");
        } else if self.versions.contains_key("listeners") {
            self.closed.clear();
        }
        Ok(())
    }

    /// Waits until Envoy shows the versions of all these; the reason if it refused one.
    async fn settle(&mut self, subjects: &[String]) -> Result<Option<String>> {
        let started = Instant::now();
        loop {
            let files = self.admin.files().await?;
            let waiting: Vec<_> = subjects.iter().filter(|it| !self.is_applied(it, &files)).collect();
            if waiting.is_empty() {
                return Ok(None);
            }
            let known = |it: &String| self.refusals.get(it).copied().unwrap_or_default();
            let refused = waiting.into_iter().find(|it| refusals(it, &files) > known(it)).cloned();
            if let Some(subject) = refused {
                self.refusals.insert(subject.clone(), refusals(&subject, &files));
                // What Envoy refused is not what it has: it must be written again.
                self.written.routes.remove(&subject);
                if subject == "clusters" {
                    self.written.clusters.clear();
                }
                return Ok(Some(self.admin.last_refusal()));
            }
            if started.elapsed() > PATIENCE {
                anyhow::bail!(
                    "Envoy has not applied {subjects:?} within {PATIENCE:?}; read its log in {}. With {} Services: it takes an inotify \
                     instance for each, and a user may have as many as fs.inotify.max_user_instances says",
                    self.dir.display(),
                    self.written.clusters.len()
                );
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn is_applied(&self, subject: &str, files: &BTreeMap<String, FileState>) -> bool {
        let wanted = self.versions.get(subject);
        wanted.is_none() || files.get(subject).is_some_and(|it| it.version.as_ref() == wanted)
    }
}

fn refusals(subject: &str, files: &BTreeMap<String, FileState>) -> u64 {
    files.get(subject).map(|it| it.refused).unwrap_or_default()
}

/// Moves a discovery response to its place in one step.
fn place(dir: &Path, file: &str, version: u64, resources: &[Value]) -> Result<()> {
    let path = dir.join(file);
    let beside = path.with_extension("new");
    let response = json!({"version_info": version.to_string(), "resources": resources});
    std::fs::write(&beside, serde_json::to_vec(&response)?)
        .and_then(|()| std::fs::rename(&beside, &path))
        .with_context(|| format!("write {}: is the disk full?", path.display()))
}
