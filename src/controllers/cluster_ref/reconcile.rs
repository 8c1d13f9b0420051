//! The reconcile of a reference: observe, plan, act, report, requeue.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::config_map::object::{self, ObservedConfigMap, Write};
use super::config_map::state::{ConfigMapProblem, ConfigMapState};
use super::config_map::writes::WriteOutcome;
use super::context::ReferenceContext;
use super::follower::ReferenceConnection;
use super::input::{CloudObservation, Input};
use super::plan::{Plan, plan};
use super::status::ready_changed;
use crate::api::conditions::{READY, is_true};
use crate::api::shared::generation;
use crate::api::{RedisClusterRef, RedisClusterRefStatus, reconcile_requested_at};
use crate::controllers::kind::Kind;
use crate::controllers::secrets::SecretKey;
use crate::controllers::subscription;
use crate::inventory::{Observation, Subscriber, SubscriberKind};
use crate::object_key::ObjectKey;
use crate::runtime::reconcile::{Outcome, Reconcile, ReconcileError};
use crate::runtime::requeue;
use crate::runtime::stored::Watched;
use crate::runtime::workers::Worker;

/// How long a new reference waits for the first read before its status says so. A read takes much less, and then one write
/// is enough.
const FIRST_READ_PATIENCE: Duration = Duration::from_secs(3);

impl Watched for RedisClusterRef {
    const PACKED: bool = true;

    fn is_awaited(&self) -> bool {
        let status = self.status.as_ref();
        self.metadata.deletion_timestamp.is_some()
            || status.and_then(|status| status.observed_generation) != Some(generation(self))
            || refresh_requested(self).is_some()
    }
}

/// The value of the annotation by which a person asks for a fresh read, until that read was made.
fn refresh_requested(reference: &RedisClusterRef) -> Option<String> {
    let handled = reference.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
    reconcile_requested_at(reference).filter(|token| handled != Some(token))
}

impl Reconcile for RedisClusterRef {
    const KIND: &'static str = "RedisClusterRef";
    type Context = ReferenceContext;

    async fn reconcile(
        self: Arc<Self>,
        ctx: Arc<ReferenceContext>,
        _worker: Worker,
    ) -> Result<Outcome, ReconcileError> {
        let previous = previous_status(&ctx, &self).await?;
        let reconciliation = Reconciliation::new(&ctx, &self, &previous);
        let mut observed = match reconciliation.observe().await {
            Ok(observed) => observed,
            Err(NothingYet { look_again }) => return Ok(Outcome::settled(look_again)),
        };
        let planned = plan(&observed.input);
        let planned = reconciliation.act(&mut observed, planned).await;
        let reported = reconciliation.report(&planned.status).await?;
        Ok(requeue(&reported, planned.requeue_after))
    }

    fn changed(ctx: &ReferenceContext, key: &ObjectKey) {
        ctx.followers.iter().for_each(|follower| follower.reference_changed(key));
    }

    fn forget(ctx: &ReferenceContext, key: &ObjectKey) {
        ctx.metrics.forget_cluster(key.namespace(), key.name());
        ctx.followers.iter().for_each(|follower| follower.reference_disconnected(key));
        ctx.config_map_writes.forget(key);
        ctx.inventory.forget(&subscriber(key));
    }
}

impl Kind for RedisClusterRef {
    const SUBSCRIBER: Option<SubscriberKind> = Some(SubscriberKind::ClusterRef);

    fn secret_changed(ctx: &ReferenceContext, secret: &SecretKey) {
        let uses = |reference: &RedisClusterRef| subscription::uses(reference, secret);
        for reference in ctx.cluster_refs.filter_in(&secret.namespace, uses) {
            ctx.trigger.trigger_requested(ObjectKey::of(&reference.metadata));
        }
    }
}

/// A reference as a subscriber of the inventory.
fn subscriber(key: &ObjectKey) -> Subscriber {
    Subscriber { kind: SubscriberKind::ClusterRef, key: key.clone() }
}

/// The status as it is stored. The store may not have seen the last write yet, and by the name of a ConfigMap in it that ConfigMap
/// is deleted one day: where the spec has another name, the name is read fresh.
async fn previous_status(
    ctx: &ReferenceContext,
    reference: &RedisClusterRef,
) -> Result<RedisClusterRefStatus, kube::Error> {
    let mut previous = reference.status.clone().unwrap_or_default();
    let wanted = reference.spec.connection_config_map.as_ref().map(|wanted| &wanted.name);
    if ctx.settings.connection_config_maps && previous.connection_config_map.as_ref() != wanted {
        let key = ObjectKey::of(&reference.metadata);
        let references: Api<RedisClusterRef> = Api::namespaced(ctx.client.clone(), key.namespace());
        let latest = references.get_opt(key.name()).await?;
        if let Some(latest) = latest.filter(|latest| latest.metadata.uid == reference.metadata.uid) {
            previous.connection_config_map = latest.status.and_then(|status| status.connection_config_map);
        }
    }
    Ok(previous)
}

/// One reconcile of one reference.
struct Reconciliation<'a> {
    ctx: &'a ReferenceContext,
    reference: &'a RedisClusterRef,
    /// The status as it is stored.
    previous: &'a RedisClusterRefStatus,
    key: ObjectKey,
    /// The reference as a subscriber of the inventory.
    subscriber: Subscriber,
    /// ConfigMaps of the reference's namespace.
    config_maps: Api<ConfigMap>,
}

/// What was observed.
struct Observations<'a> {
    input: Input<'a>,
    config_map: ObservedConfigMap,
}

/// Nothing is known yet, so there is nothing to report. The inventory triggers the reference when there is.
struct NothingYet {
    look_again: Duration,
}

/// What became of the status.
enum Reported {
    /// It is as it was.
    Unchanged,
    /// It was written.
    Written,
    /// It was written too often; it is due after this time.
    Postponed(Duration),
}

impl<'a> Reconciliation<'a> {
    fn new(ctx: &'a ReferenceContext, reference: &'a RedisClusterRef, previous: &'a RedisClusterRefStatus) -> Self {
        let key = ObjectKey::of(&reference.metadata);
        let config_maps = Api::namespaced(ctx.client.clone(), key.namespace());
        Self { subscriber: subscriber(&key), ctx, reference, previous, key, config_maps }
    }

    async fn observe(&self) -> Result<Observations<'a>, NothingYet> {
        let cloud = self.observe_cloud().await?;
        let config_map = self.observe_config_map().await;
        let heartbeat = self.ctx.settings.status_heartbeat;
        let input = Input {
            spec: &self.reference.spec,
            generation: generation(self.reference),
            requested_at: reconcile_requested_at(self.reference),
            previous: self.previous,
            cloud,
            config_map: config_map.state.clone(),
            obsolete_remains: false,
            heartbeat,
            phase: requeue::phase(self.reference.metadata.uid.as_deref().unwrap_or_default(), heartbeat),
            now: Timestamp::now(),
        };
        Ok(Observations { input, config_map })
    }

    /// Dereferences the Secret and asks the inventory.
    async fn observe_cloud(&self) -> Result<CloudObservation, NothingYet> {
        let Self { ctx, reference, subscriber, .. } = self;
        if reference.metadata.deletion_timestamp.is_some() {
            ctx.inventory.forget(subscriber);
            return Err(NothingYet { look_again: requeue::WHEN_CHANGED });
        }
        if reference.spec.suspend {
            ctx.inventory.forget(subscriber);
            ctx.followers.iter().for_each(|follower| follower.reference_disconnected(&self.key));
            return Ok(CloudObservation::Suspended);
        }
        let refresh_requested = refresh_requested(reference);
        let interval = Duration::from(reference.spec.poll_interval);
        match subscription::observe(ctx, reference, subscriber, interval, refresh_requested.as_deref()).await {
            Ok(subscribed) => {
                let waited = subscribed.connection.subscribed_for(subscriber, &subscribed.query).unwrap_or_default();
                ctx.inventory.retain(subscriber, &[(&subscribed.connection, subscribed.query)]);
                let connection = ReferenceConnection::Connected(Arc::clone(&subscribed.connection));
                self.tell_followers(&connection, Some(&subscribed.observation));
                let patience = if subscription::status_is_current(reference) {
                    requeue::WHEN_CHANGED
                } else {
                    FIRST_READ_PATIENCE
                };
                if subscribed.observation.is_blank() && waited < patience {
                    return Err(NothingYet { look_again: patience - waited });
                }
                Ok(CloudObservation::Read(subscribed.observation))
            }
            Err(problem) => {
                ctx.inventory.forget(subscriber);
                self.tell_followers(&ReferenceConnection::Blocked(Arc::new(problem.clone())), None);
                Ok(CloudObservation::Blocked(problem))
            }
        }
    }

    /// Tells the kinds that follow references how this one is connected.
    fn tell_followers(&self, connection: &ReferenceConnection, observation: Option<&Observation>) {
        for follower in &self.ctx.followers {
            follower.reference_observed(&self.key, connection, observation);
        }
    }

    async fn observe_config_map(&self) -> ObservedConfigMap {
        if !self.ctx.settings.connection_config_maps {
            return ObservedConfigMap::only(ConfigMapState::Disabled);
        }
        match &self.reference.spec.connection_config_map {
            None => ObservedConfigMap::only(ConfigMapState::NotWanted),
            Some(wanted) => object::observe(&self.config_maps, self.reference, &wanted.name).await,
        }
    }

    /// Writes the ConfigMap, and deletes the one that an earlier spec named. If either fails, plans again with that as a fact:
    /// it does not keep the rest from the status.
    async fn act(&self, observed: &mut Observations<'_>, planned: Plan) -> Plan {
        let planned = self.write_config_map(observed, planned).await;
        let Some(obsolete) = &planned.obsolete_config_map else { return planned };
        if object::remove(&self.config_maps, self.reference, obsolete).await {
            return planned;
        }
        observed.input.obsolete_remains = true;
        plan(&observed.input)
    }

    async fn write_config_map(&self, observed: &mut Observations<'_>, mut planned: Plan) -> Plan {
        // Somebody may create, change or delete it between the read and the write; then it is read once more.
        for is_last in [false, true] {
            let Some(write) = self.prepared(observed, &planned) else { return planned };
            let (trigger, key) = (self.ctx.trigger.clone(), self.key.clone());
            let later = move || trigger.trigger(key);
            let key = self.key.clone();
            observed.input.config_map =
                match self.ctx.config_map_writes.write(key, self.reference.is_awaited(), write, later).await {
                    WriteOutcome::Done => return planned,
                    WriteOutcome::Lost if is_last => ConfigMapState::Failed(ConfigMapProblem::contended()),
                    WriteOutcome::Lost => {
                        observed.config_map = self.observe_config_map().await;
                        observed.config_map.state.clone()
                    }
                    WriteOutcome::Failed(problem) => ConfigMapState::Failed(problem),
                };
            planned = plan(&observed.input);
        }
        planned
    }

    fn prepared(&self, observed: &Observations<'_>, planned: &Plan) -> Option<Write> {
        let wanted = self.reference.spec.connection_config_map.as_ref()?;
        let write = planned.config_map.as_ref()?;
        Some(Write::new(self.config_maps.clone(), self.reference, &wanted.name, &observed.config_map, write))
    }

    async fn report(&self, status: &RedisClusterRefStatus) -> Result<Reported, ReconcileError> {
        let is_unchanged = status == self.previous;
        if !is_unchanged
            && !self.reference.is_awaited()
            && let Err(wait) = self.ctx.write_limit.write(&self.key)
        {
            return Ok(Reported::Postponed(wait));
        }
        self.ctx.metrics.cluster_ready(self.key.namespace(), self.key.name(), is_true(&status.conditions, READY));
        if is_unchanged {
            return Ok(Reported::Unchanged);
        }
        self.ctx.statuses.apply::<RedisClusterRef>(&self.reference.metadata, None, status).await?;
        if let Some(note) = ready_changed(&self.previous.conditions, &status.conditions) {
            self.ctx.events.publish(self.reference, note);
        }
        Ok(Reported::Written)
    }
}

fn requeue(reported: &Reported, after: Duration) -> Outcome {
    match reported {
        Reported::Unchanged => Outcome::settled(requeue::jittered(after)),
        Reported::Written => Outcome::applied(requeue::jittered(after)),
        Reported::Postponed(wait) => Outcome::settled(*wait),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_person_waits_for_a_new_spec_and_for_a_refresh_until_it_was_made() {
        let reference = |generation: i64, requested: Option<&str>, handled: Option<&str>| -> RedisClusterRef {
            serde_json::from_value(json!({
                "metadata": {
                    "name": "carts",
                    "generation": generation,
                    "annotations": requested.map(|token| json!({ "managedredis.dev/reconcile-requested-at": token })),
                },
                "spec": {},
                "status": { "observedGeneration": 1, "lastHandledReconcileAt": handled },
            }))
            .unwrap()
        };
        assert!(reference(2, None, None).is_awaited());
        assert!(reference(1, Some("now"), None).is_awaited());
        assert!(reference(1, Some("now"), Some("before")).is_awaited());
        assert!(!reference(1, Some("now"), Some("now")).is_awaited());
        assert!(!reference(1, None, Some("before")).is_awaited(), "the annotation was removed");
    }
}
