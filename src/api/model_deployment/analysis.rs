//! What decides whether a revision is good.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HttpQuery, JobQuery, LocalRef, SqlQuery, StableBreachAction};
use crate::api::{DurationText, Quantity};

/// The metrics that judge a revision. An analysis without a metric says so and
/// says why: `none: "reason"`.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.none) || (has(self.metrics) && size(self.metrics) > 0) || (has(self.metricsFrom) && size(self.metricsFrom) > 0)")
        .message("analysis needs metrics or metricsFrom; a rollout without any says so: analysis: {none: \"reason\"}"),
    validation = Rule::new("!has(self.none) || (!has(self.metrics) && !has(self.metricsFrom) && !has(self.samples) && !has(self.onStableBreach))")
        .message("analysis.none means that nothing is measured: remove it, or remove metrics, metricsFrom, samples and onStableBreach")
)]
pub struct Analysis {
    /// Why nothing is measured. Shown in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub none: Option<String>,
    /// Time between two measurements; 30s when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationText>,
    /// How many Fail verdicts in a row a metric may have; one more rolls back. 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub failure_limit: Option<i32>,
    /// Counts the requests a revision has served since `{{ windowStart }}`; what `minSamples` is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Samples>,
    /// ConfigMaps in the same namespace with shared metrics under the key
    /// `metrics.yaml`: a list as in `metrics`. Later ones and `metrics` override by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub metrics_from: Vec<MetricsSource>,
    /// The metrics, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub metrics: Vec<Metric>,
    /// Guardrails with a threshold also watch the stable revision between rollouts. `Alert`: what breaks one is `Stalled`,
    /// with the reason `StableBreached`. `Fallback`: for `rollout.rollbackWindow` after a promotion it is on probation, and goes back to
    /// the revision before. Left out: nothing is measured between rollouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_stable_breach: Option<StableBreachAction>,
}

/// How requests are counted.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.prometheus.query.contains('revision')")
    .message("analysis.samples must count one revision's requests: name {{ revision }} in its query"))]
pub struct Samples {
    /// A query that returns one number.
    pub prometheus: PrometheusQuery,
}

/// Where shared metrics are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricsSource {
    /// A ConfigMap in the same namespace.
    pub config_map_ref: LocalRef,
}

/// What a metrics ConfigMap holds under `metrics.yaml`.
pub type ConfigMapMetrics = Vec<Metric>;

/// One measurement and what is expected of it: a number (`prometheus`, `http`, `sql` or `job`) within a `threshold` or as in
/// `compare`, or counts (`proportion` or `mean`) with a `test`.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.threshold), has(self.compare), has(self.test)].filter(it, it).size() == 1")
        .message("a metric needs exactly one of threshold, compare and test"),
    validation = Rule::new("[has(self.prometheus), has(self.http), has(self.sql), has(self.job), has(self.proportion), has(self.mean)].filter(it, it).size() == 1")
        .message("a metric needs exactly one of prometheus, http, sql, job, proportion and mean"),
    validation = Rule::new("has(self.test) == (has(self.proportion) || has(self.mean))")
        .message("proportion and mean are judged by test; prometheus, http, sql and job, by threshold or compare"),
    validation = Rule::new("!has(self.compare) || !has(self.sql) || self.sql.query.matches('[{][{%][^}]*revision')")
        .message("a metric with compare must name {{ revision }} in sql.query: without it, candidate and stable give the same number"),
    validation = Rule::new("!has(self.compare) || !has(self.prometheus) || self.prometheus.query.contains('revision')")
        .message("a metric with compare must name {{ revision }} in its query: without it, candidate and stable give the same number"),
    validation = Rule::new("!has(self.compare) || !has(self.http) || self.http.url.matches('[{][{%][^}]*revision') || self.http.jsonPath.matches('[{][{%][^}]*revision') || (has(self.http.body) && self.http.body.matches('[{][{%][^}]*revision'))")
        .message("a metric with compare must name {{ revision }} in http.url, http.body or http.jsonPath: without it, candidate and stable give the same number"),
    validation = Rule::new("!has(self.delay) || (has(self.prometheus) ? self.prometheus.query : has(self.sql) ? self.sql.query : has(self.http) ? self.http.url + self.http.jsonPath + (has(self.http.body) ? self.http.body : '') : 'windowEnd').contains('windowEnd')")
        .message("a metric with delay judges who was served during the steps: name {{ windowEnd }} in its query, as in [{{ window }}] @ {{ windowEnd }}"),
    validation = Rule::new("!has(self.delay) || ((!has(self.proportion) || [(has(self.proportion.successes.prometheus) ? self.proportion.successes.prometheus.query : has(self.proportion.successes.sql) ? self.proportion.successes.sql.query : has(self.proportion.successes.http) ? self.proportion.successes.http.url + self.proportion.successes.http.jsonPath + (has(self.proportion.successes.http.body) ? self.proportion.successes.http.body : '') : 'windowEnd'), (has(self.proportion.trials.prometheus) ? self.proportion.trials.prometheus.query : has(self.proportion.trials.sql) ? self.proportion.trials.sql.query : has(self.proportion.trials.http) ? self.proportion.trials.http.url + self.proportion.trials.http.jsonPath + (has(self.proportion.trials.http.body) ? self.proportion.trials.http.body : '') : 'windowEnd')].all(it, it.contains('windowEnd'))) && (!has(self.mean) || [(has(self.mean.sum.prometheus) ? self.mean.sum.prometheus.query : has(self.mean.sum.sql) ? self.mean.sum.sql.query : has(self.mean.sum.http) ? self.mean.sum.http.url + self.mean.sum.http.jsonPath + (has(self.mean.sum.http.body) ? self.mean.sum.http.body : '') : 'windowEnd'), (has(self.mean.sumSquares.prometheus) ? self.mean.sumSquares.prometheus.query : has(self.mean.sumSquares.sql) ? self.mean.sumSquares.sql.query : has(self.mean.sumSquares.http) ? self.mean.sumSquares.http.url + self.mean.sumSquares.http.jsonPath + (has(self.mean.sumSquares.http.body) ? self.mean.sumSquares.http.body : '') : 'windowEnd'), (has(self.mean.count.prometheus) ? self.mean.count.prometheus.query : has(self.mean.count.sql) ? self.mean.count.sql.query : has(self.mean.count.http) ? self.mean.count.http.url + self.mean.count.http.jsonPath + (has(self.mean.count.http.body) ? self.mean.count.http.body : '') : 'windowEnd')].all(it, it.contains('windowEnd'))))")
        .message("a count of a metric with delay is of who was served during the steps: name {{ windowEnd }} in its query, as in [{{ window }}] @ {{ windowEnd }}")
)]
pub struct Metric {
    /// Unique within the analysis.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Guardrail: watched from the first request on, in every state of the
    /// attempt. Objective: judged while a step is watched.
    pub role: MetricRole,
    /// A query that returns one number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusQuery>,
    /// A request that is answered with JSON, and where the number is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpQuery>,
    /// A query that a database answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlQuery>,
    /// A Job that computes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobQuery>,
    /// Successes among trials: a hit rate, an error rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proportion: Option<Proportion>,
    /// Values, by their sums: order value, rating.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Mean>,
    /// The value must stay within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// The candidate's value against the stable revision's, measured at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    /// The candidate's counts against the stable revision's, valid however often it is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
    /// Its outcomes arrive so long after: it gates no step, and judges who was served during the steps when that is so
    /// long ago. Until then the promoted revision is on probation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<DurationText>,
}

/// A rate, as two counts of units that the gateway sent to one revision or the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proportion {
    /// The trials that succeeded.
    pub successes: Count,
    /// All of them.
    pub trials: Count,
}

/// A mean, as three sums over units that the gateway sent to one revision or the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mean {
    /// The sum of the values.
    pub sum: Count,
    /// The sum of their squares.
    pub sum_squares: Count,
    /// How many there are.
    pub count: Count,
}

/// What one revision has counted since the step's observation began.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.prometheus), has(self.http), has(self.sql)].filter(it, it).size() == 1")
        .message("a count needs exactly one of prometheus, http and sql; a Job gives one number, for threshold or compare"),
    validation = Rule::new("!has(self.sql) || self.sql.query.matches('[{][{%][^}]*revision')")
        .message("a count is one revision's: name {{ revision }} in sql.query"),
    validation = Rule::new("!has(self.sql) || self.sql.query.matches('[{][{%][^}]*window')")
        .message("a count is of everything since the step's observation began: name {{ window }} or {{ windowStart }} in sql.query"),
    validation = Rule::new("!has(self.prometheus) || self.prometheus.query.contains('revision')")
        .message("a count is one revision's: name {{ revision }} in its query"),
    validation = Rule::new("!has(self.prometheus) || self.prometheus.query.contains('window')")
        .message("a count is of everything since the step's observation began: name {{ window }} or {{ windowStart }} in its query"),
    validation = Rule::new("!has(self.http) || self.http.url.matches('[{][{%][^}]*revision') || self.http.jsonPath.matches('[{][{%][^}]*revision') || (has(self.http.body) && self.http.body.matches('[{][{%][^}]*revision'))")
        .message("a count is one revision's: name {{ revision }} in http.url, http.body or http.jsonPath"),
    validation = Rule::new("!has(self.http) || self.http.url.matches('[{][{%][^}]*window') || self.http.jsonPath.matches('[{][{%][^}]*window') || (has(self.http.body) && self.http.body.matches('[{][{%][^}]*window'))")
        .message("a count is of everything since the step's observation began: name {{ windowStart }} in http.url, http.body or http.jsonPath")
)]
pub struct Count {
    /// A query that returns one number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusQuery>,
    /// A request that is answered with JSON, and where the number is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpQuery>,
    /// A query that a database answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlQuery>,
}

/// Whether the candidate is worse than a margin allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Test {
    /// Which values are better.
    pub direction: Direction,
    /// By how much the candidate may be worse: `1pp` of a proportion, units of a mean. Pass says that it is not,
    /// Fail that it is.
    pub non_inferiority_margin: Quantity,
    /// The chance that the interval ever misses the true difference, for all looks together; 5% when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<Quantity>,
}

/// Which values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Direction {
    /// Hit rates, orders.
    HigherIsBetter,
    /// Error rates, complaints.
    LowerIsBetter,
}

/// What a metric is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricRole {
    /// Must not be violated, ever.
    Guardrail,
    /// What the model is for.
    Objective,
}

/// A PromQL instant query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusQuery {
    /// PromQL that returns one number. Variables: `{{ namespace }}`, `{{ deployment }}`,
    /// `{{ revision }}`, `{{ window }}` (time since the observation began, such as `90s`),
    /// `{{ windowStart }}` and `{{ windowEnd }}` (Unix seconds). Values are escaped for string literals.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
}

/// Bounds of a value.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.min) || has(self.max)").message("threshold needs min or max"))]
pub struct Threshold {
    /// Fail below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Quantity>,
    /// Fail above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Quantity>,
}

/// Bounds of the candidate's value against the stable revision's. With several
/// bounds, violating one is Fail.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.maxRatio) || has(self.minRatio) || has(self.maxIncrease) || has(self.maxDecrease)")
    .message("compare needs maxRatio, minRatio, maxIncrease or maxDecrease"))]
pub struct Compare {
    /// What to compare with.
    pub to: Baseline,
    /// Fail when candidate ÷ stable is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ratio: Option<Quantity>,
    /// Fail when candidate ÷ stable is below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ratio: Option<Quantity>,
    /// Fail when candidate − stable is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_increase: Option<Quantity>,
    /// Fail when stable − candidate is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_decrease: Option<Quantity>,
}

/// What a candidate is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Baseline {
    /// The stable revision, at the same time.
    Stable,
}
