//! How many files the process may have open, and what is done with them. Each watch and each request is a connection of its own.

use crate::runtime::watches::Watches;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Watches of each namespace: one for each kind.
const KINDS: u64 = 3;
/// Connections to the admin server at once, if files suffice.
const ADMIN: u64 = 64;
/// Files for all that is no watch: requests to the API server and the clouds, the admin server, the process itself.
const OTHERS: u64 = 256;

/// How the files are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Connections to the admin server.
    pub admin: usize,
    /// Watches.
    watches: usize,
}

impl Budget {
    /// Of so many files; none if there is no limit.
    pub fn of(limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or(u64::MAX);
        let watches = limit - (limit / 2).min(OTHERS);
        let admin = (limit / 8).clamp(1, ADMIN);
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self { admin: whole(admin), watches: whole(watches) }
    }

    /// What is the matter, if the watches of so many namespaces (0 for all of them at once) are more than there are files for.
    fn shortage(&self, limit: u64, namespaces: usize) -> Option<String> {
        let wanted = KINDS.saturating_mul(u64::try_from(namespaces.max(1)).unwrap_or(u64::MAX));
        let are_enough = usize::try_from(wanted).is_ok_and(|wanted| wanted <= self.watches);
        let needed = wanted + OTHERS.min(wanted.max(32));
        (!are_enough).then(|| {
            format!(
                "the limit of {limit} open files is too low for the {wanted} watches of {namespaces} namespaces, so only \
                 {watches} watches are open and the objects of the other namespaces are not seen. Raise the hard limit (ulimit -Hn, \
                 LimitNOFILE) to {needed} or more, or watch all namespaces",
                watches = self.watches,
            )
        })
    }
}

/// Raises the limit to what is allowed, and says so if that is too few.
pub fn prepare(watches: &Watches, namespaces: usize) -> Budget {
    let limit = raise();
    let budget = Budget::of(limit);
    if let Some(sentence) = limit.and_then(|limit| budget.shortage(limit, namespaces)) {
        warn!("{sentence}");
        watches.limit(budget.watches, sentence);
    }
    budget
}

/// Raises the soft limit to the hard one; the limit that holds then.
fn raise() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        debug!(%error, "the limit of open files could not be raised");
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_files_left_for_what_is_no_watch() {
        assert_eq!(Budget::of(None).admin, 64);
        assert_eq!(Budget::of(Some(1 << 20)), Budget { admin: 64, watches: (1 << 20) - 256 });
        assert_eq!(Budget::of(Some(1024)), Budget { admin: 64, watches: 768 });
        assert_eq!(Budget::of(Some(64)), Budget { admin: 8, watches: 32 });
        for limit in 1..5000 {
            let Budget { admin, watches } = Budget::of(Some(limit));
            assert!(limit < 8 || u64::try_from(admin + watches).unwrap() <= limit, "{limit}");
        }
    }

    #[test]
    fn a_shortage_is_told_with_numbers() {
        assert_eq!(Budget::of(Some(1024)).shortage(1024, 0), None, "all namespaces are three watches");
        assert_eq!(Budget::of(Some(1024)).shortage(1024, 256), None);
        let told = Budget::of(Some(1024)).shortage(1024, 300).unwrap();
        assert!(told.contains("1024 open files") && told.contains("900 watches of 300 namespaces"), "{told}");
        assert!(told.contains("only 768 watches"), "{told}");
        let needed: u64 = told.split("LimitNOFILE) to ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert_eq!(Budget::of(Some(needed)).shortage(needed, 300), None, "as much as it says is enough");
    }
}
