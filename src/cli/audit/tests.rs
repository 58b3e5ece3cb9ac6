//! What the commands print, and with which code they end.

use clap::Parser;

use super::{AuditArguments, done};
use crate::audit::tlog::note::Signer;
use crate::audit::{Entry, Log, Trail, sample};

const ORIGIN: &str = "werkbank.dev/log/test/1";

#[derive(Parser)]
struct Said {
    #[command(flatten)]
    audit: AuditArguments,
}

fn entry(number: i64) -> Entry {
    Entry { uid: format!("uid-{number}"), ..sample() }
}

fn key(origin: &str, seed: u8) -> Signer {
    Signer::of_seed(origin, &[seed; 32]).unwrap()
}

/// A log of three decisions, two of them signed.
async fn log() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let log = Log::open(&url, vec![key(ORIGIN, 7)]).unwrap();
    for number in [1, 2] {
        log.append(&entry(number)).await.unwrap();
    }
    log.publish().await.unwrap();
    log.append(&entry(3)).await.unwrap();
    (folder, url)
}

/// What is printed, or the exit code and why.
async fn said(arguments: &[&str], signer: &Signer) -> Result<String, (u8, String)> {
    let key = signer.verifier().to_string();
    let words = ["audit"].into_iter().chain(arguments.iter().copied()).chain(["--key", key.as_str()]);
    let said = Said::try_parse_from(words).map_err(|error| (2, error.to_string()))?;
    done(said.audit.command).await.map_err(|end| (end.told().0, end.told().1.to_owned()))
}

#[tokio::test]
async fn an_entry_that_is_asked_for_is_shown_beside_the_verified_log() {
    let (_folder, url) = log().await;
    let (own, id) = (key(ORIGIN, 7), entry(2).id());
    let page = said(&["verify", &url, "--entry", &id], &own).await.unwrap();
    assert!(page.starts_with("verified: 2 entries of the log werkbank.dev/log/test/1"), "{page}");
    assert!(page.contains("1 more in slots") && page.contains("Intent Shift of ModelDeployment crm/churn"), "{page}");
    let (code, why) = said(&["verify", &url, "--entry", "0123"], &own).await.unwrap_err();
    assert_eq!((code, why.contains("no entry has the id 0123")), (4, true), "{why}");
    let (code, why) = said(&["verify", &url, "--entry", &entry(3).id()], &own).await.unwrap_err();
    assert_eq!((code, why.contains("is not under a checkpoint yet")), (4, true), "{why}");
}

#[tokio::test]
async fn a_log_that_the_key_has_not_signed_is_believed_by_no_command() {
    let (_folder, url) = log().await;
    let id = entry(1).id();
    for other in [key(ORIGIN, 8), key("werkbank.dev/log/other/1", 7)] {
        let (code, why) = said(&["verify", &url], &other).await.unwrap_err();
        assert_eq!((code, why.contains("checkpoint")), (1, true), "{why}");
        for command in [&["list", &url][..], &["export", &url, "--entry", &id]] {
            let (code, why) = said(command, &other).await.unwrap_err();
            assert!([1, 3].contains(&code) && why.contains("checkpoint"), "{command:?}: {code} {why}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_wrong_end_differently() {
    let (folder, url) = log().await;
    let own = key(ORIGIN, 7);
    let nowhere = format!("file://{}/nowhere", folder.path().display());
    let (code, why) = said(&["verify", &nowhere], &own).await.unwrap_err();
    assert_eq!((code, why.contains("there is no log")), (3, true), "{why}");
    let (code, why) = said(&["verify", "ftp://there"], &own).await.unwrap_err();
    assert_eq!(code, 2, "{why}");
    let slot = folder.path().join("wal/000");
    let mut bytes = std::fs::read(&slot).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&slot, bytes).unwrap();
    let (code, why) = said(&["verify", &url], &own).await.unwrap_err();
    assert_eq!((code, why.contains("wal/000")), (1, true), "{why}");
}
