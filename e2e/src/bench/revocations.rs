//! From `lifecycle: Revoked` to weight 0 in Envoy: the distribution over fifty of them.
//!
//! Every other one revokes the entry of a candidate at 50 %, the others that of the stable revision, while the revision before
//! it is kept. The clock starts when the edit is sent, so the API server's answer is in the figure. There are no pods:
//! nothing waits for them.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use werkbank::api::model_deployment::{AttemptState, ModelDeploymentStatus, Phase, RevisionRole};
use werkbank::api::{ModelDeployment, ModelRegistryEntry};

use super::fleet::{manifest, name};
use super::member::{quantile, until};
use super::setting::Setting;
use super::stage::Stage;
use super::{NAMESPACE, say};
use crate::breach::all_at;
use crate::gateway::GatewayController;

/// Revocations, of all deployments together.
const TRIALS: usize = 50;
/// How long each part of a trial may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// What is promised is "seconds"; this is what the simulation holds the operator to.
const GOAL: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What had the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Had {
    Candidate,
    Stable,
}

/// One revocation.
#[derive(Clone, Debug)]
struct Trial {
    had: Had,
    /// Until Envoy sent everything to the other revision.
    at_zero: Duration,
}

/// All of them, the fastest first.
#[derive(Clone, Debug)]
pub struct Trials(Vec<Trial>);

/// Revokes entries of `deployments` deployments, again and again.
///
/// # Errors
/// When a rollout does not get to where it can be revoked, or is not taken off traffic.
pub async fn measure(stage: &Stage, deployments: usize) -> Result<Trials> {
    let gateway = stage.gateway().context("a revocation ends in Envoy: use --acceptance envoy")?;
    ensure!((1..=TRIALS).contains(&deployments), "{TRIALS} revocations are of 1 to {TRIALS} deployments");
    stage.register(&["one"]).await?;
    let api: Api<ModelDeployment> = Api::namespaced(stage.client(), NAMESPACE);
    let entries: Api<ModelRegistryEntry> = Api::namespaced(stage.client(), NAMESPACE);
    say("creating the deployments, until all first revisions are stable");
    let all: Vec<Revoked<'_>> = (0..deployments)
        .map(|index| Revoked { index, name: name(index), api: &api, entries: &entries, gateway })
        .collect();
    try_join_all(all.iter().map(Revoked::create)).await?;
    say(&format!("{TRIALS} revocations"));
    let rounds = TRIALS.div_ceil(deployments);
    let trials = try_join_all(all.iter().map(|it| it.revoke_often(rounds))).await?;
    Ok(Trials::new(trials.into_iter().flatten().take(TRIALS).collect()))
}

/// A deployment all of whose entries are revoked.
struct Revoked<'a> {
    index: usize,
    name: String,
    api: &'a Api<ModelDeployment>,
    entries: &'a Api<ModelRegistryEntry>,
    gateway: &'a GatewayController,
}

impl Revoked<'_> {
    async fn create(&self) -> Result<()> {
        let deployment = serde_json::from_value(manifest(self.index, "one", &["50%"]))?;
        self.api.create(&PostParams::default(), &deployment).await?;
        self.until("it serves", |it| it.phase == Phase::Stable).await.map(drop)
    }

    async fn revoke_often(&self, times: usize) -> Result<Vec<Trial>> {
        let mut trials = Vec::with_capacity(times);
        for number in 0..times {
            let trial = self.revoke_once(number).await;
            trials.push(trial.with_context(|| format!("revocation {number} of {}", self.name))?);
        }
        Ok(trials)
    }

    async fn revoke_once(&self, number: usize) -> Result<Trial> {
        let had = if (self.index + number).is_multiple_of(2) { Had::Candidate } else { Had::Stable };
        let entry = self.register(number).await?;
        let before =
            self.until("it serves", |it| it.stable.is_some()).await?.stable.context("nothing serves")?.revision;
        // One that is watched is held there; one that is promoted keeps what was before.
        let steps = json!([{"weight": "50%", "for": if had == Had::Candidate { "1h" } else { "0s" }}]);
        let spec = json!({"modelRef": {"name": entry}, "rollout": {"steps": steps, "keepStable": "1h"}});
        self.api.patch_metadata(&self.name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await?;
        let has_traffic = |it: &ModelDeploymentStatus| match had {
            Had::Candidate => it.attempt.as_ref().is_some_and(|it| it.state == AttemptState::Observing),
            Had::Stable => {
                let is_kept = it.revisions.iter().any(|it| it.revision == before && it.role == RevisionRole::Kept);
                is_kept && it.stable.as_ref().is_some_and(|it| it.name == entry)
            }
        };
        self.until("it has traffic", has_traffic).await?;
        let revoked = Patch::Merge(json!({"spec": {"lifecycle": "Revoked"}}));
        let began = Instant::now();
        self.entries.patch_metadata(&entry, &PatchParams::default(), &revoked).await?;
        while !all_at(&self.gateway.weights(NAMESPACE, &self.name).await?, &before) {
            ensure!(began.elapsed() < PATIENCE, "Envoy still sends requests to what is revoked");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let at_zero = began.elapsed();
        let is_over = |it: &ModelDeploymentStatus| {
            it.attempt.as_ref().is_some_and(|it| it.state == AttemptState::RolledBack) && it.revisions.len() == 1
        };
        self.until("nothing is left of it", is_over).await?;
        Ok(Trial { had, at_zero })
    }

    /// An entry of its own for each trial: a revoked one is not deployed again.
    async fn register(&self, number: usize) -> Result<String> {
        let entry = format!("revoked-{}-{number}", self.index);
        let digest = self.index * TRIALS + number + 1;
        let object = json!({
            "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry", "metadata": {"name": entry},
            "spec": {
                "model": {"name": "churn", "version": entry, "kind": "Predictor"},
                "artifact": {"uri": format!("s3://models/churn/{entry}/"), "sha256": format!("{digest:064x}")},
            },
        });
        self.entries.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(entry)
    }

    async fn until(&self, what: &str, is: impl Fn(&ModelDeploymentStatus) -> bool) -> Result<ModelDeploymentStatus> {
        until(self.api, &self.name, PATIENCE, what, is).await
    }
}

impl Trials {
    fn new(mut trials: Vec<Trial>) -> Self {
        trials.sort_by_key(|it| it.at_zero);
        Self(trials)
    }

    /// For machines.
    #[must_use]
    pub fn json(&self, setting: &Setting) -> Value {
        let trial = |it: &Trial| json!({"had": format!("{:?}", it.had), "zeroAfterSeconds": it.at_zero.as_secs_f64()});
        let trials: Vec<Value> = self.0.iter().map(trial).collect();
        json!({"setting": setting.json(), "goalSeconds": GOAL.as_secs_f64(), "trials": trials})
    }
}

impl fmt::Display for Trials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |had: Had| self.0.iter().filter(move |it| it.had == had).cloned().collect::<Vec<_>>();
        let (candidates, stable) = (of(Had::Candidate), of(Had::Stable));
        writeln!(
            f,
            "{} entries revoked, {} of candidates at 50 %, {} of the stable revision with the one before kept; until Envoy sends nothing to it:\n",
            self.0.len(),
            candidates.len(),
            stable.len()
        )?;
        writeln!(f, "{:8} {:>9} {:>11} {:>9}", "", "all", "candidates", "stable")?;
        for (what, share) in [("fastest", 0.0), ("half", 0.5), ("90 %", 0.9), ("slowest", 1.0)] {
            let told = |all: &[Trial]| quantile(all, share).map_or(0.0, |it| it.at_zero.as_secs_f64());
            let (all, candidates, stable) = (told(&self.0), told(&candidates), told(&stable));
            writeln!(f, "{what:8} {all:>7.3} s {candidates:>9.3} s {stable:>7.3} s")?;
        }
        let slowest = self.0.last().map(|it| it.at_zero).unwrap_or_default();
        let (seconds, met) = (slowest.as_secs_f64(), if slowest <= GOAL { "yes" } else { "NO" });
        writeln!(f, "\nall within {seconds:.3} s   goal ≤ {:.0} s   {met}", GOAL.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(had: Had, at_zero: u64) -> Trial {
        Trial { had, at_zero: Duration::from_millis(at_zero) }
    }

    #[test]
    fn the_page_tells_both_kinds_apart_and_whether_the_goal_is_met() {
        let of = |had| (1..=25).map(move |it| trial(had, it * if had == Had::Stable { 20 } else { 10 }));
        let page = Trials::new(of(Had::Candidate).chain(of(Had::Stable)).collect()).to_string();
        for line in [
            "50 entries revoked, 25 of candidates",
            "half       0.170 s     0.130 s   0.260 s",
            "slowest    0.500 s     0.250 s   0.500 s",
            "all within 0.500 s   goal ≤ 1 s   yes",
        ] {
            assert!(page.contains(line), "{line}\nis not in\n{page}");
        }
        let late = Trials::new(vec![trial(Had::Stable, 1_200)]);
        assert!(late.to_string().ends_with("all within 1.200 s   goal ≤ 1 s   NO\n"), "{late}");
    }
}
