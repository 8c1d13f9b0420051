//! The target: the cache that the request confirms, and how the cloud's list shows it.

use super::super::facts::{ObservedCaches, ObservedReference, TargetCache};
use super::super::messages as say;
use super::super::session::Session;
use crate::api::Reason;
use crate::cloud::ObservedCache;

/// The target of the request; else what the request waits for.
pub(super) fn wanted_target(s: &Session) -> Result<&TargetCache, (Reason, String)> {
    s.confirmed_target().ok_or_else(|| {
        let name = &s.object.spec.cluster_ref.name;
        match &s.reference {
            ObservedReference::Suspended => (Reason::ReferenceSuspended, say::reference_suspended(name)),
            ObservedReference::NotReady(why) => (Reason::ReferenceNotReady, say::reference_not_ready(name, why)),
            ObservedReference::Missing
            | ObservedReference::NotRead
            | ObservedReference::NoFlush
            | ObservedReference::Target(_) => (Reason::ReferenceNotFound, say::reference_missing(name)),
        }
    })
}

/// Why the one cache of the target's number is not known.
pub(super) enum UnknownCache {
    /// The list was not read yet.
    NotRead,
    /// Other requests ask first.
    Queued,
    /// For this reason.
    Because(Reason, String),
}

/// The one cache of the target's number in the cloud's list.
pub(super) fn only_cache<'a>(s: &'a Session, target: &TargetCache) -> Result<&'a ObservedCache, UnknownCache> {
    let listed = match &s.cloud {
        ObservedCaches::NotRead => return Err(UnknownCache::NotRead),
        ObservedCaches::Queued => return Err(UnknownCache::Queued),
        ObservedCaches::Failed { reason, message } => {
            return Err(UnknownCache::Because(*reason, say::cloud_failed(message)));
        }
        ObservedCaches::Caches(listed) => listed,
    };
    let mut same = listed.iter().filter(|cache| cache.number == target.instance_no);
    match (same.next(), same.next()) {
        (Some(cache), None) => Ok(cache),
        (None, _) => Err(UnknownCache::Because(Reason::TargetNotFound, say::target_not_found(target))),
        (Some(_), Some(_)) => Err(UnknownCache::Because(Reason::TargetAmbiguous, say::target_ambiguous(target))),
    }
}
