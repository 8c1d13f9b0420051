//! What a RedisParameterSync needs to know of a RedisClusterRef.

use crate::api::cluster_ref::ParameterGroupStatus;
use crate::api::{Provider, RedisClusterRef, Target, TargetError, TargetQuery};
use crate::controllers::cluster_ref::follower::ReferenceConnection;
use crate::controllers::problem::Problem;
use crate::digest;
use crate::inventory::{Observation, Observed, Query};

/// The part of a reference that matters here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ReferenceSummary {
    /// It points at a cluster of KakaoCloud.
    Kakao {
        /// What it queries its connection for.
        query: Query,
        /// ID of the cluster, as far as it is known.
        id: Option<String>,
        /// Name of the cluster, if it was observed.
        name: Option<String>,
        /// Whether the reference is suspended: then its cluster is not read.
        is_suspended: bool,
        /// The parameter group that its status shows.
        shown_group: Option<ParameterGroupStatus>,
    },
    /// It points at a Redis of this provider, whose API cannot apply parameter groups.
    NotSupported(Provider),
    /// Its spec has no target.
    Invalid(TargetError),
}

impl ReferenceSummary {
    /// The summary of a reference.
    pub(super) fn of(reference: &RedisClusterRef) -> Self {
        let (target, query) = match reference.spec.target() {
            Ok(target @ Target::KakaoCloud { query, .. }) => (target, query),
            Ok(target @ Target::NcpClassic { .. }) => return Self::NotSupported(target.provider()),
            Err(error) => return Self::Invalid(error),
        };
        let cluster = reference.status.as_ref().and_then(|status| status.cluster.as_ref());
        Self::Kakao {
            query: Query::new(target, cluster),
            id: match query {
                TargetQuery::Id(id) => Some(id.to_owned()),
                TargetQuery::Name(_) => cluster.and_then(|cluster| cluster.id.clone()),
            },
            name: cluster.and_then(|cluster| cluster.name.clone()),
            is_suspended: reference.spec.suspend,
            shown_group: cluster.and_then(|cluster| cluster.parameter_group.clone()),
        }
    }
}

/// A number that differs when a RedisParameterSync has something else to say about the cluster of a reference.
pub(super) fn fingerprint(connection: &ReferenceConnection, observation: Option<&Observation>) -> u64 {
    let connected = match connection {
        ReferenceConnection::Connected(connection) => Ok(connection.label()),
        ReferenceConnection::Blocked(problem) => Err((problem.reason, &problem.message)),
    };
    let observed = observation.map(|observation| {
        let cluster = match &observation.observed {
            Observed::Found(found) => Some(found),
            _ => None,
        };
        let cluster = cluster.map(|found| {
            let group = found.parameter_group().map(|group| (&group.id, &group.name, &group.sync_status));
            (found.state(), found.parameters_read_at.is_some(), group)
        });
        let problem = observation.problem.as_ref().map(|problem| Problem::from(&**problem).message);
        (problem, std::mem::discriminant(&observation.observed), cluster)
    });
    digest::number((connected, observed))
}
