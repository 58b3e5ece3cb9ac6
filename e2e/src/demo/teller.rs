//! Tells a version's way while it happens.

use std::time::{Duration, Instant};

use anyhow::Result;
use werkbank::api::Weight;
use werkbank::api::model_deployment::{Attempt, AttemptState, Phase, Verdict};

use super::act::Act;
use super::screen::{Screen, Style};
use super::words::{count, percent};

/// Where nothing can be written over, a line now and then shows that it goes on.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Where it can, not more often than eyes follow.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// One version's lines: a new one for each change; the last one lives, on a terminal.
pub(super) struct Teller<'a> {
    screen: &'a mut Screen,
    /// Outcomes that the objective waits for.
    needed: u64,
    state: Option<(Phase, Weight, Option<Weight>)>,
    told: Instant,
    /// What was shared out at the present weight, as long as it was not told.
    untold: Option<String>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(screen: &'a mut Screen, needed: u64) -> Result<Self> {
        let columns =
            format!("{:>9}  {:<11} {:>6} {:>6}  {:<24} verdicts", "after", "phase", "weight", "Envoy", "sent to it");
        let columns = screen.styled(Style::Quiet, &columns);
        screen.say(&columns)?;
        Ok(Self { screen, needed, state: None, told: Instant::now(), untold: None })
    }

    /// Tells what a look at the version has brought. `known` outcomes of its selections are known.
    pub(super) fn tell(&mut self, act: &Act, known: u64) -> Result<()> {
        let Some(attempt) = act.attempt() else { return Ok(()) };
        let state = Some((act.last.status.phase, attempt.weight, act.last.envoy));
        let changed = state != self.state;
        let line = line(act, attempt, (known, self.needed));
        if self.screen.is_live() {
            if changed {
                self.screen.keep()?;
            }
            if changed || self.told.elapsed() > SHOW_EVERY {
                self.screen.show(&line)?;
                self.told = Instant::now();
            }
        } else if changed || self.told.elapsed() > TELL_EVERY {
            if let Some(untold) = self.untold.take().filter(|_| changed) {
                self.screen.say(&untold)?;
            }
            self.screen.say(&line)?;
            self.told = Instant::now();
        } else if attempt.state == AttemptState::Observing {
            self.untold = Some(line);
        }
        self.state = state;
        Ok(())
    }

    pub(super) fn end(self) -> Result<()> {
        self.screen.keep()
    }
}

fn line(act: &Act, attempt: &Attempt, outcomes: (u64, u64)) -> String {
    let phase = format!("{:?}", act.last.status.phase);
    let envoy = act.last.envoy.map_or("-".to_owned(), |it| it.to_string());
    let held = act.held.last().filter(|it| it.weight == attempt.weight && it.all() > 0);
    let sent = held.map_or("-".to_owned(), |it| {
        format!("{} of {} requests", percent(it.own(&act.revision) as f64 / it.all() as f64), count(it.all()))
    });
    let verdicts: Vec<String> = act.last.status.verdicts.iter().map(|it| verdict(it, outcomes)).collect();
    let after = format!("{:.1} s", act.last.at.as_secs_f64());
    let line = format!(
        "{after:>9}  {phase:<11} {:>6} {envoy:>6}  {sent:<24} {}",
        attempt.weight.to_string(),
        verdicts.join(", ")
    );
    line.trim_end().to_owned()
}

/// The example's metrics are shares; the one that is compared waits for outcomes.
fn verdict(verdict: &Verdict, (known, needed): (u64, u64)) -> String {
    let share = |it: &Option<String>| it.as_ref()?.parse().ok().map(percent);
    let values = match (share(&verdict.value), share(&verdict.stable_value)) {
        (Some(own), Some(stable)) => format!(" {own} (stable {stable})"),
        (Some(own), None) => format!(" {own}"),
        (None, _) if verdict.metric == "hit-rate" => format!(" ({} of {needed} outcomes)", known.min(needed)),
        (None, _) => String::new(),
    };
    format!("{} {:?}{values}", verdict.metric, verdict.verdict)
}
