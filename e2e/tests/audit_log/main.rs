//! The audit log, judged by programs that others wrote: Go's `sumdb/note` and `tlog`, and Tessera's fsck.
//!
//! Logs are written by the operator's own code into folders, at the sizes at which tiles begin, are full and overflow; both
//! judges accept them, and refuse each copy in which one bit of any kind of file is flipped.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use chrono::DateTime;
use futures::StreamExt;
use werkbank::audit::tlog::note::Signer;
use werkbank::audit::{Appended, Entry, EntryKind, Log, Trail};
use werkbank_e2e::process::Supervisor;
use werkbank_e2e::tools::Tools;

const ORIGIN: &str = "werkbank.dev/log/test/1";

fn key() -> Signer {
    Signer::of_seed(ORIGIN, &[3; 32]).unwrap()
}

fn entry(number: i64) -> Entry {
    Entry {
        kind: EntryKind::Intent,
        subject_kind: "ModelDeployment".into(),
        namespace: "crm".into(),
        name: format!("churn-{}", number % 100),
        uid: format!("uid-{}", number % 100),
        generation: 2,
        spec_digest: String::new(),
        attempt: "s1-abc-1-0d7b".into(),
        sequence: number / 100 + 1,
        decision: "Shift".into(),
        reason: "the step is over".into(),
        revision: "s1-abc".into(),
        weight: "25%".into(),
        measurements: String::new(),
        policy: String::new(),
        asked_by: String::new(),
        consents: Vec::new(),
        time: DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(number),
        lease_epoch: 3,
        operator: String::new(),
    }
}

/// Appends until the log has so many entries, and publishes. Two slots' entries wait at a time: each waits for its turn for some seconds only.
async fn grow(log: &Log, from: i64, to: i64) {
    let entries: Vec<Entry> = (from..to).map(entry).collect();
    let answers = futures::stream::iter(entries.iter().map(|it| log.append(it))).buffered(2 * 1024);
    answers.for_each(async |it| assert_eq!(it, Ok(Appended::New))).await;
    assert_eq!(log.publish().await, Ok(true));
}

fn open(folder: &Path) -> Log {
    Log::open(&format!("file://{}", folder.display()), vec![key()]).unwrap()
}

/// Two judges.
struct Judges(PathBuf);

impl Judges {
    async fn appointed() -> Result<Self> {
        Ok(Self(Tools::new(Supervisor::new()?)?.tlog_verify().await?))
    }

    fn say(&self, folder: &Path) -> Result<Output> {
        Ok(Command::new(&self.0).arg(folder).arg(key().verifier().to_string()).output()?)
    }

    fn both_accept(&self, folder: &Path) -> Result<()> {
        let said = self.say(folder)?;
        let words = String::from_utf8_lossy(&said.stdout).into_owned();
        assert_eq!(words, "sumdb accepts\ntessera accepts\n");
        assert!(said.status.success());
        Ok(())
    }

    /// Who refuses.
    fn refusing(&self, folder: &Path) -> Result<Vec<String>> {
        let said = self.say(folder)?;
        let words = String::from_utf8_lossy(&said.stdout).into_owned();
        let judges = words.lines().filter_map(|it| it.split_once(" refuses: ")).map(|it| it.0.to_owned()).collect();
        assert_eq!(said.status.code(), Some(if words.contains(" refuses: ") { 1 } else { 0 }));
        Ok(judges)
    }
}

impl Judges {
    /// Flips bits of one file of each kind, and has each flip judged; gives the kinds.
    fn refuse_flipped_bits(&self, folder: &Path) -> Result<Vec<&'static str>> {
        let kinds = kinds(folder)?;
        for (name, file) in &kinds {
            let length = usize::try_from(std::fs::metadata(file)?.len())?;
            for at in [0, length / 2, length - 2] {
                let refusing = flipped(file, at, || self.refusing(folder))?;
                assert_eq!(refusing, ["sumdb", "tessera"], "{name}, byte {at}");
            }
        }
        Ok(kinds.into_keys().collect())
    }
}

/// One file of each kind that others read, and the widest of its kind.
fn kinds(folder: &Path) -> Result<BTreeMap<&'static str, PathBuf>> {
    let mut kinds = BTreeMap::from([("checkpoint", folder.join("checkpoint"))]);
    for row in ["entries", "0", "1", "2"] {
        let mut files = Vec::new();
        let of_row = folder.join("tile").join(row);
        if of_row.is_dir() {
            below(&of_row, &mut files)?;
        }
        let partial = files.iter().find(|it| it.to_string_lossy().contains(".p/")).cloned();
        let full = files.iter().find(|it| !it.to_string_lossy().contains(".p/")).cloned();
        let names = match row {
            "entries" => ["a full bundle", "a bundle that is not full"],
            "0" => ["a full tile of level 0", "a tile of level 0 that is not full"],
            "1" => ["a full tile of level 1", "a tile of level 1 that is not full"],
            _ => ["a full tile of level 2", "a tile of level 2 that is not full"],
        };
        kinds.extend(names.into_iter().zip([full, partial]).filter_map(|(name, file)| Some((name, file?))));
    }
    Ok(kinds)
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for child in std::fs::read_dir(folder)? {
        let path = child?.path();
        if path.is_dir() {
            below(&path, files)?;
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

/// Does something while one bit of a file is flipped.
fn flipped<T>(file: &Path, at: usize, then: impl FnOnce() -> Result<T>) -> Result<T> {
    let whole = std::fs::read(file)?;
    let mut bytes = whole.clone();
    *bytes.get_mut(at).context("a byte of the file")? ^= 1;
    std::fs::write(file, bytes)?;
    let did = then();
    std::fs::write(file, whole)?;
    did
}

#[tokio::test]
async fn others_accept_the_log_at_every_size_and_refuse_it_after_one_flipped_bit() {
    let judges = Judges::appointed().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let (mut before, mut flipped) = (0, BTreeSet::new());
    for size in [1, 255, 256, 257, 65_536, 65_537] {
        grow(&log, before, size).await;
        judges.both_accept(folder.path()).unwrap();
        before = size;
        if matches!(size, 257 | 65_537) {
            flipped.extend(judges.refuse_flipped_bits(folder.path()).unwrap());
        }
    }
    judges.both_accept(folder.path()).unwrap();
    // At 257 entries there is no full tile of level 1; at 65,537 the one of level 1 is just full.
    assert_eq!(
        flipped.into_iter().collect::<Vec<_>>(),
        [
            "a bundle that is not full",
            "a full bundle",
            "a full tile of level 0",
            "a full tile of level 1",
            "a tile of level 0 that is not full",
            "a tile of level 1 that is not full",
            "a tile of level 2 that is not full",
            "checkpoint",
        ]
    );
}

#[tokio::test]
async fn a_log_written_at_once_is_the_same_as_one_that_grew() {
    let [grown, at_once] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (folder, sizes) in [(&grown, &[100, 256, 300, 700][..]), (&at_once, &[700])] {
        let mut before = 0;
        for size in sizes {
            // Another process each time.
            grow(&open(folder.path()), before, *size).await;
            before = *size;
        }
    }
    let tiles = |folder: &tempfile::TempDir| {
        let mut files = Vec::new();
        below(&folder.path().join("tile"), &mut files).unwrap();
        let read = |it: PathBuf| (it.strip_prefix(folder.path()).unwrap().to_owned(), std::fs::read(&it).unwrap());
        files.into_iter().map(read).collect::<BTreeMap<_, _>>()
    };
    let (grown_tiles, tiles) = (tiles(&grown), tiles(&at_once));
    for (path, bytes) in &tiles {
        assert_eq!(grown_tiles.get(path), Some(bytes), "{}", path.display());
    }
    let checkpoint = |it: &tempfile::TempDir| std::fs::read_to_string(it.path().join("checkpoint")).unwrap();
    assert_eq!(checkpoint(&grown), checkpoint(&at_once));
    Judges::appointed().await.unwrap().both_accept(grown.path()).unwrap();
}
