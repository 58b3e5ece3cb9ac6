//! CPU and memory of one process, as the kernel counts them.

use anyhow::{Context, Result};

/// Ticks per second of `/proc/<pid>/stat`; Linux tells 100 to every program, whatever the kernel's own rate.
const TICKS: f64 = 100.0;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Memory held now, in bytes.
    pub resident: u64,
    /// The most memory ever held, in bytes.
    pub peak: u64,
}

impl Usage {
    /// Of a running process.
    ///
    /// # Errors
    /// When it does not run any more.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{name}"))
                .with_context(|| format!("process {pid} has ended; its log tells why"))
        };
        parse(&read("stat")?, &read("status")?).with_context(|| format!("/proc/{pid} cannot be understood"))
    }
}

/// CPU seconds of everything on this machine since it was started.
///
/// # Errors
/// When `/proc/stat` does not tell.
pub fn of_machine() -> Result<f64> {
    parse_machine(&std::fs::read_to_string("/proc/stat")?).context("/proc/stat cannot be understood")
}

fn parse_machine(stat: &str) -> Option<f64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<f64> = fields.map(|it| it.parse().ok()).collect::<Option<_>>()?;
    let [user, nice, system, _idle, _waiting, irq, softirq, ..] = ticks.as_slice() else { return None };
    Some((user + nice + system + irq + softirq) / TICKS)
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The program's name may hold spaces and parentheses; what follows its end does not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let cpu_seconds = (ticks()? + ticks()?) / TICKS;
    let kilobytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|it| it * 1024)
    };
    Some(Usage { cpu_seconds, resident: kilobytes("VmRSS")?, peak: kilobytes("VmHWM")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_whatever_the_program_is_called() {
        let stat = "42 (a) (b c) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 4 0 100 1 1";
        let status = "Name:\ta\nVmHWM:\t    2000 kB\nVmRSS:\t    1000 kB\n";
        let usage = parse(stat, status).unwrap();
        assert_eq!(usage, Usage { cpu_seconds: 3.0, resident: 1_024_000, peak: 2_048_000 });
    }

    #[test]
    fn a_machine_that_waits_is_not_busy() {
        assert_eq!(parse_machine("cpu  100 10 50 9999 999 20 20 0 0 0\ncpu0 1"), Some(2.0));
        assert!(of_machine().unwrap() > 0.0);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.peak >= usage.resident && usage.resident > 1_000_000, "{usage:?}");
    }
}
