//! What went wrong with a statement, in words that may be shown.
//!
//! An error of the database quotes what it read: `invalid input syntax for type integer: "anna@example.com"`. So only its
//! code is repeated; its sentence too where that can only be about the statement (class 42: names and syntax).

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition};

use super::places::Failure;
use crate::decide::Measurement;

/// Of a sentence about a statement, in characters.
const LONGEST_SENTENCE: usize = 200;

/// Where the planner can divide, it does so before the statement runs.
const DIVISION_BY_ZERO: &str = "22012";

/// What an error means for the measurement.
pub(super) fn explain(error: &Error, host: &str) -> Failure {
    match error.as_db_error() {
        Some(error) if error.code().code() == "57014" => Failure::Silent(format!(
            "the database at {host} needs longer than sql.timeout; make the query cheaper, or raise it (at most 10s)"
        )),
        Some(error) => Failure::Answered(answered(error, host)),
        None if error.is_closed() => Failure::Silent(format!("the database at {host} closed the connection")),
        // Of a handshake or of a message nothing is known but its source, which may quote. Somebody is there, though.
        None => Failure::Answered(Measurement::ProviderError(format!(
            "the database at {host} cannot be spoken to; check that it is PostgreSQL, that it offers \
             TLS, and that its certificate is of that name and signed by sql.ca (or write ?sslmode=disable where nobody listens)"
        ))),
    }
}

/// The same of binding values, where an error of data is one of the values.
pub(super) fn explain_values(error: &Error, host: &str) -> Failure {
    match error.as_db_error().map(|it| it.code().code()) {
        Some(code) if code.starts_with("22") && code != DIVISION_BY_ZERO => {
            Failure::Answered(Measurement::Refused(format!(
                "a value does not fit the type of its place ({code}): write to_timestamp({{{{ windowStart }}}}) for a time, \
             {{{{ window }}}}::interval for a duration; correct sql.query"
            )))
        }
        _ => explain(error, host),
    }
}

/// Classes and codes: PostgreSQL's manual, appendix "PostgreSQL Error Codes".
fn answered(error: &DbError, host: &str) -> Measurement {
    let code = error.code().code();
    match (code.get(..2).unwrap_or_default(), code) {
        (_, DIVISION_BY_ZERO) => {
            Measurement::NoData("the query divides by 0: there is nothing yet; NULLIF(…, 0) says so".to_owned())
        }
        (_, "25006") => {
            Measurement::Refused("the query writes; a measurement may only read; correct sql.query".to_owned())
        }
        ("28" | "3D", _) => Measurement::Refused(format!(
            "the database at {host} does not let the user in ({code}); correct user, password and database in the Secret"
        )),
        ("42", _) => Measurement::Refused(format!("{}; correct sql.query", sentence(error, code))),
        ("0A", _) => Measurement::Refused(format!(
            "the query needs what this database does not support ({code}, see its log); correct sql.query"
        )),
        ("22" | "23" | "21", _) => Measurement::Refused(format!(
            "the query fails on what is stored ({code}, see the database's log); correct sql.query"
        )),
        _ => Measurement::ProviderError(format!("the database at {host} fails ({code}); see its log")),
    }
}

/// Of what a function ran inside nothing is repeated: there, a name can be made of what is stored.
fn sentence(error: &DbError, code: &str) -> String {
    let said = || error.message().chars().filter(|it| !it.is_control()).take(LONGEST_SENTENCE).collect::<String>();
    match error.position() {
        Some(ErrorPosition::Original(at)) => format!("{} (at character {at}; {code})", said()),
        None if error.where_().is_none() => format!("{} ({code})", said()),
        _ => format!("the database refuses what the query does ({code}, see its log)"),
    }
}
