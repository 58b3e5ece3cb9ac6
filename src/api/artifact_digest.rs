//! The digest of an artifact: `spec.artifact.sha256`.
//!
//! Of a file it is the SHA-256 of its bytes. Of a directory it is the SHA-256
//! over one line per file,
//!
//! ```text
//! <sha256 of the file, 64 lower-case hex digits><space><space><path>\n
//! ```
//!
//! where `path` is relative to the directory, with `/` between segments and
//! without a leading `./`, and the *lines* are sorted by their bytes. Empty
//! directories, permissions and times do not count. Anyone can compute it with
//! coreutils; in the directory:
//!
//! ```sh
//! find . -type f -print0 | xargs -0 sha256sum | sed 's|  \./|  |' | LC_ALL=C sort | sha256sum
//! ```
//!
//! Paths with control characters or backslashes, which `sha256sum` would escape,
//! are refused before they get here ([`check_relative_path`](super::artifact::check_relative_path)).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// A SHA-256 digest; written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest([u8; 32]);

/// The text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the digest is not a SHA-256; write 64 hex digits, as `sha256sum` prints them")]
pub struct DigestError;

impl Sha256Digest {
    /// What a hasher has seen.
    #[must_use]
    pub fn of_hasher(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// The digest of a directory from its files' paths and digests, in any order.
pub fn directory_digest<P: AsRef<str>>(files: impl IntoIterator<Item = (P, Sha256Digest)>) -> Sha256Digest {
    let mut lines: Vec<String> =
        files.into_iter().map(|(path, digest)| format!("{digest}  {}\n", path.as_ref())).collect();
    lines.sort_unstable();
    let mut hasher = Sha256::new();
    for line in lines {
        hasher.update(line.as_bytes());
    }
    Sha256Digest::of_hasher(hasher)
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256Digest {
    type Err = DigestError;

    /// 64 hex digits of either case, also with `sha256:` before them.
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(DigestError);
        }
        let mut digest = [0; 32];
        for (slot, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| DigestError)?;
            *slot = u8::from_str_radix(pair, 16).map_err(|_| DigestError)?;
        }
        Ok(Self(digest))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn files() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
        prop::collection::btree_map("([a-zA-Z]{1,4}y/){0,2}[a-zA-Z0-9 äß._-]{1,6}x", any::<Vec<u8>>(), 1..6)
    }

    fn digest(files: &BTreeMap<String, Vec<u8>>) -> Sha256Digest {
        directory_digest(files.iter().map(|(path, bytes)| (path, Sha256Digest::of(bytes))))
    }

    fn digest_by_shell(dir: &std::path::Path) -> String {
        let pipeline = r"find . -type f -print0 | xargs -0 sha256sum | sed 's|  \./|  |' | LC_ALL=C sort | sha256sum";
        let output = Command::new("sh").args(["-c", pipeline]).current_dir(dir).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    }

    proptest! {
        #[test]
        fn the_order_in_which_files_are_seen_does_not_matter(files in files()) {
            let backwards = directory_digest(files.iter().rev().map(|(path, bytes)| (path, Sha256Digest::of(bytes))));
            prop_assert_eq!(digest(&files), backwards);
        }

        #[test]
        fn any_changed_byte_path_added_or_missing_file_changes_it(files in files(), pick in any::<prop::sample::Index>(), bit in 0u8..8) {
            let path = pick.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
            let mut edits = vec![files.clone(), files.clone(), files.clone(), files.clone()];
            let bytes = edits[0].get_mut(&path).unwrap();
            match bytes.last_mut() { Some(last) => *last ^= 1 << bit, None => bytes.push(0) }
            let moved = edits[1].remove(&path).unwrap();
            edits[1].insert(format!("{path}2"), moved);
            edits[2].insert(format!("{path}3"), vec![]);
            edits[3].remove(&path);
            for edited in edits {
                prop_assert_ne!(digest(&files), digest(&edited));
            }
        }

        #[test]
        fn a_digest_reads_back_as_it_prints(bytes in any::<Vec<u8>>()) {
            let digest = Sha256Digest::of(&bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
            prop_assert_eq!(format!("sha256:{}", digest.to_string().to_uppercase()).parse(), Ok(digest));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_shell_pipeline_agrees(files in files()) {
            let dir = tempfile::tempdir().unwrap();
            for (path, bytes) in &files {
                let path = dir.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
            prop_assert_eq!(digest(&files).to_string(), digest_by_shell(dir.path()));
        }
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in ["", "sha256:", "abc", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65), &"é".repeat(32)] {
            assert_eq!(text.parse::<Sha256Digest>(), Err(DigestError), "{text}");
        }
    }
}
