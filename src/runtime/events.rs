//! Events beside the statuses. They are published one after the other in the background, so that ten thousand of them never hold up
//! one status.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use crate::api::Reason;
use crate::text;

/// The Events API refuses longer notes.
const MAX_NOTE_BYTES: usize = 1000;
/// Events that may wait. Further ones are dropped, as every Kubernetes client does: the status has the facts.
const MAX_WAITING: usize = 1000;
/// Events published per second in the long run.
const PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
/// Events published at once after a rest.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);

/// What an event says: something worth telling once, when it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether a person should look.
    pub warning: bool,
    /// What happened, in a word.
    pub reason: Reason,
    /// What happened, as a sentence.
    pub message: String,
}

enum Message {
    Publish(Box<(ObjectReference, Note)>),
    /// Answered when all events before it are published.
    Drain(oneshot::Sender<()>),
}

/// Publishes the events of one kind in the background, so that a crowd of one kind does not delay another.
#[derive(Clone, Debug)]
pub struct EventQueue(mpsc::Sender<Message>);

impl EventQueue {
    /// Publishes until all handles of the queue are dropped. It needs a Tokio runtime.
    pub fn start(recorder: Recorder) -> Self {
        let (sender, mut messages) = mpsc::channel(MAX_WAITING);
        tokio::spawn(async move {
            let limit: DefaultDirectRateLimiter = RateLimiter::direct(Quota::per_second(PER_SECOND).allow_burst(BURST));
            while let Some(message) = messages.recv().await {
                match message {
                    Message::Publish(event) => {
                        limit.until_ready().await;
                        publish(&recorder, &event.0, &event.1).await;
                    }
                    // It only fails if nobody waits any more.
                    Message::Drain(answer) => drop(answer.send(())),
                }
            }
        });
        Self(sender)
    }

    /// Publishes an event about an object soon.
    pub fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, note: Note) {
        self.publish_about(object.object_ref(&()), note);
    }

    /// As [`EventQueue::publish`], about an object by its reference.
    pub fn publish_about(&self, about: ObjectReference, note: Note) {
        if self.0.try_send(Message::Publish(Box::new((about, note)))).is_err() {
            debug!("too many events at once; one is dropped");
        }
    }

    /// Waits until the events that wait now are published.
    pub async fn drained(&self) {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Message::Drain(answer)).await.is_ok() {
            // It only fails when the process ends.
            let _ = answered.await;
        }
    }
}

/// Publishes an event. A failure is logged and costs nothing else.
async fn publish(recorder: &Recorder, about: &ObjectReference, note: &Note) {
    let event = Event {
        type_: if note.warning { EventType::Warning } else { EventType::Normal },
        reason: note.reason.as_str().to_owned(),
        note: Some(text::sentence(&note.message, MAX_NOTE_BYTES)),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, about).await {
        warn!(reason = %note.reason, %error, "an event could not be published");
    }
}
