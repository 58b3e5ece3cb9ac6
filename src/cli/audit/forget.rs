//! `werkbank audit forget`: what is kept of a person is deleted.

use clap::Args;

use super::End;
use crate::audit::Log;

#[derive(Debug, Args)]
pub(super) struct ForgetArguments {
    /// Where the log is: file:///dir or s3://bucket/prefix
    log: String,
    /// The name that the API server knows the person by, as in `spec.approver` of their Approvals
    #[arg(long)]
    person: String,
}

/// Never says the name: what it prints may be kept as a proof that it was done.
pub(super) async fn run(arguments: &ForgetArguments) -> Result<String, End> {
    let log = Log::open(&arguments.log, Vec::new()).map_err(|error| End::Arguments(error.to_string()))?;
    match log.forget(&arguments.person).await {
        Ok(true) => Ok("forgotten: the log does not tell any more which entries are that person's, nor what they wrote\n\
            While an Approval of theirs that counts is in the cluster, the operator asks again who that is: delete those first, and then forget\n"
            .into()),
        Ok(false) => Err(End::Unknown("nothing is kept of a person of that name; it is written as in spec.approver".into())),
        Err(error) => Err(End::Unread(error.to_string())),
    }
}
