//! Which request of this process is at which target, so that one target is flushed by one request at a time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::session::Target;

/// Who is at a target, by (site, instance number): the request as `<namespace>/<name>`.
#[derive(Debug, Default)]
pub struct Targets(Mutex<HashMap<(&'static str, String), String>>);

impl Targets {
    /// Takes a target for a request.
    ///
    /// # Errors
    /// The request that is at it.
    pub fn take(&self, target: &Target, request: &str) -> Result<(), String> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (target.site.as_str(), target.instance_no.clone());
        match taken.get(&key) {
            Some(other) if other != request => Err(other.clone()),
            _ => {
                taken.insert(key, request.to_owned());
                Ok(())
            }
        }
    }

    /// Gives back whatever a request took.
    pub fn give_back(&self, request: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, by| by != request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cluster_ref::NcpSite;

    #[test]
    fn one_request_at_a_target() {
        let targets = Targets::default();
        let of = |no: &str| Target { site: NcpSite::Public, instance_no: no.to_owned(), service_name: None };
        assert_eq!(targets.take(&of("1"), "a/x"), Ok(()));
        assert_eq!(targets.take(&of("1"), "a/x"), Ok(()), "again by the same");
        assert_eq!(targets.take(&of("1"), "b/y"), Err("a/x".to_owned()));
        assert_eq!(targets.take(&of("2"), "b/y"), Ok(()), "another target");
        targets.give_back("a/x");
        assert_eq!(targets.take(&of("1"), "b/y"), Ok(()));
    }
}
