//! Questions to metric sources, and what comes back.
//!
//! All that one metric asks at one moment is one inquiry, and it is judged when all of it is answered. A source may be slow:
//! a pass takes what has been answered by then, and each answer says when it was asked for. Meanwhile
//! guardrails that ask a quicker source are judged without waiting.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::question::{Question, Template};
use crate::decide::Measurement;

/// All that one metric asks at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inquiry {
    /// What about.
    pub topic: Topic,
    /// Of the metric as it was when it was asked; empty where requests are counted.
    pub digest: String,
    /// In the order in which they are answered.
    pub queries: Vec<Query>,
}

/// What an inquiry is about: at most one about each is under way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    /// Who is judged by it.
    pub judges: Judges,
    /// The id of the attempt that brought the judged revision; of the stable one its own name.
    pub attempt: String,
    /// The metric; `None` counts the candidate's requests.
    pub metric: Option<String>,
}

impl Topic {
    /// A metric, or the counting of requests.
    #[must_use]
    pub fn of(judges: Judges, attempt: &str, metric: Option<&str>) -> Self {
        Self { judges, attempt: attempt.to_owned(), metric: metric.map(str::to_owned) }
    }
}

/// Who is judged by an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judges {
    /// The candidate of an attempt.
    Attempt,
    /// A revision on probation.
    Probation,
    /// The stable revision, between rollouts.
    Stable,
}

/// A query that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Which of the metric's numbers.
    pub part: Part,
    /// Whom it is about.
    pub subject: Subject,
    /// Which of the weights of a revision on probation; `None`: its whole window, or what is the case now.
    pub exposure: Option<usize>,
    /// What to ask, or why the template cannot be filled in.
    pub question: Result<Question, String>,
}

impl Query {
    /// The query that a template makes of these variables.
    #[must_use]
    pub fn of(
        part: Part,
        template: &Template,
        subject: Subject,
        exposure: Option<usize>,
        variables: &BTreeMap<&str, String>,
    ) -> Self {
        let question = template.fill_in(variables).map_err(|error| error.to_string());
        Self { part, subject, exposure, question }
    }
}

/// One of the numbers that make a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The number itself.
    Value,
    /// Of a proportion.
    Successes,
    /// Of a proportion.
    Trials,
    /// Of a mean.
    Sum,
    /// Of a mean.
    SumSquares,
    /// Of a mean.
    Count,
}

impl Part {
    /// The field of a metric below which its question is, with the dot; a number's is the metric's own.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Value => "",
            Self::Successes => "proportion.successes.",
            Self::Trials => "proportion.trials.",
            Self::Sum => "mean.sum.",
            Self::SumSquares => "mean.sumSquares.",
            Self::Count => "mean.count.",
        }
    }
}

/// Whom a query is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The candidate.
    Candidate,
    /// The stable revision.
    Stable,
}

/// An inquiry with its answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// What was asked.
    pub inquiry: Inquiry,
    /// When asking began.
    pub began: DateTime<Utc>,
    /// One for each query.
    pub measurements: Vec<Measurement>,
}

impl Answered {
    /// Whether it judges what this attempt has brought.
    #[must_use]
    pub fn is_about(&self, judges: Judges, attempt: &str) -> bool {
        let topic = &self.inquiry.topic;
        topic.judges == judges && topic.attempt == attempt
    }

    /// The answer about this number.
    #[must_use]
    pub fn get(&self, part: Part, subject: Subject, exposure: Option<usize>) -> Option<&Measurement> {
        let wanted = |it: &Query| (it.part, it.subject, it.exposure) == (part, subject, exposure);
        self.inquiry.queries.iter().zip(&self.measurements).find(|(query, _)| wanted(query)).map(|(_, answer)| answer)
    }
}

/// What this process has asked and when. It is not needed for safety: after a restart everything is asked once more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked(BTreeMap<Topic, Asking>);

/// The newest inquiry about a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asking {
    began: DateTime<Utc>,
    under_way: bool,
}

impl Asked {
    /// Asking has begun.
    pub fn begins(&mut self, topic: Topic, began: DateTime<Utc>) {
        self.0.insert(topic, Asking { began, under_way: true });
    }

    /// There is an answer, or there will be none.
    pub fn ends(&mut self, topic: &Topic) {
        if let Some(asking) = self.0.get_mut(topic) {
            asking.under_way = false;
        }
    }

    /// Forgets what nobody will ask for: attempts that are over.
    pub fn keep(&mut self, is_alive: impl Fn(&Topic) -> bool) {
        self.0.retain(|topic, _| is_alive(topic));
    }

    /// Whether an answer is awaited.
    #[must_use]
    pub fn is_under_way(&self, topic: &Topic) -> bool {
        self.0.get(topic).is_some_and(|it| it.under_way)
    }

    /// When it was last asked for. What is later than `now` says nothing: the clock was set back.
    #[must_use]
    pub fn last(&self, topic: &Topic, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.get(topic).map(|it| it.began).filter(|at| *at <= now)
    }

    /// When anything was last asked for that judges this attempt's candidate.
    #[must_use]
    pub fn last_round(&self, attempt: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let of_attempt = self.0.iter().filter(|(it, _)| it.judges == Judges::Attempt && it.attempt == attempt);
        of_attempt.map(|(_, it)| it.began).filter(|at| *at <= now).max()
    }
}
