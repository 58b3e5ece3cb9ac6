//! Starting the operator: from options to the running loop, or one sentence why not.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::api::DurationText;
use crate::audit::{Log, Trail, keys};
use crate::build::approval_guard;
use crate::connect::http::HttpSource;
use crate::connect::progress::ProgressSource;
use crate::connect::prometheus::{Answers, Prometheus};
use crate::connect::sql::SqlSource;
use crate::decide::approval::Roles;
use crate::decide::model_deployment::observed::Settings;
use crate::decide::model_registry_entry::verification::Settings as Verification;
use crate::observe::approvals::GovernanceSettings;
use crate::observe::model_deployment::{self, MetricSource};
use crate::runtime::operator::{self, OperatorOptions};
use crate::runtime::{Shutdown, start_logging};

type Regions = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// Runs the operator until it is told to stop. Exit code 1 and one sentence when it cannot.
pub async fn operator(options: OperatorOptions) -> ExitCode {
    ended(run(options).await)
}

/// The operator with another record of its decisions than the audit log: what the benchmark compares it with.
pub async fn operator_with(options: OperatorOptions, trail: Arc<dyn Trail>) -> ExitCode {
    let run = async {
        let shutdown = begin(&options)?;
        serve(options, trail, shutdown).await
    };
    ended(run.await)
}

/// How long the end waits for the audit log's last checkpoint.
const LAST_WORDS: Duration = Duration::from_secs(5);

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn ended(ended: Ended) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("werkbank operator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn begin(options: &OperatorOptions) -> Result<Shutdown, Box<dyn std::error::Error + Send + Sync>> {
    start_logging(options.log_format, &options.log_level)?;
    let shutdown = Shutdown::default();
    shutdown.on_signals()?;
    Ok(shutdown)
}

async fn run(options: OperatorOptions) -> Ended {
    let shutdown = begin(&options)?;
    let signers = options.audit_keys.as_deref().map(keys::read).transpose()?.unwrap_or_default();
    if signers.is_empty() {
        tracing::warn!(
            "nobody signs the audit log: give the operator a key (--audit-keys), so that others can verify it"
        );
    }
    let log = Arc::new(Log::open(options.audit_log_url.as_str(), signers)?);
    let mut run = std::pin::pin!(serve(options, log.clone(), shutdown.clone()));
    // A store that does not answer is no reason not to start: rollbacks do not wait for it.
    let ended = tokio::select! {
        ended = &mut run => ended,
        unfit = log.turns_out_unfit() => {
            shutdown.request();
            run.await?;
            Err(unfit.into())
        }
        () = log.keep() => Ok(()),
    };
    // The last decisions, too, are under a checkpoint; what cannot be published now is by the next process.
    if let Ok(Err(error)) = tokio::time::timeout(LAST_WORDS, log.publish()).await {
        tracing::warn!(%error, "the last entries have no checkpoint yet; the next process makes one");
    }
    ended
}

/// The loop, with what the options name.
async fn serve(options: OperatorOptions, trail: Arc<dyn Trail>, shutdown: Shutdown) -> Ended {
    let prometheus = options.prometheus_url.as_ref().map(|url| Prometheus::new(url.as_str())).transpose()?;
    let metrics = MetricSource {
        prometheus: prometheus.map(|it| Arc::new(it) as Arc<dyn Answers>),
        // `*` says "all" out loud.
        namespaces: options.prometheus_allowed_namespaces.iter().filter(|it| *it != "*").cloned().collect(),
        http: Arc::new(HttpSource::new(options.allow_loopback_urls)?),
        sql: Arc::new(SqlSource::new(options.allow_loopback_urls)),
    };
    let regions = options.regions_file.as_deref().map(regions).transpose()?.unwrap_or_default();
    let settings = Settings { regions, fetch_image: options.fetch_image.clone(), ..Settings::default() };
    let governance = governance(&options, &settings.regions)?;
    operator::run(options, trail, shutdown, |registration| {
        model_deployment::register(registration, metrics, settings, governance);
    })
    .await
    .map_err(Into::into)
}

/// Who has to approve and what guards it, what entries have to say, and how their artifacts are verified.
fn governance(
    options: &OperatorOptions,
    regions: &Regions,
) -> Result<GovernanceSettings, Box<dyn std::error::Error + Send + Sync>> {
    let shipped = |name: &String| approval_guard::shipped(name, &options.delivery_accounts);
    let policies = options.approval_policies.as_ref().map(shipped).transpose()?.unwrap_or_default();
    let every = options.verify_again_every.as_deref().map(often).transpose()?;
    let at_once = usize::from(options.verify_at_once);
    let verification = Verification { image: options.fetch_image.clone(), every, at_once, regions: regions.clone() };
    Ok(GovernanceSettings {
        roles: roles(options),
        policies,
        required: options.require_governance,
        verification: options.verify_artifacts.then_some(verification),
        progress: Some(ProgressSource::new(options.allow_loopback_urls)?),
    })
}

/// Those that every entry asks for are there.
fn roles(options: &OperatorOptions) -> Roles {
    let of_all = options.approval_roles.clone();
    let known = (!options.known_roles.is_empty()).then(|| [options.known_roles.as_slice(), &of_all].concat());
    Roles { of_all, known }
}

/// Each time a Job in each entry's namespace: none at all is another wish than one after the other.
fn often(text: &str) -> Result<Duration, String> {
    let every = DurationText(text.to_owned()).duration().map_err(|error| format!("--verify-again-every: {error}"))?;
    if every.is_zero() {
        return Err("--verify-again-every is nothing; write e.g. 24h, or leave it out for never".into());
    }
    Ok(every)
}

/// Region → node label → value, as the chart writes it.
fn regions(path: &Path) -> Result<Regions, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("--regions-file {}: {error}; mount the chart's ConfigMap there", path.display()))?;
    let regions: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&text).map_err(|error| {
        format!("--regions-file {}: {error}; write {{\"eu\": {{\"label\": \"value\"}}}}", path.display())
    })?;
    let labels = |all: BTreeMap<String, String>| all.into_iter().map(|(key, value)| (key, vec![value])).collect();
    Ok(regions.into_iter().map(|(region, all)| (region, labels(all))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_after_each_other_is_no_wish() {
        assert_eq!(often("24h"), Ok(Duration::from_hours(24)));
        assert!(often("0s").unwrap_err().contains("leave it out for never"));
        assert!(often("daily").unwrap_err().starts_with("--verify-again-every: "));
    }
}
