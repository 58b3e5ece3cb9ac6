//! The last act: an auditor, who has the log's public key and nothing else, verifies what the operator recorded; and a copy of which one bit
//! is changed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::approvals::{Said, said};
use super::promises::{self, Promise};
use super::screen::{Screen, Style};
use super::stage::Stage;
use crate::workbench::{AuditLog, sibling};

/// The last decision is under a checkpoint a second after it was made.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the auditor saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Audited {
    /// `werkbank audit verify`, of the log.
    pub(super) verified: Option<Said>,
    /// `werkbank audit list`, one decision in a line.
    pub(super) decisions: Vec<String>,
    /// `werkbank audit verify`, of the copy.
    pub(super) of_copy: Option<Said>,
}

/// Plays it; gives what is promised of it. `taken_back` are the revisions of which the log has to tell.
pub(super) async fn play(stage: &Stage, screen: &mut Screen, taken_back: [&str; 2]) -> Result<Vec<Promise>> {
    let log = stage.audit_log()?;
    let verified = verified(stage, &log).await?;
    told(screen, "werkbank audit verify", &verified)?;
    let decisions = listed(stage, &log).await?;
    screen.say("It lists what was decided about churn:")?;
    decisions.iter().try_for_each(|line| screen.say(&format!("  {line}")))?;
    let copy = copied(&log, &stage.folder("audit-copy"))?;
    let flipped = flip_a_bit(&copy.folder)?;
    screen.say(&format!("In a copy, one bit of {flipped} is flipped:"))?;
    let of_copy = audit(stage, &copy, "verify", &[]).await?;
    told(screen, "werkbank audit verify", &of_copy)?;
    let audited = Audited { verified: Some(verified), decisions, of_copy: Some(of_copy) };
    Ok(promises::audited(&audited, taken_back))
}

fn told(screen: &mut Screen, command: &str, said: &Said) -> Result<()> {
    let (style, text) = match said {
        Ok(done) => (Style::Good, done),
        Err(why) => (Style::Bad, why),
    };
    screen.say(command)?;
    text.lines().try_for_each(|line| screen.say(&format!("  {}", screen.styled(style, line))))
}

/// What verifying says, once all is under a checkpoint.
async fn verified(stage: &Stage, log: &AuditLog) -> Result<Said> {
    let begin = Instant::now();
    loop {
        let said = audit(stage, log, "verify", &[]).await?;
        if said.as_ref().is_ok_and(|it| !it.contains("no checkpoint covers")) || begin.elapsed() > PUBLISHED_WITHIN {
            return Ok(said);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Time, decision, revision and weight of each intent, in the log's order.
async fn listed(stage: &Stage, log: &AuditLog) -> Result<Vec<String>> {
    match audit(stage, log, "list", &["--name", "churn", "--type", "intent"]).await? {
        Ok(table) => Ok(table.lines().map(str::to_owned).collect()),
        Err(why) => bail!("the log cannot be listed: {why}"),
    }
}

async fn audit(stage: &Stage, log: &AuditLog, command: &str, more: &[&str]) -> Result<Said> {
    let url = format!("file://{}", log.folder.display());
    let arguments = ["audit", command, &url, "--key", &log.key];
    let program = sibling("werkbank")?.display().to_string();
    let output = stage.run(&program, &[&arguments[..], more].concat()).await?;
    Ok(said(output.status.success(), &output.stdout, &output.stderr))
}

fn copied(log: &AuditLog, into: &Path) -> Result<AuditLog> {
    for path in below(&log.folder)? {
        let copy = into.join(path.strip_prefix(&log.folder)?);
        std::fs::create_dir_all(copy.parent().context("a file is in a folder")?)?;
        std::fs::copy(path, copy)?;
    }
    Ok(AuditLog { folder: into.to_owned(), key: log.key.clone() })
}

/// In the middle of the last entries; gives the file's name in the log.
fn flip_a_bit(log: &Path) -> Result<String> {
    let bundles = below(&log.join("tile/entries"))?;
    let path = bundles.last().context("the log has no entries")?;
    let mut bytes = std::fs::read(path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("a bundle has bytes")? ^= 1;
    std::fs::write(path, bytes)?;
    Ok(path.strip_prefix(log)?.display().to_string())
}

/// All files below a folder, those that were written last at the end.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for child in std::fs::read_dir(folder)? {
        let path = child?.path();
        if path.is_dir() { files.extend(below(&path)?) } else { files.push(path) }
    }
    files.sort_by_cached_key(|it| std::fs::metadata(it).and_then(|it| it.modified()).ok());
    Ok(files)
}
