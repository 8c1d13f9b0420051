//! The stand-in's knowledge, for tests in the same process.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::StartError;
use crate::faults::{ArmedFault, Fault, FaultError};
use crate::model::{KakaoCluster, KakaoFlavor, NcpInstance};
use crate::seed::{KakaoCredential, NcpKey};
use crate::simulation::{CloudClock, SharedSimulation};
use crate::state::StateError;
use crate::traffic::{Operation, OperationCounts, RequestFilter, RequestRecord};

/// What the clouds hold, to look at and to change while they run.
#[derive(Clone)]
pub struct StateHandle {
    shared: SharedSimulation,
}

impl StateHandle {
    pub(crate) fn new(shared: SharedSimulation) -> Self {
        Self { shared }
    }

    /// Adds a KakaoCloud cluster or instance set and gives its ID back.
    ///
    /// # Errors
    /// When the ID is taken or the values contradict each other.
    pub fn add_kakao_cluster(&self, cluster: KakaoCluster) -> Result<String, StateError> {
        let mut simulation = self.shared.lock();
        let now = simulation.clock.now().state;
        simulation.state.kakao.add(cluster, now)
    }

    /// Changes a cluster and gives it back. A changed status starts anew what follows from it.
    ///
    /// # Errors
    /// When there is no such cluster or the new values contradict each other.
    pub fn update_kakao_cluster(
        &self,
        id: &str,
        change: impl FnOnce(&mut KakaoCluster),
    ) -> Result<KakaoCluster, StateError> {
        let mut simulation = self.shared.lock();
        let now = simulation.clock.now().state;
        let kakao = &mut simulation.state.kakao;
        let not_found = || StateError::NotFound { kind: "cluster", id: id.to_owned() };
        let mut cluster = kakao.get(id, now).cloned().ok_or_else(not_found)?;
        change(&mut cluster);
        kakao.replace(id, cluster, now)?;
        kakao.get(id, now).cloned().ok_or_else(not_found)
    }

    /// Removes a cluster and gives it back.
    pub fn remove_kakao_cluster(&self, id: &str) -> Option<KakaoCluster> {
        self.shared.lock().state.kakao.remove(id)
    }

    /// A cluster as it is now.
    pub fn kakao_cluster(&self, id: &str) -> Option<KakaoCluster> {
        let mut simulation = self.shared.lock();
        let now = simulation.clock.now().state;
        simulation.state.kakao.get(id, now).cloned()
    }

    /// Every cluster as it is now, by ID.
    pub fn kakao_clusters(&self) -> Vec<KakaoCluster> {
        let mut simulation = self.shared.lock();
        let now = simulation.clock.now().state;
        simulation.state.kakao.list(now).cloned().collect()
    }

    /// Adds an NCP instance and gives its number back.
    ///
    /// # Errors
    /// When the number is taken or is none.
    pub fn add_ncp_instance(&self, instance: NcpInstance) -> Result<String, StateError> {
        let mut simulation = self.shared.lock();
        let now = simulation.clock.now().state;
        simulation.state.ncp.add(instance, now)
    }

    /// Changes an instance and gives it back. A changed status starts anew what follows from it.
    ///
    /// # Errors
    /// When there is no such instance or its number would change.
    pub fn update_ncp_instance(
        &self,
        instance_no: &str,
        change: impl FnOnce(&mut NcpInstance),
    ) -> Result<NcpInstance, StateError> {
        let mut simulation = self.shared.lock();
        let now = simulation.clock.now().state;
        let ncp = &mut simulation.state.ncp;
        let not_found = || StateError::NotFound { kind: "instance", id: instance_no.to_owned() };
        let mut instance = ncp.get(instance_no, now).cloned().ok_or_else(not_found)?;
        change(&mut instance);
        ncp.replace(instance_no, instance, now)?;
        ncp.get(instance_no, now).cloned().ok_or_else(not_found)
    }

    /// Removes an instance and gives it back.
    pub fn remove_ncp_instance(&self, instance_no: &str) -> Option<NcpInstance> {
        self.shared.lock().state.ncp.remove(instance_no)
    }

    /// An instance as it is now.
    pub fn ncp_instance(&self, instance_no: &str) -> Option<NcpInstance> {
        let mut simulation = self.shared.lock();
        let now = simulation.clock.now().state;
        simulation.state.ncp.get(instance_no, now).cloned()
    }

    /// Every instance as it is now, by number.
    pub fn ncp_instances(&self) -> Vec<NcpInstance> {
        let mut simulation = self.shared.lock();
        let now = simulation.clock.now().state;
        simulation.state.ncp.list(now).cloned().collect()
    }

    /// Puts other engine versions on offer.
    pub fn set_kakao_versions<T: Into<String>>(&self, versions: impl IntoIterator<Item = T>) {
        self.shared.lock().state.kakao.versions = versions.into_iter().map(Into::into).collect();
    }

    /// Puts other flavors on offer.
    pub fn set_kakao_flavors(&self, flavors: Vec<KakaoFlavor>) {
        self.shared.lock().state.kakao.flavors = flavors;
    }

    /// Puts other application credentials in place of those known; tokens already issued still hold.
    pub fn set_kakao_credentials(&self, credentials: Vec<KakaoCredential>) {
        self.shared.lock().state.kakao.credentials = credentials;
    }

    /// Changes how many seconds tokens hold that are issued from now on.
    pub fn set_kakao_token_lifetime(&self, seconds: u32) {
        self.shared.lock().state.kakao.set_token_lifetime(seconds);
    }

    /// Makes a token hold, for so many seconds or until it is revoked.
    pub fn add_kakao_token(&self, token: impl Into<String>, lifetime_seconds: Option<u32>) {
        let mut simulation = self.shared.lock();
        let now = simulation.clock.now().state;
        simulation.state.kakao.add_token(token.into(), lifetime_seconds, now);
    }

    /// Ends every token, issued or seeded, and says how many there were.
    pub fn revoke_kakao_tokens(&self) -> usize {
        self.shared.lock().state.kakao.revoke_tokens()
    }

    /// How many tokens hold.
    pub fn valid_kakao_tokens(&self) -> usize {
        let simulation = self.shared.lock();
        simulation.state.kakao.valid_tokens(simulation.clock.now().state)
    }

    /// Puts other access keys in place of those known.
    pub fn set_ncp_keys(&self, keys: Vec<NcpKey>) {
        self.shared.lock().state.ncp.keys = keys;
    }

    /// Adds a fault and gives the ID back by which it can be removed.
    ///
    /// # Errors
    /// When it could not be sent as it is.
    pub fn inject(&self, fault: Fault) -> Result<u64, FaultError> {
        self.shared.lock().faults.add(fault)
    }

    /// The faults that wait for requests.
    pub fn faults(&self) -> Vec<ArmedFault> {
        self.shared.lock().faults.list().to_vec()
    }

    /// Removes a fault; false if there is none of this ID (any more).
    pub fn remove_fault(&self, id: u64) -> bool {
        self.shared.lock().faults.remove(id)
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// How many requests there were, those under way or never answered included.
    pub fn requests(&self, filter: impl Into<RequestFilter>) -> u64 {
        self.shared.lock().traffic.count(&filter.into())
    }

    /// Requests in figures, by operation.
    pub fn request_counts(&self) -> BTreeMap<Operation, OperationCounts> {
        self.shared.lock().traffic.by_operation()
    }

    /// The last 1000 requests, oldest first.
    pub fn recent_requests(&self) -> Vec<RequestRecord> {
        self.shared.lock().traffic.recent().cloned().collect()
    }

    /// Waits until there were at least `count` requests; false when the time was up first.
    pub async fn wait_for_requests(&self, filter: impl Into<RequestFilter>, count: u64, limit: Duration) -> bool {
        let filter = filter.into();
        self.wait_until(limit, |state| state.requests(filter.clone()) >= count).await
    }

    /// Waits until something holds, looked at after every request's beginning, effect and end; false when the time was
    /// up first.
    pub async fn wait_until(&self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        self.shared.wait_until(limit, || holds(self)).await
    }

    /// How often an instance was really wiped, whatever the client was told.
    pub fn flushes(&self, instance_no: &str) -> u64 {
        self.all_flushes().get(instance_no).copied().unwrap_or_default()
    }

    /// How often each instance was really wiped.
    pub fn all_flushes(&self) -> BTreeMap<String, u64> {
        self.shared.lock().state.ncp.flushes().clone()
    }

    /// How often a cluster's parameter group was really applied, whatever the client was told.
    pub fn applies(&self, cluster_id: &str) -> u64 {
        self.all_applies().get(cluster_id).copied().unwrap_or_default()
    }

    /// How often each cluster's parameter group was really applied.
    pub fn all_applies(&self) -> BTreeMap<String, u64> {
        self.shared.lock().state.kakao.applies().clone()
    }

    /// Moves the time on by which things change and tokens end. What the clouds tell the client of the time of day
    /// stays as it is.
    pub fn advance(&self, by: Duration) {
        let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
        let mut simulation = self.shared.lock();
        simulation.clock.advanced_seconds = simulation.clock.advanced_seconds.saturating_add(seconds);
    }

    /// Sets how many seconds the clouds' time of day is ahead of the computer's (negative: behind).
    pub fn set_skew(&self, seconds: i64) {
        self.shared.lock().clock.skew_seconds = seconds;
    }

    /// How far the clouds' time is from the computer's.
    pub fn clock(&self) -> CloudClock {
        self.shared.lock().clock
    }

    /// The time by which things change.
    pub fn now(&self) -> Timestamp {
        self.clock().now().state
    }

    /// Back to the seed: clusters, instances, credentials and faults as at the start, no requests, the clock as it was.
    ///
    /// # Errors
    /// None that starting with the same seed would not have met.
    pub fn reset(&self) -> Result<(), StartError> {
        self.shared.reset()
    }
}
