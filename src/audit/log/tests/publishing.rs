//! Tiles and checkpoints.

use super::super::super::tlog::checkpoint::Checkpoint;
use super::*;

#[tokio::test]
async fn a_checkpoint_covers_what_was_appended_and_who_comes_later_goes_on_from_it() {
    let store = Flaky::with(vec![]);
    for leader in 0..4 {
        let log = over(&store);
        for resource in 0..170 {
            assert_eq!(log.append(&numbered(leader * 1000 + resource, 1)).await, Ok(Appended::New));
        }
        assert_eq!((log.publish().await, log.publish().await), (Ok(true), Ok(false)));
        let (note, _) = log.store.read("checkpoint").await.unwrap().unwrap();
        let by = [key().verifier()];
        let (checkpoint, _) = Checkpoint::open(&note, "werkbank.dev/log/test/1", &by).unwrap();
        assert_eq!(checkpoint.size, 170 * (leader as u64 + 1));
    }
    assert_eq!(all(&store).await.len(), 680);
    // Of what is full, only the full one is left.
    let parts = log_parts(&store).await;
    assert_eq!(parts, ["tile/0/002.p", "tile/1/000.p", "tile/entries/002.p"]);
}

/// Folders that hold tiles which are not full.
async fn log_parts(store: &Arc<Flaky>) -> Vec<String> {
    let paths: Vec<String> = store.list(None).map_ok(|it| it.location.to_string()).try_collect().await.unwrap();
    let mut parts: Vec<String> =
        paths.iter().filter_map(|it| Some(it.split_once(".p/")?.0.to_owned() + ".p")).collect();
    parts.sort();
    parts.dedup();
    parts
}

#[tokio::test]
async fn an_old_leader_does_not_take_the_checkpoint_back() {
    let store = Flaky::with(vec![]);
    let (old, new) = (over(&store), over(&store));
    old.append(&numbered(0, 1)).await.unwrap();
    new.append(&numbered(1, 1)).await.unwrap();
    assert_eq!(new.publish().await, Ok(true));
    old.publish().await.unwrap();
    assert_eq!(new.checkpoint().await.unwrap().unwrap().size, 2);
    // And what it appends afterwards is behind what it had not seen.
    old.append(&numbered(2, 1)).await.unwrap();
    assert_eq!(all(&store).await, [numbered(0, 1), numbered(1, 1), numbered(2, 1)]);
}
