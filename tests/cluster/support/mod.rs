//! A namespace, fake clouds and a real operator for each test, on one API server for all.

mod network;
mod objects;
mod operator;
mod proxy;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use fake_cloud::Seed;
use harness::{Environment, OperatorCommand};
use kube::Resource;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use managed_redis_operator::api::{RECONCILE_REQUESTED_AT, RedisClusterRef, RedisParameterSync, crds};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testbed::{Access, ApiServer};
use tokio::sync::OnceCell;

pub(crate) use harness::WITHIN as BOUND;
pub(crate) use harness::objects::{kakao_secret, ncp_secret};
pub(crate) use network::RoutedNetwork;
pub(crate) use objects::{Conditions, condition, kakao, kakao_by_name, ncp, parameter_sync, status};
pub(crate) use operator::{TestOperator, command};
pub(crate) use proxy::Proxy;

/// A kind with which the helpers here can work.
pub(crate) trait ProjectKind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + 'static
{
}

impl<K> ProjectKind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static
{
}

/// A kind whose status echoes the annotation that requests a fresh read.
pub(crate) trait Handles: ProjectKind {
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
pub(crate) async fn server() -> &'static ApiServer {
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
pub(crate) struct Env {
    environment: Environment,
    operator: Option<TestOperator>,
}

impl Deref for Env {
    type Target = Environment;

    fn deref(&self) -> &Environment {
        &self.environment
    }
}

impl Env {
    /// With an operator that is ready, and good Secrets `kakaocloud` and `ncp`.
    pub(crate) async fn start(prefix: &str) -> Self {
        Self::start_with(prefix, &[]).await
    }

    /// As [`Env::start`], with further flags.
    pub(crate) async fn start_with(prefix: &str, flags: &[&str]) -> Self {
        Self::without_operator(prefix).await.with_operator(flags).await
    }

    /// With an operator that is ready.
    pub(crate) async fn with_operator(mut self, flags: &[&str]) -> Self {
        let operator = self.spawn(flags);
        operator.ready().await;
        self.operator = Some(operator);
        self
    }

    /// Without an operator.
    pub(crate) async fn without_operator(prefix: &str) -> Self {
        Self::on(server().await, prefix).await
    }

    /// Without an operator, on an API server of the test's own.
    pub(crate) async fn on(server: &ApiServer, prefix: &str) -> Self {
        let environment = Environment::create(server, prefix, Seed::default()).await;
        Self { environment: environment.expect("a namespace and clouds"), operator: None }
    }

    /// A proxy before the API server, for an operator to be spawned behind it.
    pub(crate) async fn proxy(&self) -> Proxy {
        self.proxy_at(Ipv4Addr::LOCALHOST).await
    }

    /// As [`Env::proxy`], at an address of this machine.
    pub(crate) async fn proxy_at(&self, address: Ipv4Addr) -> Proxy {
        Proxy::before(self.kubeconfig(), address).await
    }

    /// An operator for this namespace, which belongs to the caller.
    pub(crate) fn spawn(&self, flags: &[&str]) -> TestOperator {
        TestOperator::start(self.command(flags))
    }

    /// As [`Env::spawn`], with another identity.
    pub(crate) fn spawn_as(&self, access: &Access, flags: &[&str]) -> TestOperator {
        TestOperator::start(self.command(flags).kubeconfig(access.kubeconfig_path()))
    }

    /// As [`Env::spawn`], by way of a proxy, and perhaps in a network of its own.
    pub(crate) fn spawn_behind(&self, proxy: &Proxy, link: Option<&RoutedNetwork>, flags: &[&str]) -> TestOperator {
        let command = self.command(flags).kubeconfig(proxy.kubeconfig());
        TestOperator::start(match link {
            Some(link) => command.through(["ip", "netns", "exec", link.namespace()]),
            None => command,
        })
    }

    /// As [`Env::spawn`], with so many open files, at first and at most (`ulimit -Sn` and `-Hn`).
    pub(crate) fn spawn_with_files(&self, soft: u32, hard: u32, flags: &[&str]) -> TestOperator {
        let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
        TestOperator::start(self.command(flags).through(["sh", "-c", &script]))
    }

    /// The operator's command line with the flags that every test needs, and more.
    fn command(&self, flags: &[&str]) -> OperatorCommand {
        let fast = ["--cloud-qps", "1000", "--cloud-burst", "1000"];
        let has_rate = flags.contains(&"--cloud-qps");
        self.environment.operator(operator::program(), flags).flags(fast.into_iter().filter(|_| !has_rate))
    }

    /// The operator.
    pub(crate) fn operator(&self) -> &TestOperator {
        self.operator.as_ref().expect("this test has an operator")
    }

    /// Creates a Secret, or replaces it.
    pub(crate) async fn secret(&self, name: &str, values: BTreeMap<String, String>) {
        self.environment.secret(name, values).await.expect("the Secret is accepted");
    }

    /// Creates an object.
    pub(crate) async fn create<K: ProjectKind>(&self, object: Value) -> K {
        let object: K = serde_json::from_value(object).expect("an object of the kind");
        self.api().create(&PostParams::default(), &object).await.expect("the object is accepted")
    }

    /// Merges a patch into an object.
    pub(crate) async fn merge<K: ProjectKind>(&self, name: &str, patch: Value) -> K {
        let api: Api<K> = self.api();
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("the patch is accepted")
    }

    /// Waits until something holds of an object, and gives it back.
    pub(crate) async fn until<K: ProjectKind>(&self, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> K {
        until(self.api(), name, what, self.operator.as_ref(), holds).await
    }

    /// Waits until the reference's condition has this status and reason.
    pub(crate) async fn until_condition<K: ProjectKind + Conditions>(&self, name: &str, of: (&str, &str, &str)) -> K {
        let (type_, status, reason) = of;
        self.until(name, &format!("{type_}={status} {reason}"), |object: &K| {
            condition(object, type_).is_some_and(|found| found.status == status && found.reason == reason)
        })
        .await
    }

    /// Requests a fresh read by annotation, and waits until the status echoes its token.
    pub(crate) async fn read_again<K: Handles>(&self, name: &str) -> K {
        let token = self.ask_again::<K>(name).await;
        self.until(name, &format!("{token} is handled"), |object: &K| object.handled() == Some(token.as_str())).await
    }

    /// Requests a fresh read by annotation. The status echoes the returned token once it is done.
    pub(crate) async fn ask_again<K: ProjectKind>(&self, name: &str) -> String {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let token = format!("read-{}", LAST.fetch_add(1, Ordering::Relaxed));
        self.merge::<K>(name, json!({ "metadata": { "annotations": { RECONCILE_REQUESTED_AT: token } } })).await;
        token
    }

    /// Requests fresh reads of a reference, one after the other, until something holds of another object.
    pub(crate) async fn read_until<K: ProjectKind>(
        &self,
        read: &str,
        name: &str,
        what: &str,
        holds: impl Fn(&K) -> bool,
    ) -> K {
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

/// Waits until something holds of an object; the failure shows the object as it was last seen, and the operator's log.
pub(crate) async fn until<K>(
    api: Api<K>,
    name: &str,
    what: &str,
    operator: Option<&TestOperator>,
    holds: impl Fn(&K) -> bool,
) -> K
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    harness::objects::until(api, name, what, BOUND, holds).await.unwrap_or_else(|error| {
        let log = operator.map(|operator| operator.tail()).unwrap_or_default();
        panic!("{error:#}\nThe operator's log ends with\n{log}")
    })
}
