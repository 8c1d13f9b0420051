//! The two clouds' memory. Pure: the time is always an argument, and what is due is settled when it is looked at.

mod kakao;
mod ncp;

use jiff::{SignedDuration, Timestamp};

pub(crate) use kakao::{ApplyRefusal, KakaoState};
pub(crate) use ncp::{FlushRefusal, KeyRefusal, NcpState};

use crate::seed::Seed;

/// Why a change to the clouds' memory was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// There is one with this ID already.
    #[error("{kind} {id} exists already")]
    AlreadyExists {
        /// Cluster or instance.
        kind: &'static str,
        /// Its ID.
        id: String,
    },
    /// There is none with this ID.
    #[error("there is no {kind} {id}")]
    NotFound {
        /// Cluster or instance.
        kind: &'static str,
        /// The ID asked for.
        id: String,
    },
    /// The values contradict each other.
    #[error("{0}")]
    Invalid(String),
}

/// Everything the two clouds remember.
pub(crate) struct CloudState {
    pub(crate) kakao: KakaoState,
    pub(crate) ncp: NcpState,
}

impl CloudState {
    /// The clouds as a seed describes them.
    pub(crate) fn new(seed: &Seed, now: Timestamp) -> Result<Self, StateError> {
        const MOST: u32 = 1_000_000;
        if seed.generate.kakao_clusters > MOST || seed.generate.ncp_instances > MOST {
            return Err(StateError::Invalid(format!("no more than {MOST} of each kind can be generated")));
        }
        let mut kakao = KakaoState::new(&seed.kakao_cloud);
        for cluster in seed.kakao_cloud.clusters.iter().cloned().chain(seed.generate.clusters()) {
            kakao.add(cluster, now)?;
        }
        let mut ncp = NcpState::new(&seed.ncp)?;
        for instance in seed.ncp.instances.iter().cloned().chain(seed.generate.instances()) {
            ncp.add(instance, now)?;
        }
        Ok(Self { kakao, ncp })
    }
}

/// A time as the clouds tell it of what they made: whole seconds.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// `seconds` after `time`, or the end of time.
fn after(time: Timestamp, seconds: u32) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX)
}
