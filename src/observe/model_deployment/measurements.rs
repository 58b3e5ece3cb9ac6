//! Asking the metric sources what is due.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use futures::future::join_all;

use super::credentials::{self, Secrets};
use super::{ModelDeployments, key};
use crate::api::ModelDeployment;
use crate::decide::Measurement;
use crate::decide::model_deployment::measure::{self, Query};
use crate::decide::model_deployment::policy::Policy;
use crate::decide::model_deployment::question::{Question, SqlQuestion};

/// How long one question may take, with its Secrets and the wait for a place.
const PATIENCE: Duration = Duration::from_secs(11);

impl ModelDeployments {
    /// The answers to all queries that are due, and when asking began.
    pub(super) async fn measure(
        &self,
        resource: &ModelDeployment,
        policy: &Policy,
    ) -> (Option<DateTime<Utc>>, Vec<(Query, Measurement)>) {
        let Some(status) = &resource.status else { return (None, Vec::new()) };
        let now = self.clock.now().trunc_subsecs(3);
        let due = measure::due(resource, policy, status, now);
        if due.is_empty() {
            return (None, Vec::new());
        }
        let namespace = key(resource).0;
        let secrets = Secrets::new(&self.client, namespace);
        let answers = join_all(due.iter().map(|query| self.ask_in_time(namespace, &secrets, query))).await;
        (Some(now), due.into_iter().zip(answers).collect())
    }

    /// A pass is one of a few: whoever has to wait for a place, too, gets no answer this time.
    async fn ask_in_time(&self, namespace: &str, secrets: &Secrets<'_>, query: &Query) -> Measurement {
        let answer = tokio::time::timeout(PATIENCE, self.ask(namespace, secrets, query)).await;
        answer.unwrap_or_else(|_| {
            Measurement::ProviderError(format!(
                "there was no answer within {} s, waiting for others included; ask fewer or cheaper questions of it",
                PATIENCE.as_secs()
            ))
        })
    }

    async fn ask(&self, namespace: &str, secrets: &Secrets<'_>, query: &Query) -> Measurement {
        match &query.question {
            Ok(Question::Prometheus(promql)) => self.ask_prometheus(namespace, promql).await,
            Ok(Question::Http(question)) => match credentials::headers(secrets, &question.headers).await {
                Ok(headers) => self.metrics.http.ask(namespace, question, headers).await,
                Err(measurement) => measurement,
            },
            Ok(Question::Sql(question)) => {
                self.ask_database(namespace, secrets, question).await.unwrap_or_else(|measurement| measurement)
            }
            Err(error) => Measurement::Refused(format!("the query cannot be rendered: {error}")),
        }
    }

    async fn ask_database(
        &self,
        namespace: &str,
        secrets: &Secrets<'_>,
        question: &SqlQuestion,
    ) -> Result<Measurement, Measurement> {
        let url = secrets.value(&question.connection).await?;
        let ca = match &question.ca {
            Some(reference) => Some(secrets.value(reference).await?),
            None => None,
        };
        Ok(self.metrics.sql.ask(namespace, question, &url, ca.as_deref()).await)
    }

    async fn ask_prometheus(&self, namespace: &str, promql: &str) -> Measurement {
        let Some(prometheus) = &self.metrics.prometheus else {
            return Measurement::ProviderError(
                "the operator has no Prometheus; set the chart's value prometheus.url".into(),
            );
        };
        let allowed = &self.metrics.namespaces;
        if !allowed.is_empty() && !allowed.iter().any(|it| it == namespace) {
            return Measurement::ProviderError(format!(
                "namespace {namespace} may not query the operator's Prometheus; add it to the chart's value prometheus.allowedNamespaces"
            ));
        }
        prometheus.now(promql).await
    }
}
