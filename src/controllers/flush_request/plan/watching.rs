//! Accepted: the cache is watched until it runs again.

use std::time::Duration;

use jiff::Timestamp;

use super::super::effect::Effect;
use super::super::facts::{ObservedCaches, ObservedReference};
use super::super::messages as say;
use super::super::session::Session;
use super::super::status::{self, Draft};
use super::ending::remove_finalizer;
use super::steps::{MIN_WAIT, POLL_QUEUED, finish, since, write};
use super::target::{UnknownCache, only_cache, wanted_target};
use crate::api::Reason;
use crate::api::flush_request::FlushPhase;

/// After this time a running state counts as "running again" even if no other state was seen since the flush: a small cache can be
/// wiped between two reads, but the first read may also come before the cloud has begun.
const SETTLE: Duration = Duration::from_secs(10);
/// An accepted flush whose cache is not seen running for this long is reported as stalled, and still watched.
const STALLED_AFTER: Duration = Duration::from_mins(30);
/// An accepted flush whose cache was not seen running for this long is given up as Unknown.
pub(in super::super) const WATCH_LIMIT: Duration = Duration::from_hours(24);

const POLL_ACCEPTED: Duration = Duration::from_secs(5);
const POLL_STALLED: Duration = Duration::from_secs(60);

/// Watches until the cache runs again.
pub(super) fn accepted(s: &Session, now: Timestamp) -> Effect {
    if s.object.deleted_at.is_some() {
        return remove_finalizer(s, Some(status::warning(Reason::NotWatched, say::deleted_while_accepted(&s.object))));
    }
    if s.reference == ObservedReference::NotRead {
        return Effect::ReadReference;
    }
    let seen = match wanted_target(s) {
        Err((_, message)) => Err(message),
        Ok(target) => match only_cache(s, target) {
            Err(UnknownCache::NotRead) => return Effect::ReadCloud(target.clone()),
            Err(UnknownCache::Queued) => Err(say::QUEUED.to_owned()),
            Err(UnknownCache::Because(_, message)) => Err(message),
            Ok(cache) => Ok(cache),
        },
    };
    let age = since(s.object.sent_at(), now);
    let mut draft = Draft::of(s, now);
    let doubt = match seen {
        Ok(cache) => {
            draft.saw(cache);
            match cache.is_running() {
                true if draft.left_running() || age >= SETTLE => return write(status::succeed(draft)),
                true => say::STILL_RUNNING.to_owned(),
                false => say::target_not_running(cache),
            }
        }
        Err(message) => message,
    };
    if age >= WATCH_LIMIT {
        return finish(s, now, FlushPhase::Unknown, Reason::NotRunningAgain, say::not_running_again(&s.object, &doubt));
    }
    if s.cloud == ObservedCaches::Queued {
        return Effect::Wait((WATCH_LIMIT - age).clamp(MIN_WAIT, POLL_QUEUED));
    }
    let stalled = age >= STALLED_AFTER;
    let poll = if stalled { POLL_STALLED } else { POLL_ACCEPTED };
    status::watch(draft, stalled, &doubt).map_or(Effect::Wait(poll), write)
}
