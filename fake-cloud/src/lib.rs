//! A stateful stand-in for the Redis services of KakaoCloud and NAVER Cloud Platform, for tests and demonstrations.
//!
//! It answers as the two clouds document it and refuses what they would refuse: tokens, signatures, content types and
//! field names are checked. Clusters and instances change over time, by a clock that a test can move on. Faults can be
//! injected into any operation. Everything can be done in process, through [`StateHandle`], and over HTTP, through the
//! admin API.
//!
//! One listener serves both clouds, since their paths differ: KakaoCloud Redis under `/v1`, KakaoCloud IAM under
//! `/identity/v3`, NCP under `/clouddb/v2`.
//!
//! ```
//! use fake_cloud::{FakeCloud, NcpInstance, Operation, Seed};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let fake = FakeCloud::start(Seed::default()).await?;
//! fake.state().add_ncp_instance(NcpInstance::highly_available("882701", "cart-cache"))?;
//! // … let a client talk to fake.url() …
//! assert_eq!(fake.state().requests(Operation::NcpFlush), 0);
//! assert_eq!(fake.state().flushes("882701"), 0);
//! # Ok(())
//! # }
//! ```

mod admin;
mod delivery;
mod error;
mod exchange;
mod faults;
mod handle;
mod kakao;
mod model;
mod ncp;
mod seed;
mod server;
mod signature;
mod simulation;
mod state;
mod token_request;
mod traffic;
mod xml;

pub use error::StartError;
pub use faults::{ArmedFault, Fault, FaultError, FaultKind};
pub use handle::StateHandle;
pub use model::{
    CreatedAtStyle, KakaoBackupSchedule, KakaoBehaviour, KakaoCluster, KakaoEndpoints, KakaoFlavor, KakaoIdRef,
    KakaoSubnetAssignment, NcpBehaviour, NcpCode, NcpInstance, NcpQuirks, NcpRegion, NcpServer, NcpZone,
};
pub use seed::{
    Generate, KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET, KAKAO_TOKEN, KakaoCredential, KakaoSeed, KakaoTimings,
    NCP_ACCESS_KEY, NCP_SECRET_KEY, NcpKey, NcpSeed, NcpTimings, Seed,
};
pub use server::{Addresses, FakeCloud};
pub use signature::sign;
pub use simulation::CloudClock;
pub use state::StateError;
pub use traffic::{Operation, OperationCounts, RequestFilter, RequestRecord};
