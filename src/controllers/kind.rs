//! What the operator asks of every kind, whichever it is, and the registry of kinds.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::secrets::SecretKey;
use crate::inventory::{Subscriber, SubscriberKind};
use crate::runtime::machinery::Machinery;
use crate::runtime::reconcile::Reconcile;
use crate::runtime::runner::{Controller, Objects, Scope};
use crate::runtime::store::Store;

/// A kind of this operator. What the machinery asks of it is in [`Reconcile`].
pub(crate) trait Kind: Reconcile {
    /// How the inventory calls the kind's subscribers; none if the kind reads no cloud.
    const SUBSCRIBER: Option<SubscriberKind> = None;

    /// A Secret has another credential: triggers the objects that use it.
    fn secret_changed(_ctx: &Self::Context, _secret: &SecretKey) {}

    /// The objects of all kinds are known now.
    fn all_known(_ctx: &Self::Context) {}

    /// Does what has to be done every minute.
    fn sweep(_ctx: &Self::Context) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// A registered kind, without its type.
pub(crate) trait Registered: Send + Sync {
    /// Name of the kind.
    fn name(&self) -> &'static str;
    /// Resolves when all objects of the kind are known.
    fn known(&self) -> BoxFuture<'_, ()>;
    /// Whether no object of a namespace is known.
    fn is_empty_in(&self, namespace: &str) -> bool;
    /// Whether a subscriber of the inventory is an object of the kind, and exists.
    fn exists(&self, subscriber: &Subscriber) -> bool;
    /// See [`Kind::secret_changed`].
    fn secret_changed(&self, secret: &SecretKey);
    /// See [`Kind::all_known`].
    fn all_known(&self);
    /// See [`Kind::sweep`].
    fn sweep(&self) -> BoxFuture<'_, ()>;
}

struct Registration<K: Kind> {
    store: Arc<Store<K>>,
    ctx: Arc<K::Context>,
}

impl<K: Kind> Registered for Registration<K> {
    fn name(&self) -> &'static str {
        K::KIND
    }

    fn known(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.store.ready())
    }

    fn is_empty_in(&self, namespace: &str) -> bool {
        self.store.is_empty_in(namespace)
    }

    fn exists(&self, subscriber: &Subscriber) -> bool {
        K::SUBSCRIBER == Some(subscriber.kind) && self.store.contains(&subscriber.key)
    }

    fn secret_changed(&self, secret: &SecretKey) {
        K::secret_changed(&self.ctx, secret);
    }

    fn all_known(&self) {
        K::all_known(&self.ctx);
    }

    fn sweep(&self) -> BoxFuture<'_, ()> {
        Box::pin(K::sweep(&self.ctx))
    }
}

type Start = Box<dyn FnOnce(Scope, CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// Takes the kinds of an operator.
#[derive(Default)]
pub(crate) struct Registry {
    kinds: Vec<Box<dyn Registered>>,
    controllers: Vec<Start>,
}

/// The registered kinds.
pub(crate) struct Kinds(Vec<Box<dyn Registered>>);

/// The controllers of the registered kinds, before they run.
pub(crate) struct Controllers(Vec<Start>);

impl Registry {
    /// Registers a kind.
    pub(crate) fn register<K: Kind>(&mut self, machinery: &Machinery, objects: Objects<K>, ctx: Arc<K::Context>) {
        machinery.metrics.begin_kind(K::KIND);
        let store = Arc::clone(&objects.store);
        let controller = Controller::new(machinery.clone(), objects, Arc::clone(&ctx));
        self.kinds.push(Box::new(Registration::<K> { store, ctx }));
        self.controllers.push(Box::new(|scope, stop| Box::pin(controller.run(scope, stop))));
    }

    /// All that were registered.
    pub(crate) fn finish(self) -> (Arc<Kinds>, Controllers) {
        (Arc::new(Kinds(self.kinds)), Controllers(self.controllers))
    }
}

impl Kinds {
    /// The kinds, in the order in which they were registered.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Registered> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Controllers {
    /// Runs all controllers until `stop`.
    pub(crate) fn start(self, scope: &Scope, stop: &CancellationToken) -> JoinSet<()> {
        self.0.into_iter().map(|start| start(scope.clone(), stop.clone())).collect()
    }
}
