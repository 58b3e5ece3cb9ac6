use chrono::DateTime;
use proptest::prelude::*;

use super::super::super::entry::{Consent, sample};
use super::*;

fn entry(kind: EntryKind, sequence: i64, decision: &str) -> Entry {
    Entry { kind, sequence, decision: decision.into(), time: DateTime::UNIX_EPOCH, ..sample() }
}

#[test]
fn a_number_belongs_to_the_first_decision_that_had_it() {
    let mut index = Index::default();
    let shift = entry(EntryKind::Intent, 7, "Shift");
    assert_eq!(index.judge(&shift), Judged::New);
    index.note(&shift, 40);
    let later = Entry { time: DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1), lease_epoch: 4, ..shift.clone() };
    assert_eq!(index.judge(&later), Judged::AlreadyThere(40));
    assert_eq!(index.judge(&entry(EntryKind::Intent, 7, "RollBack")), Judged::Taken(40));
    assert_eq!(index.judge(&Entry { weight: "10%".into(), ..shift.clone() }), Judged::Taken(40));
    assert_eq!(index.judge(&entry(EntryKind::Outcome, 7, "Shift")), Judged::New);
    assert_eq!(index.judge(&Entry { uid: "another".into(), ..shift }), Judged::New);
}

#[test]
fn a_number_that_was_closed_by_a_void_is_spent_whether_its_intent_was_there_or_arrives_late() {
    for stored in [true, false] {
        let mut index = Index::default();
        let (shift, void) = (entry(EntryKind::Intent, 4, "Shift"), entry(EntryKind::Void, 4, "Shift"));
        if stored {
            index.note(&shift, 0);
        }
        index.note(&void, 1);
        assert_eq!(index.judge(&shift), Judged::Spent);
        assert_eq!(index.judge(&void), Judged::AlreadyThere(1));
        assert_eq!(index.judge(&entry(EntryKind::Intent, 5, "Shift")), Judged::New);
    }
}

#[test]
fn the_history_of_a_name_goes_over_all_its_uids_the_newest_first_and_not_without_end() {
    let mut index = Index::default();
    for at in 0..300 {
        let uid = format!("{}", at % 3);
        index.note(&Entry { uid, ..entry(EntryKind::Intent, at, "Shift") }, at as u64);
        index.note(&Entry { name: "churn-b".into(), ..entry(EntryKind::Intent, at, "Shift") }, 1000 + at as u64);
    }
    assert_eq!(index.history("crm", "churn"), (44..300).rev().collect::<Vec<_>>());
    assert_eq!(index.history("crm", "chu"), [0; 0]);
}

#[test]
fn numbers_far_behind_are_spent_and_not_free_again() {
    let mut index = Index::default();
    for sequence in 1..=1000 {
        index.note(&entry(EntryKind::Intent, sequence, "Shift"), sequence as u64);
    }
    assert_eq!(index.judge(&entry(EntryKind::Intent, 744, "Another")), Judged::Spent);
    assert_eq!(index.judge(&entry(EntryKind::Intent, 745, "Another")), Judged::Taken(745));
    assert_eq!(index.judge(&entry(EntryKind::Intent, 1001, "Another")), Judged::New);
}

/// By the time that a dead operator's decision is taken again another may have been approved or rejected, or asked for by somebody else.
#[test]
fn what_rests_on_somebody_elses_word_is_another_decision() {
    for decision in ["Shift", "Reject", "Retract"] {
        let mut index = Index::default();
        let of = |uid: &str| {
            let consent =
                Consent { actor: String::new(), comment: String::new(), role: "legal".into(), uid: uid.into() };
            Entry { consents: vec![consent], ..entry(EntryKind::Intent, 1, decision) }
        };
        index.note(&of("a"), 0);
        let judged = (index.judge(&of("a")), index.judge(&of("b")));
        assert_eq!(judged, (Judged::AlreadyThere(0), Judged::Taken(0)), "{decision}");
        let of_outcome = |it: Entry| Entry { kind: EntryKind::Outcome, ..it };
        index.note(&of_outcome(of("a")), 1);
        assert_eq!(index.judge(&of_outcome(of("b"))), Judged::AlreadyThere(1), "an outcome is that of its number");
    }
}

#[test]
fn what_somebody_else_asked_for_is_another_decision_unless_it_takes_hold_before_it_is_recorded() {
    for (decision, due) in [
        ("Promote", Judged::Taken(0)),
        ("Start", Judged::Taken(0)),
        ("EndProbation", Judged::Taken(0)),
        ("Resume", Judged::Taken(0)),
        ("Pause", Judged::AlreadyThere(0)),
        ("RollBack", Judged::AlreadyThere(0)),
        ("Recall", Judged::AlreadyThere(0)),
    ] {
        let mut index = Index::default();
        let asked_by = |by: &str| Entry { asked_by: by.into(), ..entry(EntryKind::Intent, 1, decision) };
        index.note(&asked_by("jane"), 0);
        assert_eq!(
            (index.judge(&asked_by("jane")), index.judge(&asked_by("max")), index.judge(&asked_by(""))),
            (Judged::AlreadyThere(0), due, due),
            "{decision}"
        );
    }
}

proptest! {
    /// What lies on a log is judged as it would have been when it was offered.
    #[test]
    fn who_judges_a_log_judges_as_who_appends(
        claims in prop::collection::vec((0_usize..3, -2_i64..5, 0_usize..3, 0_usize..2), 1..60), remembered in 1_usize..5,
    ) {
        let mut index = Index { remembered, ..Index::default() };
        for (at, (kind, sequence, decision, uid)) in (0..).zip(claims) {
            let kind = [EntryKind::Intent, EntryKind::Outcome, EntryKind::Void][kind];
            let uid = ["a", "b"][uid].into();
            let entry = Entry { uid, ..entry(kind, sequence, ["Shift", "Promote", "RollBack"][decision]) };
            let due = index.judge(&entry);
            prop_assert_eq!(index.judge_and_note(&Claim::of(&entry.decided()), at), due);
        }
    }

    /// Whatever is offered in whatever order: an intent is appended once for each number, and never behind its void.
    #[test]
    fn one_effective_intent_for_each_number(offers in prop::collection::vec((0_usize..3, 1_i64..5, 0_usize..3), 1..60)) {
        let (mut index, mut log) = (Index::default(), Vec::new());
        for (kind, sequence, decision) in offers {
            let kind = [EntryKind::Intent, EntryKind::Outcome, EntryKind::Void][kind];
            let offered = entry(kind, sequence, ["Shift", "Promote", "RollBack"][decision]);
            match index.judge(&offered) {
                Judged::New => {
                    index.note(&offered, log.len() as u64);
                    log.push(offered);
                }
                Judged::AlreadyThere(at) => prop_assert!(log[at as usize].is_same_decision(&offered)),
                Judged::Taken(at) => {
                    let holder = &log[at as usize];
                    prop_assert!(holder.sequence == sequence && !holder.is_same_decision(&offered));
                }
                Judged::Spent => prop_assert!(log.iter().any(|it| it.kind == EntryKind::Void && it.sequence == sequence)),
            }
        }
        for sequence in 1..5 {
            let of = |kind| log.iter().filter(move |it| it.kind == kind && it.sequence == sequence).count();
            prop_assert!(of(EntryKind::Intent) <= 1 && of(EntryKind::Void) <= 1);
            let place = |kind| log.iter().position(|it| it.kind == kind && it.sequence == sequence);
            if let (Some(intent), Some(void)) = (place(EntryKind::Intent), place(EntryKind::Void)) {
                prop_assert!(intent < void);
            }
        }
    }
}
