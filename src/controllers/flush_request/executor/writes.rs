//! The writes of the request: finalizer, status, deletion. Each carries the resourceVersion, so that a request which changed
//! meanwhile is read again first.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tracing::{info, warn};

use super::super::effect::{EffectReport, SEND_WITHIN, StatusWrite};
use super::super::request::FINALIZER;
use super::super::session::Session;
use super::Executor;
use crate::api::{FIELD_MANAGER, RedisFlushRequest};
use crate::backoff::Backoff;
use crate::runtime::reconcile::ReconcileError;

/// Failed writes in a row after which a reconcile ends.
const MAX_FAILED_WRITES: u32 = 5;

/// Between a failed write and the read of what came of it, so that a server that refuses writes for long is not asked in a tight
/// loop. The first pause is short: most often only the answer was lost.
const AFTER_FAILED_WRITE: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// The pause before what a failed write came to is read.
pub(super) fn pause_after(failed_writes: u32) -> Duration {
    if failed_writes == 0 { Duration::ZERO } else { AFTER_FAILED_WRITE.after(failed_writes) }
}

impl Executor {
    /// A write of the finalizer that carries the resourceVersion.
    pub(super) async fn set_finalizer(
        &mut self,
        session: &Session,
        wanted: bool,
    ) -> Result<EffectReport, ReconcileError> {
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

    pub(super) async fn write_status(
        &mut self,
        session: &Session,
        write: &StatusWrite,
    ) -> Result<EffectReport, ReconcileError> {
        let object = ObjectMeta {
            namespace: Some(session.object.namespace.clone()),
            name: Some(session.object.name.clone()),
            uid: Some(session.object.uid.clone()),
            ..ObjectMeta::default()
        };
        let version = Some(session.object.resource_version.as_str());
        let written = self.ctx.statuses.apply_and_read::<RedisFlushRequest>(&object, version, &write.status).await;
        let report = self.after_write("status", session, written)?;
        if matches!(report, EffectReport::Object(_))
            && let Some(phase) = write.status.phase.filter(|phase| *phase != session.object.phase())
        {
            self.ctx.metrics.flush_phase(phase.as_str());
            info!(phase = phase.as_str(), message = write.status.message.as_deref(), "flush request");
        }
        self.note_if_done(&report, write.note.as_ref());
        Ok(report)
    }

    /// A write of which it is not known whether it was done, and one that came too late, are settled by reading the request again.
    /// One that is refused, or fails again and again, ends the reconcile.
    fn after_write(
        &mut self,
        what: &str,
        session: &Session,
        written: Result<RedisFlushRequest, kube::Error>,
    ) -> Result<EffectReport, ReconcileError> {
        let error = match written {
            Ok(object) => {
                self.failed_writes = 0;
                return Ok(self.now_at(object));
            }
            Err(error) => error,
        };
        match &error {
            kube::Error::Api(status) if status.is_not_found() => return Ok(EffectReport::Gone),
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
        warn!(what, %error, "a write of the request failed; reading the request again");
        Ok(EffectReport::ObjectUncertain)
    }

    pub(super) async fn delete(&mut self, session: &Session) -> Result<EffectReport, ReconcileError> {
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: Some(session.object.uid.clone()),
            resource_version: Some(session.object.resource_version.clone()),
        });
        let deleted = self.requests().delete(&session.object.name, &params).await;
        // Whatever it is, the object is not there any more, or has to be looked at again.
        self.after_write("deletion", session, deleted.map(|_| self.object.clone())).map(|report| match report {
            EffectReport::Object(_) => EffectReport::Gone,
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
}
