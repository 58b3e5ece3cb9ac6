//! A Job that answers: what its containers are told, and how long it may take.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Unusable;
use crate::api::model_deployment::JobQuery;
use crate::build::job::{self, Task};

/// How long a Job may take, unless said otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);
/// And at most: a number of yesterday says nothing of today.
const LONGEST: Duration = Duration::from_hours(24);
/// Less is no time for a pod to start.
const SHORTEST: Duration = Duration::from_secs(1);

/// The question about one revision; whom it is about is added to it.
pub(super) fn fill_in(it: &JobQuery, variables: &BTreeMap<&str, String>) -> Result<Task, Unusable> {
    let told = variables.iter().map(|(name, value)| (variable(name), value.clone()));
    let task = Task { template: it.template.clone(), timeout: timeout(it)?, variables: told.collect() };
    Ok(task)
}

/// Whether a Job can be made of it.
pub(super) fn check(it: &JobQuery, variables: &BTreeMap<&str, String>) -> Result<(), Unusable> {
    let mut task = fill_in(it, variables)?;
    task.variables.push((job::SUBJECT.into(), String::new()));
    job::pods(&task, &BTreeMap::new()).map(drop).map_err(|why| Unusable { field: "job.template", why })
}

fn timeout(it: &JobQuery) -> Result<Duration, Unusable> {
    let wrong = |why: String| Unusable { field: "job.timeout", why };
    let Some(text) = &it.timeout else { return Ok(TIMEOUT) };
    let timeout = text.duration().map_err(|error| wrong(error.to_string()))?;
    if (SHORTEST..=LONGEST).contains(&timeout) {
        return Ok(timeout);
    }
    Err(wrong("it is not from 1s to 24h".to_owned()))
}

/// `windowStart` is `WERKBANK_WINDOW_START`.
fn variable(name: &str) -> String {
    let mut variable = String::from("WERKBANK_");
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            variable.push('_');
        }
        variable.push(letter.to_ascii_uppercase());
    }
    variable
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::model_deployment::measure::VARIABLES;
    use crate::decide::model_deployment::question::Template;

    fn template(fields: Value) -> Template {
        let mut job = json!({"template": {"spec": {"containers": [{"name": "judge", "image": "registry/judge:1"}]}}});
        job.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        Template::Job(Box::new(serde_json::from_value(job).unwrap()))
    }

    #[test]
    fn what_a_query_may_name_every_container_is_told() {
        let named = VARIABLES.map(variable);
        let expected = ["NAMESPACE", "DEPLOYMENT", "REVISION", "WINDOW", "WINDOW_START", "WINDOW_END"];
        assert_eq!(named, expected.map(|it| format!("WERKBANK_{it}")));
        assert!(VARIABLES.iter().all(|it| template(json!({})).uses(it)));
    }

    #[test]
    fn whatever_cannot_be_used_names_its_field() {
        assert_eq!(template(json!({})).check(), Ok(()));
        assert_eq!(template(json!({"timeout": "24h"})).check(), Ok(()));
        let ours = json!({"spec": {"containers": [{"name": "judge", "env": [{"name": "WERKBANK_SUBJECT"}]}]}});
        for (field, value) in [
            ("timeout", json!("999ms")),
            ("timeout", json!("25h")),
            ("timeout", json!("soon")),
            ("template", json!({"spec": {}})),
            ("template", json!({"spec": {"containers": [{"name": "judge", "comand": ["x"]}]}})),
            ("template", ours),
        ] {
            let error = template(json!({field: value})).check().unwrap_err();
            assert_eq!(error.field, format!("job.{field}"), "{value}");
        }
    }
}
