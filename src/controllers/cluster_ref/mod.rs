//! RedisClusterRef: keeps the status of a reference, and the ConfigMap applications mount, what the cloud says.

pub mod config_map;
mod input;
mod map_plan;
pub mod map_writes;
mod ownership;
pub mod plan;
pub mod target;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::config_map::Write;
use self::map_writes::Written;
use self::plan::{ConfigMapState, Input, MapProblem, Plan, View, plan};
use super::context::Context;
use super::parameter_sync::membership::Link;
use super::parameter_sync::targets;
use crate::api::conditions::{READY, is_true};
use crate::api::shared::generation;
use crate::api::{RedisClusterRef, RedisClusterRefStatus, reconcile_requested_at};
use crate::inventory::{Subscriber, SubscriberKind};
use crate::runtime::events;
use crate::runtime::requeue;
use crate::runtime::runner::{Outcome, Reconcile, ReconcileError};
use crate::runtime::status::apply_status;
use crate::runtime::store::Store;
use crate::runtime::stored::Watched;
use crate::runtime::workers::Worker;

impl Watched for RedisClusterRef {
    const PACKED: bool = true;

    fn is_awaited(&self) -> bool {
        let status = self.status.as_ref();
        self.metadata.deletion_timestamp.is_some()
            || status.and_then(|status| status.observed_generation) != Some(generation(self))
            || requested_read(self).is_some()
    }
}

impl Reconcile for RedisClusterRef {
    const KIND: &'static str = "RedisClusterRef";

    fn objects(ctx: &Context) -> &Store<Self> {
        &ctx.cluster_refs
    }

    async fn reconcile(self: Arc<Self>, ctx: Arc<Context>, _worker: Worker) -> Result<Outcome, ReconcileError> {
        let who = subscriber(&self);
        if self.metadata.deletion_timestamp.is_some() {
            ctx.inventory.forget(&who);
            return Ok(Outcome::settled(requeue::WHEN_CHANGED));
        }
        let view = match observe(&ctx, &self, &who).await {
            Looked::AtNothingYet { look_again } => return Ok(Outcome::settled(look_again)),
            Looked::At(view) => view,
        };
        let previous = self.status.clone().unwrap_or_default();
        let mut input = Input {
            spec: &self.spec,
            generation: generation(&*self),
            requested_at: reconcile_requested_at(&*self),
            previous: &previous,
            view,
            config_map: ConfigMapState::NotWanted,
            renamed_remains: false,
            heartbeat: ctx.settings.status_heartbeat,
            phase: requeue::phase(self.metadata.uid.as_deref().unwrap_or_default(), ctx.settings.status_heartbeat),
            now: Timestamp::now(),
        };
        let mut planned = with_config_map(&ctx, &self, &mut input).await;
        if !config_map::remove_renamed(&ctx, &self, &previous).await {
            input.renamed_remains = true;
            planned = plan(&input);
        }
        let Plan { status, requeue_after, .. } = planned;
        if status != previous
            && !is_asked_for(&self, &previous)
            && let Err(wait) = ctx.pace.write(&who.namespace, &who.name)
        {
            return Ok(Outcome::settled(wait));
        }
        let requeue_after = requeue::jittered(requeue_after);
        report(&ctx, &self, &previous, &status).await?;
        Ok(if status == previous { Outcome::settled(requeue_after) } else { Outcome::applied(requeue_after) })
    }

    fn changed(ctx: &Context, namespace: &str, name: &str) {
        targets::reference_changed(ctx, namespace, name);
        let waits = |request: &crate::api::RedisFlushRequest| {
            request.spec.cluster_ref.name == name
                && !request.status.as_ref().and_then(|status| status.phase).is_some_and(|phase| phase.is_terminal())
        };
        for request in ctx.flush_requests.filter_in(namespace, waits) {
            ctx.wakers.flush_requests.wake(namespace, request.metadata.name.as_deref().unwrap_or_default());
        }
    }

    fn forget(ctx: &Context, namespace: &str, name: &str) {
        ctx.metrics.forget_cluster(namespace, name);
        ctx.membership.unlink(namespace, name);
        ctx.map_writes.forget(namespace, name);
        ctx.inventory.forget(&Subscriber {
            kind: SubscriberKind::ClusterRef,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
    }
}

/// The reference as a subscriber of the inventory.
fn subscriber(reference: &RedisClusterRef) -> Subscriber {
    Subscriber {
        kind: SubscriberKind::ClusterRef,
        namespace: reference.metadata.namespace.clone().unwrap_or_default(),
        name: reference.metadata.name.clone().unwrap_or_default(),
    }
}

/// Whether somebody changed the object since the last status: then it is written at once.
fn is_asked_for(reference: &RedisClusterRef, previous: &RedisClusterRefStatus) -> bool {
    previous.observed_generation != Some(generation(reference))
        || reconcile_requested_at(reference) != previous.last_handled_reconcile_at
}

/// The read that the annotation asks for, while it has not been made.
fn requested_read(reference: &RedisClusterRef) -> Option<String> {
    let handled = reference.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
    reconcile_requested_at(reference).filter(|token| handled != Some(token))
}

/// How long a reference that is new waits for the first read before its status says that it does: a read takes much less, and
/// then one write is enough.
const PATIENCE: Duration = Duration::from_secs(3);

enum Looked {
    At(View),
    /// Nothing has been read yet, so there is nothing to say; the inventory wakes the reference.
    AtNothingYet {
        look_again: Duration,
    },
}

/// Dereferences the Secret and asks the inventory.
async fn observe(ctx: &Context, reference: &RedisClusterRef, who: &Subscriber) -> Looked {
    if reference.spec.suspend {
        ctx.inventory.forget(who);
        ctx.membership.unlink(&who.namespace, &who.name);
        return Looked::At(View::Suspended);
    }
    let force = requested_read(reference);
    let interval = Duration::from(reference.spec.poll_interval);
    match target::observe(ctx, reference, who, interval, force.as_deref()).await {
        Ok(seen) => {
            let asked_for = seen.connection.asked_for(who, &seen.want).unwrap_or_default();
            ctx.inventory.keep(who, &[(&seen.connection, seen.want)]);
            let link = Link::Connected(Arc::clone(&seen.connection));
            targets::reference_seen(ctx, who, link, Some(&seen.observation));
            let patience = if target::stands(reference) { requeue::WHEN_CHANGED } else { PATIENCE };
            if seen.observation.is_blank() && asked_for < patience {
                return Looked::AtNothingYet { look_again: patience - asked_for };
            }
            Looked::At(View::Seen(seen.observation))
        }
        Err(problem) => {
            ctx.inventory.forget(who);
            targets::reference_seen(ctx, who, Link::Blocked(Arc::new(problem.clone())), None);
            Looked::At(View::Blocked(problem))
        }
    }
}

/// Plans, and brings the ConfigMap about. That it cannot be had is no reason to keep the rest from the status.
async fn with_config_map(ctx: &Context, reference: &RedisClusterRef, input: &mut Input<'_>) -> Plan {
    let who = subscriber(reference);
    let is_asked_for = is_asked_for(reference, input.previous);
    // Somebody may create, change or delete it between the look and the write; then it is looked at once more.
    for _ in 0..2 {
        let looked = config_map::observe(ctx, reference).await;
        input.config_map = looked.state.clone();
        let planned = plan(input);
        let (Some(write), Some(wanted)) = (&planned.config_map, &reference.spec.connection_config_map) else {
            return planned;
        };
        let write = Write::new(config_map::api(ctx, reference), reference, &wanted.name, &looked, write);
        let (waker, namespace, name) = (ctx.wakers.cluster_refs.clone(), who.namespace.clone(), who.name.clone());
        let later = move || waker.wake(&namespace, &name);
        match ctx.map_writes.write((&who.namespace, &who.name), is_asked_for, write, later).await {
            Written::Done => return planned,
            Written::Lost => {}
            Written::Failed(problem) => {
                input.config_map = ConfigMapState::Failed(problem);
                return plan(input);
            }
        }
    }
    input.config_map = ConfigMapState::Failed(MapProblem::contended());
    plan(input)
}

async fn report(
    ctx: &Context,
    reference: &RedisClusterRef,
    previous: &RedisClusterRefStatus,
    status: &RedisClusterRefStatus,
) -> Result<(), ReconcileError> {
    let who = subscriber(reference);
    ctx.metrics.cluster_ready(&who.namespace, &who.name, is_true(&status.conditions, READY));
    if status == previous {
        return Ok(());
    }
    apply_status(ctx, reference, status).await?;
    if let Some(note) = events::ready_changed(&previous.conditions, &status.conditions) {
        ctx.announcer.announce(reference, note);
    }
    Ok(())
}
