//! The part of the Gateway API that Werkbank writes and reads: HTTPRoute v1.
//!
//! Hand-written because the published bindings trail kube's major versions,
//! and because rules, filters and parent references are the user's: they pass
//! through as they were written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    pub parent_refs: Vec<Value>,
    /// Host names; always written, also when empty, so that server-side apply
    /// can take one away again.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// The user's rules with the operator's `backendRefs`.
    #[serde(default)]
    pub rules: Vec<Value>,
}

/// Observed state of an HTTPRoute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteStatus {
    /// One entry per Gateway that looked at the route.
    #[serde(default)]
    pub parents: Vec<RouteParentStatus>,
}

/// What one Gateway says of the route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// Which Gateway.
    pub parent_ref: Value,
    /// Which controller wrote this.
    #[serde(default)]
    pub controller_name: String,
    /// `Accepted`, `ResolvedRefs`, each with the generation it was observed at.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
