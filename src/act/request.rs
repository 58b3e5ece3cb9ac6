//! Writes as API requests: one request each, nothing read before.
//!
//! Requests are built by kube but sent as plain requests. Of the answer only uid and resourceVersion matter: that is all the next
//! pass needs in order to wait for its own writes. So the API server is asked for the metadata alone, and need not
//! encode, send and encrypt the object that it has just been sent.

use http::HeaderValue;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::Error;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{Request, Resource};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actor, End, Left, NotLeading, Written};
use crate::api::gateway::HttpRoute;
use crate::build::deployment::only_scales;
use crate::decide::{Child, ChildKind, Op, Precondition};

/// Who the API server records as the owner of the fields written here.
pub const FIELD_MANAGER: &str = "werkbank";

/// What an answer to a write is to be: of the object, its metadata; all of it from who cannot do that.
pub(super) const METADATA_ALONE: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json");

/// What of an API server's answer matters here.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    resource_version: String,
}

/// A resource as `/status` takes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WithStatus<'a, S> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Pinned<'a>,
    status: &'a S,
}

/// Which version of which object a write is meant for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pinned<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
    resource_version: &'a str,
}

/// The resource a pass is about: where it is, and which version was decided on.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) collection: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
}

impl Target {
    pub(super) fn of<K: Resource<DynamicType = ()>>(resource: &K) -> Self {
        let meta = resource.meta();
        let namespace = meta.namespace.clone().unwrap_or_default();
        Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            collection: K::url_path(&(), Some(&namespace)),
            namespace,
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
        }
    }

    /// PUTs the status, refused with 409 unless uid and resourceVersion are still these. Spec and
    /// metadata are left out: the API server takes only status from a write to `/status`.
    pub(super) async fn replace_status(&self, actor: &Actor, status: &impl Serialize) -> Result<Written, Error> {
        let metadata = Pinned {
            name: &self.name,
            namespace: &self.namespace,
            uid: &self.uid,
            resource_version: &self.resource_version,
        };
        let body = WithStatus { api_version: &self.api_version, kind: &self.kind, metadata, status };
        let body = serde_json::to_vec(&body).map_err(Error::SerdeError)?;
        let request = Request::new(self.collection.as_str())
            .replace_subresource("status", &self.name, &post_params(), body)
            .map_err(Error::BuildRequest)?;
        Ok(self.written(actor.ask(request).await?))
    }

    /// Sets the resource's finalizers, refused with 409 unless it is still this version.
    pub(super) async fn replace_finalizers(&self, actor: &Actor, finalizers: &[String]) -> Result<Written, Error> {
        let patch = json!({"metadata": {
            "uid": self.uid, "resourceVersion": self.resource_version, "finalizers": finalizers,
        }});
        let request = Request::new(self.collection.as_str())
            .patch(&self.name, &patch_params(), &Patch::Merge(patch))
            .map_err(Error::BuildRequest)?;
        Ok(self.written(actor.ask(request).await?))
    }

    fn written(&self, Answer { metadata }: Answer) -> Written {
        let left = Left::Present { uid: metadata.uid, resource_version: metadata.resource_version };
        Written { kind: self.kind.clone(), name: self.name.clone(), left }
    }
}

/// Sends one op. `Ok(None)`: there was nothing to do any more.
pub(super) async fn send(actor: &Actor, namespace: &str, op: &Op) -> Result<Option<Written>, Error> {
    match op {
        Op::Create(child) => {
            let (kind, name) = (child.kind(), child.name().to_owned());
            let body = serde_json::to_vec(&body(child)?).map_err(Error::SerdeError)?;
            let request = collection(kind, namespace).create(&post_params(), body).map_err(Error::BuildRequest)?;
            Ok(Some(present(kind, name, actor.ask(request).await?)))
        }
        Op::Apply(child, precondition) => {
            let (kind, name) = (child.kind(), child.name().to_owned());
            let patch = over(kind, pinned(body(child)?, precondition));
            let request =
                collection(kind, namespace).patch(&name, &patch_params(), &patch).map_err(Error::BuildRequest)?;
            Ok(Some(present(kind, name, actor.ask(request).await?)))
        }
        Op::Delete(kind, name, precondition) => delete(actor, namespace, *kind, name, precondition).await,
    }
}

async fn delete(
    actor: &Actor,
    namespace: &str,
    kind: ChildKind,
    name: &str,
    precondition: &Precondition,
) -> Result<Option<Written>, Error> {
    let params = DeleteParams::background().preconditions(Preconditions {
        uid: Some(precondition.uid.clone()),
        resource_version: Some(precondition.resource_version.clone()),
    });
    let request = collection(kind, namespace).delete(name, &params).map_err(Error::BuildRequest)?;
    match actor.ask::<Answer>(request).await {
        // Finalizers keep it for a while: it was answered as it is now.
        Ok(answer) if !answer.metadata.uid.is_empty() => Ok(Some(present(kind, name.to_owned(), answer))),
        Ok(_) => {
            let left = Left::Gone { uid: precondition.uid.clone() };
            Ok(Some(Written { kind: kind.name().to_owned(), name: name.to_owned(), left }))
        }
        Err(Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn present(kind: ChildKind, name: String, Answer { metadata }: Answer) -> Written {
    let left = Left::Present { uid: metadata.uid, resource_version: metadata.resource_version };
    Written { kind: kind.name().to_owned(), name, left }
}

fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}

fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

/// What is sent over an object that exists: what the operator writes is replaced as a whole, the rest stays.
///
/// Server-side apply would not do. It merges the ports of a Service and the containers of a Deployment item by
/// item, and takes away only what this very manager applied before: a port that the first write created stays
/// beside the new one (and the API server refuses two of one name), and so does whatever somebody has added.
fn over(kind: ChildKind, mut body: Value) -> Patch<Value> {
    match kind {
        ChildKind::Deployment => replace(body.pointer_mut("/spec/template")),
        ChildKind::Service => {
            replace(body.pointer_mut("/spec/selector"));
            replace(body.pointer_mut("/spec/ports"));
        }
        // Lists of it are replaced as they are; a `behavior` that is not there any more has to be named.
        ChildKind::Autoscaler => {
            replace(body.pointer_mut("/spec/behavior"));
            if let Some(spec) = body.pointer_mut("/spec").and_then(Value::as_object_mut) {
                spec.entry("behavior").or_insert(Value::Null);
            }
        }
        // Custom resources know no such directive, and need none: the spec of a route is lists, which a merge
        // replaces. The other kinds are never changed.
        ChildKind::HttpRoute | ChildKind::ConfigMap | ChildKind::Revision | ChildKind::Job => {
            return Patch::Merge(body);
        }
    }
    Patch::Strategic(body)
}

/// Marks a map or list as one that takes the place of what is there.
fn replace(place: Option<&mut Value>) {
    match place {
        Some(Value::Object(map)) => drop(map.insert("$patch".into(), "replace".into())),
        Some(Value::Array(list)) => list.insert(0, json!({"$patch": "replace"})),
        _ => {}
    }
}

fn collection(kind: ChildKind, namespace: &str) -> Request {
    let namespace = Some(namespace);
    Request::new(match kind {
        ChildKind::Revision => ControllerRevision::url_path(&(), namespace),
        ChildKind::ConfigMap => ConfigMap::url_path(&(), namespace),
        ChildKind::Deployment => Deployment::url_path(&(), namespace),
        ChildKind::Autoscaler => HorizontalPodAutoscaler::url_path(&(), namespace),
        ChildKind::Service => Service::url_path(&(), namespace),
        ChildKind::HttpRoute => HttpRoute::url_path(&(), namespace),
        ChildKind::Job => Job::url_path(&(), namespace),
    })
}

/// The child as JSON.
fn body(child: &Child) -> Result<Value, Error> {
    let body = match child {
        Child::Revision(child) => serde_json::to_value(child),
        Child::ConfigMap(child) => serde_json::to_value(child),
        Child::Deployment(child) if only_scales(child) => Ok(
            json!({"metadata": child.metadata, "spec": {"replicas": child.spec.as_ref().and_then(|it| it.replicas)}}),
        ),
        Child::Deployment(child) => serde_json::to_value(child),
        Child::Autoscaler(child) => serde_json::to_value(child),
        Child::Service(child) => serde_json::to_value(child),
        Child::HttpRoute(child) => serde_json::to_value(child),
        Child::Job(child) => serde_json::to_value(child),
    };
    body.map_err(Error::SerdeError)
}

/// Binds a body to the very object that was observed.
fn pinned(mut body: Value, precondition: &Precondition) -> Value {
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".into(), precondition.uid.clone().into());
        metadata.insert("resourceVersion".into(), precondition.resource_version.clone().into());
        metadata.remove("managedFields");
    }
    body
}

/// Whether the API server says that this very object is gone. To a kind that it does not serve (yet: its
/// CRD may have reached another one first) it answers 404 as well, but names no object.
pub(super) fn is_gone(error: &Error, name: &str) -> bool {
    let Error::Api(status) = error else { return false };
    status.is_not_found() && status.details.as_ref().is_some_and(|details| details.name == name)
}

/// What an error answered to a write of `kind`/`name` means for the pass.
pub(super) fn end_of(kind: &str, name: &str, error: Error) -> End {
    let (kind, name) = (kind.to_owned(), name.to_owned());
    match error {
        Error::Api(status) if status.is_already_exists() => End::AlreadyExists { kind, name },
        Error::Api(status) if status.is_conflict() => End::Conflict { kind, name, stale: None },
        // 400: it is no such object at all, a quantity that is none, say.
        Error::Api(status) if status.is_forbidden() || status.is_invalid() || status.code == 400 => {
            End::Refused { kind, name, message: status.message, op: None }
        }
        Error::Service(error) if error.is::<NotLeading>() => End::NotLeader,
        error => End::Failed { kind, name, error: brief(&error), op: None },
    }
}

/// An error in one line, without its debug dump.
fn brief(error: &Error) -> String {
    match error {
        Error::Api(status) => format!("{} (HTTP {})", status.message, status.code),
        Error::Service(error) => format!("the API server was not reached: {error}"),
        error => error.to_string(),
    }
}
