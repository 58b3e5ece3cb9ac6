//! The metric sources of the world, quick and slow ones.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Side, World};
use crate::decide::Measurement;
use crate::decide::model_deployment::inquiry::{Answered, Asked, Inquiry, Part, Query, Subject, Topic};
use crate::decide::model_deployment::measure;
use crate::decide::model_deployment::policy::Policy;

/// What counts requests is called so here.
const SAMPLES: &str = "samples";

/// What they say, and what a process that asks them remembers.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Sources {
    pub(in super::super) answers: BTreeMap<(String, Side), Measurement>,
    /// Metrics whose source answers when it is told to.
    slow: BTreeSet<String>,
    under_way: Vec<Answered>,
    arrived: Vec<Answered>,
    pub(super) asked: Asked,
}

impl World {
    /// From now on this metric is answered when [`World::arrives`] says so, and as its source is at the time it is asked.
    pub(in super::super) fn answers_slowly(&mut self, metric: &str) {
        self.sources.slow.insert(metric.into());
    }

    /// What is under way about this metric is answered.
    pub(in super::super) fn arrives(&mut self, metric: &str) {
        let of_metric = |it: &mut Answered| it.inquiry.topic.metric.as_deref().unwrap_or(SAMPLES) == metric;
        self.sources.arrived.extend(self.sources.under_way.extract_if(.., of_metric));
    }

    /// Another process knows nothing of what was asked, and gets no answer to it.
    pub(in super::super) fn forget_what_was_asked(&mut self) {
        (self.sources.under_way, self.sources.arrived, self.sources.asked) = Default::default();
    }

    /// The pass that was decided has asked what it found due.
    pub(in super::super) fn remember_what_was_asked(&mut self) {
        self.sources = self.ask().1;
    }

    /// When this process last asked about it.
    pub(in super::super) fn last_asked(&self, topic: &Topic) -> Option<DateTime<Utc>> {
        self.sources.asked.last(topic, self.now)
    }

    /// Metrics that an answer is awaited about.
    pub(in super::super) fn awaited(&self) -> Vec<String> {
        self.sources.under_way.iter().filter_map(|it| it.inquiry.topic.metric.clone()).collect()
    }

    /// What has been answered, and the sources after they were asked for all that is due.
    pub(super) fn ask(&self) -> (Vec<Answered>, Sources) {
        let mut after = self.sources.clone();
        let mut answered = std::mem::take(&mut after.arrived);
        answered.iter().for_each(|it| after.asked.ends(&it.inquiry.topic));
        let policy = Policy::read(&self.resource.spec, &self.shared_metrics);
        for inquiry in measure::due(&self.resource, &policy, &self.status(), &after.asked, self.now) {
            let (topic, answer) = (inquiry.topic.clone(), self.answer(inquiry));
            after.asked.begins(topic.clone(), self.now);
            if after.slow.contains(topic.metric.as_deref().unwrap_or(SAMPLES)) {
                after.under_way.push(answer);
            } else {
                after.asked.ends(&topic);
                answered.push(answer);
            }
        }
        (answered, after)
    }

    fn answer(&self, inquiry: Inquiry) -> Answered {
        let metric = inquiry.topic.metric.as_deref().unwrap_or(SAMPLES);
        let of = |metric: String, side| self.sources.answers.get(&(metric, side)).cloned();
        let one = |query: &Query| {
            if let Err(error) = &query.question {
                return Measurement::Refused(format!("the query cannot be rendered: {error}"));
            }
            let side = if query.subject == Subject::Stable { Side::Stable } else { Side::Candidate };
            let metric = match query.part {
                Part::Value => metric.to_owned(),
                part => format!("{metric} {part:?}"),
            };
            // Of one weight, if there is an answer for that alone.
            let of_weight = query.exposure.and_then(|index| of(format!("{metric} #{index}"), side));
            of_weight.or_else(|| of(metric, side)).unwrap_or_else(|| Measurement::NoData("no series".into()))
        };
        let measurements = inquiry.queries.iter().map(one).collect();
        Answered { inquiry, began: self.now, measurements }
    }
}
