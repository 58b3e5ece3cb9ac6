//! What the story comes to: times, requests, promises. Pure.

use std::time::Duration;

use werkbank::api::Weight;

use super::act::Act;
use super::promises::Promise;
use super::replay::Snapshot;
use super::words::{count, joined, percent, seconds};

/// How everything fared; what the story did not get to is not there.
#[derive(Default)]
pub(super) struct Fared {
    /// Until everything ran.
    pub(super) ready: Duration,
    pub(super) good: Option<Act>,
    pub(super) harmful: Option<Act>,
    /// When Prometheus showed the breach, since the deployment; and how long weight 0 in Envoy took from there.
    pub(super) breach: Option<(Duration, Duration)>,
    pub(super) better: Option<Act>,
    /// How long weight 0 in Envoy took from the edit that revoked it.
    pub(super) revoked: Option<Duration>,
    pub(super) seen: Snapshot,
    pub(super) took: Duration,
}

/// The last lines of the story.
pub(super) fn summary(fared: &Fared, promises: &[Promise]) -> Vec<String> {
    let mut lines = vec![String::new(), "What happened".to_owned()];
    let row = |entry: &str, what: &str, when: String| format!("  {entry:<9} {what:<44} {when}");
    lines.push(row("", "everything runs", seconds(fared.ready)));
    if let Some(act) = &fared.good {
        lines.push(row(&act.entry, "first deployment, until it has all traffic", reached(act, Weight::FULL)));
    }
    if let Some(act) = &fared.harmful {
        let (_, highest) = act.highest();
        lines.push(row(&act.entry, &format!("until {highest} of the traffic"), reached(act, highest)));
        if let Some((at, took)) = fared.breach {
            lines.push(row("", "until Prometheus shows the breach", seconds(at)));
            lines.push(row("", "from there to weight 0 in Envoy", seconds(took)));
        }
    }
    if let Some(act) = &fared.better {
        let way: Vec<Weight> = act.in_envoy.iter().map(|(it, _)| *it).filter(|it| *it > Weight::NONE).collect();
        let times: Vec<String> = way.iter().map(|it| reached(act, *it)).collect();
        lines.push(row(&act.entry, &format!("until {} of the traffic", joined(&way)), joined(&times)));
    }
    if let Some(took) = fared.revoked {
        lines.push(row("", "from lifecycle: Revoked to weight 0 in Envoy", seconds(took)));
    }
    lines.extend(requests(fared));
    let broken = promises.iter().filter(|it| !it.kept).count();
    let (all, took) = (promises.len(), seconds(fared.took));
    lines.push(String::new());
    lines.push(match broken {
        0 => format!("All {all} promises were kept. It took {took}."),
        _ => format!("{broken} of {all} promises broken, after {took}."),
    });
    lines
}

fn reached(act: &Act, weight: Weight) -> String {
    act.in_envoy.iter().find(|(it, _)| *it == weight).map_or("never".to_owned(), |(_, at)| seconds(*at))
}

/// A table of who answered what, and how right the selections were.
fn requests(fared: &Fared) -> Vec<String> {
    let row = |who: &str, requests: &str, failed: &str, rate: &str, judged: &str| {
        format!("  {who:<9} {requests:>9} {failed:>7} {rate:>9} {judged:>10}")
    };
    let mut lines = vec![String::new(), row("", "requests", "failed", "hit rate", "outcomes")];
    for act in [&fared.good, &fared.harmful, &fared.better].into_iter().flatten() {
        let Some(tally) = fared.seen.revisions.get(&act.revision) else { continue };
        let rate = tally.hit_rate().map_or("-".to_owned(), percent);
        lines.push(row(&act.entry, &count(tally.requests), &count(tally.errors), &rate, &count(tally.judged)));
    }
    lines.push(row("in all", &count(fared.seen.requests()), &count(fared.seen.errors()), "", "").trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_that_stopped_early_tells_only_what_it_got_to() {
        let good = Act { in_envoy: vec![(Weight::FULL, Duration::from_millis(1_500))], ..Act::of("churn-v1") };
        let fared = Fared { good: Some(good), took: Duration::from_secs(20), ..Fared::default() };
        let promise = |kept| Promise { said: String::new(), seen: String::new(), kept };
        let told = summary(&fared, &[promise(true), promise(false)]).join("\n");
        assert!(told.contains("churn-v1  first deployment, until it has all traffic   1.50 s"), "{told}");
        assert!(!told.contains("churn-v2") && !told.contains("churn-v3"), "{told}");
        assert!(told.ends_with("1 of 2 promises broken, after 20 s."), "{told}");
    }
}
