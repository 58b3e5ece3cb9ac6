//! Whose log it is: one cluster's.
//!
//! Two clusters with one place and one key would write one log, and each would vouch for what the other decided. So a file, which is
//! created once, says which cluster it is of. The first operator with something to record writes it, when it has read the log and could go
//! on with it; one of another cluster appends, publishes and keeps nothing there. The file is read again now and then, so
//! that a person can give the log away by deleting it: a cluster that was built anew from a backup is another one to Kubernetes.
//!
//! Two places with one key are not found out here: their logs begin with other entries, which who keeps a checkpoint of the one sees in
//! the other (`werkbank audit verify --since`).

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::store::{Fault, NotCreated, Store};

/// Where it says which cluster's it is.
const CLUSTER: &str = "cluster";
/// How long what it says is believed.
const BELIEVED: Duration = Duration::from_secs(30);
/// Characters of somebody else's file that are shown.
const SHOWN: usize = 64;

/// Which cluster this process is of, and whether the log is that one's.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    /// Once it is known.
    own: OnceLock<String>,
    found: Mutex<Found>,
}

/// What the file said, and when.
type Found = Option<(Instant, Result<(), Fault>)>;

impl Store {
    /// This process is of this cluster.
    pub(super) fn is_used_by(&self, cluster: &str) {
        self.cluster().own.get_or_init(|| cluster.to_owned());
    }

    /// Refuses if it is another cluster's. A process that was not told which its own is takes the log as it is.
    pub(super) async fn is_not_anothers(&self) -> Result<(), Fault> {
        self.look(false).await
    }

    /// Refuses if it is another cluster's; if it is nobody's, it is this one's from now on.
    pub(super) async fn is_this_clusters(&self) -> Result<(), Fault> {
        self.look(true).await
    }

    async fn look(&self, takes_nobodys: bool) -> Result<(), Fault> {
        let Some(own) = self.cluster().own.get() else { return Ok(()) };
        let known = self.found().clone().filter(|(at, _)| at.elapsed() < BELIEVED);
        if let Some((_, whose)) = known {
            return whose;
        }
        let found = match self.holder().await? {
            Some(holder) => holder,
            None if takes_nobodys => self.claim(own).await?,
            None => return Ok(()),
        };
        let whose = if found == *own { Ok(()) } else { Err(self.is_of_another(&found, own)) };
        *self.found() = Some((Instant::now(), whose.clone()));
        whose
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.cluster().found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster that has the log, if one has.
    async fn holder(&self) -> Result<Option<String>, Fault> {
        let read = self.read(CLUSTER).await?;
        Ok(read.map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Whose it is then: perhaps somebody else's, who was faster.
    async fn claim(&self, own: &str) -> Result<String, Fault> {
        match self.create(CLUSTER, own.as_bytes().to_vec()).await {
            Ok(()) => Ok(own.to_owned()),
            Err(NotCreated::Unclear(why)) => Err(why),
            Err(NotCreated::Taken) => {
                let gone = || Fault::Silent(format!("the file `{CLUSTER}` in {} comes and goes", self.what()));
                self.holder().await?.ok_or_else(gone)
            }
        }
    }

    fn is_of_another(&self, holder: &str, own: &str) -> Fault {
        let holder: String = holder.chars().take(SHOWN).flat_map(char::escape_debug).collect();
        Fault::Wrong(format!(
            "the log in {} is of cluster '{holder}', and this is cluster '{own}': give each a place and a key of its own; if this one \
             has taken the place of that one, delete the file `{CLUSTER}` there",
            self.what()
        ))
    }
}
