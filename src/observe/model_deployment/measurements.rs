//! Asking the metric sources what is due.

use chrono::{DateTime, SubsecRound, Utc};
use futures::future::join_all;

use super::{ModelDeployments, credentials, key};
use crate::api::ModelDeployment;
use crate::decide::Measurement;
use crate::decide::model_deployment::measure::{self, Query};
use crate::decide::model_deployment::policy::Policy;
use crate::decide::model_deployment::question::{Question, SqlQuestion};

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
        let answers = join_all(due.iter().map(|query| self.ask(namespace, query))).await;
        (Some(now), due.into_iter().zip(answers).collect())
    }

    async fn ask(&self, namespace: &str, query: &Query) -> Measurement {
        match &query.question {
            Ok(Question::Prometheus(promql)) => self.ask_prometheus(namespace, promql).await,
            Ok(Question::Http(question)) => {
                match credentials::headers(&self.client, namespace, &question.headers).await {
                    Ok(headers) => self.metrics.http.ask(question, headers).await,
                    Err(measurement) => measurement,
                }
            }
            Ok(Question::Sql(question)) => self.ask_database(namespace, question).await,
            Err(error) => Measurement::Refused(format!("the query cannot be rendered: {error}")),
        }
    }

    async fn ask_database(&self, namespace: &str, question: &SqlQuestion) -> Measurement {
        let url = match credentials::secret(&self.client, namespace, &question.connection).await {
            Ok(url) => url,
            Err(measurement) => return measurement,
        };
        let ca = match &question.ca {
            Some(reference) => match credentials::secret(&self.client, namespace, reference).await {
                Ok(ca) => Some(ca),
                Err(measurement) => return measurement,
            },
            None => None,
        };
        self.metrics.sql.ask(question, &url, ca.as_deref()).await
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
