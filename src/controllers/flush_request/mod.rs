//! `RedisFlushRequest`: not reconciled yet; its objects are only known.

use std::sync::Arc;

use super::context::{Context, Objects};
use super::requeue;
use super::runner::{Outcome, Reconcile, ReconcileError};
use crate::api::RedisFlushRequest;

impl Reconcile for RedisFlushRequest {
    const KIND: &'static str = "RedisFlushRequest";

    fn objects(ctx: &Context) -> &Objects<Self> {
        &ctx.flush_requests
    }

    async fn reconcile(self: Arc<Self>, _: Arc<Context>) -> Result<Outcome, ReconcileError> {
        Ok(Outcome::settled(requeue::WHEN_CHANGED))
    }

    fn forget(_: &Context, _: &str, _: &str) {}
}
