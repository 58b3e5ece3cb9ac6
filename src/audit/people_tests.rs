use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;

const ANNA: &str = "anna.schmidt@example.com";

fn store() -> Store {
    over(Arc::new(InMemory::new()))
}

fn over(store: Arc<dyn ObjectStore>) -> Store {
    Store::over(store, Path::default(), "memory:///".into())
}

fn wrote(uid: &'static str, text: &'static str) -> Option<Words<'static>> {
    Some(Words { uid, text })
}

#[tokio::test]
async fn a_person_is_the_same_actor_to_every_operator_and_another_one_than_anybody_else() {
    let store = store();
    let anna = People::default().said(&store, ANNA, None).await.unwrap();
    assert_eq!(People::default().said(&store, ANNA, None).await.unwrap(), anna);
    assert_ne!(People::default().said(&store, "carla@example.com", None).await.unwrap().actor, anna.actor);
    assert_eq!(actor_of(&store, ANNA).await.unwrap(), Some(anna.actor));
    assert_eq!(actor_of(&store, "nobody@example.com").await, Ok(None));
    assert_eq!(actor_of(&store, "nobody@example.com").await, Ok(None), "to ask makes nobody known");
}

#[tokio::test]
async fn words_are_read_with_the_key_and_only_where_they_were_said() {
    let store = store();
    let said = People::default().said(&store, ANNA, wrote("uid-1", "checked with Bernd")).await.unwrap();
    let again = People::default().said(&store, ANNA, wrote("uid-1", "checked with Bernd")).await.unwrap();
    assert_eq!(again, said, "an operator that starts anew says the same");
    let elsewhere = People::default().said(&store, ANNA, wrote("uid-2", "checked with Bernd")).await.unwrap();
    assert_ne!(elsewhere.comment, said.comment, "the same words are not seen to be the same");
    assert_eq!(words(&store, ANNA, "uid-1", &said.comment).await.unwrap().as_deref(), Some("checked with Bernd"));
    assert_eq!(words(&store, ANNA, "uid-1", &elsewhere.comment).await, Ok(None), "that is not what was said here");
    assert_eq!(words(&store, "carla@example.com", "uid-1", &said.comment).await, Ok(None));
}

#[tokio::test]
async fn no_file_says_a_name_or_a_word() {
    let memory = Arc::new(InMemory::new());
    People::default().said(&over(memory.clone()), ANNA, wrote("uid-1", "checked with Bernd")).await.unwrap();
    let files: Vec<_> = futures::TryStreamExt::try_collect(memory.list(None)).await.unwrap();
    assert_eq!(files.len(), 2);
    for file in files {
        let bytes = memory.get(&file.location).await.unwrap().bytes().await.unwrap();
        let all = format!("{} {}", file.location, String::from_utf8_lossy(&bytes));
        assert!(["anna", "schmidt", "Bernd", "checked"].iter().all(|it| !all.contains(it)), "{all}");
    }
}

#[tokio::test]
async fn who_is_forgotten_is_nobody_and_later_somebody_new() {
    let store = store();
    let before = People::default().said(&store, ANNA, wrote("uid-1", "yes")).await.unwrap();
    People::default().said(&store, "carla@example.com", wrote("uid-2", "no")).await.unwrap();
    assert_eq!(forget(&store, ANNA).await, Ok(true));
    assert_eq!(forget(&store, ANNA).await, Ok(false), "nothing is left");
    assert_eq!(actor_of(&store, ANNA).await, Ok(None));
    assert_eq!(words(&store, ANNA, "uid-1", &before.comment).await, Ok(None));
    assert!(actor_of(&store, "carla@example.com").await.unwrap().is_some(), "nobody else is");
    assert_ne!(People::default().said(&store, ANNA, None).await.unwrap().actor, before.actor);
}

#[tokio::test]
async fn a_key_that_is_none_is_told_and_not_made_anew() {
    let memory = Arc::new(InMemory::new());
    let path = key_of(ANNA).split('/').fold(Path::default(), Path::join);
    memory.put(&path, b"{}".to_vec().into()).await.unwrap();
    let Err(Fault::Damaged(why)) = People::default().said(&over(memory), ANNA, None).await else {
        panic!("it is damaged")
    };
    assert!(why.contains("is no key of a person") && !why.contains("anna"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_keeps_nobody_and_who_is_known_stays_known() {
    let memory = Arc::new(ThrottledStore::new(InMemory::new(), ThrottleConfig::default()));
    let (store, people) = (over(memory.clone()), People::default());
    let anna = people.said(&store, ANNA, None).await.unwrap();
    memory.config_mut(|it| it.wait_get_per_call = Duration::from_secs(3600));
    tokio::time::advance(FRESH).await;
    let began = Instant::now();
    assert_eq!(people.said(&store, ANNA, None).await, Ok(anna));
    let Err(Fault::Silent(why)) = people.said(&store, "carla@example.com", None).await else { panic!("it hangs") };
    assert!(began.elapsed() <= PATIENCE * 2 && !why.contains("carla"), "{why}");
}
