//! Asking one metric source one question.

use std::time::Duration;

use kube::Client;

use super::MetricSource;
use super::credentials::{self, Secrets};
use crate::decide::Measurement;
use crate::decide::model_deployment::inquiry::Query;
use crate::decide::model_deployment::question::{Question, SqlQuestion};

/// How long one question may take, with its Secrets and the wait for a place.
const PATIENCE: Duration = Duration::from_secs(11);

/// All sources, and where their Secrets are.
pub(super) struct Sources {
    client: Client,
    metrics: MetricSource,
}

impl Sources {
    pub(super) fn new(client: Client, metrics: MetricSource) -> Self {
        Self { client, metrics }
    }

    /// What questions of one namespace may name; they share what was read.
    pub(super) fn secrets(&self, namespace: &str) -> Secrets {
        Secrets::new(self.client.clone(), namespace)
    }

    /// The answer; whoever has to wait for a place too long gets none this time.
    pub(super) async fn ask(&self, namespace: &str, secrets: &Secrets, query: &Query) -> Measurement {
        let answer = tokio::time::timeout(PATIENCE, self.answer(namespace, secrets, query)).await;
        answer.unwrap_or_else(|_| {
            Measurement::ProviderError(format!(
                "there was no answer within {} s, waiting for others included; ask fewer or cheaper questions of it",
                PATIENCE.as_secs()
            ))
        })
    }

    async fn answer(&self, namespace: &str, secrets: &Secrets, query: &Query) -> Measurement {
        match &query.question {
            Ok(Question::Prometheus(promql)) => self.ask_prometheus(namespace, promql).await,
            Ok(Question::Http(question)) => match credentials::headers(secrets, &question.headers).await {
                Ok(headers) => self.metrics.http.ask(namespace, question, headers).await,
                Err(measurement) => measurement,
            },
            Ok(Question::Sql(question)) => {
                self.ask_database(namespace, secrets, question).await.unwrap_or_else(|measurement| measurement)
            }
            // A Job is a child, and what it says is observed with the other children.
            Ok(Question::Job(_)) => Measurement::NoData("a Job is not asked from here".into()),
            Err(error) => Measurement::Refused(format!("the query cannot be rendered: {error}")),
        }
    }

    async fn ask_database(
        &self,
        namespace: &str,
        secrets: &Secrets,
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
