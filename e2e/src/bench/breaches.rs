//! From a breach that the metric source shows to weight 0 in Envoy: the distribution over a hundred of them.
//!
//! Some deployments stand at 50 % of a step that lasts, their guardrail measured every second, with `failureLimit: 0`. The
//! metric source is ours, so the moment that it shows a breach is known exactly, and so is when the operator looked. What is
//! left is split in two: the wait for the operator's next look, which is the interval's doing, and what
//! came after it: deciding, the record, the status, the route, the gateway. There are no pods: a rollback needs none.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use werkbank::api::ModelDeployment;
use werkbank::api::model_deployment::{AttemptState, ModelDeploymentStatus, Phase};

use super::fleet::{manifest, name};
use super::member::{quantile, until};
use super::setting::Setting;
use super::stage::Stage;
use super::{NAMESPACE, say};
use crate::breach::all_at;
use crate::metric_source::MetricSource;

/// Breaches, of all deployments together.
const TRIALS: usize = 100;
const INTERVAL: Duration = Duration::from_secs(1);
/// What is promised: (`failureLimit` + 1) intervals + 1 s.
const PROMISED: Duration = Duration::from_secs(2);
/// How long each part of a trial may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Finer than anything that is promised.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// One breach.
#[derive(Clone, Debug)]
pub struct Trial {
    deployment: String,
    number: usize,
    /// Until the operator was first told of the breach.
    looked: Duration,
    /// Until Envoy sent everything to the stable revision.
    at_zero: Duration,
}

/// All of them, the fastest first.
#[derive(Clone, Debug)]
pub struct Trials(Vec<Trial>);

/// Breaks the guardrail of `deployments` deployments, again and again.
///
/// # Errors
/// When a rollout does not get to where it can be broken, or is not rolled back.
pub async fn measure(stage: &Stage, deployments: usize) -> Result<Trials> {
    let gateway = stage.gateway().context("a breach ends in Envoy: use --acceptance envoy")?;
    ensure!((1..=TRIALS).contains(&deployments), "{TRIALS} breaches are of 1 to {TRIALS} deployments");
    stage.register(&["one"]).await?;
    let source = MetricSource::start().await?;
    let api: Api<ModelDeployment> = Api::namespaced(stage.client(), NAMESPACE);
    say("creating the deployments, until all first revisions are stable");
    let all: Vec<Broken<'_>> = (0..deployments)
        .map(|index| Broken { index, name: name(index), api: &api, source: &source, gateway })
        .collect();
    try_join_all(all.iter().map(Broken::create)).await?;
    say(&format!("{TRIALS} breaches"));
    let rounds = TRIALS.div_ceil(deployments);
    let trials = try_join_all(all.iter().map(|it| it.break_often(rounds))).await?;
    Ok(Trials::new(trials.into_iter().flatten().take(TRIALS).collect()))
}

/// A deployment whose candidates are all broken.
struct Broken<'a> {
    index: usize,
    name: String,
    api: &'a Api<ModelDeployment>,
    source: &'a MetricSource,
    gateway: &'a crate::gateway::GatewayController,
}

impl Broken<'_> {
    async fn create(&self) -> Result<()> {
        let mut manifest = manifest(self.index, "one", &["50%"]);
        let judged = json!({
            "rollout": {"steps": [{"weight": "50%", "for": "1h"}], "drain": "1s", "progressDeadline": "15m"},
            "analysis": {"interval": format!("{}s", INTERVAL.as_secs()), "failureLimit": 0,
                "metrics": [self.source.guardrail(&self.name)]},
        });
        let spec = manifest.get_mut("spec").and_then(Value::as_object_mut).context("the manifest has no spec")?;
        spec.extend(judged.as_object().cloned().unwrap_or_default());
        self.api.create(&PostParams::default(), &serde_json::from_value(manifest)?).await?;
        self.until("it serves", |it| it.phase == Phase::Stable).await.map(drop)
    }

    async fn break_often(&self, times: usize) -> Result<Vec<Trial>> {
        let mut trials = Vec::with_capacity(times);
        for number in 0..times {
            trials.push(self.break_once(number).await.with_context(|| format!("breach {number} of {}", self.name))?);
        }
        Ok(trials)
    }

    async fn break_once(&self, number: usize) -> Result<Trial> {
        self.source.mend(&self.name);
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {"version": number.to_string()}}}}});
        self.api.patch_metadata(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        let watched = |it: &ModelDeploymentStatus| {
            it.attempt.as_ref().is_some_and(|it| it.state == AttemptState::Observing && it.measured_at.is_some())
        };
        let status = self.until("the candidate is watched", watched).await?;
        let stable = status.stable.context("nothing is stable")?.revision;
        // Anywhere between two looks.
        tokio::time::sleep(INTERVAL.mul_f64(phase(self.index, number))).await;
        let visible = self.source.breach(&self.name);
        while !all_at(&self.gateway.weights(NAMESPACE, &self.name).await?, &stable) {
            ensure!(visible.elapsed() < PATIENCE, "Envoy still sends requests to the candidate");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let at_zero = visible.elapsed();
        let looked = self.source.looked(&self.name).context("it was taken back before anybody looked")?;
        self.until("it is rolled back", |it| it.phase == Phase::RolledBack).await?;
        Ok(Trial { deployment: self.name.clone(), number, looked: looked.duration_since(visible), at_zero })
    }

    async fn until(&self, what: &str, is: impl Fn(&ModelDeploymentStatus) -> bool) -> Result<ModelDeploymentStatus> {
        until(self.api, &self.name, PATIENCE, what, is).await
    }
}

/// Spread evenly over the interval, whatever the number of deployments: multiples of the golden ratio, less their whole part.
fn phase(index: usize, number: usize) -> f64 {
    ((index * TRIALS + number) as f64 * 0.618_033_988_749_895).fract()
}

impl Trials {
    fn new(mut trials: Vec<Trial>) -> Self {
        trials.sort_by_key(|it| it.at_zero);
        Self(trials)
    }

    /// The time that this share of the trials took at most (nearest rank).
    fn quantile(&self, share: f64) -> Option<&Trial> {
        quantile(&self.0, share)
    }

    /// For machines.
    #[must_use]
    pub fn json(&self, setting: &Setting) -> Value {
        let trials: Vec<Value> = self
            .0
            .iter()
            .map(|it| {
                json!({
                    "deployment": it.deployment, "number": it.number,
                    "lookedAfterSeconds": it.looked.as_secs_f64(), "zeroAfterSeconds": it.at_zero.as_secs_f64(),
                })
            })
            .collect();
        json!({"setting": setting.json(), "promisedSeconds": PROMISED.as_secs_f64(), "trials": trials})
    }
}

impl fmt::Display for Trials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interval = INTERVAL.as_secs_f64();
        writeln!(
            f,
            "{} breaches, measured every {interval} s with failureLimit 0; until weight 0 in Envoy:\n",
            self.0.len()
        )?;
        let quantiles = [("fastest", 0.0), ("half", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("slowest", 1.0)];
        for (what, share) in quantiles {
            let Some(it) = self.quantile(share) else { continue };
            let (total, looked) = (it.at_zero.as_secs_f64(), it.looked.as_secs_f64());
            writeln!(f, "{what:8} {total:>7.3} s = {looked:.3} s until the operator looked + {:.3} s", total - looked)?;
        }
        let mut reactions: Vec<f64> = self.0.iter().map(|it| (it.at_zero - it.looked).as_secs_f64()).collect();
        reactions.sort_by(f64::total_cmp);
        let of = |share: f64| quantile(&reactions, share);
        if let (Some(half), Some(most)) = (of(0.5), of(1.0)) {
            writeln!(f, "\nfrom the look to Envoy: half within {half:.3} s, all within {most:.3} s")?;
        }
        if let Some(slowest) = self.0.last() {
            let (wait, rest) = (slowest.looked.as_secs_f64(), (slowest.at_zero - slowest.looked).as_secs_f64());
            let why =
                if wait > rest { "it became visible right after a look" } else { "what came after the look took long" };
            writeln!(f, "the slowest is breach {} of {}: {why}", slowest.number, slowest.deployment)?;
        }
        let (p99, met) =
            self.quantile(0.99).map_or((0.0, false), |it| (it.at_zero.as_secs_f64(), it.at_zero <= PROMISED));
        writeln!(
            f,
            "\n99 % within {p99:.3} s   goal ≤ {:.0} s   {}",
            PROMISED.as_secs_f64(),
            if met { "yes" } else { "NO" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(number: usize, looked: u64, at_zero: u64) -> Trial {
        let [looked, at_zero] = [looked, at_zero].map(Duration::from_millis);
        Trial { deployment: "churn-00000".into(), number, looked, at_zero }
    }

    #[test]
    fn the_page_tells_the_distribution_and_what_the_slowest_waited_for() {
        let trials = Trials::new((1..=100).map(|it| trial(it as usize, it * 10, it * 10 + 80)).collect());
        let page = trials.to_string();
        for line in [
            "fastest    0.090 s = 0.010 s until the operator looked + 0.080 s",
            "half       0.580 s",
            "99 %       1.070 s",
            "from the look to Envoy: half within 0.080 s, all within 0.080 s",
            "the slowest is breach 100 of churn-00000: it became visible right after a look",
            "99 % within 1.070 s   goal ≤ 2 s   yes",
        ] {
            assert!(page.contains(line), "{line}\nis not in\n{page}");
        }
        let late = Trials::new(vec![trial(0, 10, 2_500)]);
        assert!(late.to_string().ends_with("goal ≤ 2 s   NO\n"), "{late}");
    }

    #[test]
    fn breaches_come_at_every_moment_between_two_looks() {
        let mut phases: Vec<f64> = (0..10).flat_map(|index| (0..10).map(move |number| phase(index, number))).collect();
        phases.sort_by(f64::total_cmp);
        let widest = phases.windows(2).map(|it| it[1] - it[0]).fold(0.0, f64::max);
        assert!(widest < 0.05, "{widest}");
    }
}
