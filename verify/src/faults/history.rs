//! What the API server showed of the flush requests of one run: every phase that each of them was ever in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use managed_redis_operator::api::RedisFlushRequest;
use managed_redis_operator::api::conditions::{READY, find};
use managed_redis_operator::api::flush_request::FlushPhase;
use managed_redis_operator::controllers::flush_request::FINALIZER;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The course of one request object, from its creation to its end. A later object of the same name has a course of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestCourse {
    /// Its name.
    pub name: String,
    /// `spec.requestID`, or the default.
    pub request_id: String,
    /// Its phases in order; a phase that was written twice in a row is here once.
    pub phases: Vec<FlushPhase>,
    /// Its present phase, or the last one before it was removed; none while its status has none.
    pub phase: Option<FlushPhase>,
    /// Reason of its condition Ready, as last seen.
    pub reason: String,
    /// Its message, as last seen.
    pub message: String,
    /// Whether the finalizer is on it.
    pub finalizer: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it is gone.
    pub gone: bool,
    /// Whether the run emptied its status.
    pub wiped: bool,
    /// Whether the run removed it by force.
    pub forced: bool,
    /// Whether it was removed with its finalizer on: the API server completes a deletion that began before the finalizer was added.
    pub overtaken: bool,
    /// `status.lastHandledReconcileAt`.
    pub echo: Option<String>,
}

impl RequestCourse {
    /// Whether nothing more is to come.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.finalizer && !self.deleting && self.phase.is_some_and(FlushPhase::is_terminal)
    }

    fn take(&mut self, object: &RedisFlushRequest) {
        let status = object.status.clone().unwrap_or_default();
        self.phase = status.phase;
        self.phases.extend(status.phase.filter(|phase| self.phases.last() != Some(phase)));
        self.reason = find(&status.conditions, READY).map(|ready| ready.reason.clone()).unwrap_or_default();
        self.message = status.message.unwrap_or_default();
        self.finalizer = object.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        self.deleting = object.metadata.deletion_timestamp.is_some();
        self.echo = status.last_handled_reconcile_at;
    }
}

type Courses = Arc<Mutex<BTreeMap<String, RequestCourse>>>;

/// The courses of all requests of a namespace, by UID. It watches them until it is dropped.
pub(super) struct History {
    courses: Courses,
    task: JoinHandle<()>,
}

impl History {
    /// Begins to watch; `pulse` is notified of every change.
    pub(super) fn start(client: Client, namespace: &str, pulse: Arc<Notify>) -> Self {
        let courses = Courses::default();
        let api: Api<RedisFlushRequest> = Api::namespaced(client, namespace);
        let (book, own_namespace) = (Arc::clone(&courses), namespace.to_owned());
        let task = tokio::spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
            let mut listed = Vec::new();
            while let Some(event) = events.next().await {
                // An error is followed by another attempt.
                if let Ok(event) = event {
                    note(&mut lock(&book), event, &mut listed, &own_namespace);
                    pulse.notify_one();
                }
            }
        });
        Self { courses, task }
    }

    /// All courses, by UID.
    pub(super) fn courses(&self) -> Vec<RequestCourse> {
        lock(&self.courses).values().cloned().collect()
    }

    /// The object of that name that is there now.
    pub(super) fn current(&self, name: &str) -> Option<RequestCourse> {
        lock(&self.courses).values().find(|course| course.name == name && !course.gone).cloned()
    }

    /// Adds what only the run knows of an object.
    pub(super) fn mark(&self, uid: &str, mark: impl FnOnce(&mut RequestCourse)) {
        mark(lock(&self.courses).entry(uid.to_owned()).or_default());
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(courses: &Courses) -> MutexGuard<'_, BTreeMap<String, RequestCourse>> {
    courses.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(
    courses: &mut BTreeMap<String, RequestCourse>,
    event: Event<RedisFlushRequest>,
    listed: &mut Vec<String>,
    namespace: &str,
) {
    let uid = |object: &RedisFlushRequest| object.uid().unwrap_or_default();
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            listed.push(uid(&object));
            take(courses, &object, namespace);
        }
        Event::InitDone => {
            courses.iter_mut().filter(|(uid, _)| !listed.contains(uid)).for_each(|(_, course)| course.gone = true);
        }
        Event::Apply(object) => take(courses, &object, namespace),
        Event::Delete(object) => {
            take(courses, &object, namespace);
            let course = courses.entry(uid(&object)).or_default();
            course.gone = true;
            course.overtaken = course.finalizer && !course.deleting;
        }
    }
}

fn take(courses: &mut BTreeMap<String, RequestCourse>, object: &RedisFlushRequest, namespace: &str) {
    let course = courses.entry(object.uid().unwrap_or_default()).or_default();
    course.name = object.name_any();
    course.request_id = object.spec.request_id.clone().unwrap_or_else(|| format!("{namespace}/{}", course.name));
    course.take(object);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(finalizers: &[&str], deleted: Option<&str>) -> RedisFlushRequest {
        let object = json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisFlushRequest",
            "metadata": { "name": "a", "uid": "1", "finalizers": finalizers, "deletionTimestamp": deleted },
            "spec": { "clusterRef": { "name": "cache" }, "confirm": "1" },
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_deletion_that_overtook_the_finalizer_is_told_from_one_that_waited_for_it() {
        let deleted = Some("2026-11-22T10:00:00Z");
        for (finalizers, deleted, overtaken) in [
            (&[FINALIZER][..], None, true),
            (&[FINALIZER][..], deleted, false),
            (&[][..], deleted, false),
            (&[][..], None, false),
        ] {
            let mut courses = BTreeMap::new();
            note(&mut courses, Event::Delete(request(finalizers, deleted)), &mut Vec::new(), "shop");
            assert_eq!((courses["1"].gone, courses["1"].overtaken), (true, overtaken), "{finalizers:?} {deleted:?}");
        }
    }
}
