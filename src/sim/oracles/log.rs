//! The log as it lies in its store: what who verifies it finds, and whether it came about in order.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::{EntryKind, Log};

/// All that is wrong with it; everything on it is to be under the checkpoint.
pub(in crate::sim) async fn wrong_with(log: &Log) -> Vec<String> {
    let mut wrong = Vec::new();
    match log.verified().await {
        Ok(it) if it.beyond > 0 => wrong.push(format!("{} entries of the log are not signed", it.beyond)),
        Ok(_) => {}
        Err(why) => wrong.push(format!("the log does not verify: {why}")),
    }
    let (mut there, mut last) = (BTreeSet::new(), BTreeMap::new());
    let read = log.each(|at, entry, _| {
        let kind = |it: EntryKind| format!("{it:?}");
        let told = format!("entry {at}, {:?} {} {} of {}", entry.kind, entry.sequence, entry.decision, entry.uid);
        if !there.insert((entry.uid.clone(), entry.sequence, kind(entry.kind))) {
            wrong.push(format!("{told}, is on the log twice"));
        }
        if entry.kind != EntryKind::Intent {
            let began = (entry.uid.clone(), entry.sequence, kind(EntryKind::Intent));
            wrong.extend((!there.contains(&began)).then(|| format!("{told}, is before its intent")));
        } else if let Some(before) = last.insert(entry.uid.clone(), entry.sequence).filter(|it| *it > entry.sequence) {
            wrong.push(format!("{told}, is behind number {before}"));
        }
    });
    let read = read.await;
    wrong.extend(read.err().map(|why| why.to_string()));
    wrong
}
