//! What Go builds and fetches: the control plane, Helm, Prometheus, the CRDs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::cache::{Cache, digest};
use super::progress::shown;
use crate::process::{Command, Supervisor, on_path};

/// One binary to build from a Go module of this repository.
pub(super) struct Module<'a> {
    /// The name of the binary, and the beginning of the cache entry's.
    pub(super) name: &'static str,
    /// What it is, for people.
    pub(super) title: &'a str,
    /// How long building it takes on an empty build cache.
    pub(super) usually: &'a str,
    pub(super) directory: PathBuf,
    pub(super) package: &'a str,
    pub(super) ldflags: &'a str,
    /// Further names for a binary that acts by its name.
    pub(super) names: &'a [&'a str],
}

/// The cache directory with the module's binary, built if it is not there.
pub(super) async fn build(cache: &Cache, supervisor: &Supervisor, module: &Module<'_>) -> Result<PathBuf> {
    // Not the version of Go: what is there must be found where there is no Go (any more).
    let entry = format!("{}-{}", module.name, digest(&module.directory, &[module.package, module.ldflags])?);
    let fill = async |into: &Path| -> Result<()> {
        check_go(supervisor, &module.directory).await?;
        let line = format!(
            "building {} from source, because it is neither on PATH nor in {}; once, usually {}",
            module.title,
            cache.root().display(),
            module.usually
        );
        shown(&line, compile(cache, supervisor, module, &entry, into)).await?;
        for name in module.names {
            std::os::unix::fs::symlink(module.name, into.join(name))?;
        }
        Ok(())
    };
    cache.filled(&entry, module.title, fill).await
}

async fn compile(cache: &Cache, supervisor: &Supervisor, module: &Module<'_>, entry: &str, into: &Path) -> Result<()> {
    // -buildvcs=false: the module's own version is not in the binary, so no
    // git is needed; -mod=readonly: go.mod and go.sum are what was reviewed.
    let command = Command::new("go", cache.log(entry))
        .args(["build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags"])
        .arg(module.ldflags)
        .arg("-o")
        .arg(into.join(module.name))
        .arg(module.package)
        .cwd(&module.directory);
    let process = supervisor.spawn(command)?;
    if process.wait().await.success() {
        return Ok(());
    }
    Err(process.ended_early())
}

/// Whether Go can build the module in `directory`. Asked there,
/// because Go may switch to a newer toolchain for it.
async fn check_go(supervisor: &Supervisor, directory: &Path) -> Result<()> {
    let go_mod = std::fs::read_to_string(directory.join("go.mod"))
        .with_context(|| format!("there is no Go module in {}", directory.display()))?;
    let minimum = go_mod.lines().find_map(|line| line.strip_prefix("go ")).unwrap_or_default();
    if on_path("go").is_none() {
        bail!("Go {minimum} or newer is needed: install it from https://go.dev/dl and put it on PATH");
    }
    let output = go(supervisor, directory, &["env", "GOVERSION"]).await?;
    if !output.status.success() {
        bail!(
            "Go {minimum} or newer is needed, and the one on PATH says: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

async fn go(supervisor: &Supervisor, directory: &Path, args: &[&str]) -> Result<std::process::Output> {
    supervisor.output("go", |it| it.args(args.iter().copied()).cwd(directory)).await
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    version: Option<String>,
    dir: Option<PathBuf>,
    error: Option<String>,
}

/// Files of a module that `directory`'s go.mod requires (and whose content its
/// go.sum pins), copied into the cache: needed once, then Go is not.
pub(super) async fn files_of_module(
    cache: &Cache,
    supervisor: &Supervisor,
    directory: &Path,
    module: &str,
    wanted: &Path,
) -> Result<PathBuf> {
    let name = module.rsplit('/').next().unwrap_or(module);
    let entry = format!("{name}-{}", digest(directory, &[module])?);
    let fill = async |into: &Path| {
        check_go(supervisor, directory).await?;
        let line = format!(
            "fetching the Go module {module}, because it is not in {}; once, usually under a minute",
            cache.root().display()
        );
        shown(&line, fetch(supervisor, directory, module, wanted, into)).await
    };
    cache.filled(&entry, module, fill).await
}

/// Puts the wanted files of a module into a directory.
async fn fetch(supervisor: &Supervisor, directory: &Path, module: &str, wanted: &Path, into: &Path) -> Result<()> {
    let output = go(supervisor, directory, &["mod", "download", "-json", module]).await?;
    let answer: Downloaded = serde_json::from_slice(&output.stdout).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        format!("cannot fetch the Go module {module}: {said}")
    })?;
    let Some(dir) = answer.dir else {
        let error = answer.error.unwrap_or_default();
        bail!("cannot fetch the Go module {module}: {error}");
    };
    let source = dir.join(wanted);
    let files = std::fs::read_dir(&source)
        .with_context(|| format!("{module} {:?} has no {}", answer.version, wanted.display()))?;
    for file in files {
        let file = file?;
        std::fs::write(into.join(file.file_name()), std::fs::read(file.path())?)?;
    }
    Ok(())
}
