//! Typed operations of the two clouds over one HTTP core.
//!
//! Nothing here knows Kubernetes. A *connection* is (provider, endpoint, credential): one [`kakao::KakaoClient`] or
//! [`ncp::NcpClient`], cheap to clone, with its own rate limit, its own Retry-After pause and (KakaoCloud) its own token.
//!
//! Invariants:
//! - a mutation is sent at most once for one call, over a connection of its own, and never follows a redirect;
//! - an error says whether a mutation may have taken effect ([`Executed`]), and "no" is said only when that is proven;
//! - no key, secret or token appears in an error, in `Debug` output or in a log line;
//! - a response that does not have the documented shape is [`ErrorKind::UnexpectedResponse`], never a panic or a guess.

mod body;
mod credential;
mod credentials;
mod endpoint;
mod error;
mod exchange_error;
mod flush;
pub mod kakao;
mod lenient;
mod limits;
mod list;
pub mod ncp;
pub mod normalise;
mod redact;
mod response;
mod settings;
mod split;
pub mod state;
#[doc(hidden)]
pub mod testing;
mod transport;

pub use credential::{CredentialError, SecretSource};
pub use credentials::Credentials;
pub use endpoint::{EndpointError, EndpointMap, EndpointSet, UnknownEndpoint};
pub use error::{CloudError, ErrorKind, Executed, SetupError, TransportStage};
pub use flush::{Flush, FlushReceipt, ObservedCache, is_running};

pub use list::{Row, UnreadableRow};
pub use settings::{CloudSettings, MAX_BODY_BYTES, MAX_CLUSTERS, MAX_LIST_BYTES, RetrySettings};
pub use transport::{Clock, HttpCore};

use crate::api::Provider;
use crate::metrics::Metrics;

/// Counts HTTP attempts, for metrics.
pub trait RequestObserver: Send + Sync {
    /// One attempt ended after `seconds`. `code` is the HTTP status, or one word for a failure without a response:
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
