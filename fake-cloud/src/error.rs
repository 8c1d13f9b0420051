//! Why the fake cloud does not start.

use std::io;
use std::net::SocketAddr;

use crate::faults::FaultError;
use crate::state::StateError;

/// Why a stand-in does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The seed contradicts itself.
    #[error("the seed cannot be used: {0}")]
    State(#[from] StateError),
    /// The seed has a fault that cannot be.
    #[error("the seed has a fault that cannot be injected: {0}")]
    Fault(#[from] FaultError),
    /// The address can be reached from other computers.
    #[error("{0} is not a loopback address; the fake cloud has no protection, allow remote access to listen there")]
    Remote(SocketAddr),
    /// The address is taken, or not this computer's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}
