//! What ServiceAccounts asked of the API server, from its own audit log.
//!
//! Only that: who, which verb on which resource in which namespace, and by which binding it was allowed. Bodies
//! are not recorded, and neither is what people and the control plane's own controllers do, so that recording
//! costs next to nothing. It is off unless [`Options::audit`](super::Options) asks for it: a benchmark must not
//! pay for it.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// What is recorded. The first rule that matches counts.
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  userGroups: [system:serviceaccounts:kube-system]
- level: Metadata
  userGroups: [system:serviceaccounts]
- level: None
";

/// One request of a ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// `system:serviceaccount:<namespace>:<name>`.
    pub user: String,
    /// As RBAC spells it.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name, with `/subresource` where one is meant; the path of a request for no resource.
    pub resource: String,
    /// `None`: all namespaces at once, or a resource that is in none.
    pub namespace: Option<String>,
    /// The object; empty where there is none or it has no name yet.
    pub name: String,
    /// The pod that asked, by the token it used.
    pub pod: Option<String>,
    /// What was answered, as an HTTP status.
    pub code: u16,
    /// Whether it was authorized. (What admission or validation said of it is another matter.)
    pub allowed: bool,
    /// Why it was: the binding and the role.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    object_ref: Option<ObjectRef>,
    #[serde(default)]
    response_status: ResponseStatus,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize)]
struct User {
    username: String,
    #[serde(default)]
    extra: Extra,
}

#[derive(Default, Deserialize)]
struct Extra {
    #[serde(rename = "authentication.kubernetes.io/pod-name", default)]
    pod: Vec<String>,
}

#[derive(Default, Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "authorization.k8s.io/decision", default)]
    decision: String,
    #[serde(rename = "authorization.k8s.io/reason", default)]
    reason: String,
}

/// All requests in a log, in order. A line that is still being written is left out.
///
/// # Errors
///
/// When the log cannot be read, or a line is no audit event.
pub(super) fn read(log: &Path) -> Result<Vec<Request>> {
    let text = match std::fs::read_to_string(log) {
        Ok(text) => text,
        // Nothing has been recorded yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read the audit log {}", log.display())),
    };
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(request).collect()
}

fn request(line: &str) -> Result<Request> {
    let event: Event = serde_json::from_str(line).with_context(|| format!("no audit event: {line}"))?;
    let Event { verb, request_uri, user, object_ref, response_status, annotations } = event;
    let path = || request_uri.split('?').next().unwrap_or_default().to_owned();
    let mut object = object_ref.unwrap_or_default();
    // A Namespace is in itself, as RBAC has it too; the log says so of single ones only.
    if object.resource == "namespaces" && object.namespace.is_empty() {
        object.namespace.clone_from(&object.name);
    }
    let resource = match (object.resource.is_empty(), object.subresource.is_empty()) {
        (true, _) => path(),
        (_, true) => object.resource,
        _ => format!("{}/{}", object.resource, object.subresource),
    };
    Ok(Request {
        user: user.username,
        verb,
        group: object.api_group,
        resource,
        namespace: Some(object.namespace).filter(|it| !it.is_empty()),
        name: object.name,
        pod: user.extra.pod.into_iter().next(),
        code: response_status.code,
        allowed: annotations.decision == "allow",
        reason: annotations.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_who_what_where_and_why() {
        let line = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete",
            "requestURI":"/apis/werkbank.dev/v1alpha1/namespaces/crm/modeldeployments/churn/status?fieldManager=werkbank","verb":"update",
            "user":{"username":"system:serviceaccount:werkbank-system:werkbank","groups":["system:serviceaccounts"],
                "extra":{"authentication.kubernetes.io/pod-name":["werkbank-1"]}},
            "objectRef":{"resource":"modeldeployments","namespace":"crm","name":"churn","apiGroup":"werkbank.dev","apiVersion":"v1alpha1","subresource":"status"},
            "responseStatus":{"metadata":{},"code":409},
            "annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by ClusterRoleBinding \"werkbank\""}}"#;
        let request = request(line).unwrap();
        assert_eq!(request.user, "system:serviceaccount:werkbank-system:werkbank");
        let what = (request.verb.as_str(), request.group.as_str(), request.resource.as_str());
        assert_eq!(what, ("update", "werkbank.dev", "modeldeployments/status"));
        assert_eq!((request.namespace.as_deref(), request.allowed), (Some("crm"), true));
        assert_eq!((request.name.as_str(), request.pod.as_deref(), request.code), ("churn", Some("werkbank-1"), 409));
        assert!(request.reason.contains("ClusterRoleBinding"));
    }

    #[test]
    fn a_request_for_no_resource_is_told_by_its_path() {
        let line = r#"{"verb":"get","requestURI":"/metrics?x=1","user":{"username":"system:serviceaccount:a:b"},
            "annotations":{"authorization.k8s.io/decision":"forbid"}}"#;
        let request = request(line).unwrap();
        assert_eq!((request.resource.as_str(), request.namespace, request.allowed), ("/metrics", None, false));
    }

    #[test]
    fn a_line_that_is_being_written_is_not_read_and_no_log_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("audit.log");
        assert_eq!(read(&log).unwrap(), []);
        let line = r#"{"verb":"get","requestURI":"/x","user":{"username":"u"}}"#;
        std::fs::write(&log, format!("{line}\n{{\"verb\":\"li")).unwrap();
        assert_eq!(read(&log).unwrap().len(), 1);
        std::fs::write(&log, "no event\n").unwrap();
        assert!(read(&log).is_err());
    }
}
