//! Processes that never outlive their parent.
//!
//! A test that is killed, a demo that is interrupted, a panic half-way through
//! a start: none may leave an etcd or an Envoy behind, because the next run
//! would find its memory gone and its ports taken. Destructors do not run on
//! SIGKILL, so the promise cannot be kept by the parent itself. Every process
//! is therefore started below a *guard* (the `workbench guard` subcommand, see
//! [`guard`]): a tiny process in a process group of its own that reads a pipe
//! whose other end only the parent holds. However the parent ends, the kernel
//! closes that pipe, and the guard ends its process group. Should the guard
//! itself be killed, the kernel kills the child (`PR_SET_PDEATHSIG`).
//!
//! [`Supervisor`] starts processes and owns them, [`Process`] is a handle to
//! one of them. Exit codes are those a container runtime would report: the
//! process's own, or 128 + the number of the signal that ended it.

mod command;
pub mod guard;
mod output;
mod supervisor;

pub use command::{Command, on_path};
pub use rustix::process::Signal;
pub use supervisor::{Exit, Process, Supervisor, log_tail};
