//! Does one effect of the plan and reports what came of it. Everything of this kind that touches the world is here.

mod claims;
mod cloud;
mod writes;

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::Api;

use self::writes::pause_after;
use super::context::FlushContext;
use super::effect::{Effect, EffectReport};
use super::facts::{ObservedReference, Others, TargetCache};
use super::messages as say;
use super::reference::resolve;
use super::request::StoredRequest;
use super::session::Session;
use super::slots::FlushSlot;
use super::targets::{self, TargetGuard};
use crate::api::{Reason, RedisClusterRef, RedisFlushRequest};
use crate::object_key::ObjectKey;
use crate::runtime::events::Note;
use crate::runtime::guard::Guarded;
use crate::runtime::reconcile::ReconcileError;
use crate::runtime::workers::Worker;

/// Does the effects of one reconcile.
pub(super) struct Executor {
    ctx: Arc<FlushContext>,
    object: RedisFlushRequest,
    reference: Option<RedisClusterRef>,
    /// Its worker, until it has to wait for a cloud.
    worker: Option<Worker>,
    /// Its slot, once it may ask a cloud.
    slot: Option<FlushSlot>,
    /// Whether it waits for a slot.
    pub(super) queued: bool,
    /// The target, once no other request was found at it.
    target: Option<TargetGuard>,
    /// When this reconcile began its attempt, on a clock that never stands still or jumps.
    pub(super) attempt_began: Option<Instant>,
    /// Events still to be published.
    notes: Vec<Note>,
    /// Writes that failed in a row for another reason than a conflict.
    failed_writes: u32,
}

impl Executor {
    pub(super) fn new(ctx: Arc<FlushContext>, object: RedisFlushRequest, worker: Worker) -> Self {
        Self {
            ctx,
            object,
            reference: None,
            worker: Some(worker),
            slot: None,
            queued: false,
            target: None,
            attempt_began: None,
            notes: Vec::new(),
            failed_writes: 0,
        }
    }

    /// Does one effect; `Wait` and `Done` are the caller's.
    pub(super) async fn carry_out(
        &mut self,
        session: &Session,
        effect: &Effect,
    ) -> Result<EffectReport, ReconcileError> {
        Ok(match effect {
            Effect::ReadObject => self.read_object(session).await?,
            Effect::ReadReference => EffectReport::Reference(self.read_reference().await?),
            Effect::ReadClaim(key) => EffectReport::Claim(self.read_claim(session, key.as_ref()).await),
            Effect::ReadHolder(claim) => EffectReport::Holder(claim.clone(), self.read_holder(claim).await),
            Effect::ReadCloud(target) => EffectReport::Cloud(self.ask_cloud(target).await),
            Effect::ReadOthers(target) => EffectReport::Others(self.read_others(session, target)),
            Effect::AddFinalizer => self.set_finalizer(session, true).await?,
            Effect::RemoveFinalizer(note) => {
                let report = self.set_finalizer(session, false).await?;
                self.note_if_done(&report, note.as_ref());
                report
            }
            Effect::BeginAttempt(write) => {
                self.attempt_began.get_or_insert_with(Instant::now);
                self.write_status(session, write).await?
            }
            Effect::WriteStatus(write) => self.write_status(session, write).await?,
            Effect::CreateClaim(claim) => self.create_claim(claim).await,
            Effect::Send { unit, attempt_id } => EffectReport::Sent(self.send(session, unit, attempt_id).await),
            Effect::ReleaseClaim(claim) => self.release_claim(claim).await,
            Effect::Delete => self.delete(session).await?,
            Effect::GiveUp(_) | Effect::Wait(_) | Effect::Done => EffectReport::Nothing,
        })
    }

    fn requests(&self) -> Api<RedisFlushRequest> {
        Api::namespaced(self.ctx.client.clone(), &self.object.namespace().unwrap_or_default())
    }

    async fn read_object(&mut self, session: &Session) -> Result<EffectReport, ReconcileError> {
        tokio::time::sleep(pause_after(self.failed_writes)).await;
        let found = self.requests().get_opt(&session.object.name).await?;
        Ok(found.map_or(EffectReport::Gone, |object| self.now_at(object)))
    }

    /// Takes over the request as the API server returned it.
    fn now_at(&mut self, object: RedisFlushRequest) -> EffectReport {
        match StoredRequest::of(&object) {
            Some(request) => {
                self.object = object;
                EffectReport::Object(Box::new(request))
            }
            None => EffectReport::ObjectUncertain,
        }
    }

    async fn read_reference(&mut self) -> Result<ObservedReference, ReconcileError> {
        let namespace = self.object.namespace().unwrap_or_default();
        let api: Api<Guarded<RedisClusterRef>> = Api::namespaced(self.ctx.client.clone(), &namespace);
        self.reference = None;
        let Some(found) = api.get_opt(&self.object.spec.cluster_ref.name).await? else {
            return Ok(ObservedReference::Missing);
        };
        let Ok(reference) = found.0 else {
            return Ok(ObservedReference::NotReady("it cannot be read, its conditions say why.".to_owned()));
        };
        let observed = resolve(&reference);
        self.reference = Some(reference);
        Ok(observed)
    }

    /// Says whether a flush of this request is under way: then its target stays its own for a moment after the reconcile.
    pub(super) fn set_flushing(&mut self, flushing: bool) {
        if let Some(target) = &mut self.target {
            target.flushing = flushing;
        }
    }

    /// Takes the target for this request, unless another request of this process is at it, or the status of one says so.
    fn read_others(&mut self, session: &Session, target: &TargetCache) -> Others {
        let key = ObjectKey::of(&self.object.metadata);
        match self.ctx.targets.take(target, &key, Instant::now()) {
            Ok(guard) => self.target = Some(guard),
            Err(other) => return Others::Busy(other),
        }
        let now = Timestamp::now();
        let flushes_it = |request: &RedisFlushRequest| {
            request.uid().as_deref() != Some(&session.object.uid)
                && request.status.as_ref().is_some_and(|status| targets::is_flushing(status, target, now))
        };
        let others = self.ctx.requests.filter(flushes_it);
        others.first().map_or(Others::Free, |other| Others::Busy(ObjectKey::of(&other.metadata)))
    }

    fn note_if_done(&mut self, report: &EffectReport, note: Option<&Note>) {
        let (EffectReport::Object(_), Some(note)) = (report, note) else { return };
        self.notes.push(note.clone());
    }

    /// Says in an event that the API server refuses to record the request's state: there is no other place left to say it.
    pub(super) fn announce_refusal(&self, said: &str) {
        let note = Note { warning: true, reason: Reason::WriteRefused, message: say::write_refused(said) };
        self.ctx.events.publish(&self.object, note);
    }

    /// Publishes the events of the transitions made so far. Not while a flush is being sent: nothing that can take its time
    /// may come between the write of Sending and the send.
    pub(super) fn publish_notes(&mut self) {
        for note in std::mem::take(&mut self.notes) {
            self.ctx.events.publish(&self.object, note);
        }
    }
}
