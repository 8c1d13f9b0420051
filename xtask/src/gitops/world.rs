//! What objects are brought into their states in: an API server, clouds that work, fail and keep silent, the operator.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use fake_cloud::{
    FakeCloud, Fault, FaultError, FaultKind, KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET, NCP_ACCESS_KEY,
    NCP_SECRET_KEY, NcpKey, Operation, Seed, StartError, StateError, StateHandle,
};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt as _};
use managed_redis_operator::api::GROUP;
use serde_json::{Value, json};
use testbed::{ApiServer, Options, TestbedError};

use super::table::{Kind, Shown};
use crate::demo::operator::{Operator, OperatorError, Surroundings};
use crate::generate::{self, GenerateError};

/// How many clusters one parameter sync covers here.
pub const COVERED: u16 = 2;

/// Who applies, for server-side apply.
const FIELD_MANAGER: &str = "xtask-gitops";
/// Where the objects are.
const NAMESPACE: &str = "gitops";
/// KakaoCloud region, and NCP site, of the cloud that fails from some moment on.
pub const FAILING: (&str, &str) = ("kr-outage-1", "Gov");
/// NCP site of the cloud that never answers.
pub const SILENT_SITE: &str = "Fin";
/// Secret with an NCP key that may not use the service.
pub const POWERLESS_SECRET: &str = "ncp-powerless";
/// Secret with an NCP key that nobody knows.
pub const WRONG_SECRET: &str = "ncp-wrong";
/// Secret with a key that works, for those who are to have a queue of their own.
pub const QUEUE_SECRET: &str = "ncp-queue";
/// How often everything is polled; the shortest that is allowed, so that a picture is stale after half a minute.
pub const POLL: &str = "10s";
/// How long any state may take to come about: a stale picture takes 40 s, the rest much less.
const WITHIN: Duration = Duration::from_secs(80);

/// Why the world is not as wanted.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The API server.
    #[error(transparent)]
    ApiServer(#[from] TestbedError),
    /// The definitions cannot be read.
    #[error(transparent)]
    Definitions(#[from] GenerateError),
    /// The operator.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// A fake cloud does not start.
    #[error("a fake cloud does not start: {0}")]
    Cloud(#[from] StartError),
    /// A fake cloud does not take a cluster or an instance.
    #[error("a fake cloud: {0}")]
    State(#[from] StateError),
    /// A fake cloud does not take a fault.
    #[error("a fake cloud: {0}")]
    Fault(#[from] FaultError),
    /// The API server did not do as asked.
    #[error("cannot {what}: {source}")]
    Kube {
        /// What was to be done.
        what: String,
        /// Why it was not.
        source: Box<kube::Error>,
    },
    /// A watch ended.
    #[error("{what} cannot be watched: {source}")]
    Watch {
        /// The object.
        what: String,
        /// Why not.
        source: Box<kube::runtime::wait::Error>,
    },
    /// A state did not come about.
    #[error("{what} is not {wanted} after {} s; it shows: {found}", WITHIN.as_secs())]
    NotReached {
        /// The object.
        what: String,
        /// What was waited for.
        wanted: String,
        /// What the object shows instead.
        found: String,
    },
}

/// An API server, three clouds and a namespace; and the operator, while it runs.
pub struct World {
    server: ApiServer,
    client: Client,
    /// The cloud that works.
    cloud: FakeCloud,
    /// The cloud that fails from some moment on.
    failing: FakeCloud,
    /// The cloud that never answers.
    silent: FakeCloud,
}

impl World {
    /// Starts everything but the operator.
    ///
    /// # Errors
    /// When anything does not come up.
    pub async fn open() -> Result<Self, WorldError> {
        let server = ApiServer::start(Options::default()).await?;
        let client = server.client()?;
        testbed::crds::install(&client, &generate::installed()?).await?;
        let (cloud, failing, silent) = (start().await?, start().await?, start().await?);
        silent.state().inject(Fault::new(Operation::Any, FaultKind::Hang))?;
        let mut powerless = NcpKey::new("POWERLESSKEY00000000", NCP_SECRET_KEY);
        powerless.permission_denied = true;
        cloud.state().set_ncp_keys(vec![NcpKey::new(NCP_ACCESS_KEY, NCP_SECRET_KEY), powerless]);
        let world = Self { server, client, cloud, failing, silent };
        world.create_cluster_wide("Namespace", NAMESPACE).await?;
        let kakao = [
            ("KAKAOCLOUD_APPLICATION_CREDENTIAL_ID", KAKAO_CREDENTIAL_ID),
            ("KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET", KAKAO_CREDENTIAL_SECRET),
        ];
        let ncp = |key: &'static str| [("NCLOUD_ACCESS_KEY", key), ("NCLOUD_SECRET_KEY", NCP_SECRET_KEY)];
        world.secret("kakaocloud", kakao).await?;
        world.secret("ncp", ncp(NCP_ACCESS_KEY)).await?;
        world.secret(QUEUE_SECRET, ncp(NCP_ACCESS_KEY)).await?;
        world.secret(POWERLESS_SECRET, ncp("POWERLESSKEY00000000")).await?;
        world.secret(WRONG_SECRET, ncp("NOSUCHKEY00000000000")).await?;
        Ok(world)
    }

    /// The cloud that works.
    pub fn cloud(&self) -> StateHandle {
        self.cloud.state()
    }

    /// The cloud that fails from some moment on.
    pub fn failing(&self) -> StateHandle {
        self.failing.state()
    }

    /// Starts the operator, with further flags.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_operator(&self, program: &Path, further: &[&str]) -> Result<Operator, WorldError> {
        let clouds = self.cloud.url();
        let (region, site) = FAILING;
        let mut flags = vec![
            format!("--kakao-endpoint={region}={}", self.failing.url()),
            format!("--kakao-iam-endpoint={region}={}", self.failing.url()),
            format!("--ncp-endpoint={site}={}", self.failing.url()),
            format!("--ncp-endpoint={SILENT_SITE}={}", self.silent.url()),
            format!("--poll-interval={POLL}"),
            "--cloud-qps=100".to_owned(),
            "--cloud-burst=100".to_owned(),
            format!("--max-clusters-per-sync={COVERED}"),
        ];
        flags.extend(further.iter().map(|flag| (*flag).to_owned()));
        let kubeconfig = self.server.kubeconfig_path();
        let log = self.server.folder().join("operator.log");
        let with = Surroundings { kubeconfig, namespace: NAMESPACE, clouds: &clouds, log, flags: &flags };
        Ok(Operator::start(program, with)?)
    }

    /// Stops the API server and removes its data.
    pub async fn close(self) {
        self.server.stop().await;
    }

    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource)
    }

    fn of(&self, kind: Kind) -> Api<DynamicObject> {
        self.api(GROUP, "v1alpha1", kind.as_str())
    }

    async fn create_cluster_wide(&self, kind: &str, name: &str) -> Result<(), WorldError> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", kind));
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let object = DynamicObject::new(name, &resource);
        api.create(&PostParams::default(), &object).await.map(drop).map_err(failed(format!("create {kind} {name}")))
    }

    async fn secret(&self, name: &str, data: [(&str, &str); 2]) -> Result<(), WorldError> {
        let data: serde_json::Map<String, Value> =
            data.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        self.core("Secret", name, json!({ "stringData": data })).await
    }

    /// Applies an object of the core group.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn core(&self, kind: &str, name: &str, fields: Value) -> Result<(), WorldError> {
        let mut object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } });
        merge(&mut object, fields);
        apply(&self.api("", "v1", kind), name, &object).await.map(drop).map_err(failed(format!("apply {kind} {name}")))
    }

    /// Applies an object of the three kinds, as GitOps does.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply(&self, kind: Kind, name: &str, spec: Value) -> Result<DynamicObject, WorldError> {
        let mut object = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": kind.as_str(), "metadata": { "name": name },
        });
        object["spec"] = spec;
        apply(&self.of(kind), name, &object).await.map_err(failed(format!("apply {} {name}", kind.as_str())))
    }

    /// Asks the API server whether it would take an object, without a namespace of its own, as it is.
    ///
    /// # Errors
    /// When it would not.
    pub async fn would_accept(&self, object: &DynamicObject) -> Result<(), WorldError> {
        let kind = object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
        let name = object.name_any();
        let params = PatchParams::apply(FIELD_MANAGER).force().validation_strict().dry_run();
        let answer = self.api(GROUP, "v1alpha1", &kind).patch(&name, &params, &Patch::Apply(object)).await;
        answer.map(drop).map_err(failed(format!("apply the example {kind} {name}")))
    }

    /// Changes a part of an object's spec.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn change(&self, kind: Kind, name: &str, spec: Value) -> Result<(), WorldError> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let changed = self.of(kind).patch(name, &PatchParams::default(), &patch).await;
        changed.map(drop).map_err(failed(format!("change {} {name}", kind.as_str())))
    }

    /// Changes a part of an object's status, behind the operator's back.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn change_status(&self, kind: Kind, name: &str, status: Value) -> Result<(), WorldError> {
        let patch = Patch::Merge(json!({ "status": status }));
        let changed = self.of(kind).patch_status(name, &PatchParams::default(), &patch).await;
        changed.map(drop).map_err(failed(format!("change the status of {} {name}", kind.as_str())))
    }

    /// Deletes an object, and waits until it is gone unless a finalizer is to hold it.
    ///
    /// # Errors
    /// When the API server refuses, or it does not go.
    pub async fn delete(&self, kind: Kind, name: &str, and_wait: bool) -> Result<(), WorldError> {
        let what = format!("delete {} {name}", kind.as_str());
        self.of(kind).delete(name, &DeleteParams::default()).await.map_err(failed(what))?;
        if and_wait {
            let gone = |object: Option<&DynamicObject>| object.is_none();
            self.wait(kind, name, &"gone", gone).await?;
        }
        Ok(())
    }

    /// Waits until an object shows exactly this, and gives it back as it was then.
    ///
    /// # Errors
    /// When it does not.
    pub async fn shows(&self, kind: Kind, name: &str, wanted: &Shown) -> Result<DynamicObject, WorldError> {
        self.until(kind, name, wanted, |object| Shown::of(kind, object) == *wanted).await
    }

    /// Waits until an object has the condition Ready for this reason, and gives it back as it was then.
    ///
    /// # Errors
    /// When it has not.
    pub async fn ready(&self, kind: Kind, name: &str, wanted: &str) -> Result<DynamicObject, WorldError> {
        self.until(kind, name, &wanted, |object| Shown::of(kind, object).ready == wanted).await
    }

    /// Waits until a reference has a picture of its Redis.
    ///
    /// # Errors
    /// When it gets none.
    pub async fn seen(&self, name: &str) -> Result<(), WorldError> {
        let seen = |object: &DynamicObject| object.data["status"]["cluster"]["id"].is_string();
        self.until(Kind::Reference, name, &"read", seen).await.map(drop)
    }

    async fn until(
        &self,
        kind: Kind,
        name: &str,
        wanted: &impl fmt::Display,
        holds: impl Fn(&DynamicObject) -> bool,
    ) -> Result<DynamicObject, WorldError> {
        let found = self.wait(kind, name, wanted, |object: Option<&DynamicObject>| object.is_some_and(&holds)).await?;
        found.ok_or_else(|| not_reached(kind, name, wanted, None))
    }

    async fn wait(
        &self,
        kind: Kind,
        name: &str,
        wanted: &impl fmt::Display,
        holds: impl Fn(Option<&DynamicObject>) -> bool,
    ) -> Result<Option<DynamicObject>, WorldError> {
        let api = self.of(kind);
        match tokio::time::timeout(WITHIN, await_condition(api.clone(), name, holds)).await {
            Ok(found) => found
                .map_err(|source| WorldError::Watch { what: super::table::key(kind, name), source: Box::new(source) }),
            Err(_) => {
                let found = api.get_opt(name).await.map_err(failed(format!("read {} {name}", kind.as_str())))?;
                Err(not_reached(kind, name, wanted, found.as_ref()))
            }
        }
    }
}

async fn start() -> Result<FakeCloud, StartError> {
    FakeCloud::start(Seed::default()).await
}

async fn apply(api: &Api<DynamicObject>, name: &str, object: &Value) -> Result<DynamicObject, kube::Error> {
    let params = PatchParams::apply(FIELD_MANAGER).force().validation_strict();
    api.patch(name, &params, &Patch::Apply(object)).await
}

fn failed(what: String) -> impl FnOnce(kube::Error) -> WorldError {
    move |source| WorldError::Kube { what, source: Box::new(source) }
}

fn not_reached(kind: Kind, name: &str, wanted: &impl fmt::Display, found: Option<&DynamicObject>) -> WorldError {
    WorldError::NotReached {
        what: super::table::key(kind, name),
        wanted: wanted.to_string(),
        found: found.map_or_else(|| "nothing, it is not there".to_owned(), |found| Shown::of(kind, found).to_string()),
    }
}

/// Puts the fields of one JSON object into another.
pub fn merge(into: &mut Value, fields: Value) {
    if let (Value::Object(into), Value::Object(fields)) = (into, fields) {
        into.extend(fields);
    }
}
