//! The demo: a churn model's canary on real data, from a good version over a harmful one to a better one.
//!
//! Everything is real: the control plane, Envoy, Prometheus, the operator installed with its chart
//! and running with its chart's rights, the models trained from purchases, and the outcomes, which are
//! what those customers did next. Only time is compressed.
//!
//! The story is held to what it says: [`promises`] compares what was seen with what was promised, and a
//! promise that is broken ends it with a sentence about that.

mod act;
mod approvals;
mod audit;
mod manifest;
mod promises;
pub mod replay;
mod screen;
mod stage;
mod story;
mod summary;
mod teller;
mod watch;
mod words;

use std::time::Instant;

use anyhow::Result;

use self::replay::Replay;
use self::screen::{Screen, Style};
use self::stage::Stage;
use self::story::Story;

/// The story has been told; what it played on still runs.
pub struct Told {
    // Ends before the stage does: it would see the gateway go.
    replay: Option<Replay>,
    stage: Stage,
    broken: Option<String>,
}

/// Tells the story.
///
/// # Errors
///
/// When the cluster does not start. What goes wrong afterwards is in [`Told::broken`].
pub async fn tell() -> Result<Told> {
    let begin = Instant::now();
    let mut screen = Screen::new();
    screen.say(&screen.styled(Style::Heading, story::TITLE))?;
    screen.say(story::SUBJECT)?;
    screen.say(&screen.styled(Style::Heading, "\nThe stage"))?;
    screen.say(&story::scene(begin, "starting a control plane, Prometheus, a node and Envoy, all local processes"))?;
    let stage = Stage::start().await?;
    let mut story = Story::new(&stage, &mut screen, begin);
    let told = story.tell().await;
    let replay = story.replay.take();
    let broken = match told {
        Ok(broken) => broken,
        Err(error) => Some(format!("the story could not be told to its end: {error:#}")),
    };
    Ok(Told { replay, stage, broken })
}

impl Told {
    /// What went wrong, in one sentence; none after a story that went as promised.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// How people get at it, to be pasted into a shell; the last two lines point kubectl at it.
    pub async fn lines(&self) -> String {
        self.stage.lines().await
    }

    /// Ends everything that the story played on.
    ///
    /// # Errors
    ///
    /// When its directory cannot be removed.
    pub async fn end(self) -> Result<()> {
        drop(self.replay);
        self.stage.end().await
    }
}
