//! What of an object is told, in one line: what the operator meant by it. Not uids, versions, times and sizes, and not
//! the defaults that the API server fills in.

use serde_json::Value;

/// A deployment's status on its way.
pub(super) fn step(deployment: &Value) -> String {
    let status = &deployment["status"];
    let attempt = &status["attempt"];
    if status.is_null() {
        return "nothing yet".into();
    }
    let mut line = format!("{}: stable {}", word(&status["phase"]), word(&status["stable"]["revision"]));
    if attempt.is_object() {
        line +=
            &format!(", attempt {} of {} {}", status["attempts"], word(&attempt["revision"]), word(&attempt["state"]));
        line += &format!(" at {}", word(&attempt["weight"]));
        line += &attempt["step"].as_i64().map_or_else(String::new, |it| format!(", step {it}"));
        for (field, told) in [("pausedSince", "paused"), ("suspendedSince", "suspended"), ("cause", "taken back")] {
            line += &if attempt[field].is_null() { String::new() } else { format!(", {told}") };
        }
    }
    line
}

/// A deployment at the end, one fact a line.
pub(super) fn standing(deployment: &Value) -> Vec<String> {
    let (metadata, status) = (&deployment["metadata"], &deployment["status"]);
    let attempt = &status["attempt"];
    let current = status["observedGeneration"] == metadata["generation"];
    let mut lines = vec![
        format!("generation {}, observed: {current}", metadata["generation"]),
        step(deployment),
        format!("candidate {} at {}", word(&status["candidate"]), word(&status["weight"])),
        format!("cause {}, taken from {}", word(&attempt["cause"]), word(&attempt["takenFrom"])),
        format!("{} decisions, {} ready, pods {}", status["sequence"], status["replicas"], word(&status["selector"])),
    ];
    lines.extend(metadata["finalizers"].is_array().then(|| format!("held by {}", words(&metadata["finalizers"]))));
    for field in ["shadowed", "fastReturn", "emergency", "skipSteps"] {
        lines.extend(attempt[field].as_bool().filter(|it| *it).map(|_| field.to_owned()));
    }
    let each = |field: &str, tell: fn(&Value) -> String| -> Vec<String> { list(&status[field]).map(tell).collect() };
    lines.extend(each("revisions", |it| format!("{} is {}", word(&it["revision"]), word(&it["role"]))));
    lines.extend(each("takenBack", |it| format!("{} was taken back: {}", word(&it["revision"]), word(&it["cause"]))));
    lines.extend(each("proven", |it| format!("{} is proven", word(&it["revision"]))));
    lines.extend(each("verdicts", |it| format!("verdict {} {}", word(&it["metric"]), word(&it["verdict"]))));
    lines.extend(each("unrecorded", |_| "something is not on the trail".into()));
    let request = &status["handledRequest"];
    lines.extend(
        request.is_object().then(|| format!("asked: {} {}", word(&request["verb"]), word(&request["outcome"]))),
    );
    lines
}

pub(super) fn conditions(deployment: &Value) -> Vec<String> {
    let all = list(&deployment["status"]["conditions"]);
    let mut lines: Vec<String> =
        all.map(|it| format!("{} {} {}", word(&it["type"]), word(&it["status"]), word(&it["reason"]))).collect();
    lines.sort_unstable();
    lines
}

/// A child.
pub(super) fn child(object: &Value) -> Option<String> {
    let spec = &object["spec"];
    let line = match object["kind"].as_str()? {
        "ControllerRevision" => {
            format!("number {}, entry {}", object["revision"], word(&object["data"]["entry"]["name"]))
        }
        "ConfigMap" => {
            let keys =
                object["data"].as_object().into_iter().flatten().map(|(key, text)| format!("{key}={}", word(text)));
            let kind = if object["immutable"] == true { "immutable" } else { "mutable" };
            format!("{kind} {}", keys.collect::<Vec<_>>().join(" "))
        }
        "Deployment" => format!("{} pods of {}", spec["replicas"], pairs(&spec["selector"]["matchLabels"])),
        "HorizontalPodAutoscaler" => {
            let (min, max) = (&spec["minReplicas"], &spec["maxReplicas"]);
            format!("{min} to {max} pods of {}", word(&spec["scaleTargetRef"]["name"]))
        }
        "Service" => {
            let ports = list(&spec["ports"]).map(|it| format!("{} to {}", it["port"], word(&it["targetPort"])));
            format!("{} for {}", ports.collect::<Vec<_>>().join(", "), pairs(&spec["selector"]))
        }
        "HTTPRoute" => route(spec),
        _ => return None,
    };
    Some(line)
}

/// Where it comes in, and where it goes.
fn route(spec: &Value) -> String {
    let parents = list(&spec["parentRefs"]).map(|it| {
        let section = it["sectionName"].as_str().map_or_else(String::new, |it| format!("/{it}"));
        format!("{}{section}", word(&it["name"]))
    });
    let rules = list(&spec["rules"]).map(|rule| {
        let backends = list(&rule["backendRefs"]);
        let mut to: Vec<String> = backends.map(|it| format!("{} {}", word(&it["name"]), it["weight"])).collect();
        let mirrors = list(&rule["filters"]).filter(|it| it["type"] == "RequestMirror");
        to.extend(mirrors.map(|it| {
            let mirror = &it["requestMirror"];
            format!("copies to {} {}", word(&mirror["backendRef"]["name"]), mirror["fraction"])
        }));
        to.join(", ")
    });
    let (parents, rules): (Vec<_>, Vec<_>) = (parents.collect(), rules.collect());
    format!("{} at {}: {}", words(&spec["hostnames"]), parents.join(" "), rules.join("; "))
}

/// Whose it is, and what it is called to be.
pub(super) fn belonging(object: &Value) -> String {
    let metadata = &object["metadata"];
    let owners = list(&metadata["ownerReferences"]).map(|it| {
        let controls = if it["controller"] == true { ", controller" } else { "" };
        let blocks = if it["blockOwnerDeletion"] == true { ", blocks" } else { "" };
        format!("of {} {}{controls}{blocks}", word(&it["kind"]), word(&it["name"]))
    });
    let owners: Vec<String> = owners.collect();
    let finalizers = if metadata["finalizers"].is_null() { String::new() } else { words(&metadata["finalizers"]) };
    format!("{} {} {finalizers}", owners.join(" "), pairs(&metadata["labels"])).trim().to_owned()
}

/// What the operator goes by when it asks whether somebody has edited a child.
pub(super) fn marks(object: &Value) -> String {
    let metadata = &object["metadata"];
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let own = annotations.filter_map(|(key, it)| Some((key.strip_prefix("werkbank.dev/")?, it)));
    let own = own.filter(|it| it.0 != "applied").map(|(key, it)| format!("{key} {}", word(it)));
    let generation = metadata["generation"].as_i64().map(|it| format!("is in generation {it}"));
    generation.into_iter().chain(own).collect::<Vec<_>>().join(", ")
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn words(value: &Value) -> String {
    list(value).map(word).collect::<Vec<_>>().join(" ")
}

fn pairs(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    // `app.kubernetes.io/managed-by=werkbank` and the like: the same on all, the last part says enough.
    pairs
        .map(|(key, it)| format!("{}={}", key.rsplit('/').next().unwrap_or(key), word(it)))
        .collect::<Vec<_>>()
        .join(" ")
}
