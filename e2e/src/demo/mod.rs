//! The demo: a churn model's canary on real data, from a good version over a harmful one to a better one.
//!
//! Everything is real: the control plane, Envoy, Prometheus, the operator installed with its chart
//! and running with its chart's rights, the models trained from purchases, and the outcomes, which are
//! what those customers did next. Only time is compressed.

mod follow;
pub mod replay;
mod stage;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use werkbank::api::model_deployment::Phase;

use self::follow::{Followed, follow};
use self::stage::Stage;

/// Requests per second that the replay sends.
const RATE: f64 = 400.0;
/// How long one canary may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(420);
/// The promise of the manifest: (failureLimit + 1) intervals + 1 s.
const PROMISED: Duration = Duration::from_secs(3);

/// Tells the story and exits well only if it went as told.
///
/// # Errors
///
/// When a part cannot be started, or a version did not end as it should.
pub async fn run() -> Result<()> {
    let begin = Instant::now();
    say("Werkbank's demo: three versions of a churn model for retention mail, on a cluster of local processes.");
    let stage = Stage::set().await?;
    say(&format!("everything runs after {:.0} s", begin.elapsed().as_secs_f64()));

    say("1. churn-v1 is deployed: the first version, nothing to compare it with");
    stage.deploy("churn-v1").await?;
    let first = follow(&stage, None, Phase::Stable, PATIENCE).await?;
    let replay = stage.replay(RATE).await?;
    say(&format!("   it serves. A replay sends the later months' customers through Envoy, {RATE} a second"));

    say("2. churn-v2 looks better in its author's validation. It was trained on the future.");
    stage.deploy("churn-v2").await?;
    let harmful = follow(&stage, Some(&replay), Phase::RolledBack, PATIENCE).await?;

    say("3. churn-v3 was trained on what is known in time");
    stage.deploy("churn-v3").await?;
    let better = follow(&stage, Some(&replay), Phase::Stable, PATIENCE).await?;

    summary(&first, &harmful, &better, &replay.snapshot());
    let took = harmful.breach_to_zero;
    ensure!(
        took.is_some_and(|took| took <= PROMISED),
        "churn-v2 was back at weight 0 after {took:?}; promised were {PROMISED:?}"
    );
    stage.end().await
}

fn say(line: &str) {
    println!("{line}");
}

fn summary(first: &Followed, harmful: &Followed, better: &Followed, seen: &replay::Snapshot) {
    say("\nWhat happened");
    say(&format!("  churn-v1  first deployment     serving after {:5.1} s", first.took.as_secs_f64()));
    let back = harmful.breach_to_zero.map_or("not seen".into(), |it| format!("{:.2} s", it.as_secs_f64()));
    say(&format!(
        "  churn-v2  rolled back          after {:5.1} s, at most {} of the traffic",
        harmful.took.as_secs_f64(),
        harmful.highest
    ));
    say(&format!("            why                  {}", harmful.why));
    say(&format!("            breach measured → weight 0 in Envoy: {back} (promised: {PROMISED:?})"));
    say(&format!("  churn-v3  promoted             after {:5.1} s", better.took.as_secs_f64()));
    for (name, followed) in [("churn-v1", first), ("churn-v2", harmful), ("churn-v3", better)] {
        let Some(tally) = seen.revisions.get(&followed.revision) else { continue };
        let rate = tally.hit_rate().map_or("-".into(), |it| format!("{:.1} %", it * 100.0));
        say(&format!(
            "  {name}  {} requests, {} failed, hit rate {rate} of {} judged",
            tally.requests, tally.errors, tally.judged
        ));
    }
    say(&format!("  in all    {} requests through Envoy, {} failed", seen.requests(), seen.errors()));
}
