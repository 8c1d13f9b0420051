//! Ways into a test server: address, certificate authority and a credential.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};

use crate::error::TestbedError;

/// Where a server is and how it is recognised.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: Uri,
    pub(crate) ca_pem: String,
    pub(crate) ca_der: Vec<u8>,
}

/// One identity at a test server, as a client, a configuration and a kubeconfig file.
#[derive(Clone)]
pub struct Access {
    endpoint: Endpoint,
    token: String,
    kubeconfig: PathBuf,
}

impl Access {
    /// Writes the kubeconfig for `user`, who is known by `token`, to `kubeconfig`.
    pub(crate) fn create(
        endpoint: &Endpoint,
        user: &str,
        token: String,
        kubeconfig: PathBuf,
    ) -> Result<Self, TestbedError> {
        let access = Self { endpoint: endpoint.clone(), token, kubeconfig };
        let text = serde_saphyr::to_string(&access.kubeconfig(user))?;
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&access.kubeconfig);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(TestbedError::write(&access.kubeconfig))?;
        Ok(access)
    }

    fn auth_info(&self) -> AuthInfo {
        AuthInfo { token: Some(self.token.clone().into()), ..AuthInfo::default() }
    }

    fn kubeconfig(&self, user: &str) -> Kubeconfig {
        let name = "testbed".to_owned();
        let cluster = Cluster {
            server: Some(self.endpoint.url.to_string()),
            certificate_authority_data: Some(BASE64_STANDARD.encode(&self.endpoint.ca_pem)),
            ..Cluster::default()
        };
        let context = Context {
            cluster: name.clone(),
            user: Some(user.to_owned()),
            namespace: None,
            extensions: None,
            other: BTreeMap::new(),
        };
        Kubeconfig {
            kind: Some("Config".to_owned()),
            api_version: Some("v1".to_owned()),
            clusters: vec![NamedCluster { name: name.clone(), cluster: Some(cluster), other: BTreeMap::new() }],
            auth_infos: vec![NamedAuthInfo {
                name: user.to_owned(),
                auth_info: Some(self.auth_info()),
                other: BTreeMap::new(),
            }],
            contexts: vec![NamedContext { name: name.clone(), context: Some(context), other: BTreeMap::new() }],
            current_context: Some(name),
            ..Kubeconfig::default()
        }
    }

    /// A configuration for this identity, to change before it becomes a client.
    #[must_use]
    pub fn config(&self) -> kube::Config {
        let mut config = kube::Config::new(self.endpoint.url.clone());
        config.root_cert = Some(vec![self.endpoint.ca_der.clone()]);
        config.auth_info = self.auth_info();
        config
    }

    /// A new client for this identity. It belongs to the current Tokio runtime: every `#[tokio::test]` has one of its
    /// own and needs its own client.
    ///
    /// # Errors
    /// [`TestbedError::Kube`] if the TLS setup fails.
    pub fn client(&self) -> Result<kube::Client, TestbedError> {
        Ok(kube::Client::try_from(self.config())?)
    }

    /// A kubeconfig file for this identity, for `kubectl --kubeconfig` or `KUBECONFIG`.
    #[must_use]
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }
}

impl fmt::Debug for Access {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut access = f.debug_struct("Access");
        access
            .field("url", &self.endpoint.url.to_string())
            .field("kubeconfig", &self.kubeconfig)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubeconfig_is_private_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint {
            url: Uri::from_static("https://127.0.0.1:16443"),
            ca_pem: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            ca_der: vec![0, 0, 0],
        };
        let path = folder.path().join("kubeconfig");
        let access = Access::create(&endpoint, "jane: the \"first\"", "s3cr3t".to_owned(), path.clone()).unwrap();
        assert!(!format!("{access:?}").contains("s3cr3t"));

        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let read = Kubeconfig::read_from(&path).unwrap();
        assert_eq!(read.current_context.as_deref(), Some("testbed"));
        assert_eq!(read.auth_infos[0].name, "jane: the \"first\"");
        let cluster = read.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:16443/"));
        let ca = BASE64_STANDARD.decode(cluster.certificate_authority_data.as_ref().unwrap()).unwrap();
        assert_eq!(ca, endpoint.ca_pem.as_bytes());
    }
}
