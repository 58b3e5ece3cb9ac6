use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A store directory beside a model directory.
struct World {
    root: tempfile::TempDir,
}

impl World {
    fn with(files: &[(&str, &str)]) -> Self {
        let world = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(world.store()).unwrap();
        fs::create_dir_all(world.model()).unwrap();
        for (path, text) in files {
            let path = world.store().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        world
    }

    fn store(&self) -> PathBuf {
        self.root.path().join("store")
    }

    fn model(&self) -> PathBuf {
        self.root.path().join("model")
    }

    fn args(&self, path: &str, digest: Sha256Digest) -> FetchArgs {
        FetchArgs {
            uri: Some(format!("file://{}/{path}", self.store().display())),
            sha256: Some(digest.to_string()),
            to: Some(self.model()),
            max_bytes: "1000".to_owned(),
        }
    }

    async fn refused(&self, path: &str, digest: Sha256Digest) -> Reason {
        let failure = fetch(&self.args(path, digest)).await.unwrap_err();
        assert!(!self.model().join(STAGING_DIR).exists(), "staged bytes stay behind");
        failure.reason
    }

    fn in_model(&self) -> BTreeMap<String, String> {
        let files = list_directory(&self.model()).unwrap();
        files.into_keys().map(|path| (path.clone(), fs::read_to_string(self.model().join(path)).unwrap())).collect()
    }
}

fn of(files: &[(&str, &str)]) -> Sha256Digest {
    directory_digest(files.iter().map(|(path, text)| (path, Sha256Digest::of(text.as_bytes()))))
}

const CHURN: [(&str, &str); 3] = [("v1/a.bin", "aaa"), ("v1/sub/b.bin", "bb"), ("v1/a/z", "")];
const CHURN_V1: [(&str, &str); 3] = [("a.bin", "aaa"), ("sub/b.bin", "bb"), ("a/z", "")];

#[tokio::test]
async fn a_file_lands_under_its_own_name() {
    let world = World::with(&[("model.json", "{}")]);
    let fetched = fetch(&world.args("model.json", Sha256Digest::of(b"{}"))).await.unwrap();
    assert_eq!(fetched, Fetched { path: world.model().join("model.json"), bytes: 2 });
    assert_eq!(world.in_model(), [("model.json".to_owned(), "{}".to_owned())].into());
}

#[tokio::test]
async fn a_directory_lands_under_its_own_name_with_or_without_the_slash() {
    for uri in ["v1", "v1/"] {
        let world = World::with(&CHURN);
        fetch(&world.args(uri, of(&CHURN_V1))).await.unwrap();
        assert_eq!(world.in_model(), CHURN.map(|(path, text)| (path.to_owned(), text.to_owned())).into());
    }
}

#[tokio::test]
async fn a_restart_fetches_nothing_again_even_if_the_store_is_gone() {
    let world = World::with(&CHURN);
    let args = world.args("v1", of(&CHURN_V1));
    fetch(&args).await.unwrap();
    fs::remove_dir_all(world.store()).unwrap();
    assert_eq!(fetch(&args).await.unwrap().bytes, 0);
}

#[tokio::test]
async fn wrong_content_at_the_place_is_replaced() {
    let world = World::with(&CHURN);
    let args = world.args("v1", of(&CHURN_V1));
    fs::write(world.model().join("v1"), "a file where the directory belongs").unwrap();
    fetch(&args).await.unwrap();
    fs::write(world.model().join("v1/added"), "x").unwrap();
    assert_eq!(fetch(&args).await.unwrap().bytes, 5);
    assert_eq!(world.in_model().len(), 3);
}

#[tokio::test]
async fn leftovers_of_a_killed_run_do_not_matter() {
    let world = World::with(&CHURN);
    fs::create_dir_all(world.model().join(STAGING_DIR).join("v1")).unwrap();
    fs::write(world.model().join(STAGING_DIR).join("v1/a.bin"), "half").unwrap();
    fetch(&world.args("v1", of(&CHURN_V1))).await.unwrap();
    assert_eq!(world.in_model().len(), 3);
}

#[tokio::test]
async fn other_bytes_fewer_bytes_and_another_file_are_mismatches_that_leave_nothing() {
    for bytes in ["{]", "{", "{}x", ""] {
        let world = World::with(&[("model.json", bytes)]);
        assert_eq!(world.refused("model.json", Sha256Digest::of(b"{}")).await, Reason::ArtifactDigestMismatch);
        assert!(world.in_model().is_empty());
    }
    let world = World::with(&CHURN);
    fs::write(world.store().join("v1/extra"), "").unwrap();
    assert_eq!(world.refused("v1", of(&CHURN_V1)).await, Reason::ArtifactDigestMismatch);
}

#[tokio::test]
async fn a_mismatch_leaves_what_was_there() {
    let world = World::with(&[("model.json", "new")]);
    fs::write(world.model().join("model.json"), "old").unwrap();
    assert_eq!(world.refused("model.json", Sha256Digest::of(b"other")).await, Reason::ArtifactDigestMismatch);
    assert_eq!(world.in_model()["model.json"], "old");
}

#[tokio::test]
async fn missing_and_empty_are_not_found() {
    let world = World::with(&[("model.json", "{}")]);
    fs::create_dir(world.store().join("empty")).unwrap();
    for path in ["gone", "empty", "empty/", "model.json/", "model.json/x"] {
        assert_eq!(world.refused(path, Sha256Digest::of(b"{}")).await, Reason::ArtifactNotFound, "{path}");
    }
}

#[tokio::test]
async fn more_bytes_than_allowed_are_too_large() {
    let world = World::with(&CHURN);
    let mut args = world.args("v1", of(&CHURN_V1));
    args.max_bytes = "4".to_owned();
    assert_eq!(fetch(&args).await.unwrap_err().reason, Reason::ArtifactTooLarge);
    args.max_bytes = "5".to_owned();
    assert!(fetch(&args).await.is_ok());
}

#[tokio::test]
async fn a_link_out_of_the_directory_is_not_followed() {
    let world = World::with(&CHURN);
    symlink("/etc/hostname", world.store().join("v1/link")).unwrap();
    assert_eq!(world.refused("v1", of(&CHURN_V1)).await, Reason::ArtifactInvalidUri);
    assert!(world.in_model().is_empty());
}

#[tokio::test]
async fn a_link_at_the_target_is_replaced_not_written_through() {
    let world = World::with(&[("model.json", "{}")]);
    let outside = world.root.path().join("outside");
    fs::write(&outside, "{}").unwrap();
    symlink(&outside, world.model().join("model.json")).unwrap();
    fetch(&world.args("model.json", Sha256Digest::of(b"{}"))).await.unwrap();
    assert!(!world.model().join("model.json").is_symlink());
}

#[tokio::test]
async fn strange_names_in_the_directory_are_refused() {
    for name in ["v1/a\nb", "v1/a\\b", "v1/a%2fb", "v1/.werkbank-fetch"] {
        let world = World::with(&[(name, "x")]);
        assert_eq!(world.refused("v1", Sha256Digest::of(b"")).await, Reason::ArtifactInvalidUri, "{name}");
    }
}

#[tokio::test]
async fn bad_arguments_say_which() {
    let world = World::with(&[("model.json", "{}")]);
    let good = world.args("model.json", Sha256Digest::of(b"{}"));
    for (args, word) in [
        (FetchArgs { uri: None, ..good.clone() }, "--uri"),
        (FetchArgs { uri: Some("ftp://a/b".to_owned()), ..good.clone() }, "s3://"),
        (FetchArgs { uri: Some("file:///a/../b".to_owned()), ..good.clone() }, ".."),
        (FetchArgs { sha256: None, ..good.clone() }, "--sha256"),
        (FetchArgs { sha256: Some("abc".to_owned()), ..good.clone() }, "64 hex digits"),
        (FetchArgs { to: None, ..good.clone() }, "--to"),
        (FetchArgs { max_bytes: "5G".to_owned(), ..good.clone() }, "--max-bytes"),
    ] {
        let failure = fetch(&args).await.unwrap_err();
        assert_eq!(failure.reason, Reason::ArtifactInvalidUri);
        assert!(failure.message.contains(word), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_says_so() {
    let world = World::with(&[("model.json", "{}")]);
    let mut args = world.args("model.json", Sha256Digest::of(b"{}"));
    // A file where the directory belongs: works for root too, whom permissions do not stop.
    args.to = Some(world.store().join("model.json"));
    assert_eq!(fetch(&args).await.unwrap_err().reason, Reason::ArtifactNotWritable);
}

#[tokio::test]
async fn the_server_may_read_what_another_user_fetched() {
    let world = World::with(&CHURN);
    fetch(&world.args("v1", of(&CHURN_V1))).await.unwrap();
    let mode = |path: &str| fs::metadata(world.model().join(path)).unwrap().permissions().mode() & 0o444;
    assert_eq!((mode("v1/a.bin"), mode("v1")), (0o444, 0o444));
}

#[tokio::test]
async fn who_is_told_to_end_in_the_middle_ends_and_leaves_nothing() {
    let world = World::with(&CHURN);
    let staging = world.model().join(STAGING_DIR);
    let in_the_middle = async {
        while !staging.exists() {
            tokio::task::yield_now().await;
        }
        143
    };
    assert_eq!(fetch_until(&world.args("v1", of(&CHURN_V1)), in_the_middle).await, Err(143));
    assert!(!staging.exists() && world.in_model().is_empty());
    let never = std::future::pending();
    assert!(matches!(fetch_until(&world.args("v1", of(&CHURN_V1)), never).await, Ok(Ok(_))));
}
