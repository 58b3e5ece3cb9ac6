//! The fixed parts of Envoy's configuration, and why they are as they are.
//!
//! - Resources come from files. A cluster's endpoints and a listener's routes
//!   each have a file of their own, because Envoy takes exactly one resource
//!   from each, and so that a change makes Envoy read what changed only. The
//!   watch is on the file's own name (Envoy reacts when a file is moved there);
//!   a `watched_directory` would make each of a thousand clusters read its file
//!   again whenever any of them changes.
//! - No outlier detection, no panic threshold, circuit breakers out of reach: whether a pod gets
//!   traffic is decided by its readiness alone, and a test that counts requests
//!   sees exactly the configured shares.
//! - `reuse_port` is off: with it, two Envoys could listen on one port and each
//!   would get half of the requests.
//! - Every answer says how often Envoy tried (`x-envoy-attempt-count`), so that no retry hides a
//!   failure from those who count.
//! - No access log: paths and headers may hold personal data.
//! - Only the counters that the workbench reads are kept: Envoy would spend
//!   most of its memory on the others when there are thousands of clusters.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::rules::Precedence;

/// Prefix of the listeners' statistics.
pub(crate) const STAT_PREFIX: &str = "gateway";

/// Where Envoy finds a cluster's endpoints, a listener's routes and everything else,
/// below its directory. Slashes do not occur in names of Kubernetes objects, nor underscores.
pub(crate) fn endpoints_file(cluster: &str) -> String {
    format!("./endpoints/{}.json", cluster.replace('/', "_"))
}

/// File of a listener's routes.
pub(crate) fn routes_file(listener: &str) -> String {
    format!("./routes/{}.json", listener.replace('/', "_"))
}

fn source(path: &str) -> Value {
    // Relative to Envoy's working directory, so that the configuration is the same everywhere.
    json!({"path_config_source": {"path": path}, "resource_api_version": "V3"})
}

/// Envoy's own start: where it is administrated and where its files are.
pub(crate) fn bootstrap(address: &str, admin_port: u16) -> Value {
    let kept = r"cluster\..*\.(upstream_rq_total|upstream_rq_[1-5]xx|upstream_rq_retry|upstream_cx_connect_fail)";
    json!({
        "node": {"id": "workbench", "cluster": "workbench"},
        "admin": {"address": {"socket_address": {"address": address, "port_value": admin_port}}},
        "dynamic_resources": {"cds_config": source("./clusters.json"), "lds_config": source("./listeners.json")},
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": [
            {"prefix": "cluster_manager."},
            {"prefix": "listener_manager."},
            {"prefix": "server."},
            {"prefix": format!("http.{STAT_PREFIX}.")},
            {"safe_regex": {"regex": kept}},
        ]}}},
    })
}

/// A cluster whose endpoints come from a file.
pub(crate) fn cluster(name: &str) -> Value {
    let limit = 1_000_000;
    json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"service_name": name, "eds_config": source(&endpoints_file(name))},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [{
            "max_connections": limit, "max_pending_requests": limit, "max_requests": limit, "max_retries": limit,
        }]},
    })
}

/// An HTTP listener whose routes come from a file.
pub(crate) fn listener(name: &str, address: &str, port: u16) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": name,
        "enable_reuse_port": false,
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [{"filters": [{
            "name": "http",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": STAT_PREFIX,
                "use_remote_address": true,
                "normalize_path": true,
                "rds": {"route_config_name": name, "config_source": source(&routes_file(name))},
                "http_filters": [{
                    "name": "router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                }],
            },
        }]}],
    })
}

/// The routes of a listener by host name, in the order in which Envoy tries them.
#[derive(Debug, Default)]
pub(crate) struct VirtualHosts(BTreeMap<String, Vec<(Precedence, Value)>>);

impl VirtualHosts {
    /// Adds the routes to each of the hosts; those that came first win among equals.
    pub(crate) fn add(&mut self, hostnames: &[String], routes: &[(Precedence, Value)]) {
        for hostname in hostnames {
            self.0.entry(hostname.clone()).or_default().extend_from_slice(routes);
        }
    }

    /// The whole route configuration of a listener.
    pub(crate) fn into_config(self, name: &str) -> Value {
        let hosts = self.0.into_iter().map(|(hostname, mut routes)| {
            routes.sort_by_key(|(precedence, _)| *precedence);
            let routes: Vec<_> = routes.into_iter().map(|(_, route)| route).collect();
            json!({
                "name": hostname, "domains": [hostname], "include_attempt_count_in_response": true, "routes": routes,
            })
        });
        json!({
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": name,
            "ignore_port_in_host_matching": true,
            "virtual_hosts": hosts.collect::<Vec<_>>(),
        })
    }
}
