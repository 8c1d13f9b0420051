//! The environment of one run: a namespace with its objects, and a cloud of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fake_cloud::{FakeCloud, NCP_ACCESS_KEY, NCP_SECRET_KEY, NcpInstance, Seed};
use harness::objects;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use managed_redis_operator::api::{RECONCILE_REQUESTED_AT, RedisClusterRef, RedisFlushRequest};
use serde_json::{Value, json};

use super::history::History;
use super::script::{FaultScript, ScriptChange};

/// The instance to wipe.
pub(super) const INSTANCE: &str = "940017";
/// Another one, never to be wiped.
const ELSEWHERE: &str = "940018";
/// The request that every run has.
pub(super) const MAIN: &str = "flush";
const SAME_ID: &str = "flush-same-id";
const OTHER_ID: &str = "flush-other-id";
const REFERENCE: &str = "cache";
const SECRET: &str = "ncp";

/// Something that was changed and has to be set right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken {
    /// What.
    pub change: ScriptChange,
    /// Since when.
    pub since: Instant,
    /// How many writes there had been.
    pub writes: usize,
}

/// The environment of one run.
pub(super) struct RunEnvironment {
    client: Client,
    namespace: String,
    /// The cloud of this run alone.
    pub cloud: FakeCloud,
    request_id: Option<String>,
    patience: Duration,
    /// The requests: whether each is to be there in the end.
    pub expected: BTreeMap<&'static str, bool>,
    /// Requests to apply once no request of that name is there.
    pub to_reapply: Vec<&'static str>,
    /// Whether [`RunEnvironment::to_reapply`] waits until the reference has read the instance.
    awaits_reference: bool,
    /// What was broken and is to be set right.
    pub broken: Vec<Broken>,
}

impl RunEnvironment {
    /// Makes the namespace, the cloud and the objects.
    ///
    /// # Errors
    /// When any of them cannot be made.
    pub(super) async fn create(client: Client, namespace: String, script: &FaultScript) -> anyhow::Result<Self> {
        let cloud = FakeCloud::start(Seed::default()).await.context("the fake cloud does not start")?;
        for (number, name) in [(INSTANCE, "cart-cache"), (ELSEWHERE, "sessions")] {
            let mut instance = NcpInstance::highly_available(number, name);
            instance.behaviour.flush_seconds = Some(script.flush_seconds);
            cloud.state().add_ncp_instance(instance)?;
        }
        objects::namespace(&client, &namespace).await?;
        let mut environment = Self {
            client,
            namespace,
            cloud,
            request_id: script.named.then(|| "price-change".to_owned()),
            patience: script.patience,
            expected: BTreeMap::new(),
            to_reapply: Vec::new(),
            awaits_reference: script.orderly,
            broken: Vec::new(),
        };
        environment.apply_secret(NCP_SECRET_KEY).await?;
        environment.apply_reference(INSTANCE).await?;
        if script.orderly {
            environment.expected.insert(MAIN, true);
            environment.to_reapply.push(MAIN);
        } else {
            environment.apply_request(MAIN).await?;
        }
        Ok(environment)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies an object as GitOps does.
    async fn apply<K>(&self, name: &str, object: &Value, what: &'static str) -> anyhow::Result<()>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let params = PatchParams::apply("gitops").force();
        self.api::<K>().patch(name, &params, &Patch::Apply(object)).await.map(drop).context(what)
    }

    async fn apply_secret(&self, secret_key: &str) -> anyhow::Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": SECRET },
            "stringData": { "NCLOUD_ACCESS_KEY": NCP_ACCESS_KEY, "NCLOUD_SECRET_KEY": secret_key },
        });
        self.apply::<Secret>(SECRET, &secret, "cannot apply the Secret").await
    }

    async fn apply_reference(&self, instance: &str) -> anyhow::Result<()> {
        let reference = json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef", "metadata": { "name": REFERENCE },
            "spec": {
                "ncp": { "cloudDBInstanceNo": instance, "credentialsSecretRef": { "name": SECRET } },
                "pollInterval": "10s",
            },
        });
        self.apply::<RedisClusterRef>(REFERENCE, &reference, "cannot apply the reference").await
    }

    /// Applies a request; its ID follows from its name.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub(super) async fn apply_request(&mut self, name: &'static str) -> anyhow::Result<()> {
        let default = format!("{}/{MAIN}", self.namespace);
        let id = match name {
            MAIN => self.request_id.clone(),
            SAME_ID => Some(self.request_id.clone().unwrap_or(default)),
            _ => Some("another-price-change".to_owned()),
        };
        let mut spec = json!({
            "clusterRef": { "name": REFERENCE },
            "confirm": INSTANCE,
            "startDeadline": format!("{}s", self.patience.as_secs()),
        });
        if let Some(id) = id {
            spec["requestID"] = id.into();
        }
        let request = json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisFlushRequest", "metadata": { "name": name },
            "spec": spec,
        });
        self.expected.insert(name, true);
        self.apply::<RedisFlushRequest>(name, &request, "cannot apply the request").await
    }

    /// Whether [`RunEnvironment::to_reapply`] may be applied.
    ///
    /// # Errors
    /// When the API server does not do as asked.
    pub(super) async fn may_apply(&mut self) -> anyhow::Result<bool> {
        if self.awaits_reference {
            let reference =
                self.api::<RedisClusterRef>().get_opt(REFERENCE).await.context("cannot read the reference")?;
            let seen = reference.and_then(|reference| reference.status?.cluster?.id);
            self.awaits_reference = seen.is_none();
        }
        Ok(!self.awaits_reference)
    }

    /// Changes the environment; what needs setting right is remembered together with `writes`.
    ///
    /// # Errors
    /// When the API server does not do as asked.
    pub(super) async fn change(
        &mut self,
        change: ScriptChange,
        history: &History,
        writes: usize,
    ) -> anyhow::Result<()> {
        match change {
            ScriptChange::Delete => {
                self.expected.insert(MAIN, false);
                self.to_reapply.retain(|name| *name != MAIN);
                self.delete_request().await
            }
            ScriptChange::Reapply => {
                self.reapply_main();
                self.delete_request().await
            }
            ScriptChange::ForceReapply => {
                self.reapply_main();
                self.remove_by_force(history).await
            }
            ScriptChange::WipeStatus => self.wipe_status(history).await,
            ScriptChange::SameId => self.apply_request(SAME_ID).await,
            ScriptChange::OtherId => self.apply_request(OTHER_ID).await,
            ScriptChange::DeleteReference
            | ScriptChange::Retarget
            | ScriptChange::BreakSecret
            | ScriptChange::StopInstance => {
                self.broken.push(Broken { change, since: Instant::now(), writes });
                self.break_for_a_while(change).await
            }
        }
    }

    /// Has the main request applied once it is gone, even if it is removed twice before that.
    fn reapply_main(&mut self) {
        if !self.to_reapply.contains(&MAIN) {
            self.to_reapply.push(MAIN);
        }
    }

    async fn break_for_a_while(&self, change: ScriptChange) -> anyhow::Result<()> {
        match change {
            ScriptChange::DeleteReference => {
                let deleted = self.api::<RedisClusterRef>().delete(REFERENCE, &DeleteParams::default()).await;
                gone_is_fine(deleted.map(drop)).context("cannot delete the reference")
            }
            ScriptChange::Retarget => self.apply_reference(ELSEWHERE).await,
            ScriptChange::BreakSecret => self.apply_secret("NOSUCHKEY00000000000000000000000000000000").await,
            ScriptChange::StopInstance => self.set_state("stopped"),
            _ => Ok(()),
        }
    }

    fn set_state(&self, state: &str) -> anyhow::Result<()> {
        let change = |instance: &mut NcpInstance| state.clone_into(&mut instance.status_name);
        self.cloud.state().update_ncp_instance(INSTANCE, change)?;
        Ok(())
    }

    /// Sets everything right again.
    ///
    /// # Errors
    /// When the API server does not do as asked.
    pub(super) async fn heal(&mut self) -> anyhow::Result<()> {
        for Broken { change, .. } in std::mem::take(&mut self.broken) {
            match change {
                ScriptChange::BreakSecret => self.apply_secret(NCP_SECRET_KEY).await?,
                ScriptChange::StopInstance => self.set_state("running")?,
                _ => self.apply_reference(INSTANCE).await?,
            }
        }
        Ok(())
    }

    async fn delete_request(&self) -> anyhow::Result<()> {
        let deleted = self.api::<RedisFlushRequest>().delete(MAIN, &DeleteParams::default()).await;
        gone_is_fine(deleted.map(drop)).context("cannot delete the request")
    }

    async fn request(&self) -> anyhow::Result<Option<RedisFlushRequest>> {
        self.api::<RedisFlushRequest>().get_opt(MAIN).await.context("cannot read the request")
    }

    async fn remove_by_force(&self, history: &History) -> anyhow::Result<()> {
        let Some(request) = self.request().await? else { return Ok(()) };
        history.mark(&request.uid().unwrap_or_default(), |course| course.forced = true);
        self.delete_request().await?;
        let none = json!({ "metadata": { "finalizers": null } });
        let patched = self.api::<RedisFlushRequest>().patch(MAIN, &PatchParams::default(), &Patch::Merge(&none)).await;
        gone_is_fine(patched.map(drop)).context("cannot take the finalizers off")
    }

    async fn wipe_status(&self, history: &History) -> anyhow::Result<()> {
        let Some(request) = self.request().await? else { return Ok(()) };
        history.mark(&request.uid().unwrap_or_default(), |course| course.wiped = true);
        let none = json!({ "status": null });
        let api = self.api::<RedisFlushRequest>();
        let patched = api.patch_status(MAIN, &PatchParams::default(), &Patch::Merge(&none)).await;
        gone_is_fine(patched.map(drop)).context("cannot empty the status")
    }

    /// Asks the operators to look at the requests again.
    ///
    /// # Errors
    /// When the API server does not do as asked.
    pub(super) async fn request_reconcile(&self, token: &str) -> anyhow::Result<()> {
        let patch = json!({ "metadata": { "annotations": { RECONCILE_REQUESTED_AT: token } } });
        for name in self.expected.iter().filter(|(_, wanted)| **wanted).map(|(name, _)| name) {
            let api = self.api::<RedisFlushRequest>();
            let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            gone_is_fine(patched.map(drop)).context("cannot annotate the request")?;
        }
        Ok(())
    }

    /// How often the instance was wiped, and how often others were.
    pub(super) fn flushes(&self) -> (u64, u64) {
        let all = self.cloud.state().all_flushes();
        let here = all.get(INSTANCE).copied().unwrap_or_default();
        (here, all.values().sum::<u64>() - here)
    }

    /// Removes what the run made, so that a long campaign does not fill the API server.
    ///
    /// # Errors
    /// When the API server does not do as asked.
    pub(super) async fn clean_up(self) -> anyhow::Result<()> {
        let (now, all) = (DeleteParams::default(), ListParams::default());
        let none = json!({ "metadata": { "finalizers": null } });
        for name in self.expected.keys() {
            let api = self.api::<RedisFlushRequest>();
            let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(&none)).await;
            gone_is_fine(patched.map(drop)).context("cannot take the finalizers off")?;
        }
        const CLEAN_UP: &str = "cannot clean up";
        self.api::<RedisFlushRequest>().delete_collection(&now, &all).await.map(drop).context(CLEAN_UP)?;
        self.api::<RedisClusterRef>().delete_collection(&now, &all).await.map(drop).context(CLEAN_UP)?;
        self.api::<Lease>().delete_collection(&now, &all).await.map(drop).context(CLEAN_UP)?;
        self.api::<Event>().delete_collection(&now, &all).await.map(drop).context(CLEAN_UP)?;
        self.api::<Secret>().delete_collection(&now, &all).await.map(drop).context(CLEAN_UP)
    }
}

fn gone_is_fine(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other,
    }
}
