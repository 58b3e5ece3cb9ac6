//! What a node is told when it starts.

use std::{collections::BTreeMap, path::PathBuf};

use super::{AddressBlock, Backoff, Image};

/// How a [`NodeAgent`](super::NodeAgent) introduces itself and what it may run.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The Node's name.
    pub name: String,
    /// Labels of the Node, such as `topology.kubernetes.io/region`;
    /// `kubernetes.io/hostname` is added.
    pub labels: BTreeMap<String, String>,
    /// Which binary stands behind each image name, by the exact name in the pod.
    pub images: BTreeMap<String, Image>,
    /// The /24 below 127.0.0.0/8 from which pods get their addresses. No two
    /// nodes may share one.
    pub block: AddressBlock,
    /// Where logs and pods' directories are kept.
    pub run_dir: PathBuf,
    /// The API server's URL, as written into pods' kubeconfigs.
    pub server: String,
    /// The API server's CA certificate in PEM, as written into pods' kubeconfigs.
    pub ca_pem: String,
    /// How many pods fit at most (a /24 has room for 253).
    pub max_pods: usize,
    /// How long to wait before a container is started again.
    pub backoff: Backoff,
    /// Directories below which `hostPath` volumes are allowed; none by default.
    pub host_paths: Vec<PathBuf>,
}

impl NodeOptions {
    /// Options with the defaults of a node: 110 pods, restarts after 1 s
    /// doubling to 30 s, no labels, no images, no host paths.
    #[must_use]
    pub fn new(name: &str, block: AddressBlock, run_dir: PathBuf, server: &str, ca_pem: &str) -> Self {
        Self {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            images: BTreeMap::new(),
            block,
            run_dir,
            server: server.to_owned(),
            ca_pem: ca_pem.to_owned(),
            max_pods: 110,
            backoff: Backoff::default(),
            host_paths: Vec::new(),
        }
    }

    /// With one more label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With one more image.
    #[must_use]
    pub fn image(mut self, name: &str, image: Image) -> Self {
        self.images.insert(name.to_owned(), image);
        self
    }
}
