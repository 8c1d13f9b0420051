//! The world of one run: a namespace with its objects, and a cloud of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fake_cloud::{FakeCloud, NCP_ACCESS_KEY, NCP_SECRET_KEY, NcpInstance, Seed};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use managed_redis_operator::api::{RECONCILE_REQUESTED_AT, RedisClusterRef, RedisFlushRequest};
use serde_json::{Value, json};

use super::record::Record;
use super::script::{Change, Script};

/// The instance to wipe.
pub const INSTANCE: &str = "940017";
/// Another one, never to be wiped.
const ELSEWHERE: &str = "940018";
/// The request that every run has.
pub const MAIN: &str = "flush";
const SAME_ID: &str = "flush-same-id";
const OTHER_ID: &str = "flush-other-id";
const REFERENCE: &str = "cache";
const SECRET: &str = "ncp";

/// Why the world cannot be made or changed; a fault of the surroundings, not of the operator.
#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    /// The API server did not do as asked.
    #[error("cannot {what}: {source}")]
    Kube {
        /// What was to be done.
        what: &'static str,
        /// Why it was not.
        source: kube::Error,
    },
    /// An object of the run's own is not valid.
    #[error("not a valid object: {0}")]
    Object(#[from] serde_json::Error),
    /// The fake cloud does not start.
    #[error("the fake cloud does not start: {0}")]
    Cloud(#[from] fake_cloud::StartError),
    /// The fake cloud does not take an instance.
    #[error("the fake cloud: {0}")]
    State(#[from] fake_cloud::StateError),
}

fn failed(what: &'static str) -> impl FnOnce(kube::Error) -> SceneError {
    move |source| SceneError::Kube { what, source }
}

/// Something that was changed and has to be set right.
#[derive(Clone, Copy, Debug)]
pub struct Broken {
    /// What.
    pub change: Change,
    /// Since when.
    pub since: Instant,
    /// How many writes there had been.
    pub writes: usize,
}

/// The world of one run.
pub struct Scene {
    client: Client,
    namespace: String,
    /// The cloud of this run alone.
    pub cloud: FakeCloud,
    request_id: Option<String>,
    patience: Duration,
    /// The requests: whether each is to be there in the end.
    pub expected: BTreeMap<&'static str, bool>,
    /// To be applied once none of that name is there.
    pub to_reapply: Vec<&'static str>,
    /// Nothing of it before the reference leads to the instance.
    awaits_reference: bool,
    /// To be set right.
    pub broken: Vec<Broken>,
}

impl Scene {
    /// Makes the namespace, the cloud and the objects.
    ///
    /// # Errors
    /// When any of them cannot be made.
    pub async fn set(client: Client, namespace: String, script: &Script) -> Result<Self, SceneError> {
        let cloud = FakeCloud::start(Seed::default()).await?;
        for (number, name) in [(INSTANCE, "cart-cache"), (ELSEWHERE, "sessions")] {
            let mut instance = NcpInstance::highly_available(number, name);
            instance.behaviour.flush_seconds = Some(script.flush_seconds);
            cloud.state().add_ncp_instance(instance)?;
        }
        let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": namespace } }))?;
        let create = Api::all(client.clone()).create(&PostParams::default(), &object).await;
        create.map_err(failed("create the namespace"))?;
        let mut scene = Self {
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
        scene.apply_secret(NCP_SECRET_KEY).await?;
        scene.apply_reference(INSTANCE).await?;
        if script.orderly {
            scene.expected.insert(MAIN, true);
            scene.to_reapply.push(MAIN);
        } else {
            scene.apply_request(MAIN).await?;
        }
        Ok(scene)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies an object as GitOps does.
    async fn apply<K>(&self, name: &str, object: &Value, what: &'static str) -> Result<(), SceneError>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let params = PatchParams::apply("gitops").force();
        self.api::<K>().patch(name, &params, &Patch::Apply(object)).await.map(drop).map_err(failed(what))
    }

    async fn apply_secret(&self, secret_key: &str) -> Result<(), SceneError> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": SECRET },
            "stringData": { "NCLOUD_ACCESS_KEY": NCP_ACCESS_KEY, "NCLOUD_SECRET_KEY": secret_key },
        });
        self.apply::<Secret>(SECRET, &secret, "apply the Secret").await
    }

    async fn apply_reference(&self, instance: &str) -> Result<(), SceneError> {
        let reference = json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef", "metadata": { "name": REFERENCE },
            "spec": {
                "ncp": { "cloudDBInstanceNo": instance, "credentialsSecretRef": { "name": SECRET } },
                "pollInterval": "10s",
            },
        });
        self.apply::<RedisClusterRef>(REFERENCE, &reference, "apply the reference").await
    }

    /// Applies a request; its ID follows from its name.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply_request(&mut self, name: &'static str) -> Result<(), SceneError> {
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
        self.apply::<RedisFlushRequest>(name, &request, "apply the request").await
    }

    /// Whether [`Scene::to_reapply`] may be applied.
    ///
    /// # Errors
    /// When the API server does not do as asked.
    pub async fn may_apply(&mut self) -> Result<bool, SceneError> {
        if self.awaits_reference {
            let reference =
                self.api::<RedisClusterRef>().get_opt(REFERENCE).await.map_err(failed("read the reference"))?;
            let seen = reference.and_then(|reference| reference.status?.cluster?.id);
            self.awaits_reference = seen.is_none();
        }
        Ok(!self.awaits_reference)
    }

    /// Changes the world; what needs setting right is remembered together with `writes`.
    ///
    /// # Errors
    /// When the API server does not do as asked.
    pub async fn change(&mut self, change: Change, record: &Record, writes: usize) -> Result<(), SceneError> {
        match change {
            Change::Delete => {
                self.expected.insert(MAIN, false);
                self.to_reapply.retain(|name| *name != MAIN);
                self.delete_request().await
            }
            Change::Reapply => {
                self.reapply_main();
                self.delete_request().await
            }
            Change::ForceReapply => {
                self.reapply_main();
                self.remove_by_force(record).await
            }
            Change::WipeStatus => self.wipe_status(record).await,
            Change::SameId => self.apply_request(SAME_ID).await,
            Change::OtherId => self.apply_request(OTHER_ID).await,
            Change::DeleteReference | Change::Retarget | Change::BreakSecret | Change::StopInstance => {
                self.broken.push(Broken { change, since: Instant::now(), writes });
                self.break_for_a_while(change).await
            }
        }
    }

    /// Once it is gone. Removed twice before that, it is applied once.
    fn reapply_main(&mut self) {
        if !self.to_reapply.contains(&MAIN) {
            self.to_reapply.push(MAIN);
        }
    }

    async fn break_for_a_while(&self, change: Change) -> Result<(), SceneError> {
        match change {
            Change::DeleteReference => {
                let deleted = self.api::<RedisClusterRef>().delete(REFERENCE, &DeleteParams::default()).await;
                gone_is_fine(deleted.map(drop)).map_err(failed("delete the reference"))
            }
            Change::Retarget => self.apply_reference(ELSEWHERE).await,
            Change::BreakSecret => self.apply_secret("NOSUCHKEY00000000000000000000000000000000").await,
            Change::StopInstance => self.set_state("stopped"),
            _ => Ok(()),
        }
    }

    fn set_state(&self, state: &str) -> Result<(), SceneError> {
        let change = |instance: &mut NcpInstance| state.clone_into(&mut instance.status_name);
        self.cloud.state().update_ncp_instance(INSTANCE, change)?;
        Ok(())
    }

    /// Sets everything right again.
    ///
    /// # Errors
    /// When the API server does not do as asked.
    pub async fn heal(&mut self) -> Result<(), SceneError> {
        for Broken { change, .. } in std::mem::take(&mut self.broken) {
            match change {
                Change::BreakSecret => self.apply_secret(NCP_SECRET_KEY).await?,
                Change::StopInstance => self.set_state("running")?,
                _ => self.apply_reference(INSTANCE).await?,
            }
        }
        Ok(())
    }

    async fn delete_request(&self) -> Result<(), SceneError> {
        let deleted = self.api::<RedisFlushRequest>().delete(MAIN, &DeleteParams::default()).await;
        gone_is_fine(deleted.map(drop)).map_err(failed("delete the request"))
    }

    async fn request(&self) -> Result<Option<RedisFlushRequest>, SceneError> {
        self.api::<RedisFlushRequest>().get_opt(MAIN).await.map_err(failed("read the request"))
    }

    async fn remove_by_force(&self, record: &Record) -> Result<(), SceneError> {
        let Some(request) = self.request().await? else { return Ok(()) };
        record.mark(&request.uid().unwrap_or_default(), |life| life.forced = true);
        self.delete_request().await?;
        let none = json!({ "metadata": { "finalizers": null } });
        let patched = self.api::<RedisFlushRequest>().patch(MAIN, &PatchParams::default(), &Patch::Merge(&none)).await;
        gone_is_fine(patched.map(drop)).map_err(failed("take the finalizers off"))
    }

    async fn wipe_status(&self, record: &Record) -> Result<(), SceneError> {
        let Some(request) = self.request().await? else { return Ok(()) };
        record.mark(&request.uid().unwrap_or_default(), |life| life.wiped = true);
        let none = json!({ "status": null });
        let api = self.api::<RedisFlushRequest>();
        let patched = api.patch_status(MAIN, &PatchParams::default(), &Patch::Merge(&none)).await;
        gone_is_fine(patched.map(drop)).map_err(failed("empty the status"))
    }

    /// Asks the operators to look at the requests again.
    ///
    /// # Errors
    /// When the API server does not do as asked.
    pub async fn request_reconcile(&self, token: &str) -> Result<(), SceneError> {
        let patch = json!({ "metadata": { "annotations": { RECONCILE_REQUESTED_AT: token } } });
        for name in self.expected.iter().filter(|(_, wanted)| **wanted).map(|(name, _)| name) {
            let api = self.api::<RedisFlushRequest>();
            let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            gone_is_fine(patched.map(drop)).map_err(failed("annotate the request"))?;
        }
        Ok(())
    }

    /// How often the instance was wiped, and how often others were.
    pub fn flushes(&self) -> (u64, u64) {
        let all = self.cloud.state().all_flushes();
        let here = all.get(INSTANCE).copied().unwrap_or_default();
        (here, all.values().sum::<u64>() - here)
    }

    /// Removes what the run made, so that a long campaign does not fill the API server.
    ///
    /// # Errors
    /// When the API server does not do as asked.
    pub async fn strike(self) -> Result<(), SceneError> {
        let (now, all) = (DeleteParams::default(), ListParams::default());
        let none = json!({ "metadata": { "finalizers": null } });
        for name in self.expected.keys() {
            let api = self.api::<RedisFlushRequest>();
            let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(&none)).await;
            gone_is_fine(patched.map(drop)).map_err(failed("take the finalizers off"))?;
        }
        let what = || failed("clean up");
        self.api::<RedisFlushRequest>().delete_collection(&now, &all).await.map(drop).map_err(what())?;
        self.api::<RedisClusterRef>().delete_collection(&now, &all).await.map(drop).map_err(what())?;
        self.api::<Lease>().delete_collection(&now, &all).await.map(drop).map_err(what())?;
        self.api::<Event>().delete_collection(&now, &all).await.map(drop).map_err(what())?;
        self.api::<Secret>().delete_collection(&now, &all).await.map(drop).map_err(what())
    }
}

fn gone_is_fine(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other,
    }
}
