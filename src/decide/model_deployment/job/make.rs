//! Which Jobs should exist, and the writes that get there.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Assignment, Window, answer, assignments};
use crate::build::job::{self, Purpose, Task};
use crate::decide::live_job::LiveJob;
use crate::decide::model_deployment::children::Work;
use crate::decide::model_deployment::inquiry::Subject;
use crate::decide::model_deployment::measure;
use crate::decide::model_deployment::probation;
use crate::decide::model_deployment::question::Question;
use crate::decide::{Child, ChildKind, Measurement};

impl Work<'_> {
    /// Deletes what is judged or not wanted any more, and creates what is due.
    pub(in crate::decide::model_deployment) fn jobs(&mut self) {
        let pass = self.pass;
        // Who does not see them would make them again and again.
        if pass.observed.children.jobs_hidden {
            return;
        }
        let (jobs, now) = (pass.live_jobs(), pass.now);
        let assignments = assignments(pass.policy, &pass.status, now);
        let mut stays: Vec<&LiveJob> = Vec::new();
        let mut wanted = Vec::new();
        for it in &assignments {
            let under_way = it.under_way(&jobs, now);
            let due = it.due.filter(|at| *at <= now);
            stays.extend(crashed(it, &jobs, now));
            if let Some((moment, present)) = under_way.first_key_value() {
                stays.extend(present.iter().map(|(live, _)| live));
                let ends = present.iter().map(|(live, purpose)| answer::limit(live, purpose)).max();
                let missing =
                    it.sides.iter().filter(|side| present.iter().all(|(_, purpose)| purpose.subject != side.0));
                let due = it.due.unwrap_or(*moment);
                wanted.extend(missing.filter(|_| ends > Some(now)).map(|side| (it, *side, *moment, due)));
            } else if let Some(due) = due {
                let moment = it.moment(due, pass.policy.interval, now);
                wanted.extend(it.sides.iter().map(|side| (it, *side, moment, due)));
            }
        }
        for (live, _) in &jobs {
            if !stays.iter().any(|it| it.job.metadata.name == live.job.metadata.name) {
                self.delete(ChildKind::Job, &live.job.metadata);
            }
        }
        for (it, side, moment, due) in wanted {
            let made = self.job(it, side, moment, due);
            made.into_iter().for_each(|it| self.create(it));
        }
    }

    fn job(
        &mut self,
        it: &Assignment<'_>,
        (subject, revision): (Subject, &str),
        moment: DateTime<Utc>,
        due: DateTime<Utc>,
    ) -> Option<Child> {
        let pass = self.pass;
        let region = pass.resource.spec.region.as_ref();
        // A region that nobody knows is said to be the obstacle; until then its data stays where it is.
        let nodes = region.map(|it| pass.observed.settings.regions.get(it));
        let nodes = match nodes {
            Some(known) => known?.clone(),
            None => BTreeMap::new(),
        };
        let (start, end) = match it.window {
            Window::Since(since) => (since, moment),
            Window::Of(probation) => probation::window(probation, it.rule, moment),
        };
        let variables = measure::variables(pass.resource, revision, start, end);
        let Ok(Question::Job(task)) = it.question(&variables) else { return None };
        let mut task = Task::clone(&task);
        task.variables.push((job::SUBJECT.into(), format!("{subject:?}")));
        let purpose = it.purpose(subject, moment, &task)?;
        match job::write(pass.resource, &purpose, &task, &nodes, due) {
            Ok(job) if self.children.jobs.contains_key(job.metadata.name.as_deref().unwrap_or_default()) => None,
            Ok(job) => Some(Child::Job(Box::new(job))),
            Err(why) => {
                self.blocked("QueryInvalid", format!("metric {}: job.{why}", it.rule.name));
                None
            }
        }
    }
}

/// Those that ended without a number, for people to read their logs until there is a newer verdict.
fn crashed<'j>(
    it: &Assignment<'_>,
    jobs: &'j [(LiveJob, Purpose)],
    now: DateTime<Utc>,
) -> impl Iterator<Item = &'j LiveJob> {
    let newest = it.newest.map(|it| it.time);
    let of_it = jobs.iter().filter(move |(_, purpose)| it.is_of(purpose) && newest == Some(purpose.moment));
    let no_number = move |(live, purpose): &&(LiveJob, Purpose)| {
        let said = answer::of(live, purpose, now);
        answer::has_ended(live) && matches!(said, Some(Measurement::ProviderError(_) | Measurement::Refused(_)))
    };
    of_it.filter(no_number).map(|(live, _)| live)
}
