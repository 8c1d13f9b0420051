//! Events beside the statuses: published one after the other, so that ten thousand of them never hold up one status.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::Recorder;
use tokio::sync::mpsc;
use tracing::debug;

use super::report::{self, Note};

/// Events that wait at most; beyond it they are dropped, as every Kubernetes client does: the status has the facts.
const WAITING: usize = 1000;
/// Events published a second in the long run, and at once after a rest.
const A_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
const AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);

/// Publishes events in the background.
#[derive(Debug)]
pub struct Announcer(mpsc::Sender<(ObjectReference, Note)>);

impl Announcer {
    /// Begins to publish, until the announcer is dropped.
    pub fn start(recorder: Recorder) -> Self {
        let (sender, mut notes) = mpsc::channel::<(ObjectReference, Note)>(WAITING);
        tokio::spawn(async move {
            let pace: DefaultDirectRateLimiter = RateLimiter::direct(Quota::per_second(A_SECOND).allow_burst(AT_ONCE));
            while let Some((about, note)) = notes.recv().await {
                pace.until_ready().await;
                report::publish_about(&recorder, &about, &note).await;
            }
        });
        Self(sender)
    }

    /// Publishes an event about an object soon.
    pub fn announce<K: Resource<DynamicType = ()>>(&self, object: &K, note: Note) {
        self.announce_about(object.object_ref(&()), note);
    }

    /// As [`Announcer::announce`], about an object by its reference.
    pub fn announce_about(&self, about: ObjectReference, note: Note) {
        if self.0.try_send((about, note)).is_err() {
            debug!("too many events at once; one is dropped");
        }
    }
}
