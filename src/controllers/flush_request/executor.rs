//! Does one effect of the plan and reports what came of it. Everything of this kind that touches the world is here.

mod claims;
mod cloud;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;
use tracing::{info, warn};

pub(super) use self::claims::{delete_claim, request_of};
use super::FINALIZER;
use super::plan::Effect;
use super::session::{Others, Reference, Report, Session, Snapshot, Target};
use super::status::{Note, StatusWrite};
use crate::api::conditions::{self, READY, STALLED};
use crate::api::{FIELD_MANAGER, RedisClusterRef, RedisFlushRequest};
use crate::controllers::context::Context;
use crate::controllers::guard::Guarded;
use crate::controllers::report;
use crate::controllers::runner::ReconcileError;

/// The hands of one reconcile.
pub(super) struct Executor {
    ctx: Arc<Context>,
    object: RedisFlushRequest,
    reference: Option<RedisClusterRef>,
    /// When this reconcile first began to write Sending, on a clock that never stands still or jumps.
    pub(super) attempt_began: Option<Instant>,
    /// Events still to be published.
    notes: Vec<report::Note>,
    /// Writes that failed in a row, for other reasons than a change by somebody else.
    failed_writes: u32,
}

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
    pub(super) fn new(ctx: Arc<Context>, object: RedisFlushRequest) -> Self {
        Self { ctx, object, reference: None, attempt_began: None, notes: Vec::new(), failed_writes: 0 }
    }

    /// Does what the plan wants; `Wait` and `Done` are the caller's.
    pub(super) async fn carry_out(&mut self, session: &Session, effect: &Effect) -> Result<Report, ReconcileError> {
        Ok(match effect {
            Effect::ReadObject => self.read_object(session).await?,
            Effect::ReadReference => Report::Reference(self.read_reference().await?),
            Effect::ReadClaim(key) => Report::Claim(self.read_claim(session, key.as_ref()).await),
            Effect::ReadHolder(claim) => Report::Holder(claim.clone(), self.read_holder(claim).await),
            Effect::ReadCloud(target) => Report::Cloud(self.read_cloud(target).await),
            Effect::ReadOthers(target) => Report::Others(self.read_others(session, target)),
            Effect::AddFinalizer => self.set_finalizer(session, true).await,
            Effect::RemoveFinalizer(note) => {
                let report = self.set_finalizer(session, false).await;
                self.note_if_done(&report, note.as_ref());
                report
            }
            Effect::WriteStatus(write) => self.write_status(session, write).await,
            Effect::CreateClaim(claim) => self.create_claim(claim).await,
            Effect::Send { target, attempt_id } => Report::Sent(self.send(session, target, attempt_id).await),
            Effect::ReleaseClaim(claim) => self.release_claim(claim).await,
            Effect::Delete => self.delete(session).await,
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

    fn read_others(&self, session: &Session, target: &Target) -> Others {
        let me = request_key(&session.object.namespace, &session.object.name);
        if let Err(other) = self.ctx.flush_targets.take(target, &me) {
            return Others::Busy(other);
        }
        let at_it = |request: &RedisFlushRequest| {
            let status = request.status.as_ref();
            let phase = status.and_then(|status| status.phase);
            let no = status.and_then(|status| status.target.as_ref()?.cloud_db_instance_no.as_deref());
            use crate::api::flush_request::FlushPhase::{Accepted, Sending};
            request.uid().as_deref() != Some(&session.object.uid)
                && matches!(phase, Some(Sending | Accepted))
                && no == Some(&target.instance_no)
        };
        match self.ctx.flush_requests.filter(at_it).first() {
            Some(other) => Others::Busy(request_key(&other.namespace().unwrap_or_default(), &other.name_any())),
            None => Others::Free,
        }
    }

    /// A write of the finalizer that carries the resourceVersion.
    async fn set_finalizer(&mut self, session: &Session, wanted: bool) -> Report {
        let mut finalizers: Vec<&str> =
            self.object.finalizers().iter().map(String::as_str).filter(|have| *have != FINALIZER).collect();
        if wanted {
            finalizers.push(FINALIZER);
        }
        let version = &session.object.resource_version;
        let patch = json!({ "metadata": { "resourceVersion": version, "finalizers": finalizers } });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let written = self.requests().patch(&session.object.name, &params, &Patch::Merge(&patch)).await;
        self.after_write("finalizer", written)
    }

    async fn write_status(&mut self, session: &Session, write: &StatusWrite) -> Report {
        use crate::api::flush_request::FlushPhase;
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
        let report = self.after_write("status", written);
        if matches!(report, Report::Object(_)) {
            self.ctx.metrics.status_written("RedisFlushRequest");
            if let Some(phase) = write.status.phase.filter(|phase| *phase != session.object.phase()) {
                self.ctx.metrics.flush_phase(phase.as_str());
                info!(phase = phase.as_str(), message = write.status.message.as_deref(), "flush request");
            }
        }
        self.note_if_done(&report, write.note.as_ref());
        report
    }

    /// A refused write, and one of which nobody knows whether it was done, are settled by reading the request again.
    fn after_write(&mut self, what: &str, written: Result<RedisFlushRequest, kube::Error>) -> Report {
        match written {
            Ok(object) => {
                self.failed_writes = 0;
                self.now_at(object)
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Report::Gone,
            Err(error) => {
                if !matches!(&error, kube::Error::Api(status) if status.is_conflict()) {
                    self.failed_writes = self.failed_writes.saturating_add(1);
                }
                warn!(what, %error, "a write of the request failed; reading it again");
                Report::ObjectUncertain
            }
        }
    }

    fn note_if_done(&mut self, report: &Report, note: Option<&Note>) {
        let (Report::Object(_), Some(note)) = (report, note) else { return };
        let (reason, message) = (note.reason.to_owned(), note.note.clone());
        self.notes.push(report::Note { warning: note.warning, reason, message });
    }

    /// Publishes the events of the transitions made so far. Not while a flush is being sent: nothing that can take its time
    /// may come between the write of Sending and the send.
    pub(super) async fn publish_notes(&mut self) {
        for note in std::mem::take(&mut self.notes) {
            report::publish(&self.ctx, &self.object, &note).await;
        }
    }

    async fn delete(&self, session: &Session) -> Report {
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: Some(session.object.uid.clone()),
            resource_version: Some(session.object.resource_version.clone()),
        });
        match self.requests().delete(&session.object.name, &params).await {
            Ok(_) => Report::Gone,
            Err(kube::Error::Api(status)) if status.is_not_found() => Report::Gone,
            Err(error) => {
                warn!(%error, "the finished request cannot be deleted; it is tried again");
                Report::ObjectUncertain
            }
        }
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
}
