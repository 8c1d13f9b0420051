//! Where the operator works: a namespace on a real API server, and clouds of its own.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fake_cloud::{FakeCloud, Seed, StateHandle};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use testbed::{ApiServer, Options, TestNamespace};

use crate::OperatorCommand;
use crate::objects::{self, KAKAO_SECRET, NCP_SECRET};

/// Starts an API server that serves these CRDs.
///
/// # Errors
/// When it does not start, or a definition is refused.
pub async fn api_server(crds: &[CustomResourceDefinition]) -> Result<ApiServer> {
    let server = ApiServer::start(Options::default()).await?;
    testbed::crds::install(&server.client()?, crds).await?;
    Ok(server)
}

/// A namespace, both clouds, and Secrets that these accept. Dropping it ends the clouds; the namespace goes with the server.
pub struct Environment {
    /// The namespace.
    pub namespace: TestNamespace,
    kubeconfig: PathBuf,
    clouds: FakeCloud,
}

impl Environment {
    /// A new namespace on an API server, its name `PREFIX-` and a random suffix, with Secrets `kakaocloud` and `ncp`.
    ///
    /// # Errors
    /// When the API server refuses something, or the clouds do not start.
    pub async fn create(server: &ApiServer, prefix: &str, seed: Seed) -> Result<Self> {
        let clouds = FakeCloud::start(seed).await.context("the fake cloud does not start")?;
        let namespace = server.namespace(prefix).await?;
        let environment = Self { namespace, kubeconfig: server.kubeconfig_path().to_owned(), clouds };
        for (name, data) in [(KAKAO_SECRET, objects::kakao_secret()), (NCP_SECRET, objects::ncp_secret())] {
            environment.secret(name, data).await?;
        }
        Ok(environment)
    }

    /// The administrator's client.
    pub fn client(&self) -> Client {
        self.namespace.client()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType: Default>,
    {
        self.namespace.api()
    }

    /// What the clouds hold, to look at and to change.
    pub fn clouds(&self) -> StateHandle {
        self.clouds.state()
    }

    /// The base URL of both clouds.
    pub fn clouds_url(&self) -> String {
        self.clouds.url()
    }

    /// Creates a Secret, or replaces it.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn secret(&self, name: &str, data: BTreeMap<String, String>) -> Result<()> {
        objects::secret(&self.api(), name, data).await
    }

    /// An operator for the namespace and these clouds. It reconciles without a Lease unless the flags say otherwise.
    pub fn operator(&self, program: &Path, flags: &[&str]) -> OperatorCommand {
        let command = OperatorCommand::new(program, &self.kubeconfig);
        let command = command.namespace(self.namespace.name()).clouds(&self.clouds_url());
        let says = flags.iter().any(|flag| flag.starts_with("--leader-election"));
        command.flags((!says).then_some("--leader-election=false")).flags(flags.iter().copied())
    }
}

impl Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
