//! What is done to a run of a scenario: nothing, a fault at one place, or what chance has.
//!
//! Each has a form in the environment, `SEED=4711`: what fails prints that, and `sim::tests::again` does it again.

use super::run::{Ended, blinded, natural, no_faults, seeded};
use super::scenario::Scenario;
use super::wire::{self, Fate, Plan};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Case {
    /// `LOOKS=100`: no faults; at rest it is looked at so often.
    Rest(usize),
    /// `WRITE=7 SIDE=DiesAfter`: this becomes of one write.
    Death(usize, Fate),
    /// `STORM=12`: from this write on, conflicts in a row.
    Storm(usize),
    /// `AWAY=7`: from this write on the log is away for longer than the loop has patience, and the next write to a child fails once.
    Outage(usize),
    /// `RIGHT='PATCH /…'`: this right is missing when it is first needed, and then given back.
    Right(String),
    /// `BLIND=/apis/apps/v1/deployments FROM_WRITE=7`: from this write on these may not be read for a while.
    Blind(String, usize),
    /// `SEED=4711`: the order, and what goes wrong.
    Schedule(u64),
    /// `SEEN=1`: this one of [`SEEN`].
    Seen(usize),
}

/// What can become of a write: the ways a process can die at it, and that it is sent twice.
pub(super) const SIDES: [Fate; 4] = [Fate::DiesBefore, Fate::DiesAfter, Fate::ArrivesLate, Fate::Twice];
/// Conflicts in a row.
pub(super) const STORM: usize = 25;
/// Longer than the loop's patience with it, and than a step.
const AWAY: u64 = 150;
/// Refusals until a right is given back.
const REFUSALS: usize = 4;
/// Looks at what has come to rest after a fault.
const LOOKS: usize = 2;

/// What has once gone wrong: the scenario, the write, which of them, and what became of it.
pub(super) const SEEN: [(&str, &str, usize, Fate); 2] = [
    (
        "no_failure_tolerated",
        "PATCH /apis/gateway.networking.k8s.io/v1/namespaces/crm/httproutes/churn",
        1,
        Fate::ArrivesLate,
    ),
    // The record cannot be read, and nothing is to be written to it: whoever waits for it has to ask again.
    (
        "restored_without_status_after_a_rollback",
        "PUT /apis/werkbank.dev/v1alpha1/namespaces/crm/modeldeployments/churn/status",
        14,
        Fate::TrailGoes(AWAY),
    ),
];

impl Case {
    /// Plays it.
    pub(super) fn of(&self, scenario: &Scenario) -> Ended {
        match self {
            Self::Rest(looks) => natural(scenario, no_faults(), *looks),
            Self::Schedule(seed) => seeded(scenario, *seed),
            Self::Blind(collection, from) => blinded(scenario, *from, collection, LOOKS),
            Self::Death(..) | Self::Storm(_) | Self::Outage(_) | Self::Right(_) | Self::Seen(_) => {
                natural(scenario, self.plan(), LOOKS)
            }
        }
    }

    fn plan(&self) -> Plan {
        match self.clone() {
            Self::Death(write, side) => Box::new(move |number, _| if number == write { side } else { Fate::Arrives }),
            Self::Storm(from) => storm(from),
            Self::Outage(from) => outage(from),
            Self::Right(right) => refusals(right),
            Self::Seen(number) => seen(number),
            Self::Rest(_) | Self::Schedule(_) | Self::Blind(..) => no_faults(),
        }
    }

    /// As it is written in front of a command.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Rest(looks) => format!("LOOKS={looks}"),
            Self::Death(write, side) => format!("WRITE={write} SIDE={side:?}"),
            Self::Storm(from) => format!("STORM={from}"),
            Self::Outage(from) => format!("AWAY={from}"),
            Self::Right(right) => format!("RIGHT='{right}'"),
            Self::Blind(collection, from) => format!("BLIND={collection} FROM_WRITE={from}"),
            Self::Schedule(seed) => format!("SEED={seed}"),
            Self::Seen(number) => format!("SEEN={number}"),
        }
    }

    /// What the environment says; by default no faults, and one look.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| {
            let it = variable(name)?;
            Some(it.parse::<usize>().unwrap_or_else(|_| panic!("{name} is no number: {it}")))
        };
        if let Some(seed) = number("SEED") {
            return Self::Schedule(seed as u64);
        }
        if let Some(write) = number("WRITE") {
            let side = variable("SIDE").unwrap_or_else(|| "DiesAfter".into());
            let known = SIDES.into_iter().find(|it| format!("{it:?}") == side);
            return Self::Death(write, known.unwrap_or_else(|| panic!("SIDE is one of {SIDES:?}, not {side}")));
        }
        if let (Some(collection), Some(from)) = (variable("BLIND"), number("FROM_WRITE")) {
            return Self::Blind(collection, from);
        }
        let right = || variable("RIGHT").map(Self::Right);
        let fault = number("STORM").map(Self::Storm).or_else(|| number("AWAY").map(Self::Outage)).or_else(right);
        fault.or_else(|| number("SEEN").map(Self::Seen)).unwrap_or_else(|| Self::Rest(number("LOOKS").unwrap_or(1)))
    }
}

fn storm(from: usize) -> Plan {
    let mut left = STORM;
    Box::new(move |number, about| {
        let strikes = number >= from && left > 0 && !wire::is_of_log(about);
        left -= usize::from(strikes);
        if strikes { Fate::Refused(409) } else { Fate::Arrives }
    })
}

fn outage(from: usize) -> Plan {
    let mut is_still_to_fail = true;
    Box::new(move |number, about| {
        if number == from {
            return Fate::TrailGoes(AWAY);
        }
        let fails = number > from && wire::is_of_child(about) && is_still_to_fail;
        is_still_to_fail &= !fails;
        if fails { Fate::Refused(500) } else { Fate::Arrives }
    })
}

/// The right that a write takes: its verb, and the collection or what is below it.
pub(super) fn right(write: &str) -> String {
    let is_named = !write.starts_with("POST ");
    let (place, below) = write.strip_suffix("/status").map_or((write, ""), |it| (it, "/status"));
    let collection = if is_named { place.rsplit_once('/').map_or(place, |it| it.0) } else { place };
    format!("{collection}{below}")
}

fn refusals(wanted: String) -> Plan {
    let mut left = REFUSALS;
    Box::new(move |_, about| {
        let strikes = left > 0 && right(about) == wanted;
        left -= usize::from(strikes);
        if strikes { Fate::Refused(403) } else { Fate::Arrives }
    })
}

fn seen(number: usize) -> Plan {
    let (_, write, which, side) = SEEN[number];
    let mut left = which;
    Box::new(move |_, about| {
        left = left.wrapping_sub(usize::from(about == write));
        if about == write && left == 0 { side } else { Fate::Arrives }
    })
}

#[test]
fn what_is_printed_is_what_is_done_again() {
    let right = "PUT /apis/werkbank.dev/v1alpha1/namespaces/crm/modeldeployments/status".to_owned();
    let deaths = SIDES.into_iter().map(|side| Case::Death(7, side));
    let others = [Case::Rest(100), Case::Storm(12), Case::Outage(7), Case::Right(right), Case::Schedule(4711)];
    let more = [Case::Seen(1), Case::Blind("/apis/apps/v1/deployments".into(), 7)];
    for case in deaths.chain(others).chain(more) {
        // As a shell reads it.
        let printed =
            std::process::Command::new("sh").env_clear().args(["-c", &format!("{} env", case.written())]).output();
        let printed = String::from_utf8(printed.unwrap().stdout).unwrap();
        let variable =
            |name: &str| printed.lines().find_map(|it| Some(it.strip_prefix(name)?.strip_prefix('=')?.to_owned()));
        assert_eq!(Case::read(variable), case, "{}", case.written());
    }
}
