//! What the audit log costs a rollout: the same canary with it and without it, in turns.
//!
//! The operator without a log is the same program with a record that keeps nothing. A machine gets slower and faster while it is
//! measured, so the turns are with, without, without, with; what counts are the ratios. First all deployments at once, where
//! decisions share slots, and then one by itself, again and again, where each waits for its own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use werkbank::audit::people::Words;
use werkbank::audit::{Appended, Entry, Said, Trail, TrailError};

use super::fleet::{Fleet, Goal};
use super::report::Measure;
use super::setting::Setting;
use super::stage::Stage;
use super::{FOUR_STEPS, PATIENCE, canary, say, settled};
use crate::workbench::{OPERATOR_IMAGE, WITHOUT_LOG_IMAGE};

/// How much longer rollouts may take with the log.
const GOAL: f64 = 1.2;
/// Rollouts of one deployment by itself, in each turn.
const ALONE: usize = 10;
/// Whether there is a log.
const TURNS: [bool; 4] = [true, false, false, true];

/// A record that keeps nothing.
#[derive(Debug)]
pub struct Nothing;

impl Trail for Nothing {
    fn append<'a>(&'a self, _: &'a Entry) -> BoxFuture<'a, Result<Appended, TrailError>> {
        std::future::ready(Ok(Appended::New)).boxed()
    }

    fn said<'a>(&'a self, _: &'a str, _: Option<Words<'a>>) -> BoxFuture<'a, Result<Said, TrailError>> {
        std::future::ready(Ok(Said { actor: String::new(), comment: String::new() })).boxed()
    }

    fn history<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, TrailError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}

/// A record that keeps nothing, for an operator.
#[must_use]
pub fn nothing() -> Arc<dyn Trail> {
    Arc::new(Nothing)
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Cost {
    with: Vec<Turn>,
    without: Vec<Turn>,
}

#[derive(Clone, Debug)]
struct Turn {
    together: Measure,
    /// Seconds until promoted, of one deployment by itself; sorted.
    alone: Vec<f64>,
}

/// Rolls out with the log and without.
///
/// # Errors
/// When the rollouts do not end.
pub async fn measure(stage: &mut Stage, deployments: usize) -> Result<Cost> {
    let entries: Vec<String> = (0..=TURNS.len() * (ALONE + 1)).map(|it| format!("v{it}")).collect();
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    stage.register(&entries).await?;
    let mut next = entries.into_iter();
    let mut next = || next.next().context("there is an entry for each rollout");
    let mut fleet = Fleet::new(stage.client());
    let patience = PATIENCE + Duration::from_secs(deployments.try_into()?);
    say("creating the deployments, until all first revisions are stable");
    let first = next()?;
    fleet.create(deployments, first, &FOUR_STEPS).await?;
    fleet.until(deployments, Goal::Settled(first), patience).await?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for has_log in TURNS {
        let (named, image, turns) = if has_log {
            ("with", OPERATOR_IMAGE.0, &mut with)
        } else {
            ("without", WITHOUT_LOG_IMAGE.0, &mut without)
        };
        say(&format!("a canary of four steps of all, {named} the log"));
        stage.replace_operator(image, deployments).await?;
        settled(stage).await?;
        let together = canary(stage, &mut fleet, deployments, next()?, &FOUR_STEPS, patience).await?;
        let mut alone = Vec::new();
        for _ in 0..ALONE {
            alone.push(canary(stage, &mut fleet, 1, next()?, &FOUR_STEPS, patience).await?.all_promoted);
        }
        alone.sort_by(f64::total_cmp);
        turns.push(Turn { together, alone });
    }
    Ok(Cost { with, without })
}

/// How many times as much it is with the log, each turn beside another.
fn times(cost: &Cost, of: impl Fn(&Turn) -> f64) -> f64 {
    let sum = |turns: &[Turn]| turns.iter().map(&of).sum::<f64>();
    sum(&cost.with) / sum(&cost.without)
}

fn median(turn: &Turn) -> f64 {
    turn.alone.get(turn.alone.len() / 2).copied().unwrap_or_default()
}

impl Cost {
    fn times_longer(&self) -> f64 {
        times(self, |it| it.together.all_promoted)
    }

    /// For machines.
    #[must_use]
    pub fn json(&self, setting: &Setting) -> Value {
        let turn = |it: &Turn| {
            json!({
                "secondsUntilAllPromoted": it.together.all_promoted,
                "cpuMillisecondsPerRollout": it.together.cpu_milliseconds(),
                "secondsAlone": it.alone,
            })
        };
        json!({
            "setting": setting.json(),
            "with": self.with.iter().map(turn).collect::<Vec<_>>(),
            "without": self.without.iter().map(turn).collect::<Vec<_>>(),
            "times": {
                "together": self.times_longer(), "goal": GOAL,
                "cpu": times(self, |it| it.together.cpu_milliseconds()), "alone": times(self, median),
            },
        })
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, turns) in [("with", &self.with), ("without", &self.without)] {
            for turn in turns {
                writeln!(
                    f,
                    "{name:8} the log: all promoted after {:.1} s, {:.2} ms CPU each; one by itself after {:.0} ms (median of {ALONE})",
                    turn.together.all_promoted,
                    turn.together.cpu_milliseconds(),
                    median(turn) * 1e3
                )?;
            }
        }
        let longer = self.times_longer();
        let met = if longer <= GOAL { "yes" } else { "NO" };
        writeln!(f, "\nrollouts at once, with by without   {longer:>6.2}   goal ≤ {GOAL}   {met}")?;
        writeln!(f, "the operator's CPU                  {:>6.2}", times(self, |it| it.together.cpu_milliseconds()))?;
        writeln!(f, "one rollout by itself               {:>6.2}", times(self, median))
    }
}
