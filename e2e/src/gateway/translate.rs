//! From observed objects to Envoy's configuration and to what each object is told: a pure function.
//!
//! One Envoy listener and one route configuration per Gateway and port; one
//! cluster per port of a Service that a route names; virtual hosts by host name.
//! Routes of one virtual host are sorted as the Gateway API demands: the most
//! specific match first, then the oldest route, then by name.
//!
//! A route that asks for what is not implemented, or names a listener that is
//! not there, is not programmed, whatever it was before: so do gateways in
//! production, which translate what they see and remember nothing. Only what
//! Envoy itself refuses keeps the configuration it had, because Envoy does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use serde_json::Value;

use super::{
    api::{BackendRef, Gateway, GatewayClass, HttpRoute, ParentRef},
    attach::{Attachment, Namespaces, attach, names_gateway},
    endpoints,
    envoy_config::{self, VirtualHosts},
    rules::{self, Backend},
};

/// Namespace and name.
pub(crate) type Key = (String, String);

/// Namespace and name of an object.
pub(crate) fn key<K: ResourceExt>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Everything the translation depends on.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    /// Our name, as GatewayClasses call it.
    pub(crate) controller_name: String,
    /// Loopback address of the listeners.
    pub(crate) address: String,
    /// Real port of each Gateway's port.
    pub(crate) ports: BTreeMap<(Key, u16), u16>,
    /// Observed GatewayClasses.
    pub(crate) classes: Vec<Arc<GatewayClass>>,
    /// Observed Gateways.
    pub(crate) gateways: Vec<Arc<Gateway>>,
    /// Observed routes.
    pub(crate) routes: Vec<Arc<HttpRoute>>,
    /// Observed Services.
    pub(crate) services: Vec<Arc<Service>>,
    /// Observed pods.
    pub(crate) pods: Vec<Arc<Pod>>,
    /// Labels of the observed namespaces.
    pub(crate) namespaces: Namespaces,
    /// What Envoy said of (route uid, generation) it refused.
    pub(crate) refused: BTreeMap<(String, i64), String>,
    /// Routes (by uid) as they were when last accepted.
    pub(crate) accepted: BTreeMap<String, Arc<HttpRoute>>,
    /// Routes (by uid) whose change waits while others are tried.
    pub(crate) held: BTreeSet<String>,
}

/// Envoy's resources by kind and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Resources {
    /// Listeners.
    pub(crate) listeners: BTreeMap<String, Value>,
    /// Route configurations.
    pub(crate) routes: BTreeMap<String, Value>,
    /// Clusters.
    pub(crate) clusters: BTreeMap<String, Value>,
    /// Endpoints, by the name of their cluster.
    pub(crate) endpoints: BTreeMap<String, Value>,
}

/// A condition without its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Type of the condition.
    pub(crate) kind: &'static str,
    /// Is it true?
    pub(crate) holds: bool,
    /// CamelCase reason.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) message: String,
}

impl Verdict {
    /// A condition that is true.
    pub(crate) fn yes(kind: &'static str, reason: &'static str) -> Self {
        Self { kind, holds: true, reason, message: String::new() }
    }

    /// A condition that is false, and why.
    pub(crate) fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, holds: false, reason, message: message.into() }
    }
}

/// What one route is told by one parent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ParentVerdict {
    /// The parent as the route names it.
    pub(crate) parent: ParentRef,
    /// Listeners (Envoy's names) the route attaches to; empty when refused.
    pub(crate) listeners: Vec<String>,
    /// `Accepted` and `ResolvedRefs`.
    pub(crate) verdicts: Vec<Verdict>,
}

/// The whole answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Translation {
    /// What Envoy is to do.
    pub(crate) resources: Resources,
    /// What each route is told.
    pub(crate) routes: Vec<(Arc<HttpRoute>, Vec<ParentVerdict>)>,
    /// Our Gateways.
    pub(crate) gateways: Vec<Arc<Gateway>>,
    /// Routes attached to each listener of each Gateway.
    pub(crate) attached: BTreeMap<(Key, String), i32>,
}

/// Name of Envoy's listener and route configuration for a port of a Gateway.
pub(crate) fn listener_name((namespace, name): &Key, port: u16) -> String {
    format!("{namespace}/{name}/{port}")
}

/// Translates the whole world.
pub(crate) fn translate(world: &World) -> Translation {
    let mut translator = Translator::new(world);
    let mut routes: Vec<_> = world.routes.iter().collect();
    routes.sort_by_key(|it| (it.creation_timestamp(), key(&***it)));
    for route in routes {
        translator.add_route(route);
    }
    translator.finish()
}

struct Translator<'a> {
    world: &'a World,
    gateways: BTreeMap<Key, &'a Arc<Gateway>>,
    services: BTreeMap<Key, &'a Service>,
    pods: BTreeMap<String, Vec<&'a Pod>>,
    hosts: BTreeMap<String, VirtualHosts>,
    result: Translation,
}

impl<'a> Translator<'a> {
    fn new(world: &'a World) -> Self {
        let ours: BTreeSet<_> = world
            .classes
            .iter()
            .filter(|it| it.spec.controller_name == world.controller_name)
            .map(|it| it.name_any())
            .collect();
        let gateways: BTreeMap<_, _> = world
            .gateways
            .iter()
            .filter(|it| ours.contains(&it.spec.gateway_class_name))
            .filter(|it| it.metadata.deletion_timestamp.is_none())
            .map(|it| (key(&**it), it))
            .collect();
        let mut pods: BTreeMap<String, Vec<&Pod>> = BTreeMap::new();
        for pod in &world.pods {
            pods.entry(pod.namespace().unwrap_or_default()).or_default().push(pod);
        }
        Self {
            world,
            gateways,
            services: world.services.iter().map(|it| (key(&**it), &**it)).collect(),
            pods,
            hosts: BTreeMap::new(),
            result: Translation::default(),
        }
    }

    /// Judges the route as it is, and configures it as it is; or as it was when Envoy last took it.
    fn add_route(&mut self, route: &Arc<HttpRoute>) {
        let uid = route.uid().unwrap_or_default();
        let world = self.world;
        let generation = route.metadata.generation.unwrap_or_default();
        let held = world.held.contains(&uid);
        let unsupported = rules::unsupported(&route.spec);
        let refused = world.refused.get(&(uid.clone(), generation)).cloned();
        let in_force = match (&unsupported, &refused) {
            _ if held => world.accepted.get(&uid),
            (Some(_), _) => None,
            (None, Some(_)) => world.accepted.get(&uid),
            (None, None) => Some(route),
        };
        let refusal = unsupported.or(refused);
        let resolved = in_force.map(|it| self.configure(it));
        if held {
            return;
        }
        let resolved = match (&refusal, resolved) {
            (None, Some(verdict)) => verdict,
            _ => Verdict::yes("ResolvedRefs", "ResolvedRefs"),
        };
        let mut parents = Vec::new();
        for parent in &route.spec.parent_refs {
            let Some(gateway) = self.parent(route, parent) else {
                continue;
            };
            let attached = attach(route, parent, gateway, &world.namespaces);
            let (accepted, listeners) = match (attached, &refusal) {
                (Err((reason, message)), _) => (Verdict::no("Accepted", reason, message), Vec::new()),
                (_, Some(message)) => (Verdict::no("Accepted", "UnsupportedValue", message), Vec::new()),
                (Ok(all), None) => {
                    self.count(&key(&**gateway), &all);
                    let names = all.iter().map(|it| listener_name(&key(&**gateway), it.port)).collect();
                    (Verdict::yes("Accepted", "Accepted"), names)
                }
            };
            parents.push(ParentVerdict {
                parent: parent.clone(),
                listeners,
                verdicts: vec![accepted, resolved.clone()],
            });
        }
        self.result.routes.push((route.clone(), parents));
    }

    fn parent(&self, route: &HttpRoute, parent: &ParentRef) -> Option<&'a Arc<Gateway>> {
        let namespace = parent.namespace.clone().or_else(|| route.namespace())?;
        let gateway = self.gateways.get(&(namespace, parent.name.clone()))?;
        names_gateway(parent).then_some(*gateway)
    }

    fn count(&mut self, gateway: &Key, attachments: &[Attachment]) {
        for it in attachments {
            *self.result.attached.entry((gateway.clone(), it.listener.clone())).or_default() += 1;
        }
    }

    /// Adds the route to the virtual hosts of its listeners; says whether all backends were found.
    fn configure(&mut self, route: &HttpRoute) -> Verdict {
        let mut targets = Vec::new();
        for parent in &route.spec.parent_refs {
            let Some(gateway) = self.parent(route, parent) else {
                continue;
            };
            let attached = attach(route, parent, gateway, &self.world.namespaces).unwrap_or_default();
            targets.extend(attached.into_iter().map(|it| (listener_name(&key(&**gateway), it.port), it.hostnames)));
        }
        let (namespace, name) = key(route);
        let mut verdict = Verdict::yes("ResolvedRefs", "ResolvedRefs");
        if targets.is_empty() {
            return verdict;
        }
        for (index, rule) in route.spec.rules.iter().enumerate() {
            let prefix = format!("{namespace}/{name}/{index}");
            let generation = route.metadata.generation.unwrap_or_default();
            let routes = rules::routes(&prefix, generation, rule, &mut |reference| {
                let backend = self.backend(&namespace, reference);
                if let Backend::Unresolved(reason, message) = &backend {
                    verdict = Verdict::no("ResolvedRefs", reason, message.clone());
                }
                backend
            });
            for (listener, hostnames) in &targets {
                self.hosts.entry(listener.clone()).or_default().add(hostnames, &routes);
            }
        }
        verdict
    }

    /// Resolves a reference and makes sure that Envoy knows the cluster and its endpoints.
    fn backend(&mut self, home: &str, reference: &BackendRef) -> Backend {
        let name = &reference.name;
        let kind = reference.kind.as_deref().unwrap_or("Service");
        let group = reference.group.as_deref().unwrap_or_default();
        if kind != "Service" || !group.is_empty() {
            return Backend::Unresolved(
                "InvalidKind",
                format!("backend {name} is a {kind}; only Services are supported"),
            );
        }
        let namespace = reference.namespace.as_deref().unwrap_or(home);
        if namespace != home {
            let message =
                format!("Service {namespace}/{name} is in another namespace; ReferenceGrants are not supported");
            return Backend::Unresolved("RefNotPermitted", message);
        }
        let Some(service) = self.services.get(&(namespace.to_owned(), name.clone())) else {
            return Backend::Unresolved("BackendNotFound", format!("Service {namespace}/{name} does not exist"));
        };
        let found = reference.port.and_then(|it| endpoints::service_port(service, it));
        let Some(port) = found else {
            let port = reference.port.unwrap_or_default();
            return Backend::Unresolved("BackendNotFound", format!("Service {namespace}/{name} has no port {port}"));
        };
        let cluster = format!("{namespace}/{name}/{}", port.port);
        if !self.result.resources.clusters.contains_key(&cluster) {
            let pods = self.pods.get(namespace).map(|it| &**it).unwrap_or_default();
            let addresses = endpoints::addresses(service, port, pods.iter().copied());
            let resources = &mut self.result.resources;
            resources.endpoints.insert(cluster.clone(), endpoints::load_assignment(&cluster, &addresses));
            resources.clusters.insert(cluster.clone(), envoy_config::cluster(&cluster));
        }
        Backend::Cluster(cluster)
    }

    fn finish(mut self) -> Translation {
        for (key, gateway) in &self.gateways {
            for listener in gateway.spec.listeners.iter().filter(|it| it.protocol == "HTTP") {
                let name = listener_name(key, listener.port);
                let Some(port) = self.world.ports.get(&(key.clone(), listener.port)) else {
                    continue;
                };
                let hosts = self.hosts.remove(&name).unwrap_or_default();
                let resources = &mut self.result.resources;
                resources
                    .listeners
                    .entry(name.clone())
                    .or_insert_with(|| envoy_config::listener(&name, &self.world.address, *port));
                resources.routes.entry(name.clone()).or_insert_with(|| hosts.into_config(&name));
            }
        }
        self.result.gateways = self.gateways.into_values().cloned().collect();
        self.result
    }
}

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;
