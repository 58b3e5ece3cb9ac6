//! What the example's manifest promises, read from the manifest itself.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use werkbank::api::{ModelDeployment, Quantity, Weight};

use crate::workbench::repository;

/// `examples/churn/manifests/deployment.yaml`.
pub(super) struct Manifest {
    text: String,
    deployment: ModelDeployment,
}

impl Manifest {
    pub(super) fn read() -> Result<Self> {
        Self::parse(text("deployment.yaml")?)
    }

    fn parse(text: String) -> Result<Self> {
        let deployment = serde_yaml::from_str(&text).context("the example's deployment.yaml is no ModelDeployment")?;
        Ok(Self { text, deployment })
    }

    /// The manifest that asks for another entry.
    pub(super) fn of(&self, entry: &str) -> String {
        self.text.replace("modelRef: {name: churn-v1}", &format!("modelRef: {{name: {entry}}}"))
    }

    /// The weights on the way to full traffic, in order.
    pub(super) fn steps(&self) -> Result<Vec<Weight>> {
        let steps = self.deployment.spec.rollout.iter().flat_map(|it| &it.steps);
        let weights: Vec<Weight> = steps.map(|it| it.weight.weight()).collect::<Result<_, _>>()?;
        if weights.is_empty() { bail!("the example's deployment.yaml has no steps") } else { Ok(weights) }
    }

    /// How long after a breach shows in Prometheus the candidate is at weight 0: (failureLimit + 1) intervals + 1 s.
    pub(super) fn back_within(&self) -> Result<Duration> {
        let analysis = &self.deployment.spec.analysis;
        let interval = analysis.interval.as_ref().map_or(Ok(Duration::from_secs(30)), |it| it.duration())?;
        let tolerated = u32::try_from(analysis.failure_limit.unwrap_or(1))?;
        Ok(interval * (tolerated + 1) + Duration::from_secs(1))
    }

    /// How many outcomes the objective's query waits for, as it says at its end: `>= 600`.
    pub(super) fn outcomes(&self) -> Result<u64> {
        let (query, _) = self.objective()?;
        let (_, least) = query.rsplit_once(">= ").context("the objective waits for nothing")?;
        Ok(least.trim().parse()?)
    }

    /// The query by which a candidate is compared with the stable revision, and by how much it may be less.
    fn objective(&self) -> Result<(&str, &Quantity)> {
        let mut compared = self.deployment.spec.analysis.metrics.iter().filter_map(|it| {
            Some((it.prometheus.as_ref()?.query.as_str(), it.compare.as_ref()?.max_decrease.as_ref()?))
        });
        compared.next().context("the example's deployment.yaml compares nothing")
    }

    /// PromQL that has a result as long as the candidate does worse than the stable revision by more than the
    /// objective tolerates.
    pub(super) fn breach(&self, candidate: &str, stable: &str) -> Result<String> {
        let (query, tolerated) = self.objective()?;
        let of = |revision| query.replace("{{ revision }}", revision);
        Ok(format!("({}) - ({}) > {}", of(stable), of(candidate), tolerated.value()?))
    }
}

/// A manifest of the example.
pub(super) fn text(name: &str) -> Result<String> {
    let path = repository().join("examples/churn/manifests").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_promises_three_steps_and_three_seconds() {
        let manifest = Manifest::read().unwrap();
        let steps: Vec<String> = manifest.steps().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(steps, ["5%", "25%", "50%"]);
        assert_eq!(manifest.back_within().unwrap(), Duration::from_secs(3));
        assert_eq!(manifest.outcomes().unwrap(), 600);
        assert!(manifest.of("churn-v2").contains("modelRef: {name: churn-v2}"));
    }

    #[test]
    fn the_breach_is_the_objective_of_both_revisions_apart_by_more_than_is_tolerated() {
        let query = Manifest::read().unwrap().breach("bad", "good").unwrap();
        let (good, bad) = query.split_once(" - ").unwrap();
        assert!(good.contains(r#"hits_total{revision="good"}"#) && bad.contains(r#"hits_total{revision="bad"}"#));
        assert!(query.ends_with("> 0.05"), "{query}");
    }
}
