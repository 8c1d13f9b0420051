//! The protocol: from what is known of a request to the next single thing to do about it.
//!
//! One file for each part of a request's life: [`pending`] (before anything is sent), [`sending`], [`watching`] (accepted),
//! [`ending`] (a final phase, or deleted). What they share is in [`steps`] and [`target`].

mod ending;
mod pending;
mod sending;
mod steps;
mod target;
mod watching;

use super::effect::Effect;
use super::facts::PlanTime;
use super::session::Session;
use crate::api::flush_request::FlushPhase;

pub(super) use watching::WATCH_LIMIT;

/// The next thing to do. Final phases are looked at first, so that no other rule can leave one.
#[must_use]
pub fn plan(session: &Session, time: PlanTime) -> Effect {
    if session.gone {
        return Effect::Done;
    }
    if session.object_is_stale {
        return Effect::ReadObject;
    }
    match session.object.phase() {
        FlushPhase::Succeeded
        | FlushPhase::Failed
        | FlushPhase::Unknown
        | FlushPhase::Rejected
        | FlushPhase::Expired => ending::finished(session, time.now),
        FlushPhase::Sending => sending::sending(session, time),
        FlushPhase::Accepted => watching::accepted(session, time.now),
        FlushPhase::Pending if session.object.deleted_at.is_some() => ending::cancelled(session, time.now),
        FlushPhase::Pending => pending::pending(session, time.now),
    }
}
