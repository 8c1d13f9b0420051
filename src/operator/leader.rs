//! Carries out what [`election`](super::election) decides: one replica works, the others stand by.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::OperatorError;
use super::election::{Election, ElectionStep, LeaseAnswer, LeaseRecord, LeaseRequest, Loss};
use super::leadership::Leadership;
use crate::api::FIELD_MANAGER;
use crate::controllers::context::Settings;

/// Name of the Lease, in the operator's namespace.
pub(crate) const LEASE: &str = "managed-redis-operator";
/// The Lease is released within this time, or left to expire.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);
/// How often it is logged that the Lease cannot be read or written.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// This process's part in the election.
pub(crate) struct Candidate {
    leases: Api<Lease>,
    namespace: String,
    election: Election,
    leadership: Leadership,
    /// Whether the API server has ever answered about the Lease.
    has_heard: bool,
    complained: Option<Instant>,
}

impl Candidate {
    /// A candidate that has not won yet. `client` is for the Lease alone, so that no other request delays it.
    pub(crate) fn new(client: &Client, settings: &Settings, leadership: Leadership) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), &settings.operator_namespace),
            namespace: settings.operator_namespace.clone(),
            election: Election::new(settings.identity.clone()),
            leadership,
            has_heard: false,
            complained: None,
        }
    }

    /// Resolves to true when this process leads, and to false when it was told to stop first.
    ///
    /// # Errors
    /// When the API server refuses to let this process read or write the Lease.
    pub(crate) async fn lead(&mut self, shutdown: &CancellationToken) -> Result<bool, OperatorError> {
        info!(lease = LEASE, "waiting to lead");
        while self.election.leads_until().is_none() {
            let holder = self.election.holder().map(str::to_owned);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(false),
                advanced = self.advance() => advanced?,
            };
            if let Some(now) = self.election.holder()
                && holder.as_deref() != Some(now)
                && self.election.leads_until().is_none()
            {
                info!(holder = now, "standing by, another replica leads");
            }
        }
        Ok(true)
    }

    /// Renews the Lease, and resolves when this process must not work any more.
    pub(crate) async fn lost(&mut self) -> Loss {
        loop {
            // A refusal does not end leadership before its time.
            if let Ok(Some(loss)) = self.advance().await {
                self.leadership.set(None);
                warn!(reason = %loss, "leadership ends");
                return loss;
            }
        }
    }

    /// Takes one step. Returns the loss, if leadership ended.
    async fn advance(&mut self) -> Result<Option<Loss>, OperatorError> {
        let sent = Instant::now();
        match self.election.step(sent, Timestamp::now()) {
            ElectionStep::Lost(loss) => Ok(Some(loss)),
            ElectionStep::Wait(until) => {
                tokio::time::sleep_until(until.into()).await;
                Ok(None)
            }
            ElectionStep::Ask(request, until) => {
                let answer = match tokio::time::timeout_at(until.into(), self.send(&request)).await {
                    Ok(Ok(lease)) => read(&lease),
                    Ok(Err(error)) => self.judge(&request, &error)?,
                    Err(_) => {
                        self.complain("no answer in time");
                        LeaseAnswer::Unknown
                    }
                };
                self.has_heard |= answer != LeaseAnswer::Unknown;
                self.election.answered(&request, answer, sent, Instant::now());
                self.leadership.set(self.election.leads_until());
                Ok(None)
            }
        }
    }

    async fn send(&self, request: &LeaseRequest) -> Result<Lease, kube::Error> {
        match request {
            LeaseRequest::Read => self.leases.get(LEASE).await,
            LeaseRequest::Create(record) => {
                let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
                let metadata = ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() };
                self.leases.create(&params, &Lease { metadata, spec: Some(spec(record)) }).await
            }
            LeaseRequest::Update { version, record } => {
                let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
                let patch = json!({ "metadata": { "resourceVersion": version }, "spec": merge(record) });
                self.leases.patch(LEASE, &params, &Patch::Merge(&patch)).await
            }
        }
    }

    /// What an error says about the Lease.
    ///
    /// # Errors
    /// When the API server refuses the first read, or the write by which this process would begin to lead: a replica that can never
    /// lead must not look healthy.
    fn judge(&mut self, request: &LeaseRequest, error: &kube::Error) -> Result<LeaseAnswer, OperatorError> {
        let code = if let kube::Error::Api(status) = error { status.code } else { 0 };
        match code {
            409 => return Ok(LeaseAnswer::Conflict),
            // For a creation it means that there is no such namespace.
            404 if !matches!(request, LeaseRequest::Create(_)) => return Ok(LeaseAnswer::Absent),
            429 => {}
            400..500
                if self.election.leads_until().is_none() && (*request != LeaseRequest::Read || !self.has_heard) =>
            {
                return Err(OperatorError::LeaderElection(format!(
                    "Lease {LEASE} in namespace {} cannot be used: {error}",
                    self.namespace
                )));
            }
            _ => {}
        }
        self.complain(error);
        Ok(LeaseAnswer::Unknown)
    }

    fn complain(&mut self, error: impl std::fmt::Display) {
        let now = Instant::now();
        if self.complained.is_some_and(|last| now.duration_since(last) < COMPLAIN_EVERY) {
            debug!(%error, "the Lease could not be read or written; retrying");
            return;
        }
        self.complained = Some(now);
        warn!(%error, "the Lease could not be read or written; retrying (logged once a minute)");
    }

    /// Releases the Lease, so that another replica need not wait until it expires.
    pub(crate) async fn release(&mut self) {
        self.leadership.set(None);
        match tokio::time::timeout(RELEASE_WITHIN, self.try_to_release()).await {
            Ok(Ok(true)) => debug!("lease released"),
            Ok(Ok(false)) => debug!("the lease is not this replica's"),
            Ok(Err(error)) => warn!(%error, "the lease could not be released; it ends by itself"),
            Err(_) => warn!("the lease could not be released in time; it ends by itself"),
        }
    }

    /// Reads the Lease first, because the outcome of the last request may be unknown.
    async fn try_to_release(&mut self) -> Result<bool, kube::Error> {
        let now = Instant::now();
        match self.leases.get_opt(LEASE).await? {
            Some(lease) => self.election.answered(&LeaseRequest::Read, read(&lease), now, now),
            None => return Ok(false),
        }
        match self.election.release() {
            Some(request) => self.send(&request).await.map(|_| true),
            None => Ok(false),
        }
    }
}

/// What a Lease says.
fn read(lease: &Lease) -> LeaseAnswer {
    let spec = lease.spec.clone().unwrap_or_default();
    let record = LeaseRecord {
        holder: spec.holder_identity,
        duration_seconds: spec.lease_duration_seconds,
        acquired: spec.acquire_time.map(|time| time.0),
        renewed: spec.renew_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or_default(),
    };
    LeaseAnswer::Lease { record, version: lease.resource_version().unwrap_or_default() }
}

fn spec(record: &LeaseRecord) -> LeaseSpec {
    LeaseSpec {
        holder_identity: record.holder.clone(),
        lease_duration_seconds: record.duration_seconds,
        acquire_time: record.acquired.map(MicroTime),
        renew_time: record.renewed.map(MicroTime),
        lease_transitions: Some(record.transitions),
        ..LeaseSpec::default()
    }
}

/// A merge patch of the spec. Fields that the record does not have are removed.
fn merge(record: &LeaseRecord) -> serde_json::Value {
    json!({
        "holderIdentity": record.holder,
        "leaseDurationSeconds": record.duration_seconds,
        "acquireTime": record.acquired.map(MicroTime),
        "renewTime": record.renewed.map(MicroTime),
        "leaseTransitions": record.transitions,
    })
}
