//! The plugin against a real API server: what it shows, that a request is written in the requester's own
//! name, and its exit codes.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{PATCH, at, deployment, example, object, run, said};
use crate::apiserver::ApiServer;

fn plugin(cluster: &ApiServer, arguments: &[&str]) -> Result<Output> {
    let tests = std::env::current_exe()?;
    let folder = tests.parent().and_then(|deps| deps.parent()).context("tests lie in target/<profile>/deps")?;
    Command::new(folder.join("kubectl-werkbank"))
        .args(["--kubeconfig", &cluster.kubeconfig(), "-n", "crm"])
        .args(arguments)
        .output()
        .context("kubectl-werkbank is not built: `cargo build -p werkbank --bins`")
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
