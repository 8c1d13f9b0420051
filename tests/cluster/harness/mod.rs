//! A namespace, a stand-in for both clouds and a real operator for each test, on one API server for all.

mod link;
mod objects;
mod operator;
mod proxy;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake_cloud::{FakeCloud, Seed, StateHandle};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::wait::await_condition;
use kube::{Resource, ResourceExt as _};
use managed_redis_operator::api::{RECONCILE_REQUESTED_AT, RedisClusterRef, RedisParameterSync, crds};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testbed::{Access, ApiServer, Namespace};
use tokio::sync::OnceCell;

pub use link::Link;
pub use objects::{Conditions, condition, kakao, kakao_by_name, kakao_secret, ncp, ncp_secret, parameter_sync, status};
pub use operator::{Operator, command};
pub use proxy::Proxy;

/// How long anything that is waited for may take. It is a moment, unless the machine is very busy.
pub const BOUND: Duration = Duration::from_secs(60);

/// What `Api` asks of a kind of this project.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static
{
}

/// A kind whose objects echo the annotation that asks for a fresh read.
pub trait Handles: Kind {
    /// `status.lastHandledReconcileAt`.
    fn handled(&self) -> Option<&str>;
}

impl Handles for RedisClusterRef {
    fn handled(&self) -> Option<&str> {
        self.status.as_ref()?.last_handled_reconcile_at.as_deref()
    }
}

impl Handles for RedisParameterSync {
    fn handled(&self) -> Option<&str> {
        self.status.as_ref()?.last_handled_reconcile_at.as_deref()
    }
}

/// The one API server, with the CRDs installed.
pub async fn server() -> &'static ApiServer {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let server = ApiServer::shared().await.expect("an API server");
    let install = || async {
        let client = server.client().expect("a client");
        testbed::crds::install(&client, &crds()).await.expect("the CRDs are accepted");
    };
    INSTALLED.get_or_init(install).await;
    server
}

/// A test's own namespace, clouds and operator.
pub struct Env {
    kubeconfig: PathBuf,
    /// The namespace.
    pub namespace: Namespace,
    /// Both clouds.
    pub fake: FakeCloud,
    operator: Option<Operator>,
}

impl Env {
    /// With an operator that is ready, and good Secrets `kakaocloud` and `ncp`.
    pub async fn start(prefix: &str) -> Self {
        Self::start_with(prefix, &[]).await
    }

    /// As [`Env::start`], with further flags.
    pub async fn start_with(prefix: &str, flags: &[&str]) -> Self {
        Self::without_operator(prefix).await.with_operator(flags).await
    }

    /// With an operator that is ready.
    pub async fn with_operator(mut self, flags: &[&str]) -> Self {
        let operator = self.spawn(flags);
        operator.ready().await;
        self.operator = Some(operator);
        self
    }

    /// Without an operator.
    pub async fn without_operator(prefix: &str) -> Self {
        Self::on(server().await, prefix).await
    }

    /// Without an operator, on an API server of the test's own.
    pub async fn on(server: &ApiServer, prefix: &str) -> Self {
        let namespace = server.namespace(prefix).await.expect("a namespace");
        let fake = FakeCloud::start(Seed::default()).await.expect("the clouds start");
        let env = Self { kubeconfig: server.kubeconfig_path().to_owned(), namespace, fake, operator: None };
        env.secret("kakaocloud", kakao_secret()).await;
        env.secret("ncp", ncp_secret()).await;
        env
    }

    /// A proxy before the API server, for an operator to be spawned behind it.
    pub async fn proxy(&self) -> Proxy {
        self.proxy_at(Ipv4Addr::LOCALHOST).await
    }

    /// As [`Env::proxy`], at an address of this machine.
    pub async fn proxy_at(&self, address: Ipv4Addr) -> Proxy {
        Proxy::before(&self.kubeconfig, address).await
    }

    /// An operator for this namespace, which belongs to the caller.
    pub fn spawn(&self, flags: &[&str]) -> Operator {
        Operator::spawn(&self.kubeconfig, &self.flags(flags), None)
    }

    /// As [`Env::spawn`], with another identity.
    pub fn spawn_as(&self, access: &Access, flags: &[&str]) -> Operator {
        Operator::spawn(access.kubeconfig_path(), &self.flags(flags), None)
    }

    /// As [`Env::spawn`], by way of a proxy, and perhaps in a network of its own.
    pub fn spawn_behind(&self, proxy: &Proxy, link: Option<&Link>, flags: &[&str]) -> Operator {
        Operator::spawn(proxy.kubeconfig(), &self.flags(flags), link)
    }

    /// As [`Env::spawn`], with so many open files, at first and at most.
    pub fn spawn_with_files(&self, soft: u32, hard: u32, flags: &[&str]) -> Operator {
        Operator::spawn_with_files(soft, hard, &self.kubeconfig, &self.flags(flags))
    }

    /// The flags that every test needs, and more.
    fn flags(&self, flags: &[&str]) -> Vec<String> {
        let url = self.fake.url();
        let name = self.namespace.name();
        let mut all: Vec<String> = ["--watch-namespace", name, "--operator-namespace", name]
            .into_iter()
            .chain(["--kakao-endpoint", &url, "--kakao-iam-endpoint", &url, "--ncp-endpoint", &url])
            .map(str::to_owned)
            .collect();
        if !flags.contains(&"--cloud-qps") {
            all.extend(["--cloud-qps", "1000", "--cloud-burst", "1000"].map(str::to_owned));
        }
        if !flags.iter().any(|flag| flag.starts_with("--leader-election")) {
            all.push("--leader-election=false".to_owned());
        }
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        all
    }

    /// The operator.
    pub fn operator(&self) -> &Operator {
        self.operator.as_ref().expect("this test has an operator")
    }

    /// The clouds' state.
    pub fn clouds(&self) -> StateHandle {
        self.fake.state()
    }

    /// Objects of a kind in the namespace.
    pub fn api<K: Kind>(&self) -> Api<K> {
        self.namespace.api()
    }

    /// Creates or changes a Secret.
    pub async fn secret(&self, name: &str, values: BTreeMap<String, String>) {
        let secret = Secret {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            string_data: Some(values),
            ..Secret::default()
        };
        let api = self.api::<Secret>();
        if api.get_opt(name).await.expect("Secrets can be read").is_some() {
            api.delete(name, &Default::default()).await.expect("the Secret is deleted");
        }
        api.create(&PostParams::default(), &secret).await.expect("the Secret is created");
    }

    /// Creates an object.
    pub async fn create<K: Kind>(&self, object: Value) -> K {
        let object: K = serde_json::from_value(object).expect("an object of the kind");
        self.api().create(&PostParams::default(), &object).await.expect("the object is accepted")
    }

    /// Merges a patch into an object.
    pub async fn merge<K: Kind>(&self, name: &str, patch: Value) -> K {
        let api: Api<K> = self.api();
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("the patch is accepted")
    }

    /// Waits until something holds of an object, and gives it back.
    pub async fn until<K: Kind>(&self, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> K {
        until(self.api(), name, what, self.operator.as_ref(), holds).await
    }

    /// Waits until the reference's condition has this status and reason.
    pub async fn until_condition<K: Kind + Conditions>(&self, name: &str, of: (&str, &str, &str)) -> K {
        let (type_, status, reason) = of;
        self.until(name, &format!("{type_}={status} {reason}"), |object: &K| {
            condition(object, type_).is_some_and(|found| found.status == status && found.reason == reason)
        })
        .await
    }

    /// Asks for a fresh read, and waits until it is echoed.
    pub async fn read_again<K: Handles>(&self, name: &str) -> K {
        let token = self.ask_again::<K>(name).await;
        self.until(name, &format!("{token} is handled"), |object: &K| object.handled() == Some(token.as_str())).await
    }

    /// Asks for a fresh read; gives back the token that is echoed in the end.
    pub async fn ask_again<K: Kind>(&self, name: &str) -> String {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let token = format!("read-{}", LAST.fetch_add(1, Ordering::Relaxed));
        self.merge::<K>(name, json!({ "metadata": { "annotations": { RECONCILE_REQUESTED_AT: token } } })).await;
        token
    }

    /// Has a reference read again and again until something holds of another object of the test.
    pub async fn read_until<K: Kind>(&self, read: &str, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> K {
        let reading = async {
            loop {
                self.read_again::<RedisClusterRef>(read).await;
            }
        };
        tokio::select! {
            found = self.until(name, what, holds) => found,
            () = reading => unreachable!("reading never ends"),
        }
    }
}

/// Waits until something holds of an object; the failure shows the object as it was last seen.
pub async fn until<K>(api: Api<K>, name: &str, what: &str, operator: Option<&Operator>, holds: impl Fn(&K) -> bool) -> K
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let last: Arc<Mutex<Option<K>>> = Arc::default();
    let seen = Arc::clone(&last);
    let condition = move |object: Option<&K>| {
        *seen.lock().expect("no panic while locked") = object.cloned();
        object.is_some_and(&holds)
    };
    let waited = tokio::time::timeout(BOUND, await_condition(api, name, condition)).await;
    if let Ok(Ok(Some(found))) = waited {
        return found;
    }
    let mut shown = last.lock().expect("no panic while locked").clone();
    if let Some(object) = &mut shown {
        object.managed_fields_mut().clear();
    }
    let text = shown.map_or_else(|| "(none)".to_owned(), |object| serde_saphyr::to_string(&object).unwrap_or_default());
    let log = operator.map(Operator::tail).unwrap_or_default();
    let why = waited.err().map_or("the watch failed", |_| "it took too long");
    panic!("{name}: {what}: {why}; it was last seen as\n{text}\nThe operator's log ends with\n{log}");
}
