//! One log, and more than one cluster.

use object_store::ObjectStoreExt;

use super::*;

fn of(cluster: &str, store: &Arc<InMemory>) -> Log {
    let log = in_store(store.clone());
    log.keeps_for(cluster);
    log
}

/// Longer than what the file says is believed.
const LATER: Duration = Duration::from_secs(31);

#[tokio::test(start_paused = true)]
async fn a_log_is_of_the_cluster_that_wrote_first_and_takes_nothing_of_another_ones() {
    let store = Arc::new(InMemory::new());
    assert_eq!(of("uid-a", &store).append(&numbered(1, 1)).await, Ok(Appended::New));
    assert_eq!(of("uid-a", &store).append(&numbered(1, 2)).await, Ok(Appended::New), "its next process");
    let other = of("uid-b", &store);
    for number in [1, 2] {
        let Err(TrailError::Unavailable(why)) = other.append(&numbered(2, number)).await else {
            panic!("two clusters")
        };
        assert_eq!(
            why,
            "the log in s3://models/trail is of cluster 'uid-a', and this is cluster 'uid-b': give each a place and a key of its own; \
             if this one has taken the place of that one, delete the file `cluster` there"
        );
    }
    assert_eq!(of("uid-a", &store).of_resource("uid-2").await, Ok(Vec::new()), "nothing of it is on the log");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_a_person_gives_away_goes_on_with_the_other_cluster_and_processes_of_the_old_one_notice() {
    let store = Arc::new(InMemory::new());
    let (old, new) = (of("uid-a", &store), of("uid-b", &store));
    assert_eq!(old.append(&numbered(1, 1)).await, Ok(Appended::New));
    assert!(new.append(&numbered(2, 1)).await.is_err());
    store.delete(&Path::from("trail/cluster")).await.unwrap();
    tokio::time::sleep(LATER).await;
    assert_eq!(new.append(&numbered(2, 1)).await, Ok(Appended::New));
    assert!(old.append(&numbered(1, 2)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_has_another_key_does_not_take_the_log_from_who_has_begun_it() {
    let store = Arc::new(InMemory::new());
    let own = Log { signers: vec![key()], verifiers: vec![key().verifier()], ..in_store(store.clone()) };
    assert_eq!(own.append(&numbered(1, 1)).await, Ok(Appended::New));
    own.publish().await.unwrap();
    assert!(of("uid-b", &store).append(&numbered(2, 1)).await.is_err(), "it is signed by somebody else");
    own.keeps_for("uid-a");
    assert_eq!(own.append(&numbered(1, 2)).await, Ok(Appended::New), "from an operator that did not know of clusters");
}

#[tokio::test]
async fn another_clusters_operator_publishes_nothing_and_keeps_nothing_of_people() {
    let store = Arc::new(InMemory::new());
    let (own, other) = (of("uid-a", &store), of("uid-b", &store));
    assert_eq!(own.append(&numbered(1, 1)).await, Ok(Appended::New));
    assert!(other.append(&numbered(2, 1)).await.is_err());
    let said = other.said("anna@example.com", None).await;
    assert!(matches!(said, Err(TrailError::Unavailable(_))), "{said:?}");
    assert!(other.publish().await.is_err());
    let files: Vec<_> = store.list(None).map_ok(|it| it.location.to_string()).try_collect().await.unwrap();
    assert!(!files.iter().any(|it| it.contains("people") || it.contains("tile")), "{files:?}");
    assert_eq!(own.publish().await, Ok(true));
    assert!(own.said("anna@example.com", None).await.is_ok());
}

#[tokio::test]
async fn of_two_clusters_that_begin_one_log_together_one_has_it() {
    let store = Arc::new(InMemory::new());
    let (one, other) = (of("uid-a", &store), of("uid-b", &store));
    let (first, second) = (numbered(1, 1), numbered(2, 1));
    let (one, other) = futures::join!(one.append(&first), other.append(&second));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
}

#[tokio::test]
async fn a_process_that_does_not_know_its_cluster_goes_on_with_the_log_as_it_is() {
    let store = Arc::new(InMemory::new());
    assert_eq!(of("uid-a", &store).append(&numbered(1, 1)).await, Ok(Appended::New));
    assert_eq!(in_store(store.clone()).append(&numbered(1, 2)).await, Ok(Appended::New));
}

#[tokio::test]
async fn what_somebody_wrote_into_the_file_is_shown_short_and_without_what_a_terminal_obeys() {
    let store = Arc::new(InMemory::new());
    let text = format!("\u{1b}[2J{}", "x".repeat(1000));
    store.put(&Path::from("trail/cluster"), text.into_bytes().into()).await.unwrap();
    let Err(TrailError::Unavailable(why)) = of("uid-a", &store).append(&numbered(1, 1)).await else { panic!("taken") };
    assert!(why.len() < 400 && !why.contains('\u{1b}'), "{why}");
}
