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
    said_to(arguments, &[signer]).await
}

/// The same to somebody who has several keys.
async fn said_to(arguments: &[&str], signers: &[&Signer]) -> Result<String, (u8, String)> {
    let keys: Vec<String> = signers.iter().map(|it| it.verifier().to_string()).collect();
    let keys = keys.iter().flat_map(|it| ["--key", it.as_str()]);
    let words = ["audit"].into_iter().chain(arguments.iter().copied()).chain(keys);
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

/// One after the other: the old key, both, the new one.
#[tokio::test]
async fn keys_change_without_a_moment_in_which_nobody_can_verify_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let (old, new) = (key(ORIGIN, 7), key(ORIGIN, 8));
    let kept = folder.path().join("kept");
    let times = [(vec![7], [true, false]), (vec![7, 8], [true, true]), (vec![8], [false, true])];
    for (number, (seeds, believed_by)) in (1..).zip(times) {
        // The operator starts again, with other keys.
        let log = Log::open(&url, seeds.into_iter().map(|seed| key(ORIGIN, seed)).collect()).unwrap();
        log.append(&entry(number)).await.unwrap();
        log.publish().await.unwrap();
        for (signer, believes) in [&old, &new].into_iter().zip(believed_by) {
            assert_eq!(said(&["verify", &url], signer).await.is_ok(), believes, "time {number}");
        }
        // Who has both keys has seen all of it come about.
        let page = said_to(&["verify", &url], &[&old, &new]).await.unwrap();
        assert!(page.starts_with(&format!("verified: {number} entries")), "{page}");
        if number > 1 {
            let since = ["verify", &url, "--since", &kept.display().to_string()].map(str::to_owned);
            let since: Vec<&str> = since.iter().map(String::as_str).collect();
            let page = said_to(&since, &[&old, &new]).await.unwrap();
            assert!(page.contains(&format!("begins with the {} entries", number - 1)), "{page}");
        }
        std::fs::copy(folder.path().join("checkpoint"), &kept).unwrap();
    }
    // What was exported under the old key is under the new checkpoint, too.
    let bundle = folder.path().join("bundle.json");
    std::fs::write(&bundle, said(&["export", &url, "--entry", &entry(1).id()], &new).await.unwrap()).unwrap();
    let proven = said(&["verify", "--proof", &bundle.display().to_string()], &new).await.unwrap();
    assert!(proven.contains("Intent Shift of ModelDeployment crm/churn"), "{proven}");
}

/// Two places under one key are two logs, and each says that the other's checkpoint is none of its own.
#[tokio::test]
async fn a_second_log_under_the_same_key_shows_to_who_has_kept_a_checkpoint_of_the_first() {
    let (first, url) = log().await;
    let own = key(ORIGIN, 7);
    let second = tempfile::tempdir().unwrap();
    let other = format!("file://{}", second.path().display());
    let log = Log::open(&other, vec![key(ORIGIN, 7)]).unwrap();
    for number in [4, 5, 6] {
        log.append(&entry(number)).await.unwrap();
    }
    log.publish().await.unwrap();
    for (log, kept, why) in
        [(&other, &first, "whose first 2 entries are others"), (&url, &second, "the log has been cut")]
    {
        let kept = kept.path().join("checkpoint").display().to_string();
        let (code, said) = said(&["verify", log, "--since", &kept], &own).await.unwrap_err();
        assert_eq!((code, said.contains(why)), (1, true), "{said}");
    }
}
