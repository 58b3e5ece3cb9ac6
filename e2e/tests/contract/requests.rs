//! Raw requests and what they are answered: what the API server that the simulation plays has to answer, too.
//!
//! `UPDATE=1` writes down what this one says.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::root;
use crate::apiserver::ApiServer;

#[path = "../../../tests/requests/mod.rs"]
mod shared;

use shared::{ANSWERS, Asked};

struct Real<'a>(&'a ApiServer);

impl shared::Server for Real<'_> {
    const IS_IN_MEMORY: bool = false;

    fn ask(&mut self, asked: &Asked) -> (u16, Value) {
        // As long as it takes a busy server to tell what there is.
        let (code, text) = self.0.ask(asked.request("&timeoutSeconds=3")).unwrap();
        let events = asked.events(code, &text);
        (code, events.unwrap_or_else(|| serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    fn forget(&mut self) {}

    fn wait(&mut self) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Needs the CRDs.
pub(crate) fn are_answered_as_written(cluster: &ApiServer) -> Result<()> {
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: contract}}")?;
    let found = shared::all(&root(), &mut Real(cluster));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(root().join(ANSWERS), serde_yaml::to_string(&found)?)?;
    }
    let wrong = shared::compare(&root(), &found);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n  "));
    Ok(())
}
