//! A store that takes the second write to a place as it took the first: no log can be kept there, and an operator says so and ends.
#![cfg(test)]

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;
use werkbank_e2e::fault_proxy::FaultProxy;
use werkbank_e2e::s3::S3;

use super::Pod;

/// It asks the store at its start; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_whose_store_overwrites_what_was_to_be_created_once_ends_and_says_what_to_do() {
    let s3 = S3::start().unwrap();
    let proxy = FaultProxy::before_store(&s3.endpoint()).await.unwrap();
    proxy.forgets_conditions();
    // An API server that never answers: what becomes of the log is found out all the same.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (pod, kubeconfig) = (Pod::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let server = silent.local_addr().unwrap();
    let text = format!(
        r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "silent",
            "clusters": [{{"name": "silent", "cluster": {{"server": "http://{server}"}}}}],
            "contexts": [{{"name": "silent", "context": {{"cluster": "silent", "user": "nobody"}}}}],
            "users": [{{"name": "nobody", "user": {{}}}}]}}"#
    );
    std::fs::write(kubeconfig.path(), text).unwrap();
    let mut command = Command::from(pod.process(&proxy.url()).unwrap());
    command
        .args([
            "operator",
            "--listen",
            "127.0.0.1:0",
            "--audit-log",
            "s3://models/overwritten",
            "--fetch-image",
            "werkbank",
            "--lease-namespace",
            "werkbank",
            "--identity",
            "alone",
        ])
        .env("KUBECONFIG", kubeconfig.path())
        .kill_on_drop(true)
        .stdout(Stdio::null());
    let ended = timeout(PATIENCE, command.output()).await.expect("it goes on").unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(
        (ended.status.code(), last),
        (
            Some(1),
            "werkbank operator: the audit log cannot be kept there: the store of s3://models/overwritten overwrites what was to be created \
             once; use a store with conditional writes (If-None-Match); set --audit-log to another place"
        ),
        "{said}"
    );
}
