//! Versions of programs, from what they print.

use std::path::Path;
use std::time::Duration;

/// As much of a version as decides whether a program fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl Version {
    /// The first `<number>.<number>` in a text that stands at a word's start,
    /// after an optional `v` or `go`; words may be separated by slashes, as
    /// Envoy does it.
    pub(super) fn find_in(text: &str) -> Option<Self> {
        text.split(|c: char| c.is_whitespace() || c == '/' || c == '"' || c == ':').find_map(Self::parse)
    }

    fn parse(word: &str) -> Option<Self> {
        let word = word.strip_prefix("go").unwrap_or(word);
        let word = word.strip_prefix('v').unwrap_or(word);
        let mut parts = word.split(['.', '-', '+']);
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        Some(Self { major, minor })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The version a program reports, or nothing if it reports none within ten seconds.
pub(super) async fn of(program: &Path, args: &[&str]) -> Option<Version> {
    let output =
        tokio::process::Command::new(program).args(args).stdin(std::process::Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(10), output).await.ok()?.ok()?;
    Version::find_in(&String::from_utf8_lossy(&output.stdout))
        .or_else(|| Version::find_in(&String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_s_way_of_printing_its_version_is_understood() {
        for (printed, major, minor) in [
            ("Kubernetes v1.36.3", 1, 36),
            ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", 1, 32),
            ("etcd Version: 3.6.8\nGit SHA: Not provided", 3, 6),
            ("v4.3.1+g1234567", 4, 3),
            ("prometheus, version 3.5.0 (branch: HEAD, revision: 8be3a9560fbd)", 3, 5),
            ("envoy  version: 5c2d0e1b/1.40.0/Clean/RELEASE/BoringSSL", 1, 40),
            ("go version go1.26.8 linux/amd64", 1, 26),
            ("Python 3.11.7", 3, 11),
        ] {
            assert_eq!(Version::find_in(printed), Some(Version { major, minor }), "{printed}");
        }
    }

    #[test]
    fn a_text_without_a_version_has_none() {
        for printed in ["", "prometheus, version  (branch: , revision: unknown)", "v4"] {
            assert_eq!(Version::find_in(printed), None, "{printed}");
        }
    }
}
