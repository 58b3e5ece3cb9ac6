//! The part of the Gateway API that Werkbank writes and reads: HTTPRoute v1.
//!
//! Hand-written because the published bindings trail kube's major versions,
//! and because rules, filters and parent references are the user's: they pass
//! through as they were written. What a Gateway answers is read by field.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::Verbatim;

/// API group of Gateways and routes.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// Desired state of an HTTPRoute.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    root = "HttpRoute",
    plural = "httproutes",
    namespaced,
    status = "HttpRouteStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteSpec {
    /// The Gateways the route attaches to, as the user wrote them.
    #[serde(default)]
    pub parent_refs: Verbatim,
    /// Host names; always written, also when empty, so that a write over the route
    /// takes one away again.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// The user's rules with the operator's `backendRefs`.
    #[serde(default)]
    pub rules: Verbatim,
}

impl HttpRouteSpec {
    /// The Gateways by field; none for what is no reference (the API server takes no such route).
    #[must_use]
    pub fn parents(&self) -> Vec<Option<ParentRef>> {
        self.parent_refs.list().into_iter().map(|it| serde_json::from_value(it).ok()).collect()
    }
}

/// Observed state of an HTTPRoute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteStatus {
    /// One entry per Gateway that looked at the route.
    #[serde(default)]
    pub parents: Vec<RouteParentStatus>,
}

/// A Gateway, or one listener of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// API group; none means the Gateway API's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind; none means `Gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace; none means the route's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the Gateway.
    pub name: String,
    /// Name of one listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Port of the listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl ParentRef {
    /// What it names, seen from a route in `namespace`: references that differ only in
    /// what is left to the defaults name the same.
    #[must_use]
    pub fn resolved(&self, namespace: &str) -> Self {
        let or = |it: &Option<String>, default: &str| Some(it.clone().unwrap_or_else(|| default.to_owned()));
        Self {
            group: or(&self.group, GROUP),
            kind: or(&self.kind, "Gateway"),
            namespace: or(&self.namespace, namespace),
            ..self.clone()
        }
    }
}

/// As people would say it.
impl fmt::Display for ParentRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ", self.kind.as_deref().unwrap_or("Gateway"))?;
        if let Some(namespace) = &self.namespace {
            write!(out, "{namespace}/")?;
        }
        write!(out, "{}", self.name)?;
        if let Some(section) = &self.section_name {
            write!(out, ", section {section}")?;
        }
        if let Some(port) = self.port {
            write!(out, ", port {port}")?;
        }
        Ok(())
    }
}

/// What one Gateway says of the route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// Which Gateway.
    pub parent_ref: ParentRef,
    /// Which controller wrote this.
    #[serde(default)]
    pub controller_name: String,
    /// `Accepted`, `ResolvedRefs`, each with the generation it was observed at.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
