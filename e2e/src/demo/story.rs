//! The story itself: three versions, one after the other, each held to what it promises.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Result;
use werkbank::api::model_deployment::Phase;

use super::act::Act;
use super::approvals;
use super::audit;
use super::manifest::Manifest;
use super::promises::{self, Promise};
use super::replay::Replay;
use super::screen::{Screen, Style};
use super::stage::Stage;
use super::summary::{Fared, summary};
use super::watch::{Watch, candidate};
use crate::breach::Seen;

pub(super) const TITLE: &str = "Werkbank's demo: three versions of a churn model, on a cluster of local processes";
pub(super) const SUBJECT: &str = "\
A shop mails a discount to customers who would not come back without it. The model selects them. Its hit rate is
the share of those selected who really bought nothing in the 90 days that followed; the data has the answer.";

/// Requests per second that the replay sends.
const RATE: u32 = 400;
/// How long the first version answers alone.
const ALONE: Duration = Duration::from_secs(2);
/// How long Envoy is waited for after an entry was revoked.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is under way when a version loses its traffic has been answered after this time.
const SETTLED: Duration = Duration::from_secs(1);

/// A story that is being told.
pub(super) struct Story<'a> {
    stage: &'a Stage,
    screen: &'a mut Screen,
    begin: Instant,
    /// The customers; they go on when the story has ended.
    pub(super) replay: Option<Replay>,
    promises: Vec<Promise>,
    fared: Fared,
}

/// A line about the preparations.
pub(super) fn scene(begin: Instant, what: &str) -> String {
    format!("{:>9}  {what}", format!("{:.1} s", begin.elapsed().as_secs_f64()))
}

impl<'a> Story<'a> {
    pub(super) fn new(stage: &'a Stage, screen: &'a mut Screen, begin: Instant) -> Self {
        Self { stage, screen, begin, replay: None, promises: Vec::new(), fared: Fared::default() }
    }

    /// Tells it until a promise is broken or all are kept, and says at the end how it went.
    pub(super) async fn tell(&mut self) -> Result<Option<String>> {
        self.prepare().await?;
        let manifest = Manifest::read()?;
        self.acts(&manifest).await?;
        if let Some(replay) = &self.replay {
            self.fared.seen = replay.snapshot();
            self.screen.say("")?;
            self.hold(vec![promises::unharmed(&self.fared.seen)])?;
        }
        self.fared.took = self.begin.elapsed();
        for line in summary(&self.fared, &self.promises) {
            self.screen.say(&line)?;
        }
        Ok(promises::broken(&self.promises))
    }

    async fn prepare(&mut self) -> Result<()> {
        self.scene("training three versions on purchases of 1997 and 1998 (the CDNOW data)")?;
        self.stage.train().await?;
        self.scene("installing the operator with its Helm chart, two replicas")?;
        self.stage.furnish().await?;
        self.fared.ready = self.begin.elapsed();
        self.scene("everything runs")
    }

    /// Whatever is broken ends the story: what would follow says nothing.
    async fn acts(&mut self, manifest: &Manifest) -> Result<()> {
        let Some(stable) = self.good(manifest).await? else { return Ok(()) };
        let Some(harmful) = self.harmful(manifest, &stable).await? else { return Ok(()) };
        let Some(better) = self.better(manifest, &harmful).await? else { return Ok(()) };
        if self.explained("churn-v3").await? && self.incident("churn-v3", &better, &stable).await? {
            self.audited([&harmful, &better]).await?;
        }
        Ok(())
    }

    async fn good(&mut self, manifest: &Manifest) -> Result<Option<String>> {
        self.heading("1. churn-v1 is deployed: the first version, there is nothing to compare it with")?;
        self.stage.deploy(manifest, "churn-v1").await?;
        let watch = Watch { stage: self.stage, entry: "churn-v1", replay: None, needed: manifest.outcomes()? };
        let act = watch.until_its_end(self.screen).await?;
        // Where nothing serves there is no gateway to ask.
        if act.last.status.phase == Phase::Stable {
            self.replay = Some(self.stage.replay(f64::from(RATE)).await?);
            self.screen.say(&format!("It serves. From now on {RATE} customers a second ask it, through Envoy."))?;
            tokio::time::sleep(ALONE).await;
        }
        let answered = self.replay.as_ref().map(Replay::snapshot).unwrap_or_default();
        let kept = self.hold(vec![promises::serves(&act, &answered)])?;
        let revision = act.revision.clone();
        self.fared.good = Some(act);
        Ok(kept.then_some(revision))
    }

    /// Gives the revision that was taken back.
    async fn harmful(&mut self, manifest: &Manifest, stable: &str) -> Result<Option<String>> {
        self.heading(
            "2. churn-v2 is deployed: by far the best in its author's validation. It was trained on the future",
        )?;
        self.stage.deploy(manifest, "churn-v2").await?;
        let deployed = Instant::now();
        let (act, breach) = self.watch_breach(manifest, stable).await?;
        let (steps, within) = (manifest.steps()?, manifest.back_within()?);
        let first = steps.get(..1).unwrap_or_default();
        let mut all = promises::taken_back(&act, first, stable);
        all.push(promises::back_in_time(&act, breach.map(Seen::took), within));
        all.push(promises::divided(&act, first));
        let kept = self.hold(all)?;
        self.fared.breach = breach.map(|it| (it.visible.saturating_duration_since(deployed), it.took()));
        let revision = act.revision.clone();
        self.fared.harmful = Some(act);
        tokio::time::sleep(SETTLED).await;
        Ok(kept.then_some(revision))
    }

    /// Watches the version, and beside it, from outside, how long a breach takes to become weight 0.
    async fn watch_breach(&mut self, manifest: &Manifest, stable: &str) -> Result<(Act, Option<Seen>)> {
        let stage = self.stage;
        let watch = Watch { stage, entry: "churn-v2", replay: self.replay.as_ref(), needed: manifest.outcomes()? };
        let mut watching = pin!(watch.until_its_end(self.screen));
        let mut measuring = pin!(async {
            let query = manifest.breach(&candidate(stage, "churn-v2").await?, stable)?;
            stage.breach(query, stable)?.until_weight_zero().await
        });
        let mut seen = None;
        let act = loop {
            tokio::select! {
                act = &mut watching => break act?,
                measured = &mut measuring, if seen.is_none() => seen = Some(measured?),
            }
        };
        if seen.is_none() {
            // The last look of the one may come just before the last look of the other.
            seen = tokio::time::timeout(SETTLED, measuring).await.ok().transpose()?;
        }
        Ok((act, seen))
    }

    /// Gives the revision that was promoted.
    async fn better(&mut self, manifest: &Manifest, harmful: &str) -> Result<Option<String>> {
        self.heading("3. churn-v3 is deployed: trained on what is known in time. Two people have to approve it")?;
        let before = self.answered(harmful);
        let attempts = self.stage.deployment().await?.status.map_or(0, |it| it.attempts);
        self.stage.deploy(manifest, "churn-v3").await?;
        let approved = approvals::play(self.stage, self.screen, "churn-v3", attempts).await?;
        if !self.hold(vec![approved])? {
            return Ok(None);
        }
        let replay = self.replay.as_ref();
        let watch = Watch { stage: self.stage, entry: "churn-v3", replay, needed: manifest.outcomes()? };
        let act = watch.until_its_end(self.screen).await?;
        let steps = manifest.steps()?;
        let mut all = promises::promoted(&act, &steps);
        all.push(promises::divided(&act, &steps));
        all.push(promises::left_alone("churn-v2", self.answered(harmful) - before));
        let promoted = self.hold(all)?;
        let revision = act.revision.clone();
        self.fared.better = Some(act);
        Ok(promoted.then_some(revision))
    }

    /// Carla asks why it serves.
    async fn explained(&mut self, entry: &str) -> Result<bool> {
        self.heading("4. Carla asks: kubectl werkbank why churn")?;
        let why = self.stage.why("carla@example.com").await?;
        for line in why.iter().flat_map(|it| it.lines()) {
            self.screen.say(line)?;
        }
        self.hold(vec![promises::explained(entry, &why)])
    }

    /// The entry of what serves is revoked, and what served before it serves again.
    async fn incident(&mut self, entry: &str, revoked: &str, before: &str) -> Result<bool> {
        self.heading(
            "5. The data of churn-v3 turns out to be what nobody had agreed to. Its entry is revoked, in one line",
        )?;
        let edited = Instant::now();
        self.stage.revoke(entry).await?;
        let took = self.stage.until_all_at(before, PATIENCE).await?.map(|at| at.saturating_duration_since(edited));
        tokio::time::sleep(SETTLED).await;
        let answered = self.answered(revoked);
        tokio::time::sleep(SETTLED).await;
        let late = self.answered(revoked) - answered;
        let status = self.stage.status().await?;
        self.fared.revoked = took;
        self.hold(vec![promises::revoked(entry, took, late), promises::takes_over("churn-v1", before, &status)])
    }

    /// The log tells all of it, and cannot be changed unseen.
    async fn audited(&mut self, taken_back: [&str; 2]) -> Result<bool> {
        self.heading("6. An auditor, who has the log's public key, verifies what was recorded")?;
        let promises = audit::play(self.stage, self.screen, taken_back).await?;
        self.hold(promises)
    }

    /// Requests that a revision has answered so far.
    fn answered(&self, revision: &str) -> u64 {
        let seen = self.replay.as_ref().map(Replay::snapshot).unwrap_or_default();
        seen.revisions.get(revision).map_or(0, |it| it.requests)
    }

    /// Tells what became of these promises; whether all were kept.
    fn hold(&mut self, promises: Vec<Promise>) -> Result<bool> {
        for promise in &promises {
            let (style, word) = if promise.kept { (Style::Good, "kept   ") } else { (Style::Bad, "BROKEN ") };
            let word = self.screen.styled(style, word);
            self.screen.say(&format!("{word} {}", promise.said))?;
            let seen = format!("        {}", promise.seen);
            let seen = if promise.kept { self.screen.styled(Style::Quiet, &seen) } else { seen };
            self.screen.say(&seen)?;
        }
        let kept = promises.iter().all(|it| it.kept);
        self.promises.extend(promises);
        Ok(kept)
    }

    fn heading(&mut self, text: &str) -> Result<()> {
        let text = self.screen.styled(Style::Heading, &format!("\n{text}"));
        self.screen.say(&text)
    }

    fn scene(&mut self, what: &str) -> Result<()> {
        self.screen.say(&scene(self.begin, what))
    }
}
