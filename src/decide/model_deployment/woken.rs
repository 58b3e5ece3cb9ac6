//! What comes up again after it slept may not be what went to sleep: pods of the last proven revision.
//!
//! The last proven revision loses its pods once `rollout.keepStable` is over. If a tag of its template is pushed over
//! meanwhile, the pods that come up run something that nobody has proven, and all of them the same: nothing differs
//! among them. Only what they ran before can tell, so that is kept in status while they are there (see `images` for what is
//! compared). When they come up with something else:
//!
//! - Going back from what has failed, or what a person aborted, goes on: what serves is known to be bad, and these bytes are
//!   not. It is told, and what is gone back to is not proven any more.
//! - The spec that names it again is not followed (`ImagesDiffer`): what serves is not known to be bad, and to go without steps
//!   is for what is proven. A person's `abort` goes there all the same; so does a failure; an image pinned by
//!   digest is another revision, and takes its steps.

use std::collections::BTreeMap;

use super::images::{TOLD, images, is_by_tag};
use super::pass::Pass;
use crate::api::model_deployment::Probation;

/// Containers whose images are kept.
const MOST: usize = 16;

impl Pass<'_> {
    /// Keeps what the pods of the last proven revision run, while they have not slept yet.
    pub(super) fn keep_images(&mut self) {
        let Some(probation) = self.status.probation.as_ref().filter(|it| it.recall.is_none()) else { return };
        if !probation.fallback_images.is_empty() {
            return;
        }
        let kept = self.uniform_images(&probation.fallback.revision);
        if let Some(it) = self.status.probation.as_mut() {
            it.fallback_images = kept;
        }
    }

    /// One image for each container that the template names by tag, where all pods agree.
    fn uniform_images(&self, revision: &str) -> BTreeMap<String, String> {
        let seen = images(&self.observed.running, revision);
        let one = seen.into_iter().filter(|(_, digests)| digests.len() == 1);
        let one: Vec<_> = one.filter_map(|(key, digests)| Some((key, *digests.first()?))).collect();
        let Some(template) = self.template_of(revision).filter(|_| !one.is_empty()) else { return BTreeMap::new() };
        let by_tag = one.into_iter().filter(|((container, _), _)| is_by_tag(&template, container));
        by_tag
            .map(|((container, in_repository), it)| (container.to_owned(), kept(in_repository, it)))
            .take(MOST)
            .collect()
    }

    /// What the pods of the last proven revision run that they did not run before, for people.
    pub(super) fn changed_images(&self, probation: &Probation) -> Option<String> {
        let revision = &probation.fallback.revision;
        let seen = images(&self.observed.running, revision);
        seen.into_iter().find_map(|((container, in_repository), digests)| {
            let before = probation.fallback_images.get(container)?;
            // Digests of different things are not compared.
            let other = digests.into_iter().map(|it| kept(in_repository, it)).find(|it| it != before)?;
            (before.starts_with('@') == in_repository).then(|| {
                format!(
                    "pods of revision {revision} run {} for container {container}, and ran {} when it was proven: its tag was pushed over since",
                    told(&other),
                    told(before)
                )
            })
        })
    }

    /// Whether the spec names a revision that has come up with other images. As long as it does, that is not looked at again.
    pub(super) fn watch_images(&mut self) {
        let Some(probation) = self.status.probation.as_ref().filter(|_| self.target.is_ok()) else { return };
        let names = self.names(&probation.fallback.revision);
        let changed = || self.changed_images(probation);
        let differ = probation.images_differ.clone().or_else(changed).filter(|_| names);
        if let Some(it) = self.status.probation.as_mut() {
            it.images_differ = differ;
        }
    }

    /// Why the spec is not followed back to the last proven revision.
    pub(super) fn not_what_was_proven(&self) -> Option<String> {
        let probation = self.status.probation.as_ref().filter(|it| it.recall.is_none())?;
        let differ = probation.images_differ.as_ref()?;
        Some(format!(
            "{differ}; revision {} goes on serving: pin the image by digest in spec.template, which is a new revision, or go back all the same with kubectl werkbank abort {}",
            probation.revision,
            self.name()
        ))
    }
}

fn kept(in_repository: bool, digest: &str) -> String {
    if in_repository { format!("@{digest}") } else { digest.to_owned() }
}

fn told(kept: &str) -> String {
    kept.trim_start_matches('@').chars().take(TOLD).collect()
}
