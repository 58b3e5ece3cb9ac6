//! Image names and the local binaries they stand for.
//!
//! An image is an entrypoint binary with default arguments and environment, as
//! in a Dockerfile. A container's `command` may name that binary (by any path,
//! the base name counts) and nothing else: the machine's own tools are not in
//! the image, and a manifest that needs them would fail on a cluster whose image
//! is built from scratch.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// What an image name stands for on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The entrypoint.
    pub binary: PathBuf,
    /// Arguments when the container gives neither `command` nor `args`
    /// (Docker's `CMD`). `$(POD_IP)` and every variable of the container are expanded.
    pub args: Vec<String>,
    /// Environment that the container's own `env` overrides. `$(POD_IP)` is expanded.
    pub env: BTreeMap<String, String>,
}

impl Image {
    /// An image that is this binary.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), ..Self::default() }
    }

    /// The program and its unexpanded arguments for a container of this image,
    /// or a sentence that says what is wrong with its `command`.
    pub(super) fn invocation(
        &self,
        name: &str,
        command: &[String],
        args: Option<&[String]>,
    ) -> Result<(PathBuf, Vec<String>), String> {
        let Some((first, rest)) = command.split_first() else {
            return Ok((self.binary.clone(), args.unwrap_or(&self.args).to_vec()));
        };
        if Path::new(first).file_name() != self.binary.file_name() {
            let has = self.binary.file_name().unwrap_or_default().to_string_lossy();
            return Err(format!(
                "image {name:?} holds only the program {has:?}, not {first:?}: name it in command, or leave command out"
            ));
        }
        let args = args.unwrap_or_default();
        Ok((self.binary.clone(), rest.iter().chain(args).cloned().collect()))
    }
}

/// The digests of binaries, each computed once per modification.
#[derive(Debug, Default)]
pub(super) struct Digests(Mutex<BTreeMap<PathBuf, (SystemTime, String)>>);

impl Digests {
    /// What `imageID` shows for an image of this name and binary.
    pub(super) async fn image_id(&self, name: &str, binary: &Path) -> anyhow::Result<String> {
        let missing = || format!("the binary {} of image {name:?} cannot be read: build it first", binary.display());
        let modified = tokio::fs::metadata(binary).await.and_then(|meta| meta.modified()).with_context(missing)?;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(binary).cloned();
        let digest = match known {
            Some((at, digest)) if at == modified => digest,
            _ => {
                let path = binary.to_owned();
                let digest = tokio::task::spawn_blocking(move || digest(&path)).await?.with_context(missing)?;
                let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                cache.insert(binary.to_owned(), (modified, digest.clone()));
                digest
            }
        };
        Ok(format!("{}@sha256:{digest}", repository(name)))
    }
}

/// An image name without its tag or digest.
fn repository(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => break,
            n => hash.update(buffer.get(..n).unwrap_or_default()),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn server() -> Image {
        Image { args: words("--default"), ..Image::new("/opt/bin/model-server") }
    }

    #[test]
    fn without_a_command_the_entrypoint_runs_with_the_images_arguments() {
        let (program, args) = server().invocation("scorer:1", &[], None).unwrap();
        assert_eq!((program, args), ("/opt/bin/model-server".into(), words("--default")));
    }

    #[test]
    fn args_replace_the_images_arguments_and_command_replaces_both() {
        let given = words("--port 8080");
        assert_eq!(server().invocation("scorer:1", &[], Some(&given)).unwrap().1, given);
        let command = words("/model-server serve");
        assert_eq!(server().invocation("scorer:1", &command, None).unwrap().1, words("serve"));
        assert_eq!(server().invocation("scorer:1", &command, Some(&given)).unwrap().1, words("serve --port 8080"));
    }

    #[test]
    fn a_command_the_image_does_not_hold_is_refused_with_what_it_holds() {
        let message = server().invocation("scorer:1", &words("sh -c true"), None).unwrap_err();
        assert!(message.contains("\"model-server\"") && message.contains("\"sh\""), "{message}");
    }

    #[test]
    fn the_repository_is_the_name_without_tag_or_digest() {
        assert_eq!(repository("localhost:5000/scorer"), "localhost:5000/scorer");
        assert_eq!(repository("localhost:5000/scorer:1.4"), "localhost:5000/scorer");
        assert_eq!(repository("scorer:1.4@sha256:abc"), "scorer");
    }

    #[tokio::test]
    async fn the_image_id_follows_the_binarys_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bin");
        let digests = Digests::default();
        assert!(digests.image_id("scorer:1", &path).await.is_err());
        std::fs::write(&path, "abc").unwrap();
        let first = digests.image_id("scorer:1", &path).await.unwrap();
        assert_eq!(first, "scorer@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        std::fs::write(&path, "abcd").unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_ne!(digests.image_id("scorer:1", &path).await.unwrap(), first);
    }
}
