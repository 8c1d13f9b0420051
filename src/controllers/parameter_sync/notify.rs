//! Tells objects that something they depend on has changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::claims::Claimant;
use super::reference::{ReferenceConnection, ReferenceSummary};
use crate::controllers::context::Context;
use crate::inventory::Observation;
use crate::object_key::ObjectKey;

/// Another version of a reference came, or the reference is gone.
pub fn reference_changed(ctx: &Context, reference: &ObjectKey) {
    let round = ctx.cluster_refs.round(reference.namespace());
    for sync in ctx.membership.reference_changed(reference, round, || summary_of(ctx, reference)) {
        ctx.wakers.reminders.remind(&sync);
    }
}

/// The controller of a reference has observed its cluster, or found out why it cannot.
pub fn reference_observed(
    ctx: &Context,
    reference: &ObjectKey,
    connection: ReferenceConnection,
    observation: Option<&Observation>,
) {
    for sync in ctx.membership.set_connection(reference, connection, observation) {
        ctx.wakers.reminders.remind(&sync);
    }
}

/// An object claims and selects nothing any more, and waits for no slot.
pub(super) fn release(ctx: &Context, sync: &ObjectKey) {
    ctx.turns.withdraw(sync);
    ctx.membership.remove(sync);
    remind(ctx, ctx.coverage.release(sync));
}

/// The owner of a cluster may be another one for these objects.
pub(super) fn remind(ctx: &Context, concerned: BTreeSet<Arc<Claimant>>) {
    for claimant in concerned {
        ctx.wakers.reminders.remind(claimant.key());
    }
}

/// The summary of a reference as it is stored now. None if it is gone or cannot be read.
pub(super) fn summary_of(ctx: &Context, reference: &ObjectKey) -> Option<ReferenceSummary> {
    let stored = ctx.cluster_refs.get(reference.namespace(), reference.name())?.ok()?;
    Some(ReferenceSummary::of(&stored))
}
