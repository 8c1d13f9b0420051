//! What a RedisClusterRef points at: the provider, and which Redis of it.

use std::fmt;

use super::cluster_ref::{ClusterStatus, NcpSite, RedisClusterRefSpec};
use super::shared::SecretRef;

/// A provider of managed Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// KakaoCloud, Redis (MemStore).
    KakaoCloud,
    /// NAVER Cloud Platform, Cloud DB for Redis.
    Ncp,
}

impl Provider {
    /// The name used in statuses, metrics and messages: `KakaoCloud` or `NCP`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KakaoCloud => "KakaoCloud",
            Self::Ncp => "NCP",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The target of a RedisClusterRef. A new product family of a cloud is a new variant here; each question about a target has
/// its one `match` in this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `spec.kakaoCloud`.
    KakaoCloud {
        /// Its region.
        region: &'a str,
        /// Which cluster or instance set.
        query: TargetQuery<'a>,
        /// The Secret with the credential.
        secret: &'a SecretRef,
    },
    /// `spec.ncp`: the Classic platform.
    NcpClassic {
        /// Its site.
        site: NcpSite,
        /// Which instance.
        query: TargetQuery<'a>,
        /// The Secret with the credential.
        secret: &'a SecretRef,
    },
}

/// How the spec names one Redis of its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetQuery<'a> {
    /// By its ID or instance number.
    Id(&'a str),
    /// By its name, which only one Redis may have.
    Name(&'a str),
}

/// Why a spec has no target. The CRD refuses such a spec, but an older or a changed CRD may have let one in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No provider is named.
    #[error("spec names neither kakaoCloud nor ncp; set exactly one")]
    NoProvider,
    /// More than one provider is named.
    #[error("spec names both kakaoCloud and ncp; set exactly one")]
    SeveralProviders,
    /// The provider is named, the Redis is not.
    #[error("spec.{0} names neither {1} nor {2}; set exactly one")]
    NoRedis(&'static str, &'static str, &'static str),
}

impl RedisClusterRefSpec {
    /// What this spec points at.
    ///
    /// # Errors
    /// The spec names no target, or more than one.
    pub fn target(&self) -> Result<Target<'_>, TargetError> {
        match (&self.kakao_cloud, &self.ncp) {
            (Some(kakao), None) => {
                let query = TargetQuery::new(kakao.cluster_id.as_deref(), kakao.cluster_name.as_deref())
                    .ok_or(TargetError::NoRedis("kakaoCloud", "clusterID", "clusterName"))?;
                Ok(Target::KakaoCloud { region: &kakao.region, query, secret: &kakao.credentials_secret_ref })
            }
            (None, Some(ncp)) => {
                let (number, name) = (ncp.cloud_db_instance_no.as_deref(), ncp.cloud_db_service_name.as_deref());
                let query = TargetQuery::new(number, name).ok_or(TargetError::NoRedis(
                    "ncp",
                    "cloudDBInstanceNo",
                    "cloudDBServiceName",
                ))?;
                Ok(Target::NcpClassic { site: ncp.site, query, secret: &ncp.credentials_secret_ref })
            }
            (None, None) => Err(TargetError::NoProvider),
            (Some(_), Some(_)) => Err(TargetError::SeveralProviders),
        }
    }
}

impl<'a> Target<'a> {
    /// The provider that has it.
    #[must_use]
    pub fn provider(self) -> Provider {
        match self {
            Self::KakaoCloud { .. } => Provider::KakaoCloud,
            Self::NcpClassic { .. } => Provider::Ncp,
        }
    }

    /// The region or site, which selects the endpoint of the provider's API.
    #[must_use]
    pub fn endpoint(self) -> &'a str {
        match self {
            Self::KakaoCloud { region, .. } => region,
            Self::NcpClassic { site, .. } => site.as_str(),
        }
    }

    /// Name of the Secret with the credential.
    #[must_use]
    pub fn secret(self) -> &'a str {
        match self {
            Self::KakaoCloud { secret, .. } | Self::NcpClassic { secret, .. } => &secret.name,
        }
    }

    /// Which Redis of the provider.
    #[must_use]
    pub fn query(self) -> TargetQuery<'a> {
        match self {
            Self::KakaoCloud { query, .. } | Self::NcpClassic { query, .. } => query,
        }
    }

    /// Which Redis all have this name or ID, as the begin of a sentence.
    #[must_use]
    pub fn describe_several(self, count: usize) -> String {
        let which = match self.query() {
            TargetQuery::Id(id) => format!("have the ID {id}"),
            TargetQuery::Name(name) => format!("are named {name}"),
        };
        match self {
            Self::KakaoCloud { region, .. } => format!("{count} clusters {which} in {region}"),
            Self::NcpClassic { site, .. } => format!("{count} instances {which} at site {}", site.as_str()),
        }
    }

    /// The field of the spec that selects a Redis by its ID.
    #[must_use]
    pub fn id_field(self) -> &'static str {
        match self {
            Self::KakaoCloud { .. } => "clusterID",
            Self::NcpClassic { .. } => "cloudDBInstanceNo",
        }
    }

    /// The target in a sentence, after "the" or a number.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::KakaoCloud { region, query, .. } => format!("cluster or instance set {query} in {region}"),
            Self::NcpClassic { site, query, .. } => format!("Redis instance {query} at site {}", site.as_str()),
        }
    }
}

impl<'a> TargetQuery<'a> {
    fn new(id: Option<&'a str>, name: Option<&'a str>) -> Option<Self> {
        id.map(Self::Id).or_else(|| name.map(Self::Name))
    }

    /// Whether this is the cluster that the query selects.
    #[must_use]
    pub fn selects(self, cluster: &ClusterStatus) -> bool {
        match self {
            Self::Id(id) => cluster.id.as_deref() == Some(id),
            Self::Name(name) => cluster.name.as_deref() == Some(name),
        }
    }
}

impl fmt::Display for TargetQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => f.write_str(id),
            Self::Name(name) => write!(f, "named {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(value: Value) -> RedisClusterRefSpec {
        serde_json::from_value(value).unwrap()
    }

    fn kakao() -> Value {
        json!({ "region": "kr-central-2", "clusterID": "set-1", "credentialsSecretRef": { "name": "kakaocloud" } })
    }

    fn ncp() -> Value {
        json!({ "site": "Gov", "cloudDBServiceName": "carts", "credentialsSecretRef": { "name": "ncp" } })
    }

    #[test]
    fn each_provider_answers_each_question() {
        let spec_of_kakao = spec(json!({ "kakaoCloud": kakao() }));
        let target = spec_of_kakao.target().unwrap();
        assert_eq!((target.provider(), target.endpoint()), (Provider::KakaoCloud, "kr-central-2"));
        assert_eq!((target.secret(), target.query()), ("kakaocloud", TargetQuery::Id("set-1")));
        assert_eq!(target.describe(), "cluster or instance set set-1 in kr-central-2");
        let spec_of_ncp = spec(json!({ "ncp": ncp() }));
        let target = spec_of_ncp.target().unwrap();
        assert_eq!((target.provider(), target.endpoint()), (Provider::Ncp, "Gov"));
        assert_eq!((target.secret(), target.query()), ("ncp", TargetQuery::Name("carts")));
        assert_eq!(target.describe(), "Redis instance named carts at site Gov");
    }

    #[test]
    fn a_spec_without_exactly_one_target_says_what_to_set() {
        let no_id = json!({ "region": "kr-central-2", "credentialsSecretRef": { "name": "kakaocloud" } });
        let no_number = json!({ "credentialsSecretRef": { "name": "ncp" } });
        for (value, wanted) in [
            (json!({}), "spec names neither kakaoCloud nor ncp; set exactly one"),
            (json!({ "kakaoCloud": kakao(), "ncp": ncp() }), "spec names both kakaoCloud and ncp; set exactly one"),
            (
                json!({ "kakaoCloud": no_id }),
                "spec.kakaoCloud names neither clusterID nor clusterName; set exactly one",
            ),
            (
                json!({ "ncp": no_number }),
                "spec.ncp names neither cloudDBInstanceNo nor cloudDBServiceName; set exactly one",
            ),
        ] {
            assert_eq!(spec(value).target().unwrap_err().to_string(), wanted);
        }
    }

    #[test]
    fn a_query_selects_by_what_it_names() {
        let cluster =
            ClusterStatus { id: Some("1".to_owned()), name: Some("a".to_owned()), ..ClusterStatus::default() };
        assert!(TargetQuery::Id("1").selects(&cluster) && TargetQuery::Name("a").selects(&cluster));
        assert!(!TargetQuery::Id("a").selects(&cluster) && !TargetQuery::Name("1").selects(&cluster));
        assert!(!TargetQuery::Id("").selects(&ClusterStatus::default()));
    }
}
