//! Whose log it is: one cluster's.
//!
//! Two clusters with one place and one key would write one log, and each would vouch for what the other decided. So the first operator
//! that has something to record says in a file, which is created once, which cluster it is of, and one of another cluster
//! appends nothing. A cluster that was built anew from a backup is another one to Kubernetes: a person deletes the file, and
//! the log goes on. Two places with one key are not found out here: their logs begin with other entries, which who keeps a
//! checkpoint of the one sees in the other (`werkbank audit verify --since`).

use super::super::store::{Fault, NotCreated};
use super::Log;

/// Where it says which cluster's it is.
const CLUSTER: &str = "cluster";
/// Characters of somebody else's file that are shown.
const SHOWN: usize = 64;

impl Log {
    /// Refuses if it is another cluster's. A process that was not told which its own is takes it as it is.
    pub(super) async fn is_of_this_cluster(&self) -> Result<(), Fault> {
        let Some(own) = self.cluster.get().filter(|_| self.claimed.get().is_none()) else { return Ok(()) };
        match self.store.create(CLUSTER, own.clone().into_bytes()).await {
            Ok(()) => {}
            Err(NotCreated::Unclear(why)) => return Err(why),
            Err(NotCreated::Taken) => self.names(own).await?,
        }
        // Whoever else has just found it so, too.
        self.claimed.get_or_init(|| ());
        Ok(())
    }

    /// Whether the file names this cluster.
    async fn names(&self, own: &str) -> Result<(), Fault> {
        let place = self.store.what();
        let Some((holder, _)) = self.store.read(CLUSTER).await? else {
            return Err(Fault::Silent(format!("the file `{CLUSTER}` in {place} was there a moment ago, and is not")));
        };
        if holder == own.as_bytes() {
            return Ok(());
        }
        let holder: String =
            String::from_utf8_lossy(&holder).chars().filter(|it| !it.is_control()).take(SHOWN).collect();
        Err(Fault::Wrong(format!(
            "the log in {place} is of cluster {holder}, and this is cluster {own}: give each a place and a key of its own; if this one has \
             taken the place of that one, delete the file `{CLUSTER}` there"
        )))
    }
}
