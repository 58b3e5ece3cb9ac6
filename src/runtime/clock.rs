//! What time it is, for decisions and for the record.
//!
//! Waits count on tokio's clock, which nobody sets back. This one is the wall's, and comes in as a value, so
//! that a simulated process can be told another time than its machine's.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

type Tell = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The machine's clock, unless it was given another one.
#[derive(Clone, Default)]
pub struct Clock(Option<Tell>);

impl Clock {
    /// A clock that tells what it is told.
    #[cfg(test)]
    pub(crate) fn of(tell: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.0.as_ref().map_or_else(Utc::now, |tell| tell())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Clock")
    }
}
