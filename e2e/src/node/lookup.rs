//! ConfigMaps and Secrets, read when a container or volume needs them.
//!
//! Read anew at every start and never cached, so that a container that waits
//! for a missing object goes on as soon as it is there.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, Secret};
use kube::{Api, Client};

/// The data of one ConfigMap or Secret.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// Which kind of object, and how it is called in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

/// Reads the objects of one namespace.
#[derive(Clone)]
pub(super) struct Lookup {
    client: Client,
    namespace: String,
}

impl Lookup {
    /// For a pod of this namespace.
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// The object's data; none if it does not exist and may be absent.
    pub(super) async fn data(&self, kind: Kind, name: &str, optional: bool) -> anyhow::Result<Option<Data>> {
        let unread = || format!("{} {name:?} cannot be read", kind.word());
        let found = match kind {
            Kind::ConfigMap => self.config_map(name).await.with_context(unread)?,
            Kind::Secret => self.secret(name).await.with_context(unread)?,
        };
        if found.is_none() && !optional {
            bail!("{} {name:?} not found", kind.word());
        }
        Ok(found)
    }

    /// One key's value as text; none if it does not exist and may be absent.
    pub(super) async fn value(
        &self,
        kind: Kind,
        name: &str,
        key: &str,
        optional: bool,
    ) -> anyhow::Result<Option<String>> {
        let Some(mut data) = self.data(kind, name, optional).await? else {
            return Ok(None);
        };
        match data.remove(key) {
            Some(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            None if optional => Ok(None),
            None => bail!("couldn't find key {key} in {} {}/{name}", kind.word(), self.namespace),
        }
    }

    async fn config_map(&self, name: &str) -> kube::Result<Option<Data>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(api.get_opt(name).await?.map(|map| {
            let text = map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
            let binary = map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0));
            text.chain(binary).collect()
        }))
    }

    async fn secret(&self, name: &str) -> kube::Result<Option<Data>> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(name).await?;
        Ok(found.map(|secret| secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect()))
    }
}

/// The files that `items` (or, without them, every key) make of an object.
pub(super) fn files(data: Data, items: Option<&[KeyToPath]>, optional: bool) -> anyhow::Result<Data> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data);
    };
    let mut files = Data::new();
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => {
                files.insert(item.path.clone(), bytes.clone());
            }
            None if optional => {}
            None => bail!("references non-existent config key: {}", item.key),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Data {
        BTreeMap::from([("a".into(), b"1".to_vec()), ("b".into(), b"2".to_vec())])
    }

    fn item(key: &str, path: &str) -> KeyToPath {
        KeyToPath { key: key.into(), path: path.into(), mode: None }
    }

    #[test]
    fn without_items_every_key_is_a_file() {
        assert_eq!(files(data(), None, false).unwrap(), data());
    }

    #[test]
    fn items_choose_and_rename() {
        let chosen = files(data(), Some(&[item("b", "dir/two")]), false).unwrap();
        assert_eq!(chosen, BTreeMap::from([("dir/two".into(), b"2".to_vec())]));
    }

    #[test]
    fn a_missing_key_is_an_error_unless_optional() {
        assert!(files(data(), Some(&[item("c", "c")]), false).unwrap_err().to_string().contains("key: c"));
        assert!(files(data(), Some(&[item("c", "c")]), true).unwrap().is_empty());
    }
}
