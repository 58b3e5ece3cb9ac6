//! What each revision is used for: as the spec said when it began, and as it has said since, where the entry allows that, too.
//!
//! A deployment's purpose can be edited while a revision serves. If the entry allows the new one, that is a decision like any other,
//! and on the record before it shows in status (`Use`); if it does not, the revision serves on for what it was rolled out for, and
//! people are told (see [`super::gate`]).

use super::pass::Pass;
use crate::api::Weight;
use crate::api::model_deployment::{RevisionRole, RevisionStatus, UsedFor};
use crate::decide::EventType;

/// The decision.
const USE: &str = "Use";

impl Pass<'_> {
    /// Notes what the revision that the spec names is used for from now on, if its entry allows it. After everything else of the
    /// pass, and not beside it: nothing waits for this.
    pub(super) fn watch_use(&mut self) {
        let said = UsedFor::of(&self.resource.spec);
        let Some(changed) = self.in_use().filter(|it| it.used_for.as_ref() != Some(&said)) else { return };
        let (revision, before) = (changed.revision.clone(), changed.used_for.clone());
        // Where nothing is known, by an earlier version or because a CRD drops it, nothing has changed.
        if let Some(before) = before {
            if !self.decides_nothing() {
                return self.look_again(self.now);
            }
            let words = |it: &UsedFor| if it.is_said() { it.to_string() } else { "nothing".to_owned() };
            let reason = format!("the spec says {}, and said {}", words(&said), words(&before));
            self.note_aside_of(&revision, Weight::FULL, USE, &reason);
            self.tell(EventType::Normal, "UseChanged", USE, format!("revision {revision}: {reason}"));
        }
        let of_it = self.status.revisions.iter_mut().filter(|it| it.revision == revision);
        of_it.for_each(|it| it.used_for = Some(said.clone()));
    }

    /// The revision that the spec names, if it serves or is on its way, and its entry allows what the spec says.
    fn in_use(&self) -> Option<&RevisionStatus> {
        let named = &self.target.as_ref().ok().filter(|_| self.entry_gate().is_none() && self.may_record())?.entry;
        let revision = self.status.revisions.iter().find(|it| it.revision == named.revision)?;
        let of_attempt = self.active().is_some_and(|it| it.revision == named.revision);
        let serves = revision.role == RevisionRole::Stable && self.active().is_none();
        (serves || of_attempt).then_some(revision)
    }
}
