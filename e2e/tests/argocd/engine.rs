//! The chart's scripts as they come out of Helm, and the engine that runs them as Argo CD does.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use werkbank_e2e::process::Supervisor;
use werkbank_e2e::tools::Tools;

/// The account that the chart is told.
pub(crate) const ACCOUNT: &str = "system:serviceaccount:gitops:argocd-server";

/// Keys of `argocd-cm`.
const HEALTH: &str = "resource.customizations.health.werkbank.dev_";
const ACTIONS: &str = "resource.customizations.actions.werkbank.dev_ModelDeployment";

/// What the chart gives to Argo CD.
pub(crate) struct Scripts {
    /// By kind.
    pub(crate) health: BTreeMap<String, String>,
    pub(crate) discovery: String,
    /// By name.
    pub(crate) actions: BTreeMap<String, String>,
}

fn text(value: &Value, key: &str) -> Result<String> {
    Ok(value.get(key).and_then(Value::as_str).with_context(|| format!("no {key}"))?.to_owned())
}

async fn tools() -> Result<Tools> {
    Tools::new(Supervisor::new()?)
}

/// From the ConfigMap that the chart renders.
pub(crate) async fn scripts() -> Result<Scripts> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/werkbank");
    let home = tempfile::tempdir()?;
    let rendered = Command::new(tools().await?.helm().await?)
        .args(["template", "werkbank", &chart.display().to_string(), "--show-only", "templates/argocd.yaml"])
        .args(["--set", &format!("argocd.account={ACCOUNT}")])
        .envs(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name, home.path())))
        .output()?;
    ensure!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let rendered = String::from_utf8(rendered.stdout)?;
    let map: Value = serde_yaml::from_str(rendered.split("\n---\n").next().unwrap_or_default())?;
    let data = map.get("data").and_then(Value::as_object).context("no data")?;
    let mut scripts = Scripts { health: BTreeMap::new(), discovery: String::new(), actions: BTreeMap::new() };
    for (key, value) in data {
        let value = value.as_str().context("a string")?;
        if let Some(kind) = key.strip_prefix(HEALTH) {
            scripts.health.insert(kind.to_owned(), value.to_owned());
        } else if key == ACTIONS {
            let actions: Value = serde_yaml::from_str(value)?;
            scripts.discovery = text(&actions, "discovery.lua")?;
            for action in actions.get("definitions").and_then(Value::as_array).context("no definitions")? {
                scripts.actions.insert(text(action, "name")?, text(action, "action.lua")?);
            }
        } else {
            bail!("what is {key}?");
        }
    }
    Ok(scripts)
}

/// One process that answers line by line; it ends with its input.
pub(crate) struct Engine {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Engine {
    pub(crate) async fn start() -> Result<Self> {
        let program = tools().await?.argocd_lua().await?;
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let answers = BufReader::new(child.stdout.take().context("piped")?);
        Ok(Self { ask: child.stdin.take(), child, answers })
    }

    /// What the script returns for the object.
    pub(crate) fn run(&mut self, script: &str, obj: &Value) -> Result<Value> {
        let ask = self.ask.as_mut().context("running")?;
        writeln!(ask, "{}", json!({"script": script, "obj": obj}))?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => bail!("{error}"),
            None => Ok(answer.get("result").cloned().unwrap_or(Value::Null)),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.ask = None;
        let _ = self.child.wait();
    }
}
