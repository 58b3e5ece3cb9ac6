//! What npm has and nobody else: an Azure Blob Storage for tests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cache::{Cache, digest};
use super::progress::shown;
use crate::process::{Command, Supervisor, on_path};

/// The packages of `directory`'s lock file, in the cache: `node_modules`. No script of theirs is run.
pub(super) async fn packages(cache: &Cache, supervisor: &Supervisor, name: &str, directory: &Path) -> Result<PathBuf> {
    let entry = format!("{name}-{}", digest(directory, &[])?);
    let fill = async |into: &Path| -> Result<()> {
        if on_path("npm").is_none() || on_path("node").is_none() {
            bail!("Node.js 20 or newer with npm is needed: install it from https://nodejs.org and put both on PATH");
        }
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(directory.join(file), into.join(file))
                .with_context(|| format!("there is no {file} in {}", directory.display()))?;
        }
        let line = format!(
            "fetching {name} from npm, because it is not in {}; once, usually under a minute",
            cache.root().display()
        );
        let install = Command::new("npm", cache.log(&entry))
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .cwd(into);
        shown(&line, async {
            let process = supervisor.spawn(install)?;
            if process.wait().await.success() { Ok(()) } else { Err(process.ended_early()) }
        })
        .await
    };
    cache.filled(&entry, name, fill).await
}
