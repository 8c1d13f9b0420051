//! Does one effect of the plan and reports what came of it. Everything of this kind that touches the world is here.

mod claims;
mod cloud;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;
use tracing::{info, warn};

pub(super) use self::claims::{Unreadable, delete_claim, request_of};
use super::FINALIZER;
use super::plan::{Effect, SEND_WITHIN, WATCH_LIMIT};
use super::sentences as say;
use super::session::{Others, Reference, Report, Session, Snapshot, Target};
use super::slots::Slot;
use super::status::{Note, StatusWrite};
use super::targets::AtTarget;
use crate::api::conditions::{self, READY, STALLED};
use crate::api::flush_request::{FlushPhase, RedisFlushRequestStatus};
use crate::api::{FIELD_MANAGER, RedisClusterRef, RedisFlushRequest};
use crate::controllers::context::Context;
use crate::runtime::events;
use crate::runtime::guard::Guarded;
use crate::runtime::runner::ReconcileError;
use crate::runtime::workers::Worker;

/// The hands of one reconcile.
pub(super) struct Executor {
    ctx: Arc<Context>,
    object: RedisFlushRequest,
    reference: Option<RedisClusterRef>,
    /// Its worker, until it has to wait for a cloud.
    worker: Option<Worker>,
    /// Its slot, from its first question to a cloud on.
    slot: Option<Slot>,
    /// Whether it waits for a slot.
    pub(super) queued: bool,
    /// The target, from the look at others on.
    at_target: Option<AtTarget>,
    /// When this reconcile first began to write Sending, on a clock that never stands still or jumps.
    pub(super) attempt_began: Option<Instant>,
    /// Events still to be published.
    notes: Vec<events::Note>,
    /// Writes that failed in a row, for other reasons than a change by somebody else.
    failed_writes: u32,
}

/// The reason of the event about a write that is refused.
const WRITE_REFUSED: &str = "WriteRefused";

/// Failed writes in a row after which a reconcile ends.
const MAX_FAILED_WRITES: u32 = 5;

/// A request that is Sending or Accepted for longer than this is not waited for any more: what ended it is not written down, and
/// perhaps cannot be.
const LONGEST_FLUSH: (Duration, Duration) =
    (Duration::from_mins(10), WATCH_LIMIT.saturating_add(Duration::from_mins(10)));

/// The pause before what a failed write came to is read, so that a server that refuses a write for long, whatever the
/// reason, is not asked in a tight loop. The first one is short: an answer that got lost is the rule.
fn pause_after(failed_writes: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(5);
    match failed_writes {
        0 => Duration::ZERO,
        n => FIRST.saturating_mul(1 << (n - 1).min(10)).min(LONGEST),
    }
}

impl Executor {
    pub(super) fn new(ctx: Arc<Context>, object: RedisFlushRequest, worker: Worker) -> Self {
        Self {
            ctx,
            object,
            reference: None,
            worker: Some(worker),
            slot: None,
            queued: false,
            at_target: None,
            attempt_began: None,
            notes: Vec::new(),
            failed_writes: 0,
        }
    }

    /// Does what the plan wants; `Wait` and `Done` are the caller's.
    pub(super) async fn carry_out(&mut self, session: &Session, effect: &Effect) -> Result<Report, ReconcileError> {
        Ok(match effect {
            Effect::ReadObject => self.read_object(session).await?,
            Effect::ReadReference => Report::Reference(self.read_reference().await?),
            Effect::ReadClaim(key) => Report::Claim(self.read_claim(session, key.as_ref()).await),
            Effect::ReadHolder(claim) => Report::Holder(claim.clone(), self.read_holder(claim).await),
            Effect::ReadCloud(target) => Report::Cloud(self.ask_cloud(session, target).await),
            Effect::ReadOthers(target) => Report::Others(self.read_others(session, target)),
            Effect::AddFinalizer => self.set_finalizer(session, true).await?,
            Effect::RemoveFinalizer(note) => {
                let report = self.set_finalizer(session, false).await?;
                self.note_if_done(&report, note.as_ref());
                report
            }
            Effect::WriteStatus(write) => self.write_status(session, write).await?,
            Effect::CreateClaim(claim) => self.create_claim(claim).await,
            Effect::Send { target, attempt_id } => Report::Sent(self.send(session, target, attempt_id).await),
            Effect::ReleaseClaim(claim) => self.release_claim(claim).await,
            Effect::Delete => self.delete(session).await?,
            Effect::GiveUp(_) | Effect::Wait(_) | Effect::Done => Report::Nothing,
        })
    }

    fn requests(&self) -> Api<RedisFlushRequest> {
        Api::namespaced(self.ctx.client.clone(), &self.object.namespace().unwrap_or_default())
    }

    async fn read_object(&mut self, session: &Session) -> Result<Report, ReconcileError> {
        tokio::time::sleep(pause_after(self.failed_writes)).await;
        let found = self.requests().get_opt(&session.object.name).await?;
        Ok(found.map_or(Report::Gone, |object| self.now_at(object)))
    }

    /// Takes over the request as the API server returned it.
    fn now_at(&mut self, object: RedisFlushRequest) -> Report {
        match Snapshot::of(&object) {
            Some(snapshot) => {
                self.object = object;
                Report::Object(Box::new(snapshot))
            }
            None => Report::ObjectUncertain,
        }
    }

    async fn read_reference(&mut self) -> Result<Reference, ReconcileError> {
        let namespace = self.object.namespace().unwrap_or_default();
        let api: Api<Guarded<RedisClusterRef>> = Api::namespaced(self.ctx.client.clone(), &namespace);
        self.reference = None;
        let Some(found) = api.get_opt(&self.object.spec.cluster_ref.name).await? else { return Ok(Reference::Missing) };
        let Ok(reference) = found.0 else {
            return Ok(Reference::NotReady("it cannot be read, its conditions say why.".to_owned()));
        };
        let resolved = resolve(&reference);
        self.reference = Some(reference);
        Ok(resolved)
    }

    /// Whether a flush of this request is under way, which its target is kept for.
    pub(super) fn flushing(&mut self, flushing: bool) {
        if let Some(at_target) = &mut self.at_target {
            at_target.flushing = flushing;
        }
    }

    fn read_others(&mut self, session: &Session, target: &Target) -> Others {
        let me = request_key(&session.object.namespace, &session.object.name);
        match self.ctx.flush_targets.take(target, &me, Instant::now()) {
            Ok(at_target) => self.at_target = Some(at_target),
            Err(other) => return Others::Busy(other),
        }
        let now = Timestamp::now();
        let at_it = |request: &RedisFlushRequest| {
            request.uid().as_deref() != Some(&session.object.uid)
                && request.status.as_ref().is_some_and(|status| is_flushing(status, target, now))
        };
        match self.ctx.flush_requests.filter(at_it).first() {
            Some(other) => Others::Busy(request_key(&other.namespace().unwrap_or_default(), &other.name_any())),
            None => Others::Free,
        }
    }

    /// A write of the finalizer that carries the resourceVersion.
    async fn set_finalizer(&mut self, session: &Session, wanted: bool) -> Result<Report, ReconcileError> {
        let mut finalizers: Vec<&str> =
            self.object.finalizers().iter().map(String::as_str).filter(|have| *have != FINALIZER).collect();
        if wanted {
            finalizers.push(FINALIZER);
        }
        let version = &session.object.resource_version;
        let patch = json!({ "metadata": { "resourceVersion": version, "finalizers": finalizers } });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let written = self.requests().patch(&session.object.name, &params, &Patch::Merge(&patch)).await;
        self.after_write("finalizer", session, written)
    }

    async fn write_status(&mut self, session: &Session, write: &StatusWrite) -> Result<Report, ReconcileError> {
        if write.status.phase == Some(FlushPhase::Sending) && self.attempt_began.is_none() {
            self.attempt_began = Some(Instant::now());
        }
        let patch = json!({
            "apiVersion": RedisFlushRequest::api_version(&()),
            "kind": RedisFlushRequest::kind(&()),
            "metadata": {
                "name": session.object.name,
                "uid": session.object.uid,
                "resourceVersion": session.object.resource_version,
            },
            "status": write.status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let written = self.requests().patch_status(&session.object.name, &params, &Patch::Apply(&patch)).await;
        let report = self.after_write("status", session, written)?;
        if matches!(report, Report::Object(_)) {
            self.ctx.metrics.status_written("RedisFlushRequest");
            if let Some(phase) = write.status.phase.filter(|phase| *phase != session.object.phase()) {
                self.ctx.metrics.flush_phase(phase.as_str());
                info!(phase = phase.as_str(), message = write.status.message.as_deref(), "flush request");
            }
        }
        self.note_if_done(&report, write.note.as_ref());
        Ok(report)
    }

    /// A write of which nobody knows whether it was done, and one that came too late, are settled by reading the request again.
    /// One that is refused, or fails again and again, ends the reconcile.
    fn after_write(
        &mut self,
        what: &str,
        session: &Session,
        written: Result<RedisFlushRequest, kube::Error>,
    ) -> Result<Report, ReconcileError> {
        let error = match written {
            Ok(object) => {
                self.failed_writes = 0;
                return Ok(self.now_at(object));
            }
            Err(error) => error,
        };
        match &error {
            kube::Error::Api(status) if status.is_not_found() => return Ok(Report::Gone),
            kube::Error::Api(status) if status.is_conflict() => {}
            _ => self.failed_writes = self.failed_writes.saturating_add(1),
        }
        if let Some(sentence) = refusal(&error) {
            return Err(ReconcileError::Refused(sentence.to_owned()));
        }
        // An attempt that is begun is given all the time in which it may still be sent.
        let may_send = session.own.is_some() && self.attempt_began.is_some_and(|began| began.elapsed() <= SEND_WITHIN);
        if self.failed_writes >= MAX_FAILED_WRITES && !may_send {
            return Err(error.into());
        }
        warn!(what, %error, "a write of the request failed; reading it again");
        Ok(Report::ObjectUncertain)
    }

    fn note_if_done(&mut self, report: &Report, note: Option<&Note>) {
        let (Report::Object(_), Some(note)) = (report, note) else { return };
        let (reason, message) = (note.reason.to_owned(), note.note.clone());
        self.notes.push(events::Note { warning: note.warning, reason, message });
    }

    /// Says in an event that the API server refuses to record the request's state: there is no other place left to say it.
    pub(super) fn announce_refusal(&self, said: &str) {
        let note = events::Note {
            warning: true,
            reason: WRITE_REFUSED.to_owned(),
            message: say::write_refused(&sentence(said)),
        };
        self.ctx.announcer.announce(&self.object, note);
    }

    /// Publishes the events of the transitions made so far. Not while a flush is being sent: nothing that can take its time
    /// may come between the write of Sending and the send.
    pub(super) async fn publish_notes(&mut self) {
        for note in std::mem::take(&mut self.notes) {
            events::publish(&self.ctx, &self.object, &note).await;
        }
    }

    async fn delete(&mut self, session: &Session) -> Result<Report, ReconcileError> {
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: Some(session.object.uid.clone()),
            resource_version: Some(session.object.resource_version.clone()),
        });
        let deleted = self.requests().delete(&session.object.name, &params).await;
        // Whatever it is, the object is not there any more, or has to be looked at again.
        self.after_write("deletion", session, deleted.map(|_| self.object.clone())).map(|report| match report {
            Report::Object(_) => Report::Gone,
            other => other,
        })
    }
}

/// What the API server says if it refuses a write as it is, so that another try comes to the same; none for a conflict, or an
/// error of its own.
fn refusal(error: &kube::Error) -> Option<&str> {
    match error {
        kube::Error::Api(status)
            if matches!(status.code, 400..=499) && !matches!(status.code, 404 | 408 | 409 | 429) =>
        {
            Some(&status.message)
        }
        _ => None,
    }
}

/// Whether a request's status says that it flushes this target.
fn is_flushing(status: &RedisFlushRequestStatus, target: &Target, now: Timestamp) -> bool {
    let no = status.target.as_ref().and_then(|target| target.cloud_db_instance_no.as_ref());
    let began = status.attempt.as_ref().map(|attempt| attempt.started_at.0);
    let for_less_than =
        |longest: Duration| began.and_then(|began| began.checked_add(longest).ok()).is_none_or(|latest| now < latest);
    no == Some(&target.instance_no)
        && match status.phase {
            Some(FlushPhase::Sending) => for_less_than(LONGEST_FLUSH.0),
            Some(FlushPhase::Accepted) => for_less_than(LONGEST_FLUSH.1),
            _ => false,
        }
}

/// `<namespace>/<name>`.
pub(super) fn request_key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// What a reference leads to. Its instance is taken from a status that belongs to its present spec.
fn resolve(reference: &RedisClusterRef) -> Reference {
    let Some(ncp) = &reference.spec.ncp else { return Reference::NotNcp };
    if reference.spec.suspend {
        return Reference::Suspended;
    }
    let status = reference.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation);
    let Some(status) = status.filter(|_| observed.is_some() && observed == reference.metadata.generation) else {
        return Reference::NotReady("its status is not up to date yet.".to_owned());
    };
    if let Some(stalled) = conditions::find(&status.conditions, STALLED) {
        return Reference::NotReady(sentence(&stalled.message));
    }
    let seen = status.cluster.as_ref();
    let Some(instance_no) = seen.and_then(|cluster| cluster.id.clone()) else {
        let why = conditions::find(&status.conditions, READY).map(|ready| sentence(&ready.message));
        return Reference::NotReady(why.unwrap_or_else(|| "its instance was not read yet.".to_owned()));
    };
    let service_name = seen.and_then(|cluster| cluster.name.clone());
    Reference::Target(Target { site: ncp.site, instance_no, service_name })
}

/// Ends a text with a full stop.
fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_writes_are_repeated_ever_slower() {
        assert_eq!(pause_after(0), Duration::ZERO);
        let pauses: Vec<u128> = [1, 2, 3, 7, 8, 100, u32::MAX].map(|n| pause_after(n).as_millis()).to_vec();
        assert_eq!(pauses, [50, 100, 200, 3200, 5000, 5000, 5000]);
    }

    #[test]
    fn a_refusal_is_what_another_try_would_meet_too() {
        let error = |code: u16| {
            let status = kube::core::Status { code, message: "no".to_owned(), ..kube::core::Status::default() };
            kube::Error::Api(Box::new(status))
        };
        for code in [400, 403, 413, 422] {
            assert_eq!(refusal(&error(code)), Some("no"), "{code}");
        }
        for code in [404, 408, 409, 429, 500, 503, 504] {
            assert_eq!(refusal(&error(code)), None, "{code}");
        }
    }

    #[test]
    fn a_request_without_a_verdict_holds_its_target_for_a_bounded_time() {
        use crate::api::cluster_ref::NcpSite;
        use crate::api::flush_request::{Attempt, FlushTarget};
        let target = Target { site: NcpSite::Public, instance_no: "1".to_owned(), service_name: None };
        let now = Timestamp::UNIX_EPOCH;
        let after = |phase, minutes: u64| {
            let status = RedisFlushRequestStatus {
                phase: Some(phase),
                attempt: Some(Attempt {
                    id: "a".to_owned(),
                    started_at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now),
                    operator: "operator-a".to_owned(),
                    not_executed: false,
                }),
                target: Some(FlushTarget { cloud_db_instance_no: Some("1".to_owned()), ..FlushTarget::default() }),
                ..RedisFlushRequestStatus::default()
            };
            is_flushing(&status, &target, now + Duration::from_mins(minutes))
        };
        assert!(after(FlushPhase::Sending, 9) && !after(FlushPhase::Sending, 10));
        assert!(after(FlushPhase::Accepted, 24 * 60) && !after(FlushPhase::Accepted, 24 * 60 + 10));
        assert!(!after(FlushPhase::Pending, 0) && !after(FlushPhase::Succeeded, 0));
        let elsewhere = Target { instance_no: "2".to_owned(), ..target.clone() };
        assert!(!is_flushing(&RedisFlushRequestStatus::default(), &elsewhere, now));
    }
}
