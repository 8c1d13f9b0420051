//! Namespaces that tests share a server by.

use std::fmt;

use kube::api::Api;
use kube::core::NamespaceResourceScope;

/// A namespace of a test's own.
#[derive(Clone)]
pub struct TestNamespace {
    name: String,
    client: kube::Client,
}

impl TestNamespace {
    pub(crate) fn new(name: String, client: kube::Client) -> Self {
        Self { name, client }
    }

    /// The namespace's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's client that created it, bound to the runtime that created it.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Objects of one kind in this namespace, as the administrator sees them.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType: Default>,
    {
        Api::namespaced(self.client(), &self.name)
    }
}

impl fmt::Debug for TestNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestNamespace").field(&self.name).finish()
    }
}
