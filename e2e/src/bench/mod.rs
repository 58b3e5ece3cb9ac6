//! The benchmark: what a rollout costs the API server and the operator, when a thousand happen at once; how soon a
//! breach ([`breaches`]) or a revoked entry ([`revocations`]) is weight 0; what it costs when nothing happens ([`rest`]); and how much of
//! it is the audit log's ([`log_cost`]).
//!
//! A thousand ModelDeployments with `replicas: 0` change together: there is no capacity to wait for and no
//! metric to ask, so what remains is the operator's own work. Four things are measured on one control
//! plane, one after the other: a canary of four steps of all deployments; one of two steps of
//! some, so that what a step costs can be told from what every rollout costs; the same writes once more,
//! decided by nobody; and the floor, as many bare writes by the same client. A goal that is missed is printed as missed: the benchmark
//! only fails when it could not measure.

mod accept;
pub mod audit;
pub mod breaches;
mod fleet;
mod floor;
pub mod log_cost;
mod member;
pub mod replay;
pub mod report;
pub mod requests;
pub mod rest;
pub mod revocations;
pub mod setting;
pub mod stage;
pub mod usage;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Api;
use werkbank::api::ModelDeployment;
use werkbank::api::gateway::HttpRoute;

use self::fleet::{Fleet, Goal};
use self::floor::Load;
use self::report::{Measure, Report};
use self::setting::Setting;
use self::stage::{Reading, Stage};
use crate::tools::cache::Cache;

const NAMESPACE: &str = "crm";
/// Requests of the harness under way at the same time.
const PARALLEL: usize = 16;
/// The operator's passes at the same time: the chart's value `concurrency`.
const PASSES: usize = 16;
/// How long one part may take: a second for each deployment, and this.
const PATIENCE: Duration = Duration::from_mins(2);
/// Deployments of the second, shorter canary.
const SOME: usize = 100;

const FOUR_STEPS: [&str; 4] = ["5%", "25%", "50%", "75%"];
const TWO_STEPS: [&str; 2] = ["5%", "50%"];

/// Who says that a route is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Acceptance {
    /// The workbench's Envoy, after it has taken the route.
    Envoy,
    /// A writer of statuses, at once.
    Writer,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// A canary of all deployments at once: requests, CPU, memory, time.
    Rollouts,
    /// A hundred breaches: how long until the gateway sends nothing to the candidate.
    Breaches,
    /// Fifty entries that are revoked: how long until the gateway sends nothing to what has them.
    Revocations,
    /// Nothing at all for minutes, and then a restart.
    Rest,
    /// The audit log by itself: entries instead of deployments, and no cluster.
    Audit,
    /// Canaries of all deployments with the audit log, and without.
    LogCost,
}

/// Measures, prints, and keeps the figures as JSON outside of the checkout.
///
/// # Errors
///
/// When a part cannot be started, or the rollouts do not end.
pub async fn run(part: Part, deployments: usize, acceptance: Acceptance) -> Result<()> {
    let setting = Setting::here(deployments, acceptance)?;
    if part == Part::Audit {
        let figures = audit::measure(deployments).await?;
        let path = setting.keep(&Cache::open()?.root().join("bench"), "audit", &figures.json(&setting))?;
        println!("{setting}\n\n{figures}\nAs JSON: {}", path.display());
        return Ok(());
    }
    say(&format!("Werkbank's benchmark, {part:?}: {deployments} deployments. {setting}"));
    let mut stage = Stage::set(acceptance).await?;
    let (page, figures) = match part {
        Part::Rollouts => {
            let report = measure(&stage, setting.clone()).await?;
            (report.to_string(), report.json())
        }
        Part::Breaches => {
            let trials = breaches::measure(&stage, deployments).await?;
            (format!("{setting}\n\n{trials}"), trials.json(&setting))
        }
        Part::Revocations => {
            let trials = revocations::measure(&stage, deployments).await?;
            (format!("{setting}\n\n{trials}"), trials.json(&setting))
        }
        Part::Rest => {
            let rest = rest::measure(&mut stage, deployments).await?;
            (format!("{deployments} deployments. {setting}\n\n{rest}"), rest.json(&setting))
        }
        Part::LogCost => {
            let cost = log_cost::measure(&mut stage, deployments).await?;
            (format!("{deployments} deployments. {setting}\n\n{cost}"), cost.json(&setting))
        }
        Part::Audit => return Ok(()),
    };
    let path = setting.keep(&stage.cache().join("bench"), &format!("{part:?}").to_lowercase(), &figures)?;
    println!("\n{page}\nAs JSON: {}", path.display());
    stage.end().await
}

async fn measure(stage: &Stage, setting: Setting) -> Result<Report> {
    let count = setting.deployments;
    stage.register(&["one", "two", "three"]).await?;
    let mut fleet = Fleet::new(stage.client());
    let patience = PATIENCE + Duration::from_secs(count.try_into()?);
    say("creating the deployments, until all first revisions are stable");
    fleet.create(count, "one", &FOUR_STEPS).await?;
    fleet.until(count, Goal::Settled("one"), patience).await?;
    let at_rest = settled(stage).await?;
    say("a canary of four steps of all");
    let four = canary(stage, &mut fleet, count, "two", &FOUR_STEPS, patience).await?;
    let some = count.min(SOME);
    say(&format!("a canary of two steps of {some}"));
    let two = canary(stage, &mut fleet, some, "three", &TWO_STEPS, patience).await?;
    let peak = stage.read().await?.usage.peak;
    let bytes = typical_size(stage).await?;
    stage.remove_operator().await?;
    let client = floor::client(stage).await?;
    say("the same writes, decided by nobody");
    let replay = replay::measure(&client, PASSES).await?;
    say("the floor: as many bare writes");
    let load = Load { objects: count.try_into()?, writes: four.writes_until_promoted, bytes, parallel: PASSES };
    let floor = floor::measure(client, load).await?;
    Ok(Report { setting, resident_at_rest: at_rest.usage.resident, peak_resident: peak, four, two, replay, floor })
}

/// One deployment's canary of four steps, by itself.
///
/// # Errors
///
/// When it does not end.
pub async fn one(stage: &Stage) -> Result<Measure> {
    stage.register(&["one", "two"]).await?;
    let mut fleet = Fleet::new(stage.client());
    fleet.create(1, "one", &FOUR_STEPS).await?;
    fleet.until(1, Goal::Settled("one"), PATIENCE).await?;
    settled(stage).await?;
    canary(stage, &mut fleet, 1, "two", &FOUR_STEPS, PATIENCE).await
}

/// Changes the first `count` deployments and follows them until nothing is left of the old revision.
async fn canary(
    stage: &Stage,
    fleet: &mut Fleet,
    count: usize,
    entry: &str,
    steps: &[&str],
    patience: Duration,
) -> Result<Measure> {
    let before = stage.read().await?;
    let begin = Instant::now();
    let change = Fleet::change(fleet.api(), count, entry, steps);
    let ((), promoted) = futures::try_join!(change, fleet.until(count, Goal::Promoted(entry), patience))?;
    let at_promotion = stage.read().await?;
    fleet.until(count, Goal::Settled(entry), patience).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let after = settled(stage).await?;
    let since = |it: &Instant| it.duration_since(begin).as_secs_f64();
    let (first, median) = (promoted.first().map(since), promoted.get(count / 2).map(since));
    Ok(Measure {
        deployments: count,
        steps: steps.len(),
        first_promoted: first.context("nothing was promoted")?,
        half_promoted: median.unwrap_or_default(),
        all_promoted: promoted.last().map(since).unwrap_or_default(),
        all_settled: seconds,
        cpu_seconds: after.usage.cpu_seconds - before.usage.cpu_seconds,
        cpu_of_machine: after.machine - before.machine,
        cpu_of_others: after
            .others
            .iter()
            .map(|(name, it)| (*name, it - before.others.get(name).unwrap_or(&0.0)))
            .collect(),
        requests: after.operator.since(&before.operator),
        everybody: after.everybody.since(&before.everybody),
        passes: difference(&before.passes, &after.passes),
        events_dropped: after.events_dropped - before.events_dropped,
        writes_until_promoted: at_promotion.operator.since(&before.operator).rollout_writes(),
    })
}

fn difference(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let since = |(name, now): (&String, &u64)| (name.clone(), now.saturating_sub(*before.get(name).unwrap_or(&0)));
    after.iter().map(since).filter(|(_, count)| *count > 0).collect()
}

/// A reading after which nothing more is sent: what comes late belongs to what was before.
async fn settled(stage: &Stage) -> Result<Reading> {
    let mut reading = stage.read().await?;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let next = stage.read().await?;
        if next.operator.since(&reading.operator).rollout_writes() == 0 {
            return Ok(next);
        }
        reading = next;
    }
}

/// What the operator's writes are about: a route and a deployment with its status, in bytes.
async fn typical_size(stage: &Stage) -> Result<usize> {
    let deployments: Api<ModelDeployment> = Api::namespaced(stage.client(), NAMESPACE);
    let routes: Api<HttpRoute> = Api::namespaced(stage.client(), NAMESPACE);
    let deployment = serde_json::to_vec(&deployments.get("churn-00000").await?)?.len();
    let route = serde_json::to_vec(&routes.get("churn-00000").await?)?.len();
    Ok((deployment + route) / 2)
}

/// What begins now, and how long everything before it took.
fn say(line: &str) {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    println!("{:>4} s  {line}", BEGIN.get_or_init(Instant::now).elapsed().as_secs());
}
