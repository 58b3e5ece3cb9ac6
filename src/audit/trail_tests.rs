use chrono::DateTime;

use super::*;

fn entry(kind: EntryKind, sequence: i64, decision: &str) -> Entry {
    Entry {
        kind,
        subject_kind: "ModelDeployment".into(),
        namespace: "crm".into(),
        name: "churn".into(),
        uid: "0d7b6c1e-0000-4000-8000-000000000001".into(),
        generation: 2,
        attempt: "s1-abc-1-0d7b".into(),
        sequence,
        decision: decision.into(),
        reason: "the step is over".into(),
        revision: "s1-abc".into(),
        weight: "25%".into(),
        time: DateTime::from_timestamp(1_763_900_000, 0).unwrap(),
        lease_epoch: 3,
    }
}

async fn trail(dir: &tempfile::TempDir) -> ObjectStoreTrail {
    ObjectStoreTrail::open(&format!("file://{}/trail", dir.path().display())).await.unwrap()
}

#[tokio::test]
async fn an_entry_is_stored_once_and_read_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let shift = entry(EntryKind::Intent, 1, "Shift");
    assert_eq!(trail.append(&shift).await, Ok(Appended::New));
    assert_eq!(trail.list(&shift.uid).await, Ok(vec![shift.clone()]));
    let file = dir.path().join("trail").join(&shift.uid).join("0000000001.intent.json");
    assert_eq!(std::fs::read(file).unwrap(), serde_json_canonicalizer::to_vec(&shift).unwrap());
}

#[tokio::test]
async fn the_same_decision_again_is_already_there_even_with_a_later_clock_or_leader() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let mut shift = entry(EntryKind::Intent, 1, "Shift");
    trail.append(&shift).await.unwrap();
    shift.lease_epoch += 1;
    shift.time += chrono::TimeDelta::seconds(9);
    assert_eq!(trail.append(&shift).await, Ok(Appended::AlreadyThere));
}

#[tokio::test]
async fn another_decision_with_the_same_number_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let shift = entry(EntryKind::Intent, 7, "Shift");
    trail.append(&shift).await.unwrap();
    let refused = trail.append(&entry(EntryKind::Intent, 7, "RollBack")).await;
    assert_eq!(refused, Err(TrailError::SequenceTaken { holder: Box::new(shift.clone()) }));
    assert_eq!(trail.list(&shift.uid).await, Ok(vec![shift]));
}

#[tokio::test]
async fn an_intent_that_was_given_up_is_refused_whether_it_was_stored_or_arrives_late() {
    for stored in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let trail = trail(&dir).await;
        let shift = entry(EntryKind::Intent, 4, "Shift");
        if stored {
            trail.append(&shift).await.unwrap();
        }
        trail.append(&entry(EntryKind::Void, 4, "Shift")).await.unwrap();
        let refused = trail.append(&shift).await;
        assert_eq!(refused, Err(TrailError::SequenceTaken { holder: Box::new(shift) }));
        assert_eq!(trail.append(&entry(EntryKind::Intent, 5, "Shift")).await, Ok(Appended::New));
    }
}

#[tokio::test]
async fn the_same_step_to_another_weight_is_another_decision() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let shift = entry(EntryKind::Intent, 3, "Shift");
    trail.append(&shift).await.unwrap();
    let edited = Entry { weight: "10%".into(), ..shift.clone() };
    assert_eq!(edited.id(), shift.id());
    assert_eq!(trail.append(&edited).await, Err(TrailError::SequenceTaken { holder: Box::new(shift) }));
}

#[tokio::test]
async fn entries_are_listed_by_number_the_intent_before_its_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let order = [
        entry(EntryKind::Intent, 2, "Shift"),
        entry(EntryKind::Void, 2, "Shift"),
        entry(EntryKind::Intent, 10, "Promote"),
        entry(EntryKind::Outcome, 10, "Promote"),
    ];
    for entry in [&order[2], &order[3], &order[0], &order[1]] {
        trail.append(entry).await.unwrap();
    }
    assert_eq!(trail.list(&order[0].uid).await, Ok(order.to_vec()));
    assert_eq!(trail.list("another-uid").await, Ok(vec![]));
}

#[tokio::test]
async fn of_many_leaders_at_once_exactly_one_gets_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let tries = (0..20).map(|i| {
        let trail = trail.clone();
        tokio::spawn(async move { trail.append(&entry(EntryKind::Intent, 1, &format!("Decision{i}"))).await })
    });
    let answers: Vec<_> = futures::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Appended::New)).count(), 1);
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Err(TrailError::SequenceTaken { .. }))).count(), 19);
}

#[tokio::test]
async fn a_trail_can_be_opened_again_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = entry(EntryKind::Intent, 1, "Shift");
    trail(&dir).await.append(&first).await.unwrap();
    let again = trail(&dir).await;
    assert_eq!(again.append(&first).await, Ok(Appended::AlreadyThere));
}

#[tokio::test]
async fn garbage_at_a_place_is_unavailable_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let shift = entry(EntryKind::Intent, 1, "Shift");
    let file = dir.path().join("trail").join(&shift.uid).join("0000000001.intent.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "garbage").unwrap();
    assert!(matches!(trail.append(&shift).await, Err(TrailError::Unavailable(_))));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "garbage");
}

#[tokio::test]
async fn a_uid_cannot_lead_out_of_the_trail() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let mut shift = entry(EntryKind::Intent, 1, "Shift");
    shift.uid = "../../outside".into();
    trail.append(&shift).await.unwrap();
    let beside: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["trail"]);
}

#[tokio::test]
async fn an_address_that_cannot_be_a_trail_is_refused_with_those_that_work() {
    for url in ["gs://bucket/trail", "trail", "file:///proc/version/trail"] {
        assert!(matches!(ObjectStoreTrail::open(url).await, Err(TrailError::Unavailable(_))), "{url}");
    }
}
