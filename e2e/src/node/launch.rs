//! One start of a container: from its manifest to a process that can be spawned.
//!
//! Everything here is done anew at each start, so that a container that waits
//! for an image or a ConfigMap goes on when it is there. What stands in the way
//! is a [`Refusal`]: the reason and sentence its status will show.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{
    agent::Node,
    environment::{self, Variables, expand},
    facts::SharedFacts,
    image::Image,
    lookup::Lookup,
    paths::Mounts,
    process::{Exit, Invocation},
    volume::{Volumes, inside},
};

/// The longest termination message, in bytes.
const MESSAGE_LIMIT: usize = 4096;
/// How much of a log stands in for a termination message, as in the kubelet.
const LOG_LIMIT: usize = 2048;

/// Everything a pod's containers share.
pub(super) struct PodContext {
    pub(super) node: Arc<Node>,
    pub(super) pod: Arc<Pod>,
    /// The pod's own directory.
    pub(super) dir: PathBuf,
    pub(super) facts: SharedFacts,
}

/// Why a container cannot start now.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// A container, ready to be spawned.
pub(super) struct Launch {
    pub(super) invocation: Invocation,
    pub(super) image_id: String,
    /// Where it may leave its termination message.
    pub(super) message_file: PathBuf,
}

impl PodContext {
    pub(super) fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(super) fn address(&self) -> Ipv4Addr {
        self.facts.borrow().address
    }

    /// What the pod's ConfigMaps and Secrets are read with.
    pub(super) fn lookup(&self) -> Lookup {
        Lookup::new(self.node.client.clone(), self.namespace())
    }

    /// Where the pod's kubeconfig is, if it has one.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("serviceaccount/kubeconfig")
    }

    /// Makes everything ready for start number `restart` of a container.
    pub(super) async fn launch(
        &self,
        container: &Container,
        volumes: &Volumes,
        restart: i32,
    ) -> Result<Launch, Refusal> {
        let (image, image_id) = self.image(container).await?;
        let message_file = self.dir.join("termination").join(&container.name);
        let home = self.dir.join("home").join(&container.name);
        self.fresh_files(&message_file, &home).map_err(|error| refuse("CreateContainerError", &error))?;
        let mounts =
            self.mounts(container, volumes, &message_file).map_err(|error| refuse("CreateContainerError", &error))?;

        let given = self.given(&image, &message_file, &home);
        let facts = self.facts.borrow().clone();
        let raw = environment::gather(container, &self.pod, &facts, &self.lookup(), given)
            .await
            .map_err(|error| refuse("CreateContainerConfigError", &error))?;
        let (program, args) = image
            .invocation(
                container.image.as_deref().unwrap_or_default(),
                container.command.as_deref().unwrap_or_default(),
                container.args.as_deref(),
            )
            .map_err(|message| Refusal { reason: "CreateContainerError", message })?;

        let invocation = Invocation {
            program,
            args: args.iter().map(|arg| mounts.rewrite(&expand(arg, &raw))).collect(),
            env: raw.iter().map(|(name, value)| (name.clone(), mounts.rewrite(value))).collect(),
            log: self.dir.join(format!("{}.{restart}.log", container.name)),
            cwd: container.working_dir.as_deref().and_then(|dir| mounts.find(dir)).unwrap_or(home),
        };
        Ok(Launch { invocation, image_id, message_file })
    }

    async fn image(&self, container: &Container) -> Result<(Image, String), Refusal> {
        let name = container.image.as_deref().unwrap_or_default();
        let Some(image) = self.node.options.images.get(name) else {
            let message = format!(
                "failed to pull image {name:?}: node {} has no such image: add it to the node's images or correct the name",
                self.node.options.name
            );
            return Err(Refusal { reason: "ErrImagePull", message });
        };
        let id = self.node.digests.image_id(name, &image.binary).await;
        let id = id.map_err(|error| refuse("ErrImagePull", &error))?;
        Ok((image.clone(), id))
    }

    fn fresh_files(&self, message_file: &Path, home: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(self.dir.join("termination"))?;
        std::fs::create_dir_all(self.dir.join("tmp"))?;
        std::fs::create_dir_all(home)?;
        std::fs::write(message_file, "")?;
        Ok(())
    }

    fn mounts(&self, container: &Container, volumes: &Volumes, message_file: &Path) -> anyhow::Result<Mounts> {
        let mut mounts = Mounts::of_pod(&self.dir);
        for mount in container.volume_mounts.iter().flatten() {
            // The API server has checked that the volume exists.
            let Some(dir) = volumes.by_name.get(&mount.name) else {
                continue;
            };
            let real = match mount.sub_path.as_deref() {
                Some(path) if !path.is_empty() => inside(dir, path)?,
                _ => dir.clone(),
            };
            mounts.add(&mount.mount_path, real);
        }
        let message_path = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
        mounts.add(message_path, message_file.to_owned());
        Ok(mounts)
    }

    /// What a container has before its own `env`: what a container runtime
    /// would set, the stand-ins for namespaces, the image's own.
    fn given(&self, image: &Image, message_file: &Path, home: &Path) -> Variables {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut given = Variables::from([
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
            ("HOSTNAME".to_owned(), self.name().to_owned()),
            ("HOME".to_owned(), text(home)),
            ("TMPDIR".to_owned(), text(&self.dir.join("tmp"))),
            ("POD_IP".to_owned(), self.address().to_string()),
            ("TERMINATION_MESSAGE_PATH".to_owned(), text(message_file)),
        ]);
        if self.kubeconfig().exists() {
            given.insert("KUBECONFIG".to_owned(), text(&self.kubeconfig()));
        }
        let of_image: Vec<_> = image.env.iter().map(|(name, value)| (name.clone(), expand(value, &given))).collect();
        given.extend(of_image);
        given
    }
}

fn refuse(reason: &'static str, error: &anyhow::Error) -> Refusal {
    Refusal { reason, message: format!("{error:#}") }
}

/// The termination message: what the container wrote, or the end of its log if
/// it failed silently and its policy says so.
pub(super) fn termination_message(container: &Container, launch: &Launch, exit: Exit) -> Option<String> {
    let tail = |path: &Path, limit: usize| {
        let bytes = std::fs::read(path).unwrap_or_default();
        let start = bytes.len().saturating_sub(limit);
        String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned()
    };
    let written = tail(&launch.message_file, MESSAGE_LIMIT);
    let from_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    let message = if written.is_empty() && from_log && exit.code != 0 {
        let log = tail(&launch.invocation.log, LOG_LIMIT);
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(80)..).unwrap_or_default().join("\n")
    } else {
        written
    };
    (!message.is_empty()).then_some(message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(policy: &str, written: &str, log: &str, code: i32) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let (message_file, log_file) = (dir.path().join("m"), dir.path().join("l"));
        std::fs::write(&message_file, written).unwrap();
        std::fs::write(&log_file, log).unwrap();
        let container = serde_json::from_value(json!({"name": "c", "terminationMessagePolicy": policy})).unwrap();
        let invocation = Invocation {
            program: "x".into(),
            args: Vec::new(),
            env: Variables::new(),
            log: log_file,
            cwd: dir.path().to_owned(),
        };
        let launch = Launch { invocation, image_id: String::new(), message_file };
        termination_message(&container, &launch, Exit { code, signal: None })
    }

    #[test]
    fn what_the_container_wrote_is_its_message() {
        assert_eq!(message("FallbackToLogsOnError", "digest differs", "log", 1).as_deref(), Some("digest differs"));
        assert_eq!(message("File", "", "log", 1), None);
    }

    #[test]
    fn the_end_of_the_log_stands_in_only_for_silent_failures() {
        assert_eq!(message("FallbackToLogsOnError", "", "a\nb\n", 1).as_deref(), Some("a\nb"));
        assert_eq!(message("FallbackToLogsOnError", "", "a\nb\n", 0), None);
        let long = "x\n".repeat(5000);
        assert_eq!(message("FallbackToLogsOnError", "", &long, 1).unwrap().lines().count(), 80);
    }
}
