//! What is not as it was written, or not one's own.

use super::*;

#[tokio::test]
async fn a_slot_that_is_none_is_named_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let file = dir.path().join("trail/wal/000");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "garbage").unwrap();
    for sequence in 1..10 {
        let refused = trail.append(&entry(EntryKind::Intent, sequence, "Shift")).await;
        let Err(TrailError::Damaged(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("wal/000 in file://") && why.contains("the log is damaged"), "{why}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "garbage");
    std::fs::remove_file(file).unwrap();
    assert_eq!(trail.append(&entry(EntryKind::Intent, 1, "Shift")).await, Ok(Appended::New));
}

/// A log of 300 entries under a checkpoint, and one behind it.
async fn signed_and_more() -> Arc<Flaky> {
    let store = Flaky::with(vec![]);
    let log = over(&store);
    for resource in 0..300 {
        log.append(&numbered(resource, 1)).await.unwrap();
    }
    log.publish().await.unwrap();
    log.append(&numbered(300, 1)).await.unwrap();
    store
}

#[tokio::test]
async fn what_is_not_as_it_was_written_is_named_and_nothing_is_appended() {
    // In the reason of an entry: it still is one.
    let line = serde_json_canonicalizer::to_string(&numbered(0, 1)).unwrap();
    let reason = 2 + line.find("the step is over").unwrap();
    for (file, at, is) in [
        ("checkpoint", Some(30), "checkpoint in memory:/// is not as it was written"),
        ("tile/entries/000", Some(reason), "does not lead to the checkpoint's root"),
        ("tile/entries/001.p/44", Some(reason), "does not lead to the checkpoint's root"),
        ("tile/entries/001.p/44", Some(0), "does not hold 44 entries and nothing else"),
        ("tile/entries/001.p/44", Some(2), "entry 256 in memory:/// is none of Werkbank's"),
        ("tile/entries/000", None, "tile/entries/000 in memory:/// is missing"),
        ("wal/299", None, "what follows wal/298 in memory:/// is missing"),
        ("wal/300", Some(3), "wal/300 in memory:/// its first line"),
        ("wal/300", Some(12), "wal/300 in memory:/// it has 1 entries"),
    ] {
        let store = signed_and_more().await;
        assert_eq!(over(&store).append(&numbered(300, 1)).await, Ok(Appended::AlreadyThere));
        store.damage(file, at).await;
        let Err(TrailError::Damaged(why)) = over(&store).append(&numbered(301, 1)).await else { panic!("{file}") };
        assert!(why.contains(is) && why.contains("the log is damaged"), "{file} {at:?}: {why}");
    }
}

#[tokio::test]
async fn what_was_cut_short_is_named_and_nothing_is_appended() {
    type Left = fn(usize) -> usize;
    let lefts: [Left; 3] = [|_| 0, |it| it / 2, |it| it - 1];
    for file in ["checkpoint", "tile/entries/000", "tile/entries/001.p/44", "wal/299", "wal/300"] {
        for left in lefts {
            let store = signed_and_more().await;
            store.cut(file, left).await;
            let refused = over(&store).append(&numbered(301, 1)).await.unwrap_err().to_string();
            assert!(refused.contains(file), "{file} {}: {refused}", left(1000));
        }
    }
}

#[tokio::test]
async fn a_log_that_somebody_else_signed_is_left_alone() {
    let store = Flaky::with(vec![]);
    let theirs = over(&store);
    theirs.append(&numbered(0, 1)).await.unwrap();
    theirs.publish().await.unwrap();
    let key = |name: &str, seed| Signer::of_seed(name, &[seed; 32]).unwrap();
    let origin = "werkbank.dev/log/test/1";
    let log = |signers| Log::over(store.clone(), Path::default(), "memory:///".into(), signers);
    let new = numbered(1, 1);
    for (signers, says) in [
        (vec![], "the operator has no key to go on with"),
        (vec![key(origin, 8)], "none of the keys given has signed it"),
        (vec![key("werkbank.dev/log/other/1", 7)], "a place of its own"),
    ] {
        let Err(TrailError::Unavailable(why)) = log(signers).append(&new).await else { panic!("{says}") };
        assert!(why.contains(says), "{why}");
    }
    // While keys change, both sign.
    let both = log(vec![key(origin, 8), key(origin, 7)]);
    assert_eq!(both.append(&new).await, Ok(Appended::New));
    both.publish().await.unwrap();
    assert_eq!(log(vec![key(origin, 8)]).append(&new).await, Ok(Appended::AlreadyThere));
}
