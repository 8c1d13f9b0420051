//! Every sentence about a Secret that a person reads in the conditions of any kind.

use crate::cloud::CredentialError;

#[cfg(test)]
pub(super) mod samples;

pub(super) fn secret_missing(name: &str, namespace: &str) -> String {
    format!("Secret {name} is not in namespace {namespace}. Create it, or correct the name in credentialsSecretRef.")
}

pub(super) fn secret_forbidden(name: &str, namespace: &str) -> String {
    format!("The operator may not get Secret {name} in namespace {namespace}. Allow it with a Role.")
}

pub(super) fn secret_unread(name: &str, error: &kube::Error) -> String {
    format!("Secret {name} could not be read from the Kubernetes API ({error}).")
}

pub(super) fn secret_unusable(name: &str, error: &CredentialError) -> String {
    format!("Secret {name} cannot be used: {error}.")
}
