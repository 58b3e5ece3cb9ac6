//! Where the number of a metric comes from, other than Prometheus.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{DurationText, PodTemplate};

/// A request that is answered with JSON.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.body) || (has(self.method) && self.method == 'POST')")
        .message("http.body needs http.method: POST"),
    validation = Rule::new("self.url.matches('^https?://[^/?#@]+([/?][^#]*)?$')")
        .message("http.url is http:// or https://, a host, and perhaps a path and a query: no user, no password, no fragment")
)]
pub struct HttpQuery {
    /// Whom to ask, http(s). The same variables as in a query; values are percent-encoded, in
    /// the host only a part of a name. Redirects are not followed.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// GET when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// Further headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<HttpHeader>,
    /// JSON to send. The same variables; values are escaped for strings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub body: Option<String>,
    /// Where the number is in the answer: `$.data[0]['error rate']`, names and indexes only. The same variables, in
    /// quoted names.
    #[schemars(length(min = 1, max = 512))]
    pub json_path: String,
    /// How long to wait for the answer; 5s when left out, from 100ms to 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
}

/// A header of a request.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!(self.name.lowerAscii() in ['host', 'content-length', 'transfer-encoding', 'connection', 'keep-alive', 'te', 'trailer', 'upgrade', 'expect'])")
        .message("http.headers must not hold those that say how a request is sent, such as Host and Connection"),
    validation = Rule::new("has(self.value) != has(self.secretKeyRef)")
        .message("a header has either value or secretKeyRef"),
    validation = Rule::new("!has(self.value) || !(self.name.lowerAscii() in ['authorization', 'proxy-authorization', 'cookie', 'x-api-key'])")
        .message("credentials do not belong into a spec: put them into a Secret and name it in secretKeyRef")
)]
pub struct HttpHeader {
    /// Its name.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub name: String,
    /// Its value, as it is; no variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^[\x20-\x7e]*$"))]
    pub value: Option<String>,
    /// Where its value is, if it is a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
}

/// A key of a Secret in the same namespace. It is read when it is needed, and only if a Role in that
/// namespace lets the operator `get` this Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A value that is kept in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretValue {
    /// Where it is.
    pub secret_key_ref: SecretKeyRef,
}

/// A query that a PostgreSQL database answers, or one that speaks its protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SqlQuery {
    /// `postgres://user:password@host:5432/database`. Encrypted, and the certificate checked, unless it says
    /// `?sslmode=disable`.
    pub connection: SecretValue,
    /// The certificates (PEM) that the database's is checked against; those of the operator's image when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretValue>,
    /// One SELECT with one number: one column, at most one row; no row and NULL are no data. The same variables, as parameters
    /// of the statement: without quotes around them. Read in a read-only transaction.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// How long to wait for the answer, connecting included; 5s when left out, from 100ms to 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
}

/// A Kubernetes Job that computes the number: one for each side that is asked about, one at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobQuery {
    /// Its pod template: metadata (labels, annotations) and spec. No variables in it; every container gets them as WERKBANK_NAMESPACE,
    /// WERKBANK_DEPLOYMENT, WERKBANK_REVISION, WERKBANK_SUBJECT (Candidate or Stable), WERKBANK_WINDOW, WERKBANK_WINDOW_START
    /// and WERKBANK_WINDOW_END. The first container ends with exit code 0 and leaves `{"value": 0.93}` in its termination message.
    pub template: PodTemplate,
    /// How long it may take, from its creation to its end; 10m when left out, from 1s to 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
}

/// How a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpMethod {
    /// For an answer that is there.
    #[serde(rename = "GET")]
    Get,
    /// With a question in the body.
    #[serde(rename = "POST")]
    Post,
}
