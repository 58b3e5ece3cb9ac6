//! One malformed object must not stop a watch.
//!
//! kube's `DeserializeGuard` does this too, but copies every object twice on the way and asks for
//! full objects where only metadata is watched. Here a good object is parsed once, from the text
//! as it came; only a bad one is looked at again, for its metadata.

use std::borrow::Cow;

use kube::Resource;
use kube::core::{ObjectMeta, PartialObjectMeta};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An object, or what can be said of one that does not fit its type.
#[derive(Debug, Clone)]
pub enum Guarded<K> {
    /// As it should be.
    Good(Box<K>),
    /// Not.
    Malformed {
        /// Where it is.
        metadata: Box<ObjectMeta>,
        /// What is wrong with it.
        error: String,
    },
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str(text.get()) {
            Ok(object) => Ok(Self::Good(object)),
            Err(error) => {
                let PartialObjectMeta::<()> { metadata, .. } =
                    serde_json::from_str(text.get()).map_err(D::Error::custom)?;
                Ok(Self::Malformed { metadata: Box::new(metadata), error: error.to_string() })
            }
        }
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn kind(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Good(object) => object.meta(),
            Self::Malformed { metadata, .. } => metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Good(object) => object.meta_mut(),
            Self::Malformed { metadata, .. } => metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kube::core::{ObjectList, WatchEvent};

    use super::*;

    const GOOD: &str = r#"{"metadata":{"name":"good"},"spec":{"ports":[{"port":80}]}}"#;
    const BAD: &str = r#"{"metadata":{"name":"bad","uid":"7"},"spec":{"ports":"eighty"}}"#;

    #[test]
    fn a_list_keeps_its_good_objects_and_names_the_bad_one() {
        let text = format!(r#"{{"kind":"ServiceList","apiVersion":"v1","metadata":{{}},"items":[{GOOD},{BAD}]}}"#);
        let list: ObjectList<Guarded<Service>> = serde_json::from_str(&text).unwrap();
        assert!(matches!(&list.items[0], Guarded::Good(service) if service.spec.is_some()));
        let Guarded::Malformed { metadata, error } = &list.items[1] else { panic!("{:?}", list.items) };
        assert_eq!(metadata.name.as_deref(), Some("bad"));
        assert!(error.contains("eighty"), "{error}");
    }

    #[test]
    fn so_does_a_watch() {
        let text = format!(r#"{{"type":"MODIFIED","object":{BAD}}}"#);
        let event: WatchEvent<Guarded<Service>> = serde_json::from_str(&text).unwrap();
        assert!(matches!(event, WatchEvent::Modified(Guarded::Malformed { .. })));
    }

    #[test]
    fn metadata_watches_stay_metadata_watches() {
        assert!(Guarded::<PartialObjectMeta<Service>>::metadata_api());
        assert!(!Guarded::<Service>::metadata_api());
    }
}
