//! What is done beside the controllers: readiness when all objects are known, then sweeps, Secrets and missing namespaces.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::namespaces;
use super::readiness::Readiness;
use crate::controllers::context::Context;
use crate::controllers::kind::Kinds;
use crate::controllers::secrets::SecretKey;
use crate::runtime::watches::Watches;

/// How often the kinds and the inventory are swept: expired flush claims, subscriptions of objects whose deletion nobody saw.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What the chores are about.
pub(super) struct Chores {
    /// What the controllers share.
    pub ctx: Arc<Context>,
    /// All kinds.
    pub kinds: Arc<Kinds>,
    /// All watches of the process.
    pub watches: Arc<Watches>,
    /// What /readyz tells.
    pub readiness: Arc<Readiness>,
    /// The namespaces that are watched; empty means all of them.
    pub namespaces: Vec<String>,
}

impl Chores {
    /// Does them all. It never ends.
    pub(super) async fn run(self) {
        let work = async {
            for kind in self.kinds.iter() {
                kind.known().await;
                self.readiness.kind_is_known(kind.name());
            }
            info!("watching; all objects are known");
            self.kinds.iter().for_each(|kind| kind.all_known());
            let secrets = self.ctx.secrets.watch_over(|secret| self.secret_changed(secret));
            let is_empty = |namespace: &str| self.kinds.iter().all(|kind| kind.is_empty_in(namespace));
            let namespaces = namespaces::watch_over(&self.ctx.client, &self.namespaces, is_empty);
            tokio::join!(secrets, self.sweep(), namespaces);
        };
        tokio::join!(work, self.watches.speak());
    }

    /// Triggers the objects of each kind that use the credential of a Secret.
    fn secret_changed(&self, secret: &SecretKey) {
        info!(namespace = %secret.namespace, secret = %secret.name, "the credential in the Secret changed");
        self.kinds.iter().for_each(|kind| kind.secret_changed(secret));
    }

    async fn sweep(&self) {
        let mut every = tokio::time::interval(SWEEP_EVERY);
        loop {
            every.tick().await;
            self.ctx.inventory.prune(|subscriber| self.kinds.iter().any(|kind| kind.exists(subscriber)));
            for kind in self.kinds.iter() {
                kind.sweep().await;
            }
        }
    }
}
