//! NCP Classic as a cloud that can empty a cache: what one flush empties is an instance.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::super::error::CloudError;
use super::super::flush::{Flush, FlushReceipt, ObservedCache};
use super::{CloudDbInstance, FlushReply, NcpClient};

impl Flush for NcpClient {
    fn find<'a>(&'a self, number: &'a str) -> BoxFuture<'a, Result<Vec<ObservedCache>, CloudError>> {
        async move {
            let found = self.instance(number).await?;
            Ok(found.iter().map(|instance| observed(instance, number)).collect())
        }
        .boxed()
    }

    fn send<'a>(&'a self, number: &'a str) -> BoxFuture<'a, Result<FlushReceipt, CloudError>> {
        async move { self.flush(number).await.map(|reply| receipt(&reply, number)) }.boxed()
    }
}

fn observed(instance: &CloudDbInstance, number: &str) -> ObservedCache {
    ObservedCache {
        number: instance.no.clone().unwrap_or_else(|| number.to_owned()),
        name: instance.service_name.clone(),
        state: instance.status.clone().unwrap_or_default(),
    }
}

/// The receipt of the instance that was flushed, by the cloud's reply.
fn receipt(reply: &FlushReply, number: &str) -> FlushReceipt {
    let flushed = reply.instances.iter().find(|instance| instance.no.as_deref() == Some(number));
    FlushReceipt {
        http_status: Some(reply.http_status),
        trace_id: reply.trace_id.clone(),
        return_code: Some(reply.return_code.clone()),
        return_message: reply.return_message.clone(),
        total_rows: reply.total_rows.and_then(|rows| i32::try_from(rows).ok()),
        state: flushed.and_then(|instance| instance.status.clone()),
    }
}
