//! Objects and their versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::SecondsFormat;
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::rules::{
    changes_what_stays, counts_generations, is_held_up_anew, is_new_generation, keep_what_is_the_servers, refused,
};
use super::watch::{Change, Watch};
use super::{Asked, Faults, PatchType, Reply, patch, reason, refusal, schema};
use crate::runtime::Clock;
use crate::text::hex::hex;

#[derive(Default)]
pub(super) struct State {
    pub(super) version: u64,
    /// By collection over all namespaces, then by path.
    pub(super) objects: BTreeMap<String, BTreeMap<String, Arc<Value>>>,
    /// What has happened since `floor`.
    pub(super) log: Vec<Change>,
    /// Nobody can watch from an older version any more.
    pub(super) floor: u64,
    /// Lists tell what was there in this version, as from a cache that lags; the newest, if there is none.
    pub(super) lists_at: Option<u64>,
    pub(super) watches: Vec<Watch>,
    /// Watches show only what they are told to.
    pub(super) is_by_hand: bool,
    pub(super) writes: Vec<String>,
    pub(super) faults: Option<Faults>,
    /// The collection that may not be listed or watched.
    pub(super) forbidden: Option<String>,
    pub(super) clock: Clock,
}

/// `/apis/g/v/namespaces/n/plural/name` → `/apis/g/v/plural`, the collection over all namespaces; of a namespace itself,
/// that of namespaces.
pub(super) fn collection(path: &str) -> String {
    if let Some(collection) = clustered(path) {
        return collection.to_owned();
    }
    let Some((root, rest)) = path.split_once("/namespaces/") else { return path.to_owned() };
    format!("{root}/{}", rest.split('/').nth(1).unwrap_or("namespaces"))
}

/// As random as real ones: they do not sort in the order of their making.
fn uid(version: u64) -> String {
    let text = hex(&Sha256::digest(version.to_be_bytes()), 32);
    [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)].map(|(from, to)| &text[from..to]).join("-")
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

impl State {
    pub(super) fn note(&mut self, asked: &Asked) {
        self.writes.extend(asked.is_write().then(|| asked.about()));
    }

    /// All objects of a collection over all namespaces.
    pub(super) fn of(&self, path: &str) -> Vec<(String, Arc<Value>)> {
        self.objects.get(path).into_iter().flatten().map(|(at, it)| (at.clone(), it.clone())).collect()
    }

    /// All objects that a collection had in this version, while nothing is forgotten.
    fn of_once(&self, path: &str, version: u64) -> Vec<(String, Arc<Value>)> {
        let mut all = BTreeMap::new();
        for change in self.log.iter().filter(|it| it.version <= version && it.collection == path) {
            match change.type_ {
                "DELETED" => drop(all.remove(&change.path)),
                _ => drop(all.insert(change.path.clone(), change.object.clone())),
            }
        }
        all.into_iter().collect()
    }

    pub(super) fn one(&self, path: &str) -> Option<&Arc<Value>> {
        self.objects.get(&collection(path))?.get(path)
    }

    /// Stores an object in a new version; takes it out if it is to go and nothing holds it up.
    pub(super) fn store(&mut self, path: &str, object: Value) -> Reply {
        let metadata = &object["metadata"];
        let gone =
            !metadata["deletionTimestamp"].is_null() && metadata["finalizers"].as_array().is_none_or(Vec::is_empty);
        self.change(path, object, gone)
    }

    /// The next version of an object, which may be its last.
    fn change(&mut self, path: &str, mut object: Value, gone: bool) -> Reply {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(object);
        let collection = collection(path);
        let all = self.objects.entry(collection.clone()).or_default();
        let before = match gone {
            true => all.remove(path),
            false => all.insert(path.to_owned(), object.clone()),
        };
        let type_ = match (gone, before.is_some()) {
            (true, _) => "DELETED",
            (false, true) => "MODIFIED",
            (false, false) => "ADDED",
        };
        self.log.push(Change {
            version: self.version,
            collection,
            path: path.to_owned(),
            type_,
            object: object.clone(),
            before,
        });
        if !self.is_by_hand {
            self.tell_all();
        }
        (200, Value::clone(&object))
    }

    pub(super) fn answer(&mut self, asked: &Asked) -> Reply {
        self.note(asked);
        match asked.method {
            Method::POST => self.create(&asked.path, &asked.body),
            Method::GET if is_collection(&asked.path) => (200, self.list(asked)),
            _ => self.of_one(asked),
        }
    }

    fn list(&self, asked: &Asked) -> Value {
        let old = self.lists_at.filter(|it| self.floor == 0 && *it < self.version);
        let mut metadata = json!({"resourceVersion": old.unwrap_or(self.version).to_string()});
        let (collection, namespace) = asked.scope();
        let all = old.map_or_else(|| self.of(&collection), |version| self.of_once(&collection, version));
        let is_here = |it: &Value| namespace.is_none_or(|namespace| it["metadata"]["namespace"] == namespace);
        let items = all.into_iter().map(|(_, it)| it).filter(|it| is_here(it) && asked.selects(it));
        // The rest is of the version that is there when it is asked for: a list that changes meanwhile is not played.
        let number = |name| asked.param(name).and_then(|it| it.parse().ok());
        let (from, limit): (usize, Option<usize>) = (number("continue").unwrap_or(0), number("limit"));
        let mut items: Vec<Value> = items.skip(from).map(|it| asked.shown(&it)).collect();
        if let Some(limit) = limit.filter(|it| *it < items.len()) {
            items.truncate(limit);
            metadata["continue"] = (from + limit).to_string().into();
        }
        json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
    }

    fn create(&mut self, collection: &str, body: &Value) -> Reply {
        let name = body["metadata"]["name"].as_str().unwrap();
        let path = format!("{collection}/{name}");
        if self.one(&path).is_some() {
            return refusal(409, "AlreadyExists", name);
        }
        let mut object = body.clone();
        object["metadata"]["uid"] = uid(self.version).into();
        object["metadata"]["creationTimestamp"] = self.clock.now().to_rfc3339_opts(SecondsFormat::Secs, true).into();
        object.as_object_mut().unwrap().remove("status");
        if let Some((_, namespace)) = collection.split_once("/namespaces/") {
            object["metadata"]["namespace"] = namespace.split('/').next().into();
        }
        if counts_generations(&path) {
            object["metadata"]["generation"] = 1.into();
        }
        as_stored(&path, &mut object);
        let (_, created) = self.store(&path, object);
        (201, created)
    }

    fn of_one(&mut self, asked: &Asked) -> Reply {
        let (path, status) = asked.path.strip_suffix("/status").map_or((asked.path.as_str(), false), |it| (it, true));
        let Some(known) = self.one(path).cloned() else {
            return refusal(404, "NotFound", name_of(path));
        };
        if asked.method == Method::GET {
            return (200, asked.shown(&known));
        }
        if let Some(code) = refused(asked, &known) {
            return refusal(code, reason(code), if code == 415 { "" } else { name_of(path) });
        }
        if asked.method == Method::DELETE {
            return self.delete(path, &known);
        }
        let mut object = match asked.method {
            Method::PUT => asked.body.clone(),
            _ => {
                let mut object = Value::clone(&known);
                patch::patch(&mut object, &asked.body, asked.patch == PatchType::Strategic);
                object
            }
        };
        if status {
            let status = object["status"].take();
            object = Value::clone(&known);
            object["status"] = status;
            schema::prune(path, &mut object);
        } else {
            keep_what_is_the_servers(&mut object, &known);
            as_stored(path, &mut object);
            if is_held_up_anew(&object, &known) || changes_what_stays(path, &object, &known) {
                return refusal(422, reason(422), name_of(path));
            }
            if counts_generations(path) && is_new_generation(path, &object, &known) {
                object["metadata"]["generation"] = (known["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
            }
        }
        // What changes nothing is no write.
        if object == *known { (200, object) } else { self.store(path, object) }
    }

    /// Its dependents are collected later, by whoever plays the garbage collector.
    fn delete(&mut self, path: &str, known: &Value) -> Reply {
        let is_held = known["metadata"]["finalizers"].as_array().is_some_and(|it| !it.is_empty());
        let mut object = known.clone();
        if !is_held {
            // At once, and never marked.
            self.change(path, object, true);
            let details = json!({"name": name_of(path), "uid": known["metadata"]["uid"]});
            return (200, json!({"kind": "Status", "status": "Success", "details": details}));
        }
        let metadata = &mut object["metadata"];
        if !metadata["deletionTimestamp"].is_null() {
            return (200, object);
        }
        metadata["deletionTimestamp"] = self.clock.now().to_rfc3339_opts(SecondsFormat::Secs, true).into();
        metadata["deletionGracePeriodSeconds"] = 0.into();
        // That it is to go is something that its controller has to look at (`rest.BeforeDelete`).
        if let Some(generation) = metadata["generation"].as_i64() {
            metadata["generation"] = (generation + 1).into();
        }
        self.store(path, object)
    }
}

/// Of an object that is in no namespace: its collection.
fn clustered(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(collection, _)| collection).filter(|it| {
        let plural = it.rsplit_once('/').map(|(_, plural)| plural);
        matches!(plural, Some("validatingadmissionpolicies" | "validatingadmissionpolicybindings"))
    })
}

/// Whether a path is of a collection, over all namespaces or in one.
fn is_collection(path: &str) -> bool {
    clustered(path).is_none() && path.split_once("/namespaces/").is_none_or(|(_, rest)| rest.split('/').count() == 2)
}

/// What comes of an object on its way into the store.
fn as_stored(path: &str, object: &mut Value) {
    patch::complete(path, object);
    schema::prune(path, object);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|_, it| *it != json!({}) && *it != json!([]));
    }
}
