//! What is asked of whom: the template of a metric, and the question that comes of it.
//!
//! A template is tried out when it is read, with stand-ins for the values, so that a mistake in it is
//! told before anything is measured.

mod http;
mod job;
mod sql;

use std::collections::BTreeMap;
use std::time::Duration;

pub use http::HttpQuestion;
pub use sql::SqlQuestion;

use super::inquiry::Part;
use super::measure::VARIABLES;
use crate::api::DurationText;
use crate::api::model_deployment::{Count, HttpQuery, JobQuery, Metric, PrometheusQuery, SecretKeyRef, SqlQuery};
use crate::build::job::Task;
use crate::text::query::{self, TemplateError};

/// How long an answer is waited for, unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// And at most: who waits holds one of a few slots.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Less is no time to look a name up and answer.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);

/// A question with variables in it.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// PromQL.
    Prometheus(String),
    /// A request.
    Http(Box<HttpQuery>),
    /// A statement.
    Sql(Box<SqlQuery>),
    /// A Job.
    Job(Box<JobQuery>),
}

/// A question, all variables filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// PromQL, for the operator's Prometheus.
    Prometheus(String),
    /// A request, for whom the user names.
    Http(Box<HttpQuestion>),
    /// A statement, for the database that the user names.
    Sql(Box<SqlQuestion>),
    /// A Job that is to be created.
    Job(Box<Task>),
}

/// The field of a metric that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}; correct {field}")]
pub struct Unusable {
    /// Below the metric.
    pub field: &'static str,
    /// In words.
    pub why: String,
}

/// What a metric asks: for its number, or for each of its counts.
///
/// # Errors
/// It does not ask exactly one provider.
pub fn of(metric: &Metric) -> Result<Vec<(Part, Template)>, &'static str> {
    let number = Template::of(metric.prometheus.as_ref(), metric.http.as_ref(), metric.sql.as_ref());
    let number = match (number, &metric.job) {
        (number, None) => number,
        (Asked::Never, Some(it)) => Asked::Once(Template::Job(Box::new(it.clone()))),
        (_, Some(_)) => Asked::Several,
    };
    match (number, &metric.proportion, &metric.mean) {
        (Asked::Once(number), None, None) => Ok(vec![(Part::Value, number)]),
        (Asked::Never, Some(it), None) => counts([(Part::Successes, &it.successes), (Part::Trials, &it.trials)]),
        (Asked::Never, None, Some(it)) => {
            counts([(Part::Sum, &it.sum), (Part::SumSquares, &it.sum_squares), (Part::Count, &it.count)])
        }
        _ => Err("a metric needs exactly one of prometheus, http, sql, job, proportion and mean"),
    }
}

fn counts<const N: usize>(counts: [(Part, &Count); N]) -> Result<Vec<(Part, Template)>, &'static str> {
    let one = |(part, count): (Part, &Count)| match Template::of(
        count.prometheus.as_ref(),
        count.http.as_ref(),
        count.sql.as_ref(),
    ) {
        Asked::Once(template) => Ok((part, template)),
        Asked::Never | Asked::Several => Err(
            "a count needs exactly one of prometheus, http and sql; a Job gives one number, for threshold or compare",
        ),
    };
    counts.into_iter().map(one).collect()
}

/// How many providers are given.
enum Asked {
    Never,
    Once(Template),
    Several,
}

impl Template {
    fn of(prometheus: Option<&PrometheusQuery>, http: Option<&HttpQuery>, sql: Option<&SqlQuery>) -> Asked {
        match (prometheus, http, sql) {
            (None, None, None) => Asked::Never,
            (Some(it), None, None) => Asked::Once(Self::Prometheus(it.query.clone())),
            (None, Some(it), None) => Asked::Once(Self::Http(Box::new(it.clone()))),
            (None, None, Some(it)) => Asked::Once(Self::Sql(Box::new(it.clone()))),
            _ => Asked::Several,
        }
    }

    /// The field that names whom it asks.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        match self {
            Self::Prometheus(_) => "prometheus",
            Self::Http(_) => "http",
            Self::Sql(_) => "sql",
            Self::Job(_) => "job",
        }
    }

    /// Whether it can be filled in, whatever the values.
    ///
    /// # Errors
    /// What to correct.
    pub fn check(&self) -> Result<(), Unusable> {
        let stand_ins = VARIABLES.iter().map(|name| (*name, "1".to_owned())).collect();
        match self {
            Self::Job(it) => job::check(it, &stand_ins),
            _ => self.fill_in(&stand_ins).map(drop),
        }
    }

    /// The question about one revision.
    ///
    /// # Errors
    /// What to correct.
    pub fn fill_in(&self, variables: &BTreeMap<&str, String>) -> Result<Question, Unusable> {
        match self {
            Self::Prometheus(query) => {
                let query = query::render(query, variables).map_err(unusable("prometheus.query"))?;
                Ok(Question::Prometheus(query))
            }
            Self::Http(it) => http::fill_in(it, variables).map(|it| Question::Http(Box::new(it))),
            Self::Sql(it) => sql::fill_in(it, variables).map(|it| Question::Sql(Box::new(it))),
            Self::Job(it) => job::fill_in(it, variables).map(|it| Question::Job(Box::new(it))),
        }
    }

    /// Whether it depends on a variable, as far as it can be read.
    #[must_use]
    pub fn uses(&self, variable: &str) -> bool {
        let texts = match self {
            Self::Prometheus(query) => vec![query],
            Self::Http(it) => [&it.url, &it.json_path].into_iter().chain(&it.body).collect(),
            Self::Sql(it) => vec![&it.query],
            // It is told all of them.
            Self::Job(_) => return true,
        };
        texts.into_iter().any(|text| query::uses(text, variable) != Ok(false))
    }
}

fn unusable(field: &'static str) -> impl Fn(TemplateError) -> Unusable {
    move |error| Unusable { field, why: error.to_string() }
}

fn timeout(field: &'static str, text: Option<&DurationText>) -> Result<Duration, Unusable> {
    let wrong = |why: String| Unusable { field, why };
    let timeout = match text {
        Some(text) => text.duration().map_err(|error| wrong(error.to_string()))?,
        None => TIMEOUT,
    };
    if !(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&timeout) {
        return Err(wrong("it is not from 100ms to 10s".to_owned()));
    }
    Ok(timeout)
}

/// A ConfigMap has no schema: what the API server refuses in a spec is refused here. A name ends up in a path of
/// the API server, and in commands that a person is to run.
fn secret(field: &'static str, it: &SecretKeyRef) -> Result<SecretKeyRef, Unusable> {
    let is_name = |text: &str, also: &[u8], most: usize| {
        !text.is_empty()
            && text.len() <= most
            && text.bytes().all(|it| it.is_ascii_alphanumeric() || also.contains(&it))
    };
    let lower = !it.name.bytes().any(|it| it.is_ascii_uppercase());
    let ends = |it: &str| it.starts_with(['-', '.']) || it.ends_with(['-', '.']);
    if is_name(&it.name, b"-.", 253) && lower && !ends(&it.name) && is_name(&it.key, b"-._", 253) {
        return Ok(it.clone());
    }
    Err(Unusable { field, why: "secretKeyRef names no Secret and key: letters, digits, - and .".to_owned() })
}
