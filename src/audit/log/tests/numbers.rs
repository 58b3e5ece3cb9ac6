//! A number belongs to one decision, whoever asks, and however often.

use super::*;

#[tokio::test]
async fn an_entry_is_stored_once_and_read_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let shift = entry(EntryKind::Intent, 1, "Shift");
    assert_eq!(trail.append(&shift).await, Ok(Appended::New));
    assert_eq!(trail.of_resource(&shift.uid).await, Ok(vec![shift.clone()]));
    let slot = std::fs::read_to_string(dir.path().join("trail/wal/000")).unwrap();
    let lines: Vec<&str> = slot.lines().collect();
    assert_eq!(lines[1].as_bytes(), serde_json_canonicalizer::to_vec(&shift).unwrap());
    assert_eq!(lines[0], r#"{"entries":"1","first":"0"}"#);
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
    assert_eq!(trail.of_resource(&shift.uid).await, Ok(vec![shift]));
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
        let closed = entry(EntryKind::Void, 4, "Shift");
        assert_eq!(refused, Err(TrailError::SequenceTaken { holder: Box::new(closed) }));
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
    assert_eq!(trail.of_resource(&order[0].uid).await, Ok(order.to_vec()));
    assert_eq!(trail.of_resource("another-uid").await, Ok(vec![]));
}

#[tokio::test]
async fn the_history_of_a_name_goes_over_all_its_uids_the_newest_first_and_not_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let trail = trail(&dir).await;
    let of = |uid: &str, sequence| Entry { uid: uid.into(), ..entry(EntryKind::Intent, sequence, "Shift") };
    let last = 256;
    for sequence in 1..=last {
        trail.append(&of("f-first", sequence)).await.unwrap();
    }
    // Uids are random: whichever sorts first, the newest is the one that was written last.
    for (ordinal, uid) in ["a-second", "z-third", "b-fourth"].into_iter().enumerate() {
        trail.append(&of(uid, 1)).await.unwrap();
        trail.append(&Entry { name: "churn-b".into(), ..of("another", ordinal as i64 + 1) }).await.unwrap();
    }
    let history = trail.history("crm", "churn").await.unwrap();
    assert_eq!(history.len(), 256);
    let newest = [of("b-fourth", 1), of("z-third", 1), of("a-second", 1), of("f-first", last)];
    assert_eq!(history[..4], newest);
    assert_eq!(trail.history("crm", "chu").await, Ok(vec![]));
}

#[tokio::test]
async fn of_many_leaders_at_once_exactly_one_gets_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let leaders = futures::future::join_all((0..20).map(|_| trail(&dir))).await;
    let tries = leaders.into_iter().enumerate().map(|(i, leader)| {
        tokio::spawn(async move { leader.append(&entry(EntryKind::Intent, 1, &format!("Decision{i}"))).await })
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
async fn who_takes_over_knows_what_the_one_before_has_just_recorded() {
    let store = Flaky::with(vec![]);
    let (before, next) = (over(&store), over(&store));
    before.append(&numbered(0, 1)).await.unwrap();
    assert_eq!(next.history("crm", "churn").await, Ok(vec![numbered(0, 1)]));
    let rollback = Entry { decision: "RollBack".into(), ..numbered(0, 2) };
    before.append(&rollback).await.unwrap();
    assert_eq!(next.history("crm", "churn").await, Ok(vec![rollback, numbered(0, 1)]));
}
