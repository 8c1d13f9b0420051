//! KakaoCloud's memory: tokens, clusters and the parameter groups being applied.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use secrecy::ExposeSecret as _;

use super::{StateError, after, whole_seconds};
use crate::model::{KakaoCluster, KakaoFlavor, random_id};
use crate::seed::{KakaoCredential, KakaoSeed, KakaoTimings};

const KIND: &str = "cluster";
const IN_SYNC: &str = "In-Sync";
const ERROR_SYNC: &str = "Error-Sync";
const APPLYING: &str = "Applying";

/// What KakaoCloud remembers.
pub(crate) struct KakaoState {
    pub(crate) credentials: Vec<KakaoCredential>,
    pub(crate) versions: Vec<String>,
    pub(crate) flavors: Vec<KakaoFlavor>,
    token_lifetime_seconds: u32,
    timings: KakaoTimings,
    /// Tokens that hold, with their end; those of the seed have none.
    tokens: HashMap<String, Option<Timestamp>>,
    clusters: BTreeMap<String, ClusterEntry>,
    applies: BTreeMap<String, u64>,
}

struct ClusterEntry {
    cluster: KakaoCluster,
    status_ends: Option<Timestamp>,
    apply_ends: Option<Timestamp>,
}

/// Why the parameter group is not applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ApplyRefusal {
    /// No such cluster.
    NotFound,
    /// The cluster has no parameter group.
    NoParameterGroup,
    /// The cluster, or its parameter group, is in this state.
    Busy(String),
}

impl KakaoState {
    pub(crate) fn new(seed: &KakaoSeed) -> Self {
        Self {
            credentials: seed.credentials.clone(),
            versions: seed.versions.clone(),
            flavors: seed.flavors.clone(),
            token_lifetime_seconds: seed.token_lifetime_seconds,
            timings: seed.timings,
            tokens: seed.tokens.iter().map(|token| (token.expose_secret().to_owned(), None)).collect(),
            clusters: BTreeMap::new(),
            applies: BTreeMap::new(),
        }
    }

    /// A new token for a credential, and how many seconds it holds; none when the credential is not known.
    pub(crate) fn issue_token(&mut self, id: &str, secret: &str, now: Timestamp) -> Option<(String, u32)> {
        self.credentials.iter().find(|known| known.id == id && known.secret.expose_secret() == secret)?;
        self.tokens.retain(|_, end| end.is_none_or(|end| end > now));
        let token = format!("gAAAA{}", crate::model::hex(&rand::random::<[u8; 32]>()));
        self.tokens.insert(token.clone(), Some(after(now, self.token_lifetime_seconds)));
        Some((token, self.token_lifetime_seconds))
    }

    /// Makes a token hold, until `lifetime_seconds` from now or until it is revoked.
    pub(crate) fn add_token(&mut self, token: String, lifetime_seconds: Option<u32>, now: Timestamp) {
        self.tokens.insert(token, lifetime_seconds.map(|seconds| after(now, seconds)));
    }

    /// Changes how long tokens hold that are issued from now on.
    pub(crate) fn set_token_lifetime(&mut self, seconds: u32) {
        self.token_lifetime_seconds = seconds;
    }

    /// Ends every token, issued or seeded, and says how many there were.
    pub(crate) fn revoke_tokens(&mut self) -> usize {
        std::mem::take(&mut self.tokens).len()
    }

    /// How many tokens hold.
    pub(crate) fn valid_tokens(&self, now: Timestamp) -> usize {
        self.tokens.values().filter(|end| end.is_none_or(|end| end > now)).count()
    }

    pub(crate) fn token_holds(&self, token: &str, now: Timestamp) -> bool {
        self.tokens.get(token).is_some_and(|end| end.is_none_or(|end| end > now))
    }

    /// Adds a cluster and gives its ID back.
    pub(crate) fn add(&mut self, cluster: KakaoCluster, now: Timestamp) -> Result<String, StateError> {
        let cluster = complete(cluster, now)?;
        let id = cluster.object_id.clone();
        if self.clusters.contains_key(&id) {
            return Err(StateError::AlreadyExists { kind: KIND, id });
        }
        let mut entry = ClusterEntry { cluster, status_ends: None, apply_ends: None };
        entry.start_building(now, self.timings);
        entry.start_applying(now, self.timings);
        self.clusters.insert(id.clone(), entry);
        Ok(id)
    }

    /// Puts another value in a cluster's place. A changed status starts anew what follows from it.
    pub(crate) fn replace(&mut self, id: &str, cluster: KakaoCluster, now: Timestamp) -> Result<(), StateError> {
        let not_found = || StateError::NotFound { kind: KIND, id: id.to_owned() };
        let timings = self.timings;
        let entry = self.clusters.get_mut(id).ok_or_else(not_found)?;
        if cluster.object_id != id {
            return Err(StateError::Invalid(format!("objectId of cluster {id} cannot be changed")));
        }
        let before = std::mem::replace(&mut entry.cluster, complete(cluster, now)?);
        if before.status != entry.cluster.status || before.behaviour != entry.cluster.behaviour {
            entry.start_building(now, timings);
        }
        if before.parameter_group_sync_status != entry.cluster.parameter_group_sync_status {
            entry.start_applying(now, timings);
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<KakaoCluster> {
        self.clusters.remove(id).map(|entry| entry.cluster)
    }

    /// The cluster as it is now.
    pub(crate) fn get(&mut self, id: &str, now: Timestamp) -> Option<&KakaoCluster> {
        let timings = self.timings;
        let entry = self.clusters.get_mut(id)?;
        entry.settle(now, timings);
        Some(&entry.cluster)
    }

    /// Every cluster as it is now, by ID.
    pub(crate) fn list(&mut self, now: Timestamp) -> impl Iterator<Item = &KakaoCluster> {
        let timings = self.timings;
        self.clusters.values_mut().map(move |entry| {
            entry.settle(now, timings);
            &entry.cluster
        })
    }

    /// Starts applying the parameter group; the result shows in the sync status when it is there.
    pub(crate) fn apply_parameter_group(&mut self, id: &str, now: Timestamp) -> Result<(), ApplyRefusal> {
        let timings = self.timings;
        let entry = self.clusters.get_mut(id).ok_or(ApplyRefusal::NotFound)?;
        entry.settle(now, timings);
        let ClusterEntry { cluster, .. } = entry;
        if !cluster.status.eq_ignore_ascii_case("running") {
            return Err(ApplyRefusal::Busy(cluster.status.clone()));
        }
        if cluster.parameter_group_id.is_none() {
            return Err(ApplyRefusal::NoParameterGroup);
        }
        if entry.apply_ends.is_some() {
            return Err(ApplyRefusal::Busy(APPLYING.into()));
        }
        cluster.parameter_group_sync_status = Some(APPLYING.into());
        entry.start_applying(now, timings);
        *self.applies.entry(id.to_owned()).or_default() += 1;
        Ok(())
    }

    /// How often each cluster's parameter group was applied.
    pub(crate) fn applies(&self) -> &BTreeMap<String, u64> {
        &self.applies
    }
}

impl ClusterEntry {
    /// From `Init` and `Creating` the cluster moves on by itself, from any other status it does not.
    fn start_building(&mut self, now: Timestamp, timings: KakaoTimings) {
        let behaviour = &self.cluster.behaviour;
        let seconds = match self.cluster.status.as_str() {
            _ if behaviour.stuck => None,
            "Init" => Some(behaviour.init_seconds.unwrap_or(timings.init_seconds)),
            "Creating" => Some(behaviour.create_seconds.unwrap_or(timings.create_seconds)),
            _ => None,
        };
        self.status_ends = seconds.map(|seconds| after(now, seconds));
    }

    fn start_applying(&mut self, now: Timestamp, timings: KakaoTimings) {
        let applying = self.cluster.parameter_group_sync_status.as_deref() == Some(APPLYING);
        let seconds = self.cluster.behaviour.apply_seconds.unwrap_or(timings.apply_seconds);
        self.apply_ends = (applying && !self.cluster.behaviour.stuck).then(|| after(now, seconds));
    }

    fn settle(&mut self, now: Timestamp, timings: KakaoTimings) {
        while let Some(end) = self.status_ends.filter(|end| *end <= now) {
            let next = if self.cluster.status == "Init" { "Creating" } else { "Running" };
            self.cluster.status = next.into();
            self.start_building(end, timings);
        }
        if self.apply_ends.take_if(|end| *end <= now).is_some() {
            let behaviour = &mut self.cluster.behaviour;
            let result = match behaviour.apply_failures.checked_sub(1) {
                Some(left) => {
                    behaviour.apply_failures = left;
                    behaviour.apply_failure_status.as_deref().unwrap_or(ERROR_SYNC)
                }
                None => IN_SYNC,
            };
            self.cluster.parameter_group_sync_status = Some(result.into());
        }
    }
}

/// Fills in what a cluster always has and refuses what the cloud would never show.
fn complete(mut cluster: KakaoCluster, now: Timestamp) -> Result<KakaoCluster, StateError> {
    if cluster.cluster_enabled && (cluster.shard_count == 0 || !cluster.recovery_enabled) {
        let sentence = "clusterEnabled needs a shardCount of at least 1 and recoveryEnabled";
        return Err(StateError::Invalid(sentence.into()));
    }
    if !cluster.cluster_enabled && cluster.shard_count != 0 {
        return Err(StateError::Invalid("shardCount must be 0 unless clusterEnabled".into()));
    }
    if cluster.object_id.is_empty() {
        cluster.object_id = random_id();
    }
    if cluster.object_id.contains(['/', '?', '#']) {
        return Err(StateError::Invalid("objectId must not contain any of / ? #".into()));
    }
    cluster.created_at.get_or_insert(whole_seconds(now));
    let name = if cluster.name.is_empty() { &cluster.object_id } else { &cluster.name };
    let host = |role: &str| format!("{name}-{role}.kr-central-2.memstore.example");
    if cluster.endpoints.primary_endpoint.is_empty() {
        cluster.endpoints.primary_endpoint = host("primary");
        if !cluster.cluster_enabled {
            cluster.endpoints.read_endpoint = host("read");
        }
    }
    Ok(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn state() -> KakaoState {
        KakaoState::new(&KakaoSeed::default())
    }

    fn sync_status(state: &mut KakaoState, second: i64) -> String {
        state.get("a", at(second)).unwrap().parameter_group_sync_status.clone().unwrap()
    }

    #[test]
    fn a_new_cluster_is_built_in_two_steps() {
        let mut state = state();
        let cluster = KakaoCluster { status: "Init".into(), ..KakaoCluster::instance_set("a", "sessions") };
        state.add(cluster, at(0)).unwrap();
        let status = |state: &mut KakaoState, second| state.get("a", at(second)).unwrap().status.clone();
        assert_eq!(status(&mut state, 4), "Init");
        assert_eq!(status(&mut state, 5), "Creating");
        assert_eq!(status(&mut state, 34), "Creating");
        assert_eq!(status(&mut state, 35), "Running");
    }

    #[test]
    fn a_long_look_away_settles_both_steps() {
        let mut state = state();
        let cluster = KakaoCluster { status: "Init".into(), ..KakaoCluster::instance_set("a", "sessions") };
        state.add(cluster, at(0)).unwrap();
        assert_eq!(state.list(at(1000)).next().unwrap().status, "Running");
    }

    #[test]
    fn an_apply_fails_as_often_as_told_and_then_holds() {
        let mut state = state();
        let mut cluster = KakaoCluster::instance_set("a", "sessions");
        cluster.behaviour.apply_failures = 1;
        state.add(cluster, at(0)).unwrap();
        assert_eq!(state.apply_parameter_group("a", at(0)), Ok(()));
        assert_eq!(sync_status(&mut state, 4), APPLYING);
        assert_eq!(state.apply_parameter_group("a", at(4)), Err(ApplyRefusal::Busy(APPLYING.into())));
        assert_eq!(sync_status(&mut state, 5), ERROR_SYNC);
        assert_eq!(state.apply_parameter_group("a", at(5)), Ok(()));
        assert_eq!(sync_status(&mut state, 10), IN_SYNC);
        assert_eq!(state.applies().get("a"), Some(&2));
    }

    #[test]
    fn a_token_ends_with_its_lifetime() {
        let mut state = state();
        let credential = (crate::seed::KAKAO_CREDENTIAL_ID, crate::seed::KAKAO_CREDENTIAL_SECRET);
        let (token, seconds) = state.issue_token(credential.0, credential.1, at(0)).unwrap();
        assert_eq!(seconds, 43_200);
        assert!(state.token_holds(&token, at(43_199)));
        assert!(!state.token_holds(&token, at(43_200)));
        assert!(state.issue_token(credential.0, "wrong", at(0)).is_none());
    }

    #[test]
    fn contradictions_are_refused() {
        let cluster = KakaoCluster { shard_count: 2, ..KakaoCluster::instance_set("a", "sessions") };
        assert!(matches!(state().add(cluster, at(0)), Err(StateError::Invalid(_))));
    }
}
