//! The certificates and keys of one test server.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use crate::error::TestbedError;

/// Address of the service `kubernetes`: the first of the network of services.
const SERVICE_ADDRESS: &str = "10.0.0.1";

/// A certificate authority and what it has signed, as files for kube-apiserver.
pub(crate) struct Certificates {
    /// The authority's certificate, PEM and DER: what a client has to trust.
    pub(crate) ca_pem: String,
    pub(crate) ca_der: Vec<u8>,
    /// The same as a file, for `--root-ca-file` of kube-controller-manager, which gives it to every pod.
    pub(crate) ca: PathBuf,
    /// `--tls-cert-file` and `--tls-private-key-file`.
    pub(crate) tls_cert: PathBuf,
    pub(crate) tls_key: PathBuf,
    /// `--service-account-key-file` and `--service-account-signing-key-file`: service account tokens are checked with
    /// the one and signed with the other.
    pub(crate) service_account_public: PathBuf,
    pub(crate) service_account_private: PathBuf,
}

impl Certificates {
    /// Makes fresh ones in `folder`, valid for the server on `address`. They live as long as the folder; the authority's
    /// key is not kept at all.
    pub(crate) fn create(folder: &Path, address: IpAddr) -> Result<Self, TestbedError> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name.push(DnType::CommonName, "testbed");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

        // The names that kube-apiserver gives the certificates it makes for itself.
        let names = [SERVICE_ADDRESS, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let mut names = names.map(str::to_owned).to_vec();
        names.push(address.to_string());
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        let server_key = KeyPair::generate()?;
        let server = server.signed_by(&server_key, &ca)?;
        let service_accounts = KeyPair::generate()?;

        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(TestbedError::write(&path)).map(|()| path)
        };
        Ok(Self {
            ca_pem: ca.pem(),
            ca_der: ca.der().to_vec(),
            ca: write("ca.crt", ca.pem())?,
            tls_cert: write("tls.crt", server.pem())?,
            tls_key: write("tls.key", server_key.serialize_pem())?,
            service_account_public: write("service-account.pub", service_accounts.public_key_pem())?,
            service_account_private: write("service-account.key", service_accounts.serialize_pem())?,
        })
    }
}
