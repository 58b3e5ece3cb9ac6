//! The cache of built tools, outside the checkout.
//!
//! An entry is a directory named after what went into it. It is filled under
//! another name and renamed when complete, so that a build that was
//! interrupted never looks finished. A lock file per entry keeps two processes
//! from building the same thing; the kernel releases it with its holder,
//! however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::progress::say;

/// Where built tools are kept.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache at `WERKBANK_CACHE`, or else at `~/.cache/werkbank`
    /// (`XDG_CACHE_HOME` is honoured).
    ///
    /// # Errors
    ///
    /// When the directory cannot be made or none can be named.
    pub fn open() -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = set("WERKBANK_CACHE")
            .map(PathBuf::from)
            .or_else(|| set("XDG_CACHE_HOME").map(|dir| PathBuf::from(dir).join("werkbank")))
            .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache/werkbank")))
            .context("no directory for built tools: set WERKBANK_CACHE to one")?;
        Self::at(&root)
    }

    /// A cache at a directory of one's own.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made.
    pub fn at(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root)?;
        std::fs::create_dir_all(root.join("locks")).with_context(|| {
            format!("cannot make the cache {}: set WERKBANK_CACHE to a writable directory", root.display())
        })?;
        Ok(Self { root })
    }

    /// The directory of the cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The entry of this name, if it is complete.
    pub fn get(&self, entry: &str) -> Option<PathBuf> {
        let path = self.root.join(entry);
        path.is_dir().then_some(path)
    }

    /// Tries to take a lock; nothing if somebody else holds it.
    ///
    /// # Errors
    ///
    /// When the lock file cannot be opened.
    pub fn try_lock(&self, name: &str) -> Result<Option<File>> {
        let path = self.root.join("locks").join(name);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open the lock {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// The entry; filled first if it is not there, by one process at a time.
    ///
    /// # Errors
    ///
    /// When it cannot be filled, or not be put in its place.
    pub(super) async fn filled(
        &self,
        entry: &str,
        what: &str,
        fill: impl AsyncFnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(path) = self.get(entry) {
            return Ok(path);
        }
        let _lock = self.lock(entry, what).await?;
        if let Some(path) = self.get(entry) {
            return Ok(path);
        }
        let unfinished = self.begin(entry)?;
        fill(&unfinished).await?;
        self.publish(&unfinished, entry)
    }

    /// Waits for a lock, and says so if it has to wait.
    async fn lock(&self, name: &str, what: &str) -> Result<File> {
        let mut said = false;
        loop {
            if let Some(lock) = self.try_lock(name)? {
                return Ok(lock);
            }
            if !said {
                say(&format!("waiting: another process is getting {what}"));
                said = true;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// An empty directory to fill, of which [`Cache::publish`] makes the entry.
    /// The entry's lock must be held: leftovers of an interrupted build are removed.
    fn begin(&self, entry: &str) -> Result<PathBuf> {
        let path = self.root.join(format!(".unfinished-{entry}"));
        if path.exists() {
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove the unfinished {}", path.display()))?;
        }
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Makes a filled directory the entry, in one step.
    fn publish(&self, filled: &Path, entry: &str) -> Result<PathBuf> {
        let path = self.root.join(entry);
        std::fs::rename(filled, &path).with_context(|| format!("cannot put {} in its place", path.display()))?;
        Ok(path)
    }

    /// The file that takes the output of what fills an entry.
    pub(super) fn log(&self, entry: &str) -> PathBuf {
        self.root.join("logs").join(format!("{entry}.log"))
    }
}

/// A short digest of the files in a directory (their names and contents) and
/// of further inputs of a build.
pub(super) fn digest(directory: &Path, inputs: &[&str]) -> Result<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect())
        .with_context(|| format!("cannot read the sources in {}", directory.display()))?;
    files.retain(|path| path.is_file());
    files.sort();
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for path in files {
        add(path.file_name().unwrap_or_default().as_encoded_bytes());
        add(&std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    for input in inputs {
        add(input.as_bytes());
    }
    let digest = hash.finalize();
    Ok(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_build_leaves_nothing_that_looks_finished() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let unfinished = cache.begin("tool-1").unwrap();
        std::fs::write(unfinished.join("tool"), "half").unwrap();
        assert_eq!(cache.get("tool-1"), None);

        let again = cache.begin("tool-1").unwrap();
        assert_eq!(std::fs::read_dir(&again).unwrap().count(), 0);
        std::fs::write(again.join("tool"), "whole").unwrap();
        let entry = cache.publish(&again, "tool-1").unwrap();
        assert_eq!(cache.get("tool-1"), Some(entry));
    }

    #[test]
    fn a_lock_is_held_by_one_and_free_when_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let held = cache.try_lock("a").unwrap();
        assert!(held.is_some());
        assert!(cache.try_lock("a").unwrap().is_none());
        assert!(cache.try_lock("b").unwrap().is_some());
        drop(held);
        assert!(cache.try_lock("a").unwrap().is_some());
    }

    #[test]
    fn the_digest_changes_with_a_file_s_content_its_name_and_the_inputs() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("go.mod"), "module a").unwrap();
        let first = digest(dir.path(), &["go1.26"]).unwrap();
        assert_eq!(first, digest(dir.path(), &["go1.26"]).unwrap());
        assert_ne!(first, digest(dir.path(), &["go1.27"]).unwrap());
        std::fs::write(dir.path().join("go.mod"), "module b").unwrap();
        let second = digest(dir.path(), &["go1.26"]).unwrap();
        assert_ne!(first, second);
        std::fs::rename(dir.path().join("go.mod"), dir.path().join("go.work")).unwrap();
        assert_ne!(second, digest(dir.path(), &["go1.26"]).unwrap());
    }
}
