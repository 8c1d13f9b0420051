//! Typed operations of the two clouds over one HTTP core.
//!
//! Nothing here knows Kubernetes. A *connection* is (provider, endpoint, credential): one [`kakao::KakaoClient`] or
//! [`ncp::NcpClient`], cheap to clone, with its own rate limit, its own Retry-After pause and (KakaoCloud) its own token.
//!
//! Invariants:
//! - a mutation is sent at most once for one call, over a connection of its own, and never follows a redirect;
//! - an error says whether a mutation may have taken effect ([`Executed`]), and "no" is said only when that is proven;
//! - no key, secret or token appears in an error, in `Debug` output or in a log line;
//! - an answer that does not have the documented shape is [`ErrorKind::UnexpectedResponse`], never a panic or a guess.

mod answer;
mod body;
mod credential;
mod endpoint;
mod error;
mod flush;
pub mod kakao;
mod lenient;
mod limits;
mod list;
mod lost;
pub mod ncp;
pub mod normalise;
mod redact;
mod settings;
mod split;
#[doc(hidden)]
pub mod testing;
mod transport;
pub mod words;

pub use crate::api::Provider;
pub use credential::{CredentialError, SecretSource};
pub use endpoint::{EndpointError, EndpointMap, EndpointSet, UnknownEndpoint};
pub use error::{CloudError, ErrorKind, Executed, SetupError, TransportStage};
pub use flush::{Flush, FlushReceipt, ObservedCache, is_running};
pub use list::{Row, Unreadable};
pub use settings::{CloudSettings, MAX_BODY_BYTES, MAX_CLUSTERS, MAX_LIST_BYTES, RetrySettings};
pub use transport::{Clock, HttpCore};

use crate::metrics::Metrics;

/// Is told of every HTTP attempt, for metrics.
pub trait RequestObserver: Send + Sync {
    /// One attempt ended after `seconds`. `code` is the HTTP status, or one word for a failure without an answer:
    /// `connect`, `timeout`, `reset`, `body`, `too_large`, `refused`, `not_sent`, `transport`.
    fn observe(&self, provider: Provider, operation: &'static str, code: &str, seconds: f64);
}

impl RequestObserver for Metrics {
    fn observe(&self, provider: Provider, operation: &'static str, code: &str, seconds: f64) {
        self.cloud_request(provider.as_str(), operation, code, seconds);
    }
}

/// Observes nothing.
impl RequestObserver for () {
    fn observe(&self, _: Provider, _: &'static str, _: &str, _: f64) {}
}
