//! On what, and of what, was measured.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Acceptance;
use crate::workbench::repository;

/// On what, and of what, was measured.
#[derive(Clone, Debug)]
pub struct Setting {
    /// How many deployments.
    pub deployments: usize,
    /// Who accepts the routes.
    pub acceptance: Acceptance,
    cores: usize,
    processor: String,
    memory: u64,
    commit: String,
    date: DateTime<Utc>,
}

impl Setting {
    /// This machine, this commit, now.
    ///
    /// # Errors
    /// When `/proc` does not tell.
    pub fn here(deployments: usize, acceptance: Acceptance) -> Result<Self> {
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let processor = field(&std::fs::read_to_string("/proc/cpuinfo")?, "model name");
        let memory = field(&std::fs::read_to_string("/proc/meminfo")?, "MemTotal");
        let kilobytes: u64 = memory.and_then(|it| it.split(' ').next()?.parse().ok()).context("no MemTotal")?;
        Ok(Self {
            deployments,
            acceptance,
            cores: std::thread::available_parallelism()?.get(),
            processor: processor.unwrap_or_else(|| "unknown processor".into()),
            memory: kilobytes * 1024,
            commit: commit(),
            date: Utc::now(),
        })
    }
}

/// The commit, with a mark when the checkout differs from it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(repository()).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".into() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|it| !it.is_empty());
    if changed { format!("{commit}, changed") } else { commit }
}

impl Setting {
    /// Writes figures of this setting into a file of their own.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn keep(&self, dir: &Path, what: &str, figures: &Value) -> Result<PathBuf> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join(format!("{}-{what}.json", self.date.format("%Y%m%dT%H%M%SZ")));
        let text = serde_json::to_string_pretty(figures)?;
        std::fs::write(&path, text + "\n").with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }

    /// For machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let Self { deployments, acceptance, cores, processor, memory, commit, date } = self;
        json!({
            "deployments": deployments, "acceptance": format!("{acceptance:?}"), "cores": cores,
            "processor": processor, "memoryBytes": memory, "commit": commit, "date": date,
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = match self.acceptance {
            Acceptance::Envoy => "routes accepted by Envoy",
            Acceptance::Writer => "routes accepted by a writer of statuses",
        };
        write!(
            f,
            "{} cores ({}), {:.0} GB; {routes}; commit {}, {}",
            self.cores,
            self.processor,
            self.memory as f64 / 1e9,
            self.commit,
            self.date.format("%Y-%m-%d %H:%M UTC")
        )
    }
}
