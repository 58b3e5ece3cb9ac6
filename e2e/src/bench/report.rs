//! The figures, as a page and as JSON, beside what they should be.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::replay::Replay;
use super::requests::{Account, Request, Requests};
use super::setting::Setting;

/// Requests that a step may cost.
const PER_STEP: f64 = 3.0;
/// Requests that a rollout may cost besides its steps.
const FIXED: f64 = 9.0;
const CPU_MILLISECONDS: f64 = 8.0;
const PEAK_BYTES: u64 = 60_000_000;
const TIMES_THE_FLOOR: f64 = 1.5;

/// One canary of many deployments. Times are in seconds since the first was changed.
#[derive(Clone, Debug)]
pub struct Measure {
    /// How many changed.
    pub deployments: usize,
    /// Steps of each.
    pub steps: usize,
    /// The first was promoted.
    pub first_promoted: f64,
    /// Half of them were.
    pub half_promoted: f64,
    /// All of them were.
    pub all_promoted: f64,
    /// Nothing was left of the old revisions.
    pub all_settled: f64,
    /// The operator's CPU time, until nothing more was sent.
    pub cpu_seconds: f64,
    /// That of everything on the machine.
    pub cpu_of_machine: f64,
    /// That of what the benchmark ran besides, by its name.
    pub cpu_of_others: BTreeMap<&'static str, f64>,
    /// What the operator sent, until nothing more was sent.
    pub requests: Requests,
    /// What everybody sent meanwhile.
    pub everybody: Requests,
    /// The operator's passes, by outcome.
    pub passes: BTreeMap<String, u64>,
    /// Events that were not written.
    pub events_dropped: u64,
    /// The operator's writes when the last deployment was promoted, Events and lease apart.
    pub writes_until_promoted: u64,
}

impl Measure {
    fn per_rollout(&self, sum: f64) -> f64 {
        sum / self.deployments.max(1) as f64
    }

    /// Requests of one rollout; entries, Events, lease and watches apart.
    #[must_use]
    pub fn requests_per_rollout(&self) -> f64 {
        self.per_rollout(self.requests.of(Account::Rollouts) as f64)
    }

    /// The operator's CPU time of one rollout.
    #[must_use]
    pub fn cpu_milliseconds(&self) -> f64 {
        self.per_rollout(self.cpu_seconds * 1e3)
    }

    /// CPU seconds of processes that have nothing to do with the benchmark, and of the kernel on its own account.
    fn cpu_of_strangers(&self) -> f64 {
        (self.cpu_of_machine - self.cpu_seconds - self.cpu_of_others.values().sum::<f64>()).max(0.0)
    }

    /// Writes that were not the operator's: the harness's own and those of Kubernetes' controllers.
    fn writes_of_others(&self) -> u64 {
        self.everybody.writes().saturating_sub(self.requests.writes())
    }
}

/// Bare writes by the operator's client.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// As many as the operator's.
    pub writes: u64,
    /// Bytes of each object.
    pub bytes: usize,
    /// How long they took together.
    pub seconds: f64,
    /// CPU time of the client that sent them, which decided nothing, read nothing but the answers and watched nothing.
    pub cpu_seconds: f64,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Report {
    /// On what.
    pub setting: Setting,
    /// The operator's memory before the canary.
    pub resident_at_rest: u64,
    /// The most it ever held, creation of all deployments included.
    pub peak_resident: u64,
    /// Four steps of all.
    pub four: Measure,
    /// Two steps of some.
    pub two: Measure,
    /// The same writes as those of the four steps, decided by nobody.
    pub replay: Replay,
    /// Bare writes.
    pub floor: Floor,
}

/// A figure and what it should be.
struct Goal {
    what: &'static str,
    measured: String,
    goal: String,
    met: bool,
}

impl Report {
    /// Requests per step, and per rollout besides: two canaries give two equations.
    #[must_use]
    pub fn parts(&self) -> (f64, f64) {
        let (four, two) = (self.four.requests_per_rollout(), self.two.requests_per_rollout());
        let steps = self.four.steps as f64;
        let per_step = (four - two) / (steps - self.two.steps as f64);
        (per_step, four - per_step * steps)
    }

    fn times_the_floor(&self) -> f64 {
        self.four.all_promoted / self.floor.seconds
    }

    fn times_the_replay(&self) -> f64 {
        self.four.all_settled / self.replay.seconds
    }

    /// CPU time of a rollout's share of the floor: what sending as many bare writes takes a client that decides nothing.
    fn cpu_of_sending(&self) -> f64 {
        self.four.per_rollout(self.floor.cpu_seconds * 1e3)
    }

    fn goals(&self) -> Vec<Goal> {
        let allowed = PER_STEP * self.four.steps as f64 + FIXED;
        let requests = self.four.requests_per_rollout();
        let reads = self.four.requests.reads(Account::Rollouts);
        let cpu = self.four.cpu_milliseconds();
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let goal = |what, measured: String, goal: String, met| Goal { what, measured, goal, met };
        vec![
            goal("requests per rollout", format!("{requests:.2}"), format!("≤ {allowed}"), requests <= allowed),
            goal("GET and LIST", reads.to_string(), "none".into(), reads == 0),
            goal("CPU per rollout", format!("{cpu:.2} ms"), format!("< {CPU_MILLISECONDS} ms"), cpu < CPU_MILLISECONDS),
            goal(
                "peak memory",
                megabytes(self.peak_resident),
                format!("< {}", megabytes(PEAK_BYTES)),
                self.peak_resident < PEAK_BYTES,
            ),
            goal(
                "time, as multiple of the floor",
                format!("{:.2}", self.times_the_floor()),
                format!("≤ {TIMES_THE_FLOOR}"),
                self.times_the_floor() <= TIMES_THE_FLOOR,
            ),
        ]
    }

    /// The figures, for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let (per_step, fixed) = self.parts();
        let goals: Vec<Value> = self
            .goals()
            .into_iter()
            .map(|it| json!({"what": it.what, "measured": it.measured, "goal": it.goal, "met": it.met}))
            .collect();
        json!({
            "setting": self.setting.json(),
            "goals": goals,
            "requestsPerStep": per_step,
            "requestsPerRolloutBesides": fixed,
            "residentAtRestBytes": self.resident_at_rest,
            "peakResidentBytes": self.peak_resident,
            "canaries": [json_of(&self.four), json_of(&self.two)],
            "sameWrites": {
                "writes": self.replay.writes, "seconds": self.replay.seconds,
                "timesTheSameWrites": self.times_the_replay(),
            },
            "floor": {
                "writes": self.floor.writes, "bytes": self.floor.bytes, "seconds": self.floor.seconds,
                "cpuSeconds": self.floor.cpu_seconds, "cpuMillisecondsPerRollout": self.cpu_of_sending(),
                "timesTheFloor": self.times_the_floor(),
            },
        })
    }
}

fn json_of(it: &Measure) -> Value {
    let rows = |requests: &Requests| -> Vec<Value> {
        requests.iter().map(|(request, sent)| json!({"request": request, "sent": sent})).collect()
    };
    json!({
        "deployments": it.deployments,
        "steps": it.steps,
        "seconds": {
            "firstPromoted": it.first_promoted, "halfPromoted": it.half_promoted,
            "allPromoted": it.all_promoted, "allSettled": it.all_settled,
        },
        "cpuSeconds": it.cpu_seconds,
        "cpuSecondsOfOthers": it.cpu_of_others,
        "cpuSecondsOfStrangers": it.cpu_of_strangers(),
        "requestsPerRollout": it.requests_per_rollout(),
        "passes": it.passes,
        "eventsDropped": it.events_dropped,
        "requests": rows(&it.requests),
        "writesOfOthers": it.writes_of_others(),
        "everybody": rows(&it.everybody),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} deployments. {}\n", self.setting.deployments, self.setting)?;
        let (four, two) = (&self.four, &self.two);
        writeln!(
            f,
            "{} rollouts of {} steps: first promoted after {:.1} s, half {:.1} s, all {:.1} s; old revisions gone {:.1} s",
            four.deployments, four.steps, four.first_promoted, four.half_promoted, four.all_promoted, four.all_settled
        )?;
        writeln!(
            f,
            "{} rollouts of {} steps: all promoted after {:.1} s, {:.2} requests and {:.2} ms CPU each",
            two.deployments,
            two.steps,
            two.all_promoted,
            two.requests_per_rollout(),
            two.cpu_milliseconds()
        )?;
        let Replay { writes, seconds } = self.replay;
        writeln!(
            f,
            "the same writes, decided by nobody: {writes} in {seconds:.1} s; the rollouts took {:.2} times that",
            self.times_the_replay()
        )?;
        let Floor { writes, bytes, seconds, .. } = self.floor;
        writeln!(
            f,
            "the floor: {writes} server-side applies of {bytes} bytes in {seconds:.1} s ({:.0} per second); their client took {:.2} ms CPU for as many as a rollout has",
            writes as f64 / seconds,
            self.cpu_of_sending()
        )?;
        writeln!(
            f,
            "the operator: {:.2} s CPU, {:.1} MB before the change, {:.1} MB at most",
            four.cpu_seconds,
            self.resident_at_rest as f64 / 1e6,
            self.peak_resident as f64 / 1e6
        )?;
        let others: Vec<String> = four.cpu_of_others.iter().map(|(name, it)| format!("{name} {it:.1} s")).collect();
        let strangers = four.cpu_of_strangers();
        writeln!(f, "CPU of others meanwhile: {}; of what does not belong here {strangers:.1} s\n", others.join(", "))?;
        table(f, four)?;
        let (per_step, fixed) = self.parts();
        writeln!(
            f,
            "\n{per_step:.2} requests per step (goal: ≤ {PER_STEP}) and {fixed:.2} besides (goal: ≤ {FIXED})\n"
        )?;
        for Goal { what, measured, goal, met } in self.goals() {
            let met = if met { "yes" } else { "NO" };
            writeln!(f, "{what:32} {measured:>10}   goal {goal:10} {met}")?;
        }
        Ok(())
    }
}

/// The operator's requests, the rollouts' own first.
fn table(f: &mut fmt::Formatter<'_>, measure: &Measure) -> fmt::Result {
    writeln!(f, "{:12} {:28} {:>8} {:>12}", "verb", "resource", "sent", "per rollout")?;
    let accounts = [
        (Account::Rollouts, "all of a rollout"),
        (Account::Entries, "the entries"),
        (Account::Events, "Events"),
        (Account::Lease, "the lease"),
        (Account::Watches, "watches"),
    ];
    for (account, name) in accounts {
        if account == Account::Rollouts {
            let of_rollouts = |it: &&(&Request, u64)| it.0.account() == account;
            let mut rows: Vec<_> = measure.requests.iter().collect();
            rows.retain(|it| of_rollouts(&it));
            rows.sort_by_key(|(_, sent)| std::cmp::Reverse(*sent));
            for (request, sent) in rows {
                let refused = if request.accepted { "" } else { "  refused" };
                let each = measure.per_rollout(sent as f64);
                writeln!(f, "{:12} {:28} {sent:>8} {each:>12.3}{refused}", request.verb, request.resource)?;
            }
        }
        let sent = measure.requests.of(account);
        let reads = if account == Account::Entries { measure.requests.reads(account) } else { 0 };
        let lists = if reads == 0 { String::new() } else { format!("  {reads} of them GETs or LISTs") };
        writeln!(f, "{:12} {name:28} {sent:>8} {:>12.3}{lists}", "", measure.per_rollout(sent as f64))?;
    }
    let others = measure.writes_of_others();
    writeln!(f, "{:12} {:28} {others:>8} {:>12.3}", "", "writes of others", measure.per_rollout(others as f64))?;
    let passes: Vec<String> =
        measure.passes.iter().map(|(it, count)| format!("{:.1} {it}", measure.per_rollout(*count as f64))).collect();
    writeln!(f, "passes per rollout: {}", passes.join(", "))?;
    writeln!(f, "{} Events were dropped by the limit on them", measure.events_dropped)
}
