//! The guard: runs one program and ends it when the parent is gone.
//!
//! `workbench guard <grace-ms> <stdout> -- program args…` is started by
//! [`Supervisor`](super::Supervisor), never by people. It speaks a line-based
//! protocol with its parent: it prints the program's pid on stdout, and reads
//! on stdin `signal <number>` and `stop <grace-ms>`; end of file means that
//! the parent is gone and is treated as `stop`. Its stderr is the program's log, and takes the program's
//! stdout, too, unless `<stdout>` is a file and not empty.
//!
//! Signals are sent by the guard and not by the parent, because the guard
//! alone knows that the pid is still the program's: it has not reaped it yet.
//!
//! The program is started through a second stage, `guard --exec`, which asks
//! the kernel for SIGKILL on the guard's death and then replaces itself. (The
//! request must be made in the child after the fork; making it between fork
//! and exec would need `unsafe`.)
//!
//! The guard lives in a process group of its own, so Ctrl-C in a terminal
//! reaches neither it nor the program: the parent decides what Ctrl-C means.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// Exit code when the program cannot be executed, as shells have it.
const CANNOT_EXECUTE: i32 = 127;

/// Runs the guard with the arguments after `guard`; gives the exit code to
/// end with.
///
/// # Errors
///
/// When the arguments are not the supervisor's or the program cannot be started.
pub fn run(args: Vec<OsString>) -> Result<i32> {
    let mut args = args.into_iter();
    let mut next = || args.next().unwrap_or_default();
    let (first, second, separator) = (next(), next(), next());
    let program = args.next().context("guard: no program was given")?;
    let rest: Vec<OsString> = args.collect();
    if first == "--exec" {
        return Ok(exec(&second, program, rest));
    }
    let grace = first.to_str().and_then(|text| text.parse().ok()).map(Duration::from_millis);
    match grace {
        Some(grace) if separator == "--" => watch(grace, &second, program, rest),
        _ => bail!("guard: usage is `guard <grace-ms> <stdout> -- program args…`"),
    }
}

/// The second stage: ties this process to the guard's life and becomes the program.
fn exec(guard: &OsString, program: OsString, args: Vec<OsString>) -> i32 {
    let tied = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    // The guard may have died before the request was made.
    if tied.is_err() || parent.as_deref() != guard.to_str() {
        return CANNOT_EXECUTE;
    }
    let error = Command::new(&program).args(args).exec();
    eprintln!("cannot execute {}: {error}", program.display());
    CANNOT_EXECUTE
}

fn watch(grace: Duration, stdout: &OsStr, program: OsString, args: Vec<OsString>) -> Result<i32> {
    let stdout = match stdout.is_empty() {
        true => std::io::stderr().as_fd().try_clone_to_owned()?,
        false => File::create(stdout).with_context(|| format!("guard: cannot write {}", stdout.display()))?.into(),
    };
    let mut child = Command::new(std::env::current_exe()?)
        .arg("guard")
        .arg("--exec")
        .arg(std::process::id().to_string())
        .arg("--")
        .arg(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(stdout)
        .process_group(0)
        .spawn()
        .context("guard: cannot start the program")?;
    println!("{}", child.id());
    std::io::stdout().flush()?;

    let group = Group::of(&child)?;
    let commands = group.clone();
    std::thread::spawn(move || obey(&commands, grace));
    end_with(&mut child, &group)
}

/// Waits for the program's end, ends what is left of its group, and gives the
/// exit code.
fn end_with(child: &mut Child, group: &Group) -> Result<i32> {
    // NOWAIT leaves the pid taken until the group is dealt with.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(error) = rustix::process::waitid(WaitId::Pid(group.leader), options) {
        if error != rustix::io::Errno::INTR {
            return Err(error).context("guard: cannot wait for the program");
        }
    }
    group.close();
    let status = child.wait()?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}

/// Reads the parent's commands until it is gone.
fn obey(group: &Group, grace: Duration) {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match line.split_once(' ') {
            Some(("signal", number)) => {
                if let Some(signal) = number.parse().ok().and_then(Signal::from_named_raw) {
                    group.signal(signal);
                }
            }
            Some(("stop", millis)) => {
                let grace = millis.parse().map(Duration::from_millis).unwrap_or(grace);
                // In a thread of its own: the parent may die during the grace.
                let group = group.clone();
                std::thread::spawn(move || group.stop(grace));
            }
            _ => eprintln!("guard: unknown command {line:?}"),
        }
    }
    group.stop(grace);
}

/// The program's process group while its leader is not reaped.
#[derive(Clone)]
struct Group {
    leader: Pid,
    open: Arc<Mutex<bool>>,
}

impl Group {
    fn of(child: &Child) -> Result<Self> {
        let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("guard: the program has no pid")?;
        Ok(Self { leader, open: Arc::new(Mutex::new(true)) })
    }

    fn signal(&self, signal: Signal) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if *open {
            // The only failure left is that nobody is in the group any more.
            let _ = rustix::process::kill_process_group(self.leader, signal);
        }
    }

    fn stop(&self, grace: Duration) {
        self.signal(Signal::TERM);
        // A stopped process (SIGSTOP) would not see SIGTERM before SIGKILL.
        self.signal(Signal::CONT);
        std::thread::sleep(grace);
        self.signal(Signal::KILL);
    }

    /// The leader has ended: so must what it left in its group.
    fn close(&self) {
        self.signal(Signal::KILL);
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}
