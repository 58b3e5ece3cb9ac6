//! Logs, and what the kernel says of this process.

use std::fs;

use clap::ValueEnum;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What is not worth a line unless asked for. kube's watcher warns at each try of what our own watches
/// say once.
const QUIET: &str = "kube_client=error,kube_runtime=error,hyper=warn";

/// Logs to standard error from now on, filtered by `level` or, if set, `RUST_LOG`.
///
/// # Errors
/// When the level is no filter, or the process logs already.
pub fn start_logging(format: LogFormat, level: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) => EnvFilter::try_new(filter)?,
        Err(_) => EnvFilter::try_new(format!("{QUIET},{level}"))?,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        LogFormat::Text => lines.try_init(),
    }
}

/// CPU and memory, read when Prometheus asks.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(seconds) = cpu_seconds() {
            let metric = ConstCounter::new(seconds);
            let help = "CPU time used by this process";
            metric.encode(encoder.encode_descriptor(
                "process_cpu",
                help,
                Some(&Unit::Seconds),
                metric.metric_type(),
            )?)?;
        }
        for (name, field, help) in [
            ("process_resident_memory", "VmRSS:", "Memory this process holds"),
            ("process_peak_resident_memory", "VmHWM:", "The most memory this process ever held"),
        ] {
            let Some(bytes) = memory_bytes(field) else {
                continue;
            };
            let metric = ConstGauge::new(bytes);
            metric.encode(encoder.encode_descriptor(name, help, Some(&Unit::Bytes), metric.metric_type())?)?;
        }
        Ok(())
    }
}

/// User and system time. The kernel counts in ticks of 1/100 s on every platform Rust's musl and
/// gnu targets run on (`USER_HZ`).
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the command in parentheses and may hold blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<f64>().ok()).sum();
    Some(ticks / 100.0)
}

fn memory_bytes(field: &str) -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<i64>().ok()?.checked_mul(1024)
}
