//! Watching one version on its way, and telling it line by line.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};
use werkbank::api::Weight;
use werkbank::api::model_deployment::{ModelDeploymentStatus, Phase, VerdictKind};

use super::replay::{Replay, Snapshot};
use super::stage::Stage;

const LOOK_EVERY: Duration = Duration::from_millis(50);
const TELL_EVERY: Duration = Duration::from_secs(3);

/// How a version fared.
pub(super) struct Followed {
    pub(super) revision: String,
    pub(super) took: Duration,
    pub(super) highest: Weight,
    /// From the first failing measurement of the row that broke the limit to weight 0 in Envoy.
    pub(super) breach_to_zero: Option<Duration>,
    pub(super) why: String,
}

/// Follows the deployment until `end`, an attempt of the present generation included.
pub(super) async fn follow(stage: &Stage, replay: Option<&Replay>, end: Phase, patience: Duration) -> Result<Followed> {
    let begin = Instant::now();
    let before = replay.map(Replay::snapshot);
    let mut teller = Teller::default();
    let mut followed = Followed {
        revision: String::new(),
        took: Duration::ZERO,
        highest: Weight::NONE,
        breach_to_zero: None,
        why: String::new(),
    };
    let mut breach: Option<DateTime<Utc>> = None;
    loop {
        let deployment = stage.deployment().await?;
        let status = deployment.status.clone().unwrap_or_default();
        let current = status.observed_generation == deployment.metadata.generation.unwrap_or_default();
        if let Some(attempt) =
            status.attempt.as_ref().filter(|it| current && it.entry.name == deployment.spec.model_ref.name)
        {
            followed.revision.clone_from(&attempt.revision);
            followed.highest = followed.highest.max(attempt.weight);
            followed.why = attempt.message.clone().unwrap_or_default();
            let weight = stage.weight_in_envoy(&attempt.revision).await?;
            breach = breach.or_else(|| first_failure(&status));
            if let (Some(at), Some(weight), None) = (breach, weight, followed.breach_to_zero) {
                followed.breach_to_zero = (weight == 0.0).then(|| (Utc::now() - at).to_std().unwrap_or_default());
            }
            let seen = replay.zip(before.as_ref()).map(|(replay, before)| replay.snapshot().since(before));
            teller.tell(begin, &status, weight, seen.as_ref());
            if status.phase == end {
                followed.took = begin.elapsed();
                return Ok(followed);
            }
            if !attempt.state.is_active() && status.phase != Phase::Stable {
                bail!("{} ended as {:?}: {}", attempt.entry.name, status.phase, followed.why);
            }
        }
        if begin.elapsed() > patience {
            bail!("the deployment is {:?} and not {end:?} after {patience:?}: {:?}", status.phase, status.conditions);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// When the first of the failing measurements in a row began.
fn first_failure(status: &ModelDeploymentStatus) -> Option<DateTime<Utc>> {
    status.verdicts.iter().filter(|it| it.verdict == VerdictKind::Fail && it.failures == 1).map(|it| it.time).min()
}

/// Tells a line when something changed, and now and then when nothing did.
#[derive(Default)]
struct Teller {
    last: String,
    told: Option<Instant>,
}

impl Teller {
    fn tell(&mut self, begin: Instant, status: &ModelDeploymentStatus, weight: Option<f64>, seen: Option<&Snapshot>) {
        let Some(attempt) = &status.attempt else { return };
        let envoy = weight.map_or("-".into(), |it| format!("{it:.0}%"));
        let state =
            format!("{:<11} set {:<4} Envoy {envoy:<4}", format!("{:?}", status.phase), attempt.weight.to_string());
        let due = self.told.is_none_or(|at| at.elapsed() > TELL_EVERY);
        if state == self.last && !due {
            return;
        }
        let traffic = seen.map(|it| it.share(&attempt.revision)).map_or("-".into(), |it| format!("{:.1}%", it * 100.0));
        let verdicts: Vec<String> = status
            .verdicts
            .iter()
            .map(|it| format!("{} {:?} {}", it.metric, it.verdict, it.value.as_deref().unwrap_or("")))
            .collect();
        println!(
            "   {:6.1} s  {} {state} served since the start {traffic:<6} {}",
            begin.elapsed().as_secs_f64(),
            attempt.entry.name,
            verdicts.join(" · ")
        );
        (self.last, self.told) = (state, Some(Instant::now()));
    }
}
