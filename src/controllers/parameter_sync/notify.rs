//! Tells objects that something they depend on has changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::claims::Claimant;
use super::context::SyncContext;
use super::reference::ReferenceSummary;
use crate::controllers::cluster_ref::follower::{Follower, ReferenceConnection};
use crate::inventory::Observation;
use crate::object_key::ObjectKey;

impl Follower for SyncContext {
    fn reference_changed(&self, reference: &ObjectKey) {
        let round = self.cluster_refs.round(reference.namespace());
        for sync in self.membership.reference_changed(reference, round, || summary_of(self, reference)) {
            self.reminders.remind(&sync);
        }
    }

    fn reference_observed(
        &self,
        reference: &ObjectKey,
        connection: &ReferenceConnection,
        observation: Option<&Observation>,
    ) {
        for sync in self.membership.set_connection(reference, connection.clone(), observation) {
            self.reminders.remind(&sync);
        }
    }

    fn reference_disconnected(&self, reference: &ObjectKey) {
        self.membership.clear_connection(reference);
    }
}

/// An object claims and selects nothing any more, and waits for no slot.
pub(super) fn release(ctx: &SyncContext, sync: &ObjectKey) {
    ctx.apply_slots.withdraw(sync);
    ctx.membership.remove(sync);
    remind(ctx, ctx.ownership.release(sync));
}

/// The owner of a cluster may be another one for these objects.
pub(super) fn remind(ctx: &SyncContext, concerned: BTreeSet<Arc<Claimant>>) {
    for claimant in concerned {
        ctx.reminders.remind(claimant.key());
    }
}

/// The summary of a reference as it is stored now. None if it is gone or cannot be read.
pub(super) fn summary_of(ctx: &SyncContext, reference: &ObjectKey) -> Option<ReferenceSummary> {
    let stored = ctx.cluster_refs.get(reference)?.ok()?;
    Some(ReferenceSummary::of(&stored))
}
