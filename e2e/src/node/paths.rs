//! Mount paths, rewritten to the directories that stand in for them.
//!
//! A process without a mount namespace sees the machine's files, so
//! `--model=/models/churn` must reach it as `--model=<the pod's directory>/…`.
//! A mount path is recognised where a path can begin: at the start of the text,
//! after a character that no path contains (`=`, `:`, a blank, a quote, …) or
//! after `://` (`file:///models`); and where it ends: at the end, before `/`, or
//! before a character that cannot belong to the same name. So `/models` is found
//! in `cat /models/x`, but not in `http://host/models` or `/models-old`.

use std::path::{Path, PathBuf};

/// The mounts of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts(Vec<(String, PathBuf)>);

impl Mounts {
    /// No mounts, of a pod whose files are all below `own`: paths that begin
    /// there are real already and are left alone, even where `/tmp` is mounted
    /// and `own` is below `/tmp`.
    pub(super) fn of_pod(own: &Path) -> Self {
        let mut mounts = Self::default();
        mounts.add(&own.to_string_lossy(), own.to_owned());
        mounts
    }

    /// Adds a mount. Longer paths win over the paths they are below of.
    pub(super) fn add(&mut self, mount_path: &str, real: PathBuf) {
        let path = mount_path.trim_end_matches('/').to_owned();
        if !path.is_empty() {
            self.0.push((path, real));
            self.0.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        }
    }

    /// Where `path` really is, if it is below a mount.
    pub(super) fn find(&self, path: &str) -> Option<PathBuf> {
        self.0.iter().find_map(|(mount, real)| match path.strip_prefix(mount.as_str())? {
            "" => Some(real.clone()),
            rest => Some(real.join(rest.strip_prefix('/')?)),
        })
    }

    /// `text` with every mount path in it rewritten.
    pub(super) fn rewrite(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let found = can_begin(&out, text.len() - rest.len()).then(|| self.at_start(rest)).flatten();
            if let Some((real, after)) = found {
                out.push_str(&real.to_string_lossy());
                rest = after;
            } else {
                out.push(next);
                rest = rest.strip_prefix(next).unwrap_or_default();
            }
        }
        out
    }

    fn at_start<'t>(&self, text: &'t str) -> Option<(&Path, &'t str)> {
        self.0.iter().find_map(|(mount, real)| {
            let after = text.strip_prefix(mount.as_str())?;
            (!after.starts_with(in_name)).then_some((real.as_path(), after))
        })
    }
}

fn in_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn can_begin(before: &str, consumed: usize) -> bool {
    match before.chars().next_back() {
        None => consumed == 0,
        Some('/') => before.ends_with("://"),
        Some(c) => !(in_name(c) || matches!(c, '}' | ')' | '~' | '*' | '?' | ']')),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mounts() -> Mounts {
        let mut mounts = Mounts::of_pod(Path::new("/tmp/run/pod"));
        mounts.add("/models", "/tmp/run/pod/volumes/m".into());
        mounts.add("/models/base/", "/tmp/run/pod/volumes/b".into());
        mounts.add("/tmp", "/tmp/run/pod/volumes/t".into());
        mounts
    }

    #[test]
    fn a_path_is_rewritten_wherever_a_path_can_begin() {
        for (text, wanted) in [
            ("/models", "/tmp/run/pod/volumes/m"),
            ("/models/v1", "/tmp/run/pod/volumes/m/v1"),
            ("--dir=/models/v1", "--dir=/tmp/run/pod/volumes/m/v1"),
            ("file:///models/v1", "file:///tmp/run/pod/volumes/m/v1"),
            ("cat /models/a '/models/b'", "cat /tmp/run/pod/volumes/m/a '/tmp/run/pod/volumes/m/b'"),
            ("/models:/models/base/x", "/tmp/run/pod/volumes/m:/tmp/run/pod/volumes/b/x"),
        ] {
            assert_eq!(mounts().rewrite(text), wanted);
        }
    }

    #[test]
    fn what_only_looks_like_a_mount_path_is_left_alone() {
        for text in ["/models-old", "/var/models", "http://host/models/v1", "${ROOT}/models", "models", "./models"] {
            assert_eq!(mounts().rewrite(text), text);
        }
    }

    #[test]
    fn the_pods_own_directory_is_real_even_below_a_mounted_tmp() {
        assert_eq!(mounts().rewrite("/tmp/run/pod/kubeconfig"), "/tmp/run/pod/kubeconfig");
        assert_eq!(mounts().rewrite("/tmp/x"), "/tmp/run/pod/volumes/t/x");
    }

    #[test]
    fn a_path_is_found_by_its_longest_mount() {
        assert_eq!(mounts().find("/models/base/x"), Some("/tmp/run/pod/volumes/b/x".into()));
        assert_eq!(mounts().find("/models/basement"), Some("/tmp/run/pod/volumes/m/basement".into()));
        assert_eq!(mounts().find("/etc"), None);
    }

    proptest! {
        #[test]
        fn text_without_a_mount_path_is_unchanged(text in "\\PC*") {
            prop_assume!(!text.contains("/models") && !text.contains("/tmp"));
            prop_assert_eq!(mounts().rewrite(&text), text);
        }

        #[test]
        fn rewriting_twice_is_rewriting_once(text in "( |=|:|/models|/tmp|/models/base|/x|y|://){0,8}") {
            let once = mounts().rewrite(&text);
            prop_assert_eq!(mounts().rewrite(&once), once);
        }
    }
}
