//! Requests by people: `werkbank.dev/request: <verb>/<attempt>/<step>/<nonce>/<by>`.
//!
//! A request names the attempt and the step it means, so an old one (in Git, or in a browser tab) does
//! nothing later; the nonce lets the same verb be said twice. Each is looked at once: carried out, or
//! refused with the reason in status. Only what the operator itself is not ready for (a record that does not
//! answer, say) keeps one waiting.

use super::hold;
use crate::api::Weight;
use crate::api::labels;
use crate::api::model_deployment::{
    Attempt, AttemptState, HandledRequest, ModelDeployment, ModelDeploymentStatus, RequestOutcome,
};
use crate::audit::UNKNOWN_ACTOR;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Take the candidate back now.
    Abort,
    /// Hold the weight.
    Pause,
    /// All traffic now, if it is proven.
    Promote,
    /// Go on after a pause.
    Resume,
    /// Try a revision again that was taken back.
    Retry,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Abort, Self::Pause, Self::Promote, Self::Resume, Self::Retry];

    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Pause => "pause",
            Self::Promote => "promote",
            Self::Resume => "resume",
            Self::Retry => "retry",
        }
    }
}

/// A request, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub verb: Verb,
    /// The attempt it is for.
    pub attempt: String,
    /// The step it is for; [`ANY_STEP`] names none.
    pub step: String,
    /// Tells it from an earlier one.
    pub nonce: String,
    /// Which actor of the record asks; nothing of the name that is written. [`UNKNOWN_ACTOR`] where the record has not said.
    pub asked_by: Option<String>,
}

/// Written where no step is meant.
pub const ANY_STEP: &str = "-";

impl Request {
    /// What status keeps of it.
    #[must_use]
    pub fn done(&self) -> HandledRequest {
        self.handled(RequestOutcome::Done, None)
    }

    /// What status keeps of it, if it does nothing.
    #[must_use]
    pub fn refused(&self, why: &str) -> HandledRequest {
        self.handled(RequestOutcome::Refused, Some(crate::api::condition::brief(why)))
    }

    fn handled(&self, outcome: RequestOutcome, message: Option<String>) -> HandledRequest {
        HandledRequest {
            verb: self.verb.word().into(),
            attempt: self.attempt.clone(),
            asked_by: self.asked_by.clone(),
            step: self.step.clone(),
            nonce: self.nonce.clone(),
            outcome,
            message,
        }
    }

    fn is(&self, handled: &HandledRequest) -> bool {
        (self.verb.word(), &self.attempt, &self.nonce) == (handled.verb.as_str(), &handled.attempt, &handled.nonce)
    }
}

/// The request on the resource, if it is well-formed and was not looked at yet.
#[must_use]
pub fn pending(resource: &ModelDeployment, status: &ModelDeploymentStatus) -> Option<Request> {
    let request = on(resource)?;
    (!status.handled_request.as_ref().is_some_and(|it| request.is(it))).then_some(request)
}

fn parse(text: &str) -> Option<Request> {
    let mut parts = text.splitn(5, '/');
    let (verb, attempt, step, nonce, _by) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let verb = Verb::ALL.into_iter().find(|it| it.word() == verb)?;
    let short = [attempt, step, nonce].into_iter().all(is_word);
    short.then(|| Request { verb, attempt: attempt.into(), step: step.into(), nonce: nonce.into(), asked_by: None })
}

/// Who asks, as the request says it: for the record alone, which makes an actor of it. Of what was looked at already only while the record
/// has not done so.
#[must_use]
pub fn by(resource: &ModelDeployment) -> Option<&str> {
    let request = on(resource)?;
    let handled = resource.status.as_ref().and_then(|it| it.handled_request.as_ref()).filter(|it| request.is(it));
    let is_named = handled.is_some_and(|it| it.asked_by.as_deref() != Some(UNKNOWN_ACTOR));
    let text = resource.metadata.annotations.as_ref()?.get(labels::REQUEST)?;
    text.splitn(5, '/').nth(4).filter(|by| !by.is_empty() && !is_named)
}

/// Whether this is the request that is on the resource.
#[must_use]
pub fn is_on(resource: &ModelDeployment, handled: &HandledRequest) -> bool {
    on(resource).is_some_and(|it| it.is(handled))
}

/// The request on the resource, if it is well-formed.
fn on(resource: &ModelDeployment) -> Option<Request> {
    parse(resource.metadata.annotations.as_ref()?.get(labels::REQUEST)?)
}

/// It goes into the status, where nothing long belongs, and nothing that could name a person.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-".contains(&it))
}

/// Why a request is not for what is there now; whether it can be carried out is another question.
///
/// # Errors
/// With one sentence that says what is there instead.
pub fn addressed(request: &Request, status: &ModelDeploymentStatus) -> Result<(), String> {
    if older_on_probation(request.verb, status) == Some(&request.attempt) {
        return Ok(());
    }
    let Some(attempt) = status.attempt.as_ref() else {
        return Err("there has been no attempt yet: a request is for an attempt under way".into());
    };
    if attempt.id != request.attempt {
        return Err(format!("it is for attempt {}; the present one is {}", request.attempt, attempt.id));
    }
    fits(request.verb, attempt, status)?;
    // To hold, and to take back, is never wrong, whatever step the attempt has reached meanwhile.
    let named = request.step != ANY_STEP || request.verb == Verb::Promote;
    let whole = matches!(request.verb, Verb::Abort | Verb::Retry);
    let present = step_of(attempt);
    if named && !whole && request.step != present {
        return Err(format!("it is for step {}; the attempt is at step {present}", request.step));
    }
    Ok(())
}

/// The attempt whose revision is on probation, if another one that was tried since has ended: what an `abort` or a
/// `promote` is for then.
#[must_use]
pub fn older_on_probation(verb: Verb, status: &ModelDeploymentStatus) -> Option<&String> {
    let newest = status.attempt.as_ref().filter(|it| !it.state.is_active())?;
    let probation = status.probation.as_ref().filter(|it| it.recall.is_none() && it.attempt != newest.id)?;
    matches!(verb, Verb::Abort | Verb::Promote).then_some(&probation.attempt)
}

/// The step an attempt is at, as a request names it.
#[must_use]
pub fn step_of(attempt: &Attempt) -> String {
    attempt.step.map_or_else(|| ANY_STEP.to_owned(), |step| step.to_string())
}

/// Whether something can be asked of an attempt that stands where this one does.
///
/// # Errors
/// With one sentence that says why not, and what to do instead.
pub fn fits(verb: Verb, attempt: &Attempt, status: &ModelDeploymentStatus) -> Result<(), String> {
    let id = &attempt.id;
    let ended = !attempt.state.is_active();
    match (verb, attempt.state) {
        (Verb::Retry, AttemptState::RolledBack | AttemptState::Failed) => Ok(()),
        // The spec may name a revision again that an earlier attempt was taken back with.
        (Verb::Retry, AttemptState::Promoted) if !status.taken_back.is_empty() => Ok(()),
        (Verb::Retry, state) => {
            Err(format!("attempt {id} was not taken back ({state:?}): there is nothing to try again"))
        }
        (Verb::Abort | Verb::Promote, AttemptState::Promoted) if on_probation(attempt, status) => Ok(()),
        (Verb::Abort, state) if ended => Err(format!(
            "attempt {id} has ended ({state:?}): there is nothing to abort; to go back, point spec.modelRef at the earlier entry"
        )),
        (verb, state) if ended => {
            Err(format!("attempt {id} has ended ({state:?}): there is nothing to {}", verb.word()))
        }
        (_, AttemptState::RollingBack) => Err(format!("attempt {id} is being taken back already")),
        (Verb::Abort, _) => Ok(()),
        (Verb::Pause, _) if attempt.paused_since.is_some() => Err(format!("attempt {id} is paused already")),
        (Verb::Resume, _) if attempt.paused_since.is_none() => {
            Err(format!("attempt {id} is not paused: there is nothing to resume"))
        }
        (Verb::Promote, AttemptState::Promoting) => Err(format!("attempt {id} is on its way to all traffic already")),
        (Verb::Promote, _) => match hold::of(attempt) {
            Some(hold) => Err(hold.before_promote()),
            None if attempt.weight == Weight::NONE || attempt.observing_since.is_none() => {
                Err(format!("nothing is proven at {} yet: ask again when it is being watched", attempt.weight))
            }
            None => Ok(()),
        },
        (Verb::Pause | Verb::Resume, _) => Ok(()),
    }
}

/// Whether the revision that an attempt promoted is on probation, and not going back already.
fn on_probation(attempt: &Attempt, status: &ModelDeploymentStatus) -> bool {
    status.probation.as_ref().is_some_and(|it| it.attempt == attempt.id && it.recall.is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_written_there_is_no_request_or_one_of_short_words_without_the_name(
            text in prop_oneof![
                any::<String>(),
                "(abort|pause|resume|retry|promote|ABORT)/[a-z0-9/é-]{0,80}/[0-9-]{0,2}/[ -~]{0,70}/[ -~]{0,80}",
            ],
        ) {
            let Some(it) = parse(&text) else { return Ok(()) };
            let read = [it.verb.word(), &it.attempt, &it.step, &it.nonce].join("/");
            prop_assert!(text.starts_with(&format!("{read}/")), "{text:?} is read as {read}");
            prop_assert!(it.asked_by.is_none() && [it.attempt, it.step, it.nonce].iter().all(|it| is_word(it)));
        }
    }

    fn status() -> ModelDeploymentStatus {
        let now = "2026-11-24T00:00:00Z";
        let attempt = json!({"id": "a1-2-uid", "revision": "r", "entry": {"revision": "r", "name": "e", "uid": "u"},
            "state": "Observing", "weight": "5%", "step": 0, "startedAt": now, "enteredAt": now, "observingSince": now});
        serde_json::from_value(json!({"attempt": attempt})).unwrap()
    }

    fn pending_with(text: &str, handled: Option<&Request>) -> Option<Request> {
        let resource: ModelDeployment = serde_json::from_value(json!({
            "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": "churn", "annotations": {"werkbank.dev/request": text}},
            "spec": {"modelRef": {"name": "e"}, "port": 1, "template": {}, "analysis": {"none": "x"}},
        }))
        .unwrap();
        pending(&resource, &ModelDeploymentStatus { handled_request: handled.map(Request::done), ..status() })
    }

    fn addressed_with(text: &str) -> Result<(), String> {
        addressed(&pending_with(text, None).unwrap(), &status()).map(|_| ())
    }

    #[test]
    fn a_request_is_carried_out_once_and_another_nonce_is_another_request() {
        let request = pending_with("pause/a1-2-uid/0/n1/jane", None).unwrap();
        assert_eq!(request.verb, Verb::Pause);
        assert_eq!(pending_with("pause/a1-2-uid/0/n1/jane", Some(&request)), None);
        assert!(pending_with("pause/a1-2-uid/0/n2/jane", Some(&request)).is_some(), "another nonce");
        assert!(pending_with("retry/a1-2-uid/0/n1/jane", Some(&request)).is_some(), "another verb");
        assert!(pending_with("pause/a2-3-uid/0/n1/jane", Some(&request)).is_some(), "another attempt");
    }

    #[test]
    fn a_request_is_for_one_attempt() {
        for verb in Verb::ALL.map(Verb::word) {
            let why = addressed_with(&format!("{verb}/a1-1-uid/0/n1/jane")).unwrap_err();
            assert_eq!(why, "it is for attempt a1-1-uid; the present one is a1-2-uid");
        }
    }

    #[test]
    fn a_step_that_is_named_must_be_the_present_one_and_a_promotion_must_name_it() {
        for (text, fits) in [
            ("pause/a1-2-uid/0/n1/jane", true),
            ("pause/a1-2-uid/1/n1/jane", false),
            ("pause/a1-2-uid/-/n1/jane", true),
            ("promote/a1-2-uid/0/n1/jane", true),
            ("promote/a1-2-uid/1/n1/jane", false),
            ("promote/a1-2-uid/-/n1/jane", false),
            // Taking back is never too late.
            ("abort/a1-2-uid/1/n1/jane", true),
        ] {
            assert_eq!(addressed_with(text).is_ok(), fits, "{text}: {:?}", addressed_with(text));
        }
    }

    #[test]
    fn who_asks_may_hold_slashes_and_what_is_malformed_asks_nothing() {
        assert!(pending_with("retry/a1-2-uid/0/n1/system:serviceaccount/x", None).is_some());
        for text in [
            "",
            "abort",
            "abort/a1-2-uid",
            "abort/a1-2-uid/0/n1",
            "Abort/a1-2-uid/0/n1/jane",
            "approve/a1-2-uid/0/n1/jane",
            "abort/a1-2-uid/0//jane",
            "abort/a1-2-uid/0/jane@example.com/jane",
            "abort/jane@example.com/0/n/jane",
            "abort/a1-2-uid/step one/n/jane",
            &format!("abort/a1-2-uid/0/{}/jane", "n".repeat(65)),
        ] {
            assert_eq!(pending_with(text, None), None, "{text}");
        }
    }
}
