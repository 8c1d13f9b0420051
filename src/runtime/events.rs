//! Events beside the statuses: published one after the other, so that ten thousand of them never hold up one status.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::api::conditions::{self, READY};
use crate::controllers::context::Context;
use crate::text;

/// The Events API refuses longer notes.
const MAX_NOTE_BYTES: usize = 1000;
/// Events that wait at most; beyond it they are dropped, as every Kubernetes client does: the status has the facts.
const WAITING: usize = 1000;
/// Events published a second in the long run, and at once after a rest.
const A_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
const AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);

/// Something worth telling once, when it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether a person should look.
    pub warning: bool,
    /// What happened, in a word.
    pub reason: String,
    /// What happened, as a sentence.
    pub message: String,
}

/// Publishes events in the background.
#[derive(Debug)]
pub struct EventQueue(mpsc::Sender<(ObjectReference, Note)>);

impl EventQueue {
    /// Begins to publish, until the announcer is dropped.
    pub fn start(recorder: Recorder) -> Self {
        let (sender, mut notes) = mpsc::channel::<(ObjectReference, Note)>(WAITING);
        tokio::spawn(async move {
            let pace: DefaultDirectRateLimiter = RateLimiter::direct(Quota::per_second(A_SECOND).allow_burst(AT_ONCE));
            while let Some((about, note)) = notes.recv().await {
                pace.until_ready().await;
                publish_about(&recorder, &about, &note).await;
            }
        });
        Self(sender)
    }

    /// Publishes an event about an object soon.
    pub fn announce<K: Resource<DynamicType = ()>>(&self, object: &K, note: Note) {
        self.announce_about(object.object_ref(&()), note);
    }

    /// As [`EventQueue::announce`], about an object by its reference.
    pub fn announce_about(&self, about: ObjectReference, note: Note) {
        if self.0.try_send((about, note)).is_err() {
            debug!("too many events at once; one is dropped");
        }
    }
}

/// Publishes an event; a failure is logged and costs nothing else.
pub async fn publish<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, note: &Note) {
    publish_about(&ctx.recorder, &object.object_ref(&()), note).await;
}

/// As [`publish`], about an object by its reference.
pub async fn publish_about(recorder: &Recorder, about: &ObjectReference, note: &Note) {
    let event = Event {
        type_: if note.warning { EventType::Warning } else { EventType::Normal },
        reason: note.reason.clone(),
        note: Some(text::sentence(&note.message, MAX_NOTE_BYTES)),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, about).await {
        warn!(reason = %note.reason, %error, "an event could not be published");
    }
}

/// The event for a change of the Ready condition, if it changed.
pub fn ready_changed(before: &[Condition], after: &[Condition]) -> Option<Note> {
    let now = conditions::find(after, READY)?;
    let same = conditions::find(before, READY).is_some_and(|was| was.status == now.status && was.reason == now.reason);
    let warning = conditions::find(after, conditions::STALLED).is_some();
    // The moment before the first read comes back is not worth an event.
    (!same && now.reason != "Observing").then(|| Note {
        warning,
        reason: now.reason.clone(),
        message: now.message.clone(),
    })
}
