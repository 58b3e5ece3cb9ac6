//! Who approves the third version, on screen: its author tries, and is refused; two others do.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use werkbank::api::model_deployment::{ModelDeploymentStatus, Phase};

use super::promises::{self, Promise};
use super::screen::{Screen, Style};
use super::stage::Stage;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long something may take that takes a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// What people said of an entry, and what came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Approved {
    /// What the author was told.
    pub(super) refusal: Option<String>,
    /// What the deployment was waiting for, in the operator's words.
    pub(super) awaited: String,
    /// Attempts before the entry was deployed, and when all but the last had approved.
    pub(super) attempts: (i64, i64),
}

/// Plays it; gives what is promised of it.
pub(super) async fn play(stage: &Stage, screen: &mut Screen, entry: &str, before: i64) -> Result<Promise> {
    let awaited = awaited(stage).await?;
    screen.say(&format!("It waits: {awaited}"))?;
    let own = stage.approve("anna@example.com", entry, "technical").await?;
    told(screen, "anna@example.com", "technical", &own)?;
    let ben = stage.approve("ben@example.com", entry, "technical").await?;
    told(screen, "ben@example.com", "technical", &ben)?;
    // The operator has heard of it, and still nothing begins.
    let status = until(stage, |it| !message(it).contains("technical")).await?;
    let approved = Approved { refusal: own.err(), awaited, attempts: (before, status.attempts) };
    let carla = stage.approve("carla@example.com", entry, "business").await?;
    told(screen, "carla@example.com", "business", &carla)?;
    Ok(promises::approved(entry, &approved))
}

/// What `kubectl werkbank approve` said: done, or why not.
pub(super) type Said = Result<String, String>;

fn told(screen: &mut Screen, who: &str, role: &str, said: &Said) -> Result<()> {
    let (style, text) = match said {
        Ok(done) => (Style::Good, done),
        Err(why) => (Style::Bad, why),
    };
    let text = screen.styled(style, text.trim());
    screen.say(&format!("{who:<18} approves as {role:<10} {text}"))
}

async fn awaited(stage: &Stage) -> Result<String> {
    let status = until(stage, |it| it.phase == Phase::Gating).await?;
    Ok(message(&status))
}

fn message(status: &ModelDeploymentStatus) -> String {
    status.conditions.iter().find(|it| it.type_ == "Ready").map(|it| it.message.clone()).unwrap_or_default()
}

async fn until(stage: &Stage, is: impl Fn(&ModelDeploymentStatus) -> bool) -> Result<ModelDeploymentStatus> {
    let begin = Instant::now();
    loop {
        let status = stage.status().await?;
        if is(&status) {
            return Ok(status);
        }
        if begin.elapsed() > PATIENCE {
            bail!("it does not wait for an approval: {:?}, {}", status.phase, message(&status));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The plugin's words, without the prefix of a failure.
pub(super) fn said(succeeded: bool, stdout: &[u8], stderr: &[u8]) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if succeeded { Ok(text(stdout)) } else { Err(text(stderr).trim_start_matches("error: ").to_owned()) }
}
