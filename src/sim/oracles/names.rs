//! Nobody is named but where people name themselves: in what they ask for, in entries and in Approvals.
//!
//! Everybody in a run is called `…@example.com`, so that is looked for in all that the operator writes.

use serde_json::Value;

use super::Oracles;
use crate::sim::scenario::EVERYBODY;

/// Characters that are shown before a name.
const SHOWN: usize = 60;

impl Oracles {
    /// An object that the operator has written: of what people write, too, its status.
    pub(super) fn writes_no_name(&mut self, path: &str, object: &Value) {
        let is_of_people = path.contains("/apis/werkbank.dev/");
        self.tells_no_name(path, &if is_of_people { &object["status"] } else { object }.to_string());
    }

    /// Anything else that it tells.
    pub(in crate::sim) fn tells_no_name(&mut self, what: &str, text: &str) {
        let Some(at) = text.find(EVERYBODY) else { return };
        let before: Vec<char> = text[..at].chars().collect();
        let before: String = before[before.len().saturating_sub(SHOWN)..].iter().collect();
        self.broken(format!("{what} names somebody: {before}{EVERYBODY}"));
    }
}
