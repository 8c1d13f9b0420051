//! The flush capability: what the flush protocol needs of a cloud that can empty a cache.
//!
//! The protocol knows nothing of an API: it reads the cache, sends one flush, and records what came back. Which answers prove that
//! a flush was not executed is for the cloud's own module to say, by [`CloudError::executed`].

use futures::future::BoxFuture;

use super::error::CloudError;

/// A cloud that can empty a cache.
pub trait Flush: Send + Sync {
    /// Reads the caches that have this number in the cloud's own list: none if there is no such cache.
    fn find<'a>(&'a self, number: &'a str) -> BoxFuture<'a, Result<Vec<ObservedCache>, CloudError>>;

    /// Sends the flush of what has this number, once: over a fresh connection, without a retry, without following a redirect. A
    /// caller that drops the future cannot tell whether the flush was executed.
    fn send<'a>(&'a self, number: &'a str) -> BoxFuture<'a, Result<FlushReceipt, CloudError>>;
}

/// A cache as the cloud's list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObservedCache {
    /// Its number.
    pub number: String,
    /// The name that its owner gave it.
    pub name: Option<String>,
    /// Its state in the cloud's own word, unchanged; "" if the cloud names none.
    pub state: String,
}

impl ObservedCache {
    /// Whether it serves.
    #[must_use]
    pub fn is_running(&self) -> bool {
        is_running(&self.state)
    }
}

/// Whether a state word says that the cache serves. Compared without case, and strictly: a flush is sent only to a cache that
/// serves.
#[must_use]
pub fn is_running(state: &str) -> bool {
    state.trim().eq_ignore_ascii_case("running")
}

/// A well-formed answer to a flush.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlushReceipt {
    /// HTTP status.
    pub http_status: Option<u16>,
    /// The cloud's ID of the request.
    pub trace_id: Option<String>,
    /// The return code.
    pub return_code: Option<String>,
    /// The message beside the return code.
    pub return_message: Option<String>,
    /// How many caches the answer counts.
    pub total_rows: Option<i32>,
    /// The state of the cache, if the answer shows it.
    pub state: Option<String>,
}

impl FlushReceipt {
    /// Whether the cloud accepted the flush: return code 0.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.return_code.as_deref() == Some("0")
    }
}
