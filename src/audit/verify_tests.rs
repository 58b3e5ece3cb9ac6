use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::super::entry::sample;
use super::super::tlog::edge::Edge;
use super::super::tlog::note::Signer;
use super::super::tlog::slot::Batch;
use super::super::{Entry, EntryKind, Log, Trail};
use super::*;

const ORIGIN: &str = "werkbank.dev/log/test/1";

pub(in crate::audit) fn key() -> Signer {
    Signer::of_seed(ORIGIN, &[7; 32]).unwrap()
}

pub(in crate::audit) fn entry(number: i64) -> Entry {
    Entry { uid: format!("uid-{number}"), ..sample() }
}

/// A log of so many entries under a checkpoint, and some beyond it.
pub(in crate::audit) async fn log(size: i64, beyond: i64) -> Arc<InMemory> {
    let store = Arc::new(InMemory::new());
    let log = Log::over(store.clone(), Path::default(), "memory:///".into(), vec![key()]);
    for number in 0..size {
        log.append(&entry(number)).await.unwrap();
    }
    log.publish().await.unwrap();
    for number in size..size + beyond {
        log.append(&entry(number)).await.unwrap();
    }
    store
}

async fn verified(store: &Arc<InMemory>) -> Result<Verified, Unverified> {
    let store = Store::over(store.clone(), Path::default(), "memory:///".into());
    verify_in(store, &[key().verifier()], None, |_, _| ()).await
}

/// What is found wrong.
async fn findings(store: &Arc<InMemory>) -> Vec<String> {
    match verified(store).await {
        Err(Unverified::Wrong { findings, .. }) => findings.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn place(path: &str) -> Path {
    path.split('/').fold(Path::default(), Path::join)
}

#[tokio::test]
async fn a_log_that_is_what_was_signed_is_verified_and_what_is_beyond_is_told() {
    for (size, beyond) in [(1, 0), (255, 3), (256, 0), (257, 1), (600, 0)] {
        let store = log(size, beyond).await;
        let mut done = Vec::new();
        let opened = Store::over(store, Path::default(), "memory:///".into());
        let verified = verify_in(opened, &[key().verifier()], None, |at, of| done.push((at, of))).await.unwrap();
        assert_eq!((verified.checkpoint.size, verified.beyond), (size as u64, beyond as u64));
        assert_eq!(verified.slots, (size + beyond) as u64);
        assert_eq!(verified.signed_by, [key().id().to_string()]);
        assert_eq!(done.last(), Some(&(size as u64, size as u64)));
    }
}

/// Every kind of file of a log of 300, and some of the slots.
async fn paths(store: &Arc<InMemory>) -> Vec<String> {
    let mut paths: Vec<String> = futures::TryStreamExt::try_collect::<Vec<_>>(store.list(None))
        .await
        .unwrap()
        .into_iter()
        .map(|it| it.location.to_string())
        .collect();
    paths.retain(|it| {
        !it.contains("probe") && (!it.starts_with("wal") || ["wal/000", "wal/150", "wal/299"].contains(&it.as_str()))
    });
    paths.sort();
    paths
}

/// One bit of every file, at its beginning, in its middle and at its end.
#[tokio::test]
async fn every_flipped_bit_is_found_and_the_file_is_named() {
    let store = log(300, 1).await;
    for path in paths(&store).await {
        let whole = store.get(&place(&path)).await.unwrap().bytes().await.unwrap().to_vec();
        for at in [0, whole.len() / 2, whole.len() - 2] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            store.put(&place(&path), bytes.into()).await.unwrap();
            let findings = findings(&store).await;
            let named = |it: &String| it.contains(&path) || path.contains("entries") && it.starts_with("entry ");
            assert!(findings.iter().any(named), "{path} {at}: {findings:#?}");
        }
        store.put(&place(&path), whole.into()).await.unwrap();
    }
    assert!(verified(&store).await.is_ok());
}

/// Nothing is left of it, or half, or all but the last byte.
#[tokio::test]
async fn every_file_that_was_cut_short_is_named() {
    let store = log(300, 1).await;
    for path in paths(&store).await {
        let whole = store.get(&place(&path)).await.unwrap().bytes().await.unwrap();
        for left in [0, whole.len() / 2, whole.len() - 1] {
            store.put(&place(&path), whole.slice(..left).into()).await.unwrap();
            let wrong = verified(&store).await.unwrap_err().to_string();
            assert!(wrong.contains(&path), "{path} {left}: {wrong}");
        }
        store.put(&place(&path), whole.into()).await.unwrap();
    }
    assert!(verified(&store).await.is_ok());
}

#[tokio::test]
async fn every_file_that_is_missing_is_named() {
    let store = log(300, 0).await;
    for (path, says) in [
        ("tile/0/000", "tile/0/000 is missing"),
        ("tile/0/001.p/44", "tile/0/001.p/44 is missing"),
        ("tile/1/000.p/1", "tile/1/000.p/1 is missing"),
        ("tile/entries/000", "tile/entries/000 is missing"),
        ("wal/000", "wal/000 is missing: the slots end at entry 0, and the checkpoint is of 300"),
        ("wal/299", "wal/299 is missing: the slots end at entry 299, and the checkpoint is of 300"),
    ] {
        let whole = store.get(&place(path)).await.unwrap().bytes().await.unwrap();
        store.delete(&place(path)).await.unwrap();
        assert_eq!(findings(&store).await, [says]);
        store.put(&place(path), whole.into()).await.unwrap();
    }
    store.delete(&place(CHECKPOINT)).await.unwrap();
    let Err(Unverified::Nothing(why)) = verified(&store).await else { panic!("nobody signed it") };
    assert!(why.contains("nobody has signed it"), "{why}");
    let Err(Unverified::Nothing(why)) = verified(&Arc::new(InMemory::new())).await else { panic!("there is none") };
    assert_eq!(why, "there is no log in memory:///");
}

#[tokio::test]
async fn a_log_that_was_cut_or_rewritten_shows_to_who_has_kept_a_checkpoint() {
    let with = async |store: &Arc<InMemory>, earlier: &[u8]| {
        let opened = Store::over(store.clone(), Path::default(), "memory:///".into());
        verify_in(opened, &[key().verifier()], Some(earlier), |_, _| ()).await
    };
    let (short, long) = (log(260, 0).await, log(300, 0).await);
    let note = async |store: &Arc<InMemory>| store.get(&place(CHECKPOINT)).await.unwrap().bytes().await.unwrap();
    let verified = with(&long, &note(&short).await).await.unwrap();
    assert_eq!((verified.since, verified.checkpoint.size), (Some(260), 300));
    assert_eq!(with(&long, &note(&long).await).await.unwrap().since, Some(300));
    let Err(Unverified::Wrong { findings, .. }) = with(&short, &note(&long).await).await else { panic!("it was cut") };
    assert_eq!(
        findings[0].to_string(),
        "checkpoint is of 260 entries, and an earlier one of 300: the log has been cut"
    );
    let other = Checkpoint { origin: ORIGIN.into(), size: 260, root: TreeHash([1; 32]) }.signed(&[key()]);
    let Err(Unverified::Wrong { findings, .. }) = with(&long, other.as_bytes()).await else { panic!("rewritten") };
    assert!(findings[0].to_string().contains("first 260 entries are others"), "{findings:?}");
    assert!(matches!(with(&long, b"no note").await, Err(Unverified::Nothing(_))));
}

/// Who has the key can sign anything, so what is under it is looked at, too.
#[tokio::test]
async fn a_decision_that_is_on_the_log_twice_is_found_though_it_is_signed() {
    let store = Arc::new(InMemory::new());
    let lines =
        |entries: &[Entry]| entries.iter().map(|it| serde_json_canonicalizer::to_vec(it).unwrap()).collect::<Vec<_>>();
    let void = Entry { kind: EntryKind::Void, ..entry(2) };
    let promote = Entry { decision: "Promote".into(), ..entry(1) };
    let mut entries = lines(&[entry(1), entry(1), promote, void, entry(2)]);
    entries.push([b" ", entries[0].as_slice()].concat());
    entries.push(b"{\"not\": \"ours\"}".to_vec());
    let mut edge = Edge::default();
    entries.iter().for_each(|it| edge.push(it.clone()));
    store.put(&place("wal/000"), Batch { first: 0, entries }.encode().into()).await.unwrap();
    for (tile, bytes) in edge.files().unwrap() {
        store.put(&place(&tile.to_string()), bytes.into()).await.unwrap();
    }
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: 7, root: edge.root() };
    store.put(&place(CHECKPOINT), checkpoint.signed(&[key()]).into()).await.unwrap();
    let found = findings(&store).await;
    assert_eq!(
        found[..5],
        [
            "entry 1 repeats entry 0",
            "entry 2 has the number of entry 0, which decides something else",
            "entry 4 is an intent whose number was given up before",
            "entry 5 is not written as an entry is: as canonical JSON",
            "entry 5 repeats entry 0",
        ]
    );
    assert!(found[5].starts_with("entry 6 is none of Werkbank's"), "{found:?}");
}
