//! A pod's volumes: directories below the pod's own.
//!
//! A claim is a directory of the node, the same for every pod that names it: what storage of access
//! mode ReadWriteMany is to a cluster.
//!
//! ConfigMaps, Secrets and the downward API are written once, when the pod
//! starts; later changes do not reach a running pod (tokens are renewed, see
//! `token`). File modes of the manifest are not applied: everything a pod has is
//! readable by the user who runs the workbench and by nobody else.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, HostPathVolumeSource, Pod, Volume, VolumeProjection};

use super::{
    facts::Facts,
    field,
    lookup::{Data, Kind, Lookup, files},
    token::TokenFile,
};

/// The ConfigMap that a controller of a full cluster writes into every namespace.
const ROOT_CA: &str = "kube-root-ca.crt";

/// What volumes are made from.
pub(super) struct Sources<'a> {
    pub(super) pod: &'a Pod,
    pub(super) facts: &'a Facts,
    pub(super) lookup: &'a Lookup,
    /// The directory that holds one directory per volume.
    pub(super) dir: PathBuf,
    /// The directory that holds one directory per claim of the pod's namespace.
    pub(super) claims: &'a Path,
    pub(super) host_paths: &'a [PathBuf],
    pub(super) ca_pem: &'a str,
}

/// Where a pod's volumes are, and the tokens that have yet to be put there.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    pub(super) by_name: BTreeMap<String, PathBuf>,
    pub(super) tokens: Vec<TokenFile>,
}

impl Sources<'_> {
    /// Makes every volume of the pod.
    pub(super) async fn prepare(&self) -> anyhow::Result<Volumes> {
        let mut made = Volumes::default();
        for volume in self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let place = self
                .make(volume, &mut made.tokens)
                .await
                .with_context(|| format!("MountVolume.SetUp failed for volume {:?}", volume.name))?;
            made.by_name.insert(volume.name.clone(), place);
        }
        Ok(made)
    }

    async fn make(&self, volume: &Volume, tokens: &mut Vec<TokenFile>) -> anyhow::Result<PathBuf> {
        if let Some(path) = &volume.host_path {
            return self.host_path(path);
        }
        let dir = match &volume.persistent_volume_claim {
            Some(claim) => inside(self.claims, &claim.claim_name)?,
            None => self.dir.join(&volume.name),
        };
        tokio::fs::create_dir_all(&dir).await?;
        let mut data = Data::new();
        if let Some(map) = &volume.config_map {
            data = self.object(Kind::ConfigMap, &map.name, map.items.as_deref(), map.optional).await?;
        } else if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            data = self.object(Kind::Secret, name, secret.items.as_deref(), secret.optional).await?;
        } else if let Some(downward) = &volume.downward_api {
            data = self.downward(downward.items.as_deref().unwrap_or_default())?;
        } else if let Some(projected) = &volume.projected {
            for source in projected.sources.iter().flatten() {
                data.extend(self.projection(source, &dir, tokens).await?);
            }
        }
        for (path, bytes) in data {
            write(&dir, &path, &bytes).await?;
        }
        Ok(dir)
    }

    async fn projection(
        &self,
        source: &VolumeProjection,
        dir: &Path,
        tokens: &mut Vec<TokenFile>,
    ) -> anyhow::Result<Data> {
        if let Some(map) = &source.config_map {
            return self.object(Kind::ConfigMap, &map.name, map.items.as_deref(), map.optional).await;
        }
        if let Some(secret) = &source.secret {
            return self.object(Kind::Secret, &secret.name, secret.items.as_deref(), secret.optional).await;
        }
        if let Some(downward) = &source.downward_api {
            return self.downward(downward.items.as_deref().unwrap_or_default());
        }
        if let Some(token) = &source.service_account_token {
            tokens.push(TokenFile {
                path: inside(dir, &token.path)?,
                audience: token.audience.clone(),
                seconds: token.expiration_seconds,
            });
            return Ok(Data::new());
        }
        bail!("a projected source is none of configMap, secret, downwardAPI, serviceAccountToken")
    }

    async fn object(
        &self,
        kind: Kind,
        name: &str,
        items: Option<&[k8s_openapi::api::core::v1::KeyToPath]>,
        optional: Option<bool>,
    ) -> anyhow::Result<Data> {
        let optional = optional == Some(true);
        // Its controller is not part of every control plane; the node knows the CA anyway.
        let known = kind == Kind::ConfigMap && name == ROOT_CA;
        let found = self.lookup.data(kind, name, optional || known).await?;
        let stand_in = || known.then(|| Data::from([("ca.crt".to_owned(), self.ca_pem.as_bytes().to_vec())]));
        files(found.or_else(stand_in).unwrap_or_default(), items, optional)
            .with_context(|| format!("{kind:?} {name:?}"))
    }

    fn downward(&self, items: &[DownwardAPIVolumeFile]) -> anyhow::Result<Data> {
        items
            .iter()
            .map(|item| {
                let field = item.field_ref.as_ref().ok_or_else(|| {
                    anyhow!("resourceFieldRef of {:?} is not supported by this node: use fieldRef", item.path)
                })?;
                let value =
                    field::resolve(&field.field_path, self.pod, self.facts).map_err(|message| anyhow!(message))?;
                Ok((item.path.clone(), value.into_bytes()))
            })
            .collect()
    }

    fn host_path(&self, source: &HostPathVolumeSource) -> anyhow::Result<PathBuf> {
        let path = Path::new(&source.path);
        let allowed = |path: &Path| self.host_paths.iter().any(|root| path.starts_with(root));
        ensure!(
            allowed(path) && !path.components().any(|part| part == Component::ParentDir),
            "hostPath {} is not below a directory this node allows: allow it in the node's options",
            source.path
        );
        if source.type_.as_deref() == Some("DirectoryOrCreate") {
            std::fs::create_dir_all(path)?;
        }
        let real = path.canonicalize().with_context(|| format!("hostPath {} cannot be reached", source.path))?;
        let below =
            self.host_paths.iter().filter_map(|root| root.canonicalize().ok()).any(|root| real.starts_with(root));
        ensure!(below, "hostPath {} leads out of the directories this node allows", source.path);
        Ok(real)
    }
}

/// A path of the API joined to a directory that it must not leave.
pub(super) fn inside(dir: &Path, path: &str) -> anyhow::Result<PathBuf> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    ensure!(plain, "the path {path:?} must be relative and stay inside its volume");
    Ok(dir.join(path))
}

async fn write(dir: &Path, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = inside(dir, path)?;
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    tokio::fs::write(&path, bytes).await.with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_manifest_cannot_leave_its_volume() {
        let dir = Path::new("/run/pod/volumes/v");
        assert_eq!(inside(dir, "a/b").unwrap(), dir.join("a/b"));
        for bad in ["../x", "/etc/passwd", "a/../../x"] {
            assert!(inside(dir, bad).is_err(), "{bad}");
        }
    }
}
