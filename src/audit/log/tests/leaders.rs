//! Several at once, over a store that loses writes and answers.

use proptest::prelude::*;

use super::flaky::Fate;
use super::*;

/// `SEEDS=n` for more than the fast loop has time for.
fn cases() -> u32 {
    std::env::var("SEEDS").ok().and_then(|it| it.parse().ok()).unwrap_or(200)
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Arrives), 1 => Just(Fate::Lost), 1 => Just(Fate::Unclear), 1 => Just(Fate::Late)]
}

/// What somebody does.
#[derive(Debug, Clone)]
enum Act {
    /// Leaders append, at the same time.
    Append(Vec<(usize, usize, EntryKind, i64, usize)>),
    Publish(usize),
    /// A leader is killed, and another process takes its place.
    Die(usize),
    /// What was given up arrives.
    Arrive,
}

fn act() -> impl Strategy<Value = Act> {
    let kind = prop_oneof![3 => Just(EntryKind::Intent), 1 => Just(EntryKind::Outcome), 1 => Just(EntryKind::Void)];
    let append = (0_usize..3, 0_usize..2, kind, 1_i64..6, 0_usize..3);
    prop_oneof![
        6 => prop::collection::vec(append, 1..4).prop_map(Act::Append),
        1 => (0_usize..3).prop_map(Act::Publish),
        1 => (0_usize..3).prop_map(Act::Die),
        1 => Just(Act::Arrive),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Three leaders at once, over a store that loses writes and answers, and cannot be read at times: what was said to be on the log is on it, once; a
    /// number has one intent, and none behind its void; and the log verifies.
    #[test]
    fn one_effective_intent_nothing_lost(
        acts in prop::collection::vec(act(), 1..40), fates in prop::collection::vec(fate(), 0..60),
        unread in prop::collection::vec(prop::bool::weighted(0.05), 0..400), long in prop::bool::weighted(0.05),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let store = Flaky::with(vec![]);
            // Where a tile is about to be full.
            let (first, before) = (over(&store), if long { 254 } else { 0 });
            for number in 0..before {
                first.append(&numbered(7, number)).await.unwrap();
            }
            store.goes_wrong(fates, unread);
            let mut leaders = [over(&store), over(&store), over(&store)];
            let mut said: Vec<Entry> = Vec::new();
            for act in acts {
                match act {
                    Act::Append(appends) => {
                        let entries: Vec<(usize, Entry)> = appends.into_iter().map(|(leader, resource, kind, sequence, decision)| {
                            let decision = ["Shift", "Promote", "RollBack"][decision].into();
                            (leader, Entry { kind, decision, ..numbered(resource, sequence) })
                        }).collect();
                        let answers = futures::future::join_all(entries.iter().map(|(leader, it)| leaders[*leader].append(it))).await;
                        for ((_, entry), answer) in entries.into_iter().zip(answers) {
                            match answer {
                                Ok(_) => said.push(entry),
                                Err(TrailError::SequenceTaken { holder }) => prop_assert_eq!(holder.sequence, entry.sequence),
                                Err(TrailError::Unavailable(_)) => {}
                                Err(TrailError::Damaged(why)) => prop_assert!(false, "{}", why),
                            }
                        }
                    }
                    Act::Publish(leader) => drop(leaders[leader].publish().await),
                    Act::Die(leader) => leaders[leader] = over(&store),
                    Act::Arrive => store.arrive().await,
                }
                // Past the rest that a silent store is given.
                tokio::time::sleep(Duration::from_secs(120)).await;
            }
            store.calm();
            store.arrive().await;
            let log = all(&store).await;
            for entry in &said {
                prop_assert_eq!(log.iter().filter(|it| it.is_same_decision(entry) && it.uid == entry.uid).count(), 1);
            }
            for (at, entry) in log.iter().enumerate() {
                let same = |it: &&Entry| it.uid == entry.uid && it.sequence == entry.sequence;
                prop_assert_eq!(log.iter().filter(same).filter(|it| it.kind == entry.kind).count(), 1);
                let behind_void = log[..at].iter().filter(same).any(|it| it.kind == EntryKind::Void);
                prop_assert!(!(entry.kind == EntryKind::Intent && behind_void), "an intent behind its void");
            }
            let last = over(&store);
            last.append(&numbered(9, 1)).await.unwrap();
            last.publish().await.unwrap();
            prop_assert_eq!(all(&store).await.len(), log.len() + 1, "read from the checkpoint");
            let verified = last.verified().await;
            prop_assert!(verified.as_ref().is_ok_and(|it| it.beyond == 0), "{:?}", verified);
            Ok(())
        })?;
    }
}
