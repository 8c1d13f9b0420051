//! The loop: ask the plan for one effect, do it, tell the plan, until there is nothing to do.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::Api;
use tracing::{error, warn};

use super::FINALIZER;
use super::executor::{Executor, request_key};
use super::plan::{Effect, plan};
use super::session::{Clock, Report, Session, Snapshot};
use crate::api::RedisFlushRequest;
use crate::api::flush_request::FlushPhase;
use crate::controllers::context::Context;
use crate::runtime::requeue;
use crate::runtime::runner::{Outcome, Reconcile, ReconcileError};
use crate::runtime::store::Store;
use crate::runtime::stored::Watched;
use crate::runtime::workers::Worker;

/// More effects than any request needs in one reconcile; beyond it something goes in circles.
const MAX_EFFECTS: usize = 200;

/// Between two tries to write down the answer to a flush.
const BETWEEN_WRITES: Duration = Duration::from_millis(500);

impl Watched for RedisFlushRequest {
    const FINALIZERS: bool = true;
}

impl Reconcile for RedisFlushRequest {
    const KIND: &'static str = "RedisFlushRequest";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);

    fn objects(ctx: &Context) -> &Store<Self> {
        &ctx.flush_requests
    }

    async fn reconcile(self: Arc<Self>, ctx: Arc<Context>, worker: Worker) -> Result<Outcome, ReconcileError> {
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        let name = self.metadata.name.clone().unwrap_or_default();
        let mut in_queue = InQueue { ctx: &ctx, namespace: &namespace, name: &name, stays: false };
        let me = request_key(&namespace, &name);
        // The cache only says that there is something to look at; what is decided on is read fresh.
        let api: Api<RedisFlushRequest> = Api::namespaced(ctx.client.clone(), &namespace);
        let Some(current) = api.get_opt(&name).await? else {
            ctx.flush_targets.give_back(&me);
            return Ok(Outcome::settled(requeue::WHEN_CHANGED));
        };
        let Some(snapshot) = Snapshot::of(&current) else { return Ok(Outcome::settled(requeue::WHEN_CHANGED)) };
        let session = Session::new(snapshot, attempt_id(), ctx.settings.identity.clone());
        let mut run = Run { executor: Executor::new(Arc::clone(&ctx), current, worker), session, wrote: false };
        let result = run.drive().await;
        in_queue.stays = run.executor.queued;
        if let Err(ReconcileError::Refused(sentence)) = &result {
            run.executor.announce_refusal(sentence);
        }
        run.executor.publish_notes().await;
        if !run.is_flushing() {
            ctx.flush_targets.give_back(&me);
        }
        result
    }

    fn forget(ctx: &Context, namespace: &str, name: &str) {
        ctx.flush_targets.give_back(&request_key(namespace, name));
        ctx.flush_slots.leave(namespace, name);
    }
}

/// The place of a request among those that wait for a slot: given up, however its reconcile ends, unless it says that it waits.
struct InQueue<'a> {
    ctx: &'a Context,
    namespace: &'a str,
    name: &'a str,
    stays: bool,
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        if !self.stays {
            self.ctx.flush_slots.leave(self.namespace, self.name);
        }
    }
}

struct Run {
    executor: Executor,
    session: Session,
    wrote: bool,
}

impl Run {
    async fn drive(&mut self) -> Result<Outcome, ReconcileError> {
        for _ in 0..MAX_EFFECTS {
            let since_attempt_began = self.executor.attempt_began.map(|began| began.elapsed()).unwrap_or_default();
            let effect = plan(&self.session, Clock { now: Timestamp::now(), since_attempt_began });
            match effect {
                Effect::Wait(wait) => return Ok(self.outcome(wait)),
                Effect::Done => return Ok(self.outcome(requeue::WHEN_CHANGED)),
                Effect::WriteStatus(_) | Effect::AddFinalizer | Effect::RemoveFinalizer(_) => self.wrote = true,
                _ => {}
            }
            self.session.begin(&effect);
            self.executor.flushing(self.is_flushing() || begins_to_send(&effect));
            let report = match self.executor.carry_out(&self.session, &effect).await {
                Err(error) if !self.session.holds_answer() => return Err(error),
                Err(error) => {
                    warn!(%error, "the answer to the flush is not written down yet; trying again");
                    Report::ObjectUncertain
                }
                Ok(report) => report,
            };
            // An API server that is away for a moment must not turn an answer into Unknown.
            if report == Report::ObjectUncertain && self.session.holds_answer() {
                tokio::time::sleep(BETWEEN_WRITES).await;
            }
            self.session.absorb(report);
            self.executor.flushing(self.is_flushing());
            if self.session.object.phase() != FlushPhase::Sending {
                self.executor.publish_notes().await;
            }
        }
        error!("a flush request went in circles; this is a bug of the operator");
        Ok(self.outcome(requeue::after_failures(u32::MAX)))
    }

    /// Whether the request is at its target, as far as this reconcile knows.
    fn is_flushing(&self) -> bool {
        !self.session.gone && matches!(self.session.object.phase(), FlushPhase::Sending | FlushPhase::Accepted)
    }

    fn outcome(&self, requeue_after: Duration) -> Outcome {
        if self.wrote { Outcome::applied(requeue_after) } else { Outcome::settled(requeue_after) }
    }
}

/// Whether this is the write of Sending, after which nobody knows from outside whether a flush is under way.
fn begins_to_send(effect: &Effect) -> bool {
    matches!(effect, Effect::WriteStatus(write) if write.status.phase == Some(FlushPhase::Sending))
}

/// 128 random bits: no two attempts ever share an ID.
fn attempt_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
