//! The directory of one run, and the sweeping of those that were left behind.
//!
//! A run that ends by itself removes its directory. One that is killed cannot,
//! so every run holds a lock on its directory, and each start removes the
//! temporary directories whose lock nobody holds any more.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// What the names of temporary run directories begin with.
const PREFIX: &str = "werkbank-run-";

/// The directory of one run.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    temporary: bool,
    _lock: File,
}

impl RunDir {
    /// Makes a run's directory: the given one, which is kept, or a temporary
    /// one, which is removed.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or another run uses it.
    pub fn create(fixed: Option<&Path>) -> Result<Self> {
        let temporary = fixed.is_none();
        let path = match fixed {
            Some(path) => std::path::absolute(path)?,
            None => {
                sweep(&std::env::temp_dir());
                tempfile::Builder::new().prefix(PREFIX).tempdir()?.keep()
            }
        };
        // Keys and tokens are in it: nobody else may read it.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
        match lock(&path)? {
            Some(lock) => Ok(Self { path, temporary, _lock: lock }),
            None => bail!("another workbench runs in {}: end it or choose another directory", path.display()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it now, if it is temporary.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn remove(mut self) -> Result<()> {
        if !std::mem::take(&mut self.temporary) {
            return Ok(());
        }
        std::fs::remove_dir_all(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if self.temporary {
            // Nobody to tell; the next start sweeps what is left.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn lock(directory: &Path) -> Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Removes the directories of runs that were killed.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours && is_old(&entry.path()) && matches!(lock(&entry.path()), Ok(Some(_))) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Between its making and its locking a directory is not ours to judge, and
/// just after a kill the guards still end what writes to it.
fn is_old(path: &Path) -> bool {
    let age = |path: &Path| path.metadata().ok()?.modified().ok()?.elapsed().ok();
    age(path).is_some_and(|age| age > Duration::from_secs(15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aged(path: &Path) {
        let past = std::time::SystemTime::now() - Duration::from_secs(60);
        File::open(path).unwrap().set_modified(past).unwrap();
    }

    #[test]
    fn the_directory_of_a_killed_run_is_swept_and_that_of_a_living_one_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let killed = parent.path().join(format!("{PREFIX}killed"));
        let alive = parent.path().join(format!("{PREFIX}alive"));
        let foreign = parent.path().join("somebody-else");
        for dir in [&killed, &alive, &foreign] {
            std::fs::create_dir(dir).unwrap();
        }
        drop(lock(&killed).unwrap());
        let _held = lock(&alive).unwrap().unwrap();
        for dir in [&killed, &alive, &foreign] {
            aged(dir);
        }
        sweep(parent.path());
        assert!(!killed.exists());
        assert!(alive.exists());
        assert!(foreign.exists());
    }

    #[test]
    fn a_given_directory_is_kept_and_serves_one_run_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("mine");
        let first = RunDir::create(Some(&path)).unwrap();
        assert!(RunDir::create(Some(&path)).is_err());
        first.remove().unwrap();
        assert!(path.exists());
        assert!(RunDir::create(Some(&path)).is_ok());
    }
}
