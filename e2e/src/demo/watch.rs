//! Watching one version on its way, until it has ended or patience has.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::act::{Act, Look};
use super::replay::Replay;
use super::screen::Screen;
use super::stage::Stage;
use super::teller::Teller;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long one version may take before the story says that it did not end.
const PATIENCE: Duration = Duration::from_secs(420);

/// A version that was deployed just now.
pub(super) struct Watch<'a> {
    pub(super) stage: &'a Stage,
    pub(super) entry: &'a str,
    /// Who knows the outcomes, and how many the objective waits for.
    pub(super) replay: Option<&'a Replay>,
    pub(super) needed: u64,
}

impl Watch<'_> {
    /// Watches it and tells of it.
    pub(super) async fn until_its_end(self, screen: &mut Screen) -> Result<Act> {
        let begin = Instant::now();
        let mut act = Act::of(self.entry);
        let mut teller = Teller::new(screen, self.needed)?;
        while !act.has_ended() && begin.elapsed() < PATIENCE {
            act.see(look(self.stage, self.entry, begin).await?);
            let known = self.replay.and_then(|it| it.snapshot().revisions.get(&act.revision).map(|it| it.judged));
            teller.tell(&act, known.unwrap_or_default())?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        teller.end()?;
        Ok(act)
    }
}

async fn look(stage: &Stage, entry: &str, begin: Instant) -> Result<Look> {
    let status = stage.status().await?;
    let revision = status.attempt.as_ref().filter(|it| it.entry.name == entry).map(|it| it.revision.clone());
    let sent = stage.sent().await?;
    let envoy = match revision {
        Some(revision) => stage.weight_in_envoy(&revision).await?,
        None => None,
    };
    Ok(Look { at: begin.elapsed(), status, envoy, sent })
}

/// The revision that an entry is deployed as, as soon as it is known.
pub(super) async fn candidate(stage: &Stage, entry: &str) -> Result<String> {
    loop {
        let attempt = stage.deployment().await?.status.and_then(|it| it.attempt);
        if let Some(attempt) = attempt.filter(|it| it.entry.name == entry) {
            return Ok(attempt.revision);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
