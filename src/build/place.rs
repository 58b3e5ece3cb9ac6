//! Places in a pod template that may be missing.
//!
//! To Kubernetes `affinity:` with nothing behind it is the same as no affinity, and tools that fill in templates
//! write it so. What the operator adds must not depend on which of the two it finds: a place that holds
//! `null` is as empty as one that is not there. One that holds something else than it should is an error:
//! what cannot be added must never be left out.

use serde_json::{Map, Value};

pub(super) type Object = Map<String, Value>;

/// The object at `key`, made if there is none.
pub(super) fn object<'a>(parent: &'a mut Object, key: &str) -> Result<&'a mut Object, String> {
    let place = made(parent, key, || Value::Object(Object::new()));
    place.as_object_mut().ok_or_else(|| format!("{key} is not an object"))
}

/// The list at `key`, made if there is none.
pub(super) fn list<'a>(parent: &'a mut Object, key: &str) -> Result<&'a mut Vec<Value>, String> {
    made(parent, key, || Value::Array(Vec::new())).as_array_mut().ok_or_else(|| format!("{key} is not a list"))
}

/// The objects in the list at `key`, made if there is none.
pub(super) fn objects<'a>(parent: &'a mut Object, key: &str) -> Result<Vec<&'a mut Object>, String> {
    let named = |(index, it): (usize, &'a mut Value)| {
        it.as_object_mut().ok_or_else(|| format!("{key}[{index}] is not an object"))
    };
    list(parent, key)?.iter_mut().enumerate().map(named).collect()
}

fn made<'a>(parent: &'a mut Object, key: &str, empty: fn() -> Value) -> &'a mut Value {
    let place = parent.entry(key).or_insert(Value::Null);
    if place.is_null() {
        *place = empty();
    }
    place
}
