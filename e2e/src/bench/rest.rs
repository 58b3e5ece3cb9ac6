//! What many deployments cost when nothing happens to them, and what a restart of the operator costs then.
//!
//! All of them have converged. For ten minutes nobody touches them: the operator may read nothing, write nothing but its
//! lease, and hold little memory. Then its pod is replaced, as by an upgrade or a drained node, and while none runs one deployment
//! is pointed at another entry: what counts is how soon that one's attempt begins, and what was asked of the API server until all
//! is at rest again.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::Api;
use serde_json::{Value, json};
use werkbank::api::ModelDeployment;

use super::fleet::{Fleet, Goal, name};
use super::requests::{Account, Requests};
use super::setting::Setting;
use super::stage::Stage;
use super::{FOUR_STEPS, NAMESPACE, PATIENCE, say, settled};

/// How long nothing happens.
const FOR: Duration = Duration::from_mins(10);
const MOST_BYTES: u64 = 300 * 1024 * 1024;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Rest {
    /// Deployments per second while they were created, until all were stable.
    created_per_second: f64,
    resident: u64,
    peak: u64,
    cpu_seconds: f64,
    /// What was sent in ten minutes.
    requests: Requests,
    restart: Restart,
}

/// After the operator's process was started.
#[derive(Clone, Debug)]
struct Restart {
    /// It had read everything and led.
    ready: f64,
    /// The deployment that had changed meanwhile had its attempt.
    acted: f64,
    /// Nothing more was sent.
    settled: f64,
    cpu_seconds: f64,
    peak: u64,
    requests: Requests,
}

/// Creates deployments, waits, restarts the operator.
///
/// # Errors
/// When they do not become stable, or the operator does not come back.
pub async fn measure(stage: &mut Stage, deployments: usize) -> Result<Rest> {
    stage.register(&["one", "two"]).await?;
    let mut fleet = Fleet::new(stage.client());
    say("creating the deployments, until all first revisions are stable");
    let began = Instant::now();
    let patience = PATIENCE + Duration::from_secs(deployments.try_into()?);
    fleet.create(deployments, "one", &FOUR_STEPS).await?;
    fleet.until(deployments, Goal::Settled("one"), patience).await?;
    let created_per_second = deployments as f64 / began.elapsed().as_secs_f64();
    let before = settled(stage).await?;
    say("nothing, for ten minutes");
    tokio::time::sleep(FOR).await;
    let after = stage.read().await?;
    say("a restart");
    let restart = restart(stage).await?;
    Ok(Rest {
        created_per_second,
        resident: after.usage.resident,
        peak: after.usage.peak,
        cpu_seconds: after.usage.cpu_seconds - before.usage.cpu_seconds,
        requests: after.operator.since(&before.operator),
        restart,
    })
}

async fn restart(stage: &mut Stage) -> Result<Restart> {
    let api: Api<ModelDeployment> = Api::namespaced(stage.client(), NAMESPACE);
    let attempts = async || anyhow::Ok(api.get_status(&name(0)).await?.status.map(|it| it.attempts));
    let before = attempts().await?;
    let change = Fleet::change(api.clone(), 1, "two", &FOUR_STEPS);
    let started = stage.restart_operator(change).await?;
    let (mut ready, mut acted) = (None, None);
    while ready.is_none() || acted.is_none() {
        ensure!(started.elapsed() < PATIENCE, "the operator that was started anew does nothing");
        if ready.is_none() && stage.is_ready().await {
            ready = Some(started.elapsed().as_secs_f64());
        }
        if acted.is_none() && attempts().await? != before {
            acted = Some(started.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut fleet = Fleet::new(stage.client());
    fleet.until(1, Goal::Settled("two"), PATIENCE).await?;
    let at_rest = settled(stage).await?;
    Ok(Restart {
        ready: ready.unwrap_or_default(),
        acted: acted.unwrap_or_default(),
        settled: started.elapsed().as_secs_f64(),
        cpu_seconds: at_rest.usage.cpu_seconds,
        peak: at_rest.usage.peak,
        requests: at_rest.operator,
    })
}

impl Rest {
    /// For machines.
    #[must_use]
    pub fn json(&self, setting: &Setting) -> Value {
        let rows = |requests: &Requests| -> Vec<Value> {
            requests.iter().map(|(request, sent)| json!({"request": request, "sent": sent})).collect()
        };
        let Restart { ready, acted, settled, cpu_seconds, peak, requests } = &self.restart;
        json!({
            "setting": setting.json(),
            "createdPerSecond": self.created_per_second,
            "rest": {
                "seconds": FOR.as_secs(), "residentBytes": self.resident, "peakBytes": self.peak,
                "cpuSeconds": self.cpu_seconds, "requests": rows(&self.requests),
            },
            "restart": {
                "readySeconds": ready, "firstActionSeconds": acted, "settledSeconds": settled, "cpuSeconds": cpu_seconds,
                "peakBytes": peak, "requests": rows(requests),
            },
        })
    }
}

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let sent = |requests: &Requests| {
            let of = |account| requests.of(account);
            format!(
                "{} for deployments ({} writes), {} for the lease, {} watches, {} Events",
                of(Account::Rollouts),
                requests.rollout_writes(),
                of(Account::Lease),
                of(Account::Watches),
                of(Account::Events)
            )
        };
        writeln!(f, "created and stable: {:.1} per second", self.created_per_second)?;
        writeln!(f, "ten minutes of rest: {}", sent(&self.requests))?;
        writeln!(
            f,
            "the operator: {:.1} MiB (at most {:.1} MiB while they were created), {:.2} s CPU in ten minutes",
            megabytes(self.resident),
            megabytes(self.peak),
            self.cpu_seconds
        )?;
        let Restart { ready, acted, settled, cpu_seconds, peak, requests } = &self.restart;
        writeln!(
            f,
            "a restart: ready after {ready:.1} s, the one that had changed has its attempt after {acted:.1} s, at rest after {settled:.1} s; \
             {cpu_seconds:.1} s CPU, {:.1} MiB at most",
            megabytes(*peak)
        )?;
        writeln!(f, "until then: {}\n", sent(requests))?;
        let goal = |f: &mut fmt::Formatter<'_>, what: &str, measured: String, goal: &str, met: bool| {
            writeln!(f, "{what:24} {measured:>12}   goal {goal:12} {}", if met { "yes" } else { "NO" })
        };
        let writes = self.requests.rollout_writes();
        goal(f, "writes at rest", writes.to_string(), "none", writes == 0)?;
        let most = self.resident.max(*peak);
        goal(f, "memory", format!("{:.1} MiB", megabytes(most)), "≤ 300 MiB", most <= MOST_BYTES)
    }
}
