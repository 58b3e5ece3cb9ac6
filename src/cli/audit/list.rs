//! `werkbank audit list`: what is on the log, one entry in a line.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::bar::Bar;
use super::{End, Keys};
use crate::audit::{Entry, EntryKind, Log, TrailError};

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Where the log is: file:///dir or s3://bucket/prefix
    log: String,
    #[command(flatten)]
    only: Only,
    /// How: a table, or a line of JSON for each entry with its place in the log
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    keys: Keys,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Which entries.
#[derive(Debug, Clone, Default, Args)]
struct Only {
    /// From this time on: 2026-11-29 (UTC) or 2026-11-29T12:00:00Z
    #[arg(long, value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Before this time
    #[arg(long, value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// About this kind, e.g. ModelDeployment
    #[arg(long)]
    kind: Option<String>,
    /// About something in this namespace
    #[arg(short, long)]
    namespace: Option<String>,
    /// About something of this name
    #[arg(long)]
    name: Option<String>,
    /// Of this decision, e.g. Promote
    #[arg(long)]
    decision: Option<String>,
    /// Of this type: intent, outcome or void
    #[arg(long = "type")]
    of_type: Option<String>,
    /// That this person has approved, rejected or asked for: a name as in spec.approver, or an actor's 32 digits
    #[arg(long)]
    actor: Option<String>,
}

impl Only {
    fn takes(&self, entry: &Entry) -> bool {
        let is =
            |wanted: &Option<String>, it: &str| wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(it));
        self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time < until)
            && is(&self.kind, &entry.subject_kind)
            && is(&self.namespace, &entry.namespace)
            && is(&self.name, &entry.name)
            && is(&self.decision, &entry.decision)
            && is(&self.of_type, type_of(entry))
            && self.actor.as_ref().is_none_or(|actor| is_by(actor, entry))
    }
}

fn is_by(actor: &str, entry: &Entry) -> bool {
    entry.asked_by == actor || entry.consents.iter().any(|it| it.actor == actor)
}

fn is_actor(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
}

fn type_of(entry: &Entry) -> &'static str {
    match entry.kind {
        EntryKind::Intent => "Intent",
        EntryKind::Outcome => "Outcome",
        EntryKind::Void => "Void",
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|it| it.and_time(NaiveTime::MIN).and_utc());
    let instant = DateTime::parse_from_rfc3339(text).ok().map(|it| it.to_utc());
    instant.or_else(day).ok_or_else(|| "write a day, 2026-11-29, or an instant, 2026-11-29T12:00:00Z".into())
}

pub(super) async fn run(arguments: &ListArguments) -> Result<String, End> {
    let log =
        Log::signed_by(&arguments.log, arguments.keys.verifiers()?).map_err(|it| End::Arguments(it.to_string()))?;
    let mut found = Vec::new();
    let person = arguments.only.actor.as_deref().filter(|it| !is_actor(it));
    let only = match person {
        Some(person) => Only { actor: Some(actor_of(&log, person).await?), ..arguments.only.clone() },
        None => arguments.only.clone(),
    };
    let mut bar = Bar::new();
    let take = |at: u64, entry: &Entry, signed: bool| {
        bar.read(at + 1);
        if only.takes(entry) {
            found.push(Found { at, signed, entry: entry.clone() });
        }
    };
    log.each(take).await.map_err(|error| match error {
        TrailError::Damaged(why) => End::Wrong(why),
        error => End::Unread(error.to_string()),
    })?;
    drop(bar);
    let listed = match arguments.output {
        Output::Table => table(&found),
        Output::Json => found.iter().map(Found::json).collect(),
    };
    Ok(match (person, arguments.output) {
        (Some(person), Output::Table) => listed + &words(&log, person, &found).await?,
        _ => listed,
    })
}

/// Which actor a person is, as long as somebody can tell.
async fn actor_of(log: &Log, person: &str) -> Result<String, End> {
    let actor = log.actor_of(person).await.map_err(|error| End::Unread(error.to_string()))?;
    actor.ok_or_else(|| {
        End::Unknown("nothing is kept of a person of that name: they have said nothing, or have been forgotten".into())
    })
}

/// What the person wrote, of what is listed; once for each Approval.
async fn words(log: &Log, person: &str, found: &[Found]) -> Result<String, End> {
    let consents = found.iter().flat_map(|it| &it.entry.consents).filter(|it| !it.comment.is_empty());
    let mut seen = BTreeSet::new();
    let mut lines = String::new();
    for it in consents.filter(|it| seen.insert(&it.uid)) {
        let words = log.words(person, &it.uid, &it.comment).await.map_err(|error| End::Unread(error.to_string()))?;
        lines.extend(
            words.map(|words| format!("as {} (Approval {}): {}\n", plain(&it.role), plain(&it.uid), plain(&words))),
        );
    }
    Ok(if lines.is_empty() { lines } else { format!("\n{lines}") })
}

/// An entry that is listed.
#[derive(Debug, Clone)]
struct Found {
    at: u64,
    /// Whether it is under the checkpoint.
    signed: bool,
    entry: Entry,
}

impl Found {
    fn json(&self) -> String {
        let Self { at, signed, entry } = self;
        format!("{}\n", json!({"index": at.to_string(), "signed": signed, "entry": entry}))
    }

    fn row(&self) -> [String; 9] {
        let entry = &self.entry;
        [
            self.at.to_string(),
            entry.time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            type_of(entry).to_owned(),
            entry.decision.clone(),
            format!("{}/{}", entry.namespace, entry.name),
            entry.revision.clone(),
            entry.weight.clone(),
            if self.signed { "yes" } else { "not yet" }.to_owned(),
            entry.id(),
        ]
        .map(|cell| plain(&cell))
    }
}

/// Without what moves a terminal's cursor: what no checkpoint covers may be anybody's.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { '\u{fffd}' } else { it }).collect()
}

fn table(found: &[Found]) -> String {
    if found.is_empty() {
        return "nothing on the log is of that kind\n".into();
    }
    let header =
        ["INDEX", "TIME", "TYPE", "DECISION", "SUBJECT", "REVISION", "WEIGHT", "SIGNED", "ID"].map(str::to_owned);
    let rows: Vec<[String; 9]> = std::iter::once(header).chain(found.iter().map(Found::row)).collect();
    let mut widths = [0; 9];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Consent, sample};

    fn entry(name: &str, decision: &str, at: &str) -> Entry {
        Entry { name: name.into(), decision: decision.into(), time: time(at).unwrap(), ..sample() }
    }

    #[test]
    fn a_table_has_a_line_for_each_entry() {
        let found = [
            Found { at: 7, signed: true, entry: entry("churn", "Shift", "2026-11-29") },
            Found { at: 12, signed: false, entry: entry("prop\u{1b}[2J", "Promote", "2026-11-29T12:00:00Z") },
        ];
        let ids = found.clone().map(|it| it.entry.id());
        let expected = format!(
            "INDEX  TIME                  TYPE    DECISION  SUBJECT       REVISION  WEIGHT  SIGNED   ID\n\
             7      2026-11-29T00:00:00Z  Intent  Shift     crm/churn     s1-abc    25%     yes      {}\n\
             12     2026-11-29T12:00:00Z  Intent  Promote   crm/prop\u{fffd}[2J  s1-abc    25%     not yet  {}\n",
            ids[0], ids[1]
        );
        assert_eq!(table(&found), expected);
        assert_eq!(table(&[]), "nothing on the log is of that kind\n");
    }

    #[test]
    fn an_actor_is_found_by_what_they_approved_and_by_what_they_asked_for() {
        let actor = "0123456789abcdef0123456789abcdef";
        let consent = Consent { actor: actor.into(), comment: String::new(), role: "legal".into(), uid: "u".into() };
        let only = Only { actor: Some(actor.into()), ..Only::default() };
        assert!(only.takes(&Entry { consents: vec![consent], ..sample() }));
        assert!(only.takes(&Entry { asked_by: actor.into(), ..sample() }));
        assert!(!only.takes(&sample()));
        assert!(is_actor(actor) && !is_actor("anna@example.com") && !is_actor(&actor.to_uppercase()));
    }

    #[test]
    fn filters_hold_together() {
        let it = entry("churn", "Shift", "2026-11-29T12:00:00Z");
        let some = |text: &str| Some(text.to_owned());
        assert!(Only::default().takes(&it));
        assert!(
            Only { name: some("churn"), decision: some("shift"), of_type: some("intent"), ..Only::default() }
                .takes(&it)
        );
        assert!(Only { since: time("2026-11-29").ok(), until: time("2026-11-30").ok(), ..Only::default() }.takes(&it));
        for only in [
            Only { since: time("2026-11-29T12:00:01Z").ok(), ..Only::default() },
            Only { until: time("2026-11-29T12:00:00Z").ok(), ..Only::default() },
            Only { kind: some("Experiment"), ..Only::default() },
            Only { namespace: some("ads"), ..Only::default() },
            Only { name: some("chur"), ..Only::default() },
            Only { decision: some("Promote"), ..Only::default() },
            Only { of_type: some("Void"), ..Only::default() },
        ] {
            assert!(!only.takes(&it), "{only:?}");
        }
        assert!(time("yesterday").is_err());
    }
}
