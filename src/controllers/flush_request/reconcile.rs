//! The reconcile: observe, plan, act, report, requeue. Plan and act alternate: the plan names one effect, the executor does it,
//! the session takes in what came of it, until there is nothing to do.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::Api;
use tracing::{error, warn};

use super::context::FlushContext;
use super::effect::{Effect, EffectReport};
use super::executor::Executor;
use super::facts::PlanTime;
use super::plan::plan;
use super::request::{FINALIZER, StoredRequest};
use super::session::Session;
use super::sweep::expired_claims;
use crate::api::RedisFlushRequest;
use crate::api::flush_request::FlushPhase;
use crate::controllers::cluster_ref::follower::Follower;
use crate::controllers::kind::Kind;
use crate::object_key::ObjectKey;
use crate::runtime::reconcile::{Outcome, Reconcile, ReconcileError};
use crate::runtime::requeue;
use crate::runtime::stored::Watched;
use crate::runtime::workers::Worker;

/// More effects than any request needs in one reconcile. To reach it is a bug.
const MAX_EFFECTS: usize = 200;

/// Between two tries to write down the answer to a flush.
const BETWEEN_WRITES: Duration = Duration::from_millis(500);

impl Watched for RedisFlushRequest {
    const FINALIZERS: bool = true;
}

impl Reconcile for RedisFlushRequest {
    const KIND: &'static str = "RedisFlushRequest";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);
    type Context = FlushContext;

    async fn reconcile(self: Arc<Self>, ctx: Arc<FlushContext>, worker: Worker) -> Result<Outcome, ReconcileError> {
        let key = ObjectKey::of(&self.metadata);
        let mut place = QueuePlace { ctx: &ctx, key: &key, is_kept: false };
        let Some(mut run) = FlushRun::observe(&ctx, &key, worker).await? else {
            ctx.targets.give_back(&key);
            return Ok(Outcome::settled(requeue::WHEN_CHANGED));
        };
        let requeue_after = run.plan_and_act().await;
        place.is_kept = run.executor.queued;
        run.report(requeue_after.as_ref().err());
        if !run.is_flushing() {
            ctx.targets.give_back(&key);
        }
        requeue_after.map(|after| run.requeue(after))
    }

    fn forget(ctx: &FlushContext, key: &ObjectKey) {
        ctx.targets.give_back(key);
        ctx.slots.leave(key);
    }
}

impl Kind for RedisFlushRequest {
    async fn sweep(ctx: &FlushContext) {
        if let Err(error) = expired_claims(ctx).await {
            warn!(%error, "the flush claims could not be swept; retrying in a minute");
        }
    }
}

impl Follower for FlushContext {
    fn reference_changed(&self, key: &ObjectKey) {
        let waits = |request: &RedisFlushRequest| {
            request.spec.cluster_ref.name == key.name()
                && !request.status.as_ref().and_then(|status| status.phase).is_some_and(|phase| phase.is_terminal())
        };
        for request in self.requests.filter_in(key.namespace(), waits) {
            self.trigger.trigger_requested(ObjectKey::of(&request.metadata));
        }
    }
}

/// The place of a request among those that wait for a slot. However its reconcile ends, the place is given up unless the request
/// still waits.
struct QueuePlace<'a> {
    ctx: &'a FlushContext,
    key: &'a ObjectKey,
    is_kept: bool,
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.ctx.slots.leave(self.key);
        }
    }
}

/// One reconcile of one request.
struct FlushRun {
    executor: Executor,
    session: Session,
    wrote: bool,
}

impl FlushRun {
    /// Reads the request from the API server: the store only says that there is something to look at. None if it is gone.
    async fn observe(ctx: &Arc<FlushContext>, key: &ObjectKey, worker: Worker) -> Result<Option<Self>, ReconcileError> {
        let api: Api<RedisFlushRequest> = Api::namespaced(ctx.client.clone(), key.namespace());
        let Some(current) = api.get_opt(key.name()).await? else { return Ok(None) };
        let Some(request) = StoredRequest::of(&current) else { return Ok(None) };
        let session = Session::new(request, attempt_id(), ctx.settings.identity.clone());
        let executor = Executor::new(Arc::clone(ctx), current, worker);
        Ok(Some(Self { executor, session, wrote: false }))
    }

    /// Does one effect after the other, as the plan names them. Says when to look again.
    async fn plan_and_act(&mut self) -> Result<Duration, ReconcileError> {
        for _ in 0..MAX_EFFECTS {
            let since_attempt_began = self.executor.attempt_began.map(|began| began.elapsed()).unwrap_or_default();
            match plan(&self.session, PlanTime { now: Timestamp::now(), since_attempt_began }) {
                Effect::Wait(wait) => return Ok(wait),
                Effect::Done => return Ok(requeue::WHEN_CHANGED),
                effect => self.act(&effect).await?,
            }
        }
        error!("a flush request has too many effects in one reconcile; this is a bug of the operator");
        Ok(requeue::after_failures(u32::MAX))
    }

    async fn act(&mut self, effect: &Effect) -> Result<(), ReconcileError> {
        self.wrote |= writes_request(effect);
        self.session.begin(effect);
        // Once the attempt may be begun, it cannot be told from outside whether a flush is under way.
        self.executor.set_flushing(self.is_flushing() || matches!(effect, Effect::BeginAttempt(_)));
        let report = match self.executor.carry_out(&self.session, effect).await {
            Err(error) if !self.session.holds_answer() => return Err(error),
            Err(error) => {
                warn!(%error, "the answer to the flush is not recorded yet; retrying");
                EffectReport::ObjectUncertain
            }
            Ok(report) => report,
        };
        // An API server that is away for a moment must not turn an answer into Unknown.
        if report == EffectReport::ObjectUncertain && self.session.holds_answer() {
            tokio::time::sleep(BETWEEN_WRITES).await;
        }
        self.session.absorb(report);
        self.executor.set_flushing(self.is_flushing());
        if self.session.object.phase() != FlushPhase::Sending {
            self.executor.publish_notes();
        }
        Ok(())
    }

    /// Publishes the events that are left, and why the reconcile failed if no status can say it.
    fn report(&mut self, error: Option<&ReconcileError>) {
        if let Some(ReconcileError::Refused(sentence)) = error {
            self.executor.announce_refusal(sentence);
        }
        self.executor.publish_notes();
    }

    fn requeue(&self, after: Duration) -> Outcome {
        if self.wrote { Outcome::applied(after) } else { Outcome::settled(after) }
    }

    /// Whether a flush of this request is under way, as far as this reconcile knows.
    fn is_flushing(&self) -> bool {
        !self.session.gone && matches!(self.session.object.phase(), FlushPhase::Sending | FlushPhase::Accepted)
    }
}

/// Whether an effect writes the request, for the outcome in the metrics.
fn writes_request(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::BeginAttempt(_) | Effect::WriteStatus(_) | Effect::AddFinalizer | Effect::RemoveFinalizer(_)
    )
}

/// 128 random bits: no two attempts ever share an ID.
fn attempt_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
