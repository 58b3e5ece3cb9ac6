//! Metrics whose number a Kubernetes Job computes.
//!
//! A Job is a child, and what it has said is observed with the other children: nobody waits for it. Of each metric and
//! side at most one is under way. The next one begins `analysis.interval` after the last one began, and not before that
//! has ended. What a Job says is about the moment it was created for, and so is the verdict. It is deleted when its number is
//! in status, when the attempt ends and when the metric is changed; one that crashed stays until the next has ended, for
//! people to read its log. One that cannot be had, because the API server refuses it or the operator may not see Jobs, is a
//! source that does not answer.
//!
//! Its name comes from when it was due, as status tells, so that a process which does not see it yet cannot make another.

mod answer;
mod make;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::inquiry::{Answered, Asked, Inquiry, Judges, Part, Query, Subject, Topic};
use super::pass::Pass;
use super::policy::{MetricRule, Policy};
use super::question::{Question, Template};
use super::stable_breach::watches;
use super::{measure, probation};
use crate::api::duration::after;
use crate::api::model_deployment::{Attempt, AttemptState, MetricRole, ModelDeploymentStatus, Probation, Verdict};
use crate::build::job::{self, Purpose, Task};
use crate::decide::live_job::LiveJob;
use crate::decide::{ChildKind, Measurement, Refusal};

/// A metric of provider `job`, and whom it judges at this moment.
struct Assignment<'a> {
    rule: &'a MetricRule,
    topic: Topic,
    /// Revisions to look at.
    sides: Vec<(Subject, &'a str)>,
    /// What was said last.
    newest: Option<&'a Verdict>,
    window: Window<'a>,
    /// When the next one is due; `None`: not in this state.
    due: Option<DateTime<Utc>>,
    /// What begins earlier proves nothing.
    not_before: DateTime<Utc>,
}

/// From when to when a Job looks.
enum Window<'a> {
    /// From then on, to the moment it is about.
    Since(DateTime<Utc>),
    /// As the other metrics of this revision do.
    Of(&'a Probation),
}

/// All metrics that Jobs answer, with this status.
fn assignments<'a>(policy: &'a Policy, status: &'a ModelDeploymentStatus, now: DateTime<Utc>) -> Vec<Assignment<'a>> {
    let of_attempt = measure::watched(status).into_iter().flat_map(|attempt| {
        let rules = policy.gating().filter(|it| it.is_job());
        rules.filter_map(move |rule| of_attempt(policy, status, attempt, rule, now))
    });
    let on_probation = probation::open(status).into_iter().flat_map(|it| {
        let rules = policy.metrics.iter().filter(|rule| rule.is_job() && (rule.delay.is_some() || watches(rule)));
        rules.map(move |rule| of_probation(policy, it, rule, now))
    });
    of_attempt.chain(on_probation).collect()
}

fn of_attempt<'a>(
    policy: &Policy,
    status: &'a ModelDeploymentStatus,
    attempt: &'a Attempt,
    rule: &'a MetricRule,
    now: DateTime<Utc>,
) -> Option<Assignment<'a>> {
    let stable = status.stable.as_ref()?;
    let newest = status.verdicts.iter().find(|it| rule.is_of(it));
    // A Job takes a while, and one that begins before the clock ends no step: it waits for the clock, if that starts soon.
    let soon = after(attempt.entered_at, policy.interval);
    let earliest = attempt.observing_since.map_or(soon, |since| since.min(now));
    let due = match newest.map(|it| it.time) {
        // The clock was set back: what it said then says nothing of now.
        Some(at) if at > now => now,
        Some(at) => after(at, policy.interval).max(earliest),
        None => earliest,
    };
    let asked = attempt.state == AttemptState::Observing || rule.role != MetricRole::Objective;
    let since = attempt.observing_since.unwrap_or(attempt.entered_at);
    Some(Assignment {
        rule,
        topic: measure::topic(attempt, Some(&rule.name)),
        sides: rule.sides(&attempt.revision, &stable.revision).collect(),
        newest,
        window: Window::Since(since),
        due: asked.then_some(due),
        not_before: since,
    })
}

fn of_probation<'a>(policy: &Policy, it: &'a Probation, rule: &'a MetricRule, now: DateTime<Utc>) -> Assignment<'a> {
    Assignment {
        rule,
        topic: probation::topic(it, rule),
        sides: rule.sides(&it.revision, &it.baseline).collect(),
        newest: it.verdicts.iter().find(|verdict| rule.is_of(verdict)),
        window: Window::Of(it),
        due: probation::next_of(policy, it, rule, &Asked::default(), now),
        not_before: DateTime::<Utc>::MIN_UTC,
    }
}

impl Assignment<'_> {
    fn is_of(&self, purpose: &Purpose) -> bool {
        let judges = if purpose.on_probation { Judges::Probation } else { Judges::Attempt };
        let same = self.topic.judges == judges && self.topic.attempt == purpose.attempt;
        same && self.rule.name == purpose.metric && self.rule.digest == purpose.digest
    }

    /// Whether what began at this moment is judged, or overtaken: by what is newer, or by what was said after the clock was set back.
    fn is_judged(&self, moment: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let overtakes = |at: DateTime<Utc>| at <= now && (moment < at || moment > now);
        self.newest.is_some_and(|it| it.time == moment || overtakes(it.time))
    }

    /// The Jobs that work for it, by the moment they are about.
    fn under_way<'j>(
        &self,
        jobs: &'j [(LiveJob, Purpose)],
        now: DateTime<Utc>,
    ) -> BTreeMap<DateTime<Utc>, Vec<&'j (LiveJob, Purpose)>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for it in jobs.iter().filter(|(_, purpose)| self.is_of(purpose) && !self.is_judged(purpose.moment, now)) {
            all.entry(it.1.moment).or_default().push(it);
        }
        all
    }

    /// What Jobs of one moment have said, if each of them has. `unavailable` says why one that is missing does not come.
    fn answered(
        &self,
        jobs: &[&(LiveJob, Purpose)],
        moment: DateTime<Utc>,
        unavailable: Option<&str>,
        now: DateTime<Utc>,
    ) -> Option<Answered> {
        let limit = jobs.iter().map(|(live, purpose)| answer::limit(live, purpose)).max();
        let missing = |subject| {
            let overdue = || format!("the Job for {subject:?} did not begin");
            let is_overdue = limit.is_some_and(|at| at <= now);
            unavailable.map(str::to_owned).or_else(|| is_overdue.then(overdue)).map(Measurement::ProviderError)
        };
        let of_side = |(subject, _): &(Subject, &str)| match jobs.iter().find(|(_, it)| it.subject == *subject) {
            Some((live, purpose)) => answer::of(live, purpose, now),
            None => missing(*subject),
        };
        let measurements: Option<Vec<Measurement>> = self.sides.iter().map(of_side).collect();
        let query = |(subject, _): &(Subject, &str)| Query {
            part: Part::Value,
            subject: *subject,
            exposure: None,
            question: self.question(&BTreeMap::new()),
        };
        let queries = self.sides.iter().map(query).collect();
        let inquiry = Inquiry { topic: self.topic.clone(), digest: self.rule.digest.clone(), queries };
        Some(Answered { inquiry, began: moment, measurements: measurements? })
    }

    /// What one of its Jobs is for.
    fn purpose(&self, subject: Subject, moment: DateTime<Utc>, task: &Task) -> Option<Purpose> {
        Some(Purpose {
            attempt: self.topic.attempt.clone(),
            on_probation: self.topic.judges == Judges::Probation,
            metric: self.rule.name.clone(),
            digest: self.rule.digest.clone(),
            subject,
            moment,
            timeout_seconds: task.seconds(),
            container: job::speaker(&task.template)?,
        })
    }

    fn question(&self, variables: &BTreeMap<&str, String>) -> Result<Question, String> {
        let (_, template) = self.rule.queries.first().ok_or("it asks nothing")?;
        template.fill_in(variables).map_err(|error| error.to_string())
    }

    /// The moment that a Job is about which begins now: the same for as long as the next one is not due, so that one which the
    /// API server refuses is the same each time it is tried.
    fn moment(&self, due: DateTime<Utc>, interval: Duration, now: DateTime<Utc>) -> DateTime<Utc> {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let missed = (now - due).num_milliseconds() / interval;
        let passed = TimeDelta::try_milliseconds(missed.saturating_mul(interval)).unwrap_or_default();
        let last = due.checked_add_signed(passed).unwrap_or(due);
        last.max(self.not_before).min(now)
    }
}

impl Pass<'_> {
    fn live_jobs(&self) -> Vec<(LiveJob, Purpose)> {
        let jobs = self.observed.children.jobs.values();
        jobs.filter_map(|it| Some((it.clone(), job::purpose(&it.job.metadata)?))).collect()
    }

    /// What Jobs have said that is not judged yet.
    pub(super) fn said_by_jobs(&self) -> Vec<Answered> {
        let jobs = self.live_jobs();
        let mut said = Vec::new();
        for it in assignments(self.policy, &self.status, self.now) {
            let mut under_way = it.under_way(&jobs, self.now);
            if let (Some(due), true) = (it.due.filter(|at| *at <= self.now), under_way.is_empty()) {
                under_way.insert(it.moment(due, self.policy.interval, self.now), Vec::new());
            }
            for (moment, jobs) in under_way {
                let unavailable = self.unavailable(&it, moment);
                said.extend(it.answered(&jobs, moment, unavailable.as_deref(), self.now));
            }
        }
        said
    }

    /// Why a Job of this moment that is missing does not come, if that is known.
    fn unavailable(&self, it: &Assignment<'_>, moment: DateTime<Utc>) -> Option<String> {
        if self.observed.children.jobs_hidden {
            return Some(
                "the operator may not list and watch Jobs here; grant both to its ServiceAccount (`helm upgrade` does)"
                    .into(),
            );
        }
        let Refusal { name: refused, message: said, .. } = self.refused_job()?;
        let Ok(Question::Job(task)) = it.question(&BTreeMap::new()) else { return None };
        let due = it.due.unwrap_or(moment);
        let name = |subject| Some(job::name(self.resource, &it.purpose(subject, moment, &task)?, due));
        let is_its = it.sides.iter().any(|(subject, _)| name(*subject).as_ref() == Some(refused));
        is_its
            .then(|| format!("the API server refuses Job {refused}: {said}; raise the quota, or correct job.template"))
    }

    /// What the API server refused last, if that was a Job.
    pub(super) fn refused_job(&self) -> Option<&Refusal> {
        self.observed.memory.refused.as_ref().filter(|it| it.kind == ChildKind::Job.name())
    }

    /// When time says something about a Job, or it is time for the next.
    pub(super) fn wake_for_jobs(&mut self) {
        let jobs = self.live_jobs();
        let mut times = Vec::new();
        for it in assignments(self.policy, &self.status, self.now) {
            let under_way = it.under_way(&jobs, self.now);
            let limits = under_way.values().flatten().map(|(live, purpose)| match answer::has_ended(live) {
                // Its pod is awaited.
                true => after(self.now, Duration::from_secs(1)),
                false => answer::limit(live, purpose),
            });
            let limits: Vec<_> = limits.collect();
            if limits.is_empty() {
                times.extend(it.due.filter(|at| *at > self.now));
            }
            times.extend(limits.into_iter().filter(|at| *at > self.now));
        }
        times.into_iter().for_each(|at| self.look_again(at));
    }
}

impl MetricRule {
    /// Whether Jobs compute its number.
    #[must_use]
    pub fn is_job(&self) -> bool {
        matches!(self.queries.first(), Some((_, Template::Job(_))))
    }
}
