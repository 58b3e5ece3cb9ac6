//! The plugin against a real API server: what it shows, that a request is written in the requester's own
//! name, and its exit codes.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use werkbank_e2e::workbench::sibling;

use super::{PATCH, at, deployment, example, object, run, said};
use crate::apiserver::ApiServer;

fn binary() -> Result<PathBuf> {
    sibling("kubectl-werkbank")
}

fn command(cluster: &ApiServer) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(["--kubeconfig", &cluster.kubeconfig(), "-n", "crm"]);
    Ok(command)
}

fn plugin(cluster: &ApiServer, arguments: &[&str]) -> Result<Output> {
    Ok(command(cluster)?.args(arguments).output()?)
}

fn ends_with(cluster: &ApiServer, arguments: &[&str], code: i32, expected: &str) -> Result<()> {
    let output = plugin(cluster, arguments)?;
    let words = said(&output);
    ensure!(
        output.status.code() == Some(code) && words.contains(expected),
        "{arguments:?}: {}: {words}",
        output.status
    );
    Ok(())
}

/// Needs the deployment that the claims about status have made.
pub(crate) fn shows_asks_and_refuses(cluster: &ApiServer) -> Result<()> {
    ends_with(cluster, &["abort", "churn-api"], 3, "there has been no attempt yet")?;
    ends_with(cluster, &["get", "absent"], 4, "there is no ModelDeployment absent in namespace crm")?;
    ends_with(cluster, &["get", "--context", "absent"], 1, "choose one with --kubeconfig, or a context of it")?;
    ends_with(cluster, &["abort"], 2, "Usage: kubectl werkbank abort")?;

    let status = json!({"status": {"attempt": {
        "id": "acand-1-0a1b", "revision": "acand", "entry": {"revision": "acand", "name": "churn-2026-12", "uid": "e"},
        "state": "Observing", "step": 0, "weight": "5%", "startedAt": "2026-11-24T00:00:00Z", "enteredAt": "2026-11-24T00:00:00Z",
        "observingSince": "2026-11-24T00:00:00Z",
    }, "revisions": [{"revision": "acand", "role": "Candidate"}]}});
    run(cluster, &[PATCH, &["--subresource=status", "-p", &status.to_string()]].concat())?;
    ends_with(cluster, &["get"], 0, "└─ acand  Candidate  5%  churn-2026-12  Observing for ")?;
    ends_with(cluster, &["get", "churn-api", "-o", "json"], 0, "\"name\": \"churn-api\"")?;
    ends_with(cluster, &["retry", "churn-api"], 3, "nothing to try again")?;
    ends_with(cluster, &["why", "absent"], 4, "there is no ModelDeployment absent in namespace crm")?;
    run(cluster, &["create", "-f", &example("modelregistryentry", "full.yaml")])?;
    let data = "data       crm-orders: about people, Consent, known by ad_user_data, ad_personalization";
    // Another one of that name than the one it is of; and then that one.
    ends_with(cluster, &["why", "churn-api"], 0, "entry churn-2026-12 was deleted, and another one is registered")?;
    let entry = object(cluster, &["-n", "crm", "get", "mre", "churn-2026-12"])?;
    let of_it = json!({"status": {"attempt": {"entry": {"uid": at(&entry, "/metadata/uid")}}}});
    run(cluster, &[PATCH, &["--subresource=status", "-p", &of_it.to_string()]].concat())?;
    ends_with(cluster, &["why", "churn-api"], 0, "churn-api  on its way: revision acand of entry churn-2026-12")?;
    ends_with(cluster, &["why", "churn-api"], 0, data)?;
    ends_with(cluster, &["why", "mre/churn-2026-12"], 0, "churn-2026-12  is an entry of the registry")?;
    ends_with(cluster, &["why", "mre/absent"], 4, "there is no ModelRegistryEntry absent in namespace crm")?;
    ends_with(cluster, &["why", "pod/churn"], 2, "name modelregistryentry/NAME or modeldeployment/NAME")?;

    ends_with(cluster, &["resume", "churn-api"], 3, "there is nothing to resume")?;
    ends_with(cluster, &["pause", "churn-api"], 0, "pause of attempt acand-1-0a1b requested by admin")?;
    ends_with(cluster, &["promote", "churn-api"], 0, "promote of attempt acand-1-0a1b requested by admin")?;

    ends_with(cluster, &["abort", "churn-api"], 0, "abort of attempt acand-1-0a1b requested by admin")?;
    let written = deployment(cluster)?;
    let written = at(&written, "/metadata/annotations/werkbank.dev~1request");
    let parts: Vec<&str> = written.as_str().context("no annotation was written")?.split('/').collect();
    ensure!(
        matches!(parts.as_slice(), ["abort", "acand-1-0a1b", "0", nonce, "admin"] if !nonce.is_empty()),
        "written: {written}"
    );
    // Who may not patch may not ask, and is told so by the API server.
    ends_with(
        cluster,
        &["abort", "churn-api", "--as", "nobody"],
        1,
        "the API server says: modeldeployments.werkbank.dev",
    )
}

/// Needs the same deployment.
pub(crate) fn watches_tells_all_and_completes(cluster: &ApiServer) -> Result<()> {
    ends_with(cluster, &["status", "churn-api"], 0, "rollout\n  entry    ")?;
    ends_with(cluster, &["status", "churn-api", "-v"], 0, "conditions\n  ")?;
    ends_with(cluster, &["status", "absent"], 4, "there is no ModelDeployment absent in namespace crm")?;
    a_watch_shows_each_change_and_ends_when_it_is_interrupted(cluster)?;
    kubectl_completes_it(cluster)
}

fn a_watch_shows_each_change_and_ends_when_it_is_interrupted(cluster: &ApiServer) -> Result<()> {
    // `timeout` hands on the interruption, and bounds what would go on for ever.
    let mut bounded = Command::new("timeout");
    bounded.arg("60").arg(binary()?).args(command(cluster)?.get_args()).args(["get", "churn-api", "-w"]);
    let mut watch = bounded.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(watch.stdout.take().context("its output")?).lines();
    let mut until = |words: &str| -> Result<()> {
        let found = lines.by_ref().map_while(Result::ok).any(|line| line.contains(words));
        ensure!(found, "the watch has ended without {words}");
        Ok(())
    };
    until("churn-api")?;
    let status = json!({"status": {"phase": "RolledBack"}}).to_string();
    run(cluster, &[PATCH, &["--subresource=status", "-p", &status]].concat())?;
    until("RolledBack")?;
    let pid = watch.id().to_string();
    ensure!(Command::new("kill").args(["-INT", &pid]).status()?.success(), "it cannot be interrupted");
    let ended = watch.wait()?;
    ensure!(ended.success(), "an interrupted watch has ended with {ended}");
    Ok(())
}

/// As `docs/reference/kubectl-plugin.md` says: what kubectl itself asks when somebody presses the key.
fn kubectl_completes_it(cluster: &ApiServer) -> Result<()> {
    let script = said(&plugin(cluster, &["completion"])?);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubectl_complete-werkbank");
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    std::os::unix::fs::symlink(binary()?, folder.path().join("kubectl-werkbank"))?;
    for (words, expected) in [
        (["werkbank", "sta"].as_slice(), "status\tShow all there is to know"),
        (&["werkbank", "get", "-n", "crm", ""], "churn-api\n"),
        (&["werkbank", "-n", "crm", "get", ""], "churn-api\n"),
        (&["werkbank", "approve", "-n", "crm", "modeld"], "modeldeployment/churn-api\n"),
        (&["werkbank", "get", "--wa"], "--watch\t"),
    ] {
        let found = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
        let mut kubectl = Command::new(cluster.kubectl_path());
        kubectl.env("KUBECONFIG", cluster.kubeconfig()).env("PATH", found);
        let output = kubectl.arg("__complete").args(words).output()?;
        ensure!(said(&output).contains(expected), "{words:?}: {}", said(&output));
    }
    Ok(())
}
