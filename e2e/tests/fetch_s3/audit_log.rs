//! The audit log on a real S3-compatible server, written by two operators at once and read by `werkbank audit`, the real binary.
#![cfg(test)]

use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::ObjectStoreExt;
use werkbank::audit::people::Words;
use werkbank::audit::tlog::note::Signer;
use werkbank::audit::{Appended, Consent, Entry, EntryKind, Log, Said, Trail, TrailError};
use werkbank_e2e::s3::S3;

use super::Pod;

const LOG: &str = "s3://models/audit";

fn intent(decision: &str) -> Entry {
    Entry {
        kind: EntryKind::Intent,
        subject_kind: "ModelDeployment".to_owned(),
        namespace: "crm".to_owned(),
        name: "churn".to_owned(),
        uid: "uid-1".to_owned(),
        generation: 1,
        spec_digest: String::new(),
        attempt: "r-1-uid".to_owned(),
        sequence: 1,
        decision: decision.to_owned(),
        reason: "the step is over".to_owned(),
        revision: "r".to_owned(),
        weight: "5%".to_owned(),
        measurements: String::new(),
        policy: String::new(),
        asked_by: String::new(),
        consents: Vec::new(),
        time: chrono::DateTime::UNIX_EPOCH,
        lease_epoch: 1,
        operator: String::new(),
    }
}

#[tokio::test]
async fn a_number_is_given_once_on_s3_too() {
    let s3 = S3::start().unwrap();
    let store = Arc::new(s3.bucket().unwrap());
    let trail = Log::over(store, "trail".into(), "s3://models/trail".to_owned(), Vec::new());
    let shift = intent("Shift");
    assert_eq!(trail.append(&shift).await, Ok(Appended::New));
    assert_eq!(trail.append(&shift).await, Ok(Appended::AlreadyThere));
    assert_eq!(
        trail.append(&intent("RollBack")).await,
        Err(TrailError::SequenceTaken { holder: Box::new(shift.clone()) })
    );
    assert_eq!(trail.of_resource("uid-1").await, Ok(vec![shift.clone()]));

    drop(s3);
    let began = Instant::now();
    let next = Entry { sequence: 2, ..intent("Shift") };
    assert!(matches!(trail.append(&next).await, Err(TrailError::Unavailable(_))));
    assert!(began.elapsed() < Duration::from_millis(5500), "{:?}", began.elapsed());
}

fn key() -> Signer {
    Signer::of_seed("werkbank.dev/log/s3", &[5; 32]).unwrap()
}

/// `werkbank audit`, with the credentials of the store and nothing else.
fn audit(s3: &S3, words: &[&str]) -> Output {
    let pod = Pod::new().unwrap();
    let mut command = pod.process(&s3.endpoint()).unwrap();
    command.arg("audit").args(words).args(["--key", &key().verifier().to_string()]).output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn two_operators_write_one_log_on_s3_that_the_real_binary_verifies() {
    let s3 = S3::start().unwrap();
    let store = Arc::new(s3.bucket().unwrap());
    let leader = || Log::over(store.clone(), "audit".into(), LOG.to_owned(), vec![key()]);
    let leaders = [leader(), leader()];
    let entries: Vec<Entry> = (0..60).map(|number| Entry { uid: format!("uid-{number}"), ..intent("Shift") }).collect();
    // Each decision is recorded by both, at the same time, and is on the log once.
    for some in entries.chunks(10) {
        let both = some.iter().flat_map(|entry| leaders.iter().map(move |leader| leader.append(entry)));
        let answers = futures::future::join_all(both).await;
        assert_eq!(answers.iter().filter(|it| **it == Ok(Appended::New)).count(), some.len(), "{answers:?}");
        for leader in &leaders {
            leader.publish().await.unwrap();
        }
    }
    let verified = printed(&audit(&s3, &["verify", LOG]));
    assert!(verified.starts_with("verified: 60 entries of the log werkbank.dev/log/s3"), "{verified}");
    assert!(!verified.contains("no checkpoint covers"), "{verified}");

    let id = entries[7].id();
    let listed = printed(&audit(&s3, &["list", LOG, "--decision", "shift"]));
    assert_eq!((listed.lines().count(), listed.matches(&id).count()), (61, 1), "{listed}");
    let bundle = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bundle.path(), printed(&audit(&s3, &["export", LOG, "--entry", &id]))).unwrap();
    let proven = printed(&audit(&s3, &["verify", "--proof", &bundle.path().display().to_string()]));
    assert!(proven.contains("Shift of ModelDeployment crm/churn"), "{proven}");

    let place = object_store::path::Path::from("audit/wal/003");
    let slot = store.get(&place).await.unwrap().bytes().await.unwrap();
    store.put(&place, Bytes::from(String::from_utf8_lossy(&slot).replace("5%", "6%")).into()).await.unwrap();
    let refused = audit(&s3, &["verify", LOG]);
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && why.contains("wal/003 has another entry"), "{why}");
}

#[tokio::test]
async fn somebody_is_found_by_name_until_they_are_forgotten_and_the_log_verifies_as_before() {
    const ANNA: &str = "anna.schmidt@example.com";
    let s3 = S3::start().unwrap();
    let store = Arc::new(s3.bucket().unwrap());
    let log = Log::over(store.clone(), "audit".into(), LOG.to_owned(), vec![key()]);
    let words = Words { uid: "approval-1", text: "agreed with Bernd" };
    let Said { actor, comment } = log.said(ANNA, Some(words)).await.unwrap();
    let consent = Consent { actor: actor.clone(), comment, role: "business".into(), uid: "approval-1".into() };
    log.append(&Entry { consents: vec![consent], ..intent("Start") }).await.unwrap();
    log.append(&Entry { uid: "uid-2".into(), ..intent("Start") }).await.unwrap();
    log.publish().await.unwrap();

    let listed = printed(&audit(&s3, &["list", LOG, "--actor", ANNA]));
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(listed.ends_with("as business (Approval approval-1): agreed with Bernd\n"), "{listed}");
    let forget = || {
        let mut command = Pod::new().unwrap().process(&s3.endpoint()).unwrap();
        command.args(["audit", "forget", LOG, "--person", ANNA]).output().unwrap()
    };
    assert!(printed(&forget()).starts_with("forgotten: "));
    assert_eq!(forget().status.code(), Some(4), "nothing is left");
    let gone = audit(&s3, &["list", LOG, "--actor", ANNA]);
    assert_eq!(gone.status.code(), Some(4), "{}", String::from_utf8_lossy(&gone.stdout));
    assert!(printed(&audit(&s3, &["verify", LOG])).starts_with("verified: 2 entries"));
    assert_eq!(
        printed(&audit(&s3, &["list", LOG, "--actor", &actor])).lines().count(),
        2,
        "the actor stays, and is nobody"
    );
}
