//! The environment in which objects are brought into their states: an API server, the operator, and three clouds, of which one
//! works, one fails and one never answers.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use fake_cloud::{FakeCloud, Fault, FaultKind, NCP_ACCESS_KEY, NCP_SECRET_KEY, NcpKey, Operation, Seed, StateHandle};
use harness::objects::{self, KAKAO_SECRET, NCP_SECRET};
use harness::{Operator, OperatorCommand};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt as _};
use managed_redis_operator::api::GROUP;
use serde_json::{Value, json};
use testbed::ApiServer;

use super::table::{ObjectKind, ShownState};

/// How many clusters one parameter sync covers here.
pub(super) const COVERED: u16 = 2;

/// The field manager.
const FIELD_MANAGER: &str = "xtask-gitops";
/// Where the objects are.
const NAMESPACE: &str = "gitops";
/// KakaoCloud region, and NCP site, of the cloud that fails from some moment on.
pub(super) const FAILING: (&str, &str) = ("kr-outage-1", "Gov");
/// NCP site of the cloud that never answers.
pub(super) const SILENT_SITE: &str = "Fin";
/// Secret with an NCP key that may not use the service.
pub(super) const POWERLESS_SECRET: &str = "ncp-powerless";
const POWERLESS_KEY: &str = "POWERLESSKEY00000000";
/// Secret with an NCP key that the cloud does not know.
pub(super) const WRONG_SECRET: &str = "ncp-wrong";
/// Another Secret with a key that works, for references that must not share a queue.
pub(super) const QUEUE_SECRET: &str = "ncp-queue";
/// How often everything is polled; the shortest that is allowed, so that an observation is stale after half a minute.
pub(super) const POLL: &str = "10s";
/// How long any state may take to come about: a stale observation takes 40 s, the rest much less.
const WITHIN: Duration = Duration::from_secs(80);

/// A state did not come about.
#[derive(Debug, thiserror::Error)]
#[error("{what} is not {wanted} after {} s; it shows: {found}", WITHIN.as_secs())]
pub(super) struct NotReached {
    /// The object.
    what: String,
    /// What was waited for.
    wanted: String,
    /// What the object shows instead.
    found: String,
}

/// An API server, three clouds and a namespace; and the operator, while it runs.
pub(super) struct GitopsEnvironment {
    server: ApiServer,
    client: Client,
    /// The cloud that works.
    cloud: FakeCloud,
    /// The cloud that fails from some moment on.
    failing: FakeCloud,
    /// The cloud that never answers.
    silent: FakeCloud,
}

impl GitopsEnvironment {
    /// Starts everything but the operator.
    ///
    /// # Errors
    /// When anything does not come up.
    pub(super) async fn open() -> anyhow::Result<Self> {
        let server = harness::api_server(&delivery::crds::shipped()?).await?;
        let client = server.client()?;
        let (cloud, failing, silent) = (start().await?, start().await?, start().await?);
        silent.state().inject(Fault::new(Operation::Any, FaultKind::Hang)).context("a fake cloud")?;
        let mut powerless = NcpKey::new(POWERLESS_KEY, NCP_SECRET_KEY);
        powerless.permission_denied = true;
        cloud.state().set_ncp_keys(vec![NcpKey::new(NCP_ACCESS_KEY, NCP_SECRET_KEY), powerless]);
        let environment = Self { server, client, cloud, failing, silent };
        objects::namespace(&environment.client, NAMESPACE).await?;
        for (name, data) in [
            (KAKAO_SECRET, objects::kakao_secret()),
            (NCP_SECRET, objects::ncp_secret()),
            (QUEUE_SECRET, objects::ncp_secret()),
            (POWERLESS_SECRET, objects::ncp_secret_of(POWERLESS_KEY, NCP_SECRET_KEY)),
            (WRONG_SECRET, objects::ncp_secret_of("NOSUCHKEY00000000000", NCP_SECRET_KEY)),
        ] {
            objects::secret(&Api::namespaced(environment.client.clone(), NAMESPACE), name, data).await?;
        }
        Ok(environment)
    }

    /// The cloud that works.
    pub(super) fn cloud(&self) -> StateHandle {
        self.cloud.state()
    }

    /// The cloud that fails from some moment on.
    pub(super) fn failing(&self) -> StateHandle {
        self.failing.state()
    }

    /// Starts the operator, with further flags.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start_operator(&self, program: &Path, further: &[&str]) -> anyhow::Result<Operator> {
        let (region, site) = FAILING;
        let flags = [
            format!("--kakao-endpoint={region}={}", self.failing.url()),
            format!("--kakao-iam-endpoint={region}={}", self.failing.url()),
            format!("--ncp-endpoint={site}={}", self.failing.url()),
            format!("--ncp-endpoint={SILENT_SITE}={}", self.silent.url()),
            format!("--poll-interval={POLL}"),
            "--cloud-qps=100".to_owned(),
            "--cloud-burst=100".to_owned(),
            format!("--max-clusters-per-sync={COVERED}"),
        ];
        let command = OperatorCommand::new(program, self.server.kubeconfig_path()).clouds(&self.cloud.url());
        let command =
            command.flags([format!("--operator-namespace={NAMESPACE}")]).flags(flags).flags(further.iter().copied());
        command.in_own_group().start()
    }

    /// Stops the API server and removes its data.
    pub(super) async fn close(self) {
        self.server.stop().await;
    }

    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource)
    }

    fn of(&self, kind: ObjectKind) -> Api<DynamicObject> {
        self.api(GROUP, "v1alpha1", kind.as_str())
    }

    /// Applies an object of the core group.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub(super) async fn core(&self, kind: &str, name: &str, fields: Value) -> anyhow::Result<()> {
        let mut object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } });
        merge(&mut object, fields);
        apply(&self.api("", "v1", kind), name, &object)
            .await
            .map(drop)
            .with_context(|| format!("cannot apply {kind} {name}"))
    }

    /// Applies an object of the three kinds, as GitOps does.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub(super) async fn apply(&self, kind: ObjectKind, name: &str, spec: Value) -> anyhow::Result<DynamicObject> {
        let mut object = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": kind.as_str(), "metadata": { "name": name },
        });
        object["spec"] = spec;
        apply(&self.of(kind), name, &object).await.with_context(|| format!("cannot apply {} {name}", kind.as_str()))
    }

    /// Asks the API server whether it would take an object, without a namespace of its own, as it is.
    ///
    /// # Errors
    /// When it would not.
    pub(super) async fn would_accept(&self, object: &DynamicObject) -> anyhow::Result<()> {
        let kind = object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
        let name = object.name_any();
        let params = PatchParams::apply(FIELD_MANAGER).force().validation_strict().dry_run();
        let answer = self.api(GROUP, "v1alpha1", &kind).patch(&name, &params, &Patch::Apply(object)).await;
        answer.map(drop).with_context(|| format!("cannot apply the example {kind} {name}"))
    }

    /// Changes a part of an object's spec.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub(super) async fn change(&self, kind: ObjectKind, name: &str, spec: Value) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let changed = self.of(kind).patch(name, &PatchParams::default(), &patch).await;
        changed.map(drop).with_context(|| format!("cannot change {} {name}", kind.as_str()))
    }

    /// Changes a part of an object's status, without the operator.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub(super) async fn change_status(&self, kind: ObjectKind, name: &str, status: Value) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({ "status": status }));
        let changed = self.of(kind).patch_status(name, &PatchParams::default(), &patch).await;
        changed.map(drop).with_context(|| format!("cannot change the status of {} {name}", kind.as_str()))
    }

    /// Deletes an object, and waits until it is gone unless a finalizer is to hold it.
    ///
    /// # Errors
    /// When the API server refuses, or it does not go.
    pub(super) async fn delete(&self, kind: ObjectKind, name: &str, and_wait: bool) -> anyhow::Result<()> {
        let what = format!("cannot delete {} {name}", kind.as_str());
        self.of(kind).delete(name, &DeleteParams::default()).await.with_context(|| what)?;
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
    pub(super) async fn shows(
        &self,
        kind: ObjectKind,
        name: &str,
        wanted: &ShownState,
    ) -> anyhow::Result<DynamicObject> {
        self.until(kind, name, wanted, |object| ShownState::of(kind, object) == *wanted).await
    }

    /// Waits until an object has the condition Ready for this reason, and gives it back as it was then.
    ///
    /// # Errors
    /// When it has not.
    pub(super) async fn ready(&self, kind: ObjectKind, name: &str, wanted: &str) -> anyhow::Result<DynamicObject> {
        self.until(kind, name, &wanted, |object| ShownState::of(kind, object).ready == wanted).await
    }

    /// Waits until a reference has read its Redis.
    ///
    /// # Errors
    /// When it gets none.
    pub(super) async fn seen(&self, name: &str) -> anyhow::Result<()> {
        let seen = |object: &DynamicObject| object.data["status"]["cluster"]["id"].is_string();
        self.until(ObjectKind::Reference, name, &"read", seen).await.map(drop)
    }

    async fn until(
        &self,
        kind: ObjectKind,
        name: &str,
        wanted: &impl fmt::Display,
        holds: impl Fn(&DynamicObject) -> bool,
    ) -> anyhow::Result<DynamicObject> {
        let found = self.wait(kind, name, wanted, |object: Option<&DynamicObject>| object.is_some_and(&holds)).await?;
        found.ok_or_else(|| not_reached(kind, name, wanted, None))
    }

    async fn wait(
        &self,
        kind: ObjectKind,
        name: &str,
        wanted: &impl fmt::Display,
        holds: impl Fn(Option<&DynamicObject>) -> bool,
    ) -> anyhow::Result<Option<DynamicObject>> {
        let api = self.of(kind);
        match tokio::time::timeout(WITHIN, await_condition(api.clone(), name, holds)).await {
            Ok(found) => found.with_context(|| format!("{} cannot be watched", super::table::key(kind, name))),
            Err(_) => {
                let found = api.get_opt(name).await.with_context(|| format!("cannot read {} {name}", kind.as_str()))?;
                Err(not_reached(kind, name, wanted, found.as_ref()))
            }
        }
    }
}

async fn start() -> anyhow::Result<FakeCloud> {
    FakeCloud::start(Seed::default()).await.context("a fake cloud does not start")
}

async fn apply(api: &Api<DynamicObject>, name: &str, object: &Value) -> Result<DynamicObject, kube::Error> {
    let params = PatchParams::apply(FIELD_MANAGER).force().validation_strict();
    api.patch(name, &params, &Patch::Apply(object)).await
}

fn not_reached(
    kind: ObjectKind,
    name: &str,
    wanted: &impl fmt::Display,
    found: Option<&DynamicObject>,
) -> anyhow::Error {
    let not_reached = NotReached {
        what: super::table::key(kind, name),
        wanted: wanted.to_string(),
        found: found
            .map_or_else(|| "nothing, it is not there".to_owned(), |found| ShownState::of(kind, found).to_string()),
    };
    not_reached.into()
}

/// Puts the fields of one JSON object into another.
pub(super) fn merge(into: &mut Value, fields: Value) {
    if let (Value::Object(into), Value::Object(fields)) = (into, fields) {
        into.extend(fields);
    }
}
